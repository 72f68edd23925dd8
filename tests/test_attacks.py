"""Tests of the closed-form attack (E26) and of the linear-region step (E28)."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import U, gamma

from refimpl import (
    ClusterDistribution,
    TwoLayerReLU,
    closed_form_attack,
    closed_form_direction,
    gradient_descent,
    linear_region_attack,
    loss_and_gradients,
    smallest_step,
)

FEATURES, LABELS = [[3.0, 0.0], [0.0, 4.0]], [1, -1]


def test_e26_by_hand():
    x = [[3.0, 0.0], [0.0, 4.0], [1.0, 1.0]]  # v = (3, -4), of length 5
    x_adv = closed_form_attack(x, [1, -1, 1], FEATURES, LABELS, epsilon=[5.0, 10.0, 0.0])
    assert x_adv.tolist() == [[0.0, 4.0], [6.0, -4.0], [1.0, 1.0]]


def test_e26_sums_the_clusters_of_each_class():
    features = np.diag([1.0, 1.0, 2.0, 4.0])
    u = closed_form_direction([1], features, [1, 1, -1, 1])  # v = (1, 1, -2, 4)
    np.testing.assert_allclose(u, -np.array([[1, 1, -2, 4]]) / np.sqrt(22), rtol=4 * U)


def test_e26_direction_survives_tiny_and_huge_features():
    for scale in (2.0**-600, 2.0**600):
        u = closed_form_direction([1], np.multiply(FEATURES, scale), LABELS)
        assert u.tolist() == [[-0.6, 0.8]]


def test_e26_keeps_to_its_budget_up_to_rounding():
    rng = np.random.default_rng(0)
    features, x = rng.standard_normal((3, 40)), rng.standard_normal((20, 40))
    epsilon = rng.uniform(0, 3, 20)
    x_adv = closed_form_attack(x, np.ones(20), features, [1, -1, -1], epsilon=epsilon)
    # u and the norm carry gamma(40) each; x' and x' - x round once in each entry.
    slack = 2 * gamma(42) * epsilon + 2 * U * np.linalg.norm(x_adv, axis=1)
    assert (np.abs(np.linalg.norm(x_adv - x, axis=1) - epsilon) <= slack).all()


@pytest.mark.parametrize(("k", "d"), [(2, 8), (4, 64), (6, 96)])
def test_e19_closed_form_flips_a_centre_of_averaging_at_sqrt_d_over_k(k, d):
    dist = ClusterDistribution.orthogonal(k, d, labels=[1] + [-1] * (k - 1), rng=k)
    net = TwoLayerReLU.feature_averaging(dist)
    x, y, radius = dist.features, dist.labels, np.sqrt(d / k)
    t = smallest_step(net, x, y, closed_form_direction(y, x, y))
    # f(x) = d and slope sqrt(d k): sums of d products whose absolute values add up to k d at most.
    np.testing.assert_allclose(t, radius, rtol=4 * k * gamma(d + k))
    for factor, flips in ((1 - 1e-9, False), (1 + 1e-9, True)):
        x_adv = closed_form_attack(x, y, x, y, epsilon=radius * factor)
        assert ((y * net.outputs(x_adv)[:, 0] <= 0) == flips).all()


def test_e28_lands_on_the_hyperplane_of_the_linear_region():
    # f = relu(x1) + relu(x2) - 2 relu(x3) - 1. At (2, 3, -1), f = x1 + x2 - 1 = 4: step (-2, -2).
    # At (1, -1, 1), f = x1 - 2 x3 - 1 = -2, for y = -1: step 2/5 (1, -2).
    net = TwoLayerReLU(np.eye(3), None, [[1.0, 1.0, -2.0]], [-1.0])
    x_adv = linear_region_attack(net, [[2, 3, -1], [1, 0, 1]], [1, -1])
    np.testing.assert_allclose(x_adv, [[0, 1, -1], [1.4, 0, 0.2]], atol=8 * U, rtol=0)
    np.testing.assert_allclose(net.outputs(x_adv), 0, atol=16 * U)


def test_e28_need_not_be_adversarial():
    net = TwoLayerReLU([[1.0], [1.0]], [0.0, -1.0], [[1.0, 3.0]], [0.0])  # f(2) = 5, slope 4
    (x_adv,) = linear_region_attack(net, [[2.0]], [1])
    assert x_adv.tolist() == [0.75]
    assert net.outputs([x_adv]).tolist() == [[0.75]]


def test_e28_returns_misclassified_samples_as_they_are():
    net = TwoLayerReLU([[1.0]], None, [[1.0]])
    x = np.array([[0.1], [0.0], [-7.0], [2.0]])
    x_adv = linear_region_attack(net, x, [-1, 1, 1, 1])
    assert x_adv.tolist() == [[0.1], [0.0], [-7.0], [0.0]]  # rows of gradient 0 among them
    assert x.tolist() == [[0.1], [0.0], [-7.0], [2.0]]


def test_e28_survives_tiny_gradients():
    net = TwoLayerReLU([[3e-200, 4e-200]], None, [[1.0]])
    np.testing.assert_allclose(linear_region_attack(net, [[3.0, 4.0]], [1]), 0, atol=8 * U)


def test_e28_names_the_rows_without_gradient():
    net = TwoLayerReLU([[1.0]], None, [[1.0]], [1.0])
    with pytest.raises(ValueError, match=r"^x: expected a nonzero gradient .*rows \[1, 2\]"):
        linear_region_attack(net, [[1.0], [-1.0], [0.0], [-1.0]], [1, 1, 1, -1])


def test_e28_needs_one_output():
    net = TwoLayerReLU(np.eye(2), None, np.eye(2))
    with pytest.raises(ValueError, match=r"^net: expected K = 1 output, got K = 2$"):
        linear_region_attack(net, [[1.0, 2.0]], [1])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("x", {"x": [[1.0]]}),
        ("x", {"x": [[1.0, 2.0], [3.0, 4.0]]}),
        ("x", {"x": [[1.0, np.nan]]}),
        ("y", {"y": [0]}),
        ("y", {"y": []}),
        ("y", {"y": [[1]]}),
        ("features", {"features": [[1.0, 2.0], [1.0, 2.0]]}),  # v+ = v-
        ("features", {"features": [[1.0, 2.0]], "labels": [1]}),
        ("features", {"features": [[1.0, 2j], [3.0, 4.0]]}),
        ("labels", {"labels": [1, 1]}),
        ("labels", {"labels": [1, 0]}),
        ("labels", {"labels": [1]}),
        ("epsilon", {"epsilon": -1.0}),
        ("epsilon", {"epsilon": [1.0, 2.0]}),
        ("epsilon", {"epsilon": np.inf}),
        ("epsilon", {"epsilon": "1"}),
        ("epsilon", {"epsilon": [[1.0], [2.0, 3.0]]}),
    ],
)
def test_bad_input_of_e26_is_named(name, change):
    call = {"x": [[1.0, 2.0]], "y": [1], "features": FEATURES, "labels": LABELS, "epsilon": 1.0}
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        closed_form_attack(**{**call, **change})


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [("x", [[1.0, 2.0]], [1]), ("x", [[np.inf]], [1]), ("y", [[1.0]], [2]), ("y", [[1.0]], [1, 1])],
)
def test_bad_input_of_e28_is_named(name, x, y):
    with pytest.raises(ValueError, match=f"^{name}: expected .*, got "):
        linear_region_attack(TwoLayerReLU([[1.0]], None, [[1.0]]), x, y)


def test_sums_and_outputs_that_overflow_are_refused():
    with pytest.raises(ValueError, match=r"features: .*overflow"):
        closed_form_direction([1], [[1e308, 0], [1e308, 1], [-1e308, 0]], [1, 1, -1])
    net = TwoLayerReLU([[1e200]], None, [[1e200]])
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"x: .*overflow"):
        linear_region_attack(net, [[1.0]], [1])


def test_points_that_overflow_are_refused():
    flat = TwoLayerReLU([[1e-160, 0.0]], None, [[1.0]], [1e200])
    with pytest.raises(ValueError, match=r"x: .* x', got an overflow"):
        linear_region_attack(flat, [[3.0, 1.0]], [1])
    with pytest.raises(ValueError, match=r"epsilon: .* x', got an overflow"):
        closed_form_attack([[1e308, 0]], [-1], [[1, 0], [-1, 0]], [1, -1], epsilon=1.7e308)


@pytest.mark.parametrize("call", [linear_region_attack, loss_and_gradients, gradient_descent])
def test_what_is_no_network_is_refused_by_name(call):
    options = {"learning_rate": 1.0, "steps": 1} if call is gradient_descent else {}
    with pytest.raises(ValueError, match="net: expected a TwoLayerReLU, got str"):
        call("net", [[1.0]], [1], **options)
