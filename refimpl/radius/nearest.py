"""The point of a box that is nearest to 0 among those that meet a few linear constraints (E39).

    minimise ||c||_p  subject to  G c >= h,  -a <= c <= b

Each solver returns multipliers u >= 0 of the rows, by which <G^T u, c> >= <u, h> has the same
distance, and the point. Where there is none, u is a ray, which no point of the box meets.
"""

from __future__ import annotations

import math

import numpy as np

from refimpl._arrays import Array
from refimpl.radius.simplex import Program
from refimpl.radius.support import distance, facing, nearest_on

_STEPS = 60
_MET = 1e-12  # relative: the constraints are met but for rounding
EMPTY = 1e-12  # a minimum below this is that of a node without points, up to rounding
_RISE = 1e-4  # of what the gradient promises: a step that gains it is taken whole
_FAR = 0.05  # a minimum below this loses digits: the minimiser is farther than its constraints


def nearest(norm: float, G: Array, h: Array, a: Array, b: Array) -> tuple[Array, Array | None]:
    """Multipliers (k,) and the nearest point (d,), None where there is none; rows are units."""
    if (h <= 0).all():
        return np.zeros(len(h)), np.zeros(G.shape[1])
    if len(h) == 1:
        size, length = nearest_on(norm, h, *facing(G, a, b))
        return np.ones(1), None if math.isinf(length[0]) else np.copysign(size[0], G[0])
    if norm == 2:
        return _least_squares(G, h, a, b)
    return _least_sum(G, h, a, b) if norm == 1 else _least_maximum(G, h, a, b)


def _least_sum(G: Array, h: Array, a: Array, b: Array) -> tuple[Array, Array | None]:
    """p = 1: a linear program in c's positive and negative parts."""
    k, d = G.shape
    cost, slacks = np.ones(2 * d), np.arange(2 * d, 2 * d + k)
    A, up = np.hstack((G, -G)), np.concatenate((b, a))
    u, x = Program(A, h, cost, np.zeros(2 * d), up, slacks).solve()
    return np.maximum(u, 0.0), None if x is None else x[:d] - x[d:]


def _least_maximum(G: Array, h: Array, a: Array, b: Array) -> tuple[Array, Array | None]:
    """p = inf: how far G c + t >= h is from t = 0 within |c| <= R, for growing R (Dinkelbach)."""
    k, d = G.shape
    radii = distance(math.inf, h, G, a, b)
    row = int(radii.argmax())
    u, radius = np.eye(k)[row], float(radii[row])
    basis = np.arange(d + 1, d + 1 + k)
    basis[row] = d
    A, cost, program = np.column_stack((G, np.ones(k))), np.append(np.zeros(d), 1.0), None
    for _ in range(_STEPS):
        if math.isinf(radius):
            return u, None
        lo, up = (
            np.append(-np.minimum(a, radius), -math.inf),
            np.append(np.minimum(b, radius), math.inf),
        )
        if program is None:
            program = Program(A, h, cost, lo, up, basis)
        else:
            program.bound(lo, up)
        u, x = program.solve()
        u = np.maximum(u, 0.0)
        further = float(distance(math.inf, np.array([u @ h]), (u @ G)[None], a, b)[0])
        if x is None or not further > radius * (1 + _MET):
            break
        radius = further
    return u, None if x is None else x[:d]


def _least_squares(G: Array, h: Array, a: Array, b: Array) -> tuple[Array, Array | None]:
    """p = 2: c = clip(G^T u), where u maximises the concave dual, by Newton's method.

    Where the clipped coordinates are held, a step solves a least-distance problem in the others.
    """
    u = np.where(h == h.max(), h, 0.0)
    met = _MET * float(np.abs(h).max())
    dual = _Dual(G, h, a, b, u)
    for _ in range(_STEPS):
        missed, u = dual.missed, dual.u
        if (np.where(u > 0, np.abs(missed), missed) <= met).all():
            break
        new, empty = dual.step()
        step = new if empty else new - u
        if not empty:
            full = _Dual(G, h, a, b, new)
            if full.value > dual.value + _RISE * float(step @ missed):
                dual = full
                continue
        q = step @ G
        if empty:  # a ray leaves coordinates where they are, but for rounding
            q[np.abs(q) <= _MET * (step @ np.abs(G))] = 0.0
        end = math.inf if empty else 1.0
        s, rising = _line(dual.v, q, a, b, float(step @ h), end)
        if empty and rising:
            return new, None
        dual = _Dual(G, h, a, b, np.maximum(u + s * step, 0.0))
    return dual.u, dual.c


