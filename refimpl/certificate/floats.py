"""Rows of a certificate in float64, with a bound on all rounding errors.

A row is tried here first; what this cannot decide is left to exact arithmetic.

Affine minorants
----------------
A leaf is proved if l0 - H(-l1) > 4 eps S as computed, where H bounds how far a linear function
rises on the region, R ||l1|| on an l2 ball (see `region`). With u = 2^-53 and

    eps = n u,  n = 2 ceil(sqrt(d)) + 5 M + 4 K + 3 I + 32,
    size_r = sum_j |W_rj x_j| + |b_r| + reach_r,    |z_r| <= size_r on the region,
    S = sum_k |v_k c_k| + sum_r (B_r + nu_r) size_r,  B_r = sum_k |v_k A_kr|,

l as computed is off by less than 4 eps S everywhere on the region. There reach_r is R ||w_r||, with
the dual norm, and with a box the lesser of it and sum_j |W_rj| max(a_j, b_j): it bounds
sum_j |W_rj delta_j|, and so what errors of l1 make of any delta. To first order in u, a sum of m
products, in any order, has an error of at most m u times the sum of their absolute values, and dots
over d are sums of sums, with 2 ceil(sqrt(d)) for m. The errors are

1. v and gamma, sums of I and of K terms. An error e of gamma_r, even one that flips its sign, moves
   l by at most |e| size_r on the region: (I + K) u S;
2. q = gamma f - nu, two roundings that act like 1: 2 u S;
3. slope, rounded up, and offset: 6 u S;
4. l0, a sum of K + 2 M products with absolute values of at most 2 S in all: 2 (K + 2 M + 2) u S;
5. v in <v, c>: I u S, and z in <q, z>: (2 ceil(sqrt(d)) + 2) u S;
6. l1 = W^T q, componentwise M u sum_r |q_r W_rj|, which times |delta_j| adds up to M u S; H is
   rounded up, on an l2 ball by 2 eps in the norm, and elsewhere as `region` says.

Together less than eps S; the factor of 4 covers terms of higher order and the roundings of S, of
the norm and of the last subtraction. The bounds lo and up are widened by 2 eps size, more than
z and ||w_r|| are off by; cuts are floats, and exact. Underflow puts a product off by at most
2^-1075: 2^-960, which is added to every magnitude and under every root, pays for it. In l1 it is
multiplied by delta: 2^-960 (1 + width), width a bound of sum_j |delta_j|, is added to every size
and to S.
Overflow gives inf or NaN and proves nothing. Where z overflows, as it may though no term of it
does, there is no interval. up / (up - lo), which overflow would turn into 0, is computed as
1 / (1 - lo / up), where 0 means that up, by which the line is then off, is below 2^-1000 size.

Some of these precautions could be left out, since the factor of 4 has room for what they prevent.

- Three quantities are rounded to the safe side: the slope up, the norms up, and lo down and up up.
  Every line then lies above ReLU also as it is computed, but for u |offset|. Without this l would
  be off by another 3 u S for the slope, (ceil(sqrt(d)) + 3) u S for the norms and
  (2 ceil(sqrt(d)) + 4) u S for the bounds.
- n has a term 3 I, which I <= K makes superfluous, and a constant 32.

Nor is the test needed that l0 is finite: where S is finite, l0 is inf only if l > 0.

A cut by an affine minorant needs mu l0 +- (bound - z_r) >= H(+-w_r - mu l1): mu times the errors
above, those of z_r and w_r, and two roundings of each term, so at most
4 eps (mu S + size_r + |bound|).

Quadratic minorants
-------------------
The errors 1, 2, 3 and 5 of z and gamma are those of sum_i w_i g_i on the region: an error dz_r of
z_r moves gamma_r ReLU(z_r) by at most |gamma_r dz_r|, and dgamma_r moves it by at most
|dgamma_r| size_r. So they cost eps S at most, whatever s_r is, and from here z, gamma and q are the
floats that were computed, and Q is the quadratic that has them. Around any point delta_0, which
floats choose near the minimiser,

    Q(delta) = Q(delta_0) + <g, e> + <e, H e>,  e = delta - delta_0,  g the gradient at delta_0,

and if no eigenvalue of H is below h > 0, Q >= Q(delta_0) - ||g||^2 / (4 h). Near the
minimiser g is made of rounding errors, and the loss is of their squares.

A cut by Q with mu > 0 holds if mu Q + side (bound - z_r) >= 0. That is a quadratic with mu H for H,
and all this holds for it around a point delta_0 of its own, with mu g - side w_r for the gradient.
In a ball the best point for w_r lies on the line U_0 + s U_j, s = -side / mu, where U_0 is about
the minimiser of Q and 2 H U_j + w_r about 0: so delta_0 is the point with this float s, and what is
affine or quadratic along the line is put together from its values at U_0 and U_j. The gradient is
mu (G_0 + s G_j), G_0 = g(0) + 2 H U_0 and G_j = w_r + 2 H U_j. In a box each cut has a U_j of its
own, with G_j = g(0) - side / mu w_r + 2 H U_j, U_0 = 0 = G_0 and s = 1. With

    R_0 = ||U_0|| + |s| ||U_j|| >= ||delta_0||,

    eps' = eps + 2 d u,  size'_r = size_r + R_0 ||w_r||,  f_r = kappa_r t_r + 1/4,

7. t = z + W_N U_0 + s W_N U_j is off by less than eps' size'. With a parabola's value
   |gamma_r| f_r^2 / kappa_r and derivative 2 |gamma_r| f_r, this and all roundings of the value
   stay below eps' times B_r (1 + 2 |f_r| + eps' kappa_r size'_r) (size'_r + s_r), which is S'_r for
   r in N;
8. off N, S'_r = (B_r + nu_r) size'_r: there Q is l0 + <l1, delta>, where l0 has the error 4, and
   l1, off by M u sum_r |q_r W_rj|, makes one of (M + d + 2) u sum_r |q_r| ||w_r|| R_0. The ball's
   term adds lambda (R_0^2 + R^2): with S' = sum_k |v_k c_k| + sum_r S'_r + that, Q(delta_0) is off
   by less than 4 eps' S';
9. G_0 + s G_j is off by less than 4 eps' (sum |q_r| ||w_r|| off N + sum_N 6 B_r ||w_r|| (kappa_r
   size'_r + 1/4) + 4 lambda R_0), in which the parabolas' derivatives at 0 and what U_0 and s U_j
   add to them count each by itself. This goes into ||G_0|| + |s| ||G_j||;
10. w_r, t_r and the bound join in: the gradient is off by 4 eps' ||w_r|| more, and level, bound and
   z_r by 4 eps' (mu |Q(delta_0)| + |bound| + size'_r + the loss).

Of l1, underflow takes less than 4 eps' lambda R_0^2, since lambda > 2^-300, and bounds of norms are
above 2^-480. 2^-480 is added to the bound of the gradient, so that its square does not underflow.
At the points that floats choose, the first sum of 9 could be left out: with g about 0, the others
add up to it.

The Hessian
-----------
H >= h I is tried for h = lambda / 4 down to 2^-26 lambda, and shown through the matrix
C = (lambda - h) D^-1 - G_NN, G = W W^T, or C = H - h I where d < |N|: one is positive semidefinite
if and only if the other is, as V^T V and V V^T have the same eigenvalues.
C as computed is off by at most a matrix E >= 0 componentwise: with eps" = (|N| + d + 8) u,

11. E = 2 eps" (nu nu^T + 4 lambda D^-1), nu_r = ||w_r||, or 2 eps" (|W_N|^T D |W_N| + 4 lambda I).

Let T be the powers of two that give T C T a diagonal in [1/2, 2). T E T moves no eigenvalue by more
than its largest row sum, and row by row: T C T - diag(T E T 1) loses at least what E can add.

12. If Cholesky's factorisation of a symmetric matrix of order n runs to its end in floats, the
    matrix plus (n + 1) u / (1 - 2 (n + 1) u) times its trace is positive semidefinite (S. M. Rump,
    Verification of positive definiteness, BIT 46, 2006): less than 4 (n + 2) n u, as the trace is
    below 2 n, for LAPACK's order of operations too. Twice that is taken off before.

In a box
--------
Let g = G_0 + s G_j, and delta_0 any point of the box with its caps as floats. Where delta_0 is at
the upper cap and g_j < 0 as computed, g_j (delta_j - delta_0,j) >= 0 in all the region, since caps
are rounded up; likewise at the lower cap where g_j > 0. These g_j are left out of ||g|| (E40). What
rounding has put them off by is in 9 and 10, and is not left out. delta_0 is best where the least
value on the box is (`sides`).

Floats leave rows to exact arithmetic where lambda, |gamma_r|, kappa_r, D_r or mu lie beyond 2^300
or its inverse, or ||w_r|| beyond 2^300, so that products of them do not underflow, and where
kappa_r size'_r > 2^50.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs

from refimpl._arrays import Array, IntArray
from refimpl.certificate.form import Cuts, Numbers, Reading, Rows
from refimpl.certificate.minorant import Lines, Minorant, intervals, minorant
from refimpl.certificate.region import (
    FLOOR,
    UNIT,
    FloatRegion,
    Region,
    dots,
    root,
    rounded_norms,
)
from refimpl.certificate.sides import least_points, outward
from refimpl.network import TwoLayerReLU

_ROWS_AT_ONCE = 256  # keeps W^T q of a large tree, and of many cuts, small
_STIFFNESS = 2.0 ** np.array([-2, -8, -14, -20, -26])  # of H, as parts of lambda, tried in turn
_HUGE = 2.0**300  # floats leave parabolas with factors beyond it, or below 1 / it, to exact mode
_STEEPEST = 2.0**50  # of kappa size: beyond it the parabola is a spike that rounding can't see

_GRAMS: WeakKeyDictionary[TwoLayerReLU, Array] = WeakKeyDictionary()


def proved(reading: Reading, net: TwoLayerReLU, region: Region) -> Numbers:
    """Which rows float64 proves, by the error bound at the head of this module."""
    result = np.zeros(len(reading), dtype=bool)
    with np.errstate(all="ignore"):  # overflow fails every comparison
        ball = _ball(net, region, reading.arrays["weights"].shape[1])
        for start in range(0, len(reading), _ROWS_AT_ONCE):
            part = np.arange(start, min(start + _ROWS_AT_ONCE, len(reading)))
            cuts = reading.cuts_of(part)
            result[part] = _proved_rows(reading.rows(part), cuts, reading.is_step[part], net, ball)
    return result


class _Ball(NamedTuple):
    """What all rows share: z(0), bounds of |z| (size) and of z on the region, and of ||w||."""

    region: FloatRegion
    R: float
    eps: float
    z: Array
    size: Array
    norms: Array
    lo: Array
    up: Array


def _ball(net: TwoLayerReLU, region: Region, n_constraints: int) -> _Ball:
    n = 2 * root(net.dim) + 5 * net.n_hidden + 4 * net.n_outputs + 3 * n_constraints + 32
    eps = n * UNIT
    omega, W = FloatRegion(region, eps), net.W
    z = dots(W, region.x) + net.bias
    size = np.abs(W) @ np.abs(region.x) + np.abs(net.bias) + omega.spread(W)
    size += FLOOR * (1 + omega.width)
    norms = rounded_norms(W, eps)
    lo, up = z - (omega.rough(-W) + 2 * eps * size), z + (omega.rough(W) + 2 * eps * size)
    if omega.is_rough:  # a second look at neurons that the first does not show to be stable
        bent = np.flatnonzero((lo < 0) & (up > 0))
        lo[bent] = z[bent] - (omega.support(-W[bent]) + 2 * eps * size[bent])
        up[bent] = z[bent] + (omega.support(W[bent]) + 2 * eps * size[bent])
    lost = ~np.isfinite(z)
    lo[lost], up[lost] = -math.inf, math.inf
    return _Ball(omega, np.float64(region.R), eps, z, size, norms, lo, up)


def _proved_rows(
    rows: Rows, cuts: Cuts, is_step: Numbers, net: TwoLayerReLU, ball: _Ball
) -> Numbers:
    lo, up, empty = intervals(rows, ball.lo, ball.up)
    m = minorant(rows, net.A, net.c, _lines(lo, up, empty))
    affine = _affine(rows, m, net, ball)
    curved = m.parabola.any(axis=1) & ~empty
    leaf = _affine_leaves(affine, is_step | curved, ball)
    holds = np.ones(len(cuts.row), dtype=bool)
    straight = np.flatnonzero(~curved[cuts.row])
    for start in range(0, len(straight), _ROWS_AT_ONCE):
        part = straight[start : start + _ROWS_AT_ONCE]
        holds[part] = _affine_cuts(cuts.take(part), net, ball, affine)
    for i in np.flatnonzero(curved):
        bowl = _bowl_of(net, ball, m, i, rows, affine)
        if is_step[i]:
            here = cuts.row == i
            holds[here] = bowl is not None and bowl.proves(cuts.take(here))
        else:
            leaf[i] = bowl is not None and bowl.is_positive()
    every = np.ones(len(leaf), dtype=bool)
    np.logical_and.at(every, cuts.row, holds)
    return empty | np.where(is_step, every, leaf)


class _Affine(NamedTuple):
    """Minorants of n rows off their parabolas, l0 + <l1, delta>, and the sizes in their bounds.

    Those are B (n,M), of v c (`constants`), and S.
    """

    l0: Array
    l1: Array
    B: Array
    constants: Array
    S: Array


def _affine(rows: Rows, m: Minorant, net: TwoLayerReLU, ball: _Ball) -> _Affine:
    v = np.abs(rows.weights[:, None] @ rows.D)[:, 0]
    B, constants = v @ np.abs(net.A) + FLOOR, v @ np.abs(net.c)
    S = constants + (B + rows.nu) @ ball.size + FLOOR * (1 + ball.region.width)
    return _Affine(m.constant + m.q @ ball.z, m.q @ net.W, B, constants, S)


def _affine_leaves(affine: _Affine, others: Numbers, ball: _Ball) -> Numbers:
    """Which leaves (n,) an affine minorant proves: l > 0 on the ball."""
    l0, l1, least = affine.l0, affine.l1, 4 * ball.eps * affine.S
    leaf = np.zeros(len(l0), dtype=bool)
    for bound in (ball.region.rough, ball.region.support):
        left = np.flatnonzero(~(leaf | others) & np.isfinite(l0))
        leaf[left] = l0[left] - bound(-l1[left]) > least[left]
    return leaf


def _lines(lo: Array, up: Array, empty: Numbers) -> Lines:
    """Lines above ReLU on [lo, up]: 1 or 0 times z where stable, else the chord."""
    bent = (lo < 0) & (up > 0)
    chord = (1 + 6 * UNIT) / (1 - lo / up)  # up / (up - lo), never up / inf
    slope = np.where(lo >= 0, 1.0, np.where(up <= 0, 0.0, chord))
    return Lines(slope, np.where(bent, -slope * lo, 0.0), np.array(True), bent, empty)


def _affine_cuts(cuts: Cuts, net: TwoLayerReLU, ball: _Ball, affine: _Affine) -> Numbers:
    """Which cuts (n,) an affine minorant proves: mu l + side (bound - z_r) >= 0 on the ball."""
    row, r, side = cuts.row, cuts.neuron, cuts.side
    down = side[:, None] * net.W[r] - cuts.mu[:, None] * affine.l1[row]
    level = cuts.mu * affine.l0[row] + side * (cuts.bound - ball.z[r])
    size = cuts.mu * affine.S[row] + ball.size[r] + np.abs(cuts.bound)
    gap = level - ball.region.support(down)
    return np.isfinite(level) & (gap >= 4 * ball.eps * size)  # (E41)


class _Quadratic(NamedTuple):
    """Q of one row, and the sizes that its errors follow.

    Q = l0 + <l1, delta> - sum_N height kappa (t + 1 / (4 kappa))^2 + lam (||delta||^2 - R^2), with
    t = z + V delta and V = W_N; height, kappa and B (n,) are those of N. Of the other neurons there
    are sums: `constant` is the size of what does not depend on delta, `reach` of what grows with
    ||delta||, and `steep` is sum |q_r| ||w_r||.
    """

    W: Array
    ball: _Ball
    N: IntArray
    V: Array
    height: Array
    kappa: Array
    lam: float
    l0: float
    l1: Array
    B: Array
    constant: float
    reach: float
    steep: float

    def tame(self) -> bool:
        """Whether no product of a few of the factors leaves the range of floats."""
        factors = np.concatenate([[self.lam], self.height, self.kappa, self.height * self.kappa])
        return bool((factors > 1 / _HUGE).all() and (factors < _HUGE).all() and
                    (self.ball.norms[self.N] < _HUGE).all())  # fmt: skip

    @property
    def curvature(self) -> Array:
        """D (n,)."""
        return self.height * self.kappa

    @property
    def eps(self) -> float:
        """eps'."""
        return self.ball.eps + 2 * self.W.shape[1] * UNIT

    def start(self) -> Array:
        """g(0) (d,)."""
        return self.l1 - 2 * (self.height * (self.kappa * self.ball.z[self.N] + 0.25)) @ self.V

    def sizes(self, R0: Array) -> Array:
        """size' (k,n) at points of norms of at most R0."""
        return self.ball.size[self.N] + R0[:, None] * self.ball.norms[self.N]

    def values(self, move: Array, linear: Array, square: Array, R0: Array) -> Array:
        """Lower bounds (k,) of Q at delta of V delta (k,n), <l1, delta>, ||delta||^2 and R_0."""
        size, f = self.sizes(R0), self.kappa * (self.ball.z[self.N] + move) + 0.25
        steep = 1 + 2 * np.abs(f) + self.eps * self.kappa * size
        S = (self.B * steep * (size + 0.25 / self.kappa)).sum(axis=1) + FLOOR
        S += self.constant + self.reach * R0 + self.lam * (R0**2 + self.ball.R**2)
        parabolas = ((self.height * (f / self.kappa)) * f).sum(axis=1)
        sphere = self.lam * (square - self.ball.R**2)
        value = self.l0 + linear - parabolas + sphere - 4 * self.eps * S  # (E35)
        return np.where((self.kappa * size < _STEEPEST).all(axis=1), value, -math.inf)

    def slopes(self, R0: Array) -> Array:
        """Return what errors of the gradient (k,) are relative to."""
        each = 6 * self.B * (self.kappa * self.sizes(R0) + 0.25)
        return each @ self.ball.norms[self.N] + self.steep + 4 * self.lam * R0 + FLOOR


