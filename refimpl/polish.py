"""Which linear pieces are polished, in l2: those that may be nearest, and pieces beside these."""

from __future__ import annotations

import numpy as np

from refimpl._arrays import IntArray
from refimpl.pivots import Polished, polish
from refimpl.walks import Pieces, Walks, names, nearest_of_each, unseen

_COUNTS = (4, 3, 2, 2, 2)  # pieces of a sample that are polished, round by round
_BESIDE = 4  # pieces beside a nearest one that are looked at
_CLOSE = 1e-9  # relative: a point nearer by less is not looked for


def nearest(walks: Walks, pieces: Pieces) -> Polished:
    """Find the nearest adversarial points of samples that have one: in pieces, and beside these."""
    best, seen = _met(walks, pieces), np.zeros(0, np.int64)
    fresh = best
    for count in _COUNTS:
        pieces = Pieces.join([pieces, _beside(walks, fresh)])
        limit = np.full(len(walks.x), np.inf)
        limit[best.pieces.sample] = best.distance * (1 - _CLOSE)
        pieces = pieces.take(pieces.bound < limit[pieces.sample])
        # A piece is known by its branching neurons, or by all where pivots from there lead nowhere.
        by_all = np.isinf(limit[pieces.sample]) & (len(seen) > 0)
        on = pieces.on & (walks.branching[pieces.target] | by_all[:, None])
        keys = names(pieces.sample, pieces.target, on)
        chosen = _chosen(pieces, keys, seen, count)
        if len(chosen) == 0:
            break
        seen = np.append(seen, keys[chosen])
        found = polish(walks, pieces.take(chosen), limit)
        found = found.take(found.distance < limit[found.pieces.sample])
        fresh = found.take(nearest_of_each(found.pieces.sample, found.distance))
        best = Polished.join([best, fresh])
        best = best.take(nearest_of_each(best.pieces.sample, best.distance))
    return best


def _met(walks: Walks, pieces: Pieces) -> Polished:
    """Return the nearest pieces that are met, as polishing finds them."""
    met = walks.nearest_met(pieces)
    weights = np.where(np.arange(walks.beta.shape[1]) == met.row[:, None], met.t[:, None], 0.0)
    q = np.einsum("bi,bim->bm", weights, walks.alpha[met.target]) * met.on
    c = np.zeros((len(q), 0)) if walks.through_gram else walks.within(met.sample, -q @ walks.U)
    return Polished(met, c, q, weights, met.bound)


def _chosen(pieces: Pieces, keys: IntArray, seen: IntArray, count: int) -> IntArray:
    """Pieces not seen yet, of each sample those with the least bounds; of a piece, the largest."""
    order = np.argsort(-pieces.bound, kind="stable")
    order = order[unseen(seen, keys[order])]
    order = order[np.lexsort((pieces.bound[order], pieces.sample[order]))]
    sample = pieces.sample[order]
    rank = np.arange(len(order)) - np.searchsorted(sample, sample)
    return np.asarray(order[rank < count])


@np.errstate(all="ignore")  # no zeros, where neurons cancel
def _beside(walks: Walks, found: Polished) -> Pieces:
    """Pieces one branching neuron away, with about the bounds that the multipliers prove."""
    pieces, _, q, weights, _ = found
    z, U, on = walks.z[pieces.sample], walks.U, pieces.on
    gamma = np.einsum("bi,bim->bm", weights, walks.alpha[pieces.target])
    step = np.where(on, -gamma, gamma)
    held, squares = np.zeros((len(q), 1)), walks.space.geometry.squares
    if walks.through_gram:
        across = q @ walks.space.geometry.gram
        square = np.einsum("bm,bm->b", q, across)[:, None]
    else:
        g = q @ U
        if walks.space.box is not None:  # what is at a side stays there
            c = walks.within(pieces.sample, -g)
            free = c == -g
            side = np.where(free, 0.0, c)
            z, held = z + side @ U.T, np.square(side).sum(axis=1)[:, None]
            g, squares = g * free, free.astype(np.float64) @ np.square(U).T
        across, square = g @ U.T, np.einsum("bp,bp->b", g, g)[:, None]
    level = np.einsum("bm,bm->b", q, z) + np.einsum("bi,bi->b", weights, walks.beta[pieces.target])
    level = np.maximum(level[:, None] + step * z, 0.0)
    square = square + 2 * step * across + np.square(step) * squares
    bound = np.sqrt(held + np.square(level) / square)
    bound[~(gamma < 0) | np.isnan(bound)] = np.inf
    order = np.argsort(bound, axis=1)[:, :_BESIDE]
    row, neuron = np.repeat(np.arange(len(q)), order.shape[1]), order.ravel()
    on = on[row]
    on[np.arange(len(row)), neuron] ^= True
    return pieces.take(row)._replace(on=on, bound=bound[row, neuron])
