"""Parabolas above ReLU, coupled by one multiplier of the ball: bounds of a node (E34 to E36, E42).

Chords (`leaf`) lose something for every free neuron at once, though one perturbation in the ball
cannot move all of them. Here a free neuron with gamma_r < 0 has a parabola above its ReLU,

    ReLU(t) <= (t + s)^2 / (4 s)  for every s > 0 and t,                                       (E34)

and the ball enters with a multiplier lambda, so that on the node and within ||delta|| <= R

    sum_i w_i g_i >= Q(delta) = l0 + <W^T q, delta> - sum_N D_r (z_r + s_r + <w_r, delta>)^2
                                + lambda (||delta||^2 - R^2),    D_r = |gamma_r| / (4 s_r).    (E35)

N are the free neurons with gamma_r < 0; q holds the lines of all others: gamma_r where neuron r is
stably on, tau_r gamma_r with tau_r in [0, 1] where it is free and gamma_r > 0, and -nu_r or nu_r
with nu_r >= 0 where the path has z_r >= 0 or z_r <= 0. Where F = inf Q > 0 the node holds no
adversarial point. F is concave in (s, tau, nu, lambda).

`Part` has the numbers of a node, its `at` evaluates F at given multipliers, and `climb` maximises F
by Newton steps along the central path of the barrier

    log det(diag(1/D) - G_NN / lambda) + sum log tau + sum log(1 - tau) + sum log nu,

whose first term is concave in (s, lambda) and infinite where Q has no minimiser. Far from the end
of the path Q is well-conditioned, and it is there, not at the maximum of F, that the ellipsoid
{Q <= 0} is small and cuts intervals most (E42). All is computed from the Gram matrix G = W W^T.

In a box Q also has the multipliers of the sides (E40), those of its least point there. They do not
stand in the equations: on the face that holds the point (`face`), F, its gradient and its Hessian
are those of a problem without a box, with a Gram matrix, z and R of its own. Only the barrier is
that of R^d, where Q has to have its minimum.

Nothing here is rounded with care: what these multipliers prove is for the checker to say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.face import Box, Face

# Of its width: an interval whose kink is farther from a point near the best is one line.
_FAR, _BOX_FAR = 0.1, 0.3
_STEPS = 80  # Newton steps at most; 10 to 30 are usual
_FIRST = 10.0  # of |F|: all of the barrier at first; with less, steps jam where Q has no minimum
_SHRINK = 0.1  # of the barrier, where its minimiser is followed closely
_BOX_NEAR = 50.0  # in a box, where the barrier alone keeps Q convex: the path is followed closely
_FACES = 12  # of a box, tried for one minimum; 1 to 3 are usual
_TURNS = 4  # of the search for points of a box where a neuron is at its farthest
_INSIDE = 0.95  # of the way to the boundary at most
_ROUNDING = 1e-13  # of the sum of absolute values behind F: gains below this are noise


class Part:
    """One node: sum_i w_i g_i in its free neurons N and P, its path V, and one affine term.

    `index` (m,) are the neurons N, P, V, in this order; `factor` (m,) their |gamma|, gamma, and
    minus their sign; `z` (m,) and `gram` (m,m) theirs. `q` (M,) and `value` are the affine term.
    """

    def __init__(
        self,
        gram: Array,
        z: Array,
        gamma: Array,
        beta: float,
        lo: Array,
        up: Array,
        signs: IntArray,
        radius: float,
        box: tuple[Array, Array, Array] | None = None,
        near: Array | None = None,
    ) -> None:
        """Take gamma = sum_i w_i alpha_i and beta = sum_i w_i beta_i, all (M,); radius is R.

        A box has W (M,d) and the sides a and b (d,) of -a <= delta <= b. From the preactivations
        `near` (M,) of a point near the best follows which tau will be 0 or 1, and are that here.
        """
        width = up - lo
        N = np.flatnonzero((lo < 0) & (up > 0) & (gamma < 0))
        # A cut may end next to a kink that the minimum needs: tau stays free there.
        own, on = (lo < width) & (up > -width) & (gamma > 0), lo >= 0
        if near is not None:
            far = np.abs(near) > (_FAR if box is None else _BOX_FAR) * width
            own, on = own & ~far, np.where(own & far, near > 0, on)
        P = np.flatnonzero(own)
        V = np.flatnonzero(signs)
        self.n, self.p, self.radius = len(N), len(P), radius
        self.index = np.concatenate((N, P, V))
        self.factor = np.concatenate((-gamma[N], gamma[P], -signs[V]))
        self.z, self.gram = z[self.index], gram[np.ix_(self.index, self.index)]
        self.width = width[self.index]
        self.q = np.where(on, gamma, 0.0)
        self.q[P] = 0.0
        self.value, product = float(beta + self.q @ z), gram @ self.q
        self.q_square, q_gram = float(self.q @ product), product[self.index]
        self.face = Face(self.gram, self.z, self.value, self.q_square, q_gram, radius**2)
        self.box = None
        if box is not None:
            self.box = Box(box[0][self.index].T.copy(), self.q @ box[0], *box[1:], self.face)
        both = slice(0, self.n + self.p)
        sizes = abs(beta) + np.abs(self.q) @ np.abs(z) + abs(self.factor[both]) @ abs(self.z[both])
        self.noise = _ROUNDING * float(sizes)

    def start(self, near: Array) -> Bound | None:
        """Multipliers inside the domain, from the preactivations (M,) of a point near the best."""
        n, near = self.n, near[self.index]
        s = np.maximum(np.abs(near[:n]), 0.05 * self.width[:n])
        sides = np.where(near > 0, 0.95, 0.05)
        sides[np.abs(near) < 1e-6 * self.width] = 0.5
        nu = 1e-2 * math.sqrt(self.q_square / max(np.trace(self.gram), 1e-300)) + 1e-12
        sides[n + self.p :] = nu
        root = np.sqrt(self.factor[:n] / (4 * s))
        if n:
            lam = 1.5 * np.linalg.eigvalsh(root[:, None] * self.gram[:n, :n] * root)[-1]
        else:
            lam = math.sqrt(self.q_square) / (2 * self.radius)
        return self.at(s, sides[n:], float(lam) or 1.0)

    def at(self, s: Array, sides: Array, lam: float) -> Bound | None:
        """Evaluate F (E35) at s (N,), tau and nu (P and V,) and lambda; None if Q has no minimum.

        In a box, on the face that the least point is on (E40).
        """
        root = np.sqrt(self.factor[: self.n] / (4 * s) / lam)
        definite = _shape(self.gram, root)
        if definite is None:
            return None
        bound = self.on(self.face, s, sides, lam, root, definite)
        for _ in range(_FACES):
            if self.box is None or bound is None:
                break
            face = self.box.move(self.face, bound.pull())
            if face is self.face:
                break
            self.face = face
            bound = self.on(face, s, sides, lam, root, definite)
        return bound

    def on(
        self, face: Face, s: Array, sides: Array, lam: float, root: Array, definite: Array
    ) -> Bound | None:
        """Evaluate F on a face; None if Q has no minimum there.

        With p = q - 2 D c on N, c = z + s, and h = G_N p,
        4 lambda F = 4 lambda k - p^T G p - h^T (lambda D^-1 - G_NN)^-1 h.
        """
        n, factor = self.n, self.factor
        factored = definite if face.gram is self.gram else _shape(face.gram, root)
        if factored is None:  # by rounding alone: `definite` is, and leaves less out
            return None
        D = factor[:n] / (4 * s)
        c = face.z[:n] + s
        p = np.concatenate((-2 * D * c, factor[n:] * sides))
        product = face.gram @ p
        square = float(face.q_square + p @ (2 * face.q_gram + product))
        product += face.q_gram
        k = face.value + p[n:] @ face.z[n:] - D @ np.square(c) - lam * face.square
        y = _solve(factored, root * product[:n])
        value = float(k - (square + y @ y) / (4 * lam))  # (E35)
        return Bound(
            *(self, face, s, sides, lam, value, root, definite, factored, p, product, square, y)
        )


@dataclass(eq=False)
class Bound:
    """What given multipliers prove of a part: F = `value`, and Q's minimiser delta*.

    I - root G_NN root, root^2 = D / lambda, has the Cholesky factor `definite`, and with the Gram
    matrix of the face `factored`. All else is of the face: the linear term is p, with `product` =
    G p and `square` = p^T G p, and y solves `factored` y = root G_N p.
    """

    part: Part
    face: Face
    s: Array
    sides: Array
    lam: float
    value: float
    root: Array
    definite: Array
    factored: Array
    p: Array
    product: Array
    square: float
    y: Array

    def __post_init__(self) -> None:
        """Find the minimiser delta* = W^T v: D (W_N delta*) is `bend`, W delta* is `move`."""
        gram, n = self.face.gram, self.part.n
        self.bend = -self.root * _solve(self.factored, self.y, transposed=True) / 2
        self.move = (gram[:, :n] @ self.bend - self.product / 2) / self.lam
        inner = (
            self.square / 4 - self.bend @ self.product[:n] + self.bend @ (gram[:n, :n] @ self.bend)
        )
        self.length = inner / self.lam**2  # ||delta*||^2

    @property
    def distance(self) -> float:
        """Lower bound of the node's distance: the R that the same multipliers prove (E35)."""
        return math.sqrt(max(self.part.radius**2 + self.value / self.lam, 0.0))

    @property
    def room(self) -> float:
        """How far I - root G_NN root is from a singular matrix, at most."""
        return float(np.diag(self.definite).min(initial=1.0) ** 2)

    def spread(self) -> Array:
        """W H^-1 W^T of the part on the face, H = lambda I - W_N^T D W_N."""
        gram = self.face.gram
        half = _solve(self.factored, self.root[:, None] * gram[: self.part.n])
        return (gram + half.T @ half) / self.lam  # one of BLAS's symmetric products

    def pull(self) -> Array:
        """delta* (d,) in a box, before it is held at the sides: the face goes where it points."""
        assert self.part.box is not None
        v = -self.p / 2
        v[: self.part.n] += self.bend
        return (self.part.box.W @ v - self.part.box.u / 2) / self.lam

    def values(self, points: Array) -> tuple[Array, Array]:
        """Q (B,) and its gradients (B,d) at points (B,d) in a box."""
        part, n, box = self.part, self.part.n, self.part.box
        assert box is not None
        t = part.z + points @ box.W
        bends = -self.root * self.root * self.lam  # -D
        above = t[:, :n] + self.s
        lines = part.factor[n:] * self.sides
        slopes = np.hstack((2 * bends * above, np.repeat([lines], len(t), 0)))
        square = np.einsum("ij,ij->i", points, points) - part.radius**2
        Q = part.value + points @ box.u + np.square(above) @ bends + t[:, n:] @ lines
        return Q + self.lam * square, box.u + slopes @ box.W.T + 2 * self.lam * points

    def farthest(self, W: Array) -> Array:
        """Points (k,d) of a box where <w_i, delta> - Q is largest, about, for rows W (k,d).

        Each is the point delta of the box with delta = clip(base + W_N^T v / lambda), v = D W_N
        (delta - delta*): Newton's method with the derivative on the face.
        """
        n, box, lam = self.part.n, self.part.box, self.lam
        assert box is not None
        V, pull = box.W[:, :n], self.pull()
        start, D = box.clip(pull), self.root * self.root * lam
        base, v = pull + W / (2 * lam), np.zeros((len(W), n))
        for _ in range(_TURNS):
            points = box.clip(base + v @ V.T / lam)
            left = (D * ((points - start) @ V) - v) / self.root
            left = _solve(self.factored, _solve(self.factored, left.T), transposed=True).T
            v += self.root * left
        return box.clip(base + v @ V.T / lam)

    def point(self) -> Array:
        """Weights v (M,) of the minimiser delta* = W^T v, or in a box itself (d,)."""
        if self.part.box is not None:
            return self.part.box.clip(self.pull())
        v = -self.part.q / 2
        np.add.at(v, self.part.index, -self.p / 2)
        v[self.part.index[: self.part.n]] += self.bend
        return v / self.lam

    def multipliers(self) -> tuple[Array, Array, Array, float]:
        """tau, nu and kappa (M,), and lambda, as a certificate has them."""
        part, n = self.part, self.part.n
        tau, (nu, kappa) = np.where(part.q > 0, 1.0, 0.0), np.zeros((2, len(part.q)))
        own, path = slice(n, n + part.p), slice(n + part.p, None)
        kappa[part.index[:n]] = 1 / (4 * self.s)
        tau[part.index[own]] = self.sides[: part.p]
        nu[part.index[path]] = self.sides[part.p :]
        return tau, nu, kappa, self.lam

    def losses(self) -> Array:
        """How much each parabola (N,) loses at the minimiser: where to branch."""
        n = self.part.n
        t = self.face.z[:n] + self.move[:n]
        above = np.square(t + self.s) / (4 * self.s)
        return np.asarray(self.part.factor[:n] * (above - np.maximum(t, 0.0)), np.float64)


