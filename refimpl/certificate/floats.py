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
Overflow gives inf or NaN and proves nothing: up / (up - lo), which overflow would turn into 0, is
computed as 1 / (1 - lo / up), where 0 means that up, by which the line is then off, is below
2^-1000 size.

Some of these precautions could be left out, since the factor of 4 has room for what they prevent.

- Three quantities are rounded to the safe side: the slope up, the norms up, and lo down and up up.
  Every line then lies above ReLU also as it is computed. Without this l would be off by another
  3 u S for the slope, (ceil(sqrt(d)) + 3) u S for the norms and (2 ceil(sqrt(d)) + 4) u S for the
  bounds.
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
minimiser g is made of rounding errors, and the loss is of their squares. With

    eps' = eps + 2 d u,  size'_r = size_r + ||delta_0|| ||w_r||,  f_r = kappa_r t_r + 1/4,

7. t = z + W delta_0 is off by less than eps' size'. With a parabola's value |gamma_r| f_r^2 /
   kappa_r and derivative 2 |gamma_r| f_r, this and all roundings of the value stay below eps' times
   B_r (1 + 2 |f_r| + eps' kappa_r size'_r) (size'_r + s_r), which is S'_r for r in N;
8. else S'_r = (B_r + nu_r) size'_r, and the ball's term adds lambda (||delta_0||^2 + R^2):
   with S' = sum_k |v_k c_k| + sum_r S'_r + that, Q(delta_0) is off by less than 4 eps' S'.
9. g = W^T p + 2 lambda delta_0, p = q off N and p_r = -2 |gamma_r| f_r on N: off by less than 4
   eps' (sum_r |p_r| ||w_r|| + sum_N 4 B_r ||w_r|| (kappa_r size'_r + 1/4) + 4 lambda ||delta_0||).

The Hessian
-----------
H >= h I is tried for h = lambda / 4 down to 2^-26 lambda, and shown through the matrix
C = (lambda - h) D^-1 - G_NN, G = W W^T, or C = H - h I where d < |N|: one is positive semidefinite
if and only if the other is, as V^T V and V V^T have the same eigenvalues.
C as computed is off by at most a matrix E >= 0 componentwise: with eps" = (|N| + d + 8) u,

10. E = 2 eps" (nu nu^T + 4 lambda D^-1), nu_r = ||w_r||, or 2 eps" (|W_N|^T D |W_N| + 4 lambda I).

Let T be the powers of two that give T C T a diagonal in [1/2, 2). T E T moves no eigenvalue by more
than its largest row sum, and row by row: T C T - diag(T E T 1) loses at least what E can add.

11. If Cholesky's factorisation of a symmetric matrix of order n runs to its end in floats, the
    matrix plus (n + 1) u / (1 - 2 (n + 1) u) times its trace is positive semidefinite (S. M. Rump,
    Verification of positive definiteness, BIT 46, 2006): less than 4 (n + 2) n u, as the trace is
    below 2 n, for LAPACK's order of operations too. Twice that is taken off before.

A cut by Q with mu > 0 holds if mu Q + side (bound - z_r) >= 0. That is a quadratic with mu H for H,
and all this holds for it around a point delta_0 of its own. w_r, t_r and the bound join in:

12. the gradient mu g - side w_r is off by 4 eps' ||w_r|| more, besides mu times 9;
13. 4 eps' (mu |Q(delta_0)| + |bound| + size'_r + the loss) bounds the other roundings.

In a box
--------
Let g be the gradient at delta_0 of what is to be positive, and delta_0 any point of the box with
its caps as floats. Where delta_0 is at the upper cap and g_j < 0 as computed, g_j (delta_j -
delta_0,j) >= 0 in all the region, since caps are rounded up; likewise at the lower cap where g_j >
0. These g_j are left out of ||g|| (E40). What rounding has put them off by is in 9 and 12, and is
not left out. delta_0 is best where the least value on the box is (`sides`).

Floats leave rows to exact arithmetic where lambda, |gamma_r|, kappa_r, D_r or ||w_r|| lie beyond
2^300 or its inverse, so that products of them do not underflow, and where kappa_r size'_r > 2^50.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from refimpl._arrays import Array
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
    return _Ball(omega, region.R, eps, z, size, norms, lo, up)


