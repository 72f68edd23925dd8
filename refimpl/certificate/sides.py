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

_TURNS = 20  # of Newton's method; 3 to 6 are usual
_CLOSE = 2.0**-40  # a relative step that ends it: what it leaves counts by its square


def least_points(
    V: Array, D: Array, lam: float, slope: Array, moves: Array, a: Array, b: Array
) -> Array:
    """About where <slope + move, delta> + <delta, H delta> is least in the box, for moves (k,d).

    H = lam I - V^T D V with V (n,d) is positive definite. The point is the delta with delta =
    clip(-(slope + move) / (2 lam) + V^T v), v = D V delta / lam: n equations, to which Newton's
    method is applied, with the coordinates that are not held.
    """
    D, near = D / lam, -slope / (2 * lam)
    start = _solution(V, D, near, np.zeros(len(D)), a, b)
    rows = [
        np.clip(row + _solution(V, D, row, start, a, b) @ V, -a, b)
        for row in near - moves / (2 * lam)
    ]
    return np.reshape(rows, (len(moves), len(near)))


def _solution(V: Array, D: Array, near: Array, v: Array, a: Array, b: Array) -> Array:
    """About the v (n,) of one point, where D is over lam, beginning from another."""
    for _ in range(_TURNS):
        pull = near + v @ V
        free = V[:, (pull > -a) & (pull < b)]
        derivative = np.diag(1 / D) - free @ free.T
        left = V @ np.clip(pull, -a, b) - v / D
        try:
            step = np.linalg.solve(derivative, left)
        except np.linalg.LinAlgError:  # H is not definite, and what v is does not matter
            break
        v = v + step
        if not np.abs(step).max() > _CLOSE * np.abs(v).max():
            break
    return v


def outward(points: Array, gradients: Array, a: Array, b: Array) -> Array:
    """Return what the sides that hold points (k,d) take of the gradients there: minus sigma."""
    held = (points >= b) & (gradients < 0) | (points <= -a) & (gradients > 0)
    return np.where(held, gradients, 0.0)


def multipliers(
    V: Array, D: Array, lam: float, slope: Array, moves: Array, a: Array, b: Array
) -> Array:
    """Return sigma (k,d) of the same quadratics; where floats are out of range, 0."""
    points = least_points(V, D, lam, slope, moves, a, b)
    gradients = slope + moves + 2 * (lam * points - ((points @ V.T) * D) @ V)
    return np.nan_to_num(-outward(points, gradients, a, b), nan=0.0, posinf=0.0, neginf=0.0)
