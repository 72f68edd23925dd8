"""One point of a sweep: train both networks, and measure them (`sweep` runs many)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import expit

from refimpl import theory
from refimpl._arrays import Array
from refimpl._workers import one_thread
from refimpl.attacks import closed_form_direction
from refimpl.decomposition import cosine_matrix
from refimpl.distribution import ClusterDistribution, Sample
from refimpl.experiments import synthetic
from refimpl.experiments.comparison import Comparison
from refimpl.experiments.robustness import Classifier, finite, largest_ratio, quantiles
from refimpl.network import TwoLayerReLU
from refimpl.radius import robust_radius
from refimpl.setting import Problem, Setting
from refimpl.smallest_step import smallest_step


def measure(setting: Setting) -> dict[str, Any]:
    """Train and measure in one setting.

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
        problem, rng = setting.problem()
        trained = synthetic.train(setting, problem, rng, progress=False)
        medians = synthetic.by_classifier(theory.median_radius, problem.dist)
        return {
            "trained": _radii(trained, problem.test, medians),
            "idealised": _radii(_idealised(problem.dist), problem.test, medians),
            "averaging": _averaging(trained, problem),
            "decoupling": _decoupling(trained),
        }


def _idealised(dist: ClusterDistribution) -> Comparison:
    averaging = TwoLayerReLU.feature_averaging(dist)
    decoupling = TwoLayerReLU.feature_decoupling(dist)
    return Comparison(dist.features, dist.labels, averaging, decoupling, 1)


def _radii(comparison: Comparison, test: Sample, law_medians: dict[str, float]) -> dict[str, Any]:
    """Exact radii of the three classifiers, beside the medians of their laws, if any is known."""
    return {
        kind: {**_robustness(each, test), "law_median": law_medians.get(kind)}
        for kind, each in comparison.classifiers().items()
    }


def _robustness(classifier: Classifier, test: Sample) -> dict[str, Any]:
    result = robust_radius(classifier.net, test.x, test.y, decision=classifier.decision)
    radii = result.upper
    within = np.isfinite(radii).all()
    return {
        **quantiles(radii),
        "mean": float(radii.mean()) if within else None,
        "sd": float(radii.std()) if within else None,
        "accuracy": float((radii > 0).mean()),
        "share_exact": float((result.status != "bounded").mean()),
    }


def _averaging(comparison: Comparison, problem: Problem) -> dict[str, Any]:
    net, train, test, dist = comparison.binary, problem.train, problem.test, problem.dist
    positive, negative = _cosines(dist.class_sums, net.W)
    signs = net.A[0] > 0
    own, other = np.where(signs, positive, negative), np.where(signs, negative, positive)
    derivative = expit(-train.y * net.outputs(train.x)[:, 0])  # (E9)
    direction = closed_form_direction(test.y, dist.features, dist.labels)
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
    W = comparison.multiclass.W
    cosines = _cosines(comparison.features, W)
    same = np.eye(len(cosines), dtype=np.bool_)
    own = cosines[same]
    return {
        "own": float(own.min()),
        "own_mean": float(own.mean()),
        "others": float(cosines[~same].mean()),
        "norms": np.linalg.norm(W, axis=1).tolist(),
    }


def _cosines(features: Array, W: Array) -> Array:
    """Cosines, 0 for a neuron that has vanished."""
    alive = np.linalg.norm(W, axis=1) > 0
    cosines = np.zeros((len(features), len(W)))
    cosines[:, alive] = cosine_matrix(features, W[alive]) if alive.any() else 0.0
    return cosines
