"""Parabolas above ReLU (E34 to E36) and the ellipsoid that they leave (E42), by themselves."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl.radius.parabola import Bound, Part, Step, _barrier, _newton, climb

SEEDS = st.integers(0, 2**32 - 1)


class Node(NamedTuple):
    """A random node: g = sum_r gamma_r ReLU(z_r) + beta, intervals of the ball, some on a path."""

    W: Any
    z: Any
    gamma: Any
    beta: float
    lo: Any
    up: Any
    signs: Any
    radius: float

    @property
    def part(self) -> Part:
        return Part(self.W @ self.W.T, *self[1:])

    def value(self, deltas: Any) -> Any:
        """g (n,) at perturbations (n,d)."""
        return np.maximum(self.z + deltas @ self.W.T, 0.0) @ self.gamma + self.beta

    def holds(self, deltas: Any) -> Any:
        """Which perturbations (n,d) lie in the ball, on the right sides of the path's neurons."""
        z = self.z + deltas @ self.W.T
        return (np.square(deltas).sum(axis=1) <= self.radius**2) & (z * self.signs >= 0).all(1)

    def sample(self, rng: np.random.Generator, n: int = 400) -> Any:
        """Perturbations (n,d) of all lengths up to the radius."""
        deltas = rng.standard_normal((n, self.W.shape[1]))
        deltas *= self.radius * rng.random((n, 1)) / np.linalg.norm(deltas, axis=1)[:, None]
        return deltas


def node(rng: np.random.Generator, *, hidden: int = 7, d: int = 4, path: int = 1) -> Node:
    W, z = rng.standard_normal((hidden, d)), rng.standard_normal(hidden)
    gamma, radius = rng.standard_normal(hidden), float(rng.uniform(0.3, 2.0))
    width = radius * np.linalg.norm(W, axis=1)
    signs = np.zeros(hidden, np.int64)
    signs[:path] = rng.choice((-1, 1), path)
    lo, up = z - width, z + width
    lo, up = np.where(signs > 0, np.maximum(lo, 0), lo), np.where(signs < 0, np.minimum(up, 0), up)
    return Node(W, z, gamma, float(rng.standard_normal()), lo, up, signs, radius)


def steps(node: Node, *, most: int = 80) -> list[Step]:
    part = node.part
    start = part.start(node.z)
    assert start is not None
    found = []
    for step in itertools.islice(climb(part, start), most):
        found.append(step)
        if step.bound.value > 1e3 * (1 + abs(node.beta)):  # no maximum: nothing is on the path
            break
    return found


def quadratic(node: Node, bound: Bound, deltas: Any) -> Any:
    """Q (n,) of E35 at perturbations, neuron by neuron from the multipliers of a certificate."""
    tau, nu, kappa, lam = bound.multipliers()
    z = node.z + deltas @ node.W.T
    Q = node.beta + lam * (np.square(deltas).sum(axis=1) - node.radius**2)
    own = set(bound.part.index[bound.part.n : bound.part.n + bound.part.p].tolist())
    for r, gamma in enumerate(node.gamma):
        if kappa[r] > 0:
            s = 1 / (4 * kappa[r])
            Q = Q + gamma * np.square(z[:, r] + s) / (4 * s)
        elif r in own:
            Q = Q + tau[r] * gamma * z[:, r]
        elif node.lo[r] >= 0:
            Q = Q + gamma * z[:, r]
        Q = Q - nu[r] * node.signs[r] * z[:, r]
    return Q


def size(node: Node, bound: Bound) -> float:
    """Sum of absolute values behind Q within the ball: what its rounding errors are relative to."""
    _, nu, kappa, lam = bound.multipliers()
    reach = np.abs(node.z) + node.radius * np.linalg.norm(node.W, axis=1)
    s = 1 / (4 * np.where(kappa > 0, kappa, np.inf))
    bent = np.abs(node.gamma) * kappa * np.square(reach + s)
    lines = (np.abs(node.gamma) + nu) @ reach
    return float(abs(node.beta) + bent.sum() + lines + 2 * lam * node.radius**2)


@given(st.floats(1e-9, 1e9), st.floats(-1e9, 1e9))
def test_e34_a_parabola_lies_above_relu_and_touches_it_twice(s: float, t: float) -> None:
    assert (t + s) ** 2 / (4 * s) >= max(t, 0.0) * (1 - 1e-15)
    assert (s + s) ** 2 / (4 * s) == pytest.approx(s, rel=1e-15)
    assert (-s + s) ** 2 / (4 * s) == 0.0


