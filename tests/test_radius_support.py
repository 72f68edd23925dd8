"""Support functions of balls in boxes, and distances of half-spaces, against linear programs and
quadprog (E38, E39)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import quadprog
from hypothesis import example, given, strategies
from scipy.optimize import linprog

from refimpl.radius.support import distance, support

NORMS = (1.0, 2.0, math.inf)
CLOSE = 1e-7  # HiGHS and quadprog meet their constraints to about that, relative to sizes of 1

sizes = strategies.lists(
    strategies.sampled_from([0.0, 0.25, 1.0, 1.5, 3.0]), min_size=5, max_size=5
)
caps = strategies.lists(
    strategies.sampled_from([0.0, 0.5, 1.0, 2.0, math.inf]), min_size=5, max_size=5
)
radii = strategies.sampled_from([0.125, 0.75, 1.0, 2.5, 10.0])


def ball_rows(norm: float, d: int) -> Any:
    """Rows of sum |delta| or max |delta| <= radius for delta >= 0."""
    return np.ones((1, d)) if norm == 1 else np.eye(d)


def farthest(norm: float, size: Any, cap: Any, radius: float) -> float:
    """max <size, delta>, 0 <= delta <= cap, ||delta|| <= radius, by generic solvers."""
    if norm == 2:
        best = 0.0
        for t in np.append(np.geomspace(1e-4, 1e4, 400), math.inf):
            with np.errstate(all="ignore"):
                delta = np.where(size > 0, np.minimum(np.where(size > 0, size, 1.0) * t, cap), 0.0)
            if np.linalg.norm(delta) > radius:
                break
            best = float(size @ delta)
        return best
    rows = ball_rows(norm, len(size))
    bounds = [(0.0, None if c == math.inf else c) for c in cap]
    return -linprog(-size, rows, np.full(len(rows), radius), bounds=bounds).fun


@pytest.mark.parametrize("norm", NORMS)
@given(size=sizes, cap=caps, radius=radii)
def test_support_is_the_maximum_over_ball_and_box(
    norm: float, size: Any, cap: Any, radius: float
) -> None:
    size, cap = np.array(size), np.array(cap)
    value = support(norm, size[None], np.zeros(5), cap, radius)
    np.testing.assert_array_equal(support(norm, -size[None], cap, np.zeros(5), radius), value)
    expected = farthest(norm, size, cap, radius)
    slack = 0.06 if norm == 2 else CLOSE  # the grid's steps are of 4.7 %
    assert value[0] >= expected - CLOSE
    assert value[0] <= expected * (1 + slack) + CLOSE


@pytest.mark.parametrize("norm", NORMS)
@given(size=sizes, cap=caps, share=strategies.sampled_from([0.1, 0.5, 0.99, 1.0, 1.01]))
def test_distance_is_the_least_norm_beyond_a_plane(
    norm: float, size: Any, cap: Any, share: float
) -> None:
    size, cap = np.array(size), np.array(cap)
    with np.errstate(all="ignore"):
        total = np.where(size > 0, size * cap, 0.0).sum()
    level = share * (total if 0 < total < math.inf else 1.0)
    found = distance(norm, np.array([level]), size[None], np.zeros(5), cap)[0]
    if level > total:
        assert found == math.inf
        return
    if norm == 2:
        finite = np.isfinite(cap)
        C = np.column_stack((size, np.eye(5), -np.eye(5)[:, finite]))
        b = np.concatenate(([level * (1 - 1e-9)], np.zeros(5), -cap[finite]))
        expected = np.linalg.norm(quadprog.solve_qp(np.eye(5), np.zeros(5), C, b)[0])
    else:
        costs = np.append(np.zeros(5), 1.0)
        rows = np.column_stack((ball_rows(norm, 5), -np.ones(5 if norm == math.inf else 1)))
        bounds = [(0.0, None if c == math.inf else c) for c in cap] + [(0.0, None)]
        rows = np.vstack((rows, np.append(-size, 0.0)))
        limits = np.append(np.zeros(len(rows) - 1), -level * (1 - 1e-9))
        expected = linprog(costs, rows, limits, bounds=bounds).fun
    assert found == pytest.approx(expected, rel=1e-6, abs=CLOSE)


@pytest.mark.parametrize("norm", NORMS)
def test_distances_and_supports_are_inverse(norm: float) -> None:
    rng = np.random.default_rng(0)
    v, sides = rng.laplace(size=(50, 200)), rng.exponential(size=(2, 200))
    sides[rng.random(sides.shape) < 0.1] = math.inf
    sides[rng.random(sides.shape) < 0.1] = 0.0
    for radius in (0.01, 0.3, 3.0):
        value = support(norm, v, *sides, radius)
        back = distance(norm, value, v, *sides)
        np.testing.assert_allclose(back, radius, rtol=1e-11)


@pytest.mark.parametrize("norm", NORMS)
@given(
    size=sizes, cap=caps, share=strategies.sampled_from([0.5, 0.99, 1.0, 1.01, 3.0]), within=radii
)
@example(size=[1.0, 0.0, 0.0, 0.0, 0.0], cap=[0.5] * 5, share=1.01, within=0.75)
def test_distances_beyond_those_in_sight_stay_beyond(
    norm: float, size: Any, cap: Any, share: float, within: float
) -> None:
    size, cap = np.array(size), np.array(cap)
    with np.errstate(all="ignore"):
        total = np.where(size > 0, size * cap, 0.0).sum()
    level = np.array([share * (total if 0 < total < math.inf else 1.0)])
    far = distance(norm, level, size[None], np.zeros(5), cap)[0]
    near = distance(norm, level, size[None], np.zeros(5), cap, within)[0]
    assert min(near, within) == pytest.approx(min(far, within), rel=1e-9)


def test_a_weight_that_a_side_takes_away_leaves_what_underflows_beside_it() -> None:
    t = 2.0**-640  # its square is 0
    assert support(2, np.array([[1.0, t]]), np.array([0.0, 9.0]), np.array([0.0, 9.0]), 1.0)[0] >= t


def test_by_hand() -> None:
    v, a, b = np.array([[3.0, -4.0]]), np.array([0.5, 0.8]), np.array([1.0, 0.5])
    assert support(2, v, a, b, 1.0)[0] == pytest.approx(3 * 0.6 + 4 * 0.8)
    assert support(math.inf, v, a, b, 0.9)[0] == pytest.approx(3 * 0.9 + 4 * 0.8)
    assert support(1, v, a, b, 1.0)[0] == pytest.approx(4 * 0.8 + 3 * 0.2)
    level = np.array([6.0])  # beyond 6.2 there is nothing
    assert distance(2, level, v, a, b)[0] == pytest.approx(math.hypot(2.8 / 3, 0.8))
    assert distance(math.inf, level, v, a, b)[0] == pytest.approx(2.8 / 3)
    assert distance(1, level, v, a, b)[0] == pytest.approx(2.8 / 3 + 0.8)
    assert distance(1, np.array([6.3]), v, a, b)[0] == math.inf