@dataclass(eq=False)
class Step:
    """A bound on the way, an estimate of what F can reach, not below it, and intervals (E42)."""

    bound: Bound
    most: float
    neurons: IntArray
    lo: Array
    up: Array


def climb(part: Part, start: Bound) -> Iterator[Step]:
    """Maximise F from multipliers inside its domain, and yield every step.

    The caller stops when F > 0, when intervals are narrow, or when `most` is negative: then F will
    hardly become positive. Ends by itself where F is at its maximum up to rounding. F has none, and
    grows until the caller stops, where the ball does not reach the path's side of a neuron.
    """
    bound, most = start, math.inf
    mu = 0.0
    count = len(part.index) + part.p + 1  # of the barrier's terms: mu count bounds what is left
    near = count if part.box is None else _BOX_NEAR
    for _ in range(_STEPS):
        spread = bound.spread()
        yield _step(bound, spread, most)
        mu = mu or _FIRST * float(abs(bound.value) + 0.01 * abs(part.value)) / count + part.noise
        direction, gain = _newton(bound, mu, spread)
        found = _line_search(bound, mu, direction, gain)
        if found is None:
            break
        fallen = found[0].value < bound.value
        bound, length = found
        most = math.inf
        if gain < mu:  # on the central path F is within mu count of its maximum; this is near it
            most = bound.value + 2 * mu * count
        if fallen or gain < mu * near:
            if mu * count < part.noise:
                break
            mu *= _SHRINK if length > 0.5 else 0.5
    else:
        return
    yield _step(bound, bound.spread(), bound.value + mu * count)


