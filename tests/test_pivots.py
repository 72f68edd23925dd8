"""Pivots find what one piece has, and never say that a point is nearer than it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl import GroupMax, TwoLayerReLU, decisions, robust_radius
from refimpl.pivots import polish
from refimpl.radius.geometry import targets_of
from refimpl.radius.incumbent import Incumbent
from refimpl.radius.region import Space
from refimpl.radius.relaxation import relax
from refimpl.walks import Walks

BOXES = [None, (-1.0, 1.0)]


def walked(net, decision, x, box):
    sides = None if box is None else (np.full(net.dim, box[0]), np.full(net.dim, box[1]))
    y, z = net.predict(x, decision), net.preactivations(x)
    walks = Walks(Space.of(net, 2, sides), net, decision, x, y, z)
    return walks, walks.around(8, 4, np.random.default_rng(0)), y


def everything(walks, pieces):
    return polish(walks, pieces, np.full(len(walks.x), math.inf))


def convex(seed, n_hidden):
    """A network whose positive samples have one piece alone: all neurons count for them."""
    rng = np.random.default_rng(seed)
    W, b = rng.standard_normal((n_hidden, 5)), 0.3 * rng.standard_normal(n_hidden)
    slope = np.array([[1.0, 0.2, 0.0, 0.0, 0.0]])  # f = sum a ReLU + <slope, x>, by two neurons
    net = TwoLayerReLU(np.vstack([W, slope, -slope]), np.append(b, [0.0, 0.0]),
                       [[*rng.random(n_hidden) / n_hidden, 1.0, -1.0]], [-0.1])  # fmt: skip
    x = rng.uniform(-1, 1, (40, 5))
    return net, x[(net.predict(x, "sign") == 1) & (x @ slope[0] > 0.5)][:8]


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("n_hidden", [4, 8, 20])
def test_a_convex_piece_is_solved_with_its_kinks(n_hidden, box):
    net, x = convex(n_hidden, n_hidden)
    walks, pieces, y = walked(net, "sign", x, box)
    found = everything(walks, pieces)
    radii = robust_radius(net, x, y, box=box)
    least = np.full(len(x), math.inf)
    np.minimum.at(least, found.pieces.sample, found.distance)
    np.testing.assert_allclose(least, radii.upper, rtol=1e-8)
    assert found.pieces.kink.any()  # or there was nothing to show


@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("decision", ["sign", "argmax", GroupMax([1, 1, -1])])
def test_points_are_adversarial_where_it_says_and_as_far_as_it_says(decision, box):
    rng = np.random.default_rng(2)
    A = rng.standard_normal((1 if decision == "sign" else 3, 12))
    net = TwoLayerReLU(rng.standard_normal((12, 6)), rng.standard_normal(12), A)
    x = rng.uniform(-1, 1, (10, 6))
    walks, pieces, y = walked(net, decision, x, box)
    found = everything(walks, pieces)
    found = found.take(np.isfinite(found.distance))
    assert len(found.distance) > len(x)
    delta = found.c if box else -found.q @ net.W
    np.testing.assert_allclose(np.linalg.norm(delta, axis=1), found.distance, rtol=1e-9)
    sample = found.pieces.sample
    margin = decisions.margin(net.outputs(x[sample] + delta), y[sample], decision)
    assert (margin <= 0).all()
    radii = robust_radius(net, x, y, decision=decision, box=box)
    assert (found.distance >= radii.lower[sample] * (1 - 1e-9)).all()


@pytest.mark.parametrize("box", BOXES)
def test_it_is_at_least_as_near_as_a_piece_that_is_solved_alone(box):
    """Pieces with all their multipliers, one by one, by the solver of the exact search."""
    rng = np.random.default_rng(4)
    net = TwoLayerReLU(rng.standard_normal((10, 5)), rng.standard_normal(10),
                       rng.standard_normal((1, 10)))  # fmt: skip
    x = rng.uniform(-1, 1, (6, 5))
    walks, pieces, y = walked(net, "sign", x, box)
    near, compared = [], 0
    for k in range(len(pieces.sample)):
        piece = pieces.take(np.array([k]))
        found = everything(walks, piece)
        i = int(piece.sample[0])
        size = np.abs(net.W) @ np.abs(x[i]) + np.abs(net.bias)
        ball = walks.space.around(x[i], walks.z[i], size)
        ball.resize(1e3)
        incumbent = Incumbent(ball, targets_of(net, int(y[i]), "sign"), "adversarial", None)
        problem = incumbent.problems[0]
        alone = relax(ball, problem.target, ball.piece(piece.on), problem.pool, [problem.planes],
                      math.inf)  # fmt: skip
        if alone.feasible[0] and np.isfinite(found.distance[0]):
            compared += 1
            near.append(found.distance[0] <= ball.length(alone.v[0]) * (1 + 1e-8))
    assert compared > 10
    # Its first pivots move branching neurons, too, and may leave for a piece that is farther.
    assert np.mean(near) >= 0.5


def test_parallel_neurons_at_one_kink_share_a_multiplier():
    # f = 2 - x_1 + 2 |x_2 - x_1 / 2| is at most 0 in a cone, and (1, 3/5) is nearest to its apex,
    # which is (2, 1).
    W, A = [[-0.5, 1.0], [0.5, -1.0], [1.0, 0.0]], [[2.0, 2.0, -1.0]]
    net, x = TwoLayerReLU(W, None, A, [2.0]), np.array([[1.0, 0.6]])
    walks, pieces, _ = walked(net, "sign", x, None)
    found = everything(walks, pieces)
    np.testing.assert_allclose(found.distance.min(), math.sqrt(1.16), rtol=1e-9)


def test_a_piece_without_points_is_not_met():
    net = TwoLayerReLU([[1.0]], None, [[1.0]], [1.0])  # f >= 1
    walks, pieces, _ = walked(net, "sign", np.array([[2.0]]), None)
    assert not np.isfinite(everything(walks, pieces).distance).any()
