"""The figures: cosines as in the paper's Figure 2, robust accuracy as in its Figure 3.

matplotlib is imported when a figure is drawn, without a display. The colours are those of Okabe and
Ito and, for networks, of Tol, which people with any colour vision tell apart; lines differ in their
dashes as well.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refimpl._arrays import Array
from refimpl._extras import install
from refimpl._files import atomic_write
from refimpl.experiments.comparison import TITLES, Comparison
from refimpl.experiments.robustness import Robustness, Threat
from refimpl.radius import RobustRadius, robust_accuracy

BLACK, ORANGE, BLUE, GREEN = "#000000", "#D55E00", "#56B4E9", "#009E73"
PURPLE, OLIVE, PINK = "#332288", "#999933", "#CC79A7"  # of networks: other than those of attacks
CONFIDENCE = 0.95  # of what samples say of the distribution they were drawn from
DPI = 150
STYLES: dict[str, dict[str, Any]] = {
    "law": {
        "color": BLUE,
        "linewidth": 5,
        "alpha": 0.6,
        "zorder": 0.6,
        "label": "law of the idealised network",
    },
    "confidence": {
        **{"color": BLACK, "alpha": 0.3, "zorder": 0.8, "linewidth": 0.8},
        "label": f"{100 * CONFIDENCE:g} % confidence of the distribution\n(Clopper-Pearson)",
    },
    "upper": {"color": BLACK, "linewidth": 1, "linestyle": "--", "label": "upper bound"},
    "lower": {"color": BLACK, "linewidth": 1.6, "label": "lower bound"},
    "exact": {"color": BLACK, "linewidth": 1.6, "label": "exact"},
    "closed_form": {"color": ORANGE, "linestyle": (0, (5, 2)), "label": "closed-form attack"},
    "pgd": {
        **{"color": GREEN, "linestyle": ":", "marker": "o", "markersize": 4},
        "label": r"PGD, afresh at each $\epsilon$",  # so that its shares may rise again
    },
    "averaging": {"color": PURPLE, "label": TITLES["averaging"]},
    "group_max": {"color": OLIVE, "linestyle": "-.", "label": TITLES["group_max"]},
    "group_sum": {"color": PINK, "linestyle": "--", "label": TITLES["group_sum"]},
}
_HISTOGRAMS: tuple[dict[str, Any], ...] = (
    {"color": BLUE, "edgecolor": BLACK, "linewidth": 0.5},
    {"color": ORANGE, "histtype": "step", "linewidth": 1.6},
)
NORMS = {1: r"\ell_1", 2: r"\ell_2", math.inf: r"\ell_\infty"}
_SAME = 1e-6  # relative spread up to which radii are all the same
_NO_STEPS = ("law", "pgd")  # one is continuous, of the other only the marks are known
_LONG_NAME = 4  # characters that fit under a column
_MOST_NUMBERS = 400  # cells up to which each has its number written in it
_MOST_DROPS = 2000  # of a curve that are drawn one by one; more are narrower than a pixel


class Band(NamedTuple):
    """A curve of robust accuracies between a smallest and a largest one, all (e,)."""

    epsilons: Array
    accuracy: Array
    low: Array
    high: Array


class Area(NamedTuple):
    """What lies between two curves of robust accuracies, all (e,)."""

    epsilons: Array
    low: Array
    high: Array


Curve = tuple[Array, Array] | Band | Area


class Curves(NamedTuple):
    """One panel: a title, and curves (epsilons, robust accuracies) by a name of `STYLES`."""

    title: str
    curves: Mapping[str, Curve]


class Cosines(NamedTuple):
    """One panel: a title, cosines (k,M), what the rows and columns are, and names of each."""

    title: str
    values: Array
    rows: str
    columns: str
    row_names: Sequence[str]
    column_names: Sequence[str]


def drops(last: float, *radii: Array) -> Array:
    """Where shares of samples with radii above epsilon change between 0 and `last`, and both ends.

    >>> drops(3.0, np.array([2.0, 1.0]), np.array([np.inf, 1.0])).tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    grid = np.unique(np.clip(np.concatenate([*radii, [0.0, last]]), 0, last))
    return grid if len(grid) <= _MOST_DROPS else np.linspace(0, last, _MOST_DROPS)


