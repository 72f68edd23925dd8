"""Parabolas in a box: the face of Q's least point (E40), and the intervals that are left (E42)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import quadprog
from effort import examples, least, share
from hypothesis import given
from region_brute_force import CLOSE, random_problem
from region_brute_force import radius as enumerated
from test_radius_parabola import SEEDS, Node, node, quadratic, size

from refimpl import CertificateError, TwoLayerReLU, robust_radius, verify_certificate
from refimpl.radius import curved, search
from refimpl.radius.geometry import targets_of
from refimpl.radius.leaf import Multipliers
from refimpl.radius.parabola import Bound, Part, _newton, climb
from refimpl.radius.region import Space
from refimpl.radius.state import Options
from refimpl.radius.tree import Node as Subtree

STEP = 1e-6


def boxed(rng: np.random.Generator) -> tuple[Node, Part, Any, Any]:
    """A random node, its part in a box, and the sides of that: some are 0, some infinite."""
    whole = node(rng)
    d = whole.W.shape[1]
    a, b = (rng.choice((0.0, 0.3, 1.0, math.inf), d) * rng.uniform(0.1, 1, d) for _ in range(2))
    b[a + b == 0] = 0.2  # quadprog has been seen to fail where a side is a point
    return whole, Part(whole.W @ whole.W.T, *whole[1:], (whole.W, a, b)), a, b


def climbed(part: Part, near: Any, steps: int = 6) -> list[Bound]:
    start = part.start(near)
    assert start is not None
    return [step.bound for step, _ in zip(climb(part, start), range(steps), strict=False)]


def minimum(whole: Node, bound: Bound, a: Any, b: Any) -> tuple[float, Any]:
    """Least value of Q in the box and where, by a quadratic program."""
    d, zero = len(a), np.zeros((1, len(a)))
    eye = np.eye(d)
    value = float(quadratic(whole, bound, zero)[0])
    up, down = (quadratic(whole, bound, sign * eye) for sign in (1, -1))
    pairs = np.array([[quadratic(whole, bound, (eye[[i]] + eye[[j]]))[0] for i in range(d)]
                      for j in range(d)])  # fmt: skip
    H = (pairs - up[:, None] - up + value) / 2
    H[np.diag_indices(d)] = (up + down) / 2 - value
    sides = np.hstack((eye, -eye))
    limits = -np.minimum(np.concatenate((a, b)), 1e3)
    point, least_, *_ = quadprog.solve_qp(2 * H, -(up - down) / 2, sides, limits)
    return least_ + value, point


@given(SEEDS)
@examples(40)
def test_e40_the_value_is_the_least_of_q_in_the_box_and_is_taken_at_the_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole, part, a, b = boxed(rng)
    for bound in climbed(part, whole.z):
        if bound.room < 1e-3 or bound.value > 1e3:
            continue
        slack = 1e-8 * (1 + size(whole, bound))  # quadprog's, at Hessians of a condition of 1e3
        value, _ = minimum(whole, bound, a, b)
        assert bound.value == pytest.approx(value, abs=slack)
        point = bound.point()
        assert (point >= -a).all()
        assert (point <= b).all()
        assert quadratic(whole, bound, point[None])[0] == pytest.approx(value, abs=slack)
        values, gradients = bound.values(point[None])
        assert values[0] == pytest.approx(bound.value, abs=slack)
        held = (point == -a) & (gradients[0] >= 0) | (point == b) & (gradients[0] <= 0)
        assert np.abs(gradients[0][~held]).max(initial=0.0) <= 10 * slack


@given(SEEDS)
@examples(40)
def test_e40_q_with_its_sides_is_below_the_function_in_the_ball_and_the_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole, part, a, b = boxed(rng)
    deltas = np.clip(whole.sample(rng), -a, b)
    deltas = deltas[whole.holds(deltas)]
    for bound in climbed(part, whole.z):
        slack = 1e-10 * (1 + size(whole, bound))
        _, gradient = bound.values(bound.point()[None])
        outside = (deltas - bound.point()) @ gradient[0]
        assert (outside >= -slack * 100).all()  # what the sides' multipliers take away
        assert (bound.value <= whole.value(deltas) + slack).all()


@given(SEEDS)
@examples(40)
def test_e36_the_gain_of_a_step_is_the_derivative_along_it_in_a_box(seed: int) -> None:
    rng = np.random.default_rng(seed)
    whole, part, *_ = boxed(rng)
    for bound in climbed(part, whole.z, 3):
        # Without a barrier the gain is step^T (-Hessian) step = the derivative along the step.
        step, gain = _newton(bound, 1e-12 * (1 + abs(bound.value)), bound.spread())
        length = STEP / (1 + float(np.abs(step).max()))
        n = part.n

        def moved(t: float, bound: Bound = bound, step: Any = step, n: int = n) -> float:
            found = part.at(bound.s + t * step[:n], bound.sides + t * step[n:-1],
                            bound.lam + t * step[-1])  # fmt: skip
            assert found is not None
            return found.value

        change = (moved(length) - moved(-length)) / (2 * length)
        noise = 1e-12 * size(whole, bound) / length
        assert change == pytest.approx(gain, rel=1e-3, abs=10 * noise)


def test_a_face_that_holds_nothing_is_the_whole_and_one_that_holds_all_is_a_point() -> None:
    # One neuron with weights (1, 0), gamma = -1, z = -1: Q = value - D (delta_1 - 1 + s)^2 + ...
    W = np.array([[1.0, 0.0]])
    args: Any = (np.array([-1.0]), np.array([-1.0]), 3.0, np.array([-3.0]), np.array([1.0]))
    for side, held in ((9.0, 0), (0.0, 2)):
        box = (W, np.full(2, side), np.full(2, side))
        part = Part(W @ W.T, *args, np.zeros(1, np.int64), 2.0, box)
        bound = part.at(np.ones(1), np.zeros(0), 1.0)
        assert bound is not None
        # D = 1/4, lambda = 1: 3 - delta_1^2 / 4 + |delta|^2 - 4 is -1 at its least point, 0.
        assert bound.value == -1.0
        assert int(np.sum(bound.face.held or 0) if side else np.sum(bound.face.held)) == held


def test_e34_to_e42_of_a_network_that_parabolas_bound_in_a_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Adversarial points of ball and box, found by sampling, stay in the narrowed intervals."""
    met = narrowed = 0
    for seed in range(share(60)):
        rng = np.random.default_rng(seed)
        net = TwoLayerReLU(rng.normal(size=(24, 6)), rng.normal(size=24), rng.normal(size=(1, 24)))
        x, box = rng.random(6), (np.full(6, -0.5), np.full(6, 1.5))
        y = 1 if net.outputs(x[None])[0, 0] > 0 else -1
        z, bulk = net.preactivations(x[None])[0], np.abs(net.W) @ np.abs(x) + np.abs(net.bias)
        options = Options("adversarial", 1e-9, 1000, 1e9, np.inf, True)
        ball = Space.of(net, 2.0, box).around(x, z, bulk)
        space = search.Search(ball, targets_of(net, y, "sign"), 1.0, options, lambda *_: None)
        ball.resize(3.0)
        space.incumbent.start(np.zeros(6))
        if not space.incumbent.points:
            continue
        problem = space.incumbent.problems[0]
        ball.resize(1.5 * ball.radius)  # so that there are points to be held
        monkeypatch.setattr(space.incumbent, "accept", lambda _: False)
        w, zeros, signs = np.ones(1), np.zeros(24), np.zeros(24, np.int64)
        start = Subtree(
            *(problem, signs, *ball.intervals(), 0.0, Multipliers(w, zeros, zeros), problem.planes)
        )
        found = curved.bound(space.state, start, w)
        lo, up = ball.intervals()
        narrowed += int((found.lo > lo).any() or (found.up < up).any())
        c = rng.normal(size=(20_000, 6))
        c *= ball.radius * rng.random((len(c), 1)) ** (1 / 6) / np.linalg.norm(c, axis=1)[:, None]
        c = np.clip(c, -0.5 - x, 1.5 - x)
        at = z + c @ net.W.T
        at = at[(problem.target.values(at) <= 0).all(axis=1)]
        met += len(at)
        if found.lower < ball.radius:
            assert (at >= found.lo).all()
            assert (at <= found.up).all()
        else:
            assert len(at) == 0
    assert met > least(1000)
    assert narrowed > least(10)


