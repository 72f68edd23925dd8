"""One point of a sweep: train both networks, and measure them (`sweep` runs many)."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from refimpl import _validation as check
from refimpl import theory
from refimpl._blas import one_thread
from refimpl._validation import Array
from refimpl.attacks import closed_form_direction
from refimpl.decisions import GroupMax, GroupSum
from refimpl.decomposition import cosine_matrix
from refimpl.distribution import ClusterDistribution, Sample
from refimpl.experiments import synthetic
from refimpl.experiments.comparison import Comparison
from refimpl.experiments.robustness import Classifier, finite, largest_ratio, quantiles
from refimpl.network import TwoLayerReLU
from refimpl.radius import robust_radius
from refimpl.smallest_step import smallest_step

KINDS = ("averaging", "group_max", "group_sum")


@dataclass(frozen=True)
class Point:
    """Where to measure; the defaults are the paper's.

    k, d, n, m: clusters, dimension, training samples, neurons of each sign; positive: how many
    clusters have the label +1, None for half of them; cosine: of each two features; noise: standard
    deviation; sigma: standard deviation of the initial weights; step, steps: learning rate and
    number of gradient descent steps; test: test samples; seed: of everything random.

    Raises
    ------
    ValueError
        Values that no sample or network can have, as more clusters than dimensions.
    """

    k: int = 10
    d: int = 3072
    n: int = 1000
    m: int = 5
    positive: int | None = None
    cosine: float = 0.0
    noise: float = 1.0
    sigma: float = 1e-5
    step: float = 0.001
    steps: int = 100
    test: int = 200
    seed: int = 0

    def __post_init__(self) -> None:
        k, positive, cosine = self.k, self.positive, self.cosine
        if positive is not None and not 1 <= positive < k:
            check.fail("grid: positive", f"a number from 1 to {k - 1}, for k {k}", positive)
        try:
            self.settings()
        except ValueError as error:
            raise ValueError(f"grid: {error}") from None
        if not -1 <= cosine * (k - 1) < k - 1:
            check.fail("grid: cosine", f"a number from -1/{k - 1} to below 1, for k {k}", cosine)

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)

    def labels(self) -> tuple[int, ...]:
        """Labels of the clusters, those with +1 first."""
        positive = self.k // 2 if self.positive is None else self.positive
        return (1,) * positive + (-1,) * (self.k - positive)

    def settings(self) -> synthetic.Settings:
        """Say the same to the synthetic experiment, which has no cosine."""
        return synthetic.Settings(
            k=self.k,
            d=self.d,
            n=self.n,
            m=self.m,
            step=self.step,
            steps=self.steps,
            sigma=self.sigma,
            noise=self.noise,
            labels=self.labels(),
            test=self.test,
            seed=self.seed,
        )


def typed(name: str, value: Any) -> Any:
    """Value of a field in the type of its default, so that equal points are equal.

    >>> typed("noise", 1), typed("positive", None)
    (1.0, None)
    """
    default = getattr(Point, name)
    if default is None and value is None:
        return None
    if isinstance(default, float):
        return check.real(f"grid: {name}", value)
    return check.integer(f"grid: {name}", value, minimum=0)


def measure(point: Point) -> dict[str, Any]:
    """Train and measure at one point.

    Returns
    -------
    dict
        ``trained`` and ``idealised``: for each of averaging, group_max, group_sum the quantiles of
        the exact radius at the test samples, their mean and sd, the clean accuracy, the share of
        samples settled exactly, and the law's median (None for correlated features).
        ``averaging``: cosines of the neurons with the sum of their class's features (alignment) and
        with that of the other class (others), max/min over training samples of |dL/df_i| (balance),
        largest t*/r. ``decoupling``: cosines with the own feature and with the others, and
        norms of the neurons. Cosines are means, but alignment and own, which are the smallest.
    """
    with one_thread():
        return _measure(point)


def _measure(point: Point) -> dict[str, Any]:
    dist, comparison, train, test = _train(point)
    ideal = TwoLayerReLU.feature_decoupling(dist)
    trained = dict(zip(KINDS, comparison.classifiers().values(), strict=True))
    idealised = {
        "averaging": Classifier(TwoLayerReLU.feature_averaging(dist), "sign"),
        "group_max": Classifier(ideal, GroupMax(dist.labels)),
        "group_sum": Classifier(ideal, GroupSum(dist.labels)),
    }
    laws = _law_medians(dist)
    return {
        "trained": {name: _robustness(each, test, laws[name]) for name, each in trained.items()},
        "idealised": {
            name: _robustness(each, test, laws[name]) for name, each in idealised.items()
        },
        "averaging": _averaging(comparison, train, test),
        "decoupling": _decoupling(comparison),
    }


def problem(point: Point) -> tuple[ClusterDistribution, Sample, Sample]:
    """Return the distribution of a point, its training samples, and its test samples."""
    features, training, testing = np.random.default_rng(point.seed).spawn(3)
    dist = ClusterDistribution.correlated(
        point.k,
        point.d,
        cosine=point.cosine,
        labels=point.labels(),
        noise_std=point.noise,
        rng=features,
    )
    return dist, dist.sample(point.n, rng=training), dist.sample(point.test, rng=testing)


def _train(point: Point) -> tuple[ClusterDistribution, Comparison, Sample, Sample]:
    dist, train, test = problem(point)
    # Training starts with drawing the same samples from the same generator.
    training = np.random.default_rng(point.seed).spawn(3)[1]
    return dist, synthetic.train(dist, point.settings(), training, progress=False), train, test


def _robustness(classifier: Classifier, test: Sample, law: float | None) -> dict[str, Any]:
    result = robust_radius(classifier.net, test.x, test.y, decision=classifier.decision)
    radii = result.upper
    within = np.isfinite(radii).all()
    return {
        **quantiles(radii),
        "mean": float(radii.mean()) if within else None,
        "sd": float(radii.std()) if within else None,
        "accuracy": float((radii > 0).mean()),
        "share_exact": float((result.status != "bounded").mean()),
        "law_median": law,
    }


def _law_medians(dist: ClusterDistribution) -> dict[str, float | None]:
    """Medians of E23 to E25, known for orthogonal features."""
    gram = dist.features @ dist.features.T / dist.dim
    if not np.allclose(gram, np.eye(dist.n_clusters), atol=1e-9):
        return dict.fromkeys(KINDS)
    return {kind: _law_median(kind, dist) for kind in KINDS}


def _law_median(kind: str, dist: ClusterDistribution) -> float:
    from scipy.optimize import brentq

    positive = int((dist.labels > 0).sum())

    def above_half(epsilon: float) -> float:
        return -0.5 + float(
            theory.robust_accuracy(
                kind,
                [epsilon],
                n_positive=positive,
                n_negative=dist.n_clusters - positive,
                d=dist.dim,
                noise_std=dist.noise_std,
            )[0]
        )

    if above_half(0.0) <= 0:
        return 0.0
    largest = math.sqrt(dist.dim) + 9 * dist.noise_std * math.sqrt(dist.n_clusters)
    return float(brentq(above_half, 0.0, largest, xtol=1e-9))


def _averaging(comparison: Comparison, train: Sample, test: Sample) -> dict[str, Any]:
    net, features, labels = comparison.binary, comparison.features, comparison.labels
    sums = np.stack([features[labels == side].sum(axis=0) for side in (1, -1)])
    positive, negative = _cosines(sums, net.W)
    signs = net.A[0] > 0
    own, other = np.where(signs, positive, negative), np.where(signs, negative, positive)
    derivative = expit(-train.y * net.outputs(train.x)[:, 0])  # (E9)
    direction = closed_form_direction(test.y, features, labels)
    steps = smallest_step(net, test.x, test.y, direction)
    radii = robust_radius(net, test.x, test.y).upper
    return {
        "alignment": float(own.min()),
        "alignment_mean": float(own.mean()),
        "others": float(other.mean()),
        "balance": finite(float(derivative.max() / max(derivative.min(), 1e-300))),
        "largest_closed_form_ratio": finite(largest_ratio(steps, radii)),
    }


def _decoupling(comparison: Comparison) -> dict[str, Any]:
    cosines = _cosines(comparison.features, comparison.multiclass.W)
    same = np.eye(len(cosines), dtype=np.bool_)
    own = cosines[same]
    others = float(cosines[~same].mean())
    norms = np.linalg.norm(comparison.multiclass.W, axis=1)
    return {
        "own": float(own.min()),
        "own_mean": float(own.mean()),
        "others": others,
        "norms": norms.tolist(),
    }


def _cosines(features: Array, W: Array) -> Array:
    """Cosines, 0 for a neuron that has vanished."""
    alive = np.linalg.norm(W, axis=1) > 0
    cosines = np.zeros((len(features), len(W)))
    cosines[:, alive] = cosine_matrix(features, W[alive]) if alive.any() else 0.0
    return cosines
