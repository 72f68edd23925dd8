"""The paper's synthetic experiment (its Figures 2a, 2b and 3 left), beside what the theory says."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refimpl import theory
from refimpl._arrays import Array
from refimpl._files import output_directory
from refimpl._progress import Progress
from refimpl.distribution import ClusterDistribution
from refimpl.experiments import figures, growth, report, saved
from refimpl.experiments.comparison import TITLES, Comparison
from refimpl.experiments.growth import Growth
from refimpl.experiments.robustness import THREATS, Robustness
from refimpl.experiments.summary import robustness_summary, summary_file
from refimpl.setting import Problem, Setting, SyntheticSettings

_MAX_NODES = 100_000  # effort for one radius
_FINE = 400  # radii at which a law is drawn
_FORMULAS = {"averaging": "sqrt{d/k}", "group_max": "sqrt{d/2}", "group_sum": "sqrt{d/(1+k_{opp})}"}
_NETWORKS = {"two_class": "2-class network", "ten_class": "multi-class network"}
Centre = tuple[str, list[float]]  # formula and values of the radius at a centre


def run(
    settings: SyntheticSettings, out: Path, *, progress: bool = True, save: bool = False
) -> dict[str, Any]:
    """Train, measure, print, and write summary.json and figures to `out`; with `save` arrays too.

    The figures are coefficients.png, cosines.png and robustness.png.
    """
    out = output_directory(out)
    saved.tell_of_older(out)
    problem, rng = settings.problem()
    grown: dict[str, Growth] = {}
    comparison = train(settings, problem, rng, h=settings.h, progress=progress, grown=grown)
    if save:
        for name, sample in (("train", problem.train), ("samples", problem.test)):
            saved.save_samples(out / f"{name}.npz", sample.x, sample.y, sample.cluster)
        saved.save_networks(out, comparison)
    x, cluster, dist = problem.test.x, problem.test.cluster, problem.dist
    draw = figures.available()
    with summary_file(out / "summary.json", _kept) as summary:
        summary["settings"] = settings.as_json()
        summary.update(comparison.summary(x, cluster))
        summary["coefficients"] = growth.entry(grown)
        print(report.headline(summary, averaged_cosines(dist)), end="\n\n")
        if draw:
            names = tuple(map(str, range(settings.k)))
            panels = figures.cosine_panels(comparison, summary, names)
            figures.draw_cosines(out / "cosines.png", panels, title=_data(settings))
            growth.draw(out / "coefficients.png", _NETWORKS, grown)
        measured = _measure(settings, comparison, problem, progress)
        few = _measure(settings, comparison, problem, progress, "linf", settings.other_radii)
        if save:
            saved.save_radii(out, measured)
            saved.save_radii(out, few, "linf")
        known = laws(dist, settings.epsilons())
        summary.update(robustness_summary(measured, known))
        summary["threats"] = {"linf": robustness_summary(few, {})}
        if draw:
            curves = robustness_panels(measured, dist)
            path, title = out / "robustness.png", _data(settings)
            figures.draw_robustness(path, curves, unit="input space", title=title)
    medians, centres = by_classifier(theory.median_radius, dist), by_classifier(centre, dist)
    print(report.medians(measured, medians, centres))
    print(report.radii(measured), report.robust_accuracies(measured, known), sep="\n\n")
    print(f"\n{report.linf(few, settings.d)}")
    print(f"\nwritten to {out}")
    return summary


def _data(settings: SyntheticSettings) -> str:
    """Say in a title what the samples are."""
    given = f"$k$ = {settings.k}, $d$ = {settings.d}, $n$ = {settings.n}, noise {settings.noise:g}"
    return f"Synthetic clusters, {given}: {report.counted(settings.test, 'test sample')}"


def _measure(
    settings: SyntheticSettings,
    comparison: Comparison,
    problem: Problem,
    progress: bool,
    threat: str = "l2",
    few: int | None = None,
) -> dict[str, Robustness]:
    """Find radii of the test samples, or of the first few, and attack them."""
    return comparison.robustness(
        problem.test.x[:few],
        problem.test.cluster[:few],
        epsilons=settings.epsilons() if threat == "l2" else None,
        pgd_steps=settings.pgd_steps,
        max_nodes=_MAX_NODES,
        rng=np.random.default_rng(settings.seed).spawn(4)[3],
        progress=progress,
        threat=THREATS[threat],
    )


def train(
    setting: Setting,
    problem: Problem,
    rng: np.random.Generator,
    *,
    h: int = 1,
    progress: bool,
    grown: dict[str, Growth] | None = None,
) -> Comparison:
    """Train the paper's two networks on the same samples; `rng` draws their initial weights.

    The growth of their coefficients is put into `grown`, if it is there.
    """
    start = setting.binary(rng), setting.multiclass(rng, h)
    trained = []
    with Progress("training, steps", 2 * setting.steps, enabled=progress) as counter:
        for name, net in zip(_NETWORKS, start, strict=True):
            watches: list[Callable[..., None]] = [lambda step, *_: counter.advance(step > 0)]
            if grown is not None:
                grown[name] = Growth(net, problem, setting.steps)
                watches.append(grown[name])
            trained.append(setting.train(net, problem.train, _in_turn(watches)).network)
    two, ten = trained
    return Comparison(problem.dist.features, problem.dist.labels, two, ten, h)


def _in_turn(callbacks: Sequence[Callable[..., None]]) -> Callable[..., None]:
    def call(*arguments: Any) -> None:
        for callback in callbacks:
            callback(*arguments)

    return call


def by_classifier(of: Callable[..., Any], dist: ClusterDistribution) -> dict[str, Any]:
    """Call `of` with the kind and the law's parameters of each classifier; {} without a law."""
    law = theory.law_parameters(dist)
    return {} if law is None else {kind: of(kind, **law) for kind in theory.KINDS}


