"""Figures of `sweeps`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from proofs_numeric import sweep_results as results
from proofs_numeric.drawing import MARKS, NAMES
from refimpl._arrays import Array
from refimpl.experiments.figures import BLACK, new_figure
from refimpl.experiments.sweep import Outcome
from refimpl.theory import KINDS

TITLES = {
    "averaging": "averaging, 2-class network",
    "group_max": "decoupling, group max",
    "group_sum": "decoupling, group sum",
}
_ASIDE = (0.96, 1.0, 1.04)  # factors of d that set marks apart
_AXES = {"start": ("sigma", "steps"), "data": ("cosine", "noise"), "classes": ("positive", "n")}
_NAMES = {
    "d": "input dimension $d$",
    "k": "clusters $k$",
    "sigma": r"standard deviation $\sigma$ of initial weights",
    "steps": "gradient descent steps $T$",
    "cosine": "cosine of each two features",
    "noise": "standard deviation of the noise",
    "n": "training samples $n$",
    "positive": "clusters with label $+1$, of 10",
}


def draw_slopes(outcomes: Sequence[Outcome], rows: results.Slopes) -> Any:
    """Draw median radii against d and k, each seed a mark, the theory dashed."""
    figure = new_figure(11.0, 5.0)
    for ax, axis in zip(figure.subplots(1, 2, sharey=True), ("d", "k"), strict=True):
        x = results.values_along(outcomes, axis)
        for kind, (colour, marker) in MARKS.items():
            each = rows[kind, axis]
            label = (
                f"{NAMES[kind]}: {each.mean:+z.3f} [{each.low:+z.3f}, {each.high:+z.3f}], "
                f"centre {each.centre:+z.3f}, law {each.law:+z.3f}"
            )
            grid = [results.along(outcomes, axis, seed) for seed in results.seeds(outcomes)]
            y = [[results.median(o, "trained", kind) for o in row] for row in grid]
            ax.loglog(x, np.transpose(y), marker, color=colour, alpha=0.6, markersize=5)
            centres = [results.centre_along(kind, axis, value) for value in x]
            ax.loglog(x, centres, "--", color=colour, marker=marker, markevery=[], label=label)
        ax.set_yticks((ticks := [6, 10, 15, 20, 30, 40]), labels=map(str, ticks))
        ax.set_ylim(top=80)
        fixed = f"at $k$ = {results.K}" if axis == "d" else f"at $d$ = {results.D}"
        _finish(ax, x, f"{_NAMES[axis]}, {fixed}")
        title = "slope [95 % interval], slope of the radius at a centre, of the law"
        ax.legend(frameon=False, fontsize=8, loc="upper left", title=title, title_fontsize=8)
    figure.axes[0].set_ylabel(r"median exact radius, $\ell_2$")
    figure.suptitle(
        "Averaging scales as derived, group max as its law; group sum falls more slowly with $k$ "
        "than derived\n(marks: trained networks, a seed each; "
        "dashed: radii derived for idealised networks at a centre, E19 to E21)",
        fontsize=11,
    )
    return figure


def draw_laws(outcomes: Sequence[Outcome]) -> Any:
    """Draw median radius less the law's median, against d, for the three classifiers."""
    figure = new_figure(12.0, 4.6)
    axes = figure.subplots(1, 3)
    x = results.values_along(outcomes, "d")
    grid = [results.along(outcomes, "d", seed) for seed in results.seeds(outcomes)]
    curves = _medians({each.point: results.explained(each) for row in grid for each in row})
    for ax, kind in zip(axes, KINDS, strict=True):
        for aside, (label, (value_of, style)) in zip(_ASIDE, curves.items(), strict=True):
            low, mean, high = _shifts(grid, kind, value_of)
            ax.errorbar(
                aside * np.array(x),
                mean,
                [mean - low, high - mean],
                capsize=3,
                label=label,
                **style,
            )
        ax.axhline(0, color=BLACK, linewidth=0.8)
        ax.set_xscale("log")
        ax.set_title(TITLES[kind], fontsize=10)
        _finish(ax, x, _NAMES["d"])
    axes[0].set_ylabel(r"median exact radius less the law's, $\ell_2$")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    figure.suptitle(
        "The laws derived for the radius of idealised networks (E23 to E25) hold at every $d$; "
        "trained ones are shifted, mostly by their\ncosines with other features, which group sum "
        f"adds up ($k$ = {results.K}, noise 1, bars: 95 % intervals over seeds; marks set apart)",
        fontsize=11,
    )
    return figure


