"""Robust radii in three norms and in boxes, against the enumeration of activation patterns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import region_brute_force
from hypothesis import given, settings, strategies

from refimpl import GroupMax, GroupSum, TwoLayerReLU, robust_radius

NORMS = (1, 2, math.inf)
CLOSE = 1e-6  # HiGHS and quadprog meet constraints to 1e-7

seeds = strategies.integers(0, 2**32)


def network(rng: Any, d: int, M: int, K: int, whole: bool) -> TwoLayerReLU:
    """Small integers as weights where `whole`, so that ties and kinks coincide."""
    if whole:
        return TwoLayerReLU(*(rng.integers(-2, 3, s) * 1.0 for s in ((M, d), M, (K, M), K)))
    return TwoLayerReLU(*(rng.normal(size=s) for s in ((M, d), M, (K, M), K)))


def case(seed: int) -> Any:
    """Network, sample, label, decision and box of one seed."""
    rng = np.random.default_rng(seed)
    whole = bool(rng.integers(2))
    kind = rng.choice(["sign", "argmax", "max", "sum"])
    d, M = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    K = 1 if kind == "sign" else int(rng.integers(2, 4))
    net = network(rng, d, M, K, whole)
    x = rng.integers(-2, 3, d) / 2 if whole else rng.normal(size=d)
    labels = np.where(np.arange(K) % 2, 1, -1)
    decision: Any = {"max": GroupMax, "sum": GroupSum}.get(kind, lambda _: str(kind))(labels)
    y = int(rng.integers(K)) if kind == "argmax" else int(rng.choice([-1, 1]))
    lo, hi = (x + side * rng.choice([0.0, 0.5, 1.0, 3.0, math.inf], d) for side in (-1, 1))
    box = [None, (lo, hi), (float(x.min()), float(x.max()) + 1), (lo, math.inf)][rng.integers(4)]
    return net, x, y, decision, box


@pytest.mark.parametrize("ties", ["adversarial", "robust"])
@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds)
@settings(max_examples=60, deadline=None)
def test_radius_is_that_of_the_nearest_piece(norm: float, ties: str, seed: int) -> None:
    net, x, y, decision, box = case(seed)
    options: Any = {"decision": decision, "ties": ties, "norm": norm, "box": box}
    found = robust_radius(net, x[None], [y], **options)
    lower, upper, p = found.lower[0], found.upper[0], found.perturbation[0]
    want = region_brute_force.radius(net, x, y, decision, ties, norm, box)
    assert lower <= want * (1 + CLOSE) + CLOSE
    assert upper >= want * (1 - CLOSE) - CLOSE
    if math.isfinite(upper):
        assert upper >= np.linalg.norm(p, norm)
        if box is not None:
            assert (box[0] <= x + p).all()
            assert (x + p <= box[1]).all()
    if found.status[0] == "exact":
        assert upper - lower <= 1e-9 * upper
    if found.status[0] == "unreachable":
        assert lower == upper == math.inf