@given(SEEDS)
def test_e35_q_is_below_the_function_on_the_node_within_the_ball(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = node(rng)
    deltas = part.sample(rng)
    deltas = deltas[part.holds(deltas)]
    for step in steps(part, most=6):
        slack = 1e-12 * size(part, step.bound)
        assert (quadratic(part, step.bound, deltas) <= part.value(deltas) + slack).all()


@given(SEEDS)
def test_e35_the_value_is_the_minimum_of_q_and_is_taken_at_the_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = node(rng)
    for step in steps(part, most=6):
        point = step.bound.point() @ part.W
        at = quadratic(part, step.bound, point[None])[0]
        slack = 1e-10 * (size(part, step.bound) + abs(at) + step.bound.lam * point @ point)
        assert at == pytest.approx(step.bound.value, abs=slack)
        around = point + rng.standard_normal((50, len(point))) * rng.choice((1e-3, 1.0, 10.0))
        assert (quadratic(part, step.bound, around) >= step.bound.value - slack).all()
        assert point @ point == pytest.approx(step.bound.length, rel=1e-6, abs=1e-9)


@given(SEEDS)
def test_e36_the_gain_of_a_step_is_the_derivative_along_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = node(rng).part
    bound = part.start(part.z if len(part.z) == 7 else np.zeros(7))
    assert bound is not None
    mu = 0.1

    def raised(h: float) -> float:
        n = part.n
        moved = part.at(
            bound.s + h * step[:n], bound.sides + h * step[n:-1], bound.lam + h * step[-1]
        )
        assert moved is not None
        return moved.value + mu * _barrier(moved)

    step, gain = _newton(bound, mu, bound.spread())
    values = np.concatenate((bound.s, bound.sides, [bound.lam], 1 - bound.sides[: part.p]))
    moves = np.concatenate((step, -step[part.n : part.n + part.p]))
    h = 1e-4 * min(1.0, 1 / float(np.abs(moves / values).max()))
    slopes = [(raised(h * f) - raised(-h * f)) / (2 * h * f) for f in (1.0, 0.5)]
    extrapolated = (4 * slopes[1] - slopes[0]) / 3
    assert extrapolated == pytest.approx(gain, rel=1e-4, abs=1e-7 * (1 + abs(bound.value)) / h)
    assert gain >= 0


@given(SEEDS)
def test_e36_the_value_is_concave_in_its_multipliers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = node(rng).part
    first = part.start(rng.standard_normal(7))
    second = part.start(rng.standard_normal(7))
    assert first is not None
    assert second is not None
    half = part.at(
        (first.s + second.s) / 2, (first.sides + second.sides) / 2, (first.lam + second.lam) / 2
    )
    assert half is not None  # the domain is convex
    slack = 1e-10 * (1 + abs(first.value) + abs(second.value))
    assert half.value >= (first.value + second.value) / 2 - slack


@given(SEEDS)
def test_e36_climbing_never_passes_what_is_still_possible(seed: int) -> None:
    climbed = steps(node(np.random.default_rng(seed)))
    best = max(step.bound.value for step in climbed)
    slack = 1e-8 * (1 + abs(best))
    assert climbed[-1].bound.value >= best - slack - 1e-3 * abs(best)
    assert all(step.most >= best - slack for step in climbed)


@pytest.mark.parametrize("gamma", [[3.0, 4.0], [-3.0, -4.0]])
def test_e36_without_free_neurons_the_maximum_is_the_affine_bound(gamma: list[float]) -> None:
    # g = +-(3 z_1 + 4 z_2) + beta, both on: inf over the ball is g(0) - 5 R.
    z, radius, beta = np.array([10.0, 10.0]), 1.5, 100.0
    plain = Node(np.eye(2), z, np.array(gamma), beta, z - 2, z + 2, np.zeros(2, np.int64), radius)
    last = steps(plain)[-1].bound
    assert last.value == pytest.approx(beta + 10 * sum(gamma) - 5 * radius, rel=1e-9)
    assert math.sqrt(last.length) == pytest.approx(radius, rel=1e-4)


def test_e36_an_optimal_incumbent_is_proved_where_its_parabolas_touch() -> None:
    # f = 3 ReLU(z1) - ReLU(z2) - ReLU(z3) at z = (3, 0, -5), orthonormal weights: r = 2.846, on
    # the piece where z2 alone is on: |(9 - 0)| / sqrt(9 + 1).
    radius = 9 / math.sqrt(10)
    z, gamma = np.array([3.0, 0.0, -5.0]), np.array([3.0, -1.0, -1.0])
    for factor, proved in ((1 - 1e-6, True), (1 + 1e-6, False)):
        R = radius * factor
        width = np.full(3, R)
        case = Node(np.eye(3), z, gamma, 0.0, z - width, z + width, np.zeros(3, np.int64), R)
        assert (max(step.bound.value for step in steps(case)) > 0) == proved


@given(SEEDS)
def test_e42_points_that_q_does_not_exclude_lie_in_the_intervals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    part = node(rng)
    for step in steps(part, most=8):
        if step.bound.value >= 0:
            continue
        spread = rng.choice((1e-2, 1.0)) * part.radius
        around = step.bound.point() @ part.W + spread * rng.standard_normal((400, part.W.shape[1]))
        left = around[quadratic(part, step.bound, around) <= 0]
        z = (part.z + left @ part.W.T)[:, step.neurons]
        slack = 1e-9 * (1 + np.abs(z).max(initial=0.0) + size(part, step.bound))
        assert ((z >= step.lo - slack) & (z <= step.up + slack)).all()


@given(SEEDS)
def test_tau_is_fixed_only_where_the_best_point_is_far_from_the_kink(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = node(rng, hidden=12, path=0)
    near = drawn.z + 0.2 * rng.standard_normal(len(drawn.z))
    few = Part(drawn.W @ drawn.W.T, *drawn[1:], near=near)
    own = few.index[few.n : few.n + few.p]
    free = (drawn.lo < 0) & (drawn.up > 0) & (drawn.gamma > 0)
    fixed = np.flatnonzero(free & ~np.isin(np.arange(len(near)), own))
    assert (np.abs(near[fixed]) > 0.1 * (drawn.up - drawn.lo)[fixed]).all()
    bound = few.start(near)
    assert bound is not None
    tau = bound.multipliers()[0]
    assert tau[fixed].tolist() == (near[fixed] > 0).tolist()
    assert bound.value <= drawn.value(drawn.sample(rng)).min() + 1e-9 * (1 + size(drawn, bound))
