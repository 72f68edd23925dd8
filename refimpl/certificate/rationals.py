"""Rows of a certificate in rational arithmetic.

Floats are integers times powers of two: W x, W^T q and the caps of a box are sums and products of
integers, the rest is `fractions.Fraction`. Only the chord's slope and, for p = 2, the norms in the
intervals of z are rounded, up, by at most 2^-64; a leaf or a cut compares squares instead.

Parabolas
---------
With kappa (t + s)^2 = kappa t^2 + t / 2 + 1 / (16 kappa) at t = z_r(delta),

    Q = k + <W^T p, delta> + <delta, H delta>,  H = lambda I - W_N^T D W_N,
    p = q - 2 D z - |gamma| / 2 on N,
    k = l0 - sum_N (D_r z_r^2 + |gamma_r| z_r / 2 + |gamma_r| / (16 kappa_r)) - lambda R^2.

D and p are dyadic: integers times powers of two. k alone is not, by its last terms, and is rounded
down to a dyadic number. So is every number of mu Q + side (bound - z_r), for which mu H, mu p less
side times the unit vector of r, and mu k + side (bound - z_r) take their places. Where H is
positive definite, the least value has the sign of the Schur complement of

    [[4 mu k, u^T], [u, H]], u = W^T p,  or, by Woodbury's identity,
    [[4 lambda mu k - p^T G p, h^T], [h, lambda D^-1 - G_NN]], h = G_N p, G = W W^T,

of order d + 1 or |N| + 1. In a box sigma joins u (and mu sigma mu u), h has W_N sigma more, p^T G p
is ||u||^2, and k is less by the constants of the sides, at caps that are rounded up (E40). The
smaller matrix is taken, the second with D from both sides, so that all
its entries are dyadic. `integers` decides the sign, of all cuts of a step at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from refimpl.certificate import integers as exact
from refimpl.certificate.form import Cuts, Numbers, Rows
from refimpl.certificate.integers import Integers, LimitError, Limits
from refimpl.certificate.minorant import Lines, Minorant, intervals, minorant
from refimpl.certificate.region import ExactRegion, Region, root_up
from refimpl.certificate.sides import multipliers
from refimpl.network import TwoLayerReLU

_ROUNDING = 256  # bits that k keeps beyond those of the other numbers
_fractions: Callable[[Numbers], Numbers] = np.frompyfunc(Fraction, 1, 1)
_GRAMS: WeakKeyDictionary[TwoLayerReLU, Integers] = WeakKeyDictionary()


def _exact(number: Fraction | float) -> Fraction | float:
    return number if number in (-math.inf, math.inf) else Fraction(number)


def _float(number: Fraction) -> float:
    """Its float, infinite beyond their range."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def _less(number: Fraction, drop: Fraction | float) -> Fraction | float:
    """Return number - drop; a float's inf can't be taken from a fraction that is too large."""
    return -math.inf if drop == math.inf else number - drop


_exactly: Callable[[Numbers], Numbers] = np.frompyfunc(_exact, 1, 1)
_about: Callable[[Numbers], Numbers] = np.frompyfunc(_float, 1, 1)
_lessened: Callable[[Numbers, Numbers], Numbers] = np.frompyfunc(_less, 2, 1)


_LEAF = [(0, 0, Fraction(0), Fraction(1))]  # Q itself, as a cut of no side


