"""Fast path, all samples at once: fixed multipliers on every piece of every target (E31).

For a piece of branching neurons S, any tau bounds the distance from below; here tau_r = 1[z_r > 0],
the phases at the sample itself. The nearest piece's hyperplane point, where it is adversarial,
bounds the radius from above, and the sample is settled where the two meet.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.radius.geometry import Flags, Geometry, Target

_FEW = 6  # branching neurons whose 2^6 pieces are all bounded


class Bounds(NamedTuple):
    """For n samples: `lower` (n,), and the weights v (n,M) of the nearest piece's point c = U^T v.

    `rows` has, for each target, the constraint (n,P) that bounds each piece. Unless `complete`, a target
    has more pieces than were bounded: v belongs to the piece that the sample is in, and `lower` is none.
    """

    lower: Array
    v: Array
    rows: list[IntArray]
    complete: bool


def all_on(count: int) -> Flags:
    """Subsets of `count` neurons as rows (2^count, count), in the order of a certificate's leaves."""
    subsets = list(itertools.product((True, False), repeat=count))
    return np.array(subsets, dtype=np.bool_).reshape(len(subsets), count)


def bound(geometry: Geometry, targets: list[Target], z: Array, reach: Array) -> Bounds:
    """Bound the radii of samples of one label, given z and reach >= |z| (n,M)."""
    n = len(z)
    lower, v, rows = np.full(n, np.inf), np.zeros_like(z), []
    for target in targets:
        few = len(target.branching) <= _FEW
        on = np.zeros((2 ** len(target.branching), z.shape[1])) if few else (z > 0) * 1.0
        if few:
            on[:, target.branching] = all_on(len(target.branching))
        noise = target.noise(geometry, reach)
        best = np.full((n, len(on)) if few else (n, 1), -np.inf)
        row = np.zeros(best.shape, dtype=np.int64)
        weight = np.zeros_like(best)
        for i in range(len(target.beta)):
            own, other = target.positive[i] * (z > 0), target.negative[i] * on
            l0 = (own * z).sum(axis=1)[:, None] + target.beta[i]
            l0 = l0 + (z @ other.T if few else (other * z).sum(axis=1)[:, None])
            square = _square_of_sum(own @ geometry.U, other @ geometry.U, few)
            slack = 4 * geometry.factor * (target.size[i] @ geometry.norms) ** 2
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = (l0 - noise[:, i, None]) / np.sqrt(square + slack)  # (E31)
            better = distance > best
            best = np.where(better, distance, best)
            row[better] = i
            # A little beyond the hyperplane, so that rounding cannot keep the point from being there.
            step = -(l0 + 4 * noise[:, i, None]) / np.where(square > 0, square, np.inf)
            weight = np.where(better, step, weight)
        piece = best.argmin(axis=1)
        each = np.arange(n)
        nearer = best[each, piece] < lower
        index = row[each, piece]
        q = target.positive[index] * (z > 0) + target.negative[index] * on[piece if few else each]
        v[nearer] = (weight[each, piece, None] * q)[nearer]
        lower[nearer] = best[each, piece][nearer]
        rows.append(row)
    complete = all(len(target.branching) <= _FEW for target in targets)
    return Bounds(np.maximum(lower, 0.0), v, rows, complete)


def _square_of_sum(own: Array, other: Array, few: bool) -> Array:
    """||own_n + other_P||^2 (n,P), or row by row (n,1)."""
    if not few:
        return np.square(own + other).sum(axis=1)[:, None]
    squares = np.square(own).sum(axis=1)[:, None] + np.square(other).sum(axis=1)
    return np.maximum(squares + 2 * own @ other.T, 0.0)
