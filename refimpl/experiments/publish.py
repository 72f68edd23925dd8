"""What an experiment ends with: the tables, summary.json, cosines.png and robustness.png."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

import refimpl
from refimpl._files import write_json
from refimpl._validation import Array, IntArray
from refimpl.experiments import figures, report
from refimpl.experiments.comparison import JSON_NAMES, TITLES, Comparison
from refimpl.experiments.robustness import Robustness

_MAX_NODES = 100_000  # effort for one radius
_FINE = 400  # radii at which a law is drawn


class Theory(Protocol):
    """What is known of idealised networks, by the names of the classifiers."""

    def laws(self, epsilons: Array) -> dict[str, Array]:
        """P(r > epsilon)."""

    def medians(self) -> dict[str, float]:
        """Medians of the laws."""

    def centre_radii(self) -> dict[str, tuple[str, list[float]]]:
        """Give formula and values of the radius at a centre."""

    def averaged_cosines(self) -> list[float]:
        """Cosines of a feature with the sum of its class."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How to measure and what to say.

    Parameters
    ----------
    settings : mapping
        Goes into summary.json as it is.
    epsilons : (e,) array
        Radii of the curves.
    pgd_steps : int
        Steps of PGD at each of them.
    unit : str
        The space in which radii are distances.
    theory : Theory
        What to compare with.
    """

    settings: Mapping[str, Any]
    epsilons: Array
    pgd_steps: int
    unit: str
    theory: Theory


def publish(
    comparison: Comparison,
    x: Array,
    cluster: IntArray,
    plan: Plan,
    out: Path,
    rng: np.random.Generator,
    *,
    progress: bool,
) -> dict[str, Any]:
    """Measure two trained networks on test samples, print, draw, and return summary.json."""
    draw = figures.available()
    with summary_file(out / "summary.json", _kept) as summary:
        summary["settings"] = dict(plan.settings)
        summary.update(comparison.summary(x, cluster))
        print(report.headline(summary, plan.theory.averaged_cosines()), end="\n\n")
        if draw:
            names = tuple(map(str, range(len(comparison.labels))))
            draw_cosines(out / "cosines.png", comparison, summary, names)
        measured = comparison.robustness(
            x,
            cluster,
            epsilons=plan.epsilons,
            pgd_steps=plan.pgd_steps,
            max_nodes=_MAX_NODES,
            rng=rng,
            progress=progress,
        )
        laws = plan.theory.laws(plan.epsilons)
        summary.update(robustness_summary(measured, laws))
        if draw:
            draw_robustness(out / "robustness.png", measured, plan)
    print(report.medians(measured, plan.theory.medians(), plan.theory.centre_radii()))
    print(report.radii(measured), report.robust_accuracies(measured, laws), sep="\n\n")
    print(f"\nwritten to {out}")
    return summary


def _kept(summary: Mapping[str, Any]) -> str:
    """Say what an interrupted experiment has."""
    return "accuracies and cosines, no radii," if "ten_class" in summary else ""


def robustness_summary(
    measured: Mapping[str, Robustness], laws: Mapping[str, Array]
) -> dict[str, dict[str, Any]]:
    """Entries ``robust_accuracy`` and ``radius`` of summary.json; `laws` at the same epsilons."""
    epsilons = next(iter(measured.values())).epsilons.tolist()
    known = {name: {"law": law.tolist()} for name, law in laws.items()}
    curves = {
        JSON_NAMES[name]: {**each.curves(), **known.get(name, {})}
        for name, each in measured.items()
    }
    return {
        "robust_accuracy": {"epsilons": epsilons, **curves},
        "radius": {JSON_NAMES[name]: each.summary() for name, each in measured.items()},
    }


@contextmanager
def summary_file(path: Path, kept: Callable[[Mapping[str, Any]], str]) -> Iterator[dict[str, Any]]:
    """Yield a dict that is written at the end; after Ctrl-C with what it holds by then.

    `kept` says what that is, and nothing is written where it says nothing.
    """
    summary: dict[str, Any] = {"refimpl_version": refimpl.__version__}
    try:
        yield summary
    except KeyboardInterrupt:
        said = kept(summary)
        if said:
            write_json(path, {**summary, "interrupted": True})
        print(f"refimpl: {f'{said} in {path}' if said else 'nothing written'}", file=sys.stderr)
        raise
    write_json(path, summary)


def draw_cosines(
    path: Path,
    comparison: Comparison,
    summary: Mapping[str, Any],
    names: Sequence[str],
    *,
    feature: str = "feature",
    seed: int | None = None,
) -> None:
    """Draw the paper's Figure 2: rows sorted by class, and columns where each has a feature.

    `feature` says what the rows are; `seed` is that of the networks, where there are several.
    """
    order = np.argsort(-comparison.labels, kind="stable")
    two, ten = comparison.cosines()
    sorted_names = [names[i] for i in order]
    own, other, diagonal, off = (
        summary[network][cosine]["median"]
        for network, cosine in (
            ("two_class", "cosine_own"),
            ("two_class", "cosine_other"),
            ("ten_class", "cosine_diagonal"),
            ("ten_class", "cosine_off_diagonal"),
        )
    )
    size = comparison.binary.n_hidden // two.shape[1]
    means = "one neuron" if size == 1 else f"mean of {size} neurons next to each other"
    of_class = "neuron" if comparison.h == 1 else f"mean of the {comparison.h} neurons"
    of_seed = "" if seed is None else f", seed {seed}"
    figures.draw_cosines(
        path,
        [
            figures.Cosines(
                f"2-class network{of_seed}: median cosine {own:.2f} with\n"
                f"the {feature}s of the neuron's sign, {other:.2f} with the others",
                two[order],
                f"equivalent weights, {means}\n(output weight $+$ on the left, $-$ on the right)",
                sorted_names,
                [str(r) for r in range(two.shape[1])],
            ),
            figures.Cosines(
                f"multi-class network{of_seed}: median cosine {diagonal:.2f} with\n"
                f"the {feature} of the neuron's class, {off:.2f} with the others",
                ten[order][:, order],
                f"equivalent weights, {of_class} of the class\n"
                "(label $+1$ on the left, $-1$ on the right)",
                sorted_names,
                sorted_names,
            ),
        ],
        rows=rf"{feature} $\mu_i$ (labels $+1$ above, $-1$ below)",
    )


def draw_robustness(path: Path, measured: Mapping[str, Robustness], plan: Plan) -> None:
    """Draw the paper's Figure 3, a panel a classifier."""
    last = float(plan.epsilons[-1])
    grid = np.linspace(0, last, _FINE)
    laws = plan.theory.laws(grid)
    centres = plan.theory.centre_radii()
    panels = []
    for name, each in measured.items():
        median = report.number(each.summary()["median"])
        title = f"{TITLES[name]}:\nhalf the samples flip within {median}"
        if name in centres:
            formula, values = centres[name]
            title += f"\nidealised, at a centre: $\\{formula}$ = {report.numbers(values)}"
        flips = figures.drops(last, each.steps)
        curves = {
            **figures.bounds(each.radius, last),
            "closed_form": (flips, each.closed_form(flips)),
            "pgd": (each.epsilons, each.pgd),
        }
        if name in laws:
            curves["law"] = (grid, laws[name])
        panels.append(figures.Curves(title, curves))
    figures.draw_robustness(path, panels, unit=plan.unit)
