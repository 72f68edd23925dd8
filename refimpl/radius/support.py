"""How far a linear function goes within a norm's ball and a box, and how far its zeros are.

Omega(R) = {delta : ||delta||_p <= R, -a <= delta <= b} has the support function

    H_R(v) = max over Omega(R) of <v, delta> = min over v = u + q of R ||u||_* + sum_j |q_j| cap_j,

where ||.||_* is the dual norm, q_j has v_j's sign, |q_j| <= |v_j|, and cap_j is b_j where v_j > 0,
a_j else. *Every* split bounds H_R from above, so that a search for a good one proves nothing and
need not be exact: what counts is the value of the split, with its rounding added. A half-space {l0
+ <v, delta> <= 0} within the box has no point nearer than (l0 - sum |q_j| cap_j) / ||u||_*, again
for every split of -v.

Rows are vectorised: sizes |v| and caps are (B,d). Caps may be inf; there q_j = 0.
"""

from __future__ import annotations

import math

import numpy as np

from refimpl._validation import Array
from refimpl.radius.geometry import ROOT_FLOOR, UNIT

_STEPS = 40  # of a search for a split; most take three


def support(norm: float, size: Array, cap: Array, radius: float) -> tuple[Array, Array]:
    """H_R (B,), rounded up, of rows with |v| = size, and |delta| (B,d) that nearly attains it."""
    if norm == math.inf:
        delta = np.minimum(cap, radius)
        kept = np.where(cap >= radius, size, 0.0)
    elif norm == 2:
        t = _multiple(size, cap, radius)[:, None]
        with np.errstate(all="ignore"):
            delta = np.where(size > 0, np.minimum(size * t, cap), 0.0)
            kept = np.where(np.isinf(cap) | (t == 0), size, np.minimum(size, cap / t))
    else:
        delta, least = _fill(size, cap, np.full(len(size), radius), np.ones_like(size))
        kept = np.minimum(size, least[:, None])
    norms, rest = _split(norm, size, kept, cap)  # (E38)
    return (radius * norms + rest) * (1 + (size.shape[1] + 8) * UNIT), delta


def distance(norm: float, level: Array, size: Array, cap: Array) -> Array:
    """Bound ||delta|| (B,) from below where <v, delta> >= level > 0 in the box, |v| = size (B,d).

    inf where no delta of the box is that far along v.
    """
    error = (size.shape[1] + 8) * UNIT
    with np.errstate(all="ignore"):
        far = level > np.where(size > 0, size * cap, 0.0).sum(axis=1) * (1 + error)
        if norm == 1:
            _, last = _fill(size, cap, level, size)
            least = np.where(size > 0, size, math.inf).min(axis=1)  # if rounding hides the last
            kept = np.minimum(size, np.maximum(last, least)[:, None])
        else:
            t = _reach(size, size if norm == 2 else np.ones_like(size), cap, level)[:, None]
            part = np.minimum(size, cap / t) if norm == 2 else size * (cap >= t)
            kept = np.where(np.isinf(cap), size, part)
        norms, rest = _split(norm, size, kept, cap)
        left = level - rest * (1 + error)
        bound = left / (norms * (1 + error) + ROOT_FLOOR) * (1 - 4 * UNIT)  # (E39)
    return np.where(far, math.inf, np.where(left > 0, bound, 0.0))


def dual_norm(norm: float, v: Array) -> Array:
    """Dual norms of rows (B,d)."""
    size = np.abs(v)
    if norm == 2:
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", v, v)))
    return np.asarray(size.sum(axis=1) if norm == math.inf else size.max(axis=1))


def _split(norm: float, size: Array, kept: Array, cap: Array) -> tuple[Array, Array]:
    """||u||_* and sum |q_j| cap_j of |u| = kept and |q| = size - kept; (B,) both."""
    q = size - kept
    with np.errstate(all="ignore"):
        rest = np.where(q > 0, q * cap, 0.0).sum(axis=1)
    return dual_norm(norm, kept), rest


