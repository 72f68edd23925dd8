"""Coefficients move one way only, along the whole trajectory, and by no more than a bound (E16).

Status: derived.

For the binary network, every step adds eta/(n m) s_r y_i sigmoid(-y_i f_i) 1[z_ir > 0] to C_ir.
Increments are differences of the coefficients of one run. The signs are exact in float64: an
increment is a product of numbers of known sign, and a rounded sum never moves against what was
added. So the number of violations must be 0. A sigmoid is below 1, so no increment exceeds its
bound: the ratios stay below 1. The formula itself is compared with what the gradient descent of
the package did, to rounding: the error of f, a sum of d and then of 2m products with output weights
that sum to 2, passes through a sigmoid of slope at most 1/4, and C, a sum of as many increments
as there are steps, rounds in each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from proofs_numeric.evidence import Check, Evidence, Size, gamma, problem
from refimpl import Trajectory, TwoLayerReLU, decompose, gradient_descent
from refimpl._arrays import Array
from refimpl.decomposition import increment_bounds
from refimpl.setting import Problem
from refimpl.training import Snapshot


class Increment(NamedTuple):
    """One step: the network before it, and what it added to the coefficients (n,2m)."""

    net: TwoLayerReLU
    change: Array


def prove(size: Size) -> Evidence:
    """Follow every step of one trajectory a seed, at a tenth of the samples."""
    size = replace(size, n=max(size.n // 10, 4 * size.k))
    results = []
    for seed in size.seeds:
        drawn, rng = problem(size, seed), np.random.default_rng(seed)
        net = TwoLayerReLU.binary(size.d, size.m, sigma_w=size.sigma, rng=rng)
        steps = increments(net, drawn, size.learning_rate, size.steps)
        results.append(judge(drawn, steps, size.learning_rate))
    return max(results, key=lambda result: (result.verdict == "fails", result.checks[2].figure))


def increments(
    net: TwoLayerReLU, drawn: Problem, learning_rate: float, steps: int
) -> Iterator[Increment]:
    """Yield what each step of one gradient descent adds."""
    seen: list[Snapshot] = []
    gradient_descent(
        net,
        drawn.train.x,
        drawn.train.y,
        learning_rate=learning_rate,
        steps=steps,
        method="primal",  # whose weights are those that each step was taken at
        callback=lambda step, loss, get_network: seen.append(get_network),
    )
    for before, after in pairwise(seen):
        yield Increment(before(), after.coefficients - before.coefficients)


def judge(drawn: Problem, steps: Iterator[Increment], learning_rate: float) -> Evidence:
    """Hold each increment against its sign, its bound and its formula."""
    sample, dist = drawn.train, drawn.dist
    backward, ratio, difference, count = 0, 0.0, 0.0, 0
    for net, change in steps:
        signs, m = np.sign(net.A[0]), net.n_hidden // 2
        bounds = increment_bounds(sample, dist, learning_rate=learning_rate, m=m)
        parts = decompose(Trajectory(net, np.zeros(1), change), sample, dist)
        towards = (
            change * signs * sample.y[:, None],
            parts.feature * signs[:, None] * dist.labels,
            parts.noise * signs[:, None] * sample.y,
        )
        backward += sum(int((part < 0).sum()) for part in towards)
        sizes: tuple[Array | float, ...] = (bounds.coefficient, bounds.feature, bounds.noise)
        ratio = max(ratio, *(_largest(p, s) for p, s in zip(towards, sizes, strict=True)))
        f, z = net.outputs(sample.x)[:, 0], net.preactivations(sample.x)
        rate = bounds.coefficient * sample.y * expit(-sample.y * f)
        formula = rate[:, None] * signs * (z > 0)  # (E16)
        difference = max(difference, float(np.abs(change - formula).max() / bounds.coefficient))
        count += 1
    terms = dist.dim + len(sample.x) + 2 * m
    outputs = np.abs(sample.x).sum(axis=1).max() * np.abs(net.W).max()
    checks = [
        Check.at_most("increments of C, lambda, sigma of the wrong sign", backward, 0),
        Check.at_most("largest increment over its bound", ratio, 1.0),
        Check.at_most(
            "|increment of C - formula| over its bound",
            difference,
            gamma(terms) * outputs + gamma(20 + count),
        ),
    ]
    return Evidence(
        "monotone",
        "lambda and sigma move one way only, by bounded increments (E16)",
        "derived",
        checks,
        {"steps": count, "samples": len(sample.x)},
    )


def _largest(increments: Array, bounds: Array | float) -> float:
    """Largest ratio; a sample at its centre has neither noise nor a bound."""
    bounds = np.broadcast_to(bounds, increments.shape)
    return float(np.max(increments[bounds > 0] / bounds[bounds > 0], initial=0.0))
