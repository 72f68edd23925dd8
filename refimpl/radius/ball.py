"""One sample seen from inside a ball: intervals of z, and lines above the ReLUs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.radius.geometry import FLOOR, ROOT_FLOOR, Flags, Geometry, Target


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


class Ball:
    """One sample seen from inside ||c|| <= radius, where lo <= z(c) <= up.

    `size` (M,) is |W| |x| + |b|, the sums of absolute values behind z at the sample.
    """

    def __init__(self, geometry: Geometry, z: Array, size: Array, radius: float) -> None:
        self.geometry, self.z, self.size = geometry, z, size
        self.resize(radius)

    def resize(self, radius: float) -> None:
        """Take another radius, that of a new incumbent."""
        norms = self.geometry.norms
        self.radius = radius
        self.reach = self.size + norms * radius
        width = norms * radius + self.geometry.rounding * self.reach
        self.lo, self.up = self.z - width, self.z + width
        self.stable = np.where(self.lo >= 0, 1, np.where(self.up <= 0, -1, 0))

    def at(self, v: Array) -> Array:
        """Preactivations of the point U^T v."""
        return self.z + self.geometry.U @ (v @ self.geometry.U)

    def nodes(self, signs: IntArray, lo: Array, up: Array) -> Lines:
        """Lines above ReLU(z_r) on nodes of a tree, by their signs and intervals (B,M)."""
        lo, up = np.maximum(lo, self.lo), np.minimum(up, self.up)
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
