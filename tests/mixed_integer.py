"""Robust radii of binary networks as mixed-integer programs: by SCIP, and in l_inf by HiGHS.

min ||delta||_p subject to y f(x + delta) <= 0 and lo <= x + delta <= hi. A clipped ray gives the
radius R of a ball, in which lo <= z <= up; h_r = ReLU(z_r) needs a binary variable only where its
weight in y f is negative and lo < 0 < up, else h_r >= 0, h_r >= z_r is enough.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import Bounds as Limits
from scipy.optimize import LinearConstraint, milp
from scipy.sparse import csr_array, hstack, identity, vstack

from refimpl import TwoLayerReLU, input_gradient

EVERYWHERE = (-math.inf, math.inf)


class Bounds(NamedTuple):
    """Dual and primal bound of r, as the solver reports them."""

    lower: float
    upper: float


class Ball(NamedTuple):
    """R, and the limits of delta (d,) and z (M,) in it, for a sample that is decided rightly."""

    radius: float
    lo: Any
    up: Any
    z_lo: Any
    z_up: Any

    @classmethod
    def of(cls, net: TwoLayerReLU, x: Any, y: int, norm: float, box: tuple[float, float]) -> Ball:
        """Ball that reaches to the first adversarial point on the clipped ray."""
        direction = -y * input_gradient(net, x[None], np.ones(1))[0]
        direction = np.sign(direction) if norm == math.inf else direction
        steps = np.geomspace(1e-3, 1e2, 4000)[:, None] / np.linalg.norm(direction, norm)
        deltas = np.clip(x + steps * direction, *box) - x
        wrong = y * net.outputs(x + deltas)[:, 0] <= 0
        assert wrong.any(), "the clipped ray meets no adversarial point"
        R = float(np.linalg.norm(deltas[wrong.argmax()], norm)) * (1 + 1e-9)
        lo, up = np.maximum(box[0] - x, -R), np.minimum(box[1] - x, R)
        z, positive, negative = net.W @ x + net.bias, np.maximum(net.W, 0), np.minimum(net.W, 0)
        z_lo, z_up = z + positive @ lo + negative @ up, z + positive @ up + negative @ lo
        if norm == 2:
            width = R * np.linalg.norm(net.W, axis=1)
            z_lo, z_up = np.maximum(z_lo, z - width), np.minimum(z_up, z + width)
        return cls(R, lo, up, z_lo, z_up)


def scip(
    net: TwoLayerReLU,
    x: Any,
    y: int,
    *,
    norm: float = 2,
    box: tuple[float, float] = EVERYWHERE,
    gap: float = 1e-6,
) -> Bounds:
    """Bounds of r by SCIP, in l2 to a gap of its square, or in l_inf.

    In l2 without a box delta = Q c, the columns of Q an orthonormal basis of W's row space.
    """
    from pyscipopt import Model, quicksum

    ball = Ball.of(net, x, y, norm, box)
    z, weights, U, lo, up = net.W @ x + net.bias, y * net.A[0], net.W, ball.lo, ball.up
    if norm == 2 and box == EVERYWHERE:
        U = np.linalg.qr(net.W.T, mode="r").T
        up = np.full(U.shape[1], ball.radius)
        lo = -up
    model = Model()
    model.hideOutput()
    for name, value in (("limits/gap", gap), ("parallel/maxnthreads", 1), ("lp/threads", 1)):
        model.setParam(name, value)
    delta = [model.addVar(lb=a, ub=b) for a, b in zip(lo, up, strict=True)]
    size = model.addVar(lb=0, ub=ball.radius**2 if norm == 2 else ball.radius)
    if norm == 2:
        model.addCons(quicksum(v * v for v in delta) <= size)
    else:
        for v in delta:
            model.addCons(v <= size)
            model.addCons(-v <= size)
    hidden = []
    for r, (z_lo, z_up) in enumerate(zip(ball.z_lo, ball.z_up, strict=True)):
        line = quicksum(u * v for u, v in zip(U[r], delta, strict=True)) + z[r]
        h = model.addVar(lb=0, ub=max(z_up, 0.0))
        model.addCons(h >= line)
        if weights[r] < 0 and z_lo >= 0:
            model.addCons(h <= line)
        elif weights[r] < 0 < z_up:
            on = model.addVar(vtype="B")
            model.addCons(h <= line - z_lo * (1 - on))
            model.addCons(h <= z_up * on)
        hidden.append(h)
    margin = quicksum(w * h for w, h in zip(weights, hidden, strict=True)) + y * float(net.c[0])
    model.addCons(margin <= 0)
    model.setObjective(size)
    model.optimize()
    lower, upper = max(model.getDualbound(), 0.0), model.getPrimalbound()
    return Bounds(math.sqrt(lower), math.sqrt(upper)) if norm == 2 else Bounds(lower, upper)


def highs(
    net: TwoLayerReLU, x: Any, y: int, *, box: tuple[float, float] = EVERYWHERE, gap: float = 1e-9
) -> Bounds:
    """Bounds of r in l_inf by HiGHS."""
    ball = Ball.of(net, x, y, math.inf, box)
    z, weights, (M, d) = net.W @ x + net.bias, y * net.A[0], net.W.shape
    branching = np.flatnonzero((weights < 0) & (ball.z_up > 0))
    on, pick = ball.z_lo[branching] >= 0, identity(M, format="csr")[branching]
    slope = np.where(on, 0.0, ball.z_lo[branching])
    n = len(branching)

    def row(of_delta: Any, of_radius: Any, of_h: Any, of_on: Any) -> Any:
        return hstack([csr_array(part) for part in (of_delta, of_radius, of_h, of_on)])

    one, column, nothing, top = identity(d), np.ones((d, 1)), np.zeros, np.maximum(ball.z_up, 0.0)
    rows = [
        row(one, -column, nothing((d, M)), nothing((d, n))),
        row(-one, -column, nothing((d, M)), nothing((d, n))),
        row(net.W, nothing((M, 1)), -identity(M), nothing((M, n))),
        row(-net.W[branching], nothing((n, 1)), pick, -np.diag(slope)),
        row(nothing((n, d + 1)), nothing((n, 0)), pick, -np.diag(top[branching])),
        row(nothing((1, d + 1)), nothing((1, 0)), weights[None], nothing((1, n))),
    ]
    limits = [nothing(2 * d), -z, z[branching] - slope, nothing(n), [-y * net.c[0]]]
    lower = np.concatenate((ball.lo, [0.0], nothing(M), on * 1.0))
    upper = np.concatenate((ball.up, [ball.radius], top, np.ones(n)))
    found = milp(
        np.eye(d + 1 + M + n)[d],
        constraints=LinearConstraint(vstack(rows), -np.inf, np.concatenate(limits)),
        bounds=Limits(lower, upper),
        integrality=np.concatenate((nothing(d + 1 + M), np.ones(n))),
        options={"mip_rel_gap": gap},
    )
    return Bounds(float(found.mip_dual_bound), float(found.fun))
