"""Figures of ``refimpl prove``: one where the evidence is a curve."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from proofs_numeric.evidence import BALANCE
from refimpl._files import output_directory
from refimpl.experiments.figures import BLACK, BLUE, GREEN, ORANGE, new_figure, save

MARKS = {"averaging": (ORANGE, "o"), "group_max": (BLUE, "s"), "group_sum": (GREEN, "^")}
NAMES = {"averaging": "averaging", "group_max": "group max", "group_sum": "group sum"}


def draw(claim: str, numbers: Mapping[str, Any], out: Path) -> Path | None:
    """Draw what a claim's numbers show into `out`; None where there is no curve."""
    if claim not in _FIGURES:
        return None
    path = output_directory(out) / f"{claim}.png"
    figure = _FIGURES[claim](numbers)
    save(figure, path)
    return path


def _balance(numbers: Mapping[str, Any]) -> Any:
    figure = new_figure(6.4, 4.2)
    ax = figure.subplots()
    count = len(numbers["ratios"])
    for i, ratios in enumerate(numbers["ratios"]):
        label = f"networks of {count} seeds, a line each" if i == 0 else None
        ax.plot(*_curve(ratios), color=BLACK, linewidth=1.2, label=label)
    if numbers["longer"]:
        t, ratio = _curve(numbers["longer"])
        label = f"the first of them, trained for {t[-1]} steps"
        ax.plot(t, ratio, color=BLUE, linestyle="--", marker="o", markersize=3, label=label)
    ax.axhline(BALANCE, color=ORANGE, linestyle=":", label=f"bound up to t = 100: {BALANCE}")
    ax.set_xlabel("gradient descent step $t$")
    ax.set_ylabel(r"$\max_i / \min_i$ of $|\partial L / \partial f_i|$")
    ax.set_title(
        "How hard training pulls at samples: the largest over the smallest\n"
        r"$|\partial L / \partial f_i|$, derivatives of the loss by outputs, grows slowly",
        fontsize=10,
    )
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    return figure


def _curve(ratios: Mapping[str, float]) -> tuple[list[int], list[float]]:
    return [int(step) for step in ratios], list(ratios.values())


def _readout(numbers: Mapping[str, Any]) -> Any:
    rows = np.array(numbers["bias_over_d, group_max, group_sum, E20, E21"])
    rows = rows[np.argsort(rows[:, 0])]
    figure = new_figure(6.4, 4.2)
    ax = figure.subplots()
    for column, kind, size in ((1, "group_max", 11), (2, "group_sum", 6)):
        (colour, marker), name = MARKS[kind], NAMES[kind]
        hollow = {"markersize": size, "fillstyle": "none"}  # one is seen around the other
        label = f"{name}, exact radius"
        ax.plot(rows[:, 0], rows[:, column], marker, color=colour, label=label, **hollow)
        label, formula = f"{name}, derived (E{19 + column})", rows[:, column + 2]
        ax.plot(rows[:, 0], formula, color=colour, linestyle="--", label=label)
    ax.set_xlabel("bias of every neuron over $d$")
    ax.set_ylabel(r"robust radius at a centre, $\ell_2$")
    ax.set_title("A negative bias makes the sum of decoupled features robust too", fontsize=10)
    ax.grid(alpha=0.25)
    ax.legend(frameon=False)
    return figure


def _scaling(numbers: Mapping[str, Any]) -> Any:
    figure = new_figure(9.6, 4.4)
    axes = figure.subplots(1, 2)
    points = numbers["medians"]
    most_d = max(point["d"] for point in points)
    grids = (
        ("d", [p for p in points if p["k"] == points[0]["k"]]),
        ("k", [p for p in points if p["d"] == most_d]),
    )
    for ax, (name, grid) in zip(axes, grids, strict=True):
        grid = sorted({p[name]: p for p in grid}.values(), key=lambda p: p[name])
        x = [p[name] for p in grid]
        for kind, (colour, marker) in MARKS.items():
            measured, derived = numbers["slopes"][f"{kind}, log {name}"]
            label = f"{NAMES[kind]}: slope {measured:+z.2f}, theory {derived:+z.2f}"
            ax.loglog(x, [p[kind] for p in grid], marker=marker, color=colour, label=label)
        ax.set_xticks(x, labels=map(str, x))
        ax.minorticks_off()
        ticks = [6, 10, 15, 20, 30, 40]
        ax.set_yticks(ticks, labels=map(str, ticks))
        low, high = ax.get_ylim()
        ax.set_ylim(low / 1.05, high * 1.1)  # no mark touches the frame
        ax.set_xlabel("input dimension $d$" if name == "d" else "clusters $k$")
        ax.set_ylabel(r"median exact radius, $\ell_2$")
        ax.grid(alpha=0.25)
        ax.legend(frameon=False, fontsize=8)
    figure.suptitle(
        "Averaging loses robustness with every cluster, group max does not", fontsize=11
    )
    return figure


def _adversarial_training(numbers: Mapping[str, Any]) -> Any:
    figure = new_figure(9.6, 4.2)
    axes = figure.subplots(1, 2)
    said = ("features that a neuron averages, median", r"median exact radius over $\sqrt{d/k}$")
    for ax, name, text in zip(axes, ("features", "radius"), said, strict=True):
        for attack, (colour, marker, label) in _ATTACKS.items():
            cases = [case.split(", ") for case in numbers]
            shares = sorted(float(share) for kind, share in cases if kind == attack)
            values = [numbers[f"{attack}, {share:g}"][name] for share in shares]
            ax.plot(shares, values, marker=marker, color=colour, label=label)
        ax.axvline(1.0, color=BLACK, linestyle=":", linewidth=1.0)
        ax.set_xlabel(r"budget of training over $\sqrt{d/k}$")
        ax.set_ylabel(text)
        ax.set_ylim(bottom=-0.05 * ax.get_ylim()[1])
        ax.grid(alpha=0.25)
    axes[0].legend(frameon=False)
    figure.suptitle(
        r"Training on attacked samples takes averages apart, up to the budget $\sqrt{d/k}$",
        fontsize=11,
    )
    return figure


_ATTACKS = {
    "pgd": (BLUE, "o", "moved by PGD"),
    "closed_form": (ORANGE, "s", "by the closed form"),
    "exact": (GREEN, "^", "to the nearest point"),
}
_FIGURES: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "adversarial-training": _adversarial_training,
    "balance": _balance,
    "readout": _readout,
    "scaling": _scaling,
}
