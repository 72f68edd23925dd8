"""One network's hidden layer in at most min(M, d) coordinates, and the targets of its decision.

A perturbation delta enters the network only through W delta, and the nearest adversarial one lies
in the row space of W. With one orthogonal factorisation W = U Q^T, delta = Q c, the problem has p
= min(M, d) coordinates c, ||c|| = ||delta||, and z(x + delta) = z(x) + U c. No direction is
truncated by rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from refimpl import decisions
from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision
from refimpl.network import TwoLayerReLU

UNIT = 2.0**-53
FLOOR = 2.0**-900  # added to every bound of an error: pays for underflow
TINY = 2.0**-1000  # of outputs: less may be what underflow has left of more
ROOT_FLOOR = 2.0**-500  # the same for norms, whose squares underflow

Flags = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
T = TypeVar("T")


def once(function: Callable[[TwoLayerReLU], T]) -> Callable[[TwoLayerReLU], T]:
    """Ask once of each network, whose arrays never change; what was found lives as long as it."""
    known: WeakKeyDictionary[TwoLayerReLU, T] = WeakKeyDictionary()

    @wraps(function)
    def asked(net: TwoLayerReLU) -> T:
        if net not in known:
            known[net] = function(net)
        return known[net]

    return asked


@dataclass(frozen=True, eq=False)
class Geometry:
    """U (M,p), its rows' ||u_r||^2, ||w_r|| rounded up, |b| (M,), and units of rounding error.

    A lower bound is l0 / ||l1||, from an affine minorant l0 + <l1, delta> with l1 = sum_r q_r w_r.
    Let S be the sum of the absolute values of the terms that l0 is made of, where neuron r has its
    absolute weight times |w_r| |x| + |b_r| + ||w_r|| R, and T the same with ||w_r|| in its place.
    The computed l0 and ||l1|| are off by at most

        |error of l0|     <= rounding S,
        |error of ||l1||| <= factor T.

    A dot product of m terms errs by at most m u relative to the sum of their absolute values: d u
    for z, M u for a sum over neurons, 2 K u for weights that are combined from alpha = D A. The
    elementwise roundings are paid by 8 u. The backward error of the factorisation is not assumed
    but measured.
    """

    U: Array
    squares: Array
    norms: Array
    bias: Array
    rounding: float
    factor: float

    @staticmethod
    @once
    def of(net: TwoLayerReLU) -> Geometry:
        """W = U Q^T."""
        full = Geometry.full(net)
        U, error = _factorised(net.W, full.norms)
        return replace(full, U=U, squares=np.square(U).sum(axis=1), factor=full.factor + error)

    @staticmethod
    @once
    def full(net: TwoLayerReLU) -> Geometry:
        """U = W, in all d coordinates."""
        return Geometry.within(net, net.W)

    @staticmethod
    def within(net: TwoLayerReLU, U: Array) -> Geometry:
        """U = W but for columns of 0, of coordinates that stay as they are."""
        norms = np.linalg.norm(U, axis=1) * (1 + net.dim * UNIT)
        size = net.n_hidden + 2 * net.n_outputs + 8
        squares, rounding = np.square(U).sum(axis=1), (net.dim + size) * UNIT
        return Geometry(U, squares, norms, np.abs(net.bias), rounding, factor=size * UNIT)

    def combined(self, kept: IntArray, affine: Array, norms: Array) -> Geometry:
        """Geometry of some neurons, and of combinations `affine` (I,M) with ||row|| <= norms (I,).

        `norms` are those of |affine| times ours, so that errors stay relative to them.
        """
        rows = np.concatenate((self.U[kept], affine @ self.U))
        norms = np.concatenate((self.norms[kept], norms))
        rows, error = _factorised(rows, norms) if len(rows) < rows.shape[1] else (rows, 0.0)
        squares, bias = np.square(rows).sum(axis=1), np.zeros(len(rows))
        return Geometry(rows, squares, norms, bias, self.rounding, self.factor + error)

    @cached_property
    def spectral(self) -> float:
        """Spectral norm of W, rounded up."""
        largest = float(np.linalg.eigvalsh(self.gram)[-1]) if len(self.gram) else 0.0
        # The eigenvalues' errors are a few M u of the largest, those of the Gram matrix in it.
        slack = 16 * len(self.gram) * (UNIT + self.factor) * float(np.square(self.norms).sum())
        return math.sqrt(max(largest, 0.0) + slack) + ROOT_FLOOR

    @cached_property
    def gram(self) -> Array:
        """W W^T (M,M)."""
        return self.U @ self.U.T


def _factorised(rows: Array, norms: Array) -> tuple[Array, float]:
    """U of rows = U Q^T, and the error of lengths ||U^T q|| per |q| norms, ||row|| <= norms."""
    Q, R = np.linalg.qr(rows.T)
    residual = np.linalg.norm(rows - R.T @ Q.T, axis=1)
    backward = np.max(residual / np.where(norms > 0, norms, 1.0))
    defect = np.linalg.norm(Q.T @ Q - np.eye(Q.shape[1]))
    return R.T, 2 * float(backward + defect) + rows.shape[1] * UNIT * math.sqrt(Q.shape[1])


@dataclass(frozen=True, eq=False)
class Target:
    """One part {g_i <= 0 for all i} of the adversarial set of one label.

    g_i = sum_r alpha_ir ReLU(z_r) + beta_i for i < I, alpha = D A and beta = D c; `size` (I,M) and
    `constant` (I,) are |D| |A| and |D| |c|, relative to which alpha and beta were rounded.
    """

    alpha: Array
    beta: Array
    size: Array
    constant: Array

    @cached_property
    def positive(self) -> Array:
        """alpha's positive part."""
        return np.maximum(self.alpha, 0.0)

    @cached_property
    def negative(self) -> Array:
        """alpha's negative part."""
        return np.minimum(self.alpha, 0.0)

    @cached_property
    def is_branching(self) -> Flags:
        """Whether some alpha_ir < 0 (M,)."""
        return np.asarray(np.any(self.alpha < 0, axis=0))

    @cached_property
    def branching(self) -> IntArray:
        """The neurons where some alpha_ir < 0."""
        return np.flatnonzero(self.is_branching)

    @classmethod
    def of(cls, net: TwoLayerReLU, D: Array) -> Target:
        """Target of one matrix D (I,K) of `decisions.targets`."""
        # Correctly rounded sums: the signs of alpha and beta are exact.
        alpha = np.array([[math.fsum(terms) for terms in (row * net.A.T).tolist()] for row in D])
        beta = np.array([math.fsum((row * net.c).tolist()) for row in D])  # (E30)
        return cls(alpha, beta, np.abs(D) @ np.abs(net.A), np.abs(D) @ np.abs(net.c))

    def noise(self, geometry: Geometry, reach: Array) -> Array:
        """Bound the rounding error of g (...,I) at |z| <= reach (...,M)."""
        return geometry.rounding * (reach @ self.size.T + self.constant) + FLOOR

    def values(self, z: Array) -> Array:
        """g (...,I) at preactivations z (...,M)."""
        return np.maximum(z, 0.0) @ self.alpha.T + self.beta