class Sample:
    """Fractions of one sample: z = W x + b, and intervals of z on the region."""

    def __init__(self, net: TwoLayerReLU, region: Region) -> None:
        self.net, self.region, self.R = net, ExactRegion(region), region.R
        self.W, self.shift = exact.weights(net)
        self.squares = (self.W * self.W).sum(axis=1)  # of 2^shift ||w_r||
        x_integers, x_shift = exact.of_floats(region.x)
        self.z = _over(self.W @ x_integers, self.shift + x_shift) + _fractions(net.bias)
        down, up = self._reach()
        self.lo, self.up = _lessened(self.z, down), -_lessened(-self.z, up)
        self.A, self.c = _fractions(net.A), _fractions(net.c)
        self.slope, self.offset = _lines(self.lo, self.up)

    def _reach(self) -> tuple[Numbers, Numbers]:
        """H_R(-w_r) and H_R(w_r), rounded up, fractions or inf."""
        if self.region.plain and self.region.finite:
            roots = [
                math.isqrt((square << 128) - 1) + 1 if square else 0 for square in self.squares
            ]
            reach = self.region.R * _over(roots, self.shift + 64)
            return reach, reach
        down, up = (
            [
                rest + root_up(square)
                for rest, square in self.region.supports(sign * self.W, 1 << self.shift)
            ]
            for sign in (-1, 1)
        )
        return np.array(down, dtype=object), np.array(up, dtype=object)

    def lines(self, rows: Rows) -> Lines:
        """Lines above ReLU on the intervals at hand of the one row."""
        lo, up, empty = intervals(rows, self.lo, self.up)
        slope, offset = self.slope[None].copy(), self.offset[None].copy()
        cut = np.isfinite(rows.lo) | np.isfinite(rows.up)
        if cut.any():
            slope[cut], offset[cut] = _lines(_exactly(lo[cut]), _exactly(up[cut]))
        known = (lo >= 0) | (up <= 0) | (lo > -math.inf) & (up < math.inf)
        return Lines(slope, offset, known, (lo < 0) & (up > 0), empty)

    def gram(self) -> Integers:
        """W W^T 2^(2 shift), worked out once for each network."""
        if (gram := _GRAMS.get(self.net)) is None:
            gram = _GRAMS[self.net] = exact.product(self.W, self.W.T)
        return gram


def proved(rows: Rows, cuts: Cuts | None, sample: Sample, *, strict: bool, limits: Limits) -> bool:
    """Whether exact arithmetic proves the one row that `rows` holds: a leaf, or a step's cuts."""
    lines = sample.lines(rows)
    if lines.empty.any() or (cuts is not None and len(cuts.row) == 0):
        return True
    counts = {name: getattr(rows, name).astype(object) for name in ("D", "phase")}
    numbers = {name: _fractions(getattr(rows, name)) for name in ("weights", "tau", "nu", "kappa")}
    m = minorant(rows._replace(**counts, **numbers), sample.A, sample.c, lines)
    if not m.usable.all():
        return False
    if m.parabola.any():
        return _bowl_proved(rows, cuts, m, sample, strict=strict, limits=limits)
    l0, q = m.constant[0] + m.q[0] @ sample.z, m.q[0]
    if cuts is None:
        return _leaf_proved(l0, q, sample, strict=strict and bool(rows.weights.any()))
    return _cuts_proved(cuts, l0, q, sample)


def _leaf_proved(l0: Fraction, q: Numbers, sample: Sample, *, strict: bool) -> bool:
    scaled, scale = _integers(q)
    drop, square = sample.region.support(-scaled @ sample.W, scale << sample.shift)
    level = _less(l0, drop)
    if level > 0 and level**2 > square:  # (E33, E38)
        return True
    return bool(strict and level >= 0 and level**2 >= square)  # (E33, E38)


def _cuts_proved(cuts: Cuts, l0: Fraction, q: Numbers, sample: Sample) -> bool:
    """Whether mu l + side (bound - z_r) >= 0 on the region for all cuts."""
    scaled, scale = _integers(q)
    l1 = scaled @ sample.W
    support = (
        _ball_support(l1, scale, sample) if sample.region.plain else _support(l1, scale, sample)
    )
    for r, side, bound, mu in _each(cuts):
        drop, square = support(r, side, mu)
        level = _less(mu * l0 + side * (bound - sample.z[r]), drop)
        if level < 0 or level**2 < square:  # (E41)
            return False
    return True


_Support = Callable[[int, int, Fraction], tuple[Fraction | float, Fraction]]


def _ball_support(l1: Integers, scale: int, sample: Sample) -> _Support:
    """0 and R^2 ||mu l1 - side w_r||^2, from products that no cut changes."""
    square, R2 = Fraction(int(l1 @ l1), scale**2), sample.region.R**2 / 4**sample.shift

    def support(r: int, side: int, mu: Fraction) -> tuple[Fraction, Fraction]:
        cross = Fraction(int(sample.W[r] @ l1), scale)
        norm2 = mu * mu * square - 2 * side * mu * cross + sample.squares[r]
        return Fraction(0), R2 * norm2

    return support


def _support(l1: Integers, scale: int, sample: Sample) -> _Support:
    """H_R(side w_r - mu l1)."""

    def support(r: int, side: int, mu: Fraction) -> tuple[Fraction | float, Fraction]:
        unit = scale * mu.denominator
        v = side * unit * sample.W[r] - mu.numerator * l1
        return sample.region.support(v, unit << sample.shift)

    return support


