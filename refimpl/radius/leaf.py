"""What the multipliers of a certificate's leaf prove about a node (E33).

For w >= 0 over a target's constraints, gamma = sum_i w_i alpha_i, tau in [0,1] and nu >= 0 on the
neurons whose sign is demanded, sum_i w_i g_i has an affine minorant on the node within the ball:
the line tau_r gamma_r z_r where gamma_r >= 0, gamma_r times a line above ReLU(z_r) where gamma_r <
0, and -nu_r z_r or nu_r z_r where z_r >= 0 or z_r <= 0. Any multipliers bound the node's distance
from below.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refimpl._arrays import Array
from refimpl.radius.ball import Ball, Lines
from refimpl.radius.geometry import Target


class Multipliers(NamedTuple):
    """A row of a certificate: w (I,), tau (M,), nu (M,); kappa (M,) and lambda with parabolas."""

    weights: Array
    tau: Array
    nu: Array
    kappa: Array | None = None
    ball: float = 0.0


def minorant(
    ball: Ball, target: Target, lines: Lines, w: Array, tau: Array, nu: Array
) -> tuple[Array, Array]:
    """q (B,M) and constant (B,): <q, z(c)> + constant <= sum_i w_i g_i on each node in the ball."""
    gamma = w @ target.alpha
    q = gamma * np.where(gamma > 0, tau, lines.slope) - lines.signs * nu
    return q, w @ target.beta + (np.minimum(gamma, 0.0) * lines.offset).sum(axis=1)  # (E33)


def prove(ball: Ball, target: Target, lines: Lines, w: Array, tau: Array, nu: Array) -> Array:
    """Lower bounds (B,) that multipliers prove as leaves of a certificate."""
    q, constant = minorant(ball, target, lines, w, tau, nu)
    return ball.lower(target, w, q, constant, nu)


def probe(
    ball: Ball, target: Target, lines: Lines, w: Array, tau: Array, nu: Array
) -> tuple[Array, Array]:
    """Bounds of all halves of all nodes by two constraints alone: (2,B,M), and their nu_r (2,B,M).

    The half z_r >= 0 (first) or z_r <= 0 keeps the node's multipliers but for the line of neuron r,
    which has its phase now, and nu_r: l(c) <= 0 with l = l0 + <g, c> and the sign have a nearest
    point in closed form.
    """
    U, z = ball.geometry.U, ball.z
    square = ball.geometry.squares
    q, constant = minorant(ball, target, lines, w, tau, nu)
    chord = np.where(lines.phase == 0, np.minimum(w @ target.alpha, 0.0), 0.0)
    g = q @ U
    gu, gg = g @ U.T, np.square(g).sum(axis=1)[:, None]
    l0 = (q @ z + constant)[:, None] - chord * lines.offset
    lower, weight = np.empty((2, *q.shape)), np.empty((2, *q.shape))
    for half, sign in enumerate((1.0, -1.0)):
        step = chord * ((sign > 0) - lines.slope)
        a = l0 + step * z
        au, aa = gu + step * square, gg + 2 * step * gu + np.square(step) * square
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (z * aa - a * au) / (z * au - a * square)
            t = np.where((t * sign > 0) & (a * aa > 0) & (sign * (z - a * au / aa) < 0), t, 0.0)
            distance = (a - t * z) / np.sqrt(aa - 2 * t * au + np.square(t) * square)
        lower[half] = np.where((a > 0) & (distance > 0), distance, 0.0)
        weight[half] = np.where(np.isfinite(t), t * sign, 0.0)
    return lower * np.reshape(ball.stretch(target, w, q, constant, nu), (-1, 1)), weight
