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
from typing import Any, NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.geometry import Flags, Target
from refimpl.radius.region import Space
from refimpl.radius.support import nearest_on

_STEPS = 10  # of a walk
_SCATTER = (-1.0, 4.0)  # logarithms to base 2 of how far starts are, in first steps


class Pieces(NamedTuple):
    """Pieces (S,): of which sample and target, neurons on (S,M), bound, and whether it is met.

    `met` says that the point of that norm lies in the piece, and so is adversarial; `row` is the
    constraint that bounds the piece.
    """

    sample: IntArray
    target: IntArray
    on: Flags
    bound: Array
    met: Flags
    row: IntArray

    def take(self, index: IntArray | Flags) -> Pieces:
        """Return some of them."""
        fields: list[Any] = [array[index] for array in self]
        return Pieces(*fields)


class Walks:
    """All targets that some samples have, as arrays, and the steps to them.

    Samples x (n,d) have preactivations z (n,M) and `aims`, the targets of each, which `targets`
    lists. Constraints (T,I) are padded with copies of the last one.
    """

    def __init__(
        self, space: Space, targets: list[Target], aims: list[list[int]], x: Array, z: Array
    ) -> None:
        self.space, self.x, self.z = space, x, z
        most = max(len(target.beta) for target in targets)
        rows = [np.minimum(np.arange(most), len(target.beta) - 1) for target in targets]
        self.alpha = np.array([t.alpha[row] for t, row in zip(targets, rows, strict=True)])
        self.beta = np.array([t.beta[row] for t, row in zip(targets, rows, strict=True)])
        self.used: Flags = np.any(self.alpha != 0, axis=1)
        self.branching: Flags = np.any(self.alpha < 0, axis=1)
        self.norms = space.geometry.norms
        self.sample = np.repeat(np.arange(len(x)), [len(each) for each in aims])
        self.target = np.concatenate([np.array(each, np.int64) for each in aims])

    def around(self, count: int, rng: np.random.Generator) -> Pieces:
        """Pieces that walks visit which start around each sample, from about `count` pieces.

        These are the sample's own, its neighbours behind the nearest kinks, and those of random
        points, as many again.
        """
        each = max(1, math.ceil(count * len(self.x) / len(self.sample) / 2))
        own = np.arange(len(self.sample))
        beside, on = self._beside(each)
        around = np.repeat(own, each)
        on = np.concatenate((self._on(own), on, self._scattered(around, rng)))
        index = np.concatenate((own, beside, around))
        unknown = np.full(len(index), math.nan)
        rows = np.zeros(len(index), np.int64)
        sample, target = self.sample[index], self.target[index]
        return self.walk(Pieces(sample, target, on, unknown, rows > 0, rows))

    def _on(self, index: IntArray) -> Flags:
        """Neurons on at the samples of some aims."""
        on: Flags = self.z[self.sample[index]] > 0
        return on

    def _beside(self, count: int) -> tuple[IntArray, Flags]:
        """For each aim, the pieces of its sample with one of the nearest kinks crossed."""
        far = np.abs(self.z) / np.where(self.norms > 0, self.norms, math.inf)
        counts = np.asarray(self.branching[self.target])
        order = np.argsort(np.where(counts, far[self.sample], math.inf), axis=1)[:, :count]
        index, rank = np.nonzero(np.take_along_axis(counts, order, 1))
        on = self._on(index)
        neuron = order[index, rank]
        on[np.arange(len(index)), neuron] ^= True
        return index, on

    def _scattered(self, index: IntArray, rng: np.random.Generator) -> Flags:
        """Neurons on at random points, along random combinations of the neurons' weights."""
        sample, U = self.sample[index], self.space.geometry.U
        z = self.z[sample]
        direction = rng.standard_normal(z.shape) @ U
        length = np.linalg.norm(direction, axis=1)
        far = np.median(np.abs(z) / np.where(self.norms > 0, self.norms, math.inf), axis=1)
        far *= 2.0 ** rng.uniform(*_SCATTER, len(z)) / np.where(length > 0, length, 1.0)
        c = self.within(sample, far[:, None] * direction)
        on: Flags = z + c @ U.T > 0
        return on

    def within(self, sample: IntArray, c: Array) -> Array:
        """Clip perturbations to the box."""
        if self.space.box is None:
            return c
        lo, hi = self.space.box
        return np.clip(c, lo - self.x[sample], hi - self.x[sample])

    def walk(self, walks: Pieces) -> Pieces:
        """Go from piece to piece, to none twice: all pieces that are visited."""
        names = np.random.default_rng(0).integers(2**63, size=walks.on.shape[1] + 2)
        seen, visited = np.zeros(0, np.int64), []
        for _ in range(_STEPS):
            keys = np.column_stack((walks.on.astype(np.int64), walks.sample, walks.target)) @ names
            keys, first = np.unique(keys, return_index=True)
            new = ~np.isin(keys, seen)
            if not new.any():
                break
            seen, walks = np.append(seen, keys[new]), walks.take(first[new])
            c, bound, row = self.step(walks)
            on = self.z[walks.sample] + c @ self.space.geometry.U.T > 0
            met = np.isfinite(bound) & ~(self.used[walks.target] & (on != walks.on)).any(axis=1)
            visited.append(walks._replace(bound=bound, met=met, row=row))
            walks = visited[-1]._replace(on=on).take(np.isfinite(bound) & ~met)
        fields: list[Any] = [np.concatenate(parts) for parts in zip(*visited, strict=True)]
        return Pieces(*fields)

    def step(self, pieces: Pieces) -> tuple[Array, Array, IntArray]:
        """Nearest points (S,p) of the zeros of pieces' affine functions, and their distances.

        Of several constraints the farthest, whose index is the last result, counts. inf: there are
        no zeros in the box.
        """
        z, U = self.z[pieces.sample], self.space.geometry.U
        best, c = np.full(len(z), -math.inf), np.zeros((len(z), U.shape[1]))
        row = np.zeros(len(z), np.int64)
        for i in range(self.beta.shape[1]):
            q = self.alpha[pieces.target, i] * pieces.on
            level = np.einsum("ij,ij->i", q, z) + self.beta[pieces.target, i]
            point, distance = self._nearest(pieces.sample, q @ U, np.maximum(level, 0.0))
            farther = distance > best
            best[farther], c[farther], row[farther] = distance[farther], point[farther], i
        return c, best, row

    def nearest_met(self, pieces: Pieces) -> dict[int, tuple[Pieces, Array]]:
        """For samples that have one, the nearest piece that is met, and its point (p,)."""
        met = np.flatnonzero(pieces.met)
        met = met[np.argsort(-pieces.bound[met])]
        last = {int(pieces.sample[k]): k for k in met.tolist()}
        found = pieces.take(np.array(list(last.values()), np.int64))
        c = self.step(found)[0]
        return {i: (found.take(np.array([k])), c[k]) for k, i in enumerate(last)}

    def _nearest(self, sample: IntArray, g: Array, level: Array) -> tuple[Array, Array]:
        """Nearest c (S,p) with level + <g, c> <= 0, and its length."""
        with np.errstate(all="ignore"):
            if self.space.plain:
                square = np.einsum("ij,ij->i", g, g)
                step = np.where(level > 0, level / square, 0.0)
                return -step[:, None] * g, step * np.sqrt(square)
            lo, hi = self.space.box or (-math.inf, math.inf)
            cap = np.where(g > 0, self.x[sample] - lo, hi - self.x[sample])
            size, distance = nearest_on(self.space.norm, level, np.abs(g), cap)
        return -np.copysign(size, g), distance
