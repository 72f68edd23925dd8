"""Bounds stay bounds where floats run out: tiny and huge scales, plateaus, cancelling biases.

The truth is exact, by enumeration in fractions.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import exact_radius
import numpy as np
import pytest
from effort import share

from refimpl import (
    GroupMax,
    GroupSum,
    RobustRadius,
    TwoLayerReLU,
    decisions,
    robust_radius,
)


def sound(net: TwoLayerReLU, x: Any, y: int, **options: Any) -> RobustRadius:
    """Assert lower <= r <= upper for one sample, in fractions, and return the result."""
    x = np.array(x, dtype=float)
    found = robust_radius(net, x[None], [y], **options)
    decision, ties = options.get("decision", "sign"), options.get("ties", "adversarial")
    squared = exact_radius.squared_radius(exact_radius.pieces(net, x, y, decision, ties))
    lower, upper = float(found.lower[0]), float(found.upper[0])
    assert lower <= upper
    if upper == 0:  # the network's own outputs, which may underflow, are a tie at x
        assert decisions.adversarial(net.outputs(x[None]), np.array([y]), decision, ties)[0]
    elif squared is None:
        assert upper == math.inf
    else:
        assert math.isfinite(lower)
        assert Fraction(lower) ** 2 <= squared
        assert upper == math.inf or squared <= Fraction(upper) ** 2
    return found


CORNER = np.array([[1.0, 0.5], [0.3, -1.0]])


@pytest.mark.parametrize("scale", [2.0**k for k in (-900, -550, -300, -100, 100, 300, 480)])
@pytest.mark.parametrize("part", ["W", "A", "x", "both"])
def test_e32_bounds_at_every_scale(part: str, scale: float) -> None:
    w = scale if part in ("W", "both") else 1.0
    a = scale if part in ("A", "both") else 1.0
    t = scale if part == "x" else 1.0
    c = np.multiply(np.multiply(w, a), t) * 0.1
    if not np.isfinite(c):
        pytest.skip("the bias itself overflows")
    net = TwoLayerReLU(CORNER * w, None, np.array([[1.0, -1.0]]) * a, [c])
    found = sound(net, [2.0 * t, 1.0 * t], 1)
    if 2.0**-120 < scale < 2.0**120:
        assert found.status[0] == "exact"


def test_e32_bounds_of_rows_of_very_different_sizes() -> None:
    W = [[-5e-201, -2e-201], [0.9, -0.3], [1.1, 0.6], [1.3, 0.8]]
    A = [[1.6e199, 0.6, -0.5, -0.4]]
    sound(TwoLayerReLU(W, [-6e-202, -1.9, 0.3, 0.8], A), [1.4, 0.2], -1)


def test_e32_a_subnormal_perturbation_has_its_norm() -> None:
    net = TwoLayerReLU([[1.0, 0.0], [-1.0, 0.0]], None, [[1.0, 1.0]])
    assert sound(net, [1e-310, 0.0], 1).upper[0] >= 1e-310


def test_e30_strict_ties_do_not_trust_a_rounded_bias() -> None:
    """labels^T c = -2^-54, which a plain sum rounds to 0: the part is not empty, r = 1."""
    net = TwoLayerReLU([[1.0]], [0.0], [[1.0], [0.0], [0.0]], [1.0, -(2.0**-54), 1.0])
    sound(net, [1.0], 1, decision=GroupSum([1, 1, -1]), ties="robust")


@pytest.mark.parametrize("level", [1e-15, 1e-14, 1e-12])
def test_e32_a_plateau_near_zero_is_not_taken_for_an_adversarial_point(level: float) -> None:
    """f = ReLU(x1) - ReLU(x2 - 10) + level stays positive until x2 is above 10."""
    net = TwoLayerReLU(np.eye(2), [0.0, -10.0], [[1.0, -1.0]], [level])
    assert sound(net, [1.0, 0.0], 1).upper[0] == pytest.approx(math.hypot(1, 10), rel=1e-9)


def test_e32_a_proven_bound_is_kept_when_a_larger_ball_proves_less() -> None:
    net = TwoLayerReLU([[-905606.0]], [190045.8], [[1.13e-6], [-8.4e-7]], [1.4e-6, -6.7e-7])
    found = sound(net, [1534.0], -1, decision=GroupMax([-1, 1]), stop_at=1.0)
    assert found.lower[0] > 1.0


@pytest.mark.parametrize("bias", [1e3, 1e7, 1e9])
def test_e32_the_search_finds_points_at_the_scale_of_the_output_bias(bias: float) -> None:
    W = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.5], [0.3, -1.0]])
    found = sound(TwoLayerReLU(W, None, [[1.0, -1.0, 1.0, -1.0]], [bias]), [0.0, 0.0], 1)
    assert found.status[0] == "exact"


@pytest.mark.thorough
def test_e32_returned_ties_are_ties_alone_and_in_a_batch() -> None:
    """f = sum_r |<w_r, x> + b_r| for real weights: nothing but ties is adversarial."""
    rng = np.random.default_rng(0)
    for _ in range(share(20)):
        d, m = int(rng.choice([3, 5, 17])), int(rng.integers(1, 4))
        W, b = rng.standard_normal((m, d)), rng.standard_normal(m)
        net = TwoLayerReLU(np.vstack((W, -W)), np.r_[b, -b], np.ones((1, 2 * m)))
        x = rng.standard_normal((5, d))
        found = robust_radius(net, x, [1] * 5)
        ends = (x + found.perturbation)[np.isfinite(found.upper)]
        for end in ends:
            assert net.outputs(end[None])[0, 0] <= 0


def test_e32_samples_out_of_range_do_not_disturb_the_others() -> None:
    net = TwoLayerReLU(np.eye(2), None, [[1.0, -1.0]])
    found = robust_radius(net, [[3.0, 1.0], [1e200, 0.0]], [1, 1])
    assert found.status.tolist() == ["exact", "bounded"]
    assert (found.lower[1], found.upper[1]) == (0.0, math.inf)
    assert np.isnan(found.perturbation[1]).all()


def test_e32_bounds_hold_where_the_least_squares_solver_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A status is not evidence, and its absence no reason for an exception."""

    def give_up(*_: Any) -> None:
        raise RuntimeError("too many iterations")

    rng = np.random.default_rng(0)
    net = TwoLayerReLU(rng.standard_normal((6, 3)), None, rng.standard_normal((1, 6)), [0.5])
    monkeypatch.setattr("scipy.optimize.nnls", give_up)
    found = sound(net, [0.5, -1.0, 0.3], 1)
    assert found.status[0] in ("exact", "bounded")


def test_e32_ties_beside_a_neuron_without_weights() -> None:
    """f = |x1 + 2 x2| with a neuron that is 0 everywhere: (-3, 1.5) and others are ties."""
    net = TwoLayerReLU([[1, 2], [-1, -2], [0, 0]], None, [[1.0, 1.0, 1.0]])
    found = sound(net, [2.0, 1.0], 1)
    assert found.upper[0] == pytest.approx(4 / math.sqrt(5), rel=1e-9)
