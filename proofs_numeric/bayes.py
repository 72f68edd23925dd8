"""The Bayes classifier takes the nearest cluster and is as robust as any; no network beats it.

Status: Min and Vidal, *Gradient Flow Provably Learns Robust Classifiers for Orthonormal GMMs*,
ICML 2025, Propositions 1 and 2, here for centres of norm sqrt(d); bounds derived.

**No classifier withstands sqrt(d/2)** (their Proposition 1). For any noise xi and centres of
different class the midpoint of mu_i + xi and mu_l + xi is adversarial for one of the two, so that
min(r(mu_i + xi), r(mu_l + xi)) <= ||mu_i - mu_l||/2 = sqrt(d/2). Of the k samples with one noise at
most k - min(|J+|, |J-|) are robust there, as the smaller class can be matched into the larger. The
same noise is put on every centre, so that both hold without any chance: they are checked for
networks of all kinds, and for the nearest cluster.

**The Bayes classifier** compares log sum_{j in J_s} exp(-||x - mu_j||^2/(2 noise_std^2)) of the two
classes. A log-sum-exp lies between the largest term and log |J_s| more, so its radius is at least
that of the nearest cluster with log |J_-y| taken off the own side, and at most that with log |J_y|
added. Both are exact radii of networks, and their distance is small.

**It withstands any smaller radius in high dimension** (their Proposition 2). A sample of cluster j
is not taken for t within epsilon while it is farther than that from the half-space nearer to mu_t
than to mu_j: that fails with probability k_opp Phi((sqrt(2) epsilon - sqrt(d))/(sqrt(2) noise_std))
at most, the argument shifted by noise_std log k_opp / sqrt(2 d). The number of samples with r <=
0.9 sqrt(d/2) is held to a Poisson bound for that mean, as d grows. It tends to none.

From two labels gradient descent ends far below this (`non-robust`). With polynomial ReLUs, the p-th
power of a normalised ReLU for p > 2, Min and Vidal prove in the same paper that gradient flow
reaches about sqrt(d/2) from two labels; that is not built here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import logsumexp, ndtr

from proofs_numeric.evidence import (
    RADIUS,
    Check,
    Evidence,
    Size,
    binary,
    largest_count,
    multiclass,
    problem,
)
from refimpl import ClusterDistribution, GroupMax, GroupSum, TwoLayerReLU, robust_radius, theory
from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision, margin
from refimpl.setting import Problem

SHARE = 0.9
NOISES = 5
Classifier = tuple[TwoLayerReLU, Decision]


def prove(size: Size) -> Evidence:
    """Draw problems of growing dimension, and every kind of classifier in the largest."""
    seed = size.seeds[0]
    drawn = [problem(replace(size, d=size.d // by), seed) for by in (4, 2, 1)]
    dist, positive = drawn[-1].dist, GroupMax(drawn[-1].dist.labels)
    rng = np.random.default_rng(seed)
    random = TwoLayerReLU(rng.standard_normal((8, size.d)), None, rng.standard_normal((1, 8)))
    many = multiclass(size, seed).net
    classifiers: dict[str, Classifier] = {
        "nearest cluster": (nearest_cluster(dist), positive),
        "trained, 2 classes": (binary(size, seed).net, "sign"),
        "trained, k classes, group_max": (many, positive),
        "trained, k classes, group_sum": (many, GroupSum(dist.labels)),
        "idealised averaging": (TwoLayerReLU.feature_averaging(dist), "sign"),
        "idealised decoupling": (TwoLayerReLU.feature_decoupling(dist), positive),
        "random": (random, "sign"),
    }
    noise = dist.noise_std * rng.standard_normal((NOISES, size.d))
    radii = {name: on_every_centre(dist, noise, each) for name, each in classifiers.items()}
    return judge(drawn, radii)


def nearest_cluster(dist: ClusterDistribution, offsets: Array | None = None) -> TwoLayerReLU:
    """Network with F_j = <mu_j, x> - ||mu_j||^2/2 + noise_std^2 offsets_j for ||x|| <= `reach`.

    F_j = ReLU(<mu_j, x> + B) - B + ..., B so large that every neuron is active there. Without
    offsets the largest output is that of the nearest centre.
    """
    squares = np.square(dist.features).sum(axis=1)
    B = reach(dist) * math.sqrt(squares.max())
    c = -B - squares / 2
    if offsets is not None:
        c = c + dist.noise_std**2 * offsets
    return TwoLayerReLU(dist.features, np.full(len(c), B), np.eye(len(c)), c)


def reach(dist: ClusterDistribution) -> float:
    """Norm of x up to which `nearest_cluster` is what it is called."""
    norm = float(np.linalg.norm(dist.features, axis=1).max())
    return 4 * (norm + dist.noise_std * math.sqrt(dist.dim))


def bayes_margin(dist: ClusterDistribution, x: Array, y: IntArray) -> Array:
    """Log of the odds (n,) of the right class against the other, given x."""
    squares = np.square(x[:, None] - dist.features).sum(axis=2) / (2 * dist.noise_std**2)
    sides = [logsumexp(-squares[:, dist.labels == side], axis=1) for side in (1, -1)]
    odds: Array = y * (sides[0] - sides[1])
    return odds


def bayes_radii(drawn: Problem) -> tuple[Array, Array]:
    """Bounds (n,) of the Bayes classifier's radius at the test samples."""
    dist, test = drawn.dist, drawn.test
    lower, upper = np.empty(len(test.x)), np.empty(len(test.x))
    for side in (1, -1):
        rows, own = test.y == side, dist.labels == side
        if rows.any():
            for bound, offsets in (
                (lower, np.where(own, -math.log((~own).sum()), 0.0)),
                (upper, np.where(own, math.log(own.sum()), 0.0)),
            ):
                net = nearest_cluster(dist, offsets)
                found = robust_radius(
                    net, test.x[rows], test.y[rows], decision=GroupMax(dist.labels)
                )
                bound[rows] = found.lower if bound is lower else found.upper
    if np.any(np.linalg.norm(test.x, axis=1) + upper > reach(dist)):
        raise ArithmeticError("a nearest adversarial point beyond the reach of nearest_cluster")
    return lower, upper


