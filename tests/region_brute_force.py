"""Robust radii in a norm and a box by enumeration of all activation patterns (E37).

On a pattern the adversarial points of one target are a polyhedron. Its distance in the box is a
linear program for p = 1 and inf (HiGHS), and a quadratic one for p = 2 (quadprog).
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import quadprog
from exact_radius import constraint_rows
from scipy.optimize import linprog

from refimpl import GroupMax, GroupSum, TwoLayerReLU, decisions

ROOM = 1e-7  # of strictly adversarial points, in units of outputs
CLOSE = 1e-6  # HiGHS and quadprog meet constraints to 1e-7


def polyhedron(net: TwoLayerReLU, x: Any, rows: Any, phase: Any) -> tuple[Any, Any, int]:
    """Rows a delta + k <= 0 of one target on one pattern; the first of them are g_i <= 0."""
    D, on, z = np.array(rows, dtype=float), np.array(phase) > 0, net.W @ x + net.bias
    alpha = D @ net.A * on
    sign = np.where(on, -1.0, 1.0)
    a = np.concatenate((alpha @ net.W, sign[:, None] * net.W))
    return a, np.concatenate((alpha @ z + D @ net.c, sign * z)), len(D)


def limits(x: Any, box: Any) -> tuple[Any, Any]:
    """-a and b, the least and largest perturbations (d,)."""
    lo, hi = (-math.inf, math.inf) if box is None else box
    return np.broadcast_to(lo - x, x.shape), np.broadcast_to(hi - x, x.shape)


def holds_strictly(a: Any, k: Any, n: int, lo: Any, hi: Any) -> bool:
    """Tell whether the first n rows can be below 0 at once."""
    d = a.shape[1]
    t = np.append(np.ones(n), np.zeros(len(k) - n))[:, None]
    bounds = [*zip(lo, hi, strict=True), (None, 1.0)]
    found = linprog(np.append(np.zeros(d), -1.0), np.hstack((a, t)), -k, bounds=bounds)
    return found.status == 0 and -found.fun > ROOM


def distance(a: Any, k: Any, lo: Any, hi: Any, norm: float) -> float:
    """Least norm of delta in [lo, hi] with a delta + k <= 0; inf if there is none."""
    d = a.shape[1]
    bounds = list(zip(lo, hi, strict=True))
    one = np.eye(d) if norm == 1 else np.ones((d, 1))
    m = one.shape[1]
    A = np.block([[a, np.zeros((len(k), m))], [np.eye(d), -one], [-np.eye(d), -one]])
    costs, values = np.append(np.zeros(d), np.ones(m)), np.append(-k, np.zeros(2 * d))
    found = linprog(costs, A, values, bounds=bounds + [(0, None)] * m)
    if found.status == 2:
        return math.inf
    assert found.status == 0
    if norm != 2 or found.fun == 0:
        return float(found.fun)
    size = np.linalg.norm(a, axis=1)
    a, k = a[size > 0] / size[size > 0, None], k[size > 0] / size[size > 0]
    C = np.vstack((-a, np.eye(d)[np.isfinite(lo)], -np.eye(d)[np.isfinite(hi)]))
    values = np.concatenate((k, lo[np.isfinite(lo)], -hi[np.isfinite(hi)]))
    try:
        return float(np.linalg.norm(quadprog.solve_qp(np.eye(d), np.zeros(d), C.T, values)[0]))
    except ValueError:  # it finds touching sets empty that HiGHS does not
        values -= 1e-10
        return float(np.linalg.norm(quadprog.solve_qp(np.eye(d), np.zeros(d), C.T, values)[0]))


def radius(
    net: TwoLayerReLU, x: Any, y: int, decision: Any, ties: str, norm: float, box: Any
) -> float:
    """Radius of one sample; inf if the box holds no adversarial point."""
    lo, hi = limits(x, box)
    found = math.inf
    for rows in constraint_rows(y, decision, net.n_outputs):
        for phase in product((1, -1), repeat=net.n_hidden):
            a, k, n = polyhedron(net, x, rows, phase)
            if ties == "adversarial" or holds_strictly(a, k, n, lo, hi):
                found = min(found, distance(a, k, lo, hi, norm))
    return found


def random_network(rng: Any, d: int, M: int, K: int, whole: bool) -> TwoLayerReLU:
    """Small integers as weights where `whole`, so that ties and kinks coincide."""
    if whole:
        return TwoLayerReLU(*(rng.integers(-2, 3, s) * 1.0 for s in ((M, d), M, (K, M), K)))
    return TwoLayerReLU(*(rng.normal(size=s) for s in ((M, d), M, (K, M), K)))


def random_problem(rng: np.random.Generator) -> Any:
    """Network, sample, a label that is right where one is, decision and box."""
    whole = bool(rng.integers(2))
    kind = rng.choice(["sign", "argmax", "max", "sum"])
    d, M = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    K = 1 if kind == "sign" else int(rng.integers(2, 4))
    net = random_network(rng, d, M, K, whole)
    x = rng.integers(-2, 3, d) / 2 if whole else rng.normal(size=d)
    labels = np.where(np.arange(K) % 2, 1, -1)
    decision: Any = {"max": GroupMax, "sum": GroupSum}.get(kind, lambda _: str(kind))(labels)
    order = rng.permutation(K) if kind == "argmax" else rng.permutation([-1, 1])
    outputs = np.repeat(net.outputs(x[None]), len(order), axis=0)
    y = int(order[np.argmin(decisions.adversarial(outputs, order, decision, "adversarial"))])
    lo, hi = (x + side * rng.choice([0.0, 0.5, 1.0, 3.0, math.inf], d) for side in (-1, 1))
    box = [None, (lo, hi), (float(x.min()), float(x.max()) + 1), (lo, math.inf)][rng.integers(4)]
    return net, x, y, decision, box
