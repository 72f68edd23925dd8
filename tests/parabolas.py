"""Certificates with parabolas and narrowing steps, made without the solver (E35, E36, E41, E42).

A small branch and bound in plain NumPy, in d coordinates. Each node maximises F = inf Q over tau,
nu, s and lambda; where that does not prove it, the node is narrowed once by the cuts of its
minorant, then split at the neuron whose parabola loses most.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from exact_radius import constraint_rows
from scipy.optimize import minimize

from refimpl import TwoLayerReLU
from refimpl.certificate import Certificate, Cuts

Array = np.ndarray[Any, Any]

PADDING = 1e-7  # of cuts, relative: far above rounding, far below what they cut


class Multipliers(NamedTuple):
    w: Array
    tau: Array
    nu: Array
    kappa: Array
    ball: float


class Node(NamedTuple):
    """What a row may use: phases, and the interval at hand of every z_r."""

    net: TwoLayerReLU
    z: Array
    D: Array  # (I,K)
    R: float
    phase: Array
    lo: Array
    up: Array

    def line(self) -> Array:
        """Slope of ReLU where its piece is known, NaN where only a chord or a parabola is there."""
        on = (self.phase > 0) | ((self.phase == 0) & (self.lo >= 0))
        off = (self.phase < 0) | ((self.phase == 0) & (self.up <= 0))
        return np.where(on, 1.0, np.where(off, 0.0, np.nan))


class Quadratic(NamedTuple):
    """Q = k + <u, delta> + <delta, H delta>, H = lambda I - V^T D V."""

    k: float
    u: Array
    lam: float
    V: Array
    D: Array

    def solve(self, g: Array) -> Array | None:
        """H^-1 g, or None where H is not positive definite enough."""
        n, d = self.V.shape
        if d < n:
            C = self.lam * np.eye(d) - (self.V.T * self.D) @ self.V
        else:
            C = np.diag(self.lam / self.D) - self.V @ self.V.T
        try:
            L = np.linalg.cholesky(C)
        except np.linalg.LinAlgError:
            return None
        if (L.diagonal() ** 2 <= 1e-6 * self.lam / (1.0 if d < n else self.D)).any():
            return None
        if d < n:
            return np.linalg.solve(C, g)
        return (g + np.linalg.solve(C, self.V @ g) @ self.V) / self.lam

    def minimum(self) -> tuple[float, Array]:
        """F and delta*, -inf where H is not positive definite."""
        solution = self.solve(self.u)
        if solution is None:
            return -np.inf, 0 * self.u
        return float(self.k - self.u @ solution / 4), -solution / 2

    def at(self, delta: Array) -> float:
        curved = self.lam * delta @ delta - self.D @ (self.V @ delta) ** 2
        return float(self.k + self.u @ delta + curved)


def quadratic(node: Node, m: Multipliers) -> tuple[Quadratic, Array]:
    """Q of E35 (affine where the ball's multiplier is 0), and where it has parabolas."""
    W, z = node.net.W, node.z
    v = m.w @ node.D
    gamma = v @ node.net.A
    line = node.line()
    free = np.isnan(line)
    N = free & (gamma < 0) & (m.kappa > 0)
    chord = np.divide(node.up, node.up - node.lo, out=np.zeros(len(z)), where=free)
    slope = np.where(gamma >= 0, m.tau, np.where(free, chord, line))
    offset = np.where(free & (gamma < 0) & ~N, -chord * node.lo, 0.0)
    q = np.where(N, 0.0, gamma * slope - node.phase * m.nu)
    k, u = v @ node.net.c + gamma @ offset + q @ z, q @ W
    height, kappa, V, t = -gamma[N], m.kappa[N], W[N], z[N]
    lam = m.ball
    c = t + 0.25 / kappa
    k = k - (height * kappa * c**2).sum() - lam * node.R**2
    u = u - 2 * (height * kappa * c) @ V
    return Quadratic(float(k), u, lam, V, height * kappa), N


def bound(node: Node, m: Multipliers) -> tuple[float, Array, Array]:
    """F (of a leaf without parabolas: l0 - R ||l1||), its minimiser, and where parabolas are."""
    Q, N = quadratic(node, m)
    if m.ball:
        return *Q.minimum(), N
    norm = float(np.linalg.norm(Q.u))
    delta = -node.R * Q.u / norm if norm else 0 * Q.u
    return Q.k - node.R * norm, delta, N


def maximise(node: Node, w: Array, parabolas: Array, steps: int = 40) -> Multipliers:
    """Multipliers that maximise F for the given w, with parabolas where allowed."""
    M, z, R = len(node.z), node.z, node.R
    norms = np.linalg.norm(node.net.W, axis=1)
    gamma = w @ node.D @ node.net.A
    size = np.abs(z) + R * norms + 1e-3
    on_path = node.phase != 0
    curved = parabolas & np.isnan(node.line()) & (gamma < 0)
    s0 = size / 2
    lam0 = 2 * (-gamma[curved] / (4 * s0[curved]) * norms[curved] ** 2).sum() + 1e-3
    lows = np.concatenate([np.zeros(2 * M), size * 1e-3, [1e-6]])
    highs = np.concatenate([np.ones(M), np.where(on_path, np.inf, 0), size * 1e3, [np.inf]])

    def multipliers(theta: Array) -> Multipliers:
        tau, nu, s = theta[:M], theta[M : 2 * M], theta[2 * M : 3 * M]
        return Multipliers(w, tau, nu, np.where(curved, 0.25 / s, 0.0), float(theta[-1]))

    def value(theta: Array) -> tuple[float, Array]:
        m = multipliers(theta)
        F, delta, N = bound(node, m)
        if not np.isfinite(F):
            return 1e12, np.zeros(len(theta))
        t = z + node.net.W @ delta
        s = theta[2 * M : 3 * M]
        gradient = np.concatenate(
            [
                np.where(gamma >= 0, gamma * t, 0.0),
                -node.phase * t,
                np.where(N, gamma * (0.25 - t**2 / (4 * s**2)), 0.0),
                [delta @ delta - R**2],
            ]
        )
        return -F, -gradient  # (E36)

    start = np.concatenate([(z > 0) * 1.0, np.zeros(M), s0, [lam0]])
    best = minimize(
        value,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([lows, highs], axis=1),
        options={"maxiter": steps},
    ).x
    found = multipliers(min(start, np.clip(best, lows, highs), key=lambda theta: value(theta)[0]))
    return found if found.kappa.any() else found._replace(ball=0.0)


def cuts(node: Node, m: Multipliers) -> list[tuple[int, int, float, float]]:
    """Neuron, side, bound and mu of what the node's minorant shows of the free neurons."""
    Q, N = quadratic(node, m)
    if not N.any():
        m = m._replace(ball=0.0)
        Q, _ = quadratic(node, m)
    F, delta, _ = bound(node, m)
    W, found = node.net.W, []
    if not np.isfinite(F):
        return []
    for r in np.flatnonzero(np.isnan(node.line())):
        for side in (1, -1):
            if N.any():
                form = float(W[r] @ Q.solve(W[r]))
                mu = np.sqrt(form / max(-4 * F, 1e-300))
                value = side * (node.z[r] + W[r] @ delta) - mu * F + form / (4 * mu)  # (E42)
            else:
                mu, value = _cap(node, Q, side * W[r], side * node.z[r])
            limit = float(value + PADDING * (abs(value) + abs(mu * F)))
            if mu > 0 and limit < (node.up[r] if side > 0 else -node.lo[r]):
                found.append((int(r), side, side * limit, float(mu)))
    return found


def _cap(node: Node, Q: Quadratic, w: Array, z: float) -> tuple[float, float]:
    """mu >= 0 with the least z - mu l0 + R ||w - mu l1||, and that (E41), by a grid."""
    scale = np.linalg.norm(w) / max(float(np.linalg.norm(Q.u)), 1e-300)
    mus = scale * np.geomspace(1e-3, 1e3, 200)
    values = z - mus * Q.k + node.R * np.linalg.norm(w - mus[:, None] * Q.u, axis=1)
    best = int(np.argmin(values))
    return float(mus[best]), float(values[best])


class Builder:
    """Rows of a certificate in the making."""

    def __init__(
        self,
        rng: np.random.Generator,
        share: float,
        narrowings: int,
        max_rows: int,
        steps: int = 40,
    ):
        self.rng, self.share, self.narrowings, self.max_rows = rng, share, narrowings, max_rows
        self.steps = steps
        self.splits: list[int] = []
        self.rows: list[Multipliers] = []
        self.cuts: list[tuple[int, int, int, float, float]] = []

    def grow(self, node: Node, narrowed: int = 0) -> None:
        """Append the node's subtree; leaves that prove nothing stay where rows run out."""
        if (node.lo > node.up).any():
            return self._leaf(self._flat(node))
        curved = self.rng.random(len(node.z)) < self.share
        w = np.zeros(len(node.D))
        w[self.rng.integers(len(w))] = 1.0
        if self.rng.random() < 0.5:
            w = self.rng.random(len(w))
        m = maximise(node, w, curved, self.steps)
        F, delta, _ = bound(node, m)
        scale = 1 + abs(quadratic(node, m)[0].k)
        free = np.flatnonzero(node.phase == 0)
        if 1e-9 * scale < F or len(free) == 0 or len(self.rows) >= self.max_rows:
            return self._leaf(m)
        if narrowed < self.narrowings and (found := cuts(node, m)):
            self.cuts += [(len(self.rows), *cut) for cut in found]
            self.splits.append(-2)
            self.rows.append(m)
            lo, up = node.lo.copy(), node.up.copy()
            for r, side, limit, _ in found:
                if side > 0:
                    up[r] = min(up[r], limit)
                else:
                    lo[r] = max(lo[r], limit)
            return self.grow(node._replace(lo=lo, up=up), narrowed + 1)
        t = node.z + node.net.W @ delta
        s = np.where(m.kappa[free] > 0, 0.25 / np.maximum(m.kappa[free], 1e-300), 1.0)
        loss = np.abs(w @ node.D @ node.net.A)[free] * (
            (t[free] + s) ** 2 / (4 * s) - np.maximum(t[free], 0)
        )
        r = int(free[np.argmax(loss)])
        self.splits.append(r)
        for sign in (1, -1):
            phase, lo, up = node.phase.copy(), node.lo.copy(), node.up.copy()
            phase[r] = sign
            lo[r], up[r] = (max(lo[r], 0), up[r]) if sign > 0 else (lo[r], min(up[r], 0))
            self.grow(node._replace(phase=phase, lo=lo, up=up), narrowed)
        return None

    def _leaf(self, m: Multipliers) -> None:
        self.splits.append(-1)
        self.rows.append(m)

    @staticmethod
    def _flat(node: Node) -> Multipliers:
        zeros = np.zeros(len(node.z))
        return Multipliers(np.zeros(len(node.D)), zeros, zeros, zeros, 0.0)

    def certificate(self) -> Certificate:
        columns = [np.array(column) for column in zip(*self.rows, strict=True)]
        kinds = (np.int64, np.int64, np.int64, np.float64, np.float64)
        by_field = zip(*self.cuts, strict=True) if self.cuts else ((),) * 5
        fields = (np.array(f, dtype=kind) for f, kind in zip(by_field, kinds, strict=True))
        return Certificate(np.array(self.splits), *columns, Cuts(*fields))


def certificate(
    net: TwoLayerReLU,
    x: Any,
    y: int,
    R: float,
    *,
    decision: Any = "sign",
    seed: int = 0,
    share: float = 1.0,
    narrowings: int = 1,
    max_rows: int = 40,
    steps: int = 40,
) -> Certificate:
    """What should prove R: parabolas on about a `share` of the neurons, chords on the others."""
    builder = Builder(np.random.default_rng(seed), share, narrowings, max_rows, steps)
    z = net.W @ np.asarray(x, dtype=float) + net.bias
    reach = R * np.linalg.norm(net.W, axis=1)
    for D in constraint_rows(y, decision, net.n_outputs):
        phase = np.zeros(len(z))
        builder.grow(Node(net, z, np.array(D), R, phase, z - reach, z + reach))
    return builder.certificate()