def on_every_centre(dist: ClusterDistribution, noise: Array, classifier: Classifier) -> Array:
    """Exact radii (noises,k) at mu_j + xi, for the same xi at every centre; NaN if not known."""
    net, decision = classifier
    x = (dist.features + noise[:, None]).reshape(-1, dist.dim)
    y = np.tile(dist.labels, len(noise))
    found = robust_radius(net, x, y, decision=decision)
    known = np.where(found.status == "bounded", np.nan, found.lower)  # NaN: no claim holds
    return known.reshape(len(noise), -1)


def judge(drawn: Sequence[Problem], radii: Mapping[str, Array]) -> Evidence:
    """Hold every classifier against Proposition 1, and the Bayes classifier against 2."""
    dist = drawn[-1].dist
    best = theory.decoupled_radius(dist.dim)
    labels = dist.labels
    limit = 1 - min(dist.class_sizes) / dist.n_clusters
    pairs = max(_pairs(each, labels) for each in radii.values()) / best
    robust = max(float((each > best * (1 + RADIUS)).mean(axis=1).max()) for each in radii.values())
    bounds = [bayes_radii(each) for each in drawn]
    failing = [_failing(each, lower) for each, (lower, _) in zip(drawn, bounds, strict=True)]
    differ = _differ(drawn[-1])
    checks = [
        Check.at_most("min(r(mu_i + xi), r(mu_l + xi)) / sqrt(d/2), all", pairs, 1 + RADIUS),
        Check.at_most("share robust at sqrt(d/2), any classifier", robust, limit),
        *(
            Check.at_most(f"d = {d}: Bayes radii below {SHARE:g} sqrt(d/2), of {n}", count, most)
            for d, n, count, most in failing
        ),
        Check.at_most("samples where Bayes is not the nearest cluster", differ, 0),
        Check.reported("sqrt(d/2)", best),
        Check.reported("Bayes classifier, median radius at least", np.median(bounds[-1][0])),
        Check.reported("  at most", np.median(bounds[-1][1])),
        *(
            Check.reported(f"{name}: median over sqrt(d/2)", float(np.median(each)) / best)
            for name, each in radii.items()
        ),
    ]
    numbers = {
        "radii_over_best": {name: (each / best).tolist() for name, each in radii.items()},
        "d, samples, below, bound": [list(each) for each in failing],
    }
    return Evidence(
        "bayes",
        "no classifier withstands sqrt(d/2), and the Bayes classifier nearly does",
        "Min and Vidal 2025, Propositions 1 and 2; bounds derived",
        checks,
        numbers,
    )


def _pairs(radii: Array, labels: IntArray) -> float:
    """Largest min(r_i, r_l) of two centres of different class with one noise."""
    return float(np.minimum(radii[:, labels > 0].max(1), radii[:, labels < 0].max(1)).max())


def _failing(drawn: Problem, radii: Array) -> tuple[int, int, int, int]:
    """d, samples, those with r <= SHARE sqrt(d/2), and the most that chance explains."""
    dist, n = drawn.dist, len(radii)
    epsilon = SHARE * theory.decoupled_radius(dist.dim)
    slack = (math.sqrt(dist.dim) - math.sqrt(2) * epsilon) / (math.sqrt(2) * dist.noise_std)
    shift = math.log(max(dist.class_sizes)) * dist.noise_std / math.sqrt(2 * dist.dim)
    chance = max(dist.class_sizes) * float(ndtr(shift - slack))
    return dist.dim, n, int((radii <= epsilon).sum()), min(n, largest_count(n * chance))


def _differ(drawn: Problem) -> int:
    """Test samples that the Bayes classifier and the nearest cluster decide differently."""
    dist, test = drawn.dist, drawn.test
    outputs = nearest_cluster(dist).outputs(test.x)
    nearest = margin(outputs, test.y, GroupMax(dist.labels)) > 0
    return int((nearest != (bayes_margin(dist, test.x, test.y) > 0)).sum())
