"""Each hidden neuron becomes an average of the features of its class.

Status: paper, abstract.

Bounds. Training adds sum_i C_ir x_i to w_r. While the losses' derivatives are balanced, max/min
|dL/df_i| <= 2.5 =: rho (the claim `balance`), the coefficients of one neuron on its own class are
within the factor rho of each other, and lambda_rj, j in J_s, within R = rho max n_j / min n_j, n_j
the samples of cluster j.

- The cosine of the vectors lambda_r and (1, .., 1) is at least 2 sqrt(R)/(1 + R) (Kantorovich).
- The noise of cluster j adds ||sum_i C_i xi_i||^2, which is about sum_i C_i^2 d, at most
  (1 + rho)^2/(4 rho n_j) of the squared feature part: one over the samples, for a noisy average.
- Each feature of the other class takes at most the squared cosine of `cosine_with_others`.

Alignment, cos(w_r, sum_{J_s} mu_j), is at least the product of these factors. It tends to 1 only
as n_j and d/k grow, as the reported sizes show. Test error is P(N(sqrt(d/k), 1) < 0), by (E23):
none is expected.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy.special import ndtr

from proofs_numeric.evidence import (
    BALANCE,
    Check,
    Evidence,
    Run,
    Size,
    binary,
    cluster_sizes,
    cosine_with_others,
    largest_count,
)
from refimpl import cosine_matrix, decompose
from refimpl._arrays import Array


def prove(size: Size) -> Evidence:
    """Judge the networks of all seeds; report smaller dimension, fewer samples, fewer clusters."""
    result = judge([binary(size, seed) for seed in size.seeds], size)
    others = {
        f"d = {size.d // 4}": replace(size, d=size.d // 4, learning_rate=4 * size.learning_rate),
        f"n = {size.n // 4}": replace(size, n=size.n // 4),
        "k = 4": replace(size, k=4, learning_rate=size.learning_rate * 4 / size.k),
    }
    small = {name: alignment(binary(other, 0)).min() for name, other in others.items()}
    checks = [
        *result.checks,
        *(Check.reported(f"smallest alignment at {name}", value) for name, value in small.items()),
    ]
    return replace(result, checks=checks)


def judge(runs: list[Run], size: Size) -> Evidence:
    """Measure alignments, lambda and accuracy of trained networks."""
    aligned, spread, over_r, bounds, ratios, errors = [], [], [], [], [], 0
    for run in runs:
        aligned.append(alignment(run))
        counts = cluster_sizes(run.problem.train, size.k)
        bounds.append(bound(counts, size))
        for block, sizes in zip(blocks(run), _sides(run, counts), strict=True):
            ratios.append(BALANCE * sizes.max() / sizes.min())
            spread.append(_ratio(block, axis=None) / ratios[-1])
            over_r.append(_ratio(block, axis=0))
        test = run.problem.test
        errors += int((run.net.predict(test.x, "sign") != test.y).sum())
    expected = len(runs) * size.test * float(ndtr(-math.sqrt(size.d / size.k)))
    checks = [
        Check.at_least(
            "alignment with the average of the class, smallest", np.min(aligned), max(bounds)
        ),
        Check.at_most("max/min of a class's lambda, over its bound R", np.max(spread), 1.0),
        Check.at_most("test samples misclassified", errors, largest_count(expected)),
        Check.reported("max/min of lambda over the neurons, one feature", max(over_r)),
    ]
    numbers = {
        "alignment": [each.tolist() for each in aligned],
        "bounds": bounds,
        "R": ratios,
        "spread_over_neurons": over_r,
    }
    return Evidence(
        "averaging",
        "binary training ends with every neuron close to the average of its class's features",
        "paper, abstract",
        checks,
        numbers,
    )


def bound(counts: Array, size: Size) -> float:
    """Bound the alignment from below, by the samples n_j of each cluster."""
    spread = BALANCE * counts.max() / counts.min()
    noise = (1 + BALANCE) ** 2 / (4 * BALANCE * counts.min())
    others = math.ceil(size.k / 2) * cosine_with_others(size, 2 * size.m) ** 2
    along = 2 * math.sqrt(spread) / (1 + spread)
    return along * math.sqrt(max(0.0, 1 - others) / (1 + noise))


def alignment(run: Run) -> Array:
    """Cosine (2m,) of every neuron with the sum of the features of its sign."""
    dist, signs = run.problem.dist, np.sign(run.net.A[0])
    cosines = cosine_matrix(dist.class_sums, run.net.W)
    return np.where(signs > 0, cosines[0], cosines[1])


def blocks(run: Run) -> list[Array]:
    """Return |lambda| of each class's neurons on their own features."""
    feature = decompose(run.path, run.problem.train, run.problem.dist).feature
    signs, labels = np.sign(run.net.A[0]), run.problem.dist.labels
    return [np.abs(feature[np.ix_(signs == side, labels == side)]) for side in (1, -1)]


def _sides(run: Run, counts: Array) -> list[Array]:
    return [counts[run.problem.dist.labels == side] for side in (1, -1)]


def _ratio(values: Array, axis: int | None) -> float:
    """Largest max/min; inf where a value is 0."""
    smallest = values.min(axis=axis)
    if not np.all(smallest > 0):
        return math.inf
    return float((values.max(axis=axis) / smallest).max())