def _bowl_proved(
    rows: Rows,
    cuts: Cuts | None,
    m: Minorant,
    sample: Sample,
    *,
    strict: bool,
    limits: Limits,
) -> bool:
    """Whether Q > 0 on R^d, or mu Q + side (bound - z_r) >= 0 for all cuts (E35, E42)."""
    N = np.flatnonzero(m.parabola[0])
    if min(len(N), sample.net.dim) > limits.order:
        raise LimitError
    if rows.ball[0] == 0 or (cuts is not None and not cuts.mu.all()):
        return False  # no quadratic, or none of which a multiple is at hand
    bowl = _Bowl.of(rows, m, N, sample)
    matrices = bowl.matrices(_LEAF if cuts is None else list(_each(cuts)))
    signs = exact.schur_signs(matrices, limits)
    least = 1 if cuts is None and not strict else 0
    return signs is not None and min(signs) >= least  # (E35, E42)


class _Bowl(NamedTuple):
    """Q = k + <W^T p, delta> - sum_N D_r <w_r, delta>^2 + lambda ||delta||^2, p and D dyadic."""

    sample: Sample
    N: Numbers
    lam: Fraction
    D: Numbers
    p: Numbers
    k: Fraction

    @classmethod
    def of(cls, rows: Rows, m: Minorant, N: Numbers, sample: Sample) -> _Bowl:
        """Q of the one row, k rounded down to a dyadic number."""
        lam, kappa, height = Fraction(rows.ball[0]), _fractions(rows.kappa[0, N]), -m.gamma[0, N]
        z, p = sample.z, m.q[0].copy()
        D = height * kappa
        p[N] = -2 * D * z[N] - height / 2
        dyadic = m.constant[0] + m.q[0] @ z - lam * Fraction(sample.R) ** 2
        dyadic -= (D * z[N] ** 2 + height * z[N] / 2).sum()
        rest = (height / (16 * kappa)).sum()
        return cls(sample, N, lam, D, p, _round_down(dyadic - rest))

    def matrices(self, cuts: list[tuple[int, int, Fraction, Fraction]]) -> exact.Bordered:
        """Return the matrices of E35 up to congruence, for each mu Q + side (bound - z_r)."""
        table = np.array(cuts, dtype=object)
        r, (side, bound, mu) = table[:, 0].astype(np.int64), table[:, 1:].T
        push, price = self.sides(r, side, mu)
        k = mu * self.k + side * (bound - self.sample.z[r]) - price
        build = self._in_pixels if self.sample.net.dim < len(self.N) else self._in_neurons
        return build(r, side, mu, k, *push)

    def sides(
        self, r: Numbers, side: Numbers, mu: Numbers
    ) -> tuple[tuple[Integers, int], Numbers | int]:
        """sigma of each mu Q - side z_r, as integers (n,d) and a shift, and its constant (n,)."""
        s = self.sample
        if s.region.plain:
            return (np.zeros((1, 1), dtype=object), 0), 0
        a, b = s.region.region.caps()
        D, p = (_about(each).astype(np.float64) for each in (self.D, self.p))
        W, m = s.net.W, mu.astype(np.float64)[:, None]
        with np.errstate(all="ignore"):
            moves = -side.astype(np.float64)[:, None] * W[r] / m
            around = W[self.N], D, float(self.lam), p @ W, moves, a, b
            sigma = np.nan_to_num(m * multipliers(*around), nan=0.0, posinf=0.0, neginf=0.0)
        push, e = exact.of_floats(sigma)
        (low, high), f = exact.of_floats(np.stack((a, b)))
        price = np.maximum(push, 0) @ high + np.maximum(-push, 0) @ low
        return (push, e), _over(price, e + f)  # (E40)

    def _in_pixels(
        self, r: Numbers, side: Numbers, mu: Numbers, k: Numbers, push: Integers, e: int
    ) -> exact.Bordered:
        """Block H = lambda I - W_N^T D W_N, sides W^T (mu p - side e_r) + sigma, corners 4 mu k."""
        s = self.sample
        V = s.W[self.N]
        D, a = exact.of_dyadic(self.D)
        (lam,), b = exact.of_dyadic([self.lam])
        scale = max(a + 2 * s.shift, b)
        curved = exact.product(V.T * D, V) << (scale - a - 2 * s.shift)
        block = np.diag(np.full(s.net.dim, lam << (scale - b), dtype=object)) - curved
        p, g = exact.of_dyadic(self.p)
        m, h = exact.of_dyadic(mu)
        sides = np.outer(m, p @ s.W) - (side[:, None] * s.W[r] << (g + h))
        shift = max(g + h + s.shift, e)
        sides = (sides << (shift - g - h - s.shift)) + (push << (shift - e))
        return exact.Bordered(block, scale, sides, shift, list(4 * mu * k))  # (E35)

    def _in_neurons(
        self, r: Numbers, side: Numbers, mu: Numbers, k: Numbers, push: Integers, e: int
    ) -> exact.Bordered:
        """D C D with C = lambda D^-1 - G_NN; sides D (G_N (mu p - side e_r) + W_N sigma)."""
        s, N = self.sample, self.N
        G, two = s.gram(), 2 * s.shift
        D, a = exact.of_dyadic(self.D)
        (lam,), b = exact.of_dyadic([self.lam])
        scale = max(2 * a + two, a + b)
        curved = np.outer(D, D) * G[np.ix_(N, N)] << (scale - 2 * a - two)
        block = np.diag(lam * D << (scale - a - b)) - curved
        p, g = exact.of_dyadic(self.p)
        m, h = exact.of_dyadic(mu)
        u = p @ s.W
        Gp = s.W @ u  # at 2^(g + two)
        sides = np.outer(m, Gp[N]) - (side[:, None] * G[np.ix_(r, N)] << (g + h))
        square = Fraction(int(u @ u), 1 << (2 * g + two))
        cross = _over(Gp[r], g + two)
        squares = _over(s.squares[r], two)
        norms = mu * mu * square - 2 * side * mu * cross + side * side * squares
        shift = g + h + two
        if push.any():
            shift = max(shift, s.shift + e)
            sides = sides << (shift - g - h - two)
            sides = sides + (exact.product(push, s.W[N].T) << (shift - s.shift - e))
            along = mu * _over(push @ u, e + g + s.shift)
            along = along - side * _over((push * s.W[r]).sum(axis=1), e + s.shift)
            norms = norms + 2 * along + _over((push * push).sum(axis=1), 2 * e)
        betas = list(4 * self.lam * mu * k - norms)
        return exact.Bordered(block, scale, sides * D, shift + a, betas)  # (E35)


