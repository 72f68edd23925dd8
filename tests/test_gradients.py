"""Hand-derived gradients against exact differences away from the kinks, and the kinks by hand."""

from __future__ import annotations

from fractions import Fraction

import exact
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import (
    TAYLOR_SLOPE,
    gamma,
    input_gradient_error,
    loss_error,
    parameter_gradient_error,
)

from refimpl import TwoLayerReLU, input_gradient, loss_and_gradients, strategies

STEP = Fraction(1, 10**20)  # far below the margin that `kinks="off"` keeps


@st.composite
def cases(draw, kinks):
    """A network, inputs, and training targets."""
    net = draw(strategies.networks(scales=False))
    x = draw(strategies.inputs(net, kinks=kinks))
    return net, x, draw(strategies.targets(net, len(x)))


def exact_loss(net, x, targets, U, u, step=Fraction(0)):
    """Mean loss at (W + step U, b + step u), in fractions."""

    def moved(values, direction):
        return [
            p + step * q for p, q in zip(exact.vector(values), exact.vector(direction), strict=True)
        ]

    W = [moved(w, row) for w, row in zip(net.W, U, strict=True)]
    parts = W, moved(net.bias, u), exact.matrix(net.A), exact.vector(net.c)
    losses = [
        exact.loss(exact.outputs(*parts, exact.vector(row)), int(target))
        for row, target in zip(x, targets, strict=True)
    ]
    return sum(losses) / len(losses)


@given(cases("off"), st.data())
def test_e11_gradient_along_a_random_direction_is_the_exact_difference(case, data):
    net, x, targets = case
    U = data.draw(strategies.arrays(net.W.shape, limit=2))
    u = data.draw(strategies.arrays((net.n_hidden,), limit=2)) * (net.b is not None)
    ends = [exact_loss(net, x, targets, U, u, step) for step in (STEP, -STEP)]
    expected = float((ends[0] - ends[1]) / (2 * STEP))  # a remainder of the order of STEP^2
    _, gradients = loss_and_gradients(net, x, targets)
    terms = np.append(gradients.W * U, 0.0 if net.b is None else gradients.b * u)
    of_W, of_b = parameter_gradient_error(net, x)
    bound = (of_W * np.abs(U)).sum() + of_b @ np.abs(u) + gamma(terms.size) * np.abs(terms).sum()
    assert abs(terms.sum() - expected) <= bound + 1e-30


@given(cases("any"))
def test_e8_e10_loss_of_the_outputs(case):
    net, x, targets = case
    expected = float(exact_loss(net, x, targets, 0 * net.W, 0 * net.bias))
    loss, _ = loss_and_gradients(net, x, targets)
    assert abs(loss - expected) <= loss_error(net, x, expected) + 1e-50  # 60 digits


@given(cases("off"), st.data())
def test_e12_input_gradient_is_the_exact_difference(case, data):
    net, x, _ = case
    v = data.draw(strategies.cotangents(net, len(x)))
    gradient = input_gradient(net, x, v)
    parts = exact.matrix(net.W), exact.vector(net.bias), exact.matrix(net.A), exact.vector(net.c)
    expected = np.empty_like(x)
    for i, j in np.ndindex(*x.shape):
        cotangent = exact.vector(v if v.ndim == 1 else v[i])
        ends = []
        for step in (STEP, -STEP):
            moved = exact.vector(x[i])
            moved[j] += step
            ends.append(exact.dot(cotangent, exact.outputs(*parts, moved)))
        expected[i, j] = float((ends[0] - ends[1]) / (2 * STEP))  # F is affine here: no remainder
    bound = input_gradient_error(net, v) + 2.0**-52 * np.abs(expected)
    assert (np.abs(gradient - expected) <= bound).all()


