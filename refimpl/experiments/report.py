"""Tables on standard output."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from refimpl._arrays import Array
from refimpl.experiments.comparison import TITLES
from refimpl.experiments.robustness import Robustness

ATTACKS = ("closed form", "above", "PGD", "above")
NAMES = """\
The 2-class network (two_class in summary.json) is trained on the two labels, the multi-class one
(ten_class) on all classes: it tells the labels apart by its largest output (group max) or by sums
of outputs (group sum)."""
_COSINES = "Cosines: median (smallest to largest)."
_LAW = """\
law: median radius of idealised neurons; trained ones lean away from the features that are not
theirs (the cosines above), which shifts the radii. k_opp: clusters of the other label."""
_NO_LAW = """\
No law is known for features that are not orthogonal (cosine other than 0): none stands beside."""
RATIO = (
    "t*/r: smallest closed-form step that flips a sample, over its exact radius; 1 is the optimum."
)
_CURVES = """\
exact: share of samples with a radius above epsilon; closed form, PGD: share that withstands
the attack; above: points more than exact. Rows equal to both neighbours are left out."""
_LINF = """\
PGD: points of robust accuracy, in l_inf, that it is above the truth, where that is most. Averaging
helps against l_inf if the others have less than 1 times its median. Where no axis is preferred, a
radius in l_inf is about that in l2 over sqrt(2d/pi) = {s}, whatever the network."""
_WIDTH, _UNBROKEN = 100, "\0"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align columns: the first to the left, the others to the right.

    >>> print(table([["radius", "median"], ["two_class", "17.5"]]))
    radius     median
    two_class    17.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def number(value: float | None) -> str:
    """Four significant digits; None is infinite.

    >>> number(17.5285), number(0.0), number(None)
    ('17.53', '0', 'inf')
    """
    return "inf" if value is None else f"{value:.4g}"


def percent(value: float) -> str:
    """Format a share.

    >>> percent(0.875)
    '87.5 %'
    """
    return f"{100 * value:.1f} %"


def spread(values: Mapping[str, float]) -> str:
    """Say ``median (min to max)``.

    >>> spread({"min": 0.4, "median": 0.44, "max": 0.5})
    '0.440 (0.400 to 0.500)'
    """
    return f"{values['median']:.3f} ({values['min']:.3f} to {values['max']:.3f})"


def counted(n: int, what: str) -> str:
    """Count something.

    >>> counted(1, "sample"), counted(20, "sample")
    ('1 sample', '20 samples')
    """
    return f"{n} {what}{'s' * (n != 1)}"


def first(n: int) -> str:
    """Say which samples the first n are.

    >>> first(1), first(20)
    ('first sample', 'first 20 samples')
    """
    return "first sample" if n == 1 else f"first {n} samples"


def numbers(values: Sequence[float]) -> str:
    """Join alternatives.

    >>> numbers([1.5]), numbers([1.5, 2.0])
    ('1.5', '1.5 or 2')
    """
    return " or ".join(map(number, values))


def telling(rows: Sequence[list[str]]) -> list[list[str]]:
    """Rows of a curve that say more than the radius: those that differ from the one next to them.

    >>> telling([["0", "100 %"], ["1", "100 %"], ["2", "50 %"], ["3", "0 %"], ["4", "0 %"]])
    [['1', '100 %'], ['2', '50 %'], ['3', '0 %']]
    >>> telling([["0", "100 %"], ["1", "100 %"], ["2", "100 %"]])
    [['0', '100 %'], ['2', '100 %']]
    """
    moves = [before[1:] != after[1:] for before, after in itertools.pairwise(rows)]
    beside = zip([False, *moves], [*moves, False], strict=True)
    return [row for row, near in zip(rows, beside, strict=True) if any(near)] or [rows[0], rows[-1]]


def settings_line(settings: Mapping[str, Any]) -> str:
    """Say the settings that are set.

    >>> settings_line({"k": 4, "train": None, "labels": [1, -1]})
    'k 4, labels 1,-1'
    """
    said = []
    for name, value in settings.items():
        if value is not None:
            shown = ",".join(map(str, value)) if isinstance(value, list) else value
            said.append(f"{name} {shown}".replace(" ", _UNBROKEN))
    wrapper = textwrap.TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False)
    filled = wrapper.fill(", ".join(said))
    return filled.replace(_UNBROKEN, " ")


def headline(summary: Mapping[str, Any], averaged: Sequence[float]) -> str:
    """Say the settings, accuracies and cosines, beside the idealised ones where these are known."""
    two, ten = summary["two_class"], summary["ten_class"]
    rows = [
        ["", "came out", "theory"],
        ["2-class network: accuracy", percent(two["clean_accuracy"]), "100 %"],
        ["  cosine, feature of the own class", spread(two["cosine_own"]), numbers(averaged)],
        ["  cosine, feature of the other class", spread(two["cosine_other"]), "0"],
        ["multi-class network: accuracy", percent(ten["clean_accuracy"]), "100 %"],
        ["  accuracy on the two groups", percent(ten["group_accuracy"]), "100 %"],
        ["  cosine, own feature", spread(ten["cosine_diagonal"]), "1"],
        ["  cosine, other feature", spread(ten["cosine_off_diagonal"]), "0"],
    ]
    cells = table([row[: 3 if averaged else 2] for row in rows])
    return f"{settings_line(summary['settings'])}\n\n{cells}\n{NAMES}\n{_COSINES}"


def medians(
    measured: Mapping[str, Robustness],
    laws: Mapping[str, float],
    centres: Mapping[str, tuple[str, Sequence[float]]],
) -> str:
    """Median radii beside those of the laws and the radii at a centre, where these are known."""
    rows = [["median robust radius, l2", "came out", *(["law", "at a centre"] if laws else [])]]
    for name, each in measured.items():
        rows.append([TITLES[name], number(each.summary()["median"])])
        if laws:
            formula, values = centres[name]
            plain = formula.replace("k_{opp}", "k_opp").translate(str.maketrans("{}", "()"))
            rows[-1] += [number(laws[name]), f"{plain} = {numbers(values)}"]
    return f"{table(rows)}\n{_LAW if laws else _NO_LAW}\n"


def radii(measured: Mapping[str, Robustness]) -> str:
    """Quantiles of the exact radius, a line a classifier."""
    names = ("min", "p10", "median", "p90", "max")
    head = ["exact robust radius, l2", *names, "settled exactly", "largest t*/r"]
    rows = [head]
    for name, each in measured.items():
        summary = each.summary()
        share = summary["share_exact"]
        cells = [number(summary[q]) for q in names]
        ratio = number(summary["largest_closed_form_ratio"])
        rows.append([TITLES[name], *cells, percent(share or 0.0), ratio])
    return f"{table(rows)}\np10, p90: percentiles of the samples.\n{RATIO}"


def robust_accuracies(measured: Mapping[str, Robustness], laws: Mapping[str, Array]) -> str:
    """Robust accuracy at each radius, and how far each attack is above the truth."""
    tables = []
    for name, each in measured.items():
        head, *rows = _curve_rows(each, laws.get(name))
        tables.append(f"robust accuracy, {TITLES[name]}\n{table([head, *telling(rows)])}")
    return "\n\n".join(tables) + f"\n{'law, ' if laws else ''}{_CURVES}"


def linf(measured: Mapping[str, Robustness], d: int) -> str:
    """Median radii in l_inf, and those of averaging; what l2 would say of random directions."""
    summaries = {name: each.summary() for name, each in measured.items()}
    medians = {name: each["median"] or math.inf for name, each in summaries.items()}
    rows = [[f"exact robust radius, l_inf, {_count(measured)}", "median", "over averaging", "PGD"]]
    for name, each in summaries.items():
        ratio = medians[name] / medians["averaging"] if medians["averaging"] < math.inf else None
        gap = f"{100 * each['largest_pgd_gap']:+.1f}"
        rows.append([TITLES[name], number(medians[name]), number(ratio), gap])
    return f"{table(rows)}\n{_LINF.format(s=number(math.sqrt(2 * d / math.pi)))}"


def _count(measured: Mapping[str, Robustness]) -> str:
    return first(len(measured["averaging"].radius.upper))


def _curve_rows(each: Robustness, law: Array | None) -> Iterator[list[str]]:
    exact, tried = each.exact(each.epsilons)[0], each.attacks()
    yield ["epsilon", *([] if law is None else ["law"]), "exact", *ATTACKS]
    for row, e in enumerate(each.epsilons):
        known = [] if law is None else [percent(law[row])]
        attacks = [
            cell
            for attack in (tried["closed_form"], tried["pgd"])
            for cell in (percent(attack[row]), f"{100 * (attack[row] - exact[row]):+.1f}")
        ]
        yield [number(float(e)), *known, percent(exact[row]), *attacks]
