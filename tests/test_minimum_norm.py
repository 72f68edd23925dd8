"""The minimum-norm attack: valid always, and at the optimum where that is known."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from refimpl import GroupMax, TwoLayerReLU, attack_gap, minimum_norm_attack, robust_radius, truth

CHOICES = [(norm, box) for norm in (1, 2, math.inf) for box in (None, (-1.0, 1.0))]


def wide(seed, outputs):
    rng = np.random.default_rng(seed)
    W, A = rng.standard_normal((12, 6)), rng.standard_normal((outputs, 12))
    return TwoLayerReLU(W, rng.standard_normal(12), A), rng.uniform(-1, 1, (10, 6))


@pytest.mark.parametrize(("norm", "box"), CHOICES)
@pytest.mark.parametrize(
    "decision", ["sign", pytest.param("argmax", marks=pytest.mark.slow), GroupMax([1, 1, -1])]
)
def test_points_are_adversarial_in_the_box_and_never_nearer_than_the_radius(norm, box, decision):
    net, x = wide(1, 1 if decision == "sign" else 3)
    y = net.predict(x, decision)
    options = {"decision": decision, "norm": norm, "box": box}
    radii = robust_radius(net, x, y, **options)
    x_adv = minimum_norm_attack(net, x, y, **options, rng=0)
    gap = attack_gap(radii, net, x, y, x_adv, **options)
    reached = np.isfinite(radii.lower)
    np.testing.assert_array_equal(gap.flips, reached)
    assert (gap.ratio[reached] >= 1 - 1e-9).all()  # the radius is rounded by its tolerance
    assert np.median(gap.ratio[reached]) <= 1 + 1e-9


@pytest.mark.parametrize("name", ["averaging", "group_sum", "group_max", "slivers", "kink"])
def test_it_finds_the_nearest_point_where_gradients_do_not(name):
    each = truth.problem(name)
    x_adv = minimum_norm_attack(each.net, each.x, each.y, **each.options, rng=0)
    gap = attack_gap(each.radii, each.net, each.x, each.y, x_adv, **each.options)
    assert gap.flips.all()
    np.testing.assert_allclose(gap.ratio, 1.0, rtol=1e-6)


@pytest.mark.parametrize("norm", [1, 2, math.inf])
def test_a_class_of_the_other_group_has_to_pass_all_of_ones_own(norm):
    # The zero of F_i - F_t for one class i of the group is no adversarial point by itself.
    W = [[-1.55, -0.87], [-0.1, -0.71]]
    A = [[0.28, 0.38], [-0.33, -0.79], [-0.42, 1.52], [0.54, -0.34]]
    net = TwoLayerReLU(W, [-0.71, 1.13], A, [1.21, 0.17, 0.14, 0.16])
    x = 3 * np.random.default_rng(0).standard_normal((50, 2))
    decision = GroupMax([-1, 1, 1, -1])
    y = net.predict(x, decision)
    radii = robust_radius(net, x, y, decision=decision, norm=norm)
    x_adv = minimum_norm_attack(net, x, y, decision=decision, norm=norm, rng=0)
    gap = attack_gap(radii, net, x, y, x_adv, decision=decision, norm=norm)
    assert (radii.status == "exact").all()
    assert gap.flips.all()
    np.testing.assert_allclose(gap.ratio, 1.0, rtol=1e-6)


@pytest.mark.slow
def test_local_minima_of_a_flat_network_cost_little():
    each = truth.problem("flat")
    x_adv = minimum_norm_attack(each.net, each.x, each.y, **each.options, rng=0)
    gap = attack_gap(each.radii, each.net, each.x, each.y, x_adv, **each.options)
    assert np.median(gap.ratio) <= 1 + 1e-6
    assert gap.ratio.max() <= 1.05


def test_it_reaches_the_one_tie_in_a_corner():
    each = truth.problem("corner")
    x_adv = minimum_norm_attack(each.net, each.x, each.y, **each.options, rng=0)
    np.testing.assert_array_equal(x_adv, np.ones_like(each.x))


def test_by_hand_two_neurons():
    net = TwoLayerReLU([[1, 0], [0, 1]], None, [[1, -1]])
    x_adv = minimum_norm_attack(net, [[3.0, 1.0]], [1], norm=math.inf, rng=0)
    assert np.abs(x_adv - [3.0, 1.0]).max() == pytest.approx(1.0, rel=1e-9)


def test_rows_that_are_adversarial_or_have_no_adversarial_point_are_returned_as_they_are():
    net = TwoLayerReLU([[1.0]], None, [[1.0]], [1.0])  # f >= 1
    x = np.array([[2.0], [-1.0]])
    assert minimum_norm_attack(net, x, [1, -1], rng=0).tolist() == x.tolist()


def test_networks_out_of_range_and_large_numbers_raise_no_warning():
    net = TwoLayerReLU([[1e200]], None, [[1e200]], [-1.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minimum_norm_attack(net, [[1e150]], [1], rng=0)


def test_points_that_are_strictly_adversarial_come_before_ties():
    """At the tip of a region, where the nearest point is a tie in some orders of the sums."""
    rng = np.random.default_rng(1)
    for _ in range(17):
        d, M = (int(size) for size in rng.integers(3, 9, 2))
        shapes = (M, d), M, (3, M), 3
        net = TwoLayerReLU(*(rng.standard_normal(shape) for shape in shapes))
        x, y = rng.random((5, d)), rng.integers(0, 3, 5)
        rng.integers(0, 2, 10)
    x_adv = minimum_norm_attack(net, x, y, decision="argmax", norm=1, rng=17)
    right = net.predict(x, "argmax") == y
    assert right.tolist() == [False, True, False, False, True]
    assert (net.predict(x_adv, "argmax") != y).all()


def test_the_seed_decides_and_inputs_stay():
    net, x = wide(2, 1)
    y, copy = net.predict(x, "sign"), x.copy()
    first, again = (minimum_norm_attack(net, x, y, rng=7) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(x, copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": [[0.0]]}, "x: expected"),
        ({"y": [0]}, "y: expected"),
        ({"norm": 3}, "norm: expected"),
        ({"box": (5.0, 6.0)}, "box|x: expected"),
        ({"decision": "argmax"}, "decision: expected"),
        ({"rng": None}, "rng: expected"),
    ],
)
def test_bad_input_is_named(change, message):
    net = TwoLayerReLU([[1.0, 0.0]], None, [[1.0]])
    given = {"x": [[1.0, 0.0]], "y": [1], "rng": 0} | change
    with pytest.raises(ValueError, match=message):
        minimum_norm_attack(net, **given)
