"""Losses and their derivatives against 60-digit decimal arithmetic, and where floats overflow."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import cross_entropy_error, logistic_error

from refimpl.losses import cross_entropy, logistic, loss_and_derivative

outputs = st.floats(-60.0, 60.0).map(lambda f: round(f, 6))


def exact_logistic(margin: float) -> tuple[float, float]:
    """log(1 + exp(-margin)) and -sigmoid(-margin), in 60 digits."""
    with localcontext(prec=60):
        e = (-Decimal(margin)).exp()
        return float((1 + e).ln()), float(-e / (1 + e))


def exact_cross_entropy(F: list[float], y: int) -> tuple[float, list[float]]:
    """-log softmax(F)_y and softmax(F) - onehot(y), in 60 digits."""
    with localcontext(prec=60):
        powers = [Decimal(f).exp() for f in F]
        total = sum(powers)
        gradient = [p / total - (t == y) for t, p in enumerate(powers)]
        return float(-(powers[y] / total).ln()), [float(g) for g in gradient]


@given(outputs, st.sampled_from([-1, 1]))
def test_e8_e9_logistic_loss_and_derivative(f, y):
    loss, derivative = logistic(np.array([[f]]), np.array([y]))
    expected, slope = exact_logistic(y * f)
    np.testing.assert_allclose(loss, expected, rtol=logistic_error(f), atol=0)
    np.testing.assert_allclose(derivative, [[y * slope]], rtol=logistic_error(f), atol=0)


@given(st.lists(outputs, min_size=2, max_size=5), st.data())
def test_e10_cross_entropy_and_derivative(F, data):
    y = data.draw(st.integers(0, len(F) - 1))
    loss, derivative = cross_entropy(np.array([F]), np.array([y]))
    expected, slope = exact_cross_entropy(F, y)
    rtol = cross_entropy_error(F)
    np.testing.assert_allclose(loss, expected, rtol=rtol, atol=0)
    np.testing.assert_allclose(derivative, [slope], rtol=rtol, atol=0)


@given(outputs, st.sampled_from([0, 1]))
def test_e10_with_two_classes_is_e8_of_the_difference(f, y):
    two = cross_entropy(np.array([[0.0, f]]), np.array([y]))
    one = logistic(np.array([[f]]), np.array([2 * y - 1]))
    rtol = logistic_error(f) + cross_entropy_error([0.0, f])
    np.testing.assert_allclose(two[0], one[0], rtol=rtol, atol=0)
    np.testing.assert_allclose(two[1][:, 1], one[1][:, 0], rtol=rtol, atol=0)


def test_losses_are_means_over_samples():
    F = np.array([[0.3, -1.0, 2.0], [1.0, 1.0, -4.0]])
    y = np.array([2, 0])
    rows = [exact_cross_entropy(list(f), t) for f, t in zip(F, y, strict=True)]
    loss, derivative = loss_and_derivative(F, y)
    rtol = 2 * cross_entropy_error(F.ravel())
    np.testing.assert_allclose(loss, (rows[0][0] + rows[1][0]) / 2, rtol=rtol)
    np.testing.assert_allclose(derivative, np.array([rows[0][1], rows[1][1]]) / 2, rtol=rtol)
    f, s = np.array([[0.3], [-2.0]]), np.array([1, 1])
    pair = [exact_logistic(margin) for margin in (0.3, -2.0)]
    loss, derivative = loss_and_derivative(f, s)
    np.testing.assert_allclose(loss, (pair[0][0] + pair[1][0]) / 2, rtol=2 * logistic_error(2.0))
    np.testing.assert_allclose(derivative[:, 0], [pair[0][1] / 2, pair[1][1] / 2], rtol=rtol)


@pytest.mark.parametrize("margin", [1e4, 1e8, 1e307])
def test_losses_at_huge_margins_neither_overflow_nor_warn(margin):
    right, wrong = np.array([[margin]]), np.array([[-margin]])
    y = np.array([1])
    assert logistic(right, y) == (0.0, np.array([[0.0]]))
    assert logistic(wrong, y) == (margin, np.array([[-1.0]]))
    F, zero = np.array([[margin, 0.0, -margin]]), np.array([0])
    loss, derivative = cross_entropy(F, zero)
    assert (loss, derivative.tolist()) == (0.0, [[0.0, 0.0, 0.0]])
    loss, derivative = cross_entropy(F, zero + 2)
    assert (loss, derivative.tolist()) == (2 * margin, [[1.0, 0.0, -1.0]])


def test_losses_just_before_underflow_stay_positive():
    y = np.array([1])
    assert logistic(np.array([[700.0]]), y)[0] == pytest.approx(np.exp(-700.0), rel=1e-12)
    assert cross_entropy(np.array([[0.0, 700.0]]), y)[0] == pytest.approx(np.exp(-700.0), rel=1e-12)


def test_inputs_are_not_changed():
    F, y = np.array([[1.0, 2.0]]), np.array([0])
    cross_entropy(F, y)
    assert F.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("far", [60.0, 1e6, 1e9, 2.0**50])
def test_e10_derivative_keeps_its_digits_far_from_zero(far):
    derivative = cross_entropy(np.array([[0.0, far, far + 1.0]]), np.array([0]))[1]
    one = exact_cross_entropy([0.0, 1.0], 0)[1][1]  # sigmoid(1): the first class has no part in it
    expected = [[-1.0, 1.0 - one, one]]
    np.testing.assert_allclose(derivative, expected, rtol=cross_entropy_error([0.0, 1.0]), atol=0)