@pytest.mark.slow
@pytest.mark.parametrize("many", [0, 10**6])
@pytest.mark.parametrize("ties", ["adversarial", "robust"])
def test_e37_radii_in_l2_boxes_are_those_of_the_enumeration_with_parabolas_forced_on(
    ties: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 0
    monkeypatch.setattr(search, "_FEW", 0)
    monkeypatch.setattr(search, "_MANY", many)
    monkeypatch.setattr(search.Search, "all_pieces", lambda *_: None)
    for seed in range(share(240)):
        net, x, y, decision, box = random_problem(np.random.default_rng([seed, 40]))
        if box is None:
            box = (x - 0.25, x + 0.75)
        options: Any = {"decision": decision, "ties": ties, "box": box}
        found = robust_radius(net, x[None], [y], certificates=True, **options)
        lower, upper = found.lower[0], found.upper[0]
        want = enumerated(net, x, y, decision, ties, 2, box)
        assert lower <= want * (1 + CLOSE) + CLOSE
        assert upper >= want * (1 - CLOSE) - CLOSE
        assert found.certificates is not None
        proof = found.certificates[0]
        if proof is None or math.isinf(lower):
            continue
        for exact in (False, True):
            verify_certificate(net, x, y, proof, radius=lower, exact=exact, **options)
            wrong = want * (1 + 1e-3) + 1e-6
            with pytest.raises(CertificateError):
                verify_certificate(net, x, y, proof, radius=wrong, exact=exact, **options)
        rows += 0 if proof.kappa is None else int((proof.kappa > 0).any(axis=1).sum())
    assert rows > least(10)
