"""Multipliers of a box's sides beside a quadratic with its least value on the region (E40).

Where -a <= delta <= b, every sigma in R^d has

    0 >= sum_j (sigma_j^+ (delta_j - b_j) - sigma_j^- (delta_j + a_j)),

and a quadratic may have this added. The best sigma_j are minus what its gradient has at its least
point in the box where the box holds that point, and 0 elsewhere. Floats find about that point, and
what they find is as good as any: both arithmetics go on from there with the multipliers as they
are. So there is nothing of them in a certificate.
"""

from __future__ import annotations

import numpy as np

from refimpl._arrays import Array

_TURNS = 12  # of Newton's method; 3 to 6 are usual
_MORE_TURNS = 40  # with a derivative that is a little off
_CLOSE, _NEAR = 2.0**-50, 2.0**-36  # relative steps that end it; errors count by their squares


def least_points(
    V: Array, D: Array, lam: float, slope: Array, moves: Array, a: Array, b: Array
) -> Array:
    """About where <slope + move, delta> + <delta, H delta> is least in the box, for moves (k,d).

    H = lam I - V^T D V with V (n,d) is positive definite. The point is the delta with delta =
    clip(-(slope + move) / (2 lam) + V^T v), v = D V delta / lam: n equations, with a derivative in
    the coordinates that are not held. That of the point without a move serves all others too.
    """
    D = D / lam
    v, near, inverse = np.zeros(len(D)), -slope / (2 * lam), np.zeros((len(D), len(D)))
    for _ in range(_TURNS):
        pull = near + v @ V
        free = V[:, (pull > -a) & (pull < b)]
        derivative = np.diag(1 / D) - free @ free.T
        if not np.isfinite(derivative).all():
            break
        inverse = np.linalg.pinv(derivative, hermitian=True)
        step = inverse @ (V @ np.clip(pull, -a, b) - v / D)
        v = v + step
        if np.abs(step).max() <= _CLOSE * np.abs(v).max():
            break
    each, near = np.tile(v, (len(moves), 1)), near - moves / (2 * lam)
    for _ in range(_MORE_TURNS if moves.any() else 0):
        steps = (np.clip(near + each @ V, -a, b) @ V.T - each / D) @ inverse
        each = each + steps
        if np.abs(steps).max() <= _NEAR * np.abs(each).max():
            break
    return np.clip(near + each @ V, -a, b)


def outward(points: Array, gradients: Array, a: Array, b: Array) -> Array:
    """What the sides that hold points (k,d) take of the gradients there: minus sigma."""
    held = (points >= b) & (gradients < 0) | (points <= -a) & (gradients > 0)
    return np.where(held, gradients, 0.0)


def multipliers(
    V: Array, D: Array, lam: float, slope: Array, moves: Array, a: Array, b: Array
) -> Array:
    """Return sigma (k,d) of the same quadratics; where floats are out of range, 0."""
    points = least_points(V, D, lam, slope, moves, a, b)
    gradients = slope + moves + 2 * (lam * points - ((points @ V.T) * D) @ V)
    return np.nan_to_num(-outward(points, gradients, a, b), nan=0.0, posinf=0.0, neginf=0.0)
