"""Tests of the smallest adversarial step along a ray (E27)."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import CROSSING, RAY

from refimpl import GroupMax, GroupSum, TwoLayerReLU, smallest_step

TIES = ("adversarial", "robust")
DECISIONS = ("sign", "argmax", GroupMax([1, -1, 1]), GroupSum([1, -1, 1]))
ABSOLUTE = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, 1.0]])  # f = |x|


def is_adversarial(outputs, y, decision, strict):
    """The definition, for a sequence of numbers of any kind."""
    if decision == "sign":
        score = -y * outputs[0]
    elif isinstance(decision, GroupSum):
        score = -y * sum(int(s) * F for s, F in zip(decision.labels, outputs, strict=True))
    else:
        groups = decision.labels if isinstance(decision, GroupMax) else range(len(outputs))
        own = [F for F, group in zip(outputs, groups, strict=True) if group == y]
        other = [F for F, group in zip(outputs, groups, strict=True) if group != y]
        score = max(other) - max(own)
    return score > 0 if strict else score >= 0


def exact_step(net, x, y, u, decision, strict):
    """t* by enumeration in rationals: every breakpoint, every zero of a score, and between them."""

    def rational(array):
        return [[Fraction(float(v)) for v in row] for row in np.atleast_2d(array)]

    W, A, (b,), (c,), (x,), (u,) = map(rational, (net.W, net.A, net.bias, net.c, x, u))
    z = [sum(map(Fraction.__mul__, w, x)) + bias for w, bias in zip(W, b, strict=True)]
    s = [sum(map(Fraction.__mul__, w, u)) for w in W]

    def outputs(t):
        hidden = [max(zr + t * sr, Fraction(0)) for zr, sr in zip(z, s, strict=True)]
        return [sum(map(Fraction.__mul__, a, hidden)) + cj for a, cj in zip(A, c, strict=True)]

    def scores(t):
        F = outputs(t)
        if decision == "sign":
            return F
        if isinstance(decision, GroupSum):
            return [sum(int(label) * Fj for label, Fj in zip(decision.labels, F, strict=True))]
        return [p - q for p, q in itertools.combinations(F, 2)]

    nodes = sorted({Fraction(0), *(-zr / sr for zr, sr in zip(z, s, strict=True) if sr)})
    nodes = [t for t in nodes if t >= 0]
    steps = set(nodes)
    for start, end in zip(nodes, [*nodes[1:], nodes[-1] + 1], strict=True):
        for p, q in zip(scores(start), scores(end), strict=True):
            if p != q:
                zero = start + (end - start) * p / (p - q)
                if zero >= start and (zero <= end or start == nodes[-1]):
                    steps.add(zero)
    steps = sorted(steps)
    for t, later in zip(steps, [*steps[1:], steps[-1] + 2], strict=True):
        if any(is_adversarial(outputs(p), y, decision, strict) for p in (t, (t + later) / 2)):
            return float(t)
    return math.inf


@st.composite
def integer_problems(draw):
    """Small integer networks and an axis direction with slopes of -2 .. 2: breakpoints are dyadic,
    so that float64 has them exactly, and ties and kinks meet often."""
    decision = draw(st.sampled_from(DECISIONS))
    K, M, d = (1 if decision == "sign" else 3), draw(st.integers(1, 5)), draw(st.integers(1, 2))

    def integers(size, *shape):
        count = math.prod(shape)
        values = draw(st.lists(st.integers(-size, size), min_size=count, max_size=count))
        return np.reshape(np.array(values, float), shape)

    net = TwoLayerReLU(integers(2, M, d), integers(4, M), integers(2, K, M), integers(3, K))
    y = draw(st.integers(0, 2) if decision == "argmax" else st.sampled_from([-1, 1]))
    direction = np.eye(d)[draw(st.integers(0, d - 1))] * draw(st.sampled_from([-1, 1]))
    return net, integers(4, 1, d), y, direction, decision


@settings(max_examples=300)
@given(problem=integer_problems(), ties=st.sampled_from(TIES))
def test_e27_equals_rational_enumeration(problem, ties):
    net, x, y, u, decision = problem
    expected = exact_step(net, x, y, u, decision, ties == "robust")
    (t,) = smallest_step(net, x, [y], u, decision=decision, ties=ties)
    assert t == expected or abs(t - expected) <= CROSSING * expected, (t, expected)


@pytest.mark.parametrize("decision", DECISIONS, ids=str)
def test_e27_flips_at_t_and_nowhere_before(decision):
    rng = np.random.default_rng(5)
    K, n, d, M = (1 if decision == "sign" else 3), 60, 4, 12
    net = TwoLayerReLU(*(rng.standard_normal(s) for s in ((M, d), M, (K, M), K)))
    x, rays = rng.standard_normal((n, d)), rng.standard_normal((n, d))
    y = rng.integers(0, 3, n) if decision == "argmax" else rng.choice([-1, 1], n)
    t = smallest_step(net, x, y, rays, decision=decision)
    assert 0 < np.isfinite(t).sum() < n
    assert (t == 0).any()
    for i in range(n):
        u = rays[i] / np.linalg.norm(rays[i])
        far = min(t[i], 1e6)
        grid = np.concatenate([np.linspace(0, min(far, 50), 2001), np.geomspace(1e-9, far + 1e-9)])
        before = grid[grid < t[i] * (1 - RAY)]
        outputs = net.outputs(x[i] + before[:, None] * u) if len(before) else []
        assert not any(is_adversarial(F, y[i], decision, strict=False) for F in outputs)
        if np.isfinite(t[i]):
            (after,) = net.outputs((x[i] + t[i] * (1 + RAY) * u)[None])
            assert is_adversarial(after, y[i], decision, strict=False)


def test_tie_at_a_kink_counts_only_as_adversarial():
    assert smallest_step(ABSOLUTE, [[3.0]], [1], [-1]).tolist() == [3.0]
    assert smallest_step(ABSOLUTE, [[3.0]], [1], [-1], ties="robust").tolist() == [np.inf]


@pytest.mark.parametrize("ties", TIES)
def test_proper_crossing_is_the_same_under_both_ties(ties):
    line = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])  # f = x, so g(t) = 1 - t
    assert smallest_step(line, [[1.0]], [1], [-1], ties=ties).tolist() == [1.0]
    assert smallest_step(line, [[1.0]], [-1], [1], ties=ties).tolist() == [0.0]


def test_strict_ties_at_the_start():
    line = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])
    steps = smallest_step(line, [[0.0]] * 2, [1, 1], [[-1.0], [1.0]], ties="robust")
    assert steps.tolist() == [0.0, np.inf]
    # f = 2 - |x - 2| for x >= 0 is 0 at 0, positive up to 4, and negative after.
    tent = TwoLayerReLU([[1.0], [1.0]], [0.0, -2.0], [[1.0, -2.0]])
    assert smallest_step(tent, [[0.0]], [1], [1], ties="robust").tolist() == [4.0]


def test_strict_ties_pass_over_a_flat_zero():
    # f = relu(1 - x) - relu(x - 3): 0 on [1, 3], then negative.
    net = TwoLayerReLU([[-1.0], [1.0]], [1.0, -3.0], [[1.0, -1.0]])
    assert smallest_step(net, [[0.0]], [1], [1]).tolist() == [1.0]
    assert smallest_step(net, [[0.0]], [1], [1], ties="robust").tolist() == [3.0]


def test_group_max_needs_the_whole_own_group_below_one_target():
    # F = (3 - t, 1 + t/2, 2) for t <= 3, where F1 stops at 0: max(F0, F1) <= F2 on [1, 2] only.
    net = TwoLayerReLU([[-1.0], [1.0]], [3.0, 0.0], [[1, 0], [0, 0.5], [0, 0]], [0.0, 1.0, 2.0])
    for ties in TIES:
        t = smallest_step(net, [[0.0]], [1], [1], decision=GroupMax([1, 1, -1]), ties=ties)
        assert t.tolist() == [1.0]
    # With F2 = 1.25 the constraints hold on t >= 1.75 and t <= 0.5: never together.
    apart = TwoLayerReLU(net.W, net.b, net.A, [0.0, 1.0, 1.25])
    t = smallest_step(apart, [[0.0]], [1], [1], decision=GroupMax([1, 1, -1]))
    assert t.tolist() == [np.inf]


def test_each_sample_is_treated_alone():
    rng = np.random.default_rng(1)
    net = TwoLayerReLU(*(rng.integers(-2, 3, s) for s in ((6, 3), 6, (3, 6), 3)))
    x, y = rng.integers(-3, 4, (30, 3)), rng.integers(0, 3, 30)
    rays = np.eye(3)[rng.integers(0, 3, 30)]  # exact slopes: no order of summation matters
    together = smallest_step(net, x, y, rays, decision="argmax")
    alone = [
        smallest_step(net, x[i : i + 1], y[i : i + 1], rays[i], decision="argmax")[0]
        for i in range(30)
    ]
    assert together.tolist() == alone


def test_length_of_direction_does_not_matter():
    net = TwoLayerReLU([[3.0, 1.0], [1.0, -2.0]], [1.0, 0.5], [[1.0, -1.5]])
    x, u = [[2.0, 1.0]], np.array([-0.3, -0.7])
    expected = smallest_step(net, x, [1], u)
    assert 0 < expected[0] < np.inf
    for exponent in (-1000, 1000):
        assert smallest_step(net, x, [1], np.ldexp(u, exponent)).tolist() == expected.tolist()


def test_no_crossing_is_made_up_far_away_by_a_slope_that_rounds():
    # In the last piece the slope is -0.1 - 0.2 + 0.3, 0 but for the rounding of its three terms.
    flat = TwoLayerReLU(np.ones((3, 1)), None, [[-0.1, -0.2, 0.3]], [1.0])
    assert smallest_step(flat, [[1.0]], [1], [1]).tolist() == [np.inf]


def test_no_crossing_is_made_up_by_a_neuron_across_the_ray():
    rng = np.random.default_rng(0)
    w, rays = rng.standard_normal(50), rng.standard_normal((40, 50))
    rays -= np.outer(rays @ w, w) / (w @ w)  # orthogonal to w up to rounding
    assert (rays @ w != 0).any()
    net = TwoLayerReLU([w], [-1.0], [[-1.0]], [1.0])  # f = 1 - relu(<w, x> - 1)
    assert np.isinf(smallest_step(net, np.zeros((40, 50)), np.ones(40), rays)).all()


def test_true_crossing_far_away_is_found():
    net = TwoLayerReLU([[2.0**-40, 1.0]], [-1.0], [[-1.0]], [1.0])  # f = 1 - relu(2^-40 x1 + ..)
    assert smallest_step(net, [[0.0, 0.0]], [1], [1, 0]).tolist() == [2.0**41]


def test_breakpoint_beyond_float64_is_never_reached():
    net = TwoLayerReLU([[1e-310]], [-1.0], [[-1.0]], [1.0])
    assert smallest_step(net, [[0.0]], [1], [1]).tolist() == [np.inf]


def test_inputs_are_left_alone():
    x, y, u = np.array([[3.0]]), np.array([1]), np.array([-2.0])
    smallest_step(ABSOLUTE, x, y, u)
    assert (x.tolist(), y.tolist(), u.tolist()) == ([[3.0]], [1], [-2.0])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("direction", {"direction": [0.0]}),
        ("direction", {"direction": [[1.0], [0.0]]}),
        ("direction", {"direction": [1.0, 2.0]}),
        ("direction", {"direction": [[1.0]]}),
        ("direction", {"direction": [[1.0], [2.0, 3.0]]}),
        ("direction", {"direction": [np.nan]}),
        ("direction", {"direction": "up"}),
        ("x", {"x": [[1.0, 2.0]] * 2}),
        ("x", {"x": np.empty((0, 1))}),
        ("x", {"x": [[np.inf], [0.0]]}),
        ("x", {"x": [[1j], [0.0]]}),
        ("y", {"y": [0, 1]}),
        ("y", {"y": [1]}),
        ("decision", {"decision": "argmax"}),
        ("decision", {"decision": GroupMax([1, -1])}),
        ("ties", {"ties": "strict"}),
    ],
)
def test_bad_input_is_named(name, change):
    arguments = {"x": [[1.0], [2.0]], "y": [1, 1], "direction": [1.0], **change}
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        smallest_step(ABSOLUTE, **arguments)
