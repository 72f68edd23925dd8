"""Points of ties beside a point, on coordinates that floats hold (E32).

Where no point is strictly adversarial, as for f = |z|, the endpoint of a perturbation must lie on
the tie exactly, as the network computes it. Three kinds of points beside it are tried:

- a little farther out on the same ray;
- with the neurons that are at their kinks, z_r = 0, pushed below it: f may be 0 where they all are
  off;
- rounded to short binary coordinates, as they are or moved onto the kinks. Where the weights are
  short binary numbers too, products and sums of these are exact, and so is the tie.

What rounds to a tie need not be beside one: where the weights of two neurons are multiples of each
other but for their last bits, f may be 0 in floats along a line and in truth at its end alone. A
point is taken only if it, or the point on the exact kinks within rounding of it, is adversarial in
rational arithmetic too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from refimpl._arrays import Array
from refimpl._rational import Fractions, fractions
from refimpl.network import TwoLayerReLU
from refimpl.radius.geometry import UNIT, Flags
from refimpl.radius.points import Question

_BITS = (40, 34, 28, 20, 10, 0)
_LARGEST = 2000  # coefficients that are worth solving for in fractions
_MANY = 10  # rows, where they have that many coefficients together
_SHORT = 2**16  # of weights, times a power of two


def neighbours(net: TwoLayerReLU, x: Array, perturbation: Array, loose: Flags) -> Array:
    """Endpoints (s,d) near x + perturbation, that one first; kinks are left along `loose` (d,)."""
    end = x + perturbation
    points = [end, *(x + perturbation * (1 + 2.0**-bits) for bits in (50, 46, 42, 38, 34))]
    size = np.abs(x) + np.abs(end)
    scale = 2.0 ** np.ceil(np.log2(size.max() or 1.0))
    reach = np.abs(net.W) @ size + np.abs(net.bias)
    near = (np.abs(net.W @ end + net.bias) <= 2.0**-30 * reach) & net.W.any(axis=1)
    if near.any():
        z = net.W[near] @ end + net.bias[near]
        for units in (8, 64):
            depth = units * net.dim * UNIT * reach[near]
            points.append(end - np.linalg.lstsq(net.W[near] * loose, z + depth, rcond=None)[0])
    for bits in _BITS:
        grid = scale * 2.0**-bits
        points.append(np.round(end / grid) * grid)
        moved = _onto_kinks(net.W[near], net.bias[near], end, Fraction(grid))
        if moved is not None:
            points.append(moved)
    return np.array(points)


def is_beside(question: Question, end: Array, y: int) -> bool:
    """Whether a point within rounding of `end` is adversarial in rationals."""
    if question.truly_adversarial(end, y):
        return True
    net, largest = question.net, float(np.abs(end).max())
    reach = np.abs(net.W) @ np.abs(end) + np.abs(net.bias)
    noise = 2 * (net.dim + 2) * UNIT * reach
    near = (np.abs(net.W @ end + net.bias) <= noise) & net.W.any(axis=1)
    moved = _solution(net.W[near], net.bias[near], end)
    if moved is None:
        return False
    # Its largest weight moves a neuron to 0 within d noise / reach of the largest coordinate.
    bound = Fraction(8 * (net.dim + 2) ** 2 * UNIT * largest)
    far = any(abs(p - Fraction(q)) > bound for p, q in zip(moved, end, strict=True))
    return not far and question.truly_adversarial(moved, y)


def _solution(W: Array, b: Array, end: Array) -> Fractions | None:
    """Point p with W p + b = 0 exactly that differs from `end` in one coordinate a row, or None."""
    if not 0 < W.size * len(W) <= _LARGEST * _MANY:
        return None
    rows, meet = _eliminate(W, b, lambda row: int(np.argmax(np.abs(row))))
    return _on(rows, fractions(end)) if meet else None


def _onto_kinks(W: Array, b: Array, end: Array, grid: Fraction) -> Array | None:
    """Point on the grid, but for one coordinate a row, with W x + b = 0 exactly."""
    if not 0 < W.size <= _LARGEST or not all(_is_short(row) for row in W):
        return None

    def choose(row: Fractions) -> int:  # a power of two divides without a remainder
        odd = [(_odd(value.numerator), abs(value), j) for j, value in enumerate(row) if value]
        return min(odd)[-1]

    rows, _ = _eliminate(W, b, choose)
    denominators = [_odd(value.denominator) for row in rows.values() for value in row]
    step = grid * math.lcm(*denominators)
    rounded = [round(Fraction(value) / step) * step for value in end]
    return _on(rows, np.array(rounded, dtype=object)).astype(np.float64)


def _eliminate(
    W: Array, b: Array, choose: Callable[[Fractions], int]
) -> tuple[dict[int, Fractions], bool]:
    """Solve W p = -b for one chosen coordinate a row; tell whether the other rows agree.

    The rows (d + 1,) that are left have 1 there, and 0 where others were solved.
    """
    rows = [fractions(row) for row in np.column_stack([W, -b])]
    pivots: dict[int, int] = {}
    meet = True
    for i in range(len(rows)):
        if not rows[i][:-1].any():
            meet &= not rows[i][-1]
            continue
        pivot = choose(rows[i][:-1])
        rows[i] = rows[i] / rows[i][pivot]
        pivots[pivot] = i
        for k in range(len(rows)):
            if k != i and rows[k][pivot]:
                rows[k] = rows[k] - rows[k][pivot] * rows[i]
    return {pivot: rows[i] for pivot, i in pivots.items()}, meet


def _on(rows: dict[int, Fractions], point: Fractions) -> Fractions:
    """Move the solved coordinates of a point so that it solves all rows."""
    free = np.ones(len(point), np.bool_)
    free[list(rows)] = False
    moved = point.copy()
    for pivot, row in rows.items():
        moved[pivot] = row[-1] - row[:-1][free] @ point[free]
    return moved


def _odd(number: int) -> int:
    """Odd part of an integer."""
    return abs(number) // (abs(number) & -abs(number)) if number else 1


def _is_short(row: Array) -> bool:
    """Whether the entries are small integers times one power of two."""
    size = np.abs(row).max()
    scaled = row / 2.0 ** np.floor(np.log2(size)) * _SHORT if size else row
    return bool((scaled == np.round(scaled)).all())