def laws(dist: ClusterDistribution, epsilons: Array) -> dict[str, Array]:
    """P(r > epsilon) of the idealised classifiers (E23 to E25)."""
    return by_classifier(lambda kind, **law: theory.robust_accuracy(kind, epsilons, **law), dist)


def centre(kind: str, *, n_positive: int, n_negative: int, d: int, **_: float) -> Centre:
    """Give formula and values of E19 to E21, one for each size of a class where they differ."""
    sizes = sorted({(n_negative, n_positive), (n_positive, n_negative)})
    radii = [theory.centre_radius(kind, k_own=own, k_opposite=opp, d=d) for opp, own in sizes]
    return _FORMULAS[kind], list(dict.fromkeys(radii))


def averaged_cosines(dist: ClusterDistribution) -> list[float]:
    """1/sqrt(k_own): cosines of mu_j with the sum of its class; none if no law is known."""
    if theory.law_parameters(dist) is None:
        return []
    return [1 / math.sqrt(own) for own in sorted(set(dist.class_sizes))]


def robustness_panels(
    measured: Mapping[str, Robustness], dist: ClusterDistribution
) -> list[figures.Curves]:
    """Panels of the paper's Figure 3, one a classifier."""
    last = float(next(iter(measured.values())).epsilons[-1])
    grid = np.linspace(0, last, _FINE)
    known, centres = laws(dist, grid), by_classifier(centre, dist)
    panels = []
    for name, each in measured.items():
        median = report.number(each.summary()["median"])
        title = f"{TITLES[name]}:\nhalf the samples flip within {median}\n"
        curves = figures.robustness_curves(each, last)
        if name in known:
            formula, values = centres[name]
            gap = " " if len(values) == 1 else "\n"  # two values take a line of their own
            title += f"idealised, at a centre:{gap}$\\{formula}$ = {report.numbers(values)}"
            curves["law"] = grid, known[name]
        else:
            title += "no law is known: features are not orthogonal"
        panels.append(figures.Curves(title, curves))
    return panels


def _kept(summary: Mapping[str, Any]) -> str:
    """Say what an interrupted experiment has."""
    return "accuracies and cosines, no radii," if "ten_class" in summary else ""