def bounds(radius: RobustRadius, last: float) -> dict[str, Curve]:
    """Curves of proven bounds up to `last`: one, the exact curve, where they are the same.

    With them goes what they say of the distribution that the samples were drawn from.
    """
    grid = drops(last, radius.lower, radius.upper)
    lower, upper = robust_accuracy(radius, grid)
    band = {"confidence": confidence([radius], grid)}
    if exact_up_to(radius, last):
        return {**band, "exact": (grid, lower)}
    return {**band, "lower": (grid, lower), "upper": (grid, upper)}


def exact_up_to(radius: RobustRadius, last: float) -> bool:
    """Whether the curve up to `last` is exact: bounds that have not met are all above it."""
    return bool(((radius.status != "bounded") | (radius.lower > last)).all())


def confidence(radii: Sequence[RobustRadius], epsilons: Array) -> Area:
    """Bands of `robust_accuracy` at `CONFIDENCE`, from the lowest to the highest of some runs."""
    ends = [robust_accuracy(each, epsilons, confidence=CONFIDENCE) for each in radii]
    lower, upper = zip(*ends, strict=True)
    return Area(epsilons, np.min(lower, axis=0), np.max(upper, axis=0))


def robustness_curves(each: Robustness, last: float) -> dict[str, Curve]:
    """Bounds of the truth and both attacks of one classifier, up to `last`."""
    curves = {**bounds(each.radius, last), "pgd": (each.epsilons, each.pgd)}
    if each.steps is not None:
        flips = drops(last, each.steps)
        curves["closed_form"] = flips, robust_accuracy(each.steps, flips)[0]
    return curves


def available() -> bool:
    """Whether matplotlib is there; if not, one line on standard error says so."""
    if find_spec("matplotlib") is None:
        print(
            f"refimpl: no figures, since matplotlib is not installed: {install('plot')}",
            file=sys.stderr,
        )
        return False
    return True


def cosine_panels(
    comparison: Comparison,
    summary: Mapping[str, Any],
    names: Sequence[str],
    *,
    feature: str = "feature",
    seed: int | None = None,
) -> list[Cosines]:
    """Panels of the paper's Figure 2: rows sorted by class, and columns where each has a feature.

    `summary` is that of the comparison; `feature` says what the rows are, `names` what each is
    called; `seed` is that of the networks, where there are several.
    """
    order = np.argsort(-comparison.labels, kind="stable")
    two, ten = comparison.cosines()
    sorted_names = [names[i] for i in order]
    rows = rf"{feature} $\mu_i$ (labels $+1$ above, $-1$ below)"
    of_seed = "" if seed is None else f", seed {seed}"
    size = comparison.binary.n_hidden // two.shape[1]
    means = "one neuron" if size == 1 else f"mean of {size} neurons next to each other"
    of_class = "neuron" if comparison.h == 1 else f"mean of the {comparison.h} neurons"
    of_two, of_ten = summary["two_class"], summary["ten_class"]
    own, other = (of_two[f"cosine_{name}"]["median"] for name in ("own", "other"))
    diagonal, off = (of_ten[f"cosine_{name}"]["median"] for name in ("diagonal", "off_diagonal"))
    return [
        Cosines(
            f"2-class network{of_seed}: median cosine {own:z.2f} with\n"
            f"the {feature}s of the neuron's sign, {other:z.2f} with the others",
            two[order],
            rows,
            f"equivalent weights, {means}\n(output weight $+$ on the left, $-$ on the right)",
            sorted_names,
            ["$+$" if a > 0 else "$-$" for a in comparison.binary.A[0, ::size]],
        ),
        Cosines(
            f"multi-class network{of_seed}: median cosine {diagonal:z.2f} with\n"
            f"the {feature} of the neuron's class, {off:z.2f} with the others",
            ten[order][:, order],
            rows,
            f"equivalent weights, {of_class} of the class\n"
            "(label $+1$ on the left, $-1$ on the right)",
            sorted_names,
            sorted_names,
        ),
    ]