def _step(bound: Bound, spread: Array, most: float) -> Step:
    part, free = bound.part, slice(0, bound.part.n + bound.part.p)
    center = bound.face.z[free] + bound.move[free]
    squares = np.maximum(np.diag(spread)[free], 0.0)  # on a face, rounding may leave less
    radius = np.sqrt(max(-bound.value, 0.0) * squares)  # (E42)
    return Step(bound, most, part.index[free], center - radius, center + radius)


def _newton(bound: Bound, mu: float, spread: Array) -> tuple[Array, float]:
    """Newton step of F + mu barrier in (s, tau, nu, lambda), and its first-order gain.

    The gradient is that of Q at its minimiser (E36). The Hessian of F is that of Q in the
    multipliers less J (2 H)^-1 J^T, where J has the mixed derivatives, multiples of w_r and 2
    delta*.
    """
    part, n, lam, s = bound.part, bound.part.n, bound.lam, bound.s
    factor, face, m = part.factor, bound.face, len(part.index) + 1
    own, sides = slice(n, n + part.p), slice(n, m - 1)
    t = face.z + bound.move
    inverse = _inverse(bound.definite)  # of K = I - root G_NN root, det(K) / prod(D) the barrier's
    more = inverse - np.eye(n)
    trace = np.trace(more)

    gradient = np.empty(m)
    gradient[:n] = -factor[:n] * (1 - np.square(t[:n] / s)) / 4 + mu * np.diag(inverse) / s
    gradient[sides] = factor[n:] * t[n:] + mu / bound.sides  # (E36)
    gradient[own] -= mu / (1 - bound.sides[: part.p])
    gradient[-1] = bound.length - face.square + mu * (trace if n else 1.0) / lam

    slope = np.concatenate((factor[:n] * t[:n] / (2 * np.square(s)), factor[n:]))
    on_face = inverse if bound.factored is bound.definite else _inverse(bound.factored)
    along = bound.root * (on_face @ (bound.root * bound.move[:n]))
    hessian: Array = np.empty((m, m))  # of the negative
    hessian[:-1, :-1] = slope[:, None] * spread * (slope / 2)
    hessian[-1, :-1] = slope * (bound.move + face.gram[:n].T @ along) / lam
    hessian[-1, -1] = 2 * (bound.length + bound.move[:n] @ along) / lam
    hessian[-1, :n] += mu * np.einsum("ij,ij->i", more, inverse) / (s * lam)
    hessian[:-1, -1] = hessian[-1, :-1]
    hessian[:n, :n] += np.square(inverse) * (mu / s[:, None]) / s
    hessian[-1, -1] += mu * (np.square(more).sum() + 2 * trace if n else 1.0) / lam**2
    corners: Array = mu / np.square(bound.sides)
    corners[: part.p] += mu / np.square(1 - bound.sides[: part.p])
    bends: Array = factor[:n] * np.square(t[:n]) / (2 * np.power(s, 3))
    hessian[np.arange(m - 1), np.arange(m - 1)] += np.concatenate((bends, corners))

    scale = 1 / np.sqrt(np.diag(hessian))
    hessian *= scale[:, None] * scale
    hessian.flat[:: m + 1] += 1e-13
    factored = _cholesky(hessian)
    if factored is None:
        return np.zeros(m), 0.0
    step = scale * _solve(factored, _solve(factored, scale * gradient), transposed=True)
    return step, float(step @ gradient)


