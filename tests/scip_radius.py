"""The robust radius of a binary network as a mixed-integer program, solved by SCIP."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from pyscipopt import Model, quicksum

from refimpl import TwoLayerReLU, input_gradient, smallest_step


class Bounds(NamedTuple):
    """Primal and dual bound of r, as SCIP reports them."""

    lower: float
    upper: float


def solve(net: TwoLayerReLU, x: Any, y: int, *, gap: float = 1e-6) -> Bounds:
    """min ||delta|| subject to y f(x + delta) <= 0, for a sample x (d,) that is classified right.

    delta = Q c for an orthonormal basis Q of the row space of W. The radius R of a ball comes from
    the ray against the gradient; within it lo <= z <= up. h_r = ReLU(z_r) needs a binary variable
    only where its weight in y f is negative and lo < 0 < up; else h_r >= 0, h_r >= z_r is enough.
    """
    gradient = y * input_gradient(net, x[None], np.ones(1))[0]
    R = float(smallest_step(net, x[None], [y], -gradient)[0]) * (1 + 1e-9)
    assert math.isfinite(R), "the ray against the gradient meets no adversarial point"
    U, z = np.linalg.qr(net.W.T, mode="r").T, net.W @ x + net.bias
    width = R * np.linalg.norm(net.W, axis=1)
    weights, offset = y * net.A[0], y * float(net.c[0])

    model = Model()
    model.hideOutput()
    model.setParam("limits/gap", gap)
    model.setParam("parallel/maxnthreads", 1)
    model.setParam("lp/threads", 1)
    c = [model.addVar(lb=-R, ub=R) for _ in range(U.shape[1])]
    square = model.addVar(lb=0, ub=R * R)
    model.addCons(quicksum(v * v for v in c) <= square)
    hidden = []
    for r in range(len(z)):
        lo, up = z[r] - width[r], z[r] + width[r]
        line = quicksum(U[r, j] * c[j] for j in range(len(c))) + z[r]
        h = model.addVar(lb=0, ub=max(up, 0.0))
        model.addCons(h >= line)
        if weights[r] < 0 and lo >= 0:
            model.addCons(h <= line)
        elif weights[r] < 0 < up:
            on = model.addVar(vtype="B")
            model.addCons(h <= line - lo * (1 - on))
            model.addCons(h <= up * on)
        hidden.append(h)
    model.addCons(quicksum(weights[r] * hidden[r] for r in range(len(z))) + offset <= 0)
    model.setObjective(square)
    model.optimize()
    return Bounds(math.sqrt(max(model.getDualbound(), 0.0)), math.sqrt(model.getPrimalbound()))
