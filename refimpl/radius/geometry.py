"""One network's hidden layer in at most min(M, d) coordinates, and the targets of its decision.

A perturbation delta enters the network only through W delta, and the nearest adversarial one lies
in the row space of W. With one orthogonal factorisation W = U Q^T, delta = Q c, the problem has p
= min(M, d) coordinates c, ||c|| = ||delta||, and z(x + delta) = z(x) + U c. No direction is
truncated by rank.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refimpl import decisions
from refimpl._validation import Array, IntArray
from refimpl.decisions import Decision
from refimpl.network import TwoLayerReLU

UNIT = 2.0**-53

Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


@dataclass(frozen=True, eq=False)
class Geometry:
    """U (M,p), its rows' ||u_r||^2, ||w_r|| rounded up, |b| (M,), and units of rounding error.

    A lower bound is made of an affine minorant's value l0 at x and the norm of its gradient l1. l0
    is computed with an error of at most `rounding` times the sum of the absolute values of its
    terms, where neuron r counts with its absolute weight times ||w_r|| (||x|| + R) + |b_r|, and
    ||l1|| with one of at most `factor` times the same sum with ||w_r||. A dot product of m terms
    errs by at most m u relative to such a sum: d u for z, M u for a sum over neurons, 2 K u for
    weights that are combined from alpha = D A; 8 u pays for the elementwise roundings, and the
    backward error of the factorisation is not assumed but measured.
    """

    U: Array
    squares: Array
    norms: Array
    bias: Array
    rounding: float
    factor: float

    @classmethod
    def of(cls, net: TwoLayerReLU) -> Geometry:
        """Factorise W^T = Q R once; U = R^T."""
        # An exact scale by a power of two: squares of weights neither overflow nor underflow.
        scale = 2.0 ** np.floor(np.log2(np.abs(net.W).max() or 1.0))
        W = net.W / scale
        Q, R = np.linalg.qr(W.T)
        norms = np.linalg.norm(W, axis=1) * (1 + net.dim * UNIT)
        residual = np.linalg.norm(W - R.T @ Q.T, axis=1)
        backward = np.max(residual / np.where(norms > 0, norms, 1.0))
        defect = np.linalg.norm(Q.T @ Q - np.eye(Q.shape[1]))
        size = net.n_hidden + 2 * net.n_outputs + 8
        U = R.T * scale
        return cls(
            U,
            np.square(U).sum(axis=1),
            norms * scale,
            np.abs(net.bias),
            rounding=(net.dim + size) * UNIT,
            factor=size * UNIT + 2 * float(backward + defect),
        )


@dataclass(frozen=True, eq=False)
class Target:
    """One part {g_i <= 0 for all i} of the adversarial set of one label.

    g_i = sum_r alpha_ir ReLU(z_r) + beta_i for i < I, alpha = D A and beta = D c; `size` (I,M) and
    `constant` (I,) are |D| |A| and |D| |c|, relative to which alpha and beta were rounded.
    `positive` and `negative` are alpha's parts, `branching` the neurons where some alpha_ir < 0.
    """

    alpha: Array
    beta: Array
    size: Array
    constant: Array
    positive: Array
    negative: Array
    is_branching: Flags
    branching: IntArray

    @classmethod
    def of(cls, net: TwoLayerReLU, D: Array) -> Target:
        """Target of one matrix D (I,K) of `decisions.targets`."""
        alpha, beta = D @ net.A, D @ net.c  # (E30)
        size, constant = np.abs(D) @ np.abs(net.A), np.abs(D) @ np.abs(net.c)
        positive, negative = np.maximum(alpha, 0.0), np.minimum(alpha, 0.0)
        branching = np.any(alpha < 0, axis=0)
        return cls(
            alpha, beta, size, constant, positive, negative, branching, np.flatnonzero(branching)
        )

    def noise(self, geometry: Geometry, reach: Array) -> Array:
        """Bound the rounding error of g (...,I) at |z| <= reach (...,M)."""
        return geometry.rounding * (reach @ self.size.T + self.constant)

    def values(self, z: Array) -> Array:
        """g (...,I) at preactivations z (...,M)."""
        return np.maximum(z, 0.0) @ self.alpha.T + self.beta


def targets_of(net: TwoLayerReLU, y: int, decision: Decision) -> list[Target]:
    """Targets of the label y, in the order of `decisions.targets`."""
    return [Target.of(net, D) for D in decisions.targets(y, decision, net.n_outputs)]
