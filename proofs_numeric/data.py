"""Samples obey (E1) to (E3).

Status: paper, Definition 3.1, Assumptions 3.2 and 3.3.

Bounds. (E2) <mu_i, mu_l>/d is 1 or 0 up to the rounding of a QR factorisation and of sums of d
terms. (E3) is exact. For (E1), everything of which the law is known is held against it, with a
false alarm in at most one run of 1e9 each: the counts of clusters (chi-squared), the distribution
function of the noise's entries and of its coordinates along the features
(Dvoretzky-Kiefer-Wolfowitz-Massart: P(sup > e) <= 2 exp(-2 N e^2)), and, for independence, <xi_i,
xi_l>/||xi_l||, which is standard normal for each pair (union bound).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import chdtri, ndtr

from proofs_numeric.evidence import (
    FALSE_ALARM,
    Check,
    Evidence,
    Size,
    cluster_sizes,
    gamma,
    largest_normal,
    problem,
)
from refimpl._arrays import Array
from refimpl.setting import Problem


def prove(size: Size) -> Evidence:
    """Judge the training samples of one seed; balanced classes are asked for."""
    return judge(problem(size, size.seeds[0]))


def judge(drawn: Problem) -> Evidence:
    """Hold a distribution and its sample against their laws."""
    dist, sample = drawn.dist, drawn.train
    k, d, n = dist.n_clusters, dist.dim, len(sample.x)
    gram = np.abs(dist.features @ dist.features.T / d - np.eye(k)).max()  # (E2)
    counts = cluster_sizes(sample, k)
    noise = (sample.x - dist.features[sample.cluster]) / dist.noise_std  # (E1)
    along = noise @ dist.features.T / np.linalg.norm(dist.features, axis=1)
    products = np.abs(noise @ noise.T) / np.linalg.norm(noise, axis=1)
    np.fill_diagonal(products, 0.0)
    wrong = int((sample.y != dist.labels[sample.cluster]).sum())
    checks = [
        Check.at_most("<mu_i, mu_l>/d - 1[i = l], largest", gram, gamma(4 * d + k * k)),
        Check.at_most("labels that are not their cluster's", wrong, 0),
        Check.at_most("|J+|/|J-|, or its inverse", dist.imbalance, (k - k // 2) / (k // 2)),
        Check.at_most(
            "clusters uniform: chi-squared of their sizes",
            float(((counts - n / k) ** 2).sum() / (n / k)),
            float(chdtri(k - 1, FALSE_ALARM)),
        ),
        _normal("noise normal: distance of distribution functions", noise),
        _normal("  the same along the features", along),
        Check.at_most(
            "noise of two samples: normalised product, largest",
            products.max(),
            largest_normal(2 * n * (n - 1)),
        ),
    ]
    numbers = {"k": k, "d": d, "n": n, "cluster_sizes": counts.tolist()}
    return Evidence("data", "samples obey (E1) to (E3)", "paper", checks, numbers)


def _normal(what: str, values: Array) -> Check:
    """Hold the empirical distribution function against the normal one."""
    ordered = ndtr(np.sort(values, axis=None))
    count = len(ordered)
    steps = np.arange(count + 1) / count
    distance = max(np.abs(ordered - steps[1:]).max(), np.abs(ordered - steps[:-1]).max())
    return Check.at_most(what, distance, math.sqrt(math.log(2 / FALSE_ALARM) / (2 * count)))
