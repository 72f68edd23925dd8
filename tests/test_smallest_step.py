"""Tests of the smallest adversarial step along a ray (E27)."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from tolerances import CROSSING, RAY, STEP_OF_TENTHS

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
            return t
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


def exact_exit(x, u, lo, hi):
    """The step at which the ray leaves the box, in rationals."""
    steps = [
        (Fraction(limit[j]) - Fraction(x[j])) / Fraction(u[j])
        for j in range(len(x))
        for limit in ([hi] if u[j] > 0 else [lo] if u[j] < 0 else [])
        if math.isfinite(limit[j])
    ]
    return min(steps, default=math.inf)


@examples(300)
@given(
    problem=integer_problems(),
    ties=st.sampled_from(TIES),
    lo=st.sampled_from([-0.4, -0.7, -math.inf]),
    hi=st.sampled_from([0.4, 0.7, math.inf]),
)
def test_e27_equals_rational_enumeration_of_rounded_tenths(problem, ties, lo, hi):
    """Breakpoints that coincide, touches and exits do so in rationals, if at all, not in floats."""
    net, x, y, u, decision = problem
    net = TwoLayerReLU(net.W / 10, net.b / 10, net.A / 10, net.c / 10)
    x, strict = x / 10, ties == "robust"
    (start,) = net.outputs(x)
    expected = exact_step(net, x, y, u, decision, strict)
    if is_adversarial(start.tolist(), y, decision, strict):  # already, as the network computes it
        expected = 0
    exit_ = exact_exit(x[0], u, np.full(x.shape[1], lo), np.full(x.shape[1], hi))
    for box, end in ((None, math.inf), ((lo, hi), exit_)):
        inside = expected < end or expected == 0 or (expected == end and not strict)
        # A slope that is 0 but for the rounding of the entries has no say far away.
        wanted = float(expected) if inside and expected < 1e9 else math.inf
        (t,) = smallest_step(net, x, [y], u, decision=decision, ties=ties, box=box)
        assert t == wanted or abs(t - wanted) <= STEP_OF_TENTHS * (1 + wanted), (t, wanted)


@pytest.mark.parametrize("box", [None, (0, 10), (0, np.inf)])
def test_touching_counts_as_a_tie_wherever_the_breakpoints_round_to(box):
    # f = 0.3 relu(x) + 0.7 relu(-x) is 0 at x = 0 alone, where floats have z/s of 0.9 beside 0.9.
    net = TwoLayerReLU([[0.3], [-0.7]], None, [[1.0, 1.0]])
    x = np.arange(1, 100)[:, None] / 10
    steps = smallest_step(net, x, np.ones(99), [-1.0], box=box)
    assert steps.tolist() == x[:, 0].tolist()
    assert np.isinf(smallest_step(net, x, np.ones(99), [-1.0], ties="robust")).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_touching_is_no_crossing_under_strict_ties(sign):
    # f = 0.3 relu(0.1 x) - 0.1 relu(0.3 x) + relu(-x) is 0 for x >= 0 but for roundings.
    net = TwoLayerReLU([[0.1], [0.3], [-1.0]], None, [[sign * 0.3, -sign * 0.1, sign]])
    x = -np.arange(1, 100)[:, None] / 10
    y = np.full(99, sign)
    assert smallest_step(net, x, y, [1.0]).tolist() == (-x[:, 0]).tolist()
    assert np.isinf(smallest_step(net, x, y, [1.0], ties="robust")).all()


@pytest.mark.parametrize("ties", TIES)
def test_step_that_leaves_the_box_is_none(ties):
    line = TwoLayerReLU([[1.0, 0.0], [-1.0, 0.0]], None, [[1.0, -1.0]])  # f = x1
    x, y, ray = [[0.5, 0.5]], [1], [-1.0, 1.0]  # meets f = 0 at (0, 1), after sqrt(1/2)
    for box, inside in (((-1, 2), True), ((0, 1), ties == "adversarial"), ((-1, 0.9), False)):
        (t,) = smallest_step(line, x, y, ray, ties=ties, box=box)
        assert t == pytest.approx(math.sqrt(0.5), rel=RAY) if inside else t == math.inf
    # At the side that the ray points out of, no step is possible; one along it is.
    assert smallest_step(line, [[0.5, 1.0]], y, ray, ties=ties, box=(0, 1)).tolist() == [math.inf]
    assert smallest_step(line, [[0.5, 1.0]], y, [-1, 0], ties=ties, box=(-1, 1)).tolist() == [0.5]
    # Adversarial from the start: no step is needed.
    assert smallest_step(line, [[-0.5, 1.0]], y, ray, ties=ties, box=(-1, 1)).tolist() == [0.0]


def test_length_is_in_the_norm():
    line = TwoLayerReLU([[1.0, 0.0], [-1.0, 0.0]], None, [[1.0, -1.0]])  # f = x1
    for norm, length in ((1, 7.0), (2, 5.0), (np.inf, 4.0)):  # x1 falls by 3, x2 rises by 4
        t = smallest_step(line, [[3.0, 0.0]], [1], [-0.75, 1.0], norm=norm)
        assert t[0] == pytest.approx(length, rel=RAY)
    kinks = TwoLayerReLU([[0.3], [-0.7]], None, [[1.0, 1.0]])
    for norm in (1, 2, np.inf):
        assert smallest_step(kinks, [[0.9]], [1], [-3.0], norm=norm).tolist() == [0.9]


@examples(300)
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
        grid = np.concatenate([np.linspace(0, min(far, 50), 501), np.geomspace(1e-9, far + 1e-9)])
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


@pytest.mark.parametrize("order", [*itertools.permutations(range(3))])
def test_a_crossing_far_away_by_a_slope_that_rounds_is_where_it_is(order):
    """Slopes 1, -1 - 20 u and 0.75 u, u = 2^-52, whose sum rounds in some orders."""
    order, u = list(order), 2.0**-52
    A = np.array([[1.0, -1 - 20 * u, 0.75 * u]])[:, order]
    net = TwoLayerReLU(np.ones((3, 1)), None, A, [1.0])
    t = smallest_step(net, [[1.0]], [1], [[1.0]])
    slope = Fraction(A[0, order.index(1)]) + 1 + Fraction(A[0, order.index(2)])
    assert t[0] == pytest.approx(float(-1 / slope) - 1, rel=1e-12)


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
        ("norm", {"norm": 3}),
        ("box", {"box": (1, 0)}),
        ("x", {"box": (0, 1)}),
    ],
)
def test_bad_input_is_named(name, change):
    arguments = {"x": [[1.0], [2.0]], "y": [1, 1], "direction": [1.0], **change}
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        smallest_step(ABSOLUTE, **arguments)


def test_outputs_that_overflow_are_walked_in_rationals():
    both = TwoLayerReLU([[1.0]], None, [[1e308], [-1e308]])
    step = smallest_step(both, [[1.0]], [1], [[-1.0]], decision=GroupSum([1, -1]))
    assert step.tolist() == [1.0]
    zero = TwoLayerReLU([[1e200], [1e200]], None, [[1.0, -1.0]])
    assert smallest_step(zero, [[1e200]], [1], [[-1.0]]).tolist() == [0.0]


def test_a_sample_at_the_end_of_its_box_that_only_rationals_know_to_be_wrong():
    net = TwoLayerReLU(
        *([[0.0], [1.9999999999999991]], None),
        *([[-2.0000000000000004, -1.0000000000000004]], [2.000000000000001]),
    )
    x, options = 1.0000000000000004, {"ties": "robust"}
    assert smallest_step(net, [[x]], [-1], [[1.0]], **options).tolist() == [0.0]
    assert smallest_step(net, [[x]], [-1], [[1.0]], box=(-4, x), **options).tolist() == [0.0]
    assert smallest_step(net, [[x]], [1], [[1.0]], box=(-4, x), **options).tolist() == [math.inf]