def _line_search(bound: Bound, mu: float, step: Array, gain: float) -> tuple[Bound, float] | None:
    """Go along a step as far as the sum of F and the barrier grows; None where it does not."""
    part, n, length = bound.part, bound.part.n, 1.0
    tau, moves = bound.sides[: part.p], step[n:-1]
    values = np.concatenate((bound.s, bound.sides, 1 - tau, [bound.lam]))
    changes = np.concatenate((step[:n], moves, -moves[: part.p], step[-1:]))
    if (changes < 0).any():
        length = min(1.0, _INSIDE * float(np.min(-values[changes < 0] / changes[changes < 0])))
    before = bound.value + mu * _barrier(bound)
    for _ in range(30):
        lam = bound.lam + length * step[-1]
        new = part.at(bound.s + length * step[:n], bound.sides + length * moves, lam)
        if new is not None:
            after = new.value + mu * _barrier(new)
            if after >= before + 0.1 * length * gain - part.noise:
                return new, length
        length /= 2
    return None


def _barrier(bound: Bound) -> float:
    tau, n = bound.sides[: bound.part.p], bound.part.n
    volume = 2 * np.log(np.diag(bound.definite) / bound.root).sum() - n * math.log(bound.lam)
    if n == 0:
        volume = math.log(bound.lam)
    return float(volume + np.log(bound.sides).sum() + np.log1p(-tau).sum())


