"""Fast path, all samples at once: fixed multipliers on every piece of every target (E31).

For a piece of branching neurons S, any tau bounds the distance from below; here tau_r = 1[z_r > 0],
the phases at the sample itself. The nearest piece's hyperplane point, where it is adversarial,
bounds the radius from above, and the sample is settled where the two meet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.geometry import FLOOR, Flags, Geometry, Target

FEW = 6  # branching neurons whose 2^6 pieces are all bounded


class Bounds(NamedTuple):
    """For n samples: `lower` (n,), and the nearest point c = U^T v of the pieces, v (n,M).

    `margin` (n,) is by how much the constraint that bounds the nearest piece falls between x and
    that point. `rows` has, for each target, the index of the constraint (n,P) that bounds each
    piece. `complete` says whether all pieces of all targets were bounded. Where a target has more
    than 2^FEW, only the piece that the sample itself is in was: v is its nearest point, an
    adversarial one perhaps, but `lower` is then no lower bound of the radius.
    """

    lower: Array
    v: Array
    margin: Array
    rows: list[IntArray]
    complete: bool


def subsets(count: int) -> Flags:
    """Subsets of `count` neurons as rows (2^count, count), in the order of a certificate's leaves.

    >>> subsets(1).tolist()
    [[True], [False]]
    """
    off: IntArray = np.arange(2**count)[:, None] >> np.arange(count)[::-1] & 1
    return off == 0


def bound(geometry: Geometry, targets: list[Target], z: Array, reach: Array) -> Bounds:
    """Bound the radii of samples of one label, given z and reach >= |z| (n,M)."""
    n, each = len(z), np.arange(len(z))
    lower, margin, v, rows = np.full(n, np.inf), np.zeros(n), np.zeros_like(z), []
    for target in targets:
        few = len(target.branching) <= FEW
        if few:
            on = np.zeros((2 ** len(target.branching), z.shape[1]))
            on[:, target.branching] = subsets(len(target.branching))
        else:
            on = (z > 0).astype(np.float64)
        row, distance, l0, square = _pieces(geometry, target, z, reach, on, few)
        piece = distance.argmin(axis=1)
        nearest = distance[each, piece]
        nearer = nearest < lower
        index, l0, square = row[each, piece], l0[each, piece], square[each, piece]
        q = target.positive[index] * (z > 0) + target.negative[index] * on[piece if few else each]
        step = l0 / np.where(square > 0, square, np.inf)
        v[nearer] = (-step[:, None] * q)[nearer]
        lower[nearer], margin[nearer] = nearest[nearer], l0[nearer]
        rows.append(row)
    complete = all(len(target.branching) <= FEW for target in targets)
    return Bounds(np.maximum(lower, 0.0), v, margin, rows, complete)


def _pieces(
    geometry: Geometry, target: Target, z: Array, reach: Array, on: Array, few: bool
) -> tuple[IntArray, Array, Array, Array]:
    """For each sample and piece (n,P): its farthest constraint, the distance, l0, ||l1||^2."""
    shape = (len(z), len(on) if few else 1)
    noise = target.noise(geometry, reach)
    row, best = np.zeros(shape, np.int64), np.full(shape, -np.inf)
    margin, squares = np.zeros(shape), np.zeros(shape)
    for i in range(len(target.beta)):
        own, other = target.positive[i] * (z > 0), target.negative[i] * on
        l0 = (own * z).sum(axis=1)[:, None] + target.beta[i]
        l0 = l0 + (z @ other.T if few else (other * z).sum(axis=1)[:, None])
        square = _square_of_sum(own @ geometry.U, other @ geometry.U, few)
        slack = 4 * geometry.factor * (target.size[i] @ geometry.norms) ** 2 + FLOOR
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (l0 - noise[:, i, None]) / np.sqrt(square + slack)  # (E31)
        farther = distance > best
        for old, new in ((best, distance), (margin, l0), (squares, square), (row, i)):
            np.copyto(old, new, where=farther)
    return row, best, margin, squares


def _square_of_sum(own: Array, other: Array, few: bool) -> Array:
    """||own_n + other_P||^2 (n,P), or row by row (n,1)."""
    if not few:
        return np.square(own + other).sum(axis=1)[:, None]
    squares = np.square(own).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    return np.maximum(squares + 2 * own @ other.T, 0.0)
