"""Radii at the limits of float64: underflow, ties that only rationals see, and far-off networks."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
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