def _each(cuts: Cuts) -> list[tuple[int, int, Fraction, Fraction]]:
    """Neuron, side, bound and mu of each cut."""
    return [
        (int(r), int(side), Fraction(bound), Fraction(mu))
        for _, r, side, bound, mu in zip(*cuts, strict=True)
    ]


def _round_down(value: Fraction) -> Fraction:
    """Itself if its denominator is a power of two, else a dyadic number just below."""
    denominator = value.denominator
    if denominator & (denominator - 1) == 0:
        return value
    bits = _ROUNDING + max(denominator.bit_length() - abs(value.numerator).bit_length(), 0)
    return Fraction(math.floor(value * 2**bits), 2**bits)


def _lines(lo: Numbers, up: Numbers) -> Numbers:
    return np.array([_line(*ends) for ends in zip(lo, up, strict=True)], dtype=object).T


def _line(lo: Fraction | float, up: Fraction | float) -> tuple[Fraction, Fraction]:
    """Slope and offset of a line above ReLU on [lo, up], the slope a multiple of 2^-64.

    There is none where a chord would have an infinite end.
    """
    if lo >= 0:
        return Fraction(1), Fraction(0)
    if up <= 0 or isinstance(lo, float) or isinstance(up, float):
        return Fraction(0), Fraction(0)
    slope = Fraction(math.ceil(up / (up - lo) * 2**64), 2**64)
    return slope, -slope * lo


def _integers(numbers: Numbers) -> tuple[Integers, int]:
    """Integers and a scale > 0 with numbers = integers / scale."""
    scale = math.lcm(*(number.denominator for number in numbers))
    return np.array([int(number * scale) for number in numbers], dtype=object), scale


def _over(integers: Integers | list[int], shift: int) -> Numbers:
    """Fractions integers / 2^shift."""
    result: Numbers = np.array([Fraction(integer, 1 << shift) for integer in integers])
    return result
