"""The robust radius of small networks by enumeration of all activation patterns, with quadprog.

On a pattern, z_r >= 0 for the neurons that are on and z_r <= 0 for the others, the outputs are
affine: the adversarial points of one target are a polyhedron {delta : a_j delta + k_j <= 0},
closed, whose first rows are the constraints g_i <= 0. r is the least of their distances from 0. A
solver's status proves nothing: points are tested, distances meet their dual bounds, emptiness has
its Farkas multipliers; what fails that goes to `exact_radius`, in rational arithmetic.
"""

from __future__ import annotations

import math
from contextlib import suppress
from itertools import product
from typing import Any, NamedTuple

import exact_radius
import numpy as np
import quadprog
from scipy.optimize import nnls

from refimpl import GroupMax, GroupSum, TwoLayerReLU
from refimpl.strategies import Problem

PROVED = 1e-10  # relative gap between a point's distance and its dual bound, here asserted
CANCELLED = 1e-9  # share of a gradient's terms that may be left of it in floats
ROOM = 1e-6  # distance from all faces, relative to the farthest, at which floats tell sides apart


class Piece(NamedTuple):
    """The adversarial points of one target on one pattern, the neurons that are on 1, else -1."""

    net: TwoLayerReLU
    x: Any
    rows: list[list[int]]
    phase: tuple[int, ...]

    def polyhedron(self) -> tuple[Any, Any]:
        """Rows a (J,d), k (J,) in floats; those of the constraints come first."""
        net, phase, D = self.net, np.array(self.phase), np.array(self.rows, dtype=float)
        z = net.W @ self.x + net.bias
        alpha = D @ net.A * (phase > 0)
        a = np.concatenate((alpha @ net.W, -phase[:, None] * net.W))
        return a, np.concatenate((alpha @ z + D @ net.c, -phase * z))

    def cancels(self, a: Any) -> bool:
        """Whether weights cancel in the gradient of a constraint, which floats then do not hold."""
        norms = np.linalg.norm(self.net.W, axis=1) * (np.array(self.phase) > 0)
        terms = np.abs(self.rows) @ np.abs(self.net.A) @ norms
        return bool((np.linalg.norm(a[: len(terms)], axis=1) < CANCELLED * terms).any())

    def exact_distance(self, ties: str) -> float:
        """The distance by rational arithmetic; inf where the piece is empty."""
        strict = len(self.rows) if ties == "robust" else 0
        squared = exact_radius.nearest(*exact_radius.polyhedron(*self), strict).squared
        return math.inf if squared is None else math.sqrt(squared)

    def distance(self) -> float:
        """min ||delta|| subject to a_j delta + k_j <= 0, inf where there is no such delta."""
        a, k = self.polyhedron()
        if self.cancels(a):
            return self.exact_distance("adversarial")
        size = np.linalg.norm(a, axis=1)
        if (k[size == 0] > 0).any():
            return math.inf
        if (k <= 0).all():
            return 0.0
        unit, level = a[size > 0] / size[size > 0, None], k[size > 0] / size[size > 0]
        scale = level.max()  # the distance is at least that
        found = _solve(unit, level / scale)
        return self.exact_distance("adversarial") if found is None else found * scale

    def holds_strictly(self) -> bool:
        """Whether some of its points have a_j delta + k_j < 0 for all constraints.

        One that meets every row with room to spare shows it; without one it is left to fractions.
        """
        a, k = self.polyhedron()
        if self.cancels(a):
            return self.exact_distance("robust") < math.inf
        size = np.linalg.norm(a, axis=1)
        size[size == 0] = 1.0
        unit, level = a / size[:, None], k / size
        level /= np.abs(level).max() or 1.0
        with suppress(ValueError):
            point, _ = _nearest_point(unit, level + 2 * ROOM)
            if (unit @ point + level).max() < -ROOM:
                return True
        return self.exact_distance("robust") < math.inf


