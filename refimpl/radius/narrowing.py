"""Intervals of z that a node's own minorant narrows, for the node and all that is below it (E41).

At an adversarial point of a node every affine minorant l(c) = l0 + <g, c> of its constraints has
l(c) <= 0. With ||c|| <= R the point lies in a cap of the ball, and over a cap every z_r has its
extremes in closed form. They are what a certificate shows with one multiplier mu >= 0 a cut,

    z_r <= z_r(0) - mu l0 + R ||u_r - mu g||,    z_r >= z_r(0) + mu l0 - R ||u_r + mu g||,

since mu l(c) + cut - z_r >= 0 on the whole ball, and likewise from below.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.ball import Ball, Lines
from refimpl.radius.geometry import FLOOR, Flags, Target
from refimpl.radius.leaf import Multipliers, minorant

_PADS = 16  # rounding errors added to every cut: the checker's bound of them is coarser than ours
_MUCH = 0.005  # of all chords' losses
_LEAST = 0.01  # of an interval's width: a cut of less is not worth its place in a certificate


class Intervals(NamedTuple):
    """lo <= z <= up where a node has adversarial points, and the mu that show it; all (B,M)."""

    lo: Array
    up: Array
    mu_lo: Array
    mu_up: Array


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
    noise = ball.slack(target, w, w @ target.size + nu, g)[:, None]
    free = (lo < 0) & (up > 0)
    if not ball.euclidean:  # where a cut has no closed form, it is for chords that lose much
        lost = losses(target, lo, up, lines.phase)
        free &= lost > _MUCH * lost.sum(axis=1, keepdims=True)
    top, bottom = ball.extremes(g, q @ ball.z + constant, free)
    pad = _PADS * (geometry.rounding * ball.reach + radius * geometry.factor * geometry.norms)
    cut: list[Array] = []
    for extreme, mu in (top, bottom):
        with np.errstate(all="ignore"):
            width = extreme + pad + _PADS * mu * noise + FLOOR
        cut.append(np.where(np.isfinite(width), width, np.inf))
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
    """How far the chord of each free branching neuron lies above ReLU, times its weight (B,M)."""
    weight = np.where(target.is_branching & (phase == 0), -target.negative.min(axis=0), 0.0)
    with np.errstate(all="ignore"):
        height = np.where(weight > 0, -lo * up / (up - lo), 0.0)
    return weight * height


def contradictory(lo: Array, up: Array) -> Flags:
    """Tell where some interval is empty: no adversarial point is there."""
    result: Flags = np.asarray((lo > up).any(axis=-1))
    return result