def _bowl_of(
    net: TwoLayerReLU, ball: _Ball, m: Minorant, i: Any, rows: Rows, affine: _Affine
) -> _Bowl | None:
    """Q of row i around its minimiser, or None where H is not shown to be positive definite."""
    N, B, norms = np.flatnonzero(m.parabola[i]), affine.B[i], ball.norms
    rest = np.where(m.parabola[i], 0.0, B + rows.nu[i])
    Q = _Quadratic(
        W=net.W,
        ball=ball,
        N=N,
        V=net.W[N],
        height=-m.gamma[i, N],
        kappa=rows.kappa[i, N],
        lam=rows.ball[i],
        l0=affine.l0[i],
        l1=affine.l1[i],
        B=B[N],
        constant=affine.constants[i] + rest @ ball.size,
        reach=float(rest @ norms),
        steep=float(np.abs(m.q[i]) @ norms),
    )
    if not Q.tame():
        return None
    hessian = _Hessian(Q, net)
    return _Bowl(Q, hessian) if hessian.stiffness else None


class _Rays(NamedTuple):
    """Points U_0 + s U_j of n cuts, j = `row`: U (m,d), X of G = X + 2 H U, and w_r of each."""

    U: Array
    X: Array
    w: Array
    s: Array
    row: IntArray


