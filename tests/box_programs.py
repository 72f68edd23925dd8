"""Robust radii in a box as mixed-integer programs, in l2 by SCIP and in l_inf by HiGHS.

min ||delta|| subject to y f(x + delta) <= 0 and lo <= x + delta <= hi. A clipped ray gives the
radius R of a ball, in which lo <= z <= up; h_r = ReLU(z_r) needs a binary variable only where its
weight in y f is negative and lo < 0 < up, else h_r >= 0, h_r >= z_r is enough.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, hstack, identity, vstack

from refimpl import TwoLayerReLU, input_gradient


def start(net: TwoLayerReLU, x: Any, y: int, norm: float) -> float:
    """Length of the first adversarial point on the clipped ray against the gradient."""
    direction = -y * input_gradient(net, x[None], np.ones(1))[0]
    direction = np.sign(direction) if norm == math.inf else direction / np.linalg.norm(direction)
    deltas = np.clip(x + np.geomspace(1e-3, 1e2, 400)[:, None] * direction, 0, 1) - x
    wrong = y * net.outputs(x + deltas)[:, 0] <= 0
    assert wrong.any(), "the clipped ray meets no adversarial point"
    return float(np.linalg.norm(deltas[wrong.argmax()], norm)) * (1 + 1e-9)


def intervals(net: TwoLayerReLU, x: Any, radius: float, norm: float) -> tuple[Any, Any, Any, Any]:
    """Limits of delta, and those of z, of which each is the better one of box and ball."""
    lo, up = np.maximum(-x, -radius), np.minimum(1 - x, radius)
    z, positive, negative = net.W @ x + net.b, np.maximum(net.W, 0), np.minimum(net.W, 0)
    z_lo, z_up = z + positive @ lo + negative @ up, z + positive @ up + negative @ lo
    if norm == 2:
        width = radius * np.linalg.norm(net.W, axis=1)
        z_lo, z_up = np.maximum(z_lo, z - width), np.minimum(z_up, z + width)
    return lo, up, z_lo, z_up


def scip(net: TwoLayerReLU, x: Any, y: int, gap: float = 1e-6) -> tuple[float, float]:
    """Bounds of r in l2, as SCIP reports them."""
    from pyscipopt import Model, quicksum

    radius = start(net, x, y, 2)
    lo, up, z_lo, z_up = intervals(net, x, radius, 2)
    z, weights = net.W @ x + net.b, y * net.A[0]
    model = Model()
    model.hideOutput()
    for name, value in (("limits/gap", gap), ("parallel/maxnthreads", 1), ("lp/threads", 1)):
        model.setParam(name, value)
    delta = [model.addVar(lb=a, ub=b) for a, b in zip(lo, up, strict=True)]
    square = model.addVar(lb=0, ub=radius**2)
    model.addCons(quicksum(v * v for v in delta) <= square)
    hidden = []
    for r in range(len(z)):
        line = quicksum(net.W[r, j] * delta[j] for j in range(len(x))) + z[r]
        h = model.addVar(lb=0, ub=max(z_up[r], 0.0))
        model.addCons(h >= line)
        if weights[r] < 0 and z_lo[r] >= 0:
            model.addCons(h <= line)
        elif weights[r] < 0 < z_up[r]:
            on = model.addVar(vtype="B")
            model.addCons(h <= line - z_lo[r] * (1 - on))
            model.addCons(h <= z_up[r] * on)
        hidden.append(h)
    model.addCons(quicksum(weights[r] * hidden[r] for r in range(len(z))) + y * net.c[0] <= 0)
    model.setObjective(square)
    model.optimize()
    return math.sqrt(max(model.getDualbound(), 0.0)), math.sqrt(model.getPrimalbound())


def highs(net: TwoLayerReLU, x: Any, y: int) -> tuple[float, float]:
    """Bounds of r in l_inf, as HiGHS reports them."""
    radius = start(net, x, y, math.inf)
    lo, up, z_lo, z_up = intervals(net, x, radius, math.inf)
    z, weights, (M, d) = net.W @ x + net.b, y * net.A[0], net.W.shape
    branching = np.flatnonzero((weights < 0) & (z_up > 0))
    on, pick = z_lo[branching] >= 0, identity(M, format="csr")[branching]
    slope = np.where(on, 0.0, z_lo[branching])
    n = len(branching)

    def row(of_delta: Any, of_radius: Any, of_h: Any, of_on: Any) -> Any:
        return hstack([csr_array(part) for part in (of_delta, of_radius, of_h, of_on)])

    one, column, nothing = identity(d), np.ones((d, 1)), np.zeros
    rows = [
        row(one, -column, nothing((d, M)), nothing((d, n))),
        row(-one, -column, nothing((d, M)), nothing((d, n))),
        row(net.W, nothing((M, 1)), -identity(M), nothing((M, n))),
        row(-net.W[branching], nothing((n, 1)), pick, -np.diag(slope)),
        row(nothing((n, d + 1)), nothing((n, 0)), pick, -np.diag(np.maximum(z_up[branching], 0.0))),
        row(nothing((1, d + 1)), nothing((1, 0)), weights[None], nothing((1, n))),
    ]
    limits = [nothing(2 * d), -z, z[branching] - slope, nothing(n), [-y * net.c[0]]]
    lower = np.concatenate((lo, [0.0], nothing(M), on * 1.0))
    upper = np.concatenate((up, [radius], np.maximum(z_up, 0.0), np.ones(n)))
    found = milp(
        np.eye(d + 1 + M + n)[d],
        constraints=LinearConstraint(vstack(rows), -np.inf, np.concatenate(limits)),
        bounds=Bounds(lower, upper),
        integrality=np.concatenate((nothing(d + 1 + M), np.ones(n))),
        options={"mip_rel_gap": 1e-9},
    )
    return float(found.mip_dual_bound), float(found.fun)