def _proved_rows(
    rows: Rows, cuts: Cuts, is_step: Numbers, net: TwoLayerReLU, ball: _Ball
) -> Numbers:
    lo, up, empty = intervals(rows, ball.lo, ball.up)
    lines = _lines(lo, up, empty)
    m = minorant(rows, net.A, net.c, lines)
    v = np.abs(rows.weights[:, None] @ rows.D)[:, 0]
    B = v @ np.abs(net.A) + FLOOR
    S = v @ np.abs(net.c) + (B + rows.nu) @ ball.size
    S += FLOOR * (1 + ball.region.width)
    l0, l1 = m.constant + m.q @ ball.z, m.q @ net.W
    flat = ~m.parabola.any(axis=1)
    holds = np.ones(len(cuts.row), dtype=bool)
    for start in range(0, len(holds), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        holds[part] = _affine_cuts(cuts.take(part), net, ball, l0, l1, S)
    leaf = np.isfinite(l0) & (l0 - ball.region.rough(-l1) > 4 * ball.eps * S)
    open_ = np.flatnonzero(~leaf & ~is_step & np.isfinite(l0))
    leaf[open_] = l0[open_] - ball.region.support(-l1[open_]) > 4 * ball.eps * S[open_]
    for i in np.flatnonzero(~flat & ~empty):
        here = cuts.row == i
        bowl = _bowl_of(net, ball, m, i, rows, (v[i] @ np.abs(net.c), B[i]))
        leaf[i] = bowl is not None and bowl.is_positive()
        holds[here] = bowl is not None and bowl.proves(cuts.take(here))
    every = np.ones(len(l0), dtype=bool)
    np.logical_and.at(every, cuts.row, holds)
    return empty | np.where(is_step, every, leaf)


def _lines(lo: Array, up: Array, empty: Numbers) -> Lines:
    """Lines above ReLU on [lo, up]: 1 or 0 times z where stable, else the chord."""
    bent = (lo < 0) & (up > 0)
    chord = (1 + 6 * UNIT) / (1 - lo / up)  # up / (up - lo), never up / inf
    slope = np.where(lo >= 0, 1.0, np.where(up <= 0, 0.0, chord))
    return Lines(slope, np.where(bent, -slope * lo, 0.0), np.array(True), bent, empty)


def _affine_cuts(
    cuts: Cuts, net: TwoLayerReLU, ball: _Ball, l0: Array, l1: Array, S: Array
) -> Numbers:
    """Which cuts (n,) an affine minorant proves: mu l + side (bound - z_r) >= 0 on the ball."""
    row, r, side = cuts.row, cuts.neuron, cuts.side
    down = side[:, None] * net.W[r] - cuts.mu[:, None] * l1[row]
    level = cuts.mu * l0[row] + side * (cuts.bound - ball.z[r])
    size = cuts.mu * S[row] + ball.size[r] + np.abs(cuts.bound)
    gap = level - ball.region.support(down)
    return np.isfinite(level) & (gap >= 4 * ball.eps * size)  # (E41)


class _Quadratic(NamedTuple):
    """Q of one row, and the sizes that its errors follow.

    Q = constant + <q, t> - sum_N height kappa (t + 1 / (4 kappa))^2 + lam (||delta||^2 - R^2), with
    t = z + W delta and q = 0 on N. `constants` is the size of v c, B (M,) that of gamma.
    """

    W: Array
    ball: _Ball
    N: Numbers
    height: Array
    kappa: Array
    q: Array
    constant: float
    lam: float
    constants: float
    B: Array
    nu: Array

    def tame(self) -> bool:
        """Whether no product of a few of the factors leaves the range of floats."""
        norms = self.ball.norms[self.N]
        factors = np.concatenate([[self.lam], self.height, self.kappa, self.height * self.kappa])
        return bool((factors > 1 / _HUGE).all() and (factors < _HUGE).all() and
                    (norms < _HUGE).all())  # fmt: skip

    def at(self, delta: Array) -> tuple[Array, Array, Array, Array]:
        """z(delta) (k,M), kappa t + 1/4 on N, p, and gradients W^T p + 2 lambda delta (k,d)."""
        t = self.ball.z + delta @ self.W.T
        f = self.kappa * t[:, self.N] + 0.25
        p = np.repeat(self.q[None], len(t), 0)
        p[:, self.N] = -2 * self.height * f
        return t, f, p, p @ self.W + 2 * self.lam * delta

    @property
    def eps(self) -> float:
        """eps'."""
        return self.ball.eps + 2 * self.W.shape[1] * UNIT

    def values(self, delta: Array, t: Array, f: Array, R0: Array, size: Array) -> Array:
        """Lower bounds (k,) of Q at points of norms R0, with what `at` says of them."""
        N, ball = self.N, self.ball
        terms = (self.B + self.nu) * size
        steep = 1 + 2 * np.abs(f) + self.eps * self.kappa * size[:, N]
        terms[:, N] = self.B[N] * steep * (size[:, N] + 0.25 / self.kappa)
        S = self.constants + terms.sum(axis=1) + self.lam * (R0**2 + ball.R**2) + FLOOR
        parabolas = ((self.height * (f / self.kappa)) * f).sum(axis=1)
        sphere = self.lam * (np.einsum("ij,ij->i", delta, delta) - ball.R**2)
        return self.constant + t @ self.q - parabolas + sphere - 4 * self.eps * S  # (E35)

    def slopes(self, p: Array, R0: Array, size: Array) -> Array:
        """Return what errors of the gradient (k,) are relative to."""
        N, norms = self.N, self.ball.norms
        slopes = np.abs(p) * norms
        slopes[:, N] += 4 * self.B[N] * norms[N] * (self.kappa * size[:, N] + 0.25)
        return slopes.sum(axis=1) + 4 * self.lam * R0 + FLOOR


def _bowl_of(
    net: TwoLayerReLU, ball: _Ball, m: Minorant, i: Any, rows: Rows, sizes: tuple[float, Array]
) -> _Bowl | None:
    """Q of row i around its minimiser, or None where H is not shown to be positive definite."""
    N = np.flatnonzero(m.parabola[i])
    height, kappa = -m.gamma[i, N], rows.kappa[i, N]
    Q = _Quadratic(
        net.W, ball, N, height, kappa, m.q[i], m.constant[i], rows.ball[i], *sizes, rows.nu[i]
    )
    if not Q.tame():
        return None
    hessian = _Hessian(net, ball, N, height * kappa, Q.lam)
    return _Bowl(Q, hessian) if hessian.stiffness else None


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
        starts = range(0, len(cuts.row), _ROWS_AT_ONCE)
        parts = [self.least(cuts.take(slice(start, start + _ROWS_AT_ONCE))) for start in starts]
        return np.concatenate([np.zeros(0), *parts]) >= 0  # (E42)

    def least(self, cuts: Cuts) -> Array:
        """Lower bounds (n,) of mu Q + side (bound - z_r), around points near the least ones."""
        Q, r, side, mu = self.Q, cuts.neuron, cuts.side, cuts.mu
        delta = self.points(-(side / mu)[:, None] * Q.W[r])
        t, size, value, slope = self.around(delta, cuts)
        loss = slope**2 / (4 * mu * Q.lam * self.hessian.stiffness)
        each = np.arange(len(r))
        level = mu * value + side * (cuts.bound - t[each, r])
        pad = mu * np.abs(value) + np.abs(side) * (np.abs(cuts.bound) + size[each, r]) + loss
        fine = (Q.kappa * size[:, Q.N] < _STEEPEST).all(axis=1) & np.isfinite(level)
        return np.where(fine, level - loss - 4 * Q.eps * pad, -math.inf)

    def around(self, delta: Array, cuts: Cuts) -> tuple[Array, Array, Array, Array]:
        """z and its size (n,M) at points (n,d), lower bounds (n,) of Q, and upper ones of slopes.

        Those are ||mu g - side w_r||, less what the sides of a box take.
        """
        Q, r, side, mu = self.Q, cuts.neuron, cuts.side, cuts.mu
        ball, eps = Q.ball, Q.eps
        t, f, p, g = Q.at(delta)
        R0 = rounded_norms(delta, eps)
        size = ball.size + R0[:, None] * ball.norms
        rest = mu[:, None] * g - side[:, None] * Q.W[r]
        if not ball.region.plain:
            rest = rest - outward(delta, rest, ball.region.a, ball.region.b)  # (E40)
        errors = mu * Q.slopes(p, R0, size) + np.abs(side) * ball.norms[r]
        slope = rounded_norms(rest, eps) + 4 * eps * errors
        return t, size, Q.values(delta, t, f, R0, size), slope

    def points(self, moves: Array) -> Array:
        """About where Q + <move, delta> is least on the region, or R^d if that is a ball."""
        Q, region = self.Q, self.Q.ball.region
        slope = Q.at(np.zeros((1, Q.W.shape[1])))[3]
        if not region.plain:
            around = Q.height * Q.kappa, Q.lam, slope[0], moves, region.a, region.b
            return least_points(Q.W[Q.N], *around)
        delta = -self.hessian.solve(slope + moves) / 2
        return delta - self.hessian.solve(Q.at(delta)[3] + moves) / 2


class _Hessian:
    """H = lambda I - V^T D V, V = W_N, through C = lambda D^-1 - V V^T, or C = H where d < |N|.

    C = diag(a) - ..., which as computed is off by at most the matrix E of which `error(Y)` is E Y.
    """

    def __init__(self, net: TwoLayerReLU, ball: _Ball, N: Numbers, D: Array, lam: float) -> None:
        self.W, self.V, self.norms, self.N, self.D, self.lam = (
            net.W,
            net.W[N],
            ball.norms,
            N,
            D,
            lam,
        )
        self.small = net.dim < len(N)
        self.eps = (len(N) + net.dim + 8) * UNIT
        if self.small:
            self.a = np.full(net.dim, lam)
            C = -((self.V.T * D) @ self.V)
        else:
            self.a = lam / D
            self.gram = _gram(net)
            C = -self.gram[np.ix_(N, N)]
        self.C = C + np.diag(self.a)
        shown = (h for h in _STIFFNESS if _is_definite(C + np.diag(self.a * (1 - h)), self.error))
        self.stiffness = next(shown, 0.0)  # part of lambda below every eigenvalue of H
        self.inverse = np.linalg.inv(self.C) if self.stiffness else self.C

    def error(self, Y: Array) -> Array:
        """E Y for columns Y >= 0."""
        if self.small:
            V = np.abs(self.V)
            spread = V.T @ (self.D[:, None] * (V @ Y))
        else:
            norms = self.norms[self.N, None]
            spread = norms * (norms.T @ Y)
        return 2 * self.eps * (spread + 4 * self.a[:, None] * Y)

    def solve(self, g: Array) -> Array:
        """About H^-1 g for each row (k,d)."""
        if self.small:
            return g @ self.inverse
        return (g + ((g @ self.V.T) @ self.inverse) @ self.V) / self.lam


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