def in_range(net: TwoLayerReLU, x: Array) -> Flags:
    """Tell for which samples (n,) floats can carry the computation, whatever is squared.

    Far from 1 there are no bounds but 0 <= r <= inf: see `_in_range` for the network, and where
    x reaches 2^150 in size.
    """
    result: Flags = (np.abs(x).max(axis=1) < 2.0**150) & _in_range(net)
    return result


@once
def _in_range(net: TwoLayerReLU) -> bool:
    """Whether weights are below 2^400 in size, products of both layers and biases below 2^250.

    And no neuron has all its weights below 2^-400, or all its products with an output below 2^-250,
    without being 0.
    """
    W, A = np.abs(net.W).max(axis=1), np.abs(net.A)
    with np.errstate(all="ignore"):
        products = A * W
        largest = max(products.max(), (A * np.abs(net.bias)).max(), np.abs(net.c).max())
    outputs = products.max(axis=1)[((A > 0) & (W > 0)).any(axis=1)]  # some underflow to 0
    fine = (W < 2.0**400).all() and (W[W > 0] > 2.0**-400).all()
    return bool(fine and largest < 2.0**250 and (outputs > 2.0**-250).all())


def targets_of(net: TwoLayerReLU, y: int, decision: Decision) -> list[Target]:
    """Targets of the label y, in the order of `decisions.targets`."""
    return [Target.of(net, D) for D in decisions.targets(y, decision, net.n_outputs)]
