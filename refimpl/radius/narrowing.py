"""Intervals of z that a node's own minorant narrows, for the node and all that is below it (E41).

At an adversarial point of a node every affine minorant l(c) = l0 + <g, c> of its constraints has
l(c) <= 0. With ||c|| <= R the point lies in a cap of the ball, and over a cap every z_r has its
extremes in closed form. They are what a certificate shows with one multiplier mu >= 0 a cut,

    z_r <= z_r(0) - mu l0 + R ||u_r - mu g||,    z_r >= z_r(0) + mu l0 - R ||u_r + mu g||,

since mu l(c) + cut - z_r >= 0 on the whole ball, and likewise from below.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.radius.ball import Ball, Lines
from refimpl.radius.geometry import FLOOR, UNIT, Flags, Target
from refimpl.radius.leaf import Multipliers, minorant

_PADS = 16  # rounding errors added to every cut: the checker's bound of them is coarser than ours
_LEAST = 0.01  # of an interval's width: a cut of less is not worth its place in a certificate


class Intervals(NamedTuple):
    """lo <= z <= up where a node has adversarial points, and the mu that show it; all (B,M)."""

    lo: Array
    up: Array
    mu_lo: Array
    mu_up: Array

    def take(self, index: Any) -> Intervals:
        """Return some of the nodes."""
        return Intervals(*(array[index] for array in self))


class Narrowing(NamedTuple):
    """One node's narrowing step: multipliers of its minorant, and cuts as in a certificate."""

    multipliers: Multipliers
    neuron: Array
    side: Array
    bound: Array
    mu: Array


def affine(
    ball: Ball, target: Target, lines: Lines, lo: Array, up: Array, w: Array, tau: Array, nu: Array
) -> Intervals:
    """Cut the intervals (B,M) of nodes by the minorants that their multipliers give (E41)."""
    geometry, radius = ball.geometry, ball.radius
    q, constant = minorant(ball, target, lines, w, tau, nu)
    g = q @ geometry.U
    length = np.sqrt(np.square(g).sum(axis=1))[:, None]
    absolute = w @ target.size + nu
    noise = ball.noise(target, w, absolute)[:, None]
    noise = noise + radius * geometry.factor * (length + (absolute @ geometry.norms)[:, None])
    with np.errstate(all="ignore"):
        depth = (q @ ball.z + constant)[:, None] / length  # of the plane l = 0, from the sample
        # Rounding of R^2 - depth^2 is paid for under the root, where both are nearly equal.
        root = radius * np.sqrt(np.maximum(1 - np.square(depth / radius), 0.0) + 8 * UNIT)
        along = g @ geometry.U.T / length
        across = geometry.squares - np.square(along) + 8 * geometry.factor * geometry.squares
        across = np.sqrt(np.maximum(across, 0.0)) + UNIT * geometry.norms
        # The extremes over the cap, and the mu that show them. (E41)
        top = across * root - along * depth, (along + across * depth / root) / length
        bottom = across * root + along * depth, (across * depth / root - along) / length
    free = (lo < 0) & (up > 0) & (np.abs(depth) < radius)
    pad = _PADS * (geometry.rounding * ball.reach + radius * geometry.factor * geometry.norms)
    cut: list[Array] = []
    for extreme, mu in (top, bottom):
        with np.errstate(all="ignore"):
            width = extreme + pad + _PADS * mu * noise + FLOOR
        cut.append(np.where(free & (mu > 0) & np.isfinite(width), width, np.inf))
    enough = _LEAST * (up - lo)
    new_up, new_lo = ball.z + cut[0], ball.z - cut[1]
    lower_up, higher_lo = new_up < up - enough, new_lo > lo + enough
    return Intervals(
        np.where(higher_lo, new_lo, lo),
        np.where(lower_up, new_up, up),
        np.where(higher_lo, bottom[1], 0.0),
        np.where(lower_up, top[1], 0.0),
    )


def step(
    cut: Intervals, target: Target, lo: Array, up: Array, b: int, multipliers: Multipliers
) -> Narrowing:
    """Return the narrowing step of one node b, from its old intervals lo and up (M,)."""
    # Of own neurons a certificate needs no intervals, but for the proof that one is empty.
    used = target.is_branching | (cut.lo[b] > cut.up[b])
    above, below = np.flatnonzero((cut.up[b] < up) & used), np.flatnonzero((cut.lo[b] > lo) & used)
    return Narrowing(
        multipliers,
        np.concatenate((above, below)),
        np.repeat((1, -1), (len(above), len(below))),
        np.concatenate((cut.up[b, above], cut.lo[b, below])),
        np.concatenate((cut.mu_up[b, above], cut.mu_lo[b, below])),
    )


def losses(target: Target, lo: Array, up: Array, phase: IntArray) -> Array:
    """How far the chords of the free branching neurons lie above ReLU, in all (B,)."""
    weight = np.where(target.is_branching & (phase == 0), -target.negative.min(axis=0), 0.0)
    with np.errstate(all="ignore"):
        height = np.where(weight > 0, -lo * up / (up - lo), 0.0)
    return (weight * height).sum(axis=-1)


def contradictory(lo: Array, up: Array) -> Flags:
    """Tell where some interval is empty: no adversarial point is there."""
    result: Flags = np.asarray((lo > up).any(axis=-1))
    return result
