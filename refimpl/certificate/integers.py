"""Exact linear algebra in Python's integers: dyadic numbers, products, signs of Schur complements.

A matrix of floats is one of integers divided by a power of two. The product of two such matrices
is a sum of products of matrices of small digits, which float64's matrix product gets right.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from refimpl._arrays import Array
from refimpl.network import TwoLayerReLU

Integers = np.ndarray[Any, Any]  # objects: int

_MOST_DIGITS = 24  # beyond it, Python's own products are faster
_SMALL = 4096  # of products, below which they are too
_FRACTION_BITS = 52  # of the factor's entries
_WEIGHTS: WeakKeyDictionary[TwoLayerReLU, tuple[Integers, int]] = WeakKeyDictionary()


def of_floats(array: Array) -> tuple[Integers, int]:
    """Integers (of any size) and a shift >= 0 with array = integers / 2^shift exactly."""
    mantissa, exponent = np.frexp(array)
    shift = max(0, 53 - int(exponent.min(initial=53)))
    integers = (mantissa * 2.0**53).astype(np.int64).astype(object)
    return shifted(integers, (exponent - 53 + shift).astype(object)), shift


def weights(net: TwoLayerReLU) -> tuple[Integers, int]:
    """W in integers, worked out once for each network."""
    if net not in _WEIGHTS:
        _WEIGHTS[net] = of_floats(net.W)
    return _WEIGHTS[net]


def of_dyadic(fractions: Iterable[Fraction]) -> tuple[Integers, int]:
    """Do the same for fractions whose denominators are powers of two."""
    values = list(fractions)
    shift = max((value.denominator.bit_length() - 1 for value in values), default=0)
    return np.array([int(value * 2**shift) for value in values], dtype=object), shift


def as_float(integer: int, shift: int) -> float:
    """About integer / 2^shift; inf beyond the range of floats."""
    extra = max(integer.bit_length() - 64, 0)
    try:
        return math.ldexp(integer >> extra, extra - shift)
    except OverflowError:
        return math.inf


as_floats = np.frompyfunc(as_float, 2, 1)


def shifted(integers: Any, shift: Any) -> Any:
    """integers 2^shift, for shifts >= 0."""
    return integers << shift


def product(X: Integers, Y: Integers) -> Integers:
    """X Y exactly."""
    inner = X.shape[1]
    bits = (53 - max(inner - 1, 1).bit_length()) // 2
    longest = max(_bits(X), _bits(Y))
    if longest > _MOST_DIGITS * bits or X.size * Y.shape[1] < _SMALL:
        return X @ Y
    x, y = (_digits(matrix, bits) for matrix in (X, Y))
    result = np.zeros((len(X), Y.shape[1]), dtype=object)
    for place in range(len(x) + len(y) - 1):
        pairs = range(max(0, place - len(y) + 1), min(place + 1, len(x)))
        total = sum((x[i] @ y[place - i]).astype(np.int64) for i in pairs)
        result = result + (np.asarray(total).astype(object) << (bits * place))
    return result


def _bits(matrix: Integers) -> int:
    """Bits of the largest entry."""
    return int(np.abs(matrix).max(initial=0)).bit_length()


def _digits(matrix: Integers, bits: int) -> list[Array]:
    """Digits of base 2^bits with the sign of the entry, the least significant first."""
    size, sign = np.abs(matrix), np.where(matrix < 0, -1.0, 1.0)
    found = []
    while size.any():
        found.append(sign * (size & ((1 << bits) - 1)).astype(np.float64))
        size = size >> bits
    return found or [np.zeros(matrix.shape)]


class Limits(NamedTuple):
    """Of what is worth doing: a matrix's order, and the bits of an elimination's integers."""

    order: float = math.inf
    bits: float = math.inf


UNLIMITED = Limits()


class LimitError(Exception):
    """A row needs more than the limits allow."""


class Bordered(NamedTuple):
    """Matrices [[beta_i, h_i^T], [h_i, C]], C = block / 2^scale (n,n), h = sides / 2^shift."""

    block: Integers
    scale: int
    sides: Integers
    shift: int
    betas: list[Fraction]


def schur_signs(matrices: Bordered, limits: Limits = UNLIMITED) -> list[int] | None:
    """Signs of beta_i - h_i^T C^-1 h_i, or None if C is not positive definite.

    The signs are those of exact arithmetic. With y near C^-1 h and e = h - C y,
    beta - h^T C^-1 h = beta - <y, h + e> - e^T C^-1 e, and the last term lies between 0 and a bound
    that comes with the proof that C is definite. Elimination is for what this leaves open.

    Raises `LimitError` where its integers would have more bits than the limits allow.
    """
    scaled = _unit_diagonal(matrices)
    if scaled is None:
        return None
    approximate, integers, place, exponents = scaled
    margin = _dominance(approximate, integers, place)
    if margin is None:
        if _has_negative_direction(approximate, integers):
            return None
        return eliminate(matrices, limits)
    signs = _signs_by_residuals(matrices, approximate, integers, place, exponents, margin)
    open_ = [i for i, sign in enumerate(signs) if sign is None]
    if open_:
        rest = matrices._replace(
            sides=matrices.sides[open_], betas=[matrices.betas[i] for i in open_]
        )
        for i, sign in zip(open_, eliminate(rest, limits) or (), strict=True):
            signs[i] = sign
    return [sign for sign in signs if sign is not None]


def _unit_diagonal(matrices: Bordered) -> tuple[Array, Integers, int, Integers] | None:
    """C_ij 2^(e_i + e_j) with a diagonal in [1/2, 4): as floats, as integers / 2^place, and e.

    None where an entry of the diagonal is not positive, or one beside it so large that C is not
    definite.
    """
    block, scale = matrices.block, matrices.scale
    diagonal = block.diagonal()
    if not all(entry > 0 for entry in diagonal):
        return None
    exponents = np.array([-((entry.bit_length() - scale) // 2) for entry in diagonal], dtype=object)
    shifts = exponents[:, None] + exponents
    place = max(0, -int(shifts.min())) + scale
    integers = block << (shifts + (place - scale))
    approximate = as_floats(integers, place).astype(np.float64)
    return (approximate, integers, place, exponents) if (np.abs(approximate) < 4).all() else None


def _dominance(approximate: Array, integers: Integers, place: int) -> Integers | None:
    """Integers m > 0 such that C - diag(m) / 2^place is positive semidefinite, or None.

    With a factor L as floats give it, C - L L^T is diagonally dominant, and m is by how much.
    """
    n = len(integers)
    try:
        factor = np.linalg.cholesky(approximate - 16 * n**2 * 2.0**-53 * np.eye(n))
    except np.linalg.LinAlgError:
        return None
    L = np.rint(np.ldexp(factor, _FRACTION_BITS)).astype(np.int64).astype(object)
    more = max(2 * _FRACTION_BITS - place, 0)
    rest = (integers << more) - (product(L, L.T) << (place + more - 2 * _FRACTION_BITS))
    outside = np.abs(rest).sum(axis=1) - np.abs(rest.diagonal())
    margin = (rest.diagonal() - outside) >> more
    return margin if (margin > 0).all() else None


def _has_negative_direction(approximate: Array, integers: Integers) -> bool:
    """Whether x^T C x <= 0 for the x != 0 of the smallest eigenvalue in floats."""
    x, _ = of_floats(np.linalg.eigh(approximate)[1][:, 0])
    return bool(x @ integers @ x <= 0)


def _signs_by_residuals(
    matrices: Bordered,
    approximate: Array,
    integers: Integers,
    place: int,
    exponents: Integers,
    margin: Integers,
) -> list[int | None]:
    """Signs as far as y and e show them."""
    lift = max(0, -int(exponents.min()))
    sides = matrices.sides << (exponents + lift)  # of the scaled C, at 2^(shift + lift)
    Y, fraction = _solutions(approximate, sides, matrices.shift + lift)
    # All at 2^(place + fraction): h, C y and e.
    h = sides << (place + fraction)
    e = h - (product(integers, Y.T).T << (matrices.shift + lift))
    depth = matrices.shift + lift + place + fraction
    signs: list[int | None] = []
    for beta, y, h_i, e_i in zip(matrices.betas, Y, h, e, strict=True):
        value = beta - Fraction(int(y @ (h_i + e_i)), 1 << (depth + fraction))
        squares = sum(-((-(k * k) << place) // m) for k, m in zip(e_i, margin, strict=True))
        least = value - Fraction(int(squares), 1 << (2 * depth))
        if least > 0:
            signs.append(1)
        elif value < 0 or (value == 0 and e_i.any()):
            signs.append(-1)
        else:
            signs.append(0 if least == value else None)
    return signs


def _solutions(approximate: Array, sides: Integers, shift: int) -> tuple[Integers, int]:
    """About C^-1 h for each row h of sides / 2^shift, as integers / 2^fraction."""
    length = [max(int(size).bit_length(), 1) for size in np.abs(sides).max(axis=1)]
    near = np.array([as_floats(row, bits) for row, bits in zip(sides, length, strict=True)])
    Y = np.linalg.solve(approximate, near.astype(np.float64).T).T
    _, tops = np.frexp(np.abs(Y).max(axis=1))
    mantissas = np.rint(np.ldexp(Y, _FRACTION_BITS - tops[:, None])).astype(np.int64)
    # Row i of `near` is h 2^(shift - length_i), and 52 - tops_i bits follow the point in Y.
    places = _FRACTION_BITS - tops.astype(object) + shift - np.array(length, dtype=object)
    fraction = max(0, *places)
    return mantissas.astype(object) << (fraction - places)[:, None], fraction


def eliminate(matrices: Bordered, limits: Limits = UNLIMITED) -> list[int] | None:
    """Find the signs by elimination without fractions (Bareiss): n^3 products of long integers.

    Its last integers are determinants, about as long as n entries of the block and one other:
    `LimitError` where the limits do not allow so many bits.
    """
    block, scale, sides, shift, betas = matrices
    n = len(block)
    deepest = max((beta.denominator.bit_length() - 1 for beta in betas), default=0)
    up = max(0, shift - scale, -((scale - deepest) // 2))
    corner = [int(beta * 2 ** (scale + 2 * up)) for beta in betas]
    right = sides << (scale - shift + up)
    matrix = np.block([[block, right.T], [right, np.diag(np.array(corner, dtype=object))]])
    if n * _bits(block) + _bits(matrix) > limits.bits:
        raise LimitError
    previous = 1
    for _ in range(n):
        pivot = matrix[0, 0]
        if pivot <= 0:
            return None
        column, row = matrix[1:, :1], matrix[:1, 1:]
        matrix = (pivot * matrix[1:, 1:] - column * row) // previous
        previous = pivot
    return [(entry > 0) - (entry < 0) for entry in matrix.diagonal()]
