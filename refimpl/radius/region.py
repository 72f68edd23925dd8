"""What depends on the norm and on a box: one sample seen from inside Omega(R) (E37 to E39).

A `Ball` is the l2 ball without a box, where a perturbation needs but min(M, d) coordinates. A
`Region` is any other norm's ball, cut with a box, in all d coordinates. The search sees neither: it
asks for intervals of z, for the distance of a half-space, for the nearest point under a few linear
constraints, for cuts of intervals, and for the length of a point.

Rounding: z, q and constants are off as for a ball, by `rounding` times the sum of absolute values,
where neuron r counts with `reach_r` >= |W_r| |x| + |b_r| + max over Omega(R) of sum_j |W_rj|
|delta_j|. The gradient W^T q of a minorant is off componentwise, by at most `rounding` times
sum_r |q_r| |W_rj|, which times |delta_j| is no more than the same sum again. Caps are rounded up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from refimpl._arrays import Array
from refimpl.network import TwoLayerReLU
from refimpl.radius.ball import Ball, Least, Split
from refimpl.radius.geometry import FLOOR, UNIT, Flags, Geometry, Target
from refimpl.radius.nearest import nearest
from refimpl.radius.points import length
from refimpl.radius.support import (
    Pull,
    corner,
    distance,
    dual_norm,
    facing,
    fill,
    multiple,
    reach,
    support,
)

_WHOLE = 4.0  # times the farthest corner of a box: a radius of all of it
_HALVINGS = 7
_MULTIPLES = np.arange(1.0, 9.0)  # of the nearest point without a box, to start from


@dataclass(frozen=True, eq=False)
class Space:
    """Where perturbations are looked for: a norm, and a box lo <= x' <= hi (d,), or None."""

    geometry: Geometry
    norm: float = 2.0
    box: tuple[Array, Array] | None = None

    @classmethod
    def of(cls, net: TwoLayerReLU, norm: float, box: tuple[Array, Array] | None) -> Space:
        """Space of one network's samples."""
        with np.errstate(all="ignore"):  # of networks that are out of range
            if norm == 2 and box is None:
                return cls(Geometry.of(net), norm, box)
            if box is None or not (fixed := box[0] == box[1]).any():
                return cls(Geometry.full(net), norm, box)
            return cls(Geometry.within(net, np.where(fixed, 0.0, net.W)), norm, box)

    @cached_property
    def duals(self) -> Array:
        """Dual norms of the weights, rounded up (M,)."""
        W = self.geometry.U
        return dual_norm(self.norm, W) * (1 + (W.shape[1] + 8) * UNIT)

    @property
    def plain(self) -> bool:
        """Whether it is l2 without a box."""
        return self.norm == 2 and self.box is None

    def around(self, x: Array, z: Array, size: Array) -> Ball:
        """Return what a sample sees."""
        if self.plain:
            return Ball(self.geometry, z, size, 0.0)
        return Region(self, x, z, size)

    def loose(self, end: Array) -> Flags:
        """Tell which coordinates (d,) of a point no side of the box holds."""
        if self.box is None:
            return np.ones(len(end), np.bool_)
        result: Flags = (self.box[0] < end) & (end < self.box[1])
        return result

    def end(self, x: Array, perturbation: Array) -> tuple[Array, Array]:
        """Endpoints in the box of perturbations (s,d), and the perturbations with x + p = end."""
        end = x + perturbation
        if self.box is None:
            return end, perturbation
        lo, hi = self.box
        inside = np.clip(end, lo, hi)
        p = np.where(inside != end, inside - x, perturbation)
        # A difference of floats may be rounded away from x.
        while (outside := (x + p > hi) | (x + p < lo)).any():
            p = np.where(outside, np.nextafter(p, 0.0), p)
        return x + p, p

    def length(self, perturbation: Array) -> Array:
        """Norms of the rows (n,d), rounded up."""
        size = np.abs(perturbation)
        if self.norm == math.inf:
            return np.asarray(size.max(axis=1))
        if self.norm == 1:
            return np.asarray(size.sum(axis=1) * (1 + (size.shape[1] + 4) * UNIT))
        return length(perturbation)


class Region(Ball):
    """One sample seen from inside Omega(radius) = {||c||_p <= radius, -a <= c <= b}.

    c is the perturbation itself, and U is W, without what is fixed.
    """

    euclidean = False

    def __init__(self, space: Space, x: Array, z: Array, size: Array) -> None:
        self.norm, d = space.norm, len(x)
        lo, hi = space.box or (np.full(d, -math.inf), np.full(d, math.inf))
        sides = x - lo, hi - x  # (E37)
        self.a, self.b = (np.where(s > 0, np.nextafter(s, math.inf), 0.0) for s in sides)
        self.geometry, self.z, self.size, self.radius = space.geometry, z, size, math.nan
        self.duals = space.duals
        wide = np.maximum(self.a, self.b)
        self.spread = corner(self.geometry.U, wide, wide)
        self.farthest_corner = float(np.linalg.norm(wide, self.norm)) * (1 + (d + 8) * UNIT)
        self.whole = _WHOLE * self.farthest_corner
        root = math.sqrt(d)
        self.per_l2 = (1 / root if self.norm == math.inf else 1.0, root if self.norm == 1 else 1.0)

    def resize(self, radius: float) -> None:
        """Take another radius; none reaches farther than the whole box."""
        if self.radius == min(radius, self.whole):
            return
        self.radius = min(radius, self.whole)
        self.is_whole = self.radius == self.whole
        far = np.fmin(self.duals * self.radius, self.spread)
        self.reach = self.size + far
        error = self.geometry.rounding * self.reach + FLOOR
        away = np.where(self.z > 0, 1.0, -1.0)
        self.far, self.error, self.away = far, error, away
        self.toward = self.farther(far, -away, np.abs(self.z) <= far + error)
        settled = np.abs(self.z) - self.toward - error >= 0
        self.stable = np.where(settled, away, 0.0).astype(np.int64)
        self.outward: Array | None = None
        self.splits: list[Split] = []

    def intervals(self) -> tuple[Array, Array]:
        """Lo and up (M,), as narrow as the region where they decide a sign, or hold a kink."""
        if self.outward is None:
            self.outward = self.farther(self.far, self.away, self.stable == 0)
        up = self.away > 0
        lo = self.z - np.where(up, self.toward, self.outward) - self.error
        return lo, self.z + np.where(up, self.outward, self.toward) + self.error

    def farther(self, far: Array, signs: Array, some: Flags) -> Array:
        """How far neurons go to one side (M,): `some` as the region lets them, the others `far`."""
        far = far.copy()
        far[some] = self.farthest(signs[some, None] * self.geometry.U[some])
        return far

    def farthest(self, v: Array) -> Array:
        """Largest <v_i, c> in the region, rounded up (B,)."""
        if self.radius > self.farthest_corner:
            return corner(v, self.a, self.b)
        return support(self.norm, v, self.a, self.b, self.radius)

    def at(self, v: Array) -> Array:
        """Preactivations of points (..., d)."""
        return self.z + v @ self.geometry.U.T

    def length(self, v: Array) -> float:
        """Norm of a point."""
        return float(np.linalg.norm(v, self.norm))

    def perturbation(self, v: Array, W: Array) -> Array:
        """Perturbation that a point is."""
        return v

    def start(self, v: Array, targets: list[Target], W: Array) -> Array:
        """First multiple of v W, clipped, that meets a target, or the farthest one."""
        points = np.clip(_MULTIPLES[:, None] * (v @ W), -self.a, self.b)
        z = self.at(points)
        met = np.any([(target.values(z) <= 0).all(axis=1) for target in targets], axis=0)
        return np.asarray(points[met.argmax() if met.any() else -1])

    def lower(self, target: Target, w: Array, q: Array, constant: Any, extra: Any = 0.0) -> Array:
        """Bound ||c|| from below where <q, z(c)> + constant <= 0 in the box (E39); see `Ball`.

        Errors are bounded for points of the region, and so the result is at most its radius, but
        where the whole box has no such point: inf.
        """
        absolute = w @ target.size + extra
        level = q @ self.z + constant - 2 * self.noise(target, w, absolute)
        found, positive = np.zeros(np.shape(level)), level > 0
        if positive.any():
            v = -q[positive] @ self.geometry.U
            within = math.inf if self.is_whole else self.radius
            far = distance(self.norm, level[positive], v, self.a, self.b, within)
            if not self.is_whole:
                far = np.minimum(far, self.radius)
            found[positive] = far
        return found

    def box(self) -> tuple[Array, Array, Array] | None:
        """Weights and sides of the box, for parabolas."""
        return self.geometry.U, self.a, self.b

    def inward(self, v: Array, gradient: Array) -> Array:
        """Leave out of a gradient at a point what the sides that hold it take (E40)."""
        held = (v >= self.b) & (gradient < 0) | (v <= -self.a) & (gradient > 0)
        return np.where(held, 0.0, gradient)  # (E40)

    def nearest(self, rows: Array, scale: float) -> Least:
        """Nearest point with <gradient, c> >= value, for rows (gradient, value)."""
        u, c = nearest(self.norm, rows[:, :-1], rows[:, -1], self.a, self.b)
        if c is None or self.length(c) > 2 * self.radius:
            c = np.zeros(len(self.a))
        return Least(u, 0.0, c)

    def distances(self, q: Array, level: Array, step: Array, some: Flags) -> Array:
        """Distances of {<q + step_r e_r, z(c) - z> + level_r <= 0} for some r; see `Ball`."""
        W, level = self.geometry.U, level[some]
        v = -q @ W - step[some, None] * W[some]
        found = distance(self.norm, np.maximum(level, 0.0), v, self.a, self.b, self.radius)
        return np.where(level > 0, found, 0.0)

    def stretch(self, target: Target, w: Array, q: Array, constant: Array, nu: Array) -> Any:
        """How many times its l2 distance a half-space is away, about (B,)."""
        straight = (q @ self.z + constant) / np.linalg.norm(q @ self.geometry.U, axis=1)
        found = self.lower(target, w, q, constant, nu)
        return np.where(straight > 0, found / straight, 1.0)

    def slack(self, target: Target, w: Array, absolute: Array, g: Array) -> Array:
        """Bound the rounding error of an affine minorant anywhere in the region (B,)."""
        return 2 * self.noise(target, w, absolute)

    def extremes(self, g: Array, level: Array, free: Flags) -> list[tuple[Array, Array]]:
        """Largest <w_r, c> and <-w_r, c> where level + <g, c> <= 0, about; see `Ball` (E41).

        Any mu >= 0 bounds <w, c> by H(w - mu g) - mu level. A good one is where the maximiser of
        w - mu g has level + <g, c> = 0.
        """
        free = free & (level > 0)[:, None]
        owner, neuron = np.nonzero(free)
        straight = self.caps(g, level) if self.norm == 2 else []
        found = []
        for k, sign in enumerate((1.0, -1.0)):
            W = sign * self.geometry.U[neuron]
            some = straight[k][free] if straight else self.bisect(W, g[owner], level[owner])
            most, mu = np.full(free.shape, math.inf), np.zeros(free.shape)
            most[free] = self.farthest(W - some[:, None] * g[owner]) - some * level[owner]
            mu[free] = some
            found.append((np.where(mu > 0, most, math.inf), mu))
        return found

    def caps(self, g: Array, level: Array) -> list[Array]:
        """Multipliers mu (B,M) for p = 2, above and below, 0 where there is none or no kink.

        With the linear functions less the parts q of good splits, there is the cap of a ball.
        """
        kinked = np.flatnonzero(self.stable == 0)
        if not self.splits:
            self.splits = [self.split(sign * self.geometry.U[kinked]) for sign in (1.0, -1.0)]
        down = self.split(-g, level)
        length = np.sqrt(down.squares)[:, None]
        with np.errstate(all="ignore"):
            depth = (level - down.rest)[:, None] / length
            root = np.sqrt(self.radius**2 - np.square(depth))
            found = []
            for up in self.splits:
                along = -down.inner @ up.inner.T / length
                across = np.sqrt(np.maximum(up.squares - np.square(along), 0.0))
                mu = (along + across * depth / root) / length  # (E41)
                found.append(np.zeros((len(g), len(self.z))))
                found[-1][:, kinked] = np.where(np.isfinite(mu) & (mu > 0), mu, 0.0)
        return found

    def split(self, v: Array, level: Array | None = None) -> Split:
        """Split rows (B,d) into a part for the l2 norm and one for the box (E38).

        `level` is what <v, c> is to reach; else it is to go as far as the radius lets it.
        """
        pull = Pull.of(2, v, self.a, self.b, self.radius)
        with np.errstate(all="ignore"):
            t = multiple(pull, self.radius) if level is None else reach(2, pull, level)[0]
            inner, kept = pull.v, pull.kept(2, t)
            inner[:, pull.inside] = np.copysign(kept, inner[:, pull.inside])
        return Split(inner, pull.rest(kept), np.einsum("ij,ij->i", inner, inner))

    def bisect(self, W: Array, g: Array, level: Array) -> Array:
        """Multipliers mu (F,) row by row for any p: the tangents of angles, in units of their own.

        level + <g, c> falls as mu rises.
        """
        unit = np.linalg.norm(W, axis=1) / np.linalg.norm(g, axis=1)
        low, high = np.zeros(len(W)), np.full(len(W), math.pi / 2)
        for _ in range(_HALVINGS):
            angle = (low + high) / 2
            v = W - (unit * np.tan(angle))[:, None] * g
            size, cap = facing(v, self.a, self.b)
            if self.norm == math.inf:
                size = np.minimum(cap, self.radius)
            else:
                size, _ = fill(size, cap, np.full(len(v), self.radius), np.ones_like(v))
            beyond = level + np.einsum("ij,ij->i", g, np.copysign(size, v)) > 0
            low, high = np.where(beyond, angle, low), np.where(beyond, high, angle)
        return unit * np.tan((low + high) / 2)
