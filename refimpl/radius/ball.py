"""One sample seen from inside a ball: intervals of z, and lines above the ReLUs."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.geometry import FLOOR, ROOT_FLOOR, UNIT, Flags, Geometry, Target
from refimpl.radius.nearest import EMPTY, least_distance


class Lines(NamedTuple):
    """What stands for ReLU(z_r) on B nodes: slope_r z_r + offset_r where its weight is negative.

    Where the weight is positive: z_r, 0, or planes, by the phase 1 on, -1 off, 0 free. `signs` has
    the neurons whose sign is demanded, 1 for z_r >= 0, -1 for z_r <= 0. All are (B,M).
    """

    signs: IntArray
    phase: IntArray
    slope: Array
    offset: Array

    def take(self, index: Any) -> Lines:
        """Return some of the nodes."""
        return Lines(*(array[index] for array in self))


class Least(NamedTuple):
    """Multipliers u >= 0 of some rows, and the nearest point: `step` times their sum, or itself."""

    u: Array
    step: float
    point: Array | None


class Split(NamedTuple):
    """Rows v = inner + q (B,p), with sum |q_j| cap_j and ||inner||^2 (B,); q = 0 without a box."""

    inner: Array
    rest: Array
    squares: Array


class Ball:
    """One sample seen from inside ||c|| <= radius.

    `size` (M,) is |W| |x| + |b|, the sums of absolute values behind z at the sample. A point c =
    U^T v is given by v (M,).
    """

    euclidean = True  # whether it is an l2 ball without a box
    norm = 2.0
    is_whole = False  # whether it is all of a box
    per_l2 = 1.0, 1.0  # how long at least and at most a perturbation of l2 norm 1 is

    def __init__(self, geometry: Geometry, z: Array, size: Array, radius: float) -> None:
        self.geometry, self.z, self.size = geometry, z, size
        self.resize(radius)

    def resize(self, radius: float) -> None:
        """Take another radius, that of a new incumbent."""
        norms = self.geometry.norms
        self.radius = radius
        self.reach = self.size + norms * radius
        width = norms * radius + self.geometry.rounding * self.reach
        self.ends = self.z - width, self.z + width
        self.stable = np.where(self.ends[0] >= 0, 1, np.where(self.ends[1] <= 0, -1, 0))

    def intervals(self) -> tuple[Array, Array]:
        """Lo and up (M,) with lo <= z(c) <= up in the ball."""
        return self.ends

    def at(self, v: Array) -> Array:
        """Preactivations of points v (..., M)."""
        return self.z + (v @ self.geometry.U) @ self.geometry.U.T

    def length(self, v: Array) -> float:
        """Norm of a point."""
        return float(np.linalg.norm(v @ self.geometry.U))

    def perturbation(self, v: Array, W: Array) -> Array:
        """Perturbation (d,) that a point stands for."""
        return v @ W

    def start(self, v: Array, targets: list[Target], W: Array) -> Array:
        """Point to start from: the one of weights v."""
        return v

    def box(self) -> tuple[Array, Array, Array] | None:
        """Weights and sides of a box, for parabolas."""
        return None

    def inward(self, v: Array, gradient: Array) -> Array:
        """Leave out of a gradient at a point what the sides of a box that hold it take."""
        return gradient

    def nearest(self, rows: Array, scale: float) -> Least:
        """Nearest point with <gradient, c> >= value, for rows (gradient, value) of unit gradients.

        `scale` is about its distance. A point outside the ball is none of this search's: the step
        is 0 then.
        """
        u, missing, scale = least_distance(rows, scale)
        inside = missing > EMPTY and missing * (1 + (2 * self.radius / scale) ** 2) >= 1
        return Least(u, -scale / missing if inside else 0.0, None)

    def nodes(self, signs: IntArray, lo: Array, up: Array) -> Lines:
        """Lines above ReLU(z_r) on nodes of a tree, by their signs and intervals (B,M)."""
        own = self.intervals()
        lo, up = np.maximum(lo, own[0]), np.minimum(up, own[1])
        phase = np.where(signs != 0, signs, np.where(lo >= 0, 1, np.where(up <= 0, -1, 0)))
        free = phase == 0
        slope = np.where(free, up, phase > 0) / np.where(free, up - lo, 1.0)
        return Lines(signs, phase, slope, np.where(free, -slope * lo, 0.0))

    def piece(self, on: Flags) -> Lines:
        """Lines of the pieces of the branching neurons `on` (B,M): z_r there, 0 elsewhere."""
        slope = np.where(self.stable == 0, on, self.stable > 0).astype(np.float64)
        zero = np.zeros_like(slope)
        phase = np.broadcast_to(self.stable, slope.shape)
        return Lines(zero.astype(np.int64), phase, slope, zero)

    def noise(self, target: Target, w: Array, absolute: Array) -> Array:
        """Bound the rounding error of an affine minorant's value at the sample (B,)."""
        rounding = self.geometry.rounding
        return rounding * (absolute @ self.reach + w @ target.constant) + FLOOR

    def lower(self, target: Target, w: Array, q: Array, constant: Any, extra: Any = 0.0) -> Array:
        """Bound ||c|| from below where <q, z(c)> + constant <= 0, for rows of q (B,M).

        l0 / ||l1|| with the rounding error of both taken off: see `Geometry`. Neurons have the
        absolute weights w (B,I) times the target's sizes, and `extra` (B,M) beyond that.
        """
        absolute = w @ target.size + extra
        noise = self.noise(target, w, absolute)
        l1 = np.sqrt(np.square(q @ self.geometry.U).sum(axis=-1))
        l1 += self.geometry.factor * (l1 + absolute @ self.geometry.norms) + ROOT_FLOOR
        l0 = np.maximum(q @ self.z + constant - noise, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(l0 > 0, l0 / l1, 0.0)  # (E31)

    def distances(self, q: Array, level: Array, step: Array, some: Flags) -> Array:
        """Distances of {<q + step_r e_r, z(c) - z> + level_r <= 0} for some r, but for rounding."""
        U, g, step = self.geometry.U[some], q @ self.geometry.U, step[some]
        square = g @ g + 2 * step * (U @ g) + np.square(step) * self.geometry.squares[some]
        with np.errstate(all="ignore"):
            return np.asarray(level[some] / np.sqrt(square))

    def split(self, v: Array, level: Array | None = None) -> Split:
        """Split rows (B,p) into a part for the norm and one for the box: see `Region`."""
        return Split(v, np.zeros(len(v)), np.square(v).sum(axis=1))

    def stretch(self, target: Target, w: Array, q: Array, constant: Array, nu: Array) -> Any:
        """How many times its l2 distance a half-space is away, about (B,)."""
        return 1.0

    def slack(self, target: Target, w: Array, absolute: Array, g: Array) -> Array:
        """Bound the rounding error of an affine minorant anywhere in the ball (B,)."""
        factor, norms = self.geometry.factor, self.geometry.norms
        length = np.sqrt(np.square(g).sum(axis=1))
        gradient = self.radius * factor * (length + absolute @ norms)
        return self.noise(target, w, absolute) + gradient

    def extremes(self, g: Array, level: Array, free: Flags) -> list[tuple[Array, Array]]:
        """Largest <u_r, c> and <-u_r, c> where level + <g, c> <= 0, and the mu that show it (E41).

        Both (B,M), inf where `free` is false or nothing is gained, for g (B,p) and level (B,).
        """
        geometry, radius = self.geometry, self.radius
        length = np.sqrt(np.square(g).sum(axis=1))[:, None]
        with np.errstate(all="ignore"):
            depth = level[:, None] / length  # of the plane, from the sample
            # Rounding of R^2 - depth^2 is paid for under the root, where both are nearly equal.
            root = radius * np.sqrt(np.maximum(1 - np.square(depth / radius), 0.0) + 8 * UNIT)
            along = g @ geometry.U.T / length
            across = geometry.squares - np.square(along) + 8 * geometry.factor * geometry.squares
            across = np.sqrt(np.maximum(across, 0.0)) + UNIT * geometry.norms
            top = across * root - along * depth, (along + across * depth / root) / length  # (E41)
            bottom = across * root + along * depth, (across * depth / root - along) / length
        free = free & (np.abs(depth) < radius)
        return [(np.where(free & (mu > 0), most, math.inf), mu) for most, mu in (top, bottom)]
