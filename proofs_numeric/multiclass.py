"""A network that averages is no more robust as a multi-class classifier.

Status: derived. The paper's reviewers asked it.

Merge the k clusters into K classes of s = k/K each, and train a multi-class network on the classes,
read by argmax. Its neurons average the s features of their class, as those of the binary network
do. For w_c = sum of the features of class c the nearest tie of a centre with class t is where
<w_c - w_t, x> = 0, at distance d / ||w_c - w_t|| = sqrt(d/(2 s)), or where <w_c, x> = 0, farther
away, at sqrt(d/s). So the radius is sqrt(d/(2 s)) = sqrt(K/2) sqrt(d/k): for K = 2 that of
averaging (E19), for K = k that of single features (E20). Bound: the median of trained networks is
within 5 % of it, as in the other claims.

Within and across groups: each cluster is a class (K = k), and the groups are those of the labels.
The radius *within* is the distance to an output that ties with an own one of its group, *across* of
the other group. Trained networks, whose features are decoupled, have sqrt(d/2) for both. Weights
that average all the same, w_j = sum of the own group's features + eps mu_j, classify every centre.
By the ties with single targets, as above, and balanced groups,

    across: sqrt(d) (1 + eps) / sqrt(k - 2 + 2 (1 + eps)^2)
    within: min(sqrt(d/2), sqrt(d) (1 + eps) / sqrt(k/2 - 1 + (1 + eps)^2))

In the second case of *within* the own output, and maybe all others, are 0, a tie; were ties robust,
it would be sqrt(d/2). So averaging costs robustness across groups, of the order of sqrt(d/k), and
the multi-class radius, the smaller of both, is no better.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from proofs_numeric.evidence import RADIUS, Check, Evidence, Run, Size, multiclass, problem
from proofs_numeric.supervision_alone import averaged_classes
from refimpl import ClusterDistribution, TwoLayerReLU, gradient_descent, robust_radius, theory
from refimpl._arrays import Array, IntArray

MEDIAN = 0.05
EPSILON = 0.1


def prove(size: Size) -> Evidence:
    """Train on merged classes, all divisors K of k, and on clusters; build averaged weights."""
    merged = {
        K: [merge(size, seed, K) for seed in size.seeds]
        for K in range(2, size.k)
        if size.k % K == 0
    }
    dist = problem(size, size.seeds[0]).dist
    ideal = averaged_classes(dist, EPSILON)
    return judge(merged, [multiclass(size, seed) for seed in size.seeds], dist, ideal)


def merge(size: Size, seed: int, K: int) -> Run:
    """Train on K classes of k/K clusters next to each other, a neuron for each cluster."""
    drawn, h = problem(size, seed), size.k // K
    rng = np.random.default_rng([seed, 3, K])
    net = TwoLayerReLU.multiclass(size.d, K, h, sigma_w=size.sigma, rng=rng)
    path = gradient_descent(
        net,
        drawn.train.x,
        drawn.train.cluster // h,
        learning_rate=size.learning_rate,
        steps=size.steps,
    )
    return Run(drawn, net, path)


def _near(what: str, medians: Sequence[float], value: float) -> Check:
    """Every median is near its derived value."""
    return Check.at_most(what, max(abs(median / value - 1) for median in medians), MEDIAN)


def judge(
    merged: Mapping[int, Sequence[Run]],
    runs: Sequence[Run],
    dist: ClusterDistribution,
    averaged: TwoLayerReLU,
) -> Evidence:
    """Exact argmax radii of all of them against their derived values."""
    k, d = dist.features.shape
    medians = {K: [float(np.median(_argmax(run))) for run in each] for K, each in merged.items()}
    derived = {K: math.sqrt(d * K / (2 * k)) for K in merged}
    best = theory.decoupled_radius(d)
    sides = {
        side: [float(np.median(_radii(run.net, run, side))) for run in runs]
        for side in ("within", "across")
    }
    centres = np.arange(k)
    wrong = max(
        float(np.abs(radii_of(averaged, dist.features, centres, dist, side) / value - 1).max())
        for side, value in averaged_radii(k, d, EPSILON).items()
    )
    missed = int((averaged.predict(dist.features, "argmax") != centres).sum())
    checks = [
        *(
            _near(f"{K} classes: |median radius / sqrt(dK/(2k)) - 1|", found, derived[K])
            for K, found in medians.items()
        ),
        *(
            _near(f"{k} classes, {side} groups: |median / sqrt(d/2) - 1|", found, best)
            for side, found in sides.items()
        ),
        Check.at_most("averaged weights: radii at centres, formulas", wrong, RADIUS),
        Check.at_most("averaged weights: centres with a wrong cluster", missed, 0),
        *(Check.reported(f"{K} classes: sqrt(dK/(2k))", value) for K, value in derived.items()),
        *(Check.reported(f"median {side} groups", np.median(v)) for side, v in sides.items()),
        Check.reported("sqrt(d/2)", best),
        *(
            Check.reported(f"averaged weights, eps = {EPSILON:g}: {side} groups", value)
            for side, value in averaged_radii(k, d, EPSILON).items()
        ),
    ]
    return Evidence(
        "multiclass",
        "a network that averages is not robust as a multi-class classifier either",
        "derived",
        checks,
        {"merged": {str(K): found for K, found in medians.items()}, **sides},
    )


def averaged_radii(k: int, d: int, eps: float) -> dict[str, float]:
    """Radii at a centre of w_j = sum of the own group's features + eps mu_j, balanced groups.

    >>> radii = averaged_radii(4, 8, 0.0)
    >>> round(radii["within"] ** 2, 9), round(radii["across"] ** 2, 9)
    (4.0, 2.0)
    """
    own = 1 + eps
    dead = math.sqrt(d) * own / math.sqrt(k / 2 - 1 + own**2)
    return {
        "within": min(math.sqrt(d / 2), dead),
        "across": math.sqrt(d) * own / math.sqrt(k - 2 + 2 * own**2),
    }


def radii_of(
    net: TwoLayerReLU, x: Array, cluster: IntArray, dist: ClusterDistribution, side: str
) -> Array:
    """Exact distances (n,) to a tie with another output of the own group, or of the other."""
    result = np.full(len(x), np.inf)
    same = dist.labels[:, None] == dist.labels
    targets = same & ~np.eye(len(same), dtype=np.bool_) if side == "within" else ~same
    for j in np.unique(cluster):
        rows, others = cluster == j, np.flatnonzero(targets[j])
        if len(others):
            few = TwoLayerReLU(net.W, net.b, net.A[[j, *others]], net.c[[j, *others]])
            own = np.zeros(int(rows.sum()), dtype=np.int64)
            result[rows] = robust_radius(few, x[rows], own, decision="argmax").upper
    return result


def _radii(net: TwoLayerReLU, run: Run, side: str) -> Array:
    test = run.problem.test
    return radii_of(net, test.x, test.cluster, run.problem.dist, side)


def _argmax(run: Run) -> Array:
    test, h = run.problem.test, run.problem.dist.n_clusters // run.net.n_outputs
    return robust_radius(run.net, test.x, test.cluster // h, decision="argmax").upper
