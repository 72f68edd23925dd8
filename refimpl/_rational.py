"""Networks in rational arithmetic, for what rounding would leave in doubt.

Floats are integers times powers of two, so that sums of products are sums of products of integers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from refimpl._arrays import Array
from refimpl.network import TwoLayerReLU

Fractions = np.ndarray[Any, Any]
fractions: Callable[[Any], Fractions] = np.frompyfunc(Fraction, 1, 1)


def integers(values: Array) -> tuple[np.ndarray[Any, Any], Fraction]:
    """Return integers and a unit whose products are the given floats exactly.

    >>> integers(np.array([0.5, -3.0]))
    (array([1, -6], dtype=object), Fraction(1, 2))
    """
    mantissa, exponent = np.frexp(values)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    exponent = exponent - 53
    low = int(exponent[whole != 0].min()) if whole.any() else 0
    pairs = zip(whole.ravel().tolist(), exponent.ravel().tolist(), strict=True)
    shifted = [number << (power - low) if number else 0 for number, power in pairs]
    common = math.gcd(*shifted) or 1
    result = np.array([number // common for number in shifted], dtype=object)
    return result.reshape(values.shape), common * Fraction(2) ** low


def product(matrix: Array, vector: Array) -> Fractions:
    """Return matrix @ vector exactly.

    >>> product(np.array([[0.1, -0.1]]), np.array([3.0, 3.0])).tolist()
    [Fraction(0, 1)]
    """
    rows, unit = integers(matrix)
    column, scale = integers(vector)
    return fractions(rows @ column) * (unit * scale)


def preactivations(net: TwoLayerReLU, x: Array | Fractions) -> Fractions:
    """z_r (M,) of one sample x (d,), floats or fractions, exactly."""
    return (fractions(net.W) @ x if x.dtype == object else product(net.W, x)) + fractions(net.bias)


def outputs(net: TwoLayerReLU, x: Array | Fractions) -> Fractions:
    """F (K,) of one sample x (d,), floats or fractions, exactly."""
    return fractions(net.A) @ np.maximum(preactivations(net, x), 0) + fractions(net.c)


def root(square: Fraction) -> float:
    """Square root of a number of at least 0, correctly rounded.

    >>> root(Fraction(1, 4)), root(Fraction(2)) == math.sqrt(2)
    (0.5, True)
    """
    if not square:
        return 0.0
    size = square.numerator.bit_length() - square.denominator.bit_length()
    shift = max(0, 160 - size) // 2
    whole = math.isqrt(square.numerator * 4**shift // square.denominator)
    # The digit that says "and a little more" keeps a root beside a midpoint on its side.
    whole = 2 * whole + (Fraction(whole * whole, 4**shift) != square)
    return to_float(Fraction(whole, 2 ** (shift + 1)))


def to_float(number: Fraction) -> float:
    """Nearest float, inf where that is beyond all floats."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf
