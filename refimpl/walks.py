"""Walks from linear piece to linear piece, of all samples and starts at once, in closed form.

At a point some neurons are on, and with these held the network is affine. The point of the affine
function's zeros that is nearest to the sample, in the norm and within the box, has a closed form;
it lies in another piece, perhaps, from which the walk goes on. What a walk brings is a piece: the
neurons `on` where it ends. The distance of the zeros is a lower bound of what the piece has, since
the ReLUs that count for the sample lie above all their lines (E31): a piece whose bound is not
below a point that is known need not be looked at.

Walks are named by hashes: of two that have the same by chance one would be lost.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from refimpl import decisions
from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision
from refimpl.network import TwoLayerReLU
from refimpl.radius.geometry import FLOOR, Flags
from refimpl.radius.region import Space
from refimpl.radius.support import nearest_multiple, nearest_on, total

_HOPE = 1.5  # times the nearest point known: how far a target may be that more walks look for
_SCATTER = (-1.0, 4.0)  # logarithms to base 2 of how far starts are, in first steps


class Pieces(NamedTuple):
    """Pieces (S,): of which sample and target, neurons on (S,M), bound, and whether it is met.

    `met` says that the point of that norm lies in the piece, and so is adversarial; `row` is the
    constraint that bounds the piece, in l2 with the multiplier `t`: the point is -t times its
    gradient, clipped to the box. `kink` has neurons that are at their kinks, or that the way to the
    point crosses.
    """

    sample: IntArray
    target: IntArray
    on: Flags
    bound: Array
    met: Flags
    row: IntArray
    t: Array
    kink: Flags

    @staticmethod
    def join(parts: list[Pieces]) -> Pieces:
        """Return them in one."""
        fields: list[Any] = [np.concatenate(each) for each in zip(*parts, strict=True)]
        return Pieces(*fields)

    def take(self, index: IntArray | Flags) -> Pieces:
        """Return some of them."""
        fields: list[Any] = [array[index] for array in self]
        return Pieces(*fields)


def names(sample: IntArray, target: IntArray, on: Flags) -> IntArray:
    """Hashes (S,) of pieces."""
    bits = np.packbits(on, axis=1)
    factors = _factors(bits.shape[1] + 2)
    return np.asarray(
        bits.astype(np.int64) @ factors[2:] + sample * factors[0] + target * factors[1]
    )


@cache
def _factors(count: int) -> IntArray:
    return np.random.default_rng(0).integers(2**63, size=count)


def unseen(seen: IntArray, keys: IntArray) -> IntArray:
    """Index of the first of each key that was not seen yet, in the keys' order."""
    first = np.unique(np.concatenate((seen, keys)), return_index=True)[1] - len(seen)
    return np.asarray(first[first >= 0])


def nearest_of_each(sample: IntArray, distance: Array) -> IntArray:
    """Index of the least distance of each sample that is there."""
    order = np.argsort(distance, kind="stable")
    return np.asarray(order[np.unique(sample[order], return_index=True)[1]])


class Walks:
    """All targets that some samples have, as arrays, and the steps to them.

    Samples x (n,d) have labels y (n,) and preactivations z (n,M). `aims` (n,2) are the first of the
    targets of each sample's label, and the one after the last. Constraints alpha (T,I,M) and beta
    (T,I) are padded with copies of the last one.
    """

    def __init__(
        self, space: Space, net: TwoLayerReLU, decision: Decision, x: Array, y: IntArray, z: Array
    ) -> None:
        self.space, self.x, self.z = space, x, z
        self.sides = space.box and (space.box[0] - x, space.box[1] - x)
        labels, of_sample = np.unique(y, return_inverse=True)
        matrices = [decisions.targets(label, decision, net.n_outputs) for label in labels.tolist()]
        most = max(D.shape[1] for D in matrices)
        D = np.concatenate([D[:, np.minimum(np.arange(most), D.shape[1] - 1)] for D in matrices])
        self.alpha, self.beta = D @ net.A, D @ net.c  # (E30)
        self.used: Flags = np.any(self.alpha != 0, axis=1)
        self.branching: Flags = np.any(self.alpha < 0, axis=1)
        # Whether pieces can be solved at once: in l2, where no neuron helps one constraint of a
        # target and harms another, as with several classes in a group it can.
        mixed = self.branching & np.any(self.alpha > 0, axis=1)
        self.at_once = space.norm == 2 and not mixed.any()
        self.sizes = np.abs(D) @ np.abs(net.A), np.abs(D) @ np.abs(net.c)
        geometry = space.geometry
        self.norms, self.U = geometry.norms, geometry.U
        self.reach = np.linalg.norm(x, axis=1)[:, None] * self.norms + geometry.bias
        self.through_gram = space.plain and len(self.U) <= 2 * self.U.shape[1]
        ends = np.cumsum([len(D) for D in matrices])
        self.aims = np.column_stack((ends - [len(D) for D in matrices], ends))[of_sample]
        counts = self.aims[:, 1] - self.aims[:, 0]
        self.sample = np.repeat(np.arange(len(x)), counts)
        first = np.cumsum(counts) - counts
        self.target = np.arange(len(self.sample)) + (self.aims[:, 0] - first)[self.sample]

    def around(self, count: int, steps: int, rng: np.random.Generator) -> Pieces:
        """Pieces that walks visit of that many steps, from about `count` pieces for each sample.

        These are the sample's own, its neighbours behind the nearest kinks, and those of random
        points, as many again. A target that is far from the sample's own piece has no others.
        """
        limit = np.full(len(self.x), math.inf)
        own = np.arange(len(self.sample))
        found = self.walk(self._starts(own, self._on(own)), steps, limit, np.zeros(0, np.int64))
        near = np.full((len(self.x), len(self.beta)), False)
        hope = found.bound <= _HOPE * self._least(found)[found.sample]
        near[found.sample[hope], found.target[hope]] = True
        aims = np.flatnonzero(near[self.sample, self.target])
        each = max(1, math.ceil(count * len(self.x) / max(len(aims), 1) / 2))
        beside, on = self._beside(aims, each)
        around = np.repeat(aims, each)
        on = np.concatenate((on, self._scattered(around, rng)))
        index = np.concatenate((beside, around))
        walks, seen = self._starts(index, on), names(found.sample, found.target, found.on)
        return Pieces.join([found, self.walk(walks, steps, limit, seen)])

    def _least(self, pieces: Pieces) -> Array:
        """Least bounds (n,) of samples' pieces."""
        least = np.full(len(self.x), math.inf)
        np.minimum.at(least, pieces.sample, pieces.bound)
        return least

    def _starts(self, index: IntArray, on: Flags) -> Pieces:
        """Pieces of some aims, of which nothing is known."""
        unknown, rows = np.full(len(index), math.nan), np.zeros(len(index), np.int64)
        sample, target = self.sample[index], self.target[index]
        return Pieces(sample, target, on, unknown, rows > 0, rows, unknown, np.zeros_like(on))

    def _on(self, index: IntArray) -> Flags:
        """Neurons on at the samples of some aims."""
        on: Flags = self.z[self.sample[index]] > 0
        return on

    def _beside(self, aims: IntArray, count: int) -> tuple[IntArray, Flags]:
        """For some aims, the pieces of its sample with one of the nearest kinks crossed."""
        far = np.abs(self.z) / np.where(self.norms > 0, self.norms, math.inf)
        counts = np.asarray(self.branching[self.target[aims]])
        order = np.argsort(np.where(counts, far[self.sample[aims]], math.inf), axis=1)[:, :count]
        row, rank = np.nonzero(np.take_along_axis(counts, order, 1))
        index, neuron = aims[row], order[row, rank]
        on = self._on(index)
        on[np.arange(len(index)), neuron] ^= True
        return index, on

    def _scattered(self, index: IntArray, rng: np.random.Generator) -> Flags:
        """Neurons on at random points, along random combinations of the neurons' weights."""
        sample, U = self.sample[index], self.U
        z, weights = self.z[sample], rng.standard_normal((len(index), len(U)))
        far = np.abs(self.z) / np.where(self.norms > 0, self.norms, math.inf)
        far = np.median(far, axis=1)[sample] * 2.0 ** rng.uniform(*_SCATTER, len(z))
        if self.through_gram:
            across = weights @ self.space.geometry.gram
            length = np.sqrt(np.maximum(np.einsum("ij,ij->i", weights, across), 0.0))
            on: Flags = z + (far / np.where(length > 0, length, 1.0))[:, None] * across > 0
            return on
        direction = weights @ U
        length = np.linalg.norm(direction, axis=1)
        far /= np.where(length > 0, length, 1.0)
        on = z + self.within(sample, far[:, None] * direction) @ U.T > 0
        return np.asarray(on)

    def within(self, sample: IntArray, c: Array) -> Array:
        """Clip perturbations to the box."""
        if self.sides is None:
            return c
        lo, hi = self.sides
        return np.asarray(np.minimum(np.maximum(c, lo[sample]), hi[sample]))

    def walk(self, walks: Pieces, steps: int, limit: Array, seen: IntArray) -> Pieces:
        """Go from piece to piece, to none twice nor to those `seen`: all pieces that are visited.

        Where pieces are solved at once, walks end where they are as far as `limit` (n,), which gets
        the nearest points that are met.
        """
        visited, far = [], np.full(len(self.x), math.inf)
        for _ in range(steps):
            keys = names(walks.sample, walks.target, walks.on)
            new = unseen(seen, keys)
            if len(new) == 0:
                break
            seen, walks = np.append(seen, keys[new]), walks.take(new)
            z, bound, row, t = self._preactivations(walks, limit)
            on = z > 0
            elsewhere = self.used[walks.target] & (on != walks.on) & (z != 0)
            met = np.isfinite(bound) & ~elsewhere.any(axis=1)
            if self.beta.shape[1] > 1:  # others may be missed where one constraint is 0
                noise = self.noise(walks.sample, walks.target, np.where(met, bound, 0.0))
                met &= (self.values(walks.target, z) <= noise).all(axis=1)
            visited.append(Pieces(*walks[:3], bound, met, row, t, elsewhere))
            if self.at_once:  # where pieces are polished that walks have not seen
                np.minimum.at(limit, walks.sample[met], bound[met])
                far = _HOPE * self._least(visited[-1])
            walks = (
                visited[-1]
                ._replace(on=on)
                .take(~met & (bound < limit[walks.sample]) & (bound <= far[walks.sample]))
            )
        return Pieces.join([*visited, walks.take(np.zeros(0, np.int64))])

    @np.errstate(all="ignore")  # a piece that overflows, or whose neurons cancel, has no point
    def _preactivations(self, pieces: Pieces, limit: Array) -> tuple[Array, Array, IntArray, Array]:
        """Preactivations (S,M) of what `step` finds, and the rest of it."""
        z = self.z[pieces.sample]
        if not self.through_gram:
            c, bound, row, t = self.step(pieces, limit)
            return z + c @ self.U.T, bound, row, t
        best, ends = np.full(len(z), -math.inf), np.zeros_like(z)
        rows, t = np.zeros(len(z), np.int64), np.zeros(len(z))
        for i, q, level in self._planes(pieces, z):
            across = q @ self.space.geometry.gram
            square = np.maximum(np.einsum("ij,ij->i", q, across), 0.0)
            step = np.where(level > 0, level / square, 0.0)
            distance = np.where(level > 0, level / np.sqrt(square), 0.0)
            farther = distance > best
            best[farther], rows[farther], t[farther] = distance[farther], i, step[farther]
            ends[farther] = (z - step[:, None] * across)[farther]
        return ends, best, rows, t

    def _planes(self, pieces: Pieces, z: Array) -> Iterator[tuple[int, Array, Array]]:
        """Affine functions of pieces' constraints: index, q (S,M), and value at the sample (S,)."""
        for i in range(self.beta.shape[1]):
            q = self.alpha[pieces.target, i] * pieces.on
            level = np.einsum("ij,ij->i", q, z) + self.beta[pieces.target, i]
            yield i, q, np.maximum(level, 0.0)

    @np.errstate(all="ignore")
    def step(self, pieces: Pieces, limit: Array) -> tuple[Array, Array, IntArray, Array]:
        """Nearest points (S,p) of the zeros of pieces' affine functions, and their distances.

        Of several constraints the farthest counts, whose index and multiplier are the last results.
        inf: there are no zeros in the box. In l2, those beyond `limit` (n,) are not looked for.
        """
        z = self.z[pieces.sample]
        best, c = np.full(len(z), -math.inf), np.zeros((len(z), self.U.shape[1]))
        row, t = np.zeros(len(z), np.int64), np.zeros(len(z))
        for i, q, level in self._planes(pieces, z):
            point, distance, step = self._nearest(pieces.sample, q @ self.U, level, limit)
            farther = distance > best
            best[farther], row[farther], t[farther] = distance[farther], i, step[farther]
            c[farther] = point[farther]
        return c, best, row, t

    def nearest_met(self, pieces: Pieces) -> Pieces:
        """For samples that have one, the nearest piece that is met."""
        found = pieces.take(pieces.met)
        return found.take(nearest_of_each(found.sample, found.bound))

    def noise(self, sample: IntArray, target: IntArray, distance: Array) -> Array:
        """Bound the rounding error of constraints (S,I) that far from samples."""
        reach = self.reach[sample] + distance[:, None] * self.norms
        size, constant = self.sizes
        error = np.einsum("bim,bm->bi", size[target], reach) + constant[target]
        return self.space.geometry.rounding * error + FLOOR

    def values(self, target: IntArray, z: Array) -> Array:
        """Constraints (S,I) at preactivations z (S,M)."""
        relu = np.maximum(z, 0.0)
        return np.einsum("bim,bm->bi", self.alpha[target], relu) + self.beta[target]

    def _nearest(
        self, sample: IntArray, g: Array, level: Array, limit: Array
    ) -> tuple[Array, Array, Array]:
        """Nearest c (S,p) with level + <g, c> <= 0, its length, and in l2 its multiplier."""
        if self.space.norm != 2:
            size, distance = nearest_on(self.space.norm, level, np.abs(g), self._caps(sample, g))
            return -np.copysign(size, g), distance, distance
        square = np.einsum("ij,ij->i", g, g)
        t = np.where(level > 0, level / square, 0.0)
        distance = np.where(level > 0, level / np.sqrt(square), 0.0)
        if self.space.box is None:
            return -t[:, None] * g, distance, t
        near = distance < limit[sample]
        size, cap, level = np.abs(g[near]), self._caps(sample[near], g[near]), level[near]
        t[near] = nearest_multiple(2, level, size, cap)
        c = self.within(sample, -t[:, None] * g)
        length = np.sqrt(np.einsum("ij,ij->i", c[near], c[near]))
        distance[near] = np.where(level > total(size, cap), math.inf, length)
        return c, distance, t

    def _caps(self, sample: IntArray, g: Array) -> Array:
        """How far the box lets coordinates go against g (S,d)."""
        if self.sides is None:
            return np.full(g.shape, math.inf)
        lo, hi = self.sides
        return np.where(g > 0, -lo[sample], hi[sample])
