"""What sweeps show: how radii scale, how exact the laws are, and where averaging ends.

    python -m proofs_numeric.sweeps --out DIR --jobs 2

runs the sweeps (four minutes of processor time; again, it takes up where it stopped) and draws

- slopes.png: median exact radii against d and k, with 95 % intervals of their slopes;
- laws.png: distance of the medians from the laws (E23) to (E25), of idealised and of trained
  networks;
- phases.png: where averaging breaks: initialisation and length of training, cosine of the features
  and noise, imbalance of the classes and number of samples.

The figures in proofs_numeric/figures were made by it. Settings are those of `SCALING` and
`PHASES`. The learning rate is the paper's 0.001 times (3072/d)(k/10) everywhere, so that outputs
grow as fast.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from proofs_numeric.scaling import slope
from refimpl import ClusterDistribution, GroupMax, GroupSum, TwoLayerReLU, robust_radius, theory
from refimpl._files import output_directory
from refimpl._validation import Array
from refimpl._workers import one_thread, processes
from refimpl.decisions import Decision
from refimpl.experiments import figures
from refimpl.experiments.sweep import Outcome, sweep
from refimpl.experiments.sweep_point import KINDS, problem

DIMENSIONS = (384, 768, 1536, 3072)
CLUSTERS = (4, 6, 10, 16)
SEEDS = (0, 1, 2, 3, 4)
K, D = 10, 3072


def _grid(k: int, d: int, per_cluster: int, **axes: Sequence[Any]) -> dict[str, Sequence[Any]]:
    step = 0.001 * (3072 / d) * (k / 10)
    return {"k": [k], "d": [d], "n": [per_cluster * k], "step": [step], "test": [200], **axes}


SCALING = [
    *(_grid(K, d, 50, seed=SEEDS) for d in DIMENSIONS),
    *(_grid(k, D, 50, seed=SEEDS) for k in CLUSTERS),
]
_BASE: dict[str, Any] = {
    "k": 6,
    "d": 1024,
    "per_cluster": 50,
    "m": [3],
    "seed": [0, 1],
    "test": [100],
}
PHASES = {
    "start": _grid(**_BASE, sigma=[1e-5, 1e-3, 1e-2, 3e-2, 1e-1], steps=[30, 100, 300, 1000, 3000]),
    "data": _grid(**_BASE, cosine=[0.0, 0.1, 0.3, 0.6, 0.9], noise=[0.3, 1.0, 2.0, 4.0, 8.0]),
    "classes": _grid(**{**_BASE, "k": 10}, positive=[1, 2, 3, 4, 5], n=[30, 100, 300, 1000, 3000]),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sweeps and draw."""
    parser = argparse.ArgumentParser(prog="python -m proofs_numeric.sweeps")
    parser.add_argument("--out", type=Path, default=Path("refimpl-sweeps"), metavar="DIR")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    args = parser.parse_args(argv)
    from proofs_numeric import sweep_figures  # it builds on this module

    out = output_directory(args.out)
    with processes(args.jobs, finish=True) as executor:
        scaling = sweep(SCALING, out / "scaling.jsonl", executor=executor, progress=True)
        phases = {
            name: sweep(grid, out / f"phases-{name}.jsonl", executor=executor, progress=True)
            for name, grid in PHASES.items()
        }
    rows = slopes(scaling)
    for (kind, axis), each in rows.items():
        measured = f"{each.mean:+.3f} ({each.low:+.3f} to {each.high:+.3f})"
        derived = f"at a centre {each.centre:+.3f}, law {each.law:+.3f}"
        print(f"slope in log {axis}, {kind}: {measured}, {derived}")
    if figures.available():
        figures.save(sweep_figures.draw_slopes(scaling, rows), out / "slopes.png")
        figures.save(sweep_figures.draw_laws(scaling), out / "laws.png")
        figures.save(sweep_figures.draw_phases(phases), out / "phases.png")
    print(f"python -m proofs_numeric.sweeps --out {out} --jobs {args.jobs}")
    return 0


class Slope(NamedTuple):
    """Mean over seeds and its 95 % interval; slopes of the radius at a centre, and of the law."""

    low: float
    mean: float
    high: float
    centre: float
    law: float


Slopes = dict[tuple[str, str], Slope]  # by kind and axis


