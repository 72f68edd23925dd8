"""What an experiment over several seeds prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from refimpl.experiments.comparison import JSON_NAMES, TITLES
from refimpl.experiments.report import (
    NAMES,
    RATIO,
    number,
    percent,
    settings_line,
    table,
    telling,
)

_ACCURACIES = {
    "2-class network: accuracy": ("two_class", "clean_accuracy"),
    "multi-class network: accuracy on the classes": ("ten_class", "clean_accuracy"),
    "multi-class network: accuracy on the two groups": ("ten_class", "group_accuracy"),
}
_COSINES = {
    "2-class network: class mean of the neuron's sign": ("two_class", "cosine_own"),
    "2-class network: class mean of the other sign": ("two_class", "cosine_other"),
    "multi-class network: class mean of the neuron's class": ("ten_class", "cosine_diagonal"),
    "multi-class network: class mean of another class": ("ten_class", "cosine_off_diagonal"),
}
_EXTREMES = """\
Smallest, median and largest of all neurons and classes, each the median over the seeds."""
_BOUNDED = """\
Medians over the seeds (smallest to largest) of the samples' median and percentiles p10, p90; of an
even number of seeds the mean of the two in the middle. In robustness.png the median is taken of the
curves. left bounded: samples whose lower and upper bounds did not meet within max_nodes; of them
the upper bounds are counted, in the last column the lower ones."""
_GAPS = f"""\
Gaps: points by which the share that withstands the attack exceeds the truth, where that is most.
{RATIO}"""
_READ = """\
exact: share of samples with a radius above epsilon (from, to: its bounds); PGD, closed form: share
that withstands the attack. Every second radius of summary.json; rows equal to both neighbours are
left out."""
_BOX = """\
in [0, 1]: share that withstands attacks whose pixels stay in [0, 1]. The truth in that range is not
known: it lies between exact, which has no range, and this."""


def text(summary: Mapping[str, Any]) -> str:
    """Say settings, accuracies, cosines, radii, gaps and curves of ``summary.json``."""
    over = summary["over_seeds"]
    parts = [
        f"data: {summary['data']}\n{settings_line(summary['settings'])}",
        f"{_accuracies(over)}\n{NAMES}",
        _cosines(over),
    ]
    parts += [_radii(over), _gaps(over), *(_curves(over, name) for name in TITLES)]
    boxed = "box" in over["robust_accuracy"]["two_class"]
    return "\n\n".join(parts) + f"\n{_READ}" + (f"\n{_BOX}" if boxed else "")


def _range(values: Mapping[str, Any], form: Any = number) -> str:
    """Say ``median (min to max)`` over the seeds.

    >>> _range({"min": 0.5, "median": 1.0, "max": None})
    '1 (0.5 to inf)'
    """
    median, low, high = (form(values[name]) for name in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def _accuracies(over: Mapping[str, Any]) -> str:
    rows = [["clean accuracy", "median over seeds (min to max)"]]
    rows += [[name, _range(over[net][key], percent)] for name, (net, key) in _ACCURACIES.items()]
    return table(rows)


def _cosines(over: Mapping[str, Any]) -> str:
    rows = [["cosine of equivalent weights and", "smallest", "median", "largest"]]
    for name, (net, key) in _COSINES.items():
        cells = [f"{over[net][key][q]['median']:.3f}" for q in ("min", "median", "max")]
        rows.append([name, *cells])
    return f"{table(rows)}\n{_EXTREMES}"


def _radii(over: Mapping[str, Any]) -> str:
    columns = {"p10": "p10", "p90": "p90", "median": "median"}
    boxed = "median_box" in over["radius"]["two_class"]
    columns |= {"at most, in [0, 1]": "median_box"} if boxed else {}
    rows = [["robust radius, l2", *columns, "left bounded", "median lower bound"]]
    for name, title in TITLES.items():
        each = over["radius"][JSON_NAMES[name]]
        cells = [number(each[key]["median"]) for key in ("p10", "p90")]
        cells += [_range(each[key]) for key in list(columns.values())[2:]]
        cells += [_range(each["bounded"]), number(each["median_lower"]["median"])]
        rows.append([title, *cells])
    note = "\nRadii are those without a range of x: within [0, 1] they are lower bounds."
    return f"{table(rows)}\n{_BOUNDED}{note if boxed else ''}"


def _gaps(over: Mapping[str, Any]) -> str:
    rows = [["attacks above the truth", "PGD, largest gap", "closed form", "largest t*/r"]]
    for name, title in TITLES.items():
        each = over["radius"][JSON_NAMES[name]]
        gaps = [_range(each[f"largest_{a}_gap"], _points) for a in ("pgd", "closed_form")]
        rows.append([title, *gaps, _range(each["largest_closed_form_ratio"])])
    return f"{table(rows)}\n{_GAPS}"


def _points(share: float) -> str:
    """Format a difference of shares in percentage points.

    >>> _points(0.125)
    '+12.5'
    """
    return f"{100 * share:+.1f}"


def _curves(over: Mapping[str, Any], name: str) -> str:
    title = f"robust accuracy, {TITLES[name]}: median over seeds"
    head, *rows = _rows(over["robust_accuracy"], name)
    return f"{title}\n{table([head, *telling(rows[::2])])}"


def _rows(curves: Mapping[str, Any], name: str) -> Iterator[list[str]]:
    medians = {key: values["median"] for key, values in curves[JSON_NAMES[name]].items()}
    columns = {"exact from": "exact", "to": "exact_upper"}
    if medians["exact"] == medians["exact_upper"]:
        columns = {"exact": "exact"}
    columns |= {"PGD": "pgd", "closed form": "closed_form"}
    columns |= {"in [0, 1]": "box"} if "box" in medians else {}
    yield ["epsilon", *columns]
    for row, epsilon in enumerate(curves["epsilons"]["median"]):
        yield [number(epsilon), *(percent(medians[key][row]) for key in columns.values())]
