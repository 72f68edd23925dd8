"""Finer labels alone do not make a network robust: perfect on the clusters, radius near sqrt(d/k).

Status: the paper has such a proposition (h = 1); this construction is derived here.

w_j = sum_{same class} mu_i + eps mu_j, read by group_max. At mu_j the own output is d (1 + eps),
the others of the class d, those of the other class 0: every centre gets its own cluster, for every
eps > 0. To tie with an output t of the other class, only F_j = F_t binds: at the nearest point
<mu_i, x'>/d is 1 - (1 + eps) c at i = j and -c elsewhere in the class, c = (1 + eps)/(k - 2 + 2 (1
+ eps)^2), so that F_j remains its class's largest as long as eps c < 1. Hence r = sqrt(d) (1 +
eps)/sqrt(k - 2 + 2 (1 + eps)^2), tending to sqrt(d/k).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from proofs_numeric.evidence import RADIUS, Check, Evidence, Size
from refimpl import ClusterDistribution, GroupMax, TwoLayerReLU, robust_radius, theory

EPSILONS = (1.0, 0.1, 0.01, 0.001)


def prove(size: Size) -> Evidence:
    """Build the network for several eps and all seeds."""
    dists = [ClusterDistribution.orthogonal(size.k, size.d, rng=seed) for seed in size.seeds]
    return judge(dists, {eps: [averaged_classes(dist, eps) for dist in dists] for eps in EPSILONS})


def averaged_classes(dist: ClusterDistribution, eps: float) -> TwoLayerReLU:
    """w_j = sum_{same class} mu_i + eps mu_j, one output each."""
    same = dist.labels[:, None] == dist.labels
    k = dist.n_clusters
    return TwoLayerReLU(same @ dist.features + eps * dist.features, None, np.eye(k))


def judge(
    dists: Sequence[ClusterDistribution], networks: Mapping[float, Sequence[TwoLayerReLU]]
) -> Evidence:
    """Accuracy on the centres, and their exact radii against the formula."""
    k, d = dists[0].features.shape
    limit = theory.feature_averaging_radius(k, d)
    wrong, error, ratios = 0, 0.0, {}
    for eps, nets in networks.items():
        formula = math.sqrt(d) * (1 + eps) / math.sqrt(k - 2 + 2 * (1 + eps) ** 2)
        found = []
        for dist, net in zip(dists, nets, strict=True):
            wrong += int((net.predict(dist.features, "argmax") != np.arange(k)).sum())
            decision = GroupMax(dist.labels)
            radius = robust_radius(net, dist.features, dist.labels, decision=decision).upper
            error = max(error, float(np.abs(radius / formula - 1).max()))
            found.append(float(radius.max() / limit))
        ratios[eps] = max(found)
    smallest = min(ratios)
    checks = [
        Check.at_most("radius at a centre against its formula, relative", error, RADIUS),
        Check.at_most("centres with a wrong cluster, any eps", wrong, 0),
        # (1 + eps)/sqrt(1 + (4 eps + 2 eps^2)/k) <= 1 + eps
        Check.at_most(
            f"radius over sqrt(d/k) at eps = {smallest:g}", ratios[smallest], 1 + smallest + RADIUS
        ),
        *(
            Check.reported(f"radius over sqrt(d/k) at eps = {eps:g}", ratio)
            for eps, ratio in ratios.items()
            if eps != smallest
        ),
    ]
    return Evidence(
        "supervision-alone",
        "perfect accuracy on the clusters, and still a radius near sqrt(d/k)",
        "paper has such a proposition; construction derived",
        checks,
        {"eps": list(ratios), "radius_over_averaging": list(ratios.values())},
    )
