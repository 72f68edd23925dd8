"""Figures of the experiments on real data: curves with bands over seeds, and a strip of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.experiments.comparison import TITLES
from refimpl.experiments.figures import (
    Band,
    Curve,
    Curves,
    confidence,
    draw_robustness,
    drops,
    exact_up_to,
    new_figure,
    save,
)
from refimpl.experiments.report import counted, number
from refimpl.experiments.robustness import THREATS, Robustness, Threat
from refimpl.experiments.tasks import Task
from refimpl.radius import RobustRadius, robust_accuracy

_IMAGES = 8
_NARROWEST = 5.5  # inches that a title takes
_COMPARED = ("averaging", "group_max")


def draw_curves(
    path: Path,
    measured: Sequence[Mapping[str, Robustness]],
    *,
    task: Task,
    threat: Threat = THREATS["l2"],
) -> None:
    """Robust accuracy: a panel for the three classifiers, then one for each and its attacks.

    Lines are medians over the seeds, bands go from the smallest to the largest. Below them lies
    what the samples say of the distribution, over all seeds.
    """
    by_name = {name: [each[name] for each in measured] for name in measured[0]}
    radii = [run.radius for runs in by_name.values() for run in runs]
    last = max(float(measured[0]["averaging"].epsilons[-1]), *map(_nearly_all, radii))
    truth = {
        name: _steps(last, [run.radius.lower for run in runs]) for name, runs in by_name.items()
    }
    panels = [Curves(_title(radii, last, len(measured)), truth)]
    panels += [_panel(name, last, each) for name, each in by_name.items()]
    within = "" if threat.box is None else ", within [0, 1]"
    title = f"{task.name}{within}: {counted(len(radii[0].lower), 'test sample')}"
    draw_robustness(path, panels, unit=task.unit, norm=threat.norm, columns=2, title=title)


def _nearly_all(radius: RobustRadius) -> float:
    """Radius within which 99 % of the samples flip that are known to flip."""
    flips = radius.upper[(radius.status != "bounded") & (radius.upper < np.inf)]
    return float(np.quantile(flips, 0.99, method="higher")) if len(flips) else 0.0


def _title(radii: Sequence[RobustRadius], last: float, seeds: int) -> str:
    """Say whether curves up to `last` are exact, and of how many seeds they are."""
    over = f"median and range of {seeds} seeds" if seeds > 1 else "one seed"
    if all(exact_up_to(each, last) for each in radii):
        return f"Exact robust accuracy\n({over})"
    status = np.concatenate([each.status for each in radii])
    exact = int((status != "bounded").sum())
    return f"Proven robust accuracy, {exact} of {len(status)}\nradii exact ({over})"


def _panel(name: str, last: float, runs: Sequence[Robustness]) -> Curves:
    """Bounds and attacks of one classifier; the bounds are one where they agree."""
    lower = _steps(last, [each.radius.lower for each in runs])
    upper = _steps(last, [each.radius.upper for each in runs])
    settled = all(exact_up_to(each.radius, last) for each in runs)
    radii = [each.radius for each in runs]
    grid = drops(last, *(bound for each in radii for bound in (each.lower, each.upper)))
    curves: dict[str, Curve] = {"confidence": confidence(radii, grid)}
    curves |= {"exact": lower} if settled else {"lower": lower, "upper": upper}
    steps = [each.steps for each in runs if each.steps is not None]
    if steps:
        curves["closed_form"] = _steps(last, steps)
    curves["pgd"] = _band(runs[0].epsilons, [each.pgd for each in runs])
    half = number(_half([each.radius.upper for each in runs]))
    return Curves(f"{TITLES[name]}:\nhalf the samples flip within {half}", curves)


def _half(radii: Sequence[Array]) -> float:
    """Where the median over runs of the shares of samples above epsilon has fallen to a half.

    >>> _half([np.array([1.0, 3.0, np.inf]), np.array([2.0, 4.0, np.inf])])
    3.0
    >>> _half([np.array([1.0]), np.array([np.inf])]), _half([np.array([np.inf])])
    (1.0, inf)
    """
    at = np.unique(np.concatenate([*radii, [np.inf]]))
    shares = np.median([[(each > e).mean() for e in at] for each in radii], axis=0)
    return float(at[np.argmax(shares <= 0.5)])


def _steps(last: float, radii: Sequence[Array]) -> Band:
    """Shares of samples above epsilon, over runs."""
    grid = drops(last, *radii)
    return _band(grid, [robust_accuracy(each, grid)[0] for each in radii])


def _band(epsilons: Array, curves: Sequence[Array]) -> Band:
    low, middle, high = (of(curves, axis=0) for of in (np.min, np.median, np.max))
    return Band(epsilons, middle, low, high)


def draw_strip(
    path: Path,
    task: Task,
    x: Array,
    classes: IntArray,
    measured: Mapping[str, Robustness],
) -> None:
    """Images, their nearest adversarial ones for two classifiers, and the differences."""
    radii = {name: measured[name].radius for name in _COMPARED}
    right = np.all([(r.upper > 0) & (r.upper < np.inf) for r in radii.values()], axis=0)
    shown = _one_of_each(classes, np.flatnonzero(right))[:_IMAGES]
    if not len(shown):
        return
    largest = max(float(np.abs(r.perturbation[shown]).max()) for r in radii.values())
    signed_map = len(task.image_shape or ()) == 2  # a colour image has no colours left for signs
    figure = new_figure(max(1.25 * len(shown) + 2.2, _NARROWEST), 7.4)
    axes = figure.subplots(5, len(shown), squeeze=False)
    rows: list[tuple[str, Array, RobustRadius | None]] = [("image", x, None)]
    for name, radius in radii.items():
        title = TITLES[name].replace(", ", ",\n")
        exact = (radius.status[shown] == "exact").all()
        adversarial = x + np.nan_to_num(radius.perturbation)
        rows.append(
            (f"{title}:\nnearest\n{'adversarial' if exact else 'found'}", adversarial, radius)
        )
        rows.append(("difference", np.nan_to_num(radius.perturbation), None))
    for line, (label, values, radius_of) in zip(axes, rows, strict=True):
        signed = label == "difference"
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
        for ax, i in zip(line, shown, strict=True):
            mappable = _show(ax, values[i].reshape(task.image_shape), largest, signed=signed)
            if radius_of is not None:
                ax.set_title(_radius(radius_of, i), fontsize=9)
        if signed and signed_map:
            figure.colorbar(mappable, ax=list(line), label="pixel units", fraction=0.02, pad=0.01)
    for ax, i in zip(axes[0], shown, strict=True):
        ax.set_title(task.class_names[classes[i]], fontsize=9)
    coloured = "" if signed_map else f"\n(in differences grey is 0, full colour {largest:.2g})"
    open_ones = any((each.status[shown] != "exact").any() for each in radii.values())
    bounds = " ($\\leq$: a nearer one may exist)" if open_ones else ""
    figure.suptitle(
        rf"{task.name}: nearest adversarial images within [0, 1],"
        f"\n$r$ their $\\ell_2$ distance{bounds}{coloured}",
        fontsize=10,
    )
    save(figure, path)


def _radius(radius: RobustRadius, i: int) -> str:
    """Say the radius of a sample, or its upper bound where that is all that is known."""
    sign = "=" if radius.status[i] == "exact" else r"\leq"
    return rf"$r {sign} {number(float(radius.upper[i]))}$"


def _one_of_each(classes: IntArray, candidates: IntArray) -> IntArray:
    """Order candidates so that the first of each class come before the second."""
    seen: dict[int, int] = {}
    rank = []
    for i in candidates:
        seen[int(classes[i])] = seen.get(int(classes[i]), 0) + 1
        rank.append(seen[int(classes[i])])
    return candidates[np.lexsort((classes[candidates], np.array(rank)))]


def _show(ax: Any, image: Array, largest: float, *, signed: bool) -> Any:
    """Draw an image of pixels in [0, 1], or a difference of at most `largest` in size."""
    ax.set_xticks([])
    ax.set_yticks([])
    if image.ndim == 3:
        return ax.imshow(np.clip(0.5 + image / (2 * largest) if signed else image, 0, 1))
    if signed:
        return ax.imshow(image, cmap="RdBu_r", vmin=-largest, vmax=largest)
    return ax.imshow(image, cmap="gray", vmin=0, vmax=1)
