"""Robust radii in three norms and in boxes, against the enumeration of activation patterns."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import region_brute_force
from effort import examples
from hypothesis import given, strategies
from region_brute_force import random_network, random_problem

from refimpl import (
    CertificateError,
    GroupSum,
    TwoLayerReLU,
    pgd_attack,
    robust_radius,
    verify_certificate,
)
from refimpl.radius.region import Space

NORMS = (1, 2, math.inf)
CLOSE = region_brute_force.CLOSE

seeds = strategies.integers(0, 2**32)


@pytest.mark.slow
@pytest.mark.parametrize("ties", ["adversarial", "robust"])
@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds)
@examples(60)
def test_radius_is_that_of_the_nearest_piece(norm: float, ties: str, seed: int) -> None:
    net, x, y, decision, box = random_problem(np.random.default_rng(seed))
    options: Any = {"decision": decision, "ties": ties, "norm": norm, "box": box}
    found = robust_radius(net, x[None], [y], **options)
    lower, upper, p = found.lower[0], found.upper[0], found.perturbation[0]
    want = region_brute_force.radius(net, x, y, decision, ties, norm, box)
    assert lower <= want * (1 + CLOSE) + CLOSE
    assert upper >= want * (1 - CLOSE) - CLOSE
    if math.isfinite(upper):
        assert upper >= np.linalg.norm(p, norm)
        if box is not None:
            assert (box[0] <= x + p).all()
            assert (x + p <= box[1]).all()
    if found.status[0] == "exact":
        assert upper - lower <= 1e-9 * upper
    if found.status[0] == "unreachable":
        assert lower == upper == math.inf


def sample(seed: int, d: int = 12, M: int = 9, n: int = 6) -> Any:
    """A network of one output that is right on its samples in [0, 1]."""
    rng = np.random.default_rng(seed)
    net = random_network(rng, d, M, 1, whole=False)
    x = rng.random((n, d))
    return net, x, np.where(net.outputs(x)[:, 0] > 0, 1, -1)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds)
@examples(15)
def test_lower_bounds_pass_the_checker_with_their_certificates(
    norm: float, exact: bool, seed: int
) -> None:
    net, x, y, decision, box = random_problem(np.random.default_rng(seed))
    options: Any = {"decision": decision, "norm": norm, "box": box}
    found = robust_radius(net, x[None], [y], certificates=True, **options)
    assert found.certificates is not None
    lower, proof = found.lower[0], found.certificates[0]
    assert (proof is not None) == (lower > 0) or math.isinf(lower)
    if proof is not None:
        verify_certificate(net, x, y, proof, radius=lower, exact=exact, **options)
    if proof is not None and math.isfinite(lower):
        with pytest.raises(CertificateError):
            verify_certificate(net, x, y, proof, radius=lower * 1.001, exact=exact, **options)


@pytest.mark.parametrize("seed", range(4))
def test_relations_of_norms_and_boxes(seed: int) -> None:
    net, x, y = sample(seed)
    d, slack = x.shape[1], 1 + 1e-8
    found = {
        (p, box): robust_radius(net, x, y, norm=p, box=box) for p in NORMS for box in (None, (0, 1))
    }
    for (p, box), result in found.items():
        assert set(result.status) <= {"exact", "unreachable"}
        if box is not None:
            assert (result.upper * slack >= found[p, None].lower).all()
        assert (found[math.inf, box].lower <= found[2, box].upper * slack).all()
        assert (found[2, box].lower <= found[1, box].upper * slack).all()
        # In a box a smaller perturbation is in it too, so that these hold there as well.
        assert (found[1, box].lower <= math.sqrt(d) * found[2, box].upper * slack).all()
        assert (found[2, box].lower <= math.sqrt(d) * found[math.inf, box].upper * slack).all()
    ends = x + found[2, None].perturbation
    wide = float(min(x.min(), ends.min())), float(max(x.max(), ends.max()))
    same = robust_radius(net, x, y, box=wide)
    np.testing.assert_allclose(same.upper, found[2, None].upper, rtol=1e-8)


@pytest.mark.parametrize("norm", NORMS)
def test_radius_scales_with_the_box_and_ignores_the_order_of_pixels(norm: float) -> None:
    net, x, y = sample(7)
    radius = robust_radius(net, x, y, norm=norm, box=(0, 1)).upper
    scaled = TwoLayerReLU(net.W / 4, net.b, net.A, net.c)
    np.testing.assert_allclose(
        robust_radius(scaled, 4 * x, y, norm=norm, box=(0, 4)).upper, 4 * radius, rtol=1e-8
    )
    order = np.random.default_rng(0).permutation(x.shape[1])
    moved = TwoLayerReLU(net.W[:, order], net.b, net.A, net.c)
    np.testing.assert_allclose(
        robust_radius(moved, x[:, order], y, norm=norm, box=(0, 1)).upper, radius, rtol=1e-8
    )


@pytest.mark.parametrize("norm", NORMS)
def test_limits_and_executors_keep_their_word_in_a_box(norm: float) -> None:
    net, x, y = sample(3, M=14)
    truth = robust_radius(net, x, y, norm=norm, box=(0, 1))
    with ThreadPoolExecutor(2) as executor:
        again = robust_radius(net, x, y, norm=norm, box=(0, 1), executor=executor)
    np.testing.assert_array_equal(again.upper, truth.upper)
    np.testing.assert_array_equal(again.perturbation, truth.perturbation)
    short = robust_radius(net, x, y, norm=norm, box=(0, 1), max_nodes=1)
    assert (short.nodes <= truth.nodes.clip(1)).all()
    finite = np.isfinite(truth.upper)
    assert (short.lower <= truth.upper * (1 + 1e-9)).all()
    assert (short.upper >= truth.lower).all()
    epsilon = float(np.median(truth.upper[finite]))
    for factor in (0.5, 1 - 1e-6, 1 + 1e-6, 2.0):
        found = robust_radius(net, x, y, norm=norm, box=(0, 1), stop_at=factor * epsilon)
        robust = truth.lower > factor * epsilon
        assert (found.lower[robust] > factor * epsilon).all()
        assert (found.upper[~robust] <= factor * epsilon).all()


@pytest.mark.parametrize("norm", [2, math.inf])
def test_attacks_in_the_box_stay_above_lower(norm: float) -> None:
    net, x, y = sample(11, d=30, M=10, n=10)
    found = robust_radius(net, x, y, norm=norm, box=(0, 1))
    for factor in (0.9, 1 - 1e-9):
        for i in np.flatnonzero(np.isfinite(found.lower)):
            epsilon, one = factor * found.lower[i], slice(i, i + 1)
            x_adv = pgd_attack(
                net, x[one], y[one], epsilon=epsilon, restarts=3, norm=norm, box=(0, 1), rng=0
            )
            assert (y[one] * net.outputs(x_adv)[:, 0] > 0).all()


@pytest.mark.parametrize("norm", NORMS)
def test_a_box_of_one_point_and_fixed_pixels(norm: float) -> None:
    net = TwoLayerReLU([[1.0, 0.0], [0.0, 1.0]], None, [[1.0, -1.0]])
    x, y = np.array([[3.0, 1.0]]), [1]
    nothing = robust_radius(net, x, y, norm=norm, box=(x[0], x[0]))
    assert nothing.status[0] == "unreachable"
    assert np.isnan(nothing.perturbation).all()
    fixed = robust_radius(net, x, y, norm=norm, box=([3.0, -math.inf], [3.0, math.inf]))
    assert fixed.upper[0] == pytest.approx(2.0, rel=1e-9)
    np.testing.assert_allclose(fixed.perturbation[0], [0.0, 2.0], rtol=1e-9)
    near = robust_radius(net, x, y, norm=norm, box=(0.0, 3.0)).upper[0]
    assert near == pytest.approx({1: 2.0, 2: math.sqrt(2), math.inf: 1.0}[norm], rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": 3}, "norm: expected 1, 2 or numpy.inf, got 3"),
        ({"norm": "inf"}, "norm: expected 1, 2 or numpy.inf"),
        ({"box": (0, 2)}, "x: expected samples in the box"),
        ({"box": (5, 4)}, "box: expected no lo above its hi"),
        ({"box": 1}, "box: expected a pair"),
        ({"box": (math.nan, 4)}, "box: expected finite numbers"),
        ({"box": ([0.0, 0.0, 0.0], 4)}, "box: expected real numbers of shape"),
    ],
)
def test_what_is_refused(options: Any, message: str) -> None:
    net = TwoLayerReLU([[1.0, 0.0], [0.0, 1.0]], None, [[1.0, -1.0]])
    with pytest.raises(ValueError, match=message):
        robust_radius(net, [[3.0, 1.0]], [1], **options)


def test_a_sample_at_a_corner_is_led_along_the_sides() -> None:
    # f = x_1 + x_2 - 1 at (1, 1) in the unit square: only down.
    net = TwoLayerReLU([[1.0, 1.0]], [5.0], [[1.0]], [-6.0])
    for norm, want in ((1, 1.0), (2, math.sqrt(0.5)), (math.inf, 0.5)):
        found = robust_radius(net, [[1.0, 1.0]], [1], norm=norm, box=(0, 1))
        assert found.upper[0] == pytest.approx(want, rel=1e-9)
    # In [3/4, 1]^2 the sum is at least 3/2: nothing is reached.
    far = robust_radius(net, [[1.0, 1.0]], [1], norm=1, box=(0.75, 1))
    assert far.status[0] == "unreachable"


@pytest.mark.parametrize(
    ("net", "x", "y", "options"),
    [
        (
            TwoLayerReLU(
                [[1.0, 2.0], [-2.0, -2.0], [2.0, -1.0]],
                [2.0, -1.0, 0.0],
                [[0.0, -1.0, 1.0], [2.0, 2.0, 1.0]],
                [2.0, -1.0],
            ),
            [-0.5, 1.0],
            1,
            {"decision": "argmax", "norm": 1, "box": (-0.5, 2.0)},
        ),
        (
            TwoLayerReLU(
                [[-1.0, 1.0, -1.0, -1.0], [-2.0, -2.0, 0.0, -2.0]],
                [-1.0, -1.0],
                [[1.0, -2.0]],
                [-2.0],
            ),
            [-1.0, 0.5, 0.5, -1.0],
            -1,
            {"norm": math.inf, "box": ([-2.0, 0.5, 0.5, -math.inf], math.inf)},
        ),
        (
            TwoLayerReLU([[1.0, 2.0]], [0.0], [[-1.0], [0.0]], [1.0, -1.0]),
            [0.0, -0.5],
            -1,
            {"decision": GroupSum([-1, 1]), "norm": 1, "box": (-0.5, 1.0)},
        ),
    ],
    ids=["l1", "linf", "group_sum"],
)
def test_strict_points_are_found_where_a_solver_stops_within_its_tolerance(
    net: TwoLayerReLU, x: Any, y: int, options: Any
) -> None:
    found = robust_radius(net, [x], [y], ties="robust", **options)
    assert found.status.tolist() == ["exact"]
    truth = region_brute_force.radius(
        *(net, np.array(x), y, options.get("decision", "sign"), "robust", options["norm"]),
        [np.array(side) for side in options["box"]],
    )
    assert abs(found.upper[0] - truth) <= CLOSE
    assert found.lower[0] <= truth + CLOSE


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("side", [-20.0, -1.12])
def test_a_tie_that_needs_two_kinks_is_found_where_a_side_holds_a_pixel(
    norm: float, side: float
) -> None:
    # f = 0 only where both neurons are off. The first pixel is held, on one side or on both.
    net = TwoLayerReLU([[0.25, -3.9, 0.46], [-0.55, 1.76, -0.49]], None, [[1.0, 1.0]])
    x = np.array([[-0.09, -0.71, -1.18]])
    for lo, hi in ((x[0, 0], 20.0), (x[0, 0], x[0, 0]), (-20.0, 20.0)):
        box = np.array([lo, -20.0, -20.0]), np.array([hi, 20.0, 20.0])
        found = robust_radius(net, x, [1], norm=norm, box=box)
        assert found.upper[0] <= found.lower[0] * (1 + 1e-6)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("box", [(-3.0, 5.0), (-3.0, math.inf), None])
def test_what_only_ties_reach_is_unreachable_where_ties_are_strict(norm: float, box: Any) -> None:
    net = TwoLayerReLU([[-2.0], [-1.0], [-1.0]], None, [[-1.0, 1.0, -2.0]])  # f = -3 ReLU(-x)
    found = robust_radius(net, [[-1.0], [-2.0]], [-1, -1], ties="robust", norm=norm, box=box)
    assert found.status.tolist() == ["unreachable"] * 2


@pytest.mark.parametrize("norm", NORMS)
@given(seed=seeds)
@examples(5)
def test_weights_of_a_fixed_pixel_do_not_matter(norm: float, seed: int) -> None:
    net, x, y = sample(seed)
    x[:, 0] = 0.0
    W = np.where(np.arange(net.dim) == 0, 2.0**40, 1.0) * net.W
    huge = TwoLayerReLU(W, net.bias, net.A, net.c)
    box = np.zeros(net.dim), np.append(0.0, np.ones(net.dim - 1))
    options: Any = {"decision": "sign", "norm": norm, "box": box}
    found, plain = (robust_radius(one, x, y, **options) for one in (huge, net))
    np.testing.assert_array_equal(found.status, plain.status)
    np.testing.assert_allclose(found.lower, plain.lower, rtol=1e-8)
    np.testing.assert_allclose(found.upper, plain.upper, rtol=1e-8)


def test_splits_are_finite_where_a_box_is_open() -> None:
    net = TwoLayerReLU([[1.0, -2.0], [-1.0, 3.0]], None, [[1.0, -1.0]])
    space = Space.of(net, 2, (np.zeros(2), np.full(2, math.inf)))
    x = np.array([0.5, 0.25])
    around = space.around(x, net.preactivations(x[None])[0], np.abs(net.W) @ x)
    around.resize(2.0)
    assert np.isfinite(around.split(net.W).rest).all()


def test_ends_are_in_the_box_and_are_sums_where_differences_round():
    lo, hi = np.array([-2.0]), np.array([0.1])
    space = Space.of(TwoLayerReLU([[1.0]], None, [[1.0]]), 2, (lo, hi))
    x = np.array([[-1.0]])
    assert x + (hi - x) > hi  # -1 + 1.1 is 0.1 and an ulp of 1
    end, p = space.end(x, np.array([[5.0]]))
    np.testing.assert_array_equal(end, x + p)
    assert 0.1 - 2.0**-52 < end[0, 0] <= 0.1