def radius(
    net: TwoLayerReLU, x: Any, y: int, decision: Any = "sign", ties: str = "adversarial"
) -> float:
    """r(x) for one sample x (d,); inf where nothing is adversarial."""
    pieces = [
        Piece(net, x, rows, phase)
        for rows in exact_radius.constraint_rows(y, decision, net.n_outputs)
        for phase in product((1, -1), repeat=net.n_hidden)
    ]
    distances = [piece.distance() for piece in pieces]
    for index in np.argsort(distances):
        distance = distances[index]
        if distance == math.inf or ties == "adversarial" or pieces[index].holds_strictly():
            return distance
    return math.inf


def _nearest_point(a: Any, k: Any) -> tuple[Any, Any]:
    """delta of least norm with a delta + k <= 0, and multipliers; ValueError if it finds none."""
    dim = a.shape[1]
    point, _, _, _, u, _ = quadprog.solve_qp(np.eye(dim), np.zeros(dim), -a.T, k)
    return point, u


def _solve(a: Any, k: Any) -> float | None:
    """The distance, inf for an empty polyhedron, None where floats cannot prove either."""
    try:
        point, u = _nearest_point(a, k)
    except ValueError:
        columns = np.vstack((a.T, k))
        ray = nnls(columns, np.eye(len(columns))[-1])[0]
        residual = columns @ ray
        return math.inf if residual[-1] > 0.5 and np.abs(residual[:-1]).max() < PROVED else None
    distance = float(np.linalg.norm(point))
    slope = float(np.linalg.norm(u @ a))
    feasible = (a @ point + k).max() <= PROVED * distance
    tight = u.min() >= 0 and u @ k >= (1 - PROVED) * distance * slope
    return distance if feasible and tight else None


KINDS = ("real", "no bias", "integer", "copies", "parallel", "zero", "unread", "positive", "binary")


def random_problem(
    rng: np.random.Generator,
    kind: str,
    *,
    max_dim: int = 4,
    min_hidden: int = 1,
    max_hidden: int = 6,
    max_outputs: int = 3,
    n: int = 1,
) -> Problem:
    """A network of the given kind with n samples and labels for one of its decisions.

    Kinds: ``"real"`` is generic, Gaussian; ``"integer"`` has ties; the others start from either:
    equal neurons, neurons on one line, a zero neuron, an unread one, A >= 0, and the paper's A.
    """
    d, K = (int(rng.integers(1, top + 1)) for top in (max_dim, max_outputs))
    M = int(rng.integers(min_hidden, max_hidden + 1))
    integer = kind not in ("real", "no bias") and (kind == "integer" or rng.random() < 0.5)

    def draw(*shape: int) -> Any:
        return rng.integers(-3, 4, shape).astype(float) if integer else rng.standard_normal(shape)

    if kind == "binary":
        M, K = 2 * max(M // 2, 1), 1
    W, b, A, c, x = draw(M, d), draw(M), draw(K, M), draw(K), draw(n, d)
    r, s = rng.integers(M, size=2)
    if kind in ("copies", "parallel"):
        factor = 1.0 if kind == "copies" else rng.choice([-1.0, 2.0, -0.5])
        W[r], b[r] = factor * W[s], factor * b[s]
    elif kind == "zero":
        W[r] = 0.0
    elif kind == "unread":
        A[:, r] = 0.0
    elif kind == "positive":
        A, c = np.abs(A), np.abs(c)
    elif kind == "binary":
        A, c = np.repeat([[2 / M, -2 / M]], M // 2, axis=1), np.zeros(1)
    labels = rng.permutation([1, -1, *rng.choice([-1, 1], size=max(K - 2, 0))])
    decision: Any = "sign"
    if K > 1:
        decision = ["argmax", GroupMax(labels), GroupSum(labels)][rng.integers(3)]
    y = rng.integers(K, size=n) if decision == "argmax" else rng.choice([-1, 1], size=n)
    net = TwoLayerReLU(W, None if kind == "no bias" else b, A, c)
    if rng.random() < 0.8:  # mostly correct ones: the others have radius 0
        predicted = net.predict(x, decision)
        y = np.where(predicted == 0, y, predicted) if decision != "argmax" else predicted
    return Problem(net, decision, x, y)
