"""Nearest points of many linear pieces at once in l2, kinks included, by pivots of whole blocks.

Once a piece's branching neurons are held on or off (E31), what is left is convex:

    minimise ||c||  subject to  h_i(c) <= 0,  lo <= x + c <= hi,

h_i = sum_r alpha_ir ReLU(z_r) + beta_i, with z_r or 0 in the place of ReLU(z_r) for the branching
neurons. At the minimiser some constraints are tight, some of the other neurons are at their kinks,
and some coordinates at a side of the box. With these known, c is the solution of a small linear
system, of multipliers mu:

    c = clip(-V^T mu),  rows of V: alpha_i W of the tight constraints, and w_r of the kinks.

It tells in turn whether they are the right ones. Multipliers of constraints are not negative, and
that of a kink is between 0 and gamma_r = sum_i mu_i alpha_ir. All that are wrong change at once,
and one alone where that does not make them fewer (block principal pivoting; Judice and Pires,
*Computers & Operations Research* 21, 1994). The systems of all pieces are stacked.

Branching neurons are set as they are at the point, too: the piece found so is at least as near.
Nothing here is proved. What is returned as met is adversarial by more than rounding can lose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.geometry import Flags
from refimpl.walks import Pieces, Walks

_PIVOTS = 5  # of a piece
_BLOCKS = 2  # of these before one neuron changes alone
_FEW = 12  # pieces that cost as much as one
_RIDGE = 2.0**-44  # of the diagonal: parallel neurons share a multiplier
_ZERO = 2.0**-36  # relative: multipliers, preactivations and clips this near to 0 are 0
_SHIFT = 256  # rounding errors by which constraints are to be negative


class Polished(NamedTuple):
    """Nearest points c (B,p) of pieces, and their multipliers.

    `weights` (B,I) are those of the constraints, q (B,M) what they and the kinks' make of neurons:
    the perturbation is -q W without a box. There c is empty where inner products of weights are all
    that is needed. `distance` is inf where no adversarial point was found.
    """

    pieces: Pieces
    c: Array
    q: Array
    weights: Array
    distance: Array

    @staticmethod
    def join(parts: list[Polished]) -> Polished:
        """Return them in one."""
        arrays = zip(*(part[1:] for part in parts), strict=True)
        fields: list[Any] = [np.concatenate(each) for each in arrays]
        return Polished(Pieces.join([part.pieces for part in parts]), *fields)

    def take(self, index: IntArray | Flags) -> Polished:
        """Return some of them."""
        fields: list[Any] = [array[index] for array in self[1:]]
        return Polished(self.pieces.take(index), *fields)


@dataclass
class _State:
    """What is held of each piece (B,): kinks, neurons on, tight constraints, free coordinates."""

    walks: Walks
    pieces: Pieces
    on: Flags
    kink: Flags
    tight: Flags
    free: Flags
    c: Array
    z0: Array
    alpha: Array
    beta: Array
    branching: Flags
    own: Flags
    fewest: IntArray
    z: Array
    weights: Array
    q: Array
    limit: Array
    zero: Array
    across: Array

    @classmethod
    def of(cls, walks: Walks, pieces: Pieces, limit: Array) -> _State:
        """Hold what a piece's walk ended with."""
        sample, target, on = pieces.sample, pieces.target, pieces.on
        alpha, branching = walks.alpha[target], walks.branching[target]
        beta = walks.beta[target] + _SHIFT * walks.noise(sample, target, pieces.bound)
        c = np.zeros((len(on), 0 if walks.through_gram else walks.U.shape[1]))
        free: Flags = np.ones(c.shape, np.bool_)
        if walks.space.box is not None:
            g = (alpha[np.arange(len(on)), pieces.row] * on) @ walks.U
            v = -pieces.t[:, None] * g
            c = walks.within(sample, v)
            free = v == c
        z0, own = walks.z[sample], walks.used[target] & ~branching
        return cls(
            walks,
            pieces,
            on=on ^ (pieces.kink & branching),
            kink=pieces.kink & own,
            tight=np.arange(beta.shape[1]) == pieces.row[:, None],
            free=free,
            c=c,
            z0=z0,
            alpha=alpha,
            beta=beta,
            branching=branching,
            own=own,
            fewest=np.full(len(on), on.shape[1] + 1),
            z=z0,
            weights=np.zeros_like(beta),
            q=np.zeros_like(z0),
            limit=limit[sample],
            zero=_ZERO * walks.reach[sample],
            across=alpha,
        )

    def take(self, index: Flags) -> _State:
        """Return some of the pieces."""
        arrays = {
            name: value[index]
            for name, value in vars(self).items()
            if name not in ("walks", "pieces")
        }
        return replace(self, pieces=self.pieces.take(index), **arrays)

    def pivot(self, single: bool) -> Flags:
        """Solve with what is held, and change what is wrong: whether nothing was (B,)."""
        on, kink = self.on, self.kink
        self.weights, share, dead = self._multipliers()
        gamma = np.einsum("bi,bim->bm", self.weights, self.alpha)
        self.q = np.where(kink, share, gamma * on)
        right = self._move(share)
        crossed = np.where(on, -self.z, self.z) > self.zero
        off, over = kink & (share < -_ZERO * gamma), kink & (share > gamma * (1 + _ZERO))
        wrong = self._fewer((crossed & self.own & ~kink) | off | over, single)
        self.kink, self.on = kink ^ wrong, (on | (wrong & over)) & ~(wrong & off)
        right &= ~wrong.any(axis=1)
        if self.beta.shape[1] > 1:
            right &= self._tighten()
        moved = crossed & self.branching
        if single:  # the others have settled before
            moved &= right[:, None]
        self.on ^= moved
        right &= ~moved.any(axis=1)
        return right | dead | (self.lengths() >= self.limit) if single else right

    def _multipliers(self) -> tuple[Array, Array, Flags]:
        """Multipliers of constraints (B,I) and of kinks (B,M), and where nothing can be gained."""
        counts = self.kink.sum(axis=1)
        held = np.arange(counts.max()) < counts[:, None]
        order = np.zeros(held.shape, np.int64)
        order[held] = np.nonzero(self.kink)[1]
        count = self.beta.shape[1]
        q = self.alpha * (self.on & ~self.kink)[:, None]
        if count > 1:
            q *= self.tight[:, :, None]
        level = np.empty((len(q), count + order.shape[1]))
        level[:, :count] = (np.einsum("bim,bm->bi", q, self.z0) + self.beta) * self.tight
        level[:, count:] = self.z0[np.arange(len(q))[:, None], order]
        gram = self._products(q, order) if self.walks.through_gram else self._inner(q, order, level)
        gram[:, count:] *= held[:, :, None]
        gram[:, :, count:] *= held[:, None]
        level[:, count:] *= held
        rows = np.arange(gram.shape[1])
        diagonal = gram[:, rows, rows]
        dead: Flags = ((level > 0) & (diagonal == 0))[:, :count].any(axis=1)
        gram[:, rows, rows] += np.where(diagonal > 0, _RIDGE * diagonal, 1.0)
        mu = np.asarray(np.linalg.solve(gram, level[:, :, None])[:, :, 0], np.float64)
        share = np.zeros_like(self.z0)
        share[self.kink] = mu[:, count:][held]
        return mu[:, :count], share, dead

    def _products(self, q: Array, order: IntArray) -> Array:
        """Inner products (B,r,r) of the rows q W and of some neurons' weights, from W W^T."""
        (n, count, n_hidden), G = q.shape, self.walks.space.geometry.gram
        across = self.across = (q.reshape(-1, n_hidden) @ G).reshape(q.shape)
        gram = np.empty((n, count + order.shape[1], count + order.shape[1]))
        gram[:, :count, :count] = np.einsum("bim,bjm->bij", across, q)
        gram[:, :count, count:] = across[
            np.arange(n)[:, None, None], np.arange(count)[:, None], order[:, None]
        ]
        gram[:, count:, :count] = gram[:, :count, count:].transpose(0, 2, 1)
        gram[:, count:, count:] = G[order[:, :, None], order[:, None]]
        return gram

    def _inner(self, q: Array, order: IntArray, level: Array) -> Array:
        """Return the same on free coordinates; `level` gets what the others have."""
        (n, count, n_hidden), U = q.shape, self.walks.U
        V = np.empty((n, count + order.shape[1], U.shape[1]))
        V[:, :count] = (q.reshape(-1, n_hidden) @ U).reshape(n, count, -1)
        V[:, count:] = U[order]
        level += (V @ np.where(self.free, 0.0, self.c)[:, :, None])[:, :, 0]
        V *= self.free[:, None]
        return np.asarray(V @ V.transpose(0, 2, 1))

    def _move(self, share: Array) -> Flags:
        """Go where the multipliers point: whether the coordinates that are free are the same."""
        right = np.ones(len(self.q), np.bool_)
        if self.walks.through_gram:
            some = np.flatnonzero(self.kink.any(axis=0))
            across = share[:, some] @ self.walks.space.geometry.gram[some]
            self.z = self.z0 - across - np.einsum("bi,bim->bm", self.weights, self.across)
            return right
        v, old = -self.q @ self.walks.U, self.c
        self.c = self.walks.within(self.pieces.sample, v)
        self.z = self.z0 + self.c @ self.walks.U.T
        if self.walks.space.box is not None:
            free = (v == self.c) & (self.free | (np.abs(self.c - old) > _ZERO * np.abs(old)))
            right = (free == self.free).all(axis=1)
            self.free = free
        return right

    def lengths(self) -> Array:
        """Norms of the points (B,)."""
        if self.walks.through_gram:
            return np.sqrt(np.maximum(np.einsum("bm,bm->b", self.q, self.z0 - self.z), 0.0))
        return np.sqrt(np.einsum("bp,bp->b", self.c, self.c))

    def _fewer(self, wrong: Flags, single: bool) -> Flags:
        """Neurons to change: those that are wrong, or the last of them where they grew no fewer."""
        count = wrong.sum(axis=1)
        if single:
            stuck = (count >= self.fewest) & (count > 0)
            last = wrong.shape[1] - 1 - wrong[:, ::-1].argmax(axis=1)
            wrong[stuck] &= np.arange(wrong.shape[1]) == last[stuck, None]
        self.fewest = np.minimum(self.fewest, count)
        return wrong

    def _tighten(self) -> Flags:
        """Hold the constraints that are violated, and none that pushes: whether as before."""
        z = np.where(self.own, self.z > 0, self.on) * self.z
        h = np.einsum("bim,bm->bi", self.alpha, z) + self.beta
        rounding = np.einsum("bim,bm->bi", np.abs(self.alpha), self.zero)
        tight = np.where(self.tight, self.weights >= 0, h > rounding)
        same = (tight == self.tight).all(axis=1)
        self.tight = tight
        return np.asarray(same)

    def result(self) -> Polished:
        """Return what was found."""
        walks, sample, target = self.walks, self.pieces.sample, self.pieces.target
        distance = self.lengths()
        met = walks.values(target, self.z) <= -walks.noise(sample, target, distance)
        on = np.where(self.branching | self.kink, self.on, self.z > 0)
        pieces = self.pieces._replace(on=on, kink=self.kink, t=self.weights.max(axis=1))
        distance = np.where(met.all(axis=1), distance, np.inf)
        return Polished(pieces, self.c, self.q, self.weights, distance)


@np.errstate(all="ignore")  # as in a walk
def polish(walks: Walks, pieces: Pieces, limit: Array) -> Polished:
    """Find the nearest points of pieces, and of those where these lie, as far as pivots lead.

    In no order. Pieces are left alone that look as far as `limit` (n,) of their sample.
    """
    state, found = _State.of(walks, pieces, limit), []
    for k in range(_PIVOTS):
        done = state.pivot(k >= _BLOCKS)
        if done.all():
            break
        if 2 * done.sum() >= len(done) > _FEW:
            found.append(state.take(done).result())
            state = state.take(~done)
    return Polished.join([*found, state.result()])
