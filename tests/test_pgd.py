"""Tests of projected gradient descent against a plain loop in input space, and of its budget."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import special, stats
from tolerances import gamma, uniform_distance

from refimpl import ClusterDistribution, GroupMax, GroupSum, TwoLayerReLU, input_gradient, pgd
from refimpl.decisions import margin

DECISIONS = ("sign", "argmax", GroupMax([1, -1, 1]), GroupSum([1, -1, 1]))


def problem(decision, *, n=12, d=9, M=5, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    K = 1 if decision == "sign" else 3
    net = TwoLayerReLU(*(rng.standard_normal(s) for s in ((M, d), M, (K, M), K)))
    y = rng.integers(0, 3, n) if decision == "argmax" else rng.choice([-1, 1], n)
    return net, scale * rng.standard_normal((n, d)), y


def margin_cotangent(F, y, decision):
    """Derivative of minus the decision margin, one sample, from its definition."""
    if decision == "sign":
        return np.array([-float(y)])
    if isinstance(decision, GroupSum):
        return -float(y) * decision.labels
    own = (decision.labels if isinstance(decision, GroupMax) else np.arange(len(F))) == y
    v = np.zeros(len(F))
    v[max(np.flatnonzero(~own), key=lambda j: F[j])] = 1
    v[max(np.flatnonzero(own), key=lambda j: F[j])] = -1
    return v


def plain_pgd(net, x, y, delta, epsilon, steps, step_size, decision):
    """The loop as one writes it down, for one sample in R^d; returns the smallest margin."""
    lowest = []
    for _ in range(steps + 1):
        F = net.outputs((x + delta)[None])
        lowest.append(margin(F, np.array([y]), decision)[0])
        v = margin_cotangent(F[0], y, decision)
        g = input_gradient(net, (x + delta)[None], v)[0]
        delta = delta + step_size * g / max(np.linalg.norm(g), 1e-300)
        delta = delta / max(1.0, np.linalg.norm(delta) / epsilon)
    return min(lowest)


@pytest.mark.parametrize("decision", DECISIONS, ids=str)
@pytest.mark.parametrize("M", [5, 15])
def test_coordinates_follow_the_plain_loop_in_input_space(decision, M, monkeypatch):
    net, x, y = problem(decision, M=M)
    n, d = x.shape
    rng, steps, epsilon, step_size = np.random.default_rng(3), 10, 0.7, 0.2
    start = rng.standard_normal((n, d))
    start *= rng.uniform(0, 1, (n, 1)) / np.linalg.norm(start, axis=1, keepdims=True)

    def coordinates(_rng, _n, p, _d):
        basis = np.linalg.qr(net.W.T)[0]
        inside = start @ basis
        rest = np.linalg.norm(start - inside @ basis.T, axis=1) if p < d else np.zeros(n)
        return np.column_stack([inside, rest])

    monkeypatch.setattr(pgd, "_uniform_ball", coordinates)
    x_adv = pgd.pgd_attack(
        net, x, y, epsilon=epsilon, steps=steps, step_size=step_size, decision=decision, rng=0
    )
    at_x = margin(net.outputs(x), y, decision)
    expected = [
        min(
            at_x[i],
            plain_pgd(net, x[i], y[i], epsilon * start[i], epsilon, steps, step_size, decision),
        )
        for i in range(n)
    ]
    # Within an activation pattern the step does not depend on the iterate, and projections
    # contract: each step adds a few roundings of products over d and M, times the Lipschitz
    # constant of the outputs, or of a difference of two.
    size = (np.linalg.norm(x, axis=1).max() + 2 * epsilon) * np.linalg.norm(net.W, axis=1)
    tolerance = (
        10 * (steps + 3) * gamma(d + M) * (np.abs(net.A).sum(axis=0) @ (size + abs(net.bias)))
    )
    got = margin(net.outputs(x_adv), y, decision)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)
    assert (got < at_x).all()


@pytest.mark.parametrize("decision", ["argmax", DECISIONS[2]], ids=str)
def test_loss_objective_ascends_minus_log_probability_of_the_own_side(decision):
    rng = np.random.default_rng(0)
    F, v = rng.standard_normal((20, 3)), rng.standard_normal((20, 3))
    y = rng.integers(0, 3, 20) if decision == "argmax" else rng.choice([-1, 1], 20)
    own = (np.arange(3) if decision == "argmax" else decision.labels) == y[:, None]

    def loss(t):
        return -np.log((special.softmax(F + t * v, axis=1) * own).sum(axis=1))

    h = 1e-5
    slope = (loss(h) - loss(-h)) / (2 * h)
    probability = (special.softmax(F, axis=1) * ~own).sum(axis=1)
    got = probability * (pgd._cotangent(F, y, decision, soft=True) * v).sum(axis=1)
    # Truncation h^2 sup|third derivative| / 6 and rounding U |loss| / h, |v| and |loss| below 10.
    np.testing.assert_allclose(got, slope, rtol=0, atol=h**2 * 10**3 + 10 * gamma(4) / h)


@pytest.mark.parametrize("decision", ["sign", DECISIONS[3]], ids=str)
def test_objectives_agree_for_scores(decision):
    net, x, y = problem(decision)
    a, b = (
        pgd.pgd_attack(net, x, y, epsilon=1, decision=decision, objective=objective, rng=1)
        for objective in pgd.OBJECTIVES
    )
    assert np.array_equal(a, b)


@pytest.mark.parametrize("d", [1, 9, 500])
@pytest.mark.parametrize("scale", [0.0, 1.0, 1e8])
def test_budget_holds_exactly_in_every_summation(d, scale):
    net, x, y = problem("sign", n=40, d=d, scale=scale)
    epsilon = np.geomspace(1e-9, 30, 40)
    x_adv = pgd.pgd_attack(net, x, y, epsilon=epsilon, steps=5, rng=0)
    delta = x_adv - x
    assert (np.linalg.norm(delta, axis=1) <= epsilon).all()
    for row, limit in zip(delta, epsilon, strict=True):
        assert np.linalg.norm(row) <= limit
        assert np.linalg.norm(row[::-1].copy()) <= limit
        assert math.sqrt(math.fsum(row**2)) <= limit


def test_budget_is_used_up():
    net = TwoLayerReLU([[1.0, 2.0], [-1.0, -2.0]], None, [[1.0, -1.0]])  # f = x1 + 2 x2
    x_adv = pgd.pgd_attack(net, [[9.0, 9.0]], [1], epsilon=3.0, rng=0)
    # The start is forgotten like e^-2.5 at the least, in angle: less than 10 degrees are left.
    assert net.outputs(x_adv)[0, 0] <= 27 - 3 * math.sqrt(5) * math.cos(math.radians(10))
    assert np.linalg.norm(x_adv - 9.0) >= 3 * (1 - 1e-12)


@pytest.mark.parametrize("decision", DECISIONS, ids=str)
def test_budget_zero_returns_x(decision):
    net, x, y = problem(decision)
    epsilon = np.where(np.arange(len(x)) < 6, 0.0, 2.0)
    x_adv = pgd.pgd_attack(net, x, y, epsilon=epsilon, decision=decision, rng=0)
    assert np.array_equal(x_adv[:6], x[:6])
    assert (x_adv[6:] != x[6:]).any(axis=1).all()


@pytest.mark.parametrize("decision", DECISIONS, ids=str)
@pytest.mark.parametrize("objective", pgd.OBJECTIVES)
def test_more_restarts_are_never_worse_and_nothing_is_worse_than_x(decision, objective):
    net, x, y = problem(decision, n=40, M=12)
    margins = [margin(net.outputs(x), y, decision)]
    for restarts in (1, 2, 8):
        x_adv = pgd.pgd_attack(
            net, x, y, epsilon=0.8, steps=4, restarts=restarts, decision=decision,
            objective=objective, rng=7,
        )  # fmt: skip
        margins.append(margin(net.outputs(x_adv), y, decision))
    rise = np.diff(margins, axis=0)
    assert rise.max() <= 100 * gamma(9 + 12 + 3)  # the point is rebuilt from its coordinates
    assert (rise < -1e-3).any(axis=1).all()


def test_best_iterate_is_kept(monkeypatch):
    # f = |x1| - 0.25 from x1 = 1: steps of 0.875 lead to 0.125, then to -0.75: robust again.
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, 1.0]], [-0.25])
    monkeypatch.setattr(pgd, "_uniform_ball", lambda rng, n, p, d: np.zeros((n, p + 1)))
    x_adv = pgd.pgd_attack(net, [[1.0]], [1], epsilon=2.0, steps=2, step_size=0.875, rng=0)
    assert x_adv.tolist() == [[0.125]]


def test_sample_without_gradient_stays():
    net = TwoLayerReLU(np.eye(3), None, [[1.0, 1.0, 1.0]], [1.0])
    x = [[-9.0, -9.0, -9.0]]
    assert pgd.pgd_attack(net, x, [1], epsilon=1.0, restarts=3, rng=0).tolist() == x


def test_misclassified_samples_stay_adversarial():
    net, x, y = problem("sign", n=50)
    wrong = y * net.outputs(x)[:, 0] <= 0
    x_adv = pgd.pgd_attack(net, x, y, epsilon=0.3, steps=3, rng=0)
    assert wrong.any()
    assert (y * net.outputs(x_adv)[:, 0] <= 0)[wrong].all()


def test_e22_bounds_pgd_from_below_and_pgd_comes_close():
    k, d = 4, 64
    dist = ClusterDistribution.orthogonal(k, d, noise_std=0.5, rng=0)
    net, sample = TwoLayerReLU.feature_averaging(dist), dist.sample(60, rng=1)
    x, y = np.vstack([dist.features, sample.x]), np.append(dist.labels, sample.y)
    sums = [dist.features[dist.labels == s].sum(axis=0) for s in (1, -1)]
    p, q = (np.where(y == s, x @ sums[0], x @ sums[1]) / math.sqrt(d) for s in (1, -1))
    radius = np.minimum(p / math.sqrt(k / 2), (p - q) / math.sqrt(k))  # (E22)
    assert (p > np.maximum(q, 0)).all()
    assert np.allclose(radius[:k], math.sqrt(d / k))  # (E19)
    for factor, flips in ((1 - 1e-9, False), (1.03, True)):
        x_adv = pgd.pgd_attack(net, x, y, epsilon=factor * radius, restarts=20, rng=2)
        assert ((y * net.outputs(x_adv)[:, 0] <= 0) == flips).all()


@pytest.mark.parametrize(("p", "d"), [(3, 8), (1, 2), (4, 4)])
def test_start_is_uniform_in_the_ball(p, d):
    n = 4000
    q = pgd._uniform_ball(np.random.default_rng(0), n, p, d)
    squares = (q**2).sum(axis=1)
    # For a uniform point ||delta||^d is uniform, and the shares of ||delta||^2 of one coordinate
    # and of the last d - p are Beta.
    laws = [(squares ** (d / 2), stats.uniform())]
    laws += [(q[:, j] ** 2 / squares, stats.beta(0.5, (d - 1) / 2)) for j in range(p)]
    if p < d:
        laws.append((q[:, p] ** 2 / squares, stats.beta((d - p) / 2, p / 2)))
    else:
        assert not q[:, p].any()
    for values, law in laws:
        assert stats.kstest(values, law.cdf).statistic <= uniform_distance(n)
    assert abs(np.sign(q[:, :p]).mean()) <= 2 * uniform_distance(n * p)


def test_lift_has_the_coordinates_it_is_given():
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((9, 4)))[0]
    q = np.abs(rng.standard_normal((50, 5)))
    delta = pgd._lift(q, basis, rng)
    np.testing.assert_allclose(delta @ basis, q[:, :4], atol=100 * gamma(9))
    rest = np.linalg.norm(delta - q[:, :4] @ basis.T, axis=1)
    np.testing.assert_allclose(rest, q[:, 4], atol=100 * gamma(9))


def test_lift_survives_a_draw_inside_the_span():
    draw = np.random.default_rng(0).standard_normal((4, 9))
    basis = np.linalg.qr(draw.T)[0]  # the rows that the seed draws again
    delta = pgd._lift(np.repeat([[0.0, 0, 0, 0, 1]], 4, axis=0), basis, np.random.default_rng(0))
    np.testing.assert_allclose(delta @ basis, 0, atol=100 * gamma(9))
    np.testing.assert_allclose(np.linalg.norm(delta, axis=1), 1, atol=100 * gamma(9))


@pytest.mark.parametrize("norm", [2, np.inf])
@pytest.mark.parametrize(("lo", "hi"), [(0, 1), (-np.inf, 1), (0.25, np.inf), ([0.3] * 9, 0.6)])
@pytest.mark.parametrize("decision", DECISIONS, ids=str)
def test_result_stays_in_ball_and_box(decision, norm, lo, hi):
    net, x, y = problem(decision, d=9)
    x = np.clip(0.5 + 0.3 * x, 0.3, 0.6)
    for epsilon in (1e-17, 0.03, 0.2, 5.0):
        x_adv = pgd.pgd_attack(
            net, x, y, epsilon=epsilon, decision=decision, norm=norm, box=(lo, hi), rng=0
        )
        assert (np.linalg.norm(x_adv - x, ord=norm, axis=1) <= epsilon).all()
        assert (x_adv >= lo).all()
        assert (x_adv <= hi).all()
        # Where no side of the box is near it is worth what it is without one.
        if epsilon == 0.2 and hi == np.inf:
            free = pgd.pgd_attack(net, x, y, epsilon=epsilon, decision=decision, norm=norm, rng=0)
            at = [margin(net.outputs(points), y, decision) for points in (x, x_adv, free)]
            assert (at[1] < at[0]).all()


@pytest.mark.parametrize("box", [None, (-1, 0.625), (-np.inf, np.inf)])
def test_linear_function_is_moved_to_its_minimum_over_ball_and_box(box):
    # f = <w, x>: in l_inf every coordinate against the sign of w, as far as ball and box let it.
    w, x = np.array([2.0, -1.0, 0.5]), np.array([[0.5, 0.5, -0.75]])
    net = TwoLayerReLU([w, -w], None, [[1.0, -1.0]])
    lo, hi = (-np.inf, np.inf) if box is None else box
    x_adv = pgd.pgd_attack(net, x, [1], epsilon=0.5, norm=np.inf, box=box, rng=0)
    assert x_adv.tolist() == [[0.0, min(1.0, hi), max(-1.25, lo)]]
    # In l2 delta = clip(-s w, ...) of length epsilon; the box with 0.625 cuts the second entry off.
    x_adv = pgd.pgd_attack(net, x, [1], epsilon=0.5, steps=60, step_size=0.5, box=box, rng=0)
    s = 0.5 / math.sqrt(5.25) if hi == np.inf else math.sqrt((0.5**2 - 0.125**2) / 4.25)
    np.testing.assert_allclose(x_adv, np.clip(x - s * w, lo, hi), atol=2.0**-40)


def test_norm_inf_follows_the_plain_loop(monkeypatch):
    net, x, y = problem("sign", d=4)
    start = np.random.default_rng(1).uniform(-1, 1, x.shape)
    monkeypatch.setattr(pgd, "_start", lambda *_, **__: start)
    x_adv = pgd.pgd_attack(
        net, x, y, epsilon=0.5, steps=7, step_size=0.125, norm=np.inf, box=(-4, 4), rng=0
    )
    lo, hi = np.maximum(x - 0.5, -4), np.minimum(x + 0.5, 4)
    for i in range(len(x)):
        points = [x[i], np.clip(x[i] + 0.5 * start[i], lo[i], hi[i])]
        for _ in range(7):
            gradient = input_gradient(net, points[-1][None], [-float(y[i])])[0]
            points.append(np.clip(points[-1] + 0.125 * np.sign(gradient), lo[i], hi[i]))
        lowest = min(margin(net.outputs(np.array(points)), np.repeat(y[i], 9), "sign"))
        (found,) = margin(net.outputs(x_adv[i : i + 1]), y[i : i + 1], "sign")
        assert found == pytest.approx(lowest, rel=1e3 * gamma(40), abs=1e3 * gamma(40))


def test_start_in_l_inf_is_uniform_in_the_cube():
    q = pgd._start(np.random.default_rng(0), np.inf, (4000, 3), 3, few=False)
    for j in range(3):
        law = stats.uniform(-1, 2)
        assert stats.kstest(q[:, j], law.cdf).statistic <= uniform_distance(4000)


@pytest.mark.parametrize("p", [3, 8, 9])
def test_start_has_the_coordinates_of_the_ascent(p):
    few = pgd._start(np.random.default_rng(0), 2, (50, p), 8, few=True)
    full = pgd._start(np.random.default_rng(0), 2, (50, 8), 8, few=False)
    for q in (few, full):
        assert ((q**2).sum(axis=1) <= 1).all()
    assert few.shape == (50, p)
    assert full.shape == (50, 8)


def test_seed_and_generator_give_the_same_and_inputs_are_left_alone():
    net, x, y = problem("sign")
    before = x.copy()
    a = pgd.pgd_attack(net, x, y, epsilon=1.0, rng=5)
    b = pgd.pgd_attack(net, x, y, epsilon=1.0, rng=np.random.default_rng(5))
    assert np.array_equal(a, b)
    assert np.array_equal(x, before)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", {"x": [[1.0, 2.0, 3.0]]}),
        ("x", {"x": [[np.nan, 1.0]]}),
        ("y", {"y": [0]}),
        ("y", {"y": [1, 1]}),
        ("epsilon", {"epsilon": -0.1}),
        ("epsilon", {"epsilon": [1.0, 1.0]}),
        ("epsilon", {"epsilon": np.nan}),
        ("steps", {"steps": 0}),
        ("steps", {"steps": 1.5}),
        ("step_size", {"step_size": 0.0}),
        ("step_size", {"step_size": [1.0]}),
        ("restarts", {"restarts": 0}),
        ("decision", {"decision": "argmax"}),
        ("decision", {"decision": "group_max"}),
        ("objective", {"objective": "dlr"}),
        ("norm", {"norm": 1}),
        ("norm", {"norm": "inf"}),
        ("box", {"box": 1.0}),
        ("box", {"box": (0, np.nan)}),
        ("x", {"box": (0, 1)}),
        ("rng", {"rng": None}),
        ("rng", {"rng": -1}),
    ],
)
def test_bad_input_is_named(name, change):
    net = TwoLayerReLU([[1.0, 0.0]], None, [[1.0]])
    call = {"x": [[1.0, 2.0]], "y": [1], "epsilon": 1.0, "rng": 0}
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        pgd.pgd_attack(net, **{**call, **change})


@pytest.mark.parametrize("limit", [math.inf, 10.0])
@pytest.mark.parametrize("exponent", [-600, 600])
def test_results_scale_with_samples_whose_squares_are_out_of_range(exponent, limit):
    scale, net = 2.0**exponent, TwoLayerReLU(np.eye(2), None, [[1, -1]])
    x, options = np.array([[3.0, 1.0]]), {"rng": 0, "norm": 2}
    plain = pgd.pgd_attack(net, x, [1], epsilon=2, box=(-limit, limit), **options)
    box = (-limit * scale, limit * scale)
    scaled = pgd.pgd_attack(net, x * scale, [1], epsilon=2 * scale, box=box, **options) / scale
    assert np.linalg.norm(scaled - x) <= 2
    assert np.allclose(scaled, plain)
