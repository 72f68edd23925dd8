"""Radii at the limits of float64: underflow, ties that only rationals see, and far-off networks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from effort import share
from exact_radius import pieces, squared_radius

from refimpl import GroupMax, TwoLayerReLU, _rational, robust_radius, verify_certificate


def truth(net: TwoLayerReLU, x: Any, y: int = 1, **options: Any) -> float:
    """The radius by enumeration in rationals."""
    squared = squared_radius(pieces(net, x, y, **options))
    return math.inf if squared is None else _rational.root(squared)


@pytest.mark.parametrize("hidden", [0, -200, -399, -401, -600, -1000])
@pytest.mark.parametrize("output", [0, -200, -249, -251, -600, -1000])
def test_products_that_underflow_are_out_of_range(hidden: int, output: int) -> None:
    """f(x) = 2^(hidden + output) relu(x): r = |x|, or unknown, and never 0 but at x <= 0."""
    net = TwoLayerReLU([[2.0**hidden]], None, [[2.0**output]])
    found = robust_radius(net, [[1.0], [0.0], [-1.0]], [1, 1, 1])
    assert found.lower[0] <= 1 <= found.upper[0]
    assert found.upper[1:].tolist() == [0.0, 0.0]
    near = hidden > -400 and output > -250 and hidden + output > -250
    assert found.status[0] == ("exact" if near else "bounded")


def test_an_output_that_is_negative_beyond_underflow_is_misclassified_out_of_range_too() -> None:
    net = TwoLayerReLU([[1.0], [2.0**-600]], None, [[-1.0, 2.0**-600]])
    found = robust_radius(net, [[1e200], [1.0]], [1, 1])
    assert found.upper.tolist() == [0.0, 0.0]


def test_a_fixed_pixel_of_large_weight_hides_no_underflow() -> None:
    """Beside the weight of a pixel that is fixed the others are 2^-640, and count all the same."""
    t = 2.0**-640
    others, bias = np.array([[0, -1], [2, -2], [1, 2]]), np.array([-1, 1, -3])
    A = np.array([[2.0, -1.0, -3.0]])
    net = TwoLayerReLU(np.column_stack((np.ones(3), t * others)), t * bias, 2.0**200 * A)
    plain = TwoLayerReLU(others, bias, A)  # the same but for scale, without that pixel
    x, lo, hi = np.array([[-1.0, -1.0]]), np.full(2, -3.0), np.ones(2)
    truth = robust_radius(plain, x, [-1], box=(lo, hi))
    assert truth.status[0] == "exact"
    box = np.append(0.0, lo), np.append(0.0, hi)
    found = robust_radius(net, np.insert(x, 0, 0.0, axis=1), [-1], box=box)
    assert found.lower[0] <= truth.upper[0]


def sound(net: TwoLayerReLU, x: Any, y: int = 1, **options: Any) -> Any:
    """Bounds around the radius of the enumeration; only `upper` may be off, by an ulp of x."""
    r = truth(net, x, y, **options)
    found = robust_radius(net, [x], [y], certificates=True, **options)
    ulp = math.ulp(float(np.abs(x).max()))
    assert found.lower[0] <= r <= found.upper[0] + ulp, (found.lower, r, found.upper)
    if found.certificates[0] is not None:
        proof, radius = found.certificates[0], found.lower[0]
        verify_certificate(net, x, y, proof, radius=radius, exact=True, **options)
    return found


def test_a_thin_part_that_is_strictly_adversarial_is_reached() -> None:
    """f = relu(x1) - relu(x1 + x2 / 100) / 2 is negative on x1 = 0, x2 > 0 alone nearby."""
    net = TwoLayerReLU([[1.0, 0.0], [1.0, 0.01]], None, [[1.0, -0.5]])
    found = sound(net, [0.3, -0.7], ties="robust")
    assert found.status[0] == "exact"
    assert found.upper[0] == pytest.approx(math.hypot(0.3, 0.7), rel=1e-9)
    end = np.array([0.3, -0.7]) + found.perturbation
    assert net.outputs(end)[0, 0] < 0


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(share(60)))
def test_nearly_parallel_neurons_under_strict_ties(seed: int) -> None:
    """A strictly adversarial point is found wherever there is any within reach of floats."""
    rng = np.random.default_rng(seed)
    w, gap = rng.integers(-3, 4, 2) + 0.5, 10.0 ** rng.uniform(-6, -1)
    W = np.array([w, w + gap * rng.integers(-3, 4, 2)])
    net = TwoLayerReLU(W, None, [rng.choice([1.0, -0.5, 0.3, -0.7], 2)])
    x = rng.integers(-9, 10, 2) / 10
    y = int(np.sign(net.outputs(x[None])[0, 0])) or 1
    found = sound(net, x, y, ties="robust")
    assert np.isfinite(found.upper[0]) or found.status[0] == "unreachable"


@pytest.mark.parametrize("x", [0.0, 1.0, 1e7, -1e12])
@pytest.mark.parametrize("ties", ["adversarial", "robust"])
def test_unreachable_is_proved_wherever_the_sample_is(x: float, ties: str) -> None:
    constant = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, 1.0]], [1.0])  # f = |x| + 1
    assert sound(constant, [x], ties=ties).status[0] == "unreachable"


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(share(40)))
def test_unreachable_is_proved_for_nets_of_integers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = TwoLayerReLU(
        rng.integers(-3, 4, (3, 2)), rng.integers(-2, 3, 3), [rng.integers(0, 3, 3)], [1.0]
    )
    x = 10.0 ** rng.uniform(-3, 9, 2)
    assert sound(net, x).status[0] == "unreachable"


@pytest.mark.parametrize(
    "scale", [3.0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1.0, 0.7))]
)
@pytest.mark.parametrize("factor", [-1.0, -2.0, -3.0, -0.1, 3.0])
@pytest.mark.parametrize("w", [[0.1, 0.3], [0.3, -0.7], [1.0, 3.0]])
@pytest.mark.parametrize("A", [[1.0, 1.0], [0.3, 0.7]])
def test_ties_through_anti_parallel_neurons(w: Any, factor: float, scale: float, A: Any) -> None:
    """Exact multiples share a line of ties; rounded ones but a wedge, with the origin nearest."""
    W = scale * np.array([w, [factor * w[0], factor * w[1]]])
    net, x = TwoLayerReLU(W, None, [A]), [1.0, 1.0]
    if net.outputs(np.array([x]))[0, 0] <= 0:
        return
    for order in ([0, 1], [1, 0]):
        found = sound(TwoLayerReLU(W[order], None, [np.array(A)[order]]), x)
        if truth(net, x) == math.sqrt(2):  # attained at the origin, a float
            assert found.status[0] == "exact"


def test_the_lower_bound_rises_to_a_wedge_beside_a_line_of_rounded_ties() -> None:
    net = TwoLayerReLU([[0.1, 0.3], [-0.3, -0.9]], None, [[1.0, 1.0]])
    found = sound(net, [1.0, 1.0])
    assert found.status[0] == "exact"
    assert found.certificates[0] is not None  # floats in the proportion that the proof needs
    # Exact multiples: all of the line are ties, the nearest of them no float holds.
    line = TwoLayerReLU([[0.1, 0.3], [-0.2, -0.6]], None, [[1.0, 1.0]])
    found = sound(line, [1.0, 1.0])
    assert found.lower[0] == pytest.approx(0.4 / math.sqrt(0.1), rel=1e-9)


@pytest.mark.parametrize(
    ("w", "factor", "b", "A", "x"),
    [
        ([0.1, 0.7], -0.3, -0.7, [0.3, 0.7], [1.0, 0.3]),
        ([0.2, 0.3], -1.1, 0.3, [1.0, 1.0], [-0.7, -2.1]),
        ([-0.2, -0.3], -1.1, -0.7, [0.7, 0.3], [-0.7, -0.7]),
        ([-0.3, 0.7], -1.1, 0.3, [1.0, 0.3], [-2.1, -0.7]),
        ([-0.9, 0.1], -0.3, -0.7, [1.0, 1.0], [-0.7, 1.0]),
    ],
)
def test_what_rounds_to_a_tie_and_is_beside_none_is_not_taken(
    w: Any, factor: float, b: float, A: Any, x: Any
) -> None:
    """f is 0 as computed at 0.551 and so on, and in truth no nearer than at 1.221 and so on."""
    W = np.array([w, factor * np.array(w)])
    sound(TwoLayerReLU(W, [b, factor * b], [A]), x)


# Small networks and three ways to call an end early. The radii come from all activation patterns in
# rational arithmetic.


def test_halves_that_roots_leave_out_count_in_smaller_balls() -> None:
    net = TwoLayerReLU(
        [[-2, 2, 1], [2, 1, 0], [-2, 0, -2], [1, 2, -2], [-1, 1, -2]],
        [1, 0, -2, -1, -1],
        [[2, 1, -2, 2, -2], [2, 0, -1, 2, 0], [2, -1, 0, 0, -2]],
        [0.2, -0.2, 0],
    )
    found = robust_radius(
        net, [[2.0, 0, 2]], [-1], decision=GroupMax([-1, 1, -1]), tol=0.5, stop_at=3.2
    )
    assert found.lower[0] <= 3.2030288695848003 <= found.upper[0]


@pytest.mark.parametrize("limit", [{"stop_at": 1.5}, {"max_nodes": 1}])
def test_trees_of_an_ended_search_prove_nothing_of_the_halves_that_they_left_out(
    limit: dict[str, Any],
) -> None:
    net = TwoLayerReLU([[1.0], [-1.0], [1.0]], [0, 0, -1.5], [[1, 1, -1.5]], [1e-13])
    assert net.outputs([[4.6]])[0] < 0
    found = robust_radius(net, [[1.0]], [1], tol=0, **limit)
    assert found.status[0] != "unreachable"
    assert found.lower[0] <= 3.5000000000003


def test_a_batch_of_several_targets_ends_at_the_limit_of_nodes() -> None:
    net = TwoLayerReLU(
        [[1.0], [2.0], [0.0], [-1.0], [-1.0]],
        [-1, -1, -2, -1, -2],
        [[-1, 2, 2, -2, 1], [-1, 2, -1, -2, 0], [2, 1, -2, 2, -1], [1, 0, -2, 2, 0]],
        [-2, -1, 1, 0],
    )
    found = robust_radius(net, [[0.0]], [2], decision="argmax", max_nodes=4, time_limit=60)
    assert found.nodes[0] <= 5  # one more, of another target