def _medians(
    causes: Mapping[Any, Mapping[str, float]],
) -> dict[str, tuple[Callable[[Outcome, str], float], dict[str, Any]]]:
    """Name what is drawn of outcomes, whose cosines and norms explain `causes`, and its style."""
    blue, red = MARKS["group_max"][0], MARKS["averaging"][0]
    return {
        "idealised network": (
            lambda each, kind: results.median(each, "idealised", kind),
            {"color": blue, "marker": "s", "linestyle": "--"},
        ),
        "trained network": (
            lambda each, kind: results.median(each, "trained", kind),
            {"color": BLACK, "marker": "o"},
        ),
        "idealised, with the trained cosines and norms": (
            lambda each, kind: causes[each.point][kind],
            {"color": red, "marker": "^", "linestyle": ":"},
        ),
    }


def _shifts(
    grid: Sequence[Sequence[Outcome]], kind: str, value_of: Callable[[Outcome, str], float]
) -> Any:
    """Interval (low, mean, high) over seeds of a value less the law's median, at each point."""
    shifts = [[value_of(o, kind) - results.law_median(o, kind) for o in row] for row in grid]
    return np.transpose([results.interval(each) for each in zip(*shifts, strict=True)])


def draw_phases(phases: Mapping[str, Sequence[Outcome]]) -> Any:
    """Draw heat maps of alignment and of the radius over the ideal; * marks lost accuracy."""
    figure = new_figure(14.0, 8.0)
    axes = figure.subplots(2, len(phases))
    for row, (what, (unit, value_of)) in zip(axes, _MEASURES.items(), strict=True):
        cells = {name: _cells(phases[name], _AXES[name], value_of) for name in phases}
        values = [value for each in cells.values() for value in each.ravel().tolist()]
        ends = min([0.0, *values]), max([1.0, *values])
        for ax, (name, outcomes) in zip(row, phases.items(), strict=True):
            image = _heat_map(ax, outcomes, _AXES[name], cells[name], ends)
            ax.set_title(what, fontsize=10)
        figure.colorbar(image, ax=list(row), label=unit, fraction=0.02, pad=0.01)
    figure.suptitle(
        "Neurons stop being class averages from large initial weights, for feature cosines above "
        "0.3, under strong noise and with few samples, not by imbalance or long training;\n"
        "no network is more robust by it than the idealised one, whose neurons are exact sums of "
        "a class's features\n($k$ = 6 clusters, in the right column 10, in $d$ = 1024 dimensions; "
        "means over seeds; *: clean accuracy below 99 %)",
        fontsize=11,
    )
    return figure


def _finish(ax: Any, x: Sequence[int], label: str) -> None:
    ax.set_xticks(x, labels=map(str, x))
    ax.minorticks_off()
    ax.set_xlabel(label)
    ax.grid(alpha=0.25)


def _heat_map(
    ax: Any,
    outcomes: Sequence[Outcome],
    names: tuple[str, str],
    cells: Array,
    ends: tuple[float, float],
) -> Any:
    rows, columns = (results.values_of(outcomes, name) for name in names)
    lost = _cells(outcomes, names, _accuracy) < 0.99
    image = ax.imshow(cells, cmap="cividis", aspect="auto", origin="lower", clim=ends)
    for (i, j), value in np.ndenumerate(cells):
        colour = "white" if value < sum(ends) / 2 else "black"
        text = f"{value:z.2f}{'*' if lost[i, j] else ''}"
        ax.text(j, i, text, ha="center", va="center", color=colour, fontsize=9)
    ax.set_yticks(range(len(rows)), labels=[f"{value:g}" for value in rows])
    ax.set_xticks(range(len(columns)), labels=[f"{value:g}" for value in columns])
    ax.set_ylabel(_NAMES[names[0]])
    ax.set_xlabel(_NAMES[names[1]])
    return image


def _cells(
    outcomes: Sequence[Outcome], names: tuple[str, str], value_of: Callable[[Outcome], float]
) -> Array:
    """Means over the seeds at all places of a grid."""
    rows, columns = (results.values_of(outcomes, name) for name in names)
    return np.array([[_cell(outcomes, names, (r, c), value_of) for c in columns] for r in rows])


def _cell(
    outcomes: Iterable[Outcome],
    names: tuple[str, str],
    at: tuple[Any, Any],
    value_of: Callable[[Outcome], float],
) -> float:
    """Mean over the seeds at one place."""
    here = [o for o in outcomes if tuple(getattr(o.point, name) for name in names) == at]
    return float(np.mean([value_of(outcome) for outcome in here]))


def _ratio(outcome: Outcome) -> float:
    ideal = results.median(outcome, "idealised", "averaging")
    return results.median(outcome, "trained", "averaging") / ideal if ideal else math.nan


def _accuracy(outcome: Outcome) -> float:
    accuracy: float = results.result(outcome)["trained"]["averaging"]["accuracy"]
    return accuracy


def _alignment(outcome: Outcome) -> float:
    alignment: float = results.result(outcome)["averaging"]["alignment"]
    return alignment


_MEASURES: dict[str, tuple[str, Callable[[Outcome], float]]] = {
    "smallest alignment of a neuron with its class average": ("cosine", _alignment),
    "median exact radius over that of the idealised network": ("ratio", _ratio),
}
