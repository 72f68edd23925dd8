"""What an experiment over several seeds prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from refimpl.experiments.comparison import JSON_NAMES, TITLES
from refimpl.experiments.report import (
    NAMES,
    RATIO,
    first,
    number,
    percent,
    settings_line,
    table,
    telling,
)
from refimpl.experiments.robustness import EDGES, THREATS

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
_OTHERS = """\
Of the {first}. PGD stays in the ball of its norm, and in the range, if there is one.
Of samples left bounded, exact counts the lower bounds."""
_GAINS = """\
Above 1 finer labels help; averaging helps where both are below 1. Medians of the
{first} are compared within each seed."""


def text(summary: Mapping[str, Any]) -> str:
    """Say settings, accuracies, cosines, radii, gaps and curves of ``summary.json``."""
    one = summary["settings"]["seeds"] == 1
    over = _once(summary["over_seeds"]) if one else summary["over_seeds"]
    parts = [
        f"data: {summary['data']}\n{settings_line(summary['settings'])}",
        f"{_accuracies(over)}\n{NAMES}",
        _cosines(over),
    ]
    parts += [_radii(over), _gaps(over), *(_curves(over, name) for name in TITLES)]
    parts[-1] += f"\n{_READ}"
    few = first(summary["settings"]["other_radii"])
    for threat, each in over["threats"].items():
        parts.append(f"{_other(each, str(THREATS[threat]))}\n{_OTHERS.format(first=few)}")
    parts.append(f"{_gains(over)}\n{_GAINS.format(first=few)}")
    return "\n\n".join(parts)


def _range(values: Mapping[str, Any], form: Any = number) -> str:
    """Say ``median (min to max)`` over the seeds, or the number of one seed.

    >>> _range({"min": 0.5, "median": 1.0, "max": None}), _range({"median": 1.0})
    ('1 (0.5 to inf)', '1')
    """
    if "min" not in values:
        return str(form(values["median"]))
    median, low, high = (form(values[name]) for name in ("median", "min", "max"))
    return f"{median} ({low} to {high})"


def _once(over: Mapping[str, Any]) -> dict[str, Any]:
    """Leave the smallest and the largest out of what was measured with one seed.

    >>> _once({"a": {"min": {"min": 1.0, "median": 1.0, "max": 1.0}}})
    {'a': {'min': {'median': 1.0}}}
    """
    if over.keys() == EDGES.keys() and not isinstance(over["median"], Mapping):
        return {"median": over["median"]}
    return {name: _once(each) for name, each in over.items()}


def _accuracies(over: Mapping[str, Any]) -> str:
    one = "min" not in over["two_class"]["clean_accuracy"]
    rows = [["clean accuracy", "one seed" if one else "median over seeds (min to max)"]]
    rows += [[name, _range(over[net][key], percent)] for name, (net, key) in _ACCURACIES.items()]
    return table(rows)


def _cosines(over: Mapping[str, Any]) -> str:
    rows = [["cosine of equivalent weights and", "smallest", "median", "largest"]]
    for name, (net, key) in _COSINES.items():
        cells = [f"{over[net][key][q]['median']:.3f}" for q in ("min", "median", "max")]
        rows.append([name, *cells])
    return f"{table(rows)}\n{_EXTREMES}"


def _radii(over: Mapping[str, Any]) -> str:
    rows = [["robust radius, l2", "p10", "p90", "median", "left bounded", "median lower bound"]]
    for name, title in TITLES.items():
        each = over["radius"][JSON_NAMES[name]]
        cells = [number(each[key]["median"]) for key in ("p10", "p90")]
        cells += [_range(each[key]) for key in ("median", "bounded")]
        rows.append([title, *cells, number(each["median_lower"]["median"])])
    return f"{table(rows)}\n{_BOUNDED}"


def _other(over: Mapping[str, Any], threat: str) -> str:
    """Say radii, gaps and curves of all classifiers under another threat."""
    rows = [
        [f"robust radius, {threat}", "p10", "p90", "median", "left bounded", "PGD, largest gap"]
    ]
    columns: dict[str, list[float]] = {}
    for name, title in TITLES.items():
        each = over["radius"][JSON_NAMES[name]]
        cells = [number(each[key]["median"]) for key in ("p10", "p90")]
        cells += [_range(each[key]) for key in ("median", "bounded")]
        rows.append([title, *cells, _range(each["largest_pgd_gap"], _points)])
        curves = over["robust_accuracy"][JSON_NAMES[name]]
        short = "2-class" if name == "averaging" else name.replace("_", " ")
        columns[f"{short}: exact"] = curves["exact"]["median"]
        columns[f"{short}: PGD"] = curves["pgd"]["median"]
    lines = [["epsilon", *columns]]
    for epsilon, *shares in zip(
        over["robust_accuracy"]["epsilons"]["median"], *columns.values(), strict=True
    ):
        lines.append([number(epsilon), *map(percent, shares)])
    head, *body = lines
    curves_title = f"robust accuracy, {threat}: median over seeds"
    return f"{table(rows)}\n\n{curves_title}\n{table([head, *telling(body[::2])])}"


def _gains(over: Mapping[str, Any]) -> str:
    """Say, for each threat, the median radii of both readouts over that of the 2-class network."""
    names = [name for name in TITLES if name != "averaging"]
    rows = [["median radius over that of the 2-class network", *(TITLES[name] for name in names)]]
    for threat, ratios in over["gain"].items():
        cells = [_range(ratios[JSON_NAMES[name]]) for name in names]
        rows.append([str(THREATS[threat]), *cells])
    return table(rows)


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
    yield ["epsilon", *columns]
    for row, epsilon in enumerate(curves["epsilons"]["median"]):
        yield [number(epsilon), *(percent(medians[key][row]) for key in columns.values())]