def draw_cosines(path: Path, panels: Sequence[Cosines], *, title: str = "") -> None:
    """Heat maps of cosines side by side; `title` says of what data."""
    figure = new_figure(5.2 * len(panels) + 0.8, 4.8 + 0.3 * bool(title))
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for ax, panel in zip(axes, panels, strict=True):
        image = ax.imshow(panel.values, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        ax.set_title(panel.title, fontsize=10)
        ax.set_xlabel(panel.columns)
        ax.set_ylabel(panel.rows)
        _ticks(ax.yaxis, panel.row_names)
        _ticks(ax.xaxis, panel.column_names)
        if max(map(len, panel.column_names)) > _LONG_NAME:
            ax.tick_params(axis="x", labelrotation=60)
        _write_numbers(ax, panel.values)
    figure.colorbar(image, ax=list(axes), label="cosine", fraction=0.03, pad=0.02)
    if title:
        figure.suptitle(title, fontsize=11)
    save(figure, path)


def draw_robustness(
    path: Path,
    panels: Sequence[Curves],
    *,
    unit: str,
    norm: float = 2,
    columns: int | None = None,
    title: str = "",
) -> None:
    """Robust accuracy against the radius, a panel a classifier, on the same axes.

    The panels are side by side, or `columns` of them in a row. `title` says of what data.
    """
    columns = columns or len(panels)
    rows = -(-len(panels) // columns)
    width = 3.6 * columns + 0.4 + (columns == 1)
    figure = new_figure(width, 3.3 * rows + 0.5 + 0.3 * bool(title))
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    axes = list(grid.flat)[: len(panels)]
    for ax, panel in zip(axes, panels, strict=True):
        _draw_curves(ax, panel)
    for ax in grid[-1]:
        ax.set_xlabel(rf"radius $\epsilon$, ${NORMS[norm]}$ distance in {unit}")
    for ax in grid[:, 0]:
        ax.set_ylabel("robust accuracy, %")
    for ax, panel in zip(axes, panels, strict=True):
        if panel.curves.keys() <= TITLES.keys():  # networks: a legend apart from that of attacks
            ax.legend(frameon=False, fontsize=8)
    shared = [ax for ax in axes if ax.get_legend() is None]
    handles: dict[str, Any] = {}
    for ax in shared:
        handles |= dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    if len(handles) > 1:
        wide, place = _legend_columns(handles, width), "outside lower center"
        figure.legend(handles=list(handles.values()), loc=place, ncols=wide, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11)
    save(figure, path)


def _legend_columns(labels: Iterable[str], width: float) -> int:
    """All of the labels in one row if it is about as wide as the figure, else in two rows."""
    inches = [0.6 + 0.07 * max(map(len, label.split("\n"))) for label in labels]
    return len(inches) if sum(inches) <= width else -(-len(inches) // 2)


def _draw_curves(ax: Any, panel: Curves) -> None:
    """Draw one panel, a band under its line."""
    for name, style in STYLES.items():
        if name not in panel.curves:
            continue
        curve, steps = panel.curves[name], name not in _NO_STEPS
        if isinstance(curve, Area):
            _fill(ax, curve, steps, **style)
            continue
        drawstyle = "steps-post" if steps else "default"
        whole = {"clip_on": "marker" not in style}  # no marker is cut at an edge
        ax.plot(curve[0], 100 * curve[1], drawstyle=drawstyle, **whole, **style)
        if isinstance(curve, Band):
            area = Area(curve.epsilons, curve.low, curve.high)
            _fill(ax, area, steps, color=style["color"], alpha=0.2)
    ax.set_title(panel.title, fontsize=10)
    ax.set_ylim(-3, 103)
    ax.margins(x=0.01)
    ax.grid(alpha=0.25)


def _fill(ax: Any, area: Area, steps: bool, **style: Any) -> None:
    low, high = 100 * area.low, 100 * area.high
    step = "post" if steps else None
    ax.fill_between(area.epsilons, low, high, step=step, **{"linewidth": 0, **style})


def draw_radii(out: Path, radius: RobustRadius, threat: Threat) -> None:
    """Draw histogram.png and curve.png of the radii of samples."""
    box = threat.box
    space = "input space" if box is None else f"the box [{box[0]:g}, {box[1]:g}]"
    where: dict[str, Any] = {"unit": space, "norm": threat.norm}
    exact = (radius.status != "bounded").all()
    by_label = {"exact": radius.upper}
    if not exact:
        by_label = {"lower bound": radius.lower, "upper bound": radius.upper}
    wrong = int((radius.upper == 0).sum())
    title = _known(radius, "radii") + (f"\n(misclassified, radius 0: {wrong})" if wrong else "")
    draw_histogram(out / "histogram.png", by_label, title=title, **where)
    values = np.concatenate([radius.lower, radius.upper])
    last = 1.05 * float(values[np.isfinite(values)].max(initial=0.0)) or 1.0
    panel = Curves(_known(radius, "accuracy"), bounds(radius, last))
    draw_robustness(out / "curve.png", [panel], **where)


def _known(radius: RobustRadius, what: str) -> str:
    """Say whether radii, or accuracies, are exact or bounds."""
    n, bounded = len(radius.status), int((radius.status == "bounded").sum())
    samples = f"{n} sample{'s' * (n != 1)}"
    if not bounded:
        return f"Exact robust {what}, {samples}"
    return (
        f"Lower and upper bounds of robust {what}, {samples}\n(radii known exactly: {n - bounded})"
    )


def draw_histogram(
    path: Path, by_label: Mapping[str, Array], *, title: str, unit: str, norm: float = 2
) -> None:
    """Histogram of the finite ones of some radii, one over the other where there are two."""
    finite = [radii[np.isfinite(radii)] for radii in by_label.values()]
    infinite = sum(map(len, by_label.values())) - sum(map(len, finite))
    figure = new_figure(5.0, 3.6)
    ax = figure.subplots()
    for radii, label, style in zip(finite, by_label, _HISTOGRAMS, strict=False):
        ax.hist(radii, bins=_edges(np.concatenate(finite)), label=label, **style)
    if len(finite) > 1:
        ax.legend(frameon=False)
    ax.set_title(
        title + (f"\n(infinite ones, not shown: {infinite})" if infinite else ""), fontsize=10
    )
    ax.set_xlabel(rf"robust radius, ${NORMS[norm]}$ distance in {unit}")
    ax.set_ylabel("samples")
    ax.yaxis.get_major_locator().set_params(integer=True)
    save(figure, path)


def _edges(values: Array) -> Array:
    """Edges of the bins: about as many as the root of the number of values."""
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    if high - low <= _SAME * high:
        low, high = 0.0, high or 1.0
    return np.linspace(low, high, 1 + min(30, max(5, math.isqrt(len(values)))))


def new_figure(width: float, height: float) -> Any:
    """Make an empty figure of this size in inches."""
    from matplotlib.figure import Figure  # not pyplot: no display and no global state

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=DPI)


def _ticks(axis: Any, names: Sequence[str]) -> None:
    every = max(1, len(names) // 16)
    axis.set_ticks(range(0, len(names), every), labels=list(names)[::every])


def _write_numbers(ax: Any, values: Array) -> None:
    if values.size > _MOST_NUMBERS:
        return
    size = min(8, 80 / values.shape[1])
    for (i, j), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 else "black"
        ax.text(j, i, f"{value:z.2f}", ha="center", va="center", fontsize=size, color=colour)
