"""How far a linear function goes within a norm's ball and a box, and how far its zeros are.

Omega(R) = {delta : ||delta||_p <= R, -a <= delta <= b} has the support function

    H_R(v) = max over Omega(R) of <v, delta> = min over v = u + q of R ||u||_* + sum_j |q_j| cap_j,

where ||.||_* is the dual norm, q_j has v_j's sign, |q_j| <= |v_j|, and cap_j is b_j where v_j > 0,
a_j else. *Every* split bounds H_R from above, so that a search for a good one proves nothing and
need not be exact: what counts is the value of the split, with its rounding added. A half-space {l0
+ <v, delta> <= 0} within the box has no point nearer than (l0 - sum |q_j| cap_j) / ||u||_*, again
for every split of -v.

Rows are vectorised: v is (B,d), and a and b are (d,). Caps may be inf; there q_j = 0. A cap of 0
takes its coordinate away, and one that no delta in sight reaches leaves it alone; only the columns
that are left, the grey pixels of an image, take part in the search.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from refimpl._arrays import Array
from refimpl.radius.geometry import ROOT_FLOOR, UNIT, Flags

_STEPS = 40  # of a search for a split; most take three
_CLOSE = 1e-6  # relative: what a split loses is of the second order in t
_NEAR = 0.05  # the same, where the split is for an interval
_HUGE = 2.0**500  # in the place of infinite caps, since 0 times infinity is not 0


class Pull(NamedTuple):
    """Rows `v` (B,d) without what caps of 0 take away; `inside` (d,), the columns of caps in sight.

    There |v| = `size` and `cap` are (B,k), and `base` (B,) is ||v||_2^2 or ||v||_1 of the others.
    """

    v: Array
    size: Array
    cap: Array
    base: Array
    inside: Flags

    @classmethod
    def of(cls, norm: float, v: Array, a: Array, b: Array, within: float) -> Pull:
        """Rows (B,d) that are seen from ||delta|| <= within, for p = 2 or inf."""
        v = np.maximum(v, np.where(a > 0, -math.inf, 0.0))
        v = np.minimum(v, np.where(b > 0, math.inf, 0.0), out=v)
        inside: Flags = np.asarray(((a > 0) & (a < within)) | ((b > 0) & (b < within)))
        size, cap = facing(v.compress(inside, axis=1), a[inside], b[inside])
        outside = (np.square(v) if norm == 2 else np.abs(v)) @ (~inside).astype(np.float64)
        return cls(v, size, cap, outside, inside)

    def kept(self, norm: float, t: Array) -> Array:
        """Return |u| (B,k) of the split at t (B,), where delta_j = min(|v_j| t, cap_j)."""
        if norm == 2:
            return np.asarray(np.fmin(self.size, self.cap / t[:, None]))  # 0 / 0: a t of 0
        return self.size * (self.cap >= t[:, None])

    def split(self, norm: float, t: Array) -> tuple[Array, Array]:
        """||u||_* and sum |q_j| cap_j (B,) of the split at t (B,)."""
        kept = self.kept(norm, t)
        power = self.base + _power(norm, kept)
        return np.sqrt(power) + ROOT_FLOOR if norm == 2 else power, self.rest(kept)

    def rest(self, kept: Array) -> Array:
        """Sum of |q_j| cap_j (B,), |q| = size - kept, which is 0 where a cap is infinite."""
        return np.asarray(np.einsum("ij,ij->i", self.size - kept, np.minimum(self.cap, _HUGE)))


def facing(v: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """|v| and the caps along v, both (B,d)."""
    cap = np.copysign(math.inf, v)  # np.where takes ten times as long where signs are mixed
    np.minimum(cap, b, out=cap)
    np.maximum(cap, -a, out=cap)
    return np.abs(v), np.abs(cap, out=cap)


def support(norm: float, v: Array, a: Array, b: Array, radius: float) -> Array:
    """H_R (B,) of rows v (B,d), rounded up."""
    if norm == math.inf:
        return corner(v, np.minimum(a, radius), np.minimum(b, radius))
    if norm == 2:
        with np.errstate(all="ignore"):
            pull = Pull.of(norm, v, a, b, radius)
            norms, rest = pull.split(norm, multiple(pull, radius))
    else:
        size, cap = facing(v, a, b)
        _, least = fill(size, cap, np.full(len(size), radius), np.ones_like(size))
        norms, rest = _split(size, np.minimum(size, least[:, None]), cap)
    return np.asarray((radius * norms + rest) * (1 + (v.shape[1] + 8) * UNIT))  # (E38)


def corner(v: Array, a: Array, b: Array) -> Array:
    """Largest <v, delta> (B,) with -a <= delta <= b, rounded up."""
    up = np.maximum(v, 0.0)
    down, endless = up - v, (np.isinf(a), np.isinf(b))
    most = up @ np.where(endless[1], 0.0, b) + down @ np.where(endless[0], 0.0, a)
    far = down[:, endless[0]].any(axis=1) | up[:, endless[1]].any(axis=1)
    return np.where(far, math.inf, most * (1 + (v.shape[1] + 8) * UNIT))  # (E38)


def distance(
    norm: float, level: Array, v: Array, a: Array, b: Array, within: float = math.inf
) -> Array:
    """Bound ||delta|| (B,) from below where <v, delta> >= level > 0 in the box, for rows v (B,d).

    inf where no delta of the box is that far along v. A bound beyond `within` may be too small, but
    is beyond it.
    """
    error = (v.shape[1] + 8) * UNIT
    none: Flags = np.ones(len(v), np.bool_)
    with np.errstate(all="ignore"):
        if norm == 1:
            size, cap = facing(v, a, b)
            _, last = fill(size, cap, level, size)
            least = np.where(size > 0, size, math.inf).min(axis=1)  # if rounding hides the last
            norms, rest = _split(size, np.minimum(size, np.maximum(last, least)[:, None]), cap)
        else:
            pull = Pull.of(norm, v, a, b, within)
            t, none = reach(norm, pull, level)
            norms, rest = pull.split(norm, t)
        left = level - rest * (1 + error)
        bound = left / (norms * (1 + error) + ROOT_FLOOR) * (1 - 4 * UNIT)  # (E39)
        bound = np.where(left > 0, bound, 0.0)
    if none.any():
        bound[none] = np.where(level[none] > corner(v[none], a, b), math.inf, bound[none])
    return bound


def total(size: Array, cap: Array) -> Array:
    """Add up |v_j| cap_j (B,), where 0 times infinity is 0."""
    infinite = np.isinf(cap)
    most = np.einsum("ij,ij->i", size, np.where(infinite, 0.0, cap))
    return np.where(((size > 0) & infinite).any(axis=1), math.inf, most)


def dual_norm(norm: float, v: Array) -> Array:
    """Dual norms of rows (B,d)."""
    if norm == 1:
        return np.asarray(np.abs(v).max(axis=1))
    return np.asarray(np.sqrt(_power(2, v)) if norm == 2 else np.abs(v).sum(axis=1))


def _power(norm: float, v: Array) -> Array:
    """||v||_2^2 or ||v||_1 of rows (B,k)."""
    return np.asarray(np.einsum("ij,ij->i", v, v) if norm == 2 else np.abs(v).sum(axis=1))


def _split(size: Array, kept: Array, cap: Array) -> tuple[Array, Array]:
    """||u||_* and sum |q_j| cap_j of |u| = kept and |q| = size - kept for p = 1; (B,) both."""
    q = size - kept
    with np.errstate(all="ignore"):
        return kept.max(axis=1), np.where(q > 0, q * cap, 0.0).sum(axis=1)


def multiple(pull: Pull, radius: float) -> Array:
    """Largest t (B,) with ||min(size t, cap)||_2 <= radius, about; inf where cap is so short."""
    squares, short = np.square(pull.size), np.square(np.minimum(pull.cap, _HUGE))
    return np.sqrt(_climb(squares, short, pull.base, np.full(len(squares), radius**2), _NEAR)[0])


def reach(norm: float, pull: Pull, level: Array, enough: float = _CLOSE) -> tuple[Array, Flags]:
    """Least t (B,) with <size, delta> >= level, to within `enough`, for the delta of `Pull.kept`.

    Also tells where there is none, it seems: t is such that all are capped there.
    """
    gain = np.square(pull.size) if norm == 2 else pull.size
    worth = pull.size * np.minimum(pull.cap, _HUGE)
    t, limits = _climb(gain, worth, pull.base, level, enough)
    none: Flags = np.isinf(t)
    if none.any():
        t[none] = np.fmax.reduce(limits[none], axis=1, initial=0.0)
    return t, none


def _climb(
    gain: Array, worth: Array, base: Array, goal: Array, enough: float
) -> tuple[Array, Array]:
    """Least t (B,) with base t + sum min(gain t, worth) >= goal, about, and worth / gain (B,k).

    inf where there is none. The sum is concave in t: Newton's method climbs from below, and never
    beyond, until a step gains less than `enough`, relative.
    """
    limits = worth / gain  # of nothing, 0 / 0: it neither is capped nor gains
    slope = base + gain.sum(axis=1)
    t = np.where(slope > 0, np.maximum(goal, 0.0) / slope, 0.0)
    for _ in range(_STEPS):
        free = (limits >= t[:, None]).astype(np.float64)
        slope = base + np.einsum("ij,ij->i", gain, free)
        left = goal - np.einsum("ij,ij->i", worth, 1.0 - free)
        new = np.where(slope > 0, np.maximum(left, 0.0) / slope, math.inf)
        found = new <= t * (1 + enough)
        t = np.maximum(new, t)
        if found.all():
            break
    return t, limits


def fill(size: Array, cap: Array, budget: Array, price: Array) -> tuple[Array, Array]:
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
        if norm == 1:
            delta = fill(size, cap, level, size)[0]
        else:
            t = nearest_multiple(norm, level, size, cap)[:, None]
            delta = np.where(size > 0, np.minimum(size * t if norm == 2 else t, cap), 0.0)
    far = level > total(size, cap)
    return delta, np.where(far, math.inf, np.linalg.norm(delta, norm, axis=1))


def nearest_multiple(norm: float, level: Array, size: Array, cap: Array) -> Array:
    """Least t (B,) where delta_j = min(|v_j| t, cap_j), or min(t, cap_j) for p = inf, is as far."""
    inside: Flags = np.ones(size.shape[1], np.bool_)
    size = np.where(cap > 0, size, 0.0)
    pull = Pull(size, size, cap, np.zeros(len(size)), inside)
    return reach(norm, pull, level, 0.0)[0]
