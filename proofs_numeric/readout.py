"""Decoupled features are not robust by themselves: without bias, group_sum is of averaging's order.

Status: derived (E21), measured.

Bounds. At the centres of the idealised network the radius is (E21) exactly, for every bias; a bias
of -(1 - 1/sqrt(2)) d raises it from sqrt(d/(1 + k_opp)) to sqrt(d/2), which no classifier exceeds,
whatever k. (E20) likewise, where group_max keeps sqrt(d/2) down to that bias. Trained networks:
median within 20 % of (E21). What PGD reports at a radius that truly flips every sample is written
beside: an attack is an upper bound of robust accuracy, and with all neurons of the other side
inactive it has no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from proofs_numeric.evidence import RADIUS, Check, Evidence, Run, Size, multiclass, radii
from refimpl import (
    ClusterDistribution,
    GroupMax,
    GroupSum,
    TwoLayerReLU,
    pgd_attack,
    robust_accuracy,
    robust_radius,
    theory,
)
from refimpl.decisions import margin

MEDIAN = 0.20
BEST_BIAS = -(1 - 1 / math.sqrt(2))
BIASES = (0.0, -0.05, -0.1, -0.2, BEST_BIAS, -0.5, -0.9)


def prove(size: Size) -> Evidence:
    """Judge the multi-class networks of all seeds, and idealised ones with several biases."""
    runs = [multiclass(size, seed) for seed in size.seeds]
    ideal = ClusterDistribution.orthogonal(size.k, size.d, rng=size.seeds[0])
    return judge(runs, ideal)


def judge(runs: Sequence[Run], ideal: ClusterDistribution) -> Evidence:
    """Exact radii of the readouts, trained and idealised, and PGD beside them."""
    dist = runs[0].problem.dist
    centre = theory.group_sum_radius(dist.n_clusters // 2, dist.dim)
    decision = GroupSum(dist.labels)
    exact = [radii(run, decision) for run in runs]
    medians = np.array([np.median(each) for each in exact])
    epsilon = float(max(each.max() for each in exact)) * (1 + RADIUS)
    truth = float(np.mean([robust_accuracy(each, [epsilon])[1][0] for each in exact]))
    pgd = [_pgd_accuracy(run, epsilon) for run in runs]
    biased = biased_radii(ideal)
    best = next(row[2] for row in biased if row[0] == BEST_BIAS)
    wrong = max(max(abs(sums / e21 - 1), abs(most / e20 - 1)) for _, most, sums, e20, e21 in biased)
    checks = [
        Check.at_most(
            "|median radius / sqrt(d/(1+k_opp)) - 1|, largest",
            np.abs(medians / centre - 1).max(),
            MEDIAN,
        ),
        Check.at_most("idealised radii against (E20), (E21), 7 biases", wrong, RADIUS),
        Check.at_most(
            "|radius / sqrt(d/2) - 1|, bias -(1 - 1/sqrt(2)) d",
            abs(best / theory.decoupled_radius(dist.dim) - 1),
            RADIUS,
        ),
        Check.reported("median exact radius", float(np.median(medians))),
        Check.reported(f"robust accuracy by PGD at radius {epsilon:.3g}, %", 100 * max(pgd)),
        Check.reported("  the truth, from exact radii, %", 100 * truth),
    ]
    numbers = {
        "medians": medians.tolist(),
        "pgd_accuracy": pgd,
        "epsilon": epsilon,
        "bias_over_d, group_max, group_sum, E20, E21": [list(row) for row in biased],
    }
    return Evidence(
        "readout",
        "without bias group_sum has a radius of the order of (E21); a negative bias repairs it",
        "derived, measured",
        checks,
        numbers,
    )


def biased_radii(dist: ClusterDistribution) -> list[tuple[float, float, float, float, float]]:
    """For each bias over d: measured group_max and group_sum, then (E20) and (E21), at a centre."""
    rows = []
    for share in BIASES:
        net = TwoLayerReLU.feature_decoupling(dist, share * dist.dim)
        most, sums = (
            float(robust_radius(net, dist.features[:1], dist.labels[:1], decision=each).upper[0])
            for each in (GroupMax(dist.labels), GroupSum(dist.labels))
        )
        opposite = int((dist.labels != dist.labels[0]).sum())
        e20 = theory.decoupled_radius(dist.dim, share * dist.dim)
        e21 = theory.group_sum_radius(opposite, dist.dim, share * dist.dim)
        rows.append((share, most, sums, e20, e21))
    return rows


def _pgd_accuracy(run: Run, epsilon: float) -> float:
    test, decision = run.problem.test, GroupSum(run.problem.dist.labels)
    x = pgd_attack(run.net, test.x, test.y, epsilon=epsilon, decision=decision, rng=0)
    return float((margin(run.net.outputs(x), test.y, decision) > 0).mean())
