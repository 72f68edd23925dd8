"""Walks from piece to piece: their steps are projections, and their bounds are bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from refimpl import GroupMax, TwoLayerReLU, robust_radius
from refimpl.radius.region import Space
from refimpl.radius.support import nearest_on
from refimpl.walks import Walks

NORMS = (1, 2, math.inf)


def walked(net, x, norm=2, box=None):
    d = net.dim
    sides = None if box is None else (np.full(d, box[0]), np.full(d, box[1]))
    y, z = np.ones(len(x), np.int64), net.preactivations(x)
    walks = Walks(Space.of(net, norm, sides), net, "sign", x, y, z)
    return walks.around(16, 10, np.random.default_rng(0))


@pytest.mark.parametrize("norm", NORMS)
def test_the_nearest_point_of_a_half_space_by_hand(norm):
    size, cap = np.array([[3.0, 4.0]]), np.array([[math.inf, 1.0]])
    delta, length = nearest_on(norm, np.array([10.0]), size, cap)
    # 4 delta_2 is 4 at most, so that 3 delta_1 is 6 at least; in l_inf both would be 10 / 7.
    np.testing.assert_allclose(delta, [[2.0, 1.0]], rtol=1e-12)
    by_hand = {1: 3.0, 2: math.sqrt(5), math.inf: 2.0}
    assert length[0] == pytest.approx(by_hand[norm], rel=1e-12)
    assert nearest_on(norm, np.array([10.0]), size, np.ones((1, 2)))[1].tolist() == [math.inf]


@pytest.mark.parametrize(("norm", "box"), [(2, None), (2, (-1, 1)), (math.inf, (-1, 1)), (1, None)])
def test_points_that_are_met_are_no_nearer_than_the_radius(norm, box):
    rng = np.random.default_rng(3)
    net = TwoLayerReLU(rng.standard_normal((10, 5)), rng.standard_normal(10), -np.ones((1, 10)),
                       [8.0])  # fmt: skip
    x = rng.uniform(-0.5, 0.5, (6, 5))
    x = x[net.predict(x, "sign") == 1]
    pieces = walked(net, x, norm, box)
    radii = robust_radius(net, x, np.ones(len(x), np.int64), norm=norm, box=box)
    assert pieces.met.any()
    assert (pieces.bound[pieces.met] >= radii.lower[pieces.sample[pieces.met]] * (1 - 1e-9)).all()
    # All neurons count against the sample: no kinks to zigzag at, and the best walk is optimal.
    best = [pieces.bound[pieces.met & (pieces.sample == i)].min() for i in range(len(x))]
    assert np.median(best / radii.upper) <= 1 + 1e-9


def test_no_piece_is_visited_twice():
    rng = np.random.default_rng(5)
    net = TwoLayerReLU(rng.standard_normal((8, 4)), None, rng.standard_normal((1, 8)))
    pieces = walked(net, rng.standard_normal((5, 4)))
    names = {(i, t, on.tobytes()) for i, t, on in zip(*pieces[:3], strict=True)}
    assert len(names) == len(pieces.bound)


def test_walks_start_behind_kinks_where_the_network_is_flat():
    net = TwoLayerReLU([[1.0], [-1.0]], [-1.0, -3.0], [[-1.0, -1.0]], [0.5])
    pieces = walked(net, np.zeros((1, 1)))  # f is 1/2 in [-3, 1], and 0 at 3/2 and -7/2
    assert pieces.bound[pieces.met].min() == pytest.approx(1.5, rel=1e-12)


def test_walks_through_inner_products_or_through_weights_take_the_same_steps():
    rng = np.random.default_rng(6)
    net = TwoLayerReLU(rng.standard_normal((8, 4)), rng.standard_normal(8),
                       rng.standard_normal((3, 8)))  # fmt: skip
    x = rng.standard_normal((5, 4))
    y, z = net.predict(x, "argmax"), net.preactivations(x)
    walks = Walks(Space.of(net, 2, None), net, "argmax", x, y, z)
    pieces = walks.around(8, 3, np.random.default_rng(0))
    assert walks.through_gram
    c, bound, row, t = walks.step(pieces, np.full(5, math.inf))
    ends, distance, again, same = walks._preactivations(pieces, np.full(5, math.inf))
    np.testing.assert_array_equal(again, row)
    np.testing.assert_allclose(same[bound < 1e3], t[bound < 1e3], rtol=1e-9)
    near = bound < 1e3  # where all neurons that are on cancel, rounding decides how far
    np.testing.assert_allclose(distance[near], bound[near], rtol=1e-9)
    np.testing.assert_allclose(ends[near], (z[pieces.sample] + c @ walks.U.T)[near], atol=1e-9)


def test_labels_with_different_numbers_of_constraints_are_padded():
    rng = np.random.default_rng(7)
    net = TwoLayerReLU(
        rng.standard_normal((8, 4)), rng.standard_normal(8), rng.standard_normal((4, 8))
    )
    decision = GroupMax([1, 1, 1, -1])
    x, y = rng.standard_normal((6, 4)), np.array([1, -1] * 3)
    walks = Walks(Space.of(net, 2, None), net, decision, x, y, net.preactivations(x))
    assert walks.beta.shape == (4, 3)  # -1: three targets of one row; 1: one target of three
    assert walks.aims.tolist() == [[3, 4], [0, 3]] * 3
    assert (walks.alpha[:3] == walks.alpha[:3, :1]).all()
    np.testing.assert_allclose(walks.alpha[3], net.A[:3] - net.A[3], rtol=1e-15)


def test_targets_far_from_the_sample_have_no_more_walks():
    net = TwoLayerReLU([[1.0], [-1.0]], [1.0, -9.0], [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    x = np.array([[1.0]])  # outputs 2, 0 and 0: class 1 at -1, class 2 beyond -9
    walks = Walks(Space.of(net, 2, None), net, "argmax", x, np.array([0]), net.preactivations(x))
    pieces = walks.around(8, 4, np.random.default_rng(0))
    assert pieces.bound[pieces.met].min() == pytest.approx(2.0, rel=1e-12)