def slopes(outcomes: Sequence[Outcome]) -> Slopes:
    """Fit every slope, a seed at a time."""
    found: Slopes = {}
    for axis in ("d", "k"):
        x = values_along(outcomes, axis)
        for kind in KINDS:
            each = []
            for seed in seeds(outcomes):
                points = along(outcomes, axis, seed)
                each.append(slope(x, [median(point, "trained", kind) for point in points]))
            derived = slope(x, [centre(kind, axis, value) for value in x])
            law = slope(x, [law_median(point, kind) for point in points])
            found[kind, axis] = Slope(*interval(each), derived, law)
    return found


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """95 % interval of the mean by Student's t: from, mean, to.

    >>> interval([1.0, 1.0, 1.0])
    (1.0, 1.0, 1.0)
    """
    mean, n = float(np.mean(values)), len(values)
    half = float(stdtrit(n - 1, 0.975) * np.std(values, ddof=1) / math.sqrt(n))
    return mean - half, mean, mean + half


def leaning(
    dist: ClusterDistribution, own: Array, cosine: float, others: float, rng: np.random.Generator
) -> Array:
    """Build unit weights (M,d): one cosine to the features in `own` (M,k) bool, one to the rest.

    What is left of each is a random direction, as the average of training noise is.
    """
    d = dist.dim
    cosines = np.where(own, cosine, others)
    noise = rng.standard_normal((len(own), d))
    noise -= noise @ dist.features.T @ dist.features / d
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    rest = np.sqrt(1 - np.square(cosines).sum(axis=1, keepdims=True))
    return cosines @ dist.features / math.sqrt(d) + rest * noise


def explained(outcome: Outcome) -> dict[str, float]:
    """Median exact radii of idealised networks with the trained ones' mean cosines and norms."""
    dist, _, test = problem(outcome.point)
    rng = np.random.default_rng(0)
    found = result(outcome)
    mine, k = dist.labels == np.array([[1], [-1]]), dist.n_clusters
    averaging, decoupling = found["averaging"], found["decoupling"]
    root = math.sqrt(k / 2)
    pair = leaning(dist, mine, averaging["alignment_mean"] / root, averaging["others"] / root, rng)
    each = leaning(
        dist, np.eye(k, dtype=np.bool_), decoupling["own_mean"], decoupling["others"], rng
    )
    many = TwoLayerReLU(each * np.array(decoupling["norms"])[:, None], None, np.eye(k))
    classifiers: dict[str, tuple[TwoLayerReLU, Decision]] = {
        "averaging": (TwoLayerReLU(pair, None, np.array([[1.0, -1.0]])), "sign"),
        "group_max": (many, GroupMax(dist.labels)),
        "group_sum": (many, GroupSum(dist.labels)),
    }
    with one_thread():
        return {
            kind: float(np.median(robust_radius(net, test.x, test.y, decision=decision).upper))
            for kind, (net, decision) in classifiers.items()
        }


def result(outcome: Outcome) -> dict[str, Any]:
    """Return the result of a point, which must not have failed."""
    if outcome.result is None:
        raise ArithmeticError(f"{outcome.point} failed: {outcome.error}")
    return outcome.result


def median(outcome: Outcome, which: str, kind: str) -> float:
    """Median exact radius, `which` being trained or idealised."""
    median: float = result(outcome)[which][kind]["median"]
    return median


def law_median(outcome: Outcome, kind: str) -> float:
    """Median of the law (E23) to (E25)."""
    law: float = result(outcome)["trained"][kind]["law_median"]
    return law


def values_of(outcomes: Sequence[Outcome], name: str) -> list[Any]:
    """Values of a field, sorted."""
    return sorted({getattr(outcome.point, name) for outcome in outcomes})


def seeds(outcomes: Sequence[Outcome]) -> list[int]:
    """Seeds, sorted."""
    return values_of(outcomes, "seed")


def values_along(outcomes: Sequence[Outcome], axis: str) -> list[int]:
    """Values of d at k = K, or of k at d = D, sorted."""
    fixed, at = ("k", K) if axis == "d" else ("d", D)
    return values_of([o for o in outcomes if getattr(o.point, fixed) == at], axis)


def along(outcomes: Sequence[Outcome], axis: str, seed: int) -> list[Outcome]:
    """Outcomes of a seed for the values of d at k = K, or of k at d = D."""
    values = values_along(outcomes, axis)
    found = {(o.point.k, o.point.d): o for o in outcomes if o.point.seed == seed}
    return [found[(K, value) if axis == "d" else (value, D)] for value in values]


def centre(kind: str, axis: str, value: int) -> float:
    """Radius of the idealised network at a centre."""
    k, d = (K, value) if axis == "d" else (value, D)
    if kind == "averaging":
        return theory.feature_averaging_radius(k, d)
    return theory.decoupled_radius(d) if kind == "group_max" else theory.group_sum_radius(k // 2, d)


if __name__ == "__main__":
    sys.exit(main())