@pytest.mark.parametrize("n_outputs", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_e11_taylor_remainder_is_of_second_order(n_outputs, seed):
    rng = np.random.default_rng(seed)
    net = TwoLayerReLU(rng.normal(size=(6, 4)), rng.normal(size=6), rng.normal(size=(n_outputs, 6)))
    x = rng.normal(size=(5, 4))
    targets = rng.choice([-1, 1], size=5) if n_outputs == 1 else rng.integers(n_outputs, size=5)
    U, u = rng.normal(size=(6, 4)), rng.normal(size=6)
    loss, gradients = loss_and_gradients(net, x, targets)

    def moved(h):
        return TwoLayerReLU(net.W + h * U, net.b + h * u, net.A)

    def remainder(h):
        slope = (gradients.W * U).sum() + gradients.b @ u
        return loss_and_gradients(moved(h), x, targets)[0] - loss - h * slope

    h = 2.0**-12
    # Preactivations are affine in h: equal signs at both ends mean that no kink lies between.
    np.testing.assert_array_equal(net.preactivations(x) > 0, moved(h).preactivations(x) > 0)
    assert abs(np.log2(remainder(h) / remainder(h / 2)) - 2) < TAYLOR_SLOPE


@given(cases("on"), st.data())
def test_at_a_kink_the_neuron_counts_as_off(case, data):
    net, x, targets = case
    v = data.draw(strategies.arrays((net.n_outputs,)))
    for row, target in zip(x[:, None], targets, strict=True):
        off = net.preactivations(row)[0] == 0
        assert off.any()
        without = TwoLayerReLU(net.W, net.b, np.where(off, 0.0, net.A), net.c)
        np.testing.assert_array_equal(input_gradient(net, row, v), input_gradient(without, row, v))
        loss, got = loss_and_gradients(net, row, [target])
        same_loss, expected = loss_and_gradients(without, row, [target])
        assert loss == same_loss
        np.testing.assert_array_equal(got.W, expected.W)
        assert not got.W[off].any()


def test_kinks_by_hand():
    # f = 2 ReLU(x1) - 3 ReLU(x1 + x2 - 1) at (0, 1): both neurons exactly at 0.
    net = TwoLayerReLU([[1, 0], [1, 1]], [0, -1], [[2, -3]])
    assert input_gradient(net, [[0, 1], [1, 1], [-1, 1]], [1]).tolist() == [
        [0, 0],
        [-1, -3],
        [0, 0],
    ]
    loss, gradients = loss_and_gradients(net, [[0, 1]], [1])
    assert loss == np.log(2)
    assert not gradients.W.any()
    assert not gradients.b.any()


def test_e11_by_hand_in_two_classes():
    # F = (ReLU(x1), ReLU(x2)) at (1, 1), class 0: softmax (1/2, 1/2), dL/dF = (-1/2, 1/2).
    net = TwoLayerReLU(np.eye(2), None, np.eye(2))
    loss, gradients = loss_and_gradients(net, [[1, 1]], [0])
    assert loss == np.log(2)
    assert gradients.W.tolist() == [[-0.5, -0.5], [0.5, 0.5]]
    assert gradients.b is None


@given(cases("any"))
def test_gradients_are_means_over_samples(case):
    net, x, targets = case
    _, gradients = loss_and_gradients(net, x, targets)
    rows = [
        loss_and_gradients(net, row, [target])[1].W
        for row, target in zip(x[:, None], targets, strict=True)
    ]
    bound = 2 * parameter_gradient_error(net, x)[0]
    assert (np.abs(gradients.W - np.mean(rows, axis=0)) <= bound).all()


@given(cases("any"), st.data())
def test_one_cotangent_serves_all_rows(case, data):
    net, x, _ = case
    v = data.draw(strategies.arrays((net.n_outputs,)))
    repeated = np.tile(v, (len(x), 1))
    difference = np.abs(input_gradient(net, x, v) - input_gradient(net, x, repeated))
    assert (difference <= 2 * input_gradient_error(net, v)).all()


def test_inputs_are_not_changed():
    net = TwoLayerReLU([[1.0]], [0.0], [[1.0]])
    x, targets, v = np.array([[2.0]]), np.array([1]), np.array([1.0])
    loss_and_gradients(net, x, targets)
    input_gradient(net, x, v)
    assert (x.tolist(), targets.tolist(), v.tolist()) == ([[2.0]], [1], [1.0])


@pytest.mark.parametrize(
    ("x", "targets", "message"),
    [
        ([[1.0]], [1], r"x: expected real numbers of shape \(n, 2\), got shape \(1, 1\)"),
        ([1.0, 2.0], [1], r"x: expected real numbers of shape \(n, 2\), got shape \(2,\)"),
        (np.zeros((0, 2)), [], r"x: expected real numbers of shape \(n, 2\), n at least 1"),
        ([[np.nan, 0]], [1], "x: expected finite numbers, got nan"),
        ([[1j, 0]], [1], "x: expected an array of real numbers, got dtype complex128"),
        ([[1.0, 2.0]], [0], r"targets: expected labels in {-1, \+1}, got 0"),
        ([[1.0, 2.0]], [1, 1], r"targets: expected real numbers of shape \(1,\), got shape \(2,\)"),
        ([[1.0, 2.0]], [[1]], r"targets: expected real numbers of shape \(1,\)"),
        ([[1.0, 2.0]], [True], "targets: expected an array of real numbers, got dtype bool"),
        ([[1.0, 2.0]], ["1"], "targets: expected an array of real numbers, got dtype <U1"),
        ([[1.0, 2.0]], None, "targets: expected an array of real numbers, got dtype object"),
    ],
)
def test_loss_and_gradients_refuses(x, targets, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        loss_and_gradients(TwoLayerReLU([[1.0, 2.0]], None, [[1.0]]), x, targets)


@pytest.mark.parametrize("bad", [[2], [-1], [0.5]])
def test_class_targets_out_of_range(bad):
    net = TwoLayerReLU(np.eye(2), None, np.eye(2))
    with pytest.raises(ValueError, match=r"^targets: expected class integers from 0 to 1, got"):
        loss_and_gradients(net, [[1.0, 1.0]], bad)


@pytest.mark.parametrize(
    "bad", [1.0, [1.0], [1.0, 2.0, 3.0], [[1.0, 2.0]] * 2, [np.inf, 0], ["a", "b"]]
)
def test_cotangents_refused(bad):
    net = TwoLayerReLU(np.eye(2), None, np.eye(2))
    with pytest.raises(ValueError, match=r"^cotangent: expected"):
        input_gradient(net, [[1.0, 1.0]], bad)


def test_ragged_cotangents_are_refused_by_name():
    net = TwoLayerReLU([[1.0]], None, [[1.0], [1.0]])
    with pytest.raises(ValueError, match="cotangent: expected an array"):
        input_gradient(net, [[1.0]], [[1.0], [1.0, 2.0]])


def test_gradients_that_overflow_are_refused():
    net = TwoLayerReLU([[1e200]], None, [[1e200]])
    with pytest.raises(ValueError, match=r"cotangent: .*gradient, got an overflow"):
        input_gradient(net, [[1e-200]], [1.0])


def test_gradients_of_weights_that_overflow_are_refused():
    net = TwoLayerReLU([[1e-300, 0.0]], [0.0], [[10.0]])
    with pytest.raises(ValueError, match=r"x: .*gradient, got an overflow"):
        loss_and_gradients(net, [[1e308, -1e308]], [-1])


def test_losses_that_overflow_are_refused():
    # One neuron: with two, whether inf - inf comes up is for the matrix product to say.
    net = TwoLayerReLU([[1e200]], None, [[-1e200]])
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"x: .*loss.*overflow"):
        loss_and_gradients(net, [[1.0]], [1])
