"""Nearest points of many linear pieces at once in l2, kinks included, by pivots of whole blocks.

Once a piece's branching neurons are held on or off (E31), what is left is convex:

    minimise ||c||  subject to  h_i(c) <= 0,  lo <= x + c <= hi,

h_i = sum_r alpha_ir ReLU(z_r) + beta_i over the neurons that count for the sample, with z_r or 0 in
the place of ReLU(z_r) for the others. At the minimiser some constraints are tight, some neurons are
at their kinks, and some coordinates at a side of the box. With these known it is the solution of one
small linear system, of the multipliers

    c = clip(-V^T mu),  V = rows alpha_i W of the tight constraints, and w_r of the kinks,

which tells in turn whether they are the right ones: multipliers of constraints are not negative, and
that of a kink is between 0 and gamma_r = sum_i mu_i alpha_ir. All that are wrong change at once, and
one alone where that does not make them fewer (Judice and Pires, 1994). The systems of all pieces are
stacked. When a piece is solved, its branching neurons are set as they are at its point: the piece
found so is at least as near.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.geometry import Flags
from refimpl.walks import Pieces, Walks, names, nearest_of_each

_COUNTS = (4, 4, 4)  # pieces of a sample that are polished, round by round
_BESIDE = 6  # pieces beside a nearest one that are looked at
_CLOSE = 1e-9  # relative: a point nearer by less is not looked for
_PIVOTS = 16  # of a piece
_BLOCKS = 4  # pivots before single ones
_RIDGE = 2.0**-44  # of the diagonal: parallel neurons share a multiplier
_ZERO = 2.0**-36  # relative: multipliers, levels and distances this near to 0 are 0
_SHIFT = 256  # rounding errors by which constraints are to be negative


class Polished(NamedTuple):
    """Nearest points c (B,p) of pieces, and their multipliers.

    `weights` (B,I) are those of the constraints, q (B,M) what they and the kinks' make of neurons:
    c = -q W without a box. `distance` is inf where no adversarial point was found.
    """

    pieces: Pieces
    c: Array
    q: Array
    weights: Array
    distance: Array

    def take(self, index: IntArray | Flags) -> Polished:
        """Return some of them."""
        fields: list[Any] = [array[index] for array in self[1:]]
        return Polished(self.pieces.take(index), *fields)


def joined(parts: list[Any]) -> Any:
    """Several `Pieces` as one."""
    return type(parts[0])(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def nearest(walks: Walks, pieces: Pieces) -> Polished:
    """Find the nearest adversarial points of samples that have one: in pieces, and beside these."""
    best, seen = _met(walks, pieces), np.zeros(0, np.int64)
    pieces = joined([pieces, beside(walks, best)])
    for count in _COUNTS:
        limit = np.full(len(walks.x), np.inf)
        limit[best.pieces.sample] = best.distance * (1 - _CLOSE)
        pieces = pieces.take(pieces.bound < limit[pieces.sample])
        keys = names(pieces.sample, pieces.target, pieces.on & walks.branching[pieces.target])
        chosen = _chosen(pieces, keys, seen, count)
        if len(chosen) == 0:
            break
        seen = np.append(seen, keys[chosen])
        found = polish(walks, pieces.take(chosen))
        found = found.take(found.distance < limit[found.pieces.sample])
        found = found.take(nearest_of_each(found.pieces.sample, found.distance))
        pieces = joined([pieces, beside(walks, found)])
        old = best.take(~np.isin(best.pieces.sample, found.pieces.sample))
        best = Polished(joined([old.pieces, found.pieces]), *(
            np.concatenate(arrays) for arrays in zip(old[1:], found[1:], strict=True)
        ))
    return best


def unclipped(g: Array, c: Array) -> Flags:
    """Coordinates of c (B,p) that are -t g, where a box clips others."""
    size = np.abs(g)
    t = np.divide(np.abs(c), size, where=size > 0, out=np.zeros_like(c)).max(axis=1)
    free: Flags = np.abs(c) >= t[:, None] * size * (1 - _ZERO)
    return free


def _met(walks: Walks, pieces: Pieces) -> Polished:
    """Return the nearest pieces that are met, as polishing finds them."""
    met, c = walks.nearest_met(pieces)
    weights = (np.arange(walks.beta.shape[1]) == met.row[:, None]).astype(np.float64)
    q = np.einsum("bi,bim->bm", weights, walks.alpha[met.target]) * met.on
    length = np.linalg.norm(q @ walks.U, axis=1)
    scale = met.bound / np.where(length > 0, length, 1.0)
    return Polished(met, c, scale[:, None] * q, scale[:, None] * weights, met.bound)


def _chosen(pieces: Pieces, keys: IntArray, seen: IntArray, count: int) -> IntArray:
    """Pieces not seen yet, of each sample those with the least bounds; of a piece, the largest."""
    order = np.argsort(-pieces.bound, kind="stable")
    order = order[np.unique(keys[order], return_index=True)[1]]
    order = order[~np.isin(keys[order], seen)]
    order = order[np.lexsort((pieces.bound[order], pieces.sample[order]))]
    sample = pieces.sample[order]
    rank = np.arange(len(order)) - np.searchsorted(sample, sample)
    return np.asarray(order[rank < count])


def beside(walks: Walks, found: Polished) -> Pieces:
    """Pieces one branching neuron away from others, with about the bounds that multipliers prove."""
    pieces, c, q, weights, _ = found
    z, U, on = walks.z[pieces.sample], walks.U, pieces.on
    gamma = np.einsum("bi,bim->bm", weights, walks.alpha[pieces.target])
    step = np.where(on, -gamma, gamma)
    held, squares = np.zeros((len(c), 1)), walks.space.geometry.squares
    g = q @ U
    if walks.space.box is not None:  # what is at a side stays there
        free = unclipped(g, c)
        side = np.where(free, 0.0, c)
        z, held = z + side @ U.T, np.square(side).sum(axis=1)[:, None]
        g, squares = g * free, free.astype(np.float64) @ np.square(U).T
    level = np.einsum("bm,bm->b", q, z) + np.einsum("bi,bi->b", weights, walks.beta[pieces.target])
    level = np.maximum(level[:, None] + step * z, 0.0)
    square = np.square(g).sum(axis=1)[:, None] + 2 * step * (g @ U.T) + np.square(step) * squares
    bound = np.sqrt(held + np.square(level) / square)
    bound[~(gamma < 0) | np.isnan(bound)] = np.inf
    order = np.argsort(bound, axis=1)[:, :_BESIDE]
    row, neuron = np.repeat(np.arange(len(c)), order.shape[1]), order.ravel()
    on = on[row]
    on[np.arange(len(row)), neuron] ^= True
    return pieces.take(row)._replace(on=on, bound=bound[row, neuron])


class _State:
    """What is held of each piece (B,): kinks, neurons on, tight constraints, free coordinates."""

    def __init__(self, walks: Walks, pieces: Pieces) -> None:
        U = walks.U
        self.walks, self.U = walks, U
        self.sample, self.target, self.on = pieces.sample, pieces.target, pieces.on.copy()
        self.z0 = walks.z[self.sample]
        self.alpha, self.beta = walks.alpha[self.target], walks.beta[self.target]
        self.beta += _SHIFT * walks.noise(self.sample, self.target, pieces.bound)
        branching = walks.branching[self.target]
        self.own, self.branching = walks.used[self.target] & ~branching, branching
        self.kink = np.zeros_like(self.on)
        self.tight = np.arange(self.beta.shape[1]) == pieces.row[:, None]
        self.free = np.ones((len(self.on), U.shape[1]), np.bool_)
        self.c = np.zeros(self.free.shape)
        if walks.space.box is not None:
            self.c = walks.step(pieces)[0]
            row = self.alpha[np.arange(len(self.on)), pieces.row] * self.on
            self.free = unclipped(row @ U, self.c)
        self.fewest = np.full(len(self.on), self.on.shape[1] + 1)
        self.z, self.weights = self.z0.copy(), np.zeros(self.beta.shape)
        self.q = np.zeros_like(self.z)

    def pivot(self, left: IntArray, single: bool) -> Flags:
        """Solve with what is held, and change what is wrong: whether nothing was."""
        kink, on, own, z0 = self.kink[left], self.on[left], self.own[left], self.z0[left]
        weights, share, fixed = self._solve(left, kink, on, z0)
        z = self.z[left] = z0 + self.c[left] @ self.U.T
        gamma = np.einsum("bi,bim->bm", weights, self.alpha[left])
        self.weights[left], self.q[left] = weights, np.where(kink, share, gamma * on)
        zero = _ZERO * (np.abs(z0) + np.abs(z))
        crossed = own & ~kink & np.where(on, z < -zero, z > zero)
        off, over = kink & (share < -_ZERO * gamma), kink & (share > gamma * (1 + _ZERO))
        wrong = self._fewer(left, crossed | off | over, single)
        self.kink[left] = kink ^ wrong
        self.on[left] = (on | (wrong & over)) & ~(wrong & off)
        right = fixed & ~wrong.any(axis=1)
        if self.beta.shape[1] > 1:
            right &= self._tighten(left, z, zero)
        moved = self.branching[left] & np.where(on, z < -zero, z > zero) & right[:, None]
        self.on[left] ^= moved
        return right & ~moved.any(axis=1)

    def _solve(
        self, left: IntArray, kink: Flags, on: Flags, z0: Array
    ) -> tuple[Array, Array, Flags]:
        """Find c: its multipliers of constraints and of neurons, and if sides stay."""
        alpha, beta, tight = self.alpha[left], self.beta[left], self.tight[left]
        order = np.argsort(~kink, axis=1, kind="stable")[:, : kink.sum(axis=1).max()]
        held = np.concatenate((tight, np.take_along_axis(kink, order, 1)), axis=1)
        q = alpha * (on & ~kink)[:, None]
        level = np.einsum("bim,bm->bi", q, z0) + beta
        level = np.concatenate((level, np.take_along_axis(z0, order, 1)), axis=1) * held
        V = np.concatenate((q @ self.U, self.U[order]), axis=1) * held[:, :, None]
        free = self.free[left]
        plain = self.walks.space.box is None
        if not plain:
            level += np.einsum("brp,bp->br", V, np.where(free, 0.0, self.c[left]))
        part = V if plain else V * free[:, None]
        gram = part @ part.transpose(0, 2, 1)
        diagonal = np.einsum("brr->br", gram)
        rows = np.arange(gram.shape[1])
        gram[:, rows, rows] += np.where(diagonal > 0, _RIDGE * diagonal, 1.0)
        mu = np.linalg.solve(gram, level[:, :, None])[:, :, 0]
        v = -np.einsum("br,brp->bp", mu, V)
        fixed = np.ones(len(left), np.bool_)
        if not plain:
            c = self.walks.within(self.sample[left], v)
            inside = (v == c) & (free | (np.abs(c - self.c[left]) > _ZERO * np.abs(c)))
            fixed = ~(inside != free).any(axis=1)
            self.free[left], v = inside, c
        self.c[left] = v
        share, count = np.zeros_like(z0), self.beta.shape[1]
        np.put_along_axis(share, order, mu[:, count:] * held[:, count:], 1)
        return mu[:, :count] * tight, share, fixed

    def _fewer(self, left: IntArray, wrong: Flags, single: bool) -> Flags:
        """Neurons to change: those that are wrong, or the last of them where they grew no fewer."""
        count = wrong.sum(axis=1)
        if single:
            stuck = (count >= self.fewest[left]) & (count > 0)
            last = wrong.shape[1] - 1 - wrong[:, ::-1].argmax(axis=1)
            wrong[stuck] &= np.arange(wrong.shape[1]) == last[stuck, None]
        self.fewest[left] = np.minimum(self.fewest[left], count)
        return wrong

    def _tighten(self, left: IntArray, z: Array, zero: Array) -> Flags:
        """Hold the constraints that are violated, and none that pushes: whether that is as before."""
        on = np.where(self.own[left], z > 0, self.on[left])
        alpha, tight = self.alpha[left], self.tight[left]
        h = np.einsum("bim,bm->bi", alpha, on * z) + self.beta[left]
        rounding = np.einsum("bim,bm->bi", np.abs(alpha), zero)
        new = np.where(tight, self.weights[left] >= 0, h > rounding)
        self.tight[left] = new
        return np.asarray((new == tight).all(axis=1))


def polish(walks: Walks, pieces: Pieces) -> Polished:
    """Find the nearest points of pieces, and of those where these lie, as far as pivots lead."""
    state = _State(walks, pieces)
    left = np.arange(len(pieces.sample))
    for k in range(_PIVOTS):
        left = left[~state.pivot(left, k >= _BLOCKS)]
        if len(left) == 0:
            break
    distance = np.sqrt(np.einsum("ij,ij->i", state.c, state.c))
    noise = walks.noise(pieces.sample, pieces.target, distance)
    met = (walks.values(pieces.target, state.z) <= -noise).all(axis=1)
    distance = np.where(met, distance, np.inf)
    pieces = pieces._replace(on=np.where(state.branching, state.on, state.z > 0))
    return Polished(pieces, state.c, state.q, state.weights, distance)
