"""Robust accuracy in truth and under attack, a panel for each problem."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refimpl._arrays import Array
from refimpl.experiments.figures import (
    BLACK,
    BLUE,
    GREEN,
    OLIVE,
    ORANGE,
    PINK,
    PURPLE,
    new_figure,
    save,
)
from refimpl.truth.verdict import Verdict

_COLUMNS = 4
_LOOKS: tuple[dict[str, Any], ...] = (
    {"color": ORANGE, "linestyle": (0, (5, 2))},
    {"color": BLUE, "linestyle": "-."},
    {"color": GREEN, "linestyle": ":"},
    {"color": PURPLE, "linestyle": (0, (3, 1, 1, 1, 1, 1))},
    {"color": OLIVE, "linestyle": (0, (1, 1))},
    {"color": PINK, "linestyle": (0, (8, 2))},
)
_REACH = 2.2  # largest norm that is shown, as a multiple of the largest radius


def draw(path: Path, attacks: Mapping[str, Sequence[Verdict]]) -> None:
    """Draw the curves of attacks, by name, on the problems of the first one."""
    first = next(iter(attacks.values()))
    columns = min(_COLUMNS, len(first))
    rows = math.ceil(len(first) / columns)
    figure = new_figure(max(2.6 * columns, 4.0), 2.1 * rows + 0.7)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for ax, each in zip(axes, first, strict=False):
        last = _draw_truth(ax, each)
        for (name, verdicts), look in zip(attacks.items(), _cycled(len(attacks)), strict=True):
            for one in verdicts:
                if one.problem.name == each.problem.name and not one.complaint:
                    ax.step(*_curve(one.norm, last), where="post", label=name, **look)
        norm = {1.0: r"\ell_1", 2.0: r"\ell_2"}.get(each.problem.setting.norm, r"\ell_\infty")
        boxed = "" if each.problem.setting.box is None else ", box"
        ax.set_title(f"{each.problem.name} (${norm}${boxed})", fontsize=9)
        ax.tick_params(labelsize=7)
    for ax in axes[len(first) :]:
        ax.axis("off")
    handles = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=6, frameon=False
    )
    figure.supylabel("robust accuracy, %", fontsize=9)
    figure.supxlabel("radius, in the norm and within the box of the problem", fontsize=9)
    save(figure, path)


def _draw_truth(ax: Any, each: Verdict) -> float:
    radii = each.problem.radii.upper
    last = _REACH * float(radii[np.isfinite(radii)].max())
    label = "exact" if (each.problem.radii.status != "bounded").all() else "upper bound"
    ax.step(*_curve(radii, last), where="post", color=BLACK, linewidth=2.4, label=label)
    ax.set_xlim(0, last)
    return last


def _curve(norms: Array, last: float) -> tuple[Array, Array]:
    """Share of samples with a norm above epsilon, where it changes between 0 and `last`."""
    grid = np.unique(np.clip(np.append(norms, [0.0, last]), 0, last))
    return grid, 100 * (norms > grid[:, None]).mean(axis=1)


def _cycled(count: int) -> list[dict[str, Any]]:
    return [_LOOKS[i % len(_LOOKS)] for i in range(count)]


def draw_ratios(path: Path, attacks: Sequence[str], problems: Sequence[str], ratios: Array) -> None:
    """Draw ratios (attacks, problems) to the truth as a table; NaN: no result, inf: no points."""
    figure = new_figure(1.8 + 0.62 * len(problems), 1.2 + 0.24 * len(attacks))
    ax = figure.subplots()
    shade = np.log10(np.clip(ratios, 1.0, 10.0))  # NaN: the axes' own colour
    ax.imshow(shade, cmap="Oranges", vmin=0.0, vmax=1.3, aspect="auto")
    ax.set_facecolor("lightgray")
    for (i, j), value in np.ndenumerate(ratios):
        if not np.isnan(value):
            text = "inf" if np.isinf(value) else f"{value:.3f}" if value < 10 else f"{value:.0f}"
            weight = "bold" if value <= 1.0005 else "normal"
            color = "white" if value > 5 else "black"
            style: Any = {"fontsize": 7, "fontweight": weight, "color": color}
            ax.text(j, i, text, ha="center", va="center", **style)
    ax.set_xticks(range(len(problems)), problems, rotation=40, ha="right", fontsize=8)
    ax.set_yticks(range(len(attacks)), attacks, fontsize=8)
    title = "Median norm of the attack's points over the exact radius"
    ax.set_title(
        f"{title}\n(bold: the optimum; inf: fewer than half of the samples flipped; "
        "gray: not run, or no result)",
        fontsize=9,
    )
    save(figure, path)
