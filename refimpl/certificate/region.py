"""The region where no adversarial point may be, and how far a linear function rises there (E38).

Omega(R) = {||delta||_p <= R, -a <= delta <= b} with a = x - lo and b = hi - x has the support
function H_R(v) = max over Omega(R) of <v, delta>. A minorant l0 + <l1, delta> is at least
l0 - H_R(-l1) there, and z_r(delta) lies between z_r(0) - H_R(-w_r) and z_r(0) + H_R(w_r).

Let cap_j = min(R, b_j) where v_j > 0, else min(R, a_j). For every u with 0 <= u_j <= |v_j|,

    H_R(v) <= R ||u||_* + sum_j (|v_j| - u_j) cap_j,  ||.||_* the dual norm,

since <v, delta> <= sum_j u_j |delta_j| + sum_j (|v_j| - u_j) cap_j if delta has v's signs, as a
maximiser does. What u is decides how good the bound is, and not whether it holds:

- p = inf: u = 0, and the bound is H_R(v);
- p = 1: u_j = min(|v_j|, s). It is H_R(v) where s is the |v_j| at which the caps of larger ones,
  filled in this order, have used up R, or 0;
- p = 2: u_j = min(|v_j|, cap_j / t). It is H_R(v) where the delta_j = min(t |v_j|, cap_j) have the
  norm R, or 1 / t = 0 if the caps are shorter than R.

So floats find s and 1 / t for both arithmetics. First u_j = |v_j| is tried, or 0 where the cap is:
most leaves need no more to be proved, and most neurons to be stable. At R = inf, u = 0: H_R(v) is
infinite where a cap is, but for v_j = 0, and otherwise no adversarial point is in the box at all.

Rounding
--------
Exactly, only u is rounded, down, and the root of a sum of squares where an interval needs it, up.
In floats a cap is the difference rounded to the next float above it. It is 0 where the difference
is, and nowhere else, as differences of floats do not underflow. The bound as computed is off by a
relative error below (2 ceil(sqrt(d)) + 8) u: |v_j| - u_j and its product with the cap are two
roundings, the sums and the root follow, with nothing but terms of one sign. It is rounded up by
2 eps, see `refimpl.certificate.floats`, and by d 2^-960, more than underflow takes of d products.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from refimpl._arrays import Array
from refimpl.certificate import integers as exact
from refimpl.certificate.integers import Integers

UNIT = 2.0**-53
FLOOR = 2.0**-960  # added to every magnitude: pays for underflow
_AT_ONCE = 15_000  # numbers: larger arrays cost more to get from the system than to fill
_FAR = 4.0  # times below the level at hand: where coordinates are looked at
_STEPS = 60  # of the search for 1 / t; most take three
_BITS = 64  # that u keeps at least

Numbers = np.ndarray[Any, Any]


class Region(NamedTuple):
    """Omega(R) around x (d,): p, R, and the box as limits lo and hi (d,), or None."""

    x: Array
    R: float
    norm: float = 2.0
    box: tuple[Array, Array] | None = None

    @property
    def plain(self) -> bool:
        """Whether it is an l2 ball."""
        return self.norm == 2 and self.box is None

    def limits(self) -> tuple[Array, Array]:
        """Lo and hi, infinite without a box."""
        infinite = np.full(len(self.x), math.inf)
        return self.box or (-infinite, infinite)

    def caps(self) -> tuple[Array, Array]:
        """min(R, a) and min(R, b), rounded up."""
        lo, hi = self.limits()
        with np.errstate(over="ignore"):  # a cap may be as large as that
            sides = self.x - lo, hi - self.x
            a, b = (np.where(side > 0, np.nextafter(side, math.inf), 0.0) for side in sides)
        return np.minimum(a, self.R), np.minimum(b, self.R)

    def __str__(self) -> str:
        """Radius, and norm and box where they are not the usual ones."""
        norm = "" if self.norm == 2 else f" in l{self.norm:g}"
        return f"radius {self.R}{norm}" + ("" if self.box is None else " within the box")


class FloatRegion:
    """The region in floats: caps, and how far rows go, all rounded up."""

    def __init__(self, region: Region, eps: float) -> None:
        self.R, self.norm, self.plain, self.eps = region.R, region.norm, region.plain, eps
        self.is_rough = not (self.plain or self.norm == math.inf or math.isinf(self.R))
        if self.plain:
            self.width = root(len(region.x)) * region.R  # bounds sum_j |delta_j|
        else:
            self.a, self.b = region.caps()
            self.width = float(np.maximum(self.a, self.b).sum() * (1 + 2 * eps))
            self.low, self.high = directions(self.a, self.b)

    def rough(self, v: Array) -> Array:
        """H_R of the rows (n,d), rounded up, as if a cap that is not 0 were none."""
        if not self.is_rough:
            return self.support(v)
        v = np.minimum(np.maximum(v, self.low), self.high)
        dual = np.abs(v).max(axis=1) if self.norm == 1 else rounded_norms(v, self.eps)
        return self.R * dual * (1 + 2 * self.eps) + v.shape[1] * FLOOR  # (E38)

    def support(self, v: Array) -> Array:
        """H_R of the rows (n,d), rounded up."""
        if self.plain:
            return self.R * rounded_norms(v, self.eps)
        few = max(1, _AT_ONCE // v.shape[1])
        parts = [self._supports(v[i : i + few]) for i in range(0, len(v), few)]
        return np.concatenate([np.zeros(0), *parts])

    def _supports(self, v: Array) -> Array:
        if math.isinf(self.R):
            total = sums(np.where(v == 0, 0.0, np.abs(v) * np.where(v > 0, self.b, self.a)))
        else:
            size, cap = facing(v, self.a, self.b)
            u = self._split(size, cap)
            total = sums((size - u) * cap)
            if self.norm < math.inf:
                dual = u.max(axis=1) if self.norm == 1 else rounded_norms(u, self.eps)
                total += self.R * dual
        return total * (1 + 2 * self.eps) + v.shape[1] * FLOOR  # (E38)

    def spread(self, W: Array) -> Array:
        """Bound sum_j |W_rj delta_j| (M,) in the region."""
        if self.plain:
            return self.R * rounded_norms(W, self.eps)
        size, cap = np.abs(W), np.maximum(self.a, self.b)
        if math.isinf(self.R):
            return sums(np.where(size > 0, size * cap, 0.0))
        whole = size @ cap
        if self.norm == math.inf:
            return whole
        dual = size.max(axis=1) if self.norm == 1 else rounded_norms(W, self.eps)
        return np.minimum(whole, self.R * dual)

    def _split(self, size: Array, cap: Array) -> Array:
        """Sizes u (n,d) of a good split."""
        if self.norm == math.inf:
            return np.zeros_like(size)
        if self.norm == 1:
            last = last_filled(size, cap, self.R)
            s = np.where(last < 0, 0.0, size[np.arange(len(size)), last])
            return np.minimum(size, s[:, None])
        # By powers of two, lest squares leave the range of floats.
        tops = np.clip(np.frexp(size.max(axis=1))[1], -1000, 1000)
        unit, e = np.ldexp(1.0, tops)[:, None], min(max(math.frexp(self.R)[1], -1000), 1000)
        cap = cap * 2.0**-e
        level = water_level(size / unit, cap, math.ldexp(self.R, -e))
        return np.fmin(size, (level[:, None] * unit) * cap)


class ExactRegion:
    """The region in integers: R and the caps are integers / 2^shift, or infinite."""

    def __init__(self, region: Region) -> None:
        self.region, self.plain, self.norm = region, region.plain, region.norm
        self.finite = math.isfinite(region.R)
        self.R = Fraction(region.R) if self.finite else Fraction(0)
        if not self.plain:
            self._caps(region)

    def _caps(self, region: Region) -> None:
        lo, hi = region.limits()
        ends = [np.where(np.isfinite(end), end, region.x) for end in (lo, hi)]
        radius = np.full(len(lo), region.R if self.finite else 0.0)
        (x, lower, upper, R), self.shift = exact.of_floats(np.stack([region.x, *ends, radius]))
        self.a, self.b = x - lower, upper - x
        self.endless_a, self.endless_b = np.isinf(lo), np.isinf(hi)
        if self.finite:
            self.a = np.where(self.endless_a, R, np.minimum(self.a, R))
            self.b = np.where(self.endless_b, R, np.minimum(self.b, R))
        self.near = region.caps()
        self.e = math.frexp(region.R)[1]

    def support(self, v: Integers, scale: int) -> tuple[Fraction | float, Fraction]:
        """Return s and t with H_R(v / scale) <= s + sqrt(t)."""
        if self.plain:
            square = v @ v
            rest = math.inf if square and not self.finite else Fraction(0)
            return rest, self.R**2 * Fraction(int(square), scale**2)
        up, size = np.asarray(v > 0, dtype=bool), np.abs(v)
        if not self.finite:
            endless = np.where(up, self.endless_b, self.endless_a)
            if size[endless].any():
                return math.inf, Fraction(0)
        cap = np.where(up, self.b, self.a)
        unit = scale << self.shift
        if self.norm == math.inf or not self.finite or not size.any():
            return Fraction(int(size @ cap), unit), Fraction(0)  # (E38)
        near = np.where(up, self.near[1], self.near[0])
        split = self._largest_first if self.norm == 1 else self._water
        return split(size, scale, cap, near)

    def supports(self, rows: Integers, scale: int) -> list[tuple[Fraction | float, Fraction]]:
        """Do the same for each row."""
        return [self.support(row, scale) for row in rows]

    def _largest_first(
        self, size: Integers, scale: int, cap: Integers, near: Array
    ) -> tuple[Fraction, Fraction]:
        """Split rows for p = 1."""
        last = last_filled(_roughly(size)[0][None], near[None], self.region.R)[0]
        s = 0 if last < 0 else int(size[last])
        rest = int((size - np.minimum(size, s)) @ cap)
        return self.R * Fraction(s, scale) + Fraction(rest, scale << self.shift), Fraction(0)

    def _water(
        self, size: Integers, scale: int, cap: Integers, near: Array
    ) -> tuple[Fraction, Fraction]:
        """Split rows for p = 2."""
        guard = max(_BITS - max(size).bit_length(), 0)
        size, scale = size << guard, scale << guard
        approximate, top = _roughly(size)
        approximate[near == 0] = 0.0
        R = math.ldexp(self.region.R, -self.e)
        level = water_level(approximate[None], np.ldexp(near, -self.e)[None], R)[0]
        mantissa, power = float(level).as_integer_ratio()
        drop = self.shift + power.bit_length() - 1 - top + self.e
        ceiling = cap * mantissa
        u = np.minimum(size, ceiling >> drop if drop >= 0 else ceiling << -drop)
        rest = Fraction(int((size - u) @ cap), scale << self.shift)
        return rest, self.R**2 * Fraction(int(u @ u), scale**2)  # (E38)


def _roughly(size: Integers) -> tuple[Array, int]:
    """Floats near size / 2^top, at most 1, and top; small ones are 0."""
    top = max(size).bit_length()
    down = top - 62
    leading = size >> down if down >= 0 else size << -down
    return np.ldexp(leading.astype(np.int64).astype(np.float64), -62), top


def directions(a: Numbers, b: Numbers) -> tuple[Array, Array]:
    """Limits (d,) of v: H_R does not see v where it points to a side of the box that x lies on."""
    return np.where(a > 0, -math.inf, 0.0), np.where(b > 0, math.inf, 0.0)


def facing(v: Numbers, a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    """|v_j| (n,d) and finite caps in the direction of v; both are 0 where either is."""
    sign = np.minimum(np.maximum(np.sign(v), -np.sign(a)), np.sign(b))
    return v * sign, np.maximum(sign * b, sign * -a)


def water_level(size: Array, cap: Array, R: float) -> Array:
    """About 1 / t (n,), where min(t size, cap) (n,d) has the norm R; 0 where it is shorter.

    size is 0 where cap is. Newton's method from above: only coordinates that a level not far below
    the one at hand caps are looked at, until it has fallen farther.
    """
    n, d = size.shape
    with np.errstate(all="ignore"):
        level = floor = np.sqrt(np.einsum("ij,ij->i", size, size)) / R
        for step in range(_STEPS):
            if step == 0 or (level < floor).any():
                floor = level / _FAR
                near = np.flatnonzero(size > floor[:, None] * cap)
                row, sizes, caps = near // d, size.ravel()[near], cap.ravel()[near]
                far = size.copy()
                far.ravel()[near] = 0.0
                outside = np.einsum("ij,ij->i", far, far)
            capped = sizes > level[row] * caps
            rest = R * R - np.bincount(row, caps**2 * capped, n)
            new = np.sqrt((outside + np.bincount(row, sizes**2 * ~capped, n)) / rest)
            if not (new < level).any():
                break
            level = np.where(new < level, new, level)
    return np.where(np.isfinite(level), level, 0.0)


def last_filled(size: Array, cap: Array, R: float) -> Numbers:
    """Where (n,) the caps of the larger sizes of a row (n,d) have used up R; -1 where nowhere."""
    order = np.argsort(-size, axis=1)
    filled = np.cumsum(np.take_along_axis(cap, order, axis=1), axis=1) >= R
    last = np.take_along_axis(order, filled.argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(filled.any(axis=1), last, -1)


def root_up(square: Fraction) -> Fraction:
    """Its root, rounded up by at most 2^-64 of itself."""
    numerator, denominator = square.numerator, square.denominator
    if numerator == 0:
        return Fraction(0)
    k = max(0, 64 - (numerator.bit_length() - denominator.bit_length()) // 2)
    return Fraction(math.isqrt((numerator << 2 * k) // denominator) + 1, 1 << k)


def root(d: int) -> int:
    """Return the root of d > 0, rounded up."""
    return math.isqrt(d - 1) + 1


def sums(rows: Array) -> Array:
    """Sum of each row, as a sum of about sqrt(d) sums of about sqrt(d) numbers."""
    d = rows.shape[-1]
    return np.add.reduceat(rows, np.arange(0, d, root(d)), axis=-1).sum(axis=-1)


def dots(rows: Array, x: Array) -> Array:
    """<row, x> for each row, summed in this order."""
    return sums(rows * x)


def rounded_norms(rows: Array, eps: float) -> Array:
    """Upper bounds of ||row||."""
    return np.sqrt(dots(rows, rows) + rows.shape[-1] * FLOOR) * (1 + 2 * eps)
