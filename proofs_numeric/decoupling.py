"""Training on the clusters decouples the features: w_j is close to a multiple of mu_j.

Status: paper, abstract.

Bounds, as in `averaging` with one feature for each neuron: noise adds (1 + rho)^2/(4 rho n_j) of
the squared feature part, rho = 2.5, and each of the k - 1 other features takes at most the squared
cosine of `cosine_with_others`; it is negative, since only its own cluster draws a neuron nearer.
Without ReLUs nothing would stop the push away from other features: w_j would be mu_j less the mean
of all, and these cosines sqrt(1 - 1/k) and -1/sqrt(k(k - 1)), which are reported beside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from proofs_numeric.evidence import (
    BALANCE,
    Check,
    Evidence,
    Run,
    Size,
    cluster_sizes,
    cosine_with_others,
    multiclass,
)
from refimpl import cosine_matrix
from refimpl._arrays import Array


def prove(size: Size) -> Evidence:
    """Judge the multi-class networks of all seeds, and report a smaller dimension."""
    result = judge([multiclass(size, seed) for seed in size.seeds], size)
    small = replace(size, d=size.d // 4, learning_rate=4 * size.learning_rate)
    own, others = _cosines(multiclass(small, size.seeds[0]))
    checks = [
        *result.checks,
        Check.reported(f"cosine of w_j and mu_j at d = {small.d}, smallest", own.min()),
        Check.reported(f"cosine with another at d = {small.d}, most negative", others.min()),
    ]
    return replace(result, checks=checks)


def judge(runs: Sequence[Run], size: Size) -> Evidence:
    """Measure cosines of neurons and features, and the fine-grained accuracy."""
    cosines = [_cosines(run) for run in runs]
    own = np.concatenate([each for each, _ in cosines])
    others = np.concatenate([each for _, each in cosines])
    counts = min(cluster_sizes(run.problem.train, size.k).min() for run in runs)
    leak = cosine_with_others(size, size.k)
    noise = (1 + BALANCE) ** 2 / (4 * BALANCE * counts)
    bound = math.sqrt(max(0.0, 1 - (size.k - 1) * leak**2) / (1 + noise))
    wrong = sum(
        int((run.net.predict(run.problem.test.x, "argmax") != run.problem.test.cluster).sum())
        for run in runs
    )
    checks = [
        Check.at_least("cosine of w_j and mu_j, smallest", own.min(), bound),
        Check.at_most("|cosine| of w_j and another feature, largest", np.abs(others).max(), leak),
        Check.at_most("test samples with a wrong cluster", wrong, 0),
        Check.reported("cosine of w_j and another feature, mean", others.mean()),
        Check.reported(
            "  the same without ReLUs, -1/sqrt(k(k-1))", -1 / math.sqrt(size.k * (size.k - 1))
        ),
    ]
    return Evidence(
        "decoupling",
        "multi-class training ends with w_j close to a multiple of mu_j",
        "paper, abstract",
        checks,
        {"own": own.tolist(), "others": [float(others.min()), float(others.max())]},
    )


def _cosines(run: Run) -> tuple[Array, Array]:
    """Cosines of each neuron with its own feature (k,), and with the others (k(k-1),)."""
    cosines = cosine_matrix(run.problem.dist.features, run.net.W)
    same = np.eye(len(cosines), dtype=np.bool_)
    return cosines[same], cosines[~same]
