"""Tests of projections onto a ball and a box, against Dykstra's algorithm and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import gamma

from refimpl.projection import project


def test_projection_is_the_nearest_point_of_the_ball():
    delta = np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    assert project(delta, 1.0).tolist() == [[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]]
    assert project(delta, np.array([[5.0], [0.25], [0.0]])).tolist() == [
        [3.0, 4.0], [0.15, 0.2], [0.0, 0.0],
    ]  # fmt: skip


def test_projection_onto_the_cube_and_a_box():
    delta = np.array([[3.0, -4.0], [0.3, 0.4]])
    assert project(delta, 1.0, np.inf).tolist() == [[1.0, -1.0], [0.3, 0.4]]
    high = np.array([[0.5, 9.0], [9.0, 0.25]])
    assert project(delta, 1.0, np.inf, -0.75, high).tolist() == [[0.5, -0.75], [0.3, 0.25]]


@pytest.mark.parametrize(
    ("delta", "epsilon", "low", "high", "expected"),
    [
        ([6.0, 6.0], 5.0, -9.0, [9.0, 3.0], [4.0, 3.0]),  # one limit holds
        ([-6.0, 6.0], 5.0, [-4.0, -9.0], 9.0, [-math.sqrt(12.5), math.sqrt(12.5)]),  # none does
        ([-6.0, 6.0], 5.0, [-3.0, -9.0], np.inf, [-3.0, 4.0]),
        ([6.0, 6.0], 5.0, -1.0, [3.0, 3.0], [3.0, 3.0]),  # both do, and the ball does not
        ([6.0, 6.0], 5.0, -1.0, [3.0, 4.0], [3.0, 4.0]),  # all three do
        ([6.0, 6.0], 5.0, 0.0, 0.0, [0.0, 0.0]),
        ([6.0, 8.0], 0.0, -1.0, 1.0, [0.0, 0.0]),
        ([6.0, 8.0], 5.0, -np.inf, [np.inf, 100.0], [3.0, 4.0]),
        ([12.0, 12.0, 6.0], 7.0, 0.0, [2.0, 3.0, 9.0], [2.0, 3.0, 6.0]),
    ],
)
def test_projection_onto_ball_and_box_by_hand(delta, epsilon, low, high, expected):
    low, high = (np.array(side)[None] if np.ndim(side) else side for side in (low, high))
    found = project(np.array([delta]), epsilon, 2, low, high)
    np.testing.assert_allclose(found, [expected], rtol=4 * gamma(8), atol=0)


@given(st.integers(0, 2**32 - 1))
def test_projection_onto_ball_and_box_is_the_nearest_point(seed):
    """p is the projection iff it is feasible and <delta - p, q - p> <= 0 for all feasible q."""
    rng = np.random.default_rng(seed)
    n, d, epsilon = 5, int(rng.integers(1, 7)), rng.uniform(0.1, 2)
    low, high = -rng.exponential(1, (n, d)), rng.exponential(1, (n, d))
    low[rng.random((n, d)) < 0.2] = 0.0
    high[rng.random((n, d)) < 0.2] = np.inf
    delta = 2 * rng.standard_normal((n, d))
    p = project(delta, epsilon, 2, low, high)
    room = 4 * gamma(d + 8)
    assert (np.linalg.norm(p, axis=1) <= epsilon * (1 + room)).all()
    assert (low <= p).all()
    assert (p <= high).all()
    # The support function of the set in direction delta - p is attained at p: weak duality with
    # the multiplier of the ball that p itself shows.
    for row, point, lo, hi in zip(delta, p, low, high, strict=True):
        inner = (lo < point) & (point < hi)
        ratios = (row[inner] / point[inner])[point[inner] != 0] - 1
        multiplier = ratios.max(initial=0.0)
        assert multiplier <= room * 10 or math.isclose(
            np.linalg.norm(point), epsilon, rel_tol=10 * room
        )
        rest = row - (1 + multiplier) * point if len(ratios) else row - point
        if not len(ratios):  # every coordinate is at a limit: any multiplier of the ball may do
            continue
        size = 10 * room * (1 + multiplier) * (np.abs(row) + np.abs(point))
        assert (np.abs(rest[inner]) <= size[inner]).all()
        assert (rest[point == hi] >= -size[point == hi]).all()
        assert (rest[point == lo] <= size[point == lo]).all()


def test_projection_agrees_with_dykstra():
    rng = np.random.default_rng(0)
    delta, low, high = 2 * rng.standard_normal((20, 4)), -0.5, 0.75
    x, p, q = delta.copy(), np.zeros((20, 4)), np.zeros((20, 4))
    for _ in range(5000):
        y = np.clip(x + p, low, high)
        p = x + p - y
        size = np.linalg.norm(y + q, axis=1, keepdims=True)
        x = (y + q) / np.maximum(1.0, size)
        q = y + q - x
    np.testing.assert_allclose(project(delta, 1.0, 2, low, high), x, atol=1e-9)


@pytest.mark.parametrize("high", [math.inf, 3.0])
@pytest.mark.parametrize("exponent", [-600, 0, 600])
def test_no_square_overflows_or_vanishes(exponent, high):
    scale = 2.0**exponent
    point = np.array([[6.0, 6.0], [6.0, 1.0]])
    got = project(scale * point, 5 * scale, high=scale * high)
    assert np.array_equal(got / scale, project(point, 5.0, high=high))
