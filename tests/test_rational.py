"""Tests of networks in rational arithmetic, against fractions.Fraction entry by entry."""

from __future__ import annotations

import math
from fractions import Fraction

import exact
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl import TwoLayerReLU, _rational, strategies

FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FLOATS, min_size=1, max_size=6))
def test_integers_times_unit_are_the_floats(values):
    whole, unit = _rational.integers(np.array(values))
    assert [number * unit for number in whole] == [Fraction(value) for value in values]
    assert all(type(number) is int for number in whole)


@given(strategies.networks(), st.data())
def test_outputs_equal_fractions(net, data):
    x = data.draw(strategies.inputs(net, max_rows=1))[0]
    parts = (exact.matrix(net.W), exact.vector(net.bias), exact.matrix(net.A), exact.vector(net.c))
    assert _rational.outputs(net, x).tolist() == exact.outputs(*parts, exact.vector(x))


def test_outputs_where_float64_rounds():
    net = TwoLayerReLU([[0.1], [0.3]], None, [[0.3, -0.1]])  # 0 on x >= 0
    assert net.outputs(np.array([[0.7]]))[0, 0] != 0
    assert _rational.outputs(net, np.array([0.7])).tolist() == [0]


@given(st.floats(min_value=0.0, allow_infinity=False))
def test_root_of_a_square_is_exact(value):
    assert _rational.root(Fraction(value) ** 2) == value


@given(st.fractions(min_value=0))
def test_root_is_the_nearest_float(square):
    root = _rational.root(square)
    below, above = math.nextafter(root, 0), math.nextafter(root, math.inf)
    assert (Fraction(below) + Fraction(root)) ** 2 <= 4 * square
    assert 4 * square <= (Fraction(root) + Fraction(above)) ** 2


@pytest.mark.parametrize(
    "square",
    [
        (Fraction(1) + Fraction(1, 2**53)) ** 2,  # the root is a midpoint
        (Fraction(1) + Fraction(1, 2**53)) ** 2 + Fraction(1, 2**400),
        (Fraction(1) + Fraction(3, 2**53)) ** 2 - Fraction(1, 2**400),
        Fraction(1, 3**700),
    ],
)
def test_root_beside_a_midpoint(square):
    root = _rational.root(square)
    below, above = math.nextafter(root, 0), math.nextafter(root, math.inf)
    assert (Fraction(below) + Fraction(root)) ** 2 <= 4 * square
    assert 4 * square <= (Fraction(root) + Fraction(above)) ** 2


def test_beyond_all_floats():
    assert _rational.to_float(Fraction(10) ** 400) == math.inf
    assert _rational.to_float(-(Fraction(10) ** 400)) == -math.inf
    assert _rational.root(Fraction(10) ** 4000) == math.inf
