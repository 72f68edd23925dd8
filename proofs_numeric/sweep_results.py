"""What the outcomes of `sweeps` say: slopes, medians, and what explains a shift."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

from proofs_numeric.scaling import centre, slope
from refimpl import ClusterDistribution, TwoLayerReLU, robust_radius
from refimpl._arrays import Array
from refimpl._workers import one_thread
from refimpl.experiments.comparison import Comparison
from refimpl.experiments.sweep import Outcome
from refimpl.theory import KINDS

K, D = 10, 3072  # where the other of d and k varies


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
            derived = slope(x, [centre_along(kind, axis, value) for value in x])
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
    drawn = outcome.point.problem()[0]
    dist, test = drawn.dist, drawn.test
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
    two = TwoLayerReLU(pair, None, np.array([[1.0, -1.0]]))
    classifiers = Comparison(dist.features, dist.labels, two, many, 1).classifiers()
    with one_thread():
        radii = {
            kind: robust_radius(each.net, test.x, test.y, decision=each.decision).upper
            for kind, each in classifiers.items()
        }
    return {kind: float(np.median(each)) for kind, each in radii.items()}


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


def centre_along(kind: str, axis: str, value: int) -> float:
    """Radius of the idealised network at a centre."""
    return centre(kind, K, value) if axis == "d" else centre(kind, value, D)
