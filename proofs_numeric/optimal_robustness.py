"""Decoupled features are as robust as any classifier can be on the centres: radius sqrt(d/2).

Status: paper, abstract (optimality, the order sqrt(d)). Min and Vidal, ICML 2025, Proposition 1,
have the bound for every classifier; that group_max attains it at the centres is derived (E20).

The median of trained networks under group_max is held to 5 % of sqrt(d/2). For the bound of (E20),
any classifier: the midpoint of mu_i and mu_l, of different classes, is adversarial for one of
them, so min(r(mu_i), r(mu_l)) <= ||mu_i - mu_l||/2 = sqrt(d/2) for every such pair, and at epsilon
= sqrt(d/2) at most one class is robust. It is an inequality between exact radii, checked on every
kind of network at hand: trained and idealised, averaging and decoupled, with biases, and random.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from proofs_numeric.evidence import RADIUS, Check, Evidence, Run, Size, binary, multiclass, radii
from refimpl import ClusterDistribution, GroupMax, GroupSum, TwoLayerReLU, robust_radius, theory
from refimpl._arrays import Array
from refimpl.decisions import Decision

MEDIAN = 0.05
Classifier = tuple[TwoLayerReLU, Decision]


def prove(size: Size) -> Evidence:
    """Judge the multi-class networks of all seeds, and many classifiers at the centres."""
    runs = [multiclass(size, seed) for seed in size.seeds]
    dist = runs[0].problem.dist
    rng = np.random.default_rng(size.seeds[0])
    positive, decoupled = GroupMax(dist.labels), TwoLayerReLU.feature_decoupling
    low = -(1 - 1 / math.sqrt(2)) * size.d
    classifiers: dict[str, Classifier] = {
        "trained, 2 classes": (binary(size, size.seeds[0]).net, "sign"),
        "trained, k classes, group_max": (runs[0].net, positive),
        "trained, k classes, group_sum": (runs[0].net, GroupSum(dist.labels)),
        "idealised averaging": (TwoLayerReLU.feature_averaging(dist), "sign"),
        "idealised decoupling, group_max": (decoupled(dist), positive),
        "idealised decoupling with a bias, group_sum": (
            decoupled(dist, low),
            GroupSum(dist.labels),
        ),
        "random": (
            TwoLayerReLU(rng.standard_normal((8, size.d)), None, rng.standard_normal((1, 8))),
            "sign",
        ),
    }
    return judge(runs, at_centres(dist, classifiers), dist)


def at_centres(
    dist: ClusterDistribution, classifiers: Mapping[str, Classifier]
) -> dict[str, Array]:
    """Exact radii (k,) at the centres."""
    return {
        name: robust_radius(net, dist.features, dist.labels, decision=decision).upper
        for name, (net, decision) in classifiers.items()
    }


def judge(runs: Sequence[Run], centres: Mapping[str, Array], dist: ClusterDistribution) -> Evidence:
    """Hold medians against sqrt(d/2), and radii at the centres against the bound of (E20)."""
    best = theory.decoupled_radius(dist.dim)
    labels = dist.labels
    medians = np.array([np.median(radii(run, GroupMax(labels))) for run in runs])
    pairs, shares = [], []
    for each in centres.values():
        pairs.append(min(each[labels > 0].max(), each[labels < 0].max()) / best)
        shares.append(float((each > best * (1 + RADIUS)).mean()))
    largest_class = max((labels > 0).mean(), (labels < 0).mean())
    checks = [
        Check.at_most(
            "|median radius / sqrt(d/2) - 1|, largest over seeds",
            np.abs(medians / best - 1).max(),
            MEDIAN,
        ),
        Check.at_most("min(r(mu_i), r(mu_l)) / sqrt(d/2), any classifier", max(pairs), 1 + RADIUS),
        Check.at_most(
            "share of centres robust at sqrt(d/2), any classifier", max(shares), largest_class
        ),
        Check.reported("sqrt(d/2)", best),
        Check.reported("median exact radius", float(np.median(medians))),
    ]
    numbers = {
        "medians": medians.tolist(),
        "centre_radii_over_best": {name: (each / best).tolist() for name, each in centres.items()},
    }
    return Evidence(
        "optimal-robustness",
        "decoupled features under group_max reach sqrt(d/2), and no classifier exceeds it",
        "paper, abstract; constant derived",
        checks,
        numbers,
    )
