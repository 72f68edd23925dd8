"""Rows of a certificate in integers, rounded to the safe side: the first step of exact mode.

No float is trusted here. Floats only choose numbers that may be chosen freely, and hold integers
below 2^53, whose sums and products they get right. What this leaves open, `rationals` decides.

One row
-------
A leaf asks for sum_i w_i g_i > 0 on its part of the region, a cut for mu sum_i w_i g_i
+ side (bound - z_r) >= 0. With mu = 1 and side = 0 at a leaf, both sums are

    mu <v, c> + side bound + sum_s f_s(z_s(delta)),  f_s(t) = mu gamma_s max(t, 0) - side [s = r] t.

For every q in R^M, each f_s(t) is at least q_s t + least_s on the interval at hand of z_s, path
included, where least_s is the least of 0 and of the values of f_s(t) - q_s t at the ends: f_s has
one kink, at 0. So lines, chords, tau and nu need no case of their own: q says all, and nothing is
divided. The sum is at least l0 + <W^T q, delta>,

    l0 = mu <v, c> + side bound + sum_s (least_s + q_s z_s(0)),

and the row is proved if l0 > H_R(-W^T q), for a cut >=. The q of the certificate, as floats work it
out, is as good as any: it is exact from there on.

Rounding
--------
z(0), gamma, least and l0 are exact, in Python's integers. Three things are not.

- Caps are rounded up; so are R ||u|| and the bounds of z.
- W and q_i are cut to three digits of base 2^B each, as parts of 2^E and 2^E_i that no entry
  reaches, and of their products the two lowest places are left out: of M products of numbers below
  1 in size, each loses less than 5 2^-3B. The three places that are left, sums of at most 3 M
  products below 2^2B, are integers below 2^53. They are rounded down to a number of T bits, in
  units of 2^e_i, by less than 3 units.
- So W^T q is off by at most 3 2^e_i + 5 M 2^(E + E_i - 3B) in each coordinate, and H_R, which is
  subadditive, by that times the largest sum of |delta_j|: the sum of caps, or d^(1 - 1/p) R.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.certificate import integers as exact
from refimpl.certificate.form import Cuts, Numbers, Reading, Rows
from refimpl.certificate.integers import Integers
from refimpl.certificate.minorant import Lines, intervals, minorant
from refimpl.certificate.region import Region, directions, facing, last_filled, root, water_level
from refimpl.network import TwoLayerReLU

_ROWS_AT_ONCE = 256
_PLACES = 3  # digits of W and q
_Support = Callable[[IntArray, IntArray], tuple[list[Fraction], list[Fraction]]]


def proved(reading: Reading, net: TwoLayerReLU, region: Region) -> Numbers:
    """Which rows are proved; parabolas never are, nor anything at R = inf."""
    result = np.zeros(len(reading), dtype=bool)
    straight = np.flatnonzero(~reading.arrays["kappa"].any(axis=1))
    if math.isinf(region.R) or len(straight) == 0:
        return result
    with np.errstate(all="ignore"):  # of the numbers that floats choose
        sample = _Sample(net, region)
        for start in range(0, len(straight), _ROWS_AT_ONCE):
            part = straight[start : start + _ROWS_AT_ONCE]
            is_leaf = ~reading.is_step[part]
            result[part] = _proved_rows(reading.rows(part), reading.cuts_of(part), is_leaf, sample)
    return result


def _proved_rows(rows: Rows, cuts: Cuts, is_leaf: Numbers, sample: _Sample) -> Numbers:
    lo, up, empty = _ends(rows, sample)
    leaves = np.flatnonzero(is_leaf & ~empty)
    none = np.zeros(len(leaves), dtype=np.int64)
    all_ = (leaves, none, none, np.zeros(len(leaves)), np.ones(len(leaves)))  # cuts of no side
    asked = Cuts(*(np.concatenate(pair) for pair in zip(all_, cuts, strict=True)))
    slopes = minorant(rows, sample.net.A, sample.net.c, _lines(rows, sample)).q
    result = np.ones(len(is_leaf), dtype=bool)
    for start in range(0, len(asked.row), _ROWS_AT_ONCE):
        some = asked.take(slice(start, start + _ROWS_AT_ONCE))
        held = _hold(some, slopes[some.row], rows, lo, up, sample)
        np.logical_and.at(result, some.row, held)
    return result | empty


class _Sample:
    """Integers of one sample: z = W x + b and its bounds, all times 2^shift."""

    def __init__(self, net: TwoLayerReLU, region: Region) -> None:
        self.net, self.omega = net, _Omega(region)
        self.A, self.c = exact.of_floats(net.A), exact.of_floats(net.c)
        W, w = exact.weights(net)
        x, e = exact.of_floats(region.x)
        b, f = exact.of_floats(net.bias)
        self.shift = max(w + e, f) + 64 + max(0, -math.frexp(region.R)[1])
        self.z = (W @ x << (self.shift - w - e)) + (b << (self.shift - f))
        tops = np.frexp(np.abs(net.W).max(axis=1))[1].astype(np.int64)
        bits = self.omega.bits
        v = np.ldexp(net.W, (bits - tops)[:, None]).astype(np.int64)  # off by less than 1
        units = tops - bits
        self.lo = self.z - self._reach(self.omega.rough, -v, units)
        self.up = self.z + self._reach(self.omega.rough, v, units)
        bent = np.flatnonzero((self.lo < 0) & (self.up > 0))
        if not self.omega.plain:  # a second look at neurons that the first does not show stable
            v, units = v[bent], units[bent]
            self.lo[bent] = self.z[bent] - self._reach(self.omega.support, -v, units)
            self.up[bent] = self.z[bent] + self._reach(self.omega.support, v, units)
        self.near = tuple(
            exact.as_floats(end, self.shift).astype(np.float64) for end in (self.lo, self.up)
        )
        self.top = math.frexp(np.abs(net.W).max(initial=0.0))[1]
        self.digit = (51 - max(net.n_hidden - 1, 1).bit_length()) // 2
        self.W = _digits(np.ldexp(net.W, -self.top), self.digit)

    def _reach(self, support: _Support, v: IntArray, units: IntArray) -> Integers:
        """H_R of rows that v 2^units is off by less than one unit in each entry, rounded up."""
        rest, norm2 = support(v, units)
        total = []
        for r, s, unit in zip(rest, norm2, units.tolist(), strict=True):
            bound = r + self.omega.width * _scaled(1, unit)
            total.append(_ceil(bound, self.shift) + _root_up(s, self.shift))
        return np.array(total, dtype=object)

    def slopes(self, q: Array) -> tuple[IntArray, IntArray, list[Fraction]]:
        """V, e and errors with W^T q_i = V_i 2^e_i up to error_i in each coordinate."""
        tops = np.frexp(np.abs(q).max(axis=1))[1].astype(np.int64)
        digits = _digits(np.ldexp(q, -tops[:, None]), self.digit)
        places = [
            np.sum([digits[i] @ self.W[k - i] for i in range(k + 1)], axis=0)
            for k in range(_PLACES)
        ]
        largest = [
            np.ldexp(np.abs(place).max(axis=1, initial=0.0), -self.digit * (k + 2))
            for k, place in enumerate(places)
        ]
        units = np.frexp(np.max(largest, axis=0))[1].astype(np.int64) + 2 - self.omega.bits
        moved = [
            _moved(place.astype(np.int64), -self.digit * (k + 2) - units)
            for k, place in enumerate(places)
        ]
        lost = 5 * self.net.n_hidden * _scaled(1, -_PLACES * self.digit)
        scales = (tops + self.top).tolist()
        errors = [
            _scaled(1, scale) * (3 * _scaled(1, unit) + lost)
            for scale, unit in zip(scales, units.tolist(), strict=True)
        ]
        return np.sum(moved, axis=0), units + tops + self.top, errors


def _hold(
    cuts: Cuts, slopes: Array, rows: Rows, lo: Integers, up: Integers, sample: _Sample
) -> Numbers:
    """Whether each cut holds, or, if its side is 0, the leaf of its row is proved.

    `slopes` (n,M) are those of the minorants that the cuts combine.
    """
    i, r, side = cuts.row, cuts.neuron, cuts.side
    q = cuts.mu[:, None] * slopes
    q[np.arange(len(i)), r] -= side
    fit = np.isfinite(q).all(axis=1)
    q[~fit] = 0.0
    l0, shift = _levels(cuts, q, rows, lo[i], up[i], sample)
    V, units, errors = sample.slopes(q)
    levels = [
        Fraction(each, 1 << shift) - error * sample.omega.width
        for each, error in zip(l0, errors, strict=True)
    ]
    result = np.zeros(len(i), dtype=bool)
    for support, asked in ((sample.omega.rough, fit & (side == 0)), (sample.omega.support, fit)):
        open_ = np.flatnonzero(asked & ~result)
        found = zip(open_, *support(-V[open_], units[open_]), strict=True)
        for k, rest, square in found:
            level = levels[k] - rest
            equal = side[k] != 0 and level >= 0 and level**2 == square
            result[k] = equal or (level > 0 and level**2 > square)
    return result  # (E33, E38, E41)


def _lines(rows: Rows, sample: _Sample) -> Lines:
    """Lines near those of the certificate, in floats."""
    lo, up, empty = intervals(rows, *sample.near)
    slope = np.where(lo >= 0, 1.0, np.where(up <= 0, 0.0, 1 / (1 - lo / up)))
    bent = (lo < 0) & (up > 0)
    return Lines(slope, np.where(bent, -slope * lo, 0.0), np.array(True), bent, empty)


def _levels(
    cuts: Cuts, q: Array, rows: Rows, lo: Integers, up: Integers, sample: _Sample
) -> tuple[Integers, int]:
    """l0 (n,) as integers / 2^shift."""
    i, (A, b), (c, d) = cuts.row, sample.A, sample.c
    weights, a = exact.of_floats(rows.weights)
    mu, e = exact.of_floats(cuts.mu)
    bound, f = exact.of_floats(cuts.bound)
    Q, g = exact.of_floats(q)
    v = (weights[:, None] @ rows.D.astype(np.int64).astype(object))[:, 0]
    slope = max(a + b + e, g)
    gamma = mu[:, None] * (v @ A)[i] << (slope - a - b - e)
    Q = Q << (slope - g)
    line = Q.copy()
    line[np.arange(len(i)), cuts.neuron] += cuts.side.astype(object) << slope
    at_lo, at_up = (gamma * np.maximum(t, 0) - line * t for t in (lo, up))
    least = np.minimum(np.minimum(at_lo, at_up), 0)
    sums = (least + Q * sample.z).sum(axis=1)
    total = max(slope + sample.shift, a + e + d, f)
    fixed = (mu * (v @ c)[i] << (total - a - e - d)) + (cuts.side * bound << (total - f))
    return (sums << (total - slope - sample.shift)) + fixed, total


def _ends(rows: Rows, sample: _Sample) -> tuple[Integers, Integers, Numbers]:
    """Intervals at hand (n,M), path included, times 2^shift, and which rows (n,) are empty."""
    lo, up = (np.tile(end, (len(rows.phase), 1)) for end in (sample.lo, sample.up))
    for end, cut, take, sign in ((lo, rows.lo, np.maximum, 1), (up, rows.up, np.minimum, -1)):
        there = np.isfinite(cut)
        bound, s = exact.of_floats(sign * cut[there])
        left, right = max(sample.shift - s, 0), max(s - sample.shift, 0)
        end[there] = take(end[there], sign * (bound << left >> right))
    lo[rows.phase > 0] = np.maximum(lo[rows.phase > 0], 0)
    up[rows.phase < 0] = np.minimum(up[rows.phase < 0], 0)
    cut = np.isfinite(rows.lo) | np.isfinite(rows.up)
    return lo, up, np.any(cut & (lo > up), axis=1)


class _Omega:
    """The region: caps as integers of `bits` bits times 2^unit, rounded up."""

    def __init__(self, region: Region) -> None:
        d = len(region.x)
        self.R, self.norm, self.plain = Fraction(region.R), region.norm, region.plain
        self.half = (61 - d.bit_length()) // 2  # bits of digits: 2 d products of two are < 2^62
        self.bits = 2 * self.half
        if self.plain:
            self.width = root(d) * self.R
            return
        a, b = region.caps()
        unit = math.frexp(max(a.max(), b.max()))[1] - self.bits
        self.unit = unit
        self.a, self.b = (  # at least 1, lest a cap underflow
            np.maximum(np.ceil(np.ldexp(cap, -unit)), cap > 0).astype(np.int64) for cap in (a, b)
        )
        self.low, self.high = directions(a, b)
        most = {1.0: 1, 2.0: root(d), math.inf: d}[self.norm] * self.R
        self.width = min(most, _scaled(int(np.maximum(self.a, self.b).sum()), unit))
        self.near = float(np.ldexp(region.R, -unit))

    def rough(self, v: IntArray, units: IntArray) -> tuple[list[Fraction], list[Fraction]]:
        """Like `support`, as if a cap that is not 0 were none."""
        if self.plain or self.norm == math.inf:
            return self.support(v, units)
        u = np.abs(np.where((v > self.low) & (v < self.high), v, 0))
        exponents = units.tolist()
        if self.norm == 2:
            return [Fraction(0)] * len(v), self._squares(u, exponents)
        tops = zip(u.max(axis=1).tolist(), exponents, strict=True)
        return [self.R * _scaled(top, e) for top, e in tops], [Fraction(0)] * len(v)  # (E38)

    def support(self, v: IntArray, units: IntArray) -> tuple[list[Fraction], list[Fraction]]:
        """Return s and t with H_R(v_i 2^units_i) <= s_i + sqrt(t_i)."""
        exponents = units.tolist()
        if self.plain:
            return [Fraction(0)] * len(v), self._squares(v, exponents)
        size, cap = facing(v, self.a, self.b)
        u = self._split(size, cap)
        sums = zip(self._dot(size - u, cap), exponents, strict=True)
        rest = [_scaled(s, e + self.unit) for s, e in sums]
        if self.norm == 1:
            tops = zip(rest, u.max(axis=1).tolist(), exponents, strict=True)
            return [r + self.R * _scaled(top, e) for r, top, e in tops], [Fraction(0)] * len(v)
        return rest, self._squares(u, exponents)  # (E38)

    def _squares(self, u: IntArray, exponents: list[int]) -> list[Fraction]:
        """R^2 ||u_i 2^e_i||^2."""
        n, d = self.R.as_integer_ratio()
        sums, shift = self._dot(u, u), 2 * d.bit_length() - 2
        return [_scaled(n * n * s, 2 * e - shift) for s, e in zip(sums, exponents, strict=True)]

    def _split(self, size: IntArray, cap: IntArray) -> IntArray:
        """Sizes u (n,d) of a good split, 0 <= u <= size."""
        if self.norm == math.inf:
            return np.zeros_like(size)
        sizes, caps = size.astype(np.float64), cap.astype(np.float64)
        if self.norm == 1:
            last = last_filled(sizes, caps, self.near)
            s = np.where(last < 0, 0, size[np.arange(len(size)), last])
            return np.minimum(size, s[:, None])
        level = water_level(sizes, caps, self.near)
        ceiling = np.minimum(level[:, None] * caps, 2.0**62).astype(np.int64)
        return np.minimum(size, ceiling)

    def _dot(self, X: IntArray, Y: IntArray) -> list[int]:
        """Products <X_i, Y_i> of rows of integers from 0 to 2^bits in size."""
        h, mask = self.half, (1 << self.half) - 1
        X1, X0, Y1, Y0 = X >> h, X & mask, Y >> h, Y & mask
        high, low = (np.einsum("ij,ij->i", A, B).tolist() for A, B in ((X1, Y1), (X0, Y0)))
        cross = (np.einsum("ij,ij->i", X1, Y0) + np.einsum("ij,ij->i", X0, Y1)).tolist()
        return [(a << 2 * h) + (b << h) + c for a, b, c in zip(high, cross, low, strict=True)]


def _digits(array: Array, bits: int) -> list[Array]:
    """Digits of numbers below 1 in size, with their sign, the most significant first."""
    found = []
    for _ in range(_PLACES):
        array = np.ldexp(array, bits)
        found.append(np.trunc(array))
        array = array - found[-1]
    return found


def _moved(array: IntArray, by: IntArray) -> IntArray:
    """Rows times 2^by, rounded down."""
    left, right = np.clip(by, 0, 62), np.clip(-by, 0, 63)
    return (array << left[:, None]) >> right[:, None]


def _scaled(integer: int, exponent: int) -> Fraction:
    """integer 2^exponent."""
    if exponent >= 0:
        return Fraction(integer << exponent)
    return Fraction(integer, 1 << -exponent)


def _ceil(value: Fraction, shift: int) -> int:
    """Value times 2^shift, rounded up."""
    return -((-value.numerator << shift) // value.denominator)


def _root_up(square: Fraction, shift: int) -> int:
    """Root times 2^shift, rounded up."""
    return math.isqrt(_ceil(square, 2 * shift) - 1) + 1 if square else 0
