"""Robust radii against an enumeration of all activation patterns (`brute_force`)."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import brute_force
import exact_radius
import numpy as np
import pytest
from effort import examples, least, share
from hypothesis import given
from hypothesis import strategies as st
from tolerances import RADIUS, radius_slack

from refimpl import GroupMax, GroupSum, RobustRadius, TwoLayerReLU, robust_radius, strategies

TIES = pytest.mark.parametrize("ties", ["adversarial", "robust"])


def assert_agrees(found: RobustRadius, truth: Any, slack: Any) -> None:
    """lower <= truth <= upper, both equal to it where exact, and inf exactly where unreachable."""
    truth = np.asarray(truth)
    assert (found.lower <= truth * (1 + RADIUS) + slack).all(), (found, truth)
    assert (truth <= found.upper * (1 + RADIUS) + slack).all(), (found, truth)
    exact = found.status == "exact"
    assert np.isfinite(found.upper[exact]).all()
    gap = found.upper[exact] - found.lower[exact]
    assert (gap <= RADIUS * found.upper[exact]).all(), found
    unreachable = found.status == "unreachable"
    assert np.array_equal(unreachable, np.isinf(found.lower)), found
    assert np.isinf(truth[unreachable]).all(), (found, truth)
    assert set(found.status) <= {"exact", "unreachable", "bounded"}


@TIES
@examples(100)
@given(problem=strategies.problems(max_rows=2, correct=True))
def test_e29_radius_equals_the_enumeration_on_networks_of_every_kind(
    problem: strategies.Problem, ties: str
) -> None:
    net, decision, x, y = problem
    found = robust_radius(net, x, y, decision=decision, ties=ties)
    truth = [
        brute_force.radius(net, row, int(label), decision, ties)
        for row, label in zip(x, y, strict=True)
    ]
    assert_agrees(found, truth, radius_slack(net, x))


@pytest.mark.thorough
@pytest.mark.parametrize("kind", brute_force.KINDS)
def test_e29_radius_equals_the_enumeration_on_random_networks(kind: str) -> None:
    bounded = 0
    for seed in range(share(60)):
        rng = np.random.default_rng([seed, brute_force.KINDS.index(kind)])
        net, decision, x, y = brute_force.random_problem(rng, kind)
        ties = str(rng.choice(["adversarial", "robust"]))
        truth = brute_force.radius(net, x[0], int(y[0]), decision, ties)
        found = robust_radius(net, x, y, decision=decision, ties=ties)
        assert_agrees(found, [truth], radius_slack(net, x))
        bounded += int(found.status[0] == "bounded" and 0 < truth < math.inf)
    # Generic networks have no ties without a strictly adversarial point beside them.
    assert bounded <= (0 if kind in ("real", "no bias") else 3)


@pytest.mark.thorough
def test_e31_radius_equals_the_enumeration_with_many_branching_neurons() -> None:
    """Too many pieces to bound each: branch and bound has to find the nearest."""
    searched = 0
    for seed in range(share(24)):
        rng = np.random.default_rng([seed, 55])
        kind = brute_force.KINDS[seed % len(brute_force.KINDS)]
        problem = brute_force.random_problem(
            rng, kind, max_dim=5, min_hidden=8, max_hidden=8, max_outputs=2
        )
        net, decision, x, y = problem
        ties = str(rng.choice(["adversarial", "robust"]))
        truth = brute_force.radius(net, x[0], int(y[0]), decision, ties)
        found = robust_radius(net, x, y, decision=decision, ties=ties)
        assert_agrees(found, [truth], radius_slack(net, x))
        searched += int(found.nodes[0] > 0)
    assert searched >= least(2)


@TIES
@given(data=st.data())
def test_e29_radius_equals_the_one_of_rational_enumeration(data: st.DataObject, ties: str) -> None:
    problem = data.draw(
        strategies.problems(max_dim=2, max_hidden=3, max_rows=1, correct=True, scales=False)
    )
    net, decision, x, y = problem
    parts = exact_radius.pieces(net, x[0], int(y[0]), decision, ties)
    squared = exact_radius.squared_radius(parts)
    found = robust_radius(net, x, y, decision=decision, ties=ties)
    truth = math.inf if squared is None else math.sqrt(squared)
    assert_agrees(found, [truth], radius_slack(net, x))


# The oracle itself


@pytest.mark.thorough
@TIES
def test_enumeration_in_floats_equals_the_one_in_fractions(ties: str) -> None:
    finite = 0
    for seed in range(share(40)):
        rng = np.random.default_rng([seed, 99])
        kind = str(rng.choice(brute_force.KINDS))
        net, decision, x, y = brute_force.random_problem(rng, kind, max_dim=2, max_hidden=3)
        parts = exact_radius.pieces(net, x[0], int(y[0]), decision, ties)
        squared = exact_radius.squared_radius(parts)
        found = brute_force.radius(net, x[0], int(y[0]), decision, ties)
        if squared is None:
            assert found == math.inf
            continue
        finite += squared > 0
        assert found == pytest.approx(math.sqrt(squared), rel=RADIUS, abs=radius_slack(net, x)[0])
    assert finite >= least(40) // 3


@pytest.mark.parametrize(
    ("W", "A", "x", "squared"),
    [
        ([[1, 0], [0, 1]], [[1, -1]], [3, 1], Fraction(2)),  # x_1 = x_2
        ([[1], [-1]], [[1, 1]], [2], Fraction(4)),  # |z| touches 0
        ([[1, 0], [0, 1]], [[1, 1]], [3, 4], Fraction(25)),  # both neurons off
    ],
)
def test_enumeration_finds_hand_computed_radii(W: Any, A: Any, x: Any, squared: Fraction) -> None:
    net = TwoLayerReLU(W, None, A)
    assert brute_force.radius(net, np.array(x, float), 1) == pytest.approx(
        math.sqrt(squared), rel=RADIUS
    )


def test_enumeration_has_no_strict_radius_where_0_is_only_touched() -> None:
    net = TwoLayerReLU([[1], [-1]], None, [[1, 1]])
    assert brute_force.radius(net, np.array([2.0]), 1, ties="robust") == math.inf


def test_nothing_is_strict_where_weights_cancel() -> None:
    """f = 0 from -1/2 to 1 and positive elsewhere; floats leave 6e-17 of some gradients there."""
    A = np.array([[1.0, 1.0, 1.0, -1.0, -1.0, -1.0]]) / 3
    net = TwoLayerReLU([[0], [2], [-3], [1], [0], [-2]], [-1, 1, 3, 2, -3, 2], A)
    assert brute_force.radius(net, np.array([-2.0]), 1) == pytest.approx(1.5)
    assert brute_force.radius(net, np.array([-2.0]), 1, ties="robust") == math.inf
    assert robust_radius(net, [[-2.0]], [1], ties="robust").status[0] == "unreachable"


# Unreachable, by hand


@TIES
@pytest.mark.parametrize(
    ("A", "c", "decision", "y"),
    [
        ([[1, 2, 3]], [1], "sign", 1),
        ([[-1, -2, -3]], [-1], "sign", -1),
        ([[2, 2, 2], [1, 1, 0]], [1, 0], "argmax", 0),
        ([[2, 2, 2], [1, 1, 0], [1, 2, 1]], [2, 1, 1], GroupMax([1, -1, -1]), 1),
        ([[2, 2, 2], [1, 1, 0], [1, 1, 1]], [2, 1, 0], GroupSum([1, -1, -1]), 1),
        ([[0, 0, 0]], [1], "sign", 1),
    ],
)
def test_e31_a_decision_that_no_input_changes_is_unreachable(
    A: Any, c: Any, decision: Any, y: int, ties: str
) -> None:
    rng = np.random.default_rng(5)
    net = TwoLayerReLU(rng.standard_normal((3, 4)), rng.standard_normal(3), A, c)
    found = robust_radius(net, rng.standard_normal((3, 4)), [y] * 3, decision=decision, ties=ties)
    assert found.status.tolist() == ["unreachable"] * 3
    assert np.isinf(found.lower).all()
    assert np.isinf(found.upper).all()
    assert np.isnan(found.perturbation).all()


def test_e31_strict_ties_are_unreachable_where_0_is_only_touched() -> None:
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, 1.0]])  # f = |x|
    found = robust_radius(net, [[2.0], [-3.0]], [1, 1], ties="robust")
    assert found.status.tolist() == ["unreachable"] * 2
