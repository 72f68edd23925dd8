"""Nearest points of a ball, and of what a box leaves of it."""

from __future__ import annotations

import math

import numpy as np

from refimpl._arrays import Array
from refimpl.attacks import row_norms, scaled_rows, unit_rows


def project(
    delta: Array,
    epsilon: Array | float,
    norm: float = 2,
    low: Array | float = -math.inf,
    high: Array | float = math.inf,
) -> Array:
    """Nearest points: argmin{||p - delta||_2 : ||p|| <= epsilon, low <= p <= high}, row by row.

    Parameters
    ----------
    delta : (n,d) array
    epsilon : float or (n,1) array, at least 0
    norm : 2 or numpy.inf
        That of the ball.
    low, high : float or (n,d) array
        low <= 0 <= high, infinities allowed.

    Returns
    -------
    (n,d) array

    Notes
    -----
    Source: derived. In l2, p = clip(s delta, low, high) by the conditions of Karush, Kuhn and
    Tucker, s = 1/(1 + the multiplier of the ball) in (0, 1]. ||p||^2 = C + s^2 D rises in s, C
    from the coordinates at their limits and D from the free ones. From s = epsilon/||delta||, too
    small, s = sqrt((epsilon^2 - C)/D) rises until no further coordinate comes to its limit.

    Examples
    --------
    >>> project(np.array([[3.0, 4.0], [0.3, 0.4]]), 1.0).tolist()
    [[0.6, 0.8], [0.3, 0.4]]
    >>> project(np.array([[2.0, 6.0]]), 5.0, high=3.0).tolist()
    [[2.0, 3.0]]
    >>> project(np.array([[6.0, 6.0]]), 5.0, high=np.array([[9.0, 3.0]])).tolist()
    [[4.0, 3.0]]
    """
    if norm == math.inf:
        return np.clip(delta, np.maximum(low, -epsilon), np.minimum(high, epsilon))
    delta_in = np.clip(delta, low, high)
    size = row_norms(delta_in)[:, None]
    if np.isneginf(low).all() and np.isposinf(high).all():
        return np.where(size > epsilon, epsilon * unit_rows(delta), delta)
    far = (size > epsilon)[:, 0]
    _, exponents = scaled_rows(delta_in[far])
    sides = (np.broadcast_to(side, delta.shape) for side in (low, high))
    arrays = delta, np.broadcast_to(epsilon, size.shape), *sides
    shrunk = _shrink(*(np.ldexp(array[far], -exponents) for array in arrays))
    delta_in[far] = np.ldexp(shrunk, exponents)
    return delta_in


def _shrink(delta: Array, epsilon: Array, low: Array, high: Array) -> Array:
    """Projections of points that the box alone leaves outside the ball."""
    distance, cap = np.abs(delta), np.where(delta > 0, high, -low)
    free = np.ones(delta.shape, np.bool_)
    scale = np.zeros_like(epsilon)
    while True:
        rest = np.square(epsilon) - np.square(np.where(free, 0.0, cap)).sum(axis=1, keepdims=True)
        squares = np.square(np.where(free, distance, 0.0)).sum(axis=1, keepdims=True)
        ratio = np.maximum(rest, 0.0) / np.where(squares > 0, squares, np.inf)
        scale = np.maximum(scale, np.sqrt(ratio))
        still = free & (scale * distance < cap)
        if np.array_equal(still, free):
            return np.clip(scale * delta, low, high)
        free = still