class _Products(NamedTuple):
    """What Q at U_0 + s U_j is put together from, for each U_j: products, and bounds of norms."""

    t: Array
    l1: Array
    U0: Array
    U: Array
    w0: Array
    w: Array
    norm: Array
    slope: Array

    def take(self, rows: IntArray | int) -> _Products:
        """Those of the given rows."""
        return _Products(*(array[rows] for array in self))


class _Bowl(NamedTuple):
    """A quadratic whose Hessian's half is shown to have no eigenvalue below lambda `stiffness`."""

    Q: _Quadratic
    hessian: _Hessian

    def is_positive(self) -> bool:
        """Whether Q > 0 on the region."""
        none = np.zeros(1, dtype=np.int64)
        return bool(self.least(Cuts(none, none, none, np.zeros(1), np.ones(1)))[0] > 0)  # (E35)

    def proves(self, cuts: Cuts) -> Numbers:
        """Which cuts (n,) Q proves: mu Q + side (bound - z_r) >= 0 on the region."""
        return self.least(cuts) >= 0  # (E42)

    def least(self, cuts: Cuts) -> Array:
        """Lower bounds (n,) of mu Q + side (bound - z_r), around points near the least ones."""
        rays = self.rays(cuts)
        products = self.products(rays)
        bounds = [np.zeros(0)]
        for start in range(0, len(cuts.row), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            own = products.take(rays.row[part])
            bounds.append(self.bounds(cuts.take(part), rays.s[part], products.take(0), own))
        return np.concatenate(bounds)

    def bounds(self, cuts: Cuts, s: Array, first: _Products, own: _Products) -> Array:
        """Do the same for some of the cuts."""
        Q, r, side, mu = self.Q, cuts.neuron, cuts.side, cuts.mu
        R0, value, slope = self.around(cuts, s, first, own)
        loss = slope**2 / (4 * mu * Q.lam * self.hessian.stiffness)
        z, size = Q.ball.z[r] + (own.w0 + s * own.w), Q.ball.size[r] + R0 * Q.ball.norms[r]
        level = mu * value + side * (cuts.bound - z)
        pad = mu * np.abs(value) + np.abs(side) * (np.abs(cuts.bound) + size) + loss
        tame = np.isfinite(level) & (mu > 1 / _HUGE) & (mu < _HUGE)
        return np.where(tame, level - loss - 4 * Q.eps * pad, -math.inf)

    def around(
        self, cuts: Cuts, s: Array, first: _Products, own: _Products
    ) -> tuple[Array, Array, Array]:
        """R_0 (n,), and bounds of Q and of ||mu g - side w_r||, from which sides take a part."""
        Q, length = self.Q, np.abs(s)
        R0 = first.norm + length * own.norm
        square = first.U + 2 * s * own.U0 + s**2 * own.U
        value = Q.values(first.t + s[:, None] * own.t, first.l1 + s * own.l1, square, R0)
        errors = cuts.mu * Q.slopes(R0) + np.abs(cuts.side) * Q.ball.norms[cuts.neuron]
        slope = math.sqrt(FLOOR) + cuts.mu * (first.slope + length * own.slope)
        return R0, value, slope * (1 + 4 * Q.eps) + 4 * Q.eps * errors

    def rays(self, cuts: Cuts) -> _Rays:
        """About where mu Q - side z_r is least on the region, or on R^d if that is a ball."""
        Q, region = self.Q, self.Q.ball.region
        slope, s = Q.start(), -cuts.side / cuts.mu
        if region.plain:
            neurons, row = np.unique(cuts.neuron, return_inverse=True)
            X = np.vstack([slope, Q.W[neurons]])
            return _Rays(self.hessian.least_points(X, neurons), X, X, s, row + 1)
        w = Q.W[cuts.neuron]
        moves = s[:, None] * w
        around = Q.curvature, Q.lam, slope, moves, region.a, region.b
        U, X, w = (
            np.vstack([np.zeros(len(slope)), rows])
            for rows in (least_points(Q.V, *around), slope + moves, w)
        )
        return _Rays(U, X, w, np.ones(len(s)), np.arange(1, len(w)))

    def products(self, rays: _Rays) -> _Products:
        """Products of all U_j, and upper bounds of ||U_j|| and of ||G_j|| less the sides' part."""
        Q, region, U = self.Q, self.Q.ball.region, rays.U
        t = U @ Q.V.T
        G = (-2 * Q.curvature * t) @ Q.V
        G += rays.X
        G += 2 * Q.lam * U
        if not region.plain:
            G -= outward(U, G, region.a, region.b)  # (E40)
        squares, own = (np.einsum("ij,ij->i", U, other) for other in (U, rays.w))
        norms = (rounded_norms(rows, Q.eps) for rows in (U, G))
        return _Products(t, U @ Q.l1, U @ U[0], squares, rays.w @ U[0], own, *norms)


class _Hessian:
    """H = lambda I - V^T D V, V = W_N, through C = lambda D^-1 - V V^T, or C = H where d < |N|.

    C = diag(a) - ..., which as computed is off by at most the matrix E of which `error(Y)` is E Y.
    """

    def __init__(self, Q: _Quadratic, net: TwoLayerReLU) -> None:
        self.N, self.V, self.norms = Q.N, Q.V, Q.ball.norms[Q.N]
        self.D, self.lam = Q.curvature, Q.lam
        n, d = Q.V.shape
        self.small = d < n
        self.eps = (n + d + 8) * UNIT
        if self.small:
            self.a, C = np.full(d, Q.lam), -((Q.V.T * self.D) @ Q.V)
        else:
            self.a, self.gram = Q.lam / self.D, _gram(net)
            C = -self.gram[np.ix_(Q.N, Q.N)]
        self.C = C + np.diag(self.a)
        shown = (h for h in _STIFFNESS if _is_definite(C + np.diag(self.a * (1 - h)), self.error))
        self.stiffness = next(shown, 0.0)  # part of lambda below every eigenvalue of H

    def error(self, Y: Array) -> Array:
        """E Y for columns Y >= 0."""
        if self.small:
            V = np.abs(self.V)
            spread = V.T @ (self.D[:, None] * (V @ Y))
        else:
            spread = self.norms[:, None] * (self.norms @ Y)
        return 2 * self.eps * (spread + 4 * self.a[:, None] * Y)

    def least_points(self, X: Array, neurons: IntArray) -> Array:
        """About where <g, delta> + <delta, H delta> is least, for each row g of X = (slope, W_r).

        That is -(g + V^T y) / (2 lambda) with C y = V g. Rows are LAPACK's columns.
        """
        right = X
        if not self.small:
            right = np.vstack([self.V @ X[0], self.gram[np.ix_(neurons, self.N)]])
        factor = dpotrf(self.C.T)[0]
        y = dpotrs(factor, right.T)[0].T
        y += dpotrs(factor, (right - y @ self.C).T)[0].T
        return -y / 2 if self.small else -(X + y @ self.V) / (2 * self.lam)


def _is_definite(C: Array, error: Callable[[Array], Array]) -> bool:
    """Whether each symmetric matrix that C differs from by at most E is positive definite."""
    diagonal = C.diagonal()
    if not (np.isfinite(C).all() and (diagonal > 0).all()):
        return False
    n = len(C)
    scale = np.ldexp(1.0, -(np.frexp(diagonal)[1] // 2))  # to a diagonal in [1/2, 2)
    scaled = C * scale[:, None] * scale
    shift = 8 * (n + 2) * n * UNIT + 2 * scale * error(scale[:, None])[:, 0]
    scaled[np.diag_indices(n)] -= shift
    try:
        return bool(np.isfinite(np.linalg.cholesky(scaled)).all())
    except np.linalg.LinAlgError:
        return False


def _gram(net: TwoLayerReLU) -> Array:
    """W W^T, worked out once for each network."""
    if (gram := _GRAMS.get(net)) is None:
        gram = _GRAMS[net] = net.W @ net.W.T
    return gram