class _Dual:
    """The dual of p = 2 at u >= 0: <u, h> - max over the box of <v, c> - ||c||^2 / 2, v = G^T u."""

    def __init__(self, G: Array, h: Array, a: Array, b: Array, u: Array) -> None:
        self.G, self.h, self.u, self.v = G, h, u, u @ G
        self.c = np.minimum(np.maximum(self.v, -a), b)
        self.missed = h - G @ self.c  # its gradient
        self.value = float(u @ h - self.v @ self.c + self.c @ self.c / 2)

    def step(self) -> tuple[Array, bool]:
        """Maximiser while the clipped coordinates are held; or a ray, and True."""
        inside = self.v == self.c
        values = self.missed + self.G @ np.where(inside, self.c, 0.0)
        size = float(values.max())
        if size <= 0:
            return np.zeros(len(self.h)), False
        rows = np.column_stack((self.G[:, inside], values))
        new, missing, scale = least_distance(rows, size)
        empty = missing <= EMPTY
        return new if empty else new * scale / missing, empty


def _line(v: Array, q: Array, a: Array, b: Array, level: float, end: float) -> tuple[float, bool]:
    """Largest s <= end with <q, clip(v + s q)> <= level, and whether more would be allowed.

    The left side rises with s, by q_j^2 while coordinate j is not clipped.
    """
    moving = q != 0
    v, q, lo, up = v[moving], q[moving], -a[moving], b[moving]
    left = level - float(q @ np.clip(v, lo, up))
    if left <= 0:
        return 0.0, False
    with np.errstate(all="ignore"):
        first = np.clip((np.where(q > 0, lo, up) - v) / q, 0.0, end)
        last = np.clip((np.where(q > 0, up, lo) - v) / q, 0.0, end)
    squares = np.square(q)
    forever = math.fsum(squares[np.isinf(last) & np.isfinite(first)])
    times, bends = np.concatenate(([0.0], first, last)), np.concatenate(([0.0], squares, -squares))
    order = np.argsort(times)[: int(np.isfinite(times).sum())]
    times, rates = times[order], np.cumsum(bends[order])
    gained = np.concatenate(([0.0], np.cumsum(np.diff(times) * rates[:-1])))
    i = int(np.searchsorted(gained, left)) - 1
    if i + 1 < len(gained):
        return float(times[i] + (left - gained[i]) / rates[i]), False
    if forever > 0:
        return float(times[i] + (left - gained[i]) / forever), False
    return min(float(times[i]), end), left > gained[i] * (1 + _MET)


def least_distance(rows: Array, scale: float) -> tuple[Array, float, float]:
    """Multipliers u >= 0 of min ||c|| with <gradient, c> >= value, for rows (gradient, value).

    They minimise ||rows^T u - e_last|| with values in units of `scale`; also returns that minimum's
    square, 1 / (1 + (||c|| / scale)^2), and the scale: the length of c, where the given one was far
    below it. Where the solver gives up, u = 0 and the square 0: no bound and no minimiser.
    """
    u, missing = _non_negative_least_squares(rows, scale)
    if EMPTY < missing < _FAR:
        scale *= math.sqrt((1.0 - missing) / missing)
        u, missing = _non_negative_least_squares(rows, scale)
    return u, missing, scale


def _non_negative_least_squares(rows: Array, scale: float) -> tuple[Array, float]:
    from scipy.optimize import nnls  # on first use: importing it takes longer than refimpl itself

    scaled, aim = rows.copy(), np.zeros(rows.shape[1])
    scaled[:, -1] /= scale
    aim[-1] = 1.0
    try:
        u = nnls(scaled.T, aim)[0]
    except (RuntimeError, ValueError):  # too many iterations; values that overflowed
        return np.zeros(len(rows)), 0.0
    return u, 1.0 - float(u @ scaled[:, -1])