def _reach(size: Array, rate: Array, cap: Array, level: Array) -> Array:
    """Least t (B,) with sum_j size_j min(rate_j t, cap_j) >= level, about.

    Where there is none, t is such that all are capped. The sum is concave in t: Newton's method
    climbs from below, and never beyond.
    """
    slope, value, t = (size * rate).sum(axis=1), np.zeros(len(size)), np.zeros(len(size))
    steps = size * rate
    with np.errstate(all="ignore"):
        limits = np.where(rate > 0, cap / rate, math.inf)
        worth = np.where(np.isinf(cap), 0.0, size * cap)
        for _ in range(_STEPS):
            new = np.where(slope > 0, (level - value) / slope, math.inf)
            if not (new > t).any():
                break
            t = np.maximum(new, t)
            free = (limits >= t[:, None]).astype(np.float64)
            slope = np.einsum("ij,ij->i", steps, free)
            value = np.einsum("ij,ij->i", worth, 1.0 - free)
    return np.minimum(t, np.where(size > 0, limits, 0.0).max(axis=1))


def _multiple(size: Array, cap: Array, radius: float) -> Array:
    """Largest t (B,) with ||min(size t, cap)||_2 <= radius, about; inf where cap is so short."""
    squares = np.square(size)
    with np.errstate(all="ignore"):
        limits = np.where(size > 0, cap / size, math.inf)
        short = np.where(np.isinf(cap), 0.0, np.square(cap))
        rest, slope = np.full(len(size), radius**2), squares.sum(axis=1)
        t = np.where(slope > 0, radius / np.sqrt(slope), math.inf)
        for _ in range(_STEPS):
            free = (limits >= t[:, None]).astype(np.float64)
            rest = radius**2 - np.einsum("ij,ij->i", short, 1.0 - free)
            slope = np.einsum("ij,ij->i", squares, free)
            new = np.where(slope > 0, np.sqrt(np.maximum(rest, 0.0) / slope), math.inf)
            if not (new > t).any():
                break
            t = np.maximum(new, t)
    return t


def _fill(size: Array, cap: Array, budget: Array, price: Array) -> tuple[Array, Array]:
    """Fill caps, largest size first, until sum price delta = budget: delta (B,d), last size (B,).

    The last size is 0 where all caps are full before.
    """
    order = np.argsort(-size, axis=1)
    sizes, caps, unit = (np.take_along_axis(part, order, 1) for part in (size, cap, price))
    with np.errstate(all="ignore"):
        cost = np.where(unit > 0, unit * caps, 0.0)
        spent = np.cumsum(cost, axis=1)
        before = np.concatenate((np.zeros((len(size), 1)), spent[:, :-1]), axis=1)
        left = np.maximum(budget[:, None] - before, 0.0)
        part = np.where(unit > 0, np.minimum(left / unit, caps), 0.0)
    delta = np.empty_like(size)
    np.put_along_axis(delta, order, part, 1)
    full = spent >= budget[:, None]
    last = np.take_along_axis(sizes, full.argmax(axis=1)[:, None], 1)[:, 0]
    last = np.where(full.any(axis=1), last, 0.0)
    return delta, np.maximum(last, np.where(np.isinf(cap), size, 0.0).max(axis=1))


def nearest_on(norm: float, level: Array, size: Array, cap: Array) -> tuple[Array, Array]:
    """|delta| (B,d) of the nearest delta with <v, delta> >= level >= 0, |v| = size, and its norm.

    But for rounding; the norm is inf where the box has none, and delta is all of it then.
    """
    with np.errstate(all="ignore"):
        far = level > np.where(size > 0, size * cap, 0.0).sum(axis=1)
        if norm == 1:
            delta = _fill(size, cap, level, size)[0]
        else:
            rate = size if norm == 2 else (size > 0).astype(np.float64)
            t = _reach(size, rate, cap, level)[:, None]
            delta = np.where(rate > 0, np.minimum(rate * t, cap), 0.0)
    return delta, np.where(far, math.inf, np.linalg.norm(delta, norm, axis=1))