def _shape(gram: Array, root: Array) -> Array | None:
    """Cholesky factor of I - root G_NN root; None if it is not definite."""
    n = len(root)
    shape = -(root[:, None] * gram[:n, :n] * root)
    shape.flat[:: n + 1] += 1.0
    return _cholesky(shape)


def _cholesky(matrix: Array) -> Array | None:
    """Lower Cholesky factor of the matrix, which is overwritten; None if it is not definite."""
    from scipy.linalg import lapack  # on first use: importing it takes longer than refimpl itself

    if len(matrix) == 0:
        return matrix
    factored, failed = lapack.dpotrf(matrix, lower=1, clean=1, overwrite_a=1)
    return None if failed else factored


def _solve(factored: Array, right: Array, *, transposed: bool = False) -> Array:
    """L^-1 right, or L^-T right."""
    from scipy.linalg import lapack

    if len(factored) == 0:
        return right
    result: Any = lapack.dtrtrs(factored, right, lower=1, trans=int(transposed))[0]
    return np.asarray(result)


def _inverse(factored: Array) -> Array:
    """(L L^T)^-1."""
    from scipy.linalg import lapack

    if len(factored) == 0:
        return factored
    lower = np.tril(lapack.dpotri(factored, lower=1)[0])
    return lower + np.tril(lower, -1).T
