"""The bound on rounding errors of quadratic minorants: it holds, and each of its terms is needed.

The claims about a quadratic are checked in fractions, on random ones whose Hessian is singular up
to rounding. Every mutant of the module, which lacks one term of the bound, breaks a claim.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from effort import share
from exact import dot, matrix, vector
from mutants import mutant

from refimpl import TwoLayerReLU
from refimpl.certificate import Certificate, Cuts, floats
from refimpl.certificate.form import Rows
from refimpl.certificate.minorant import Minorant
from refimpl.certificate.region import Region

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from hostile_certificates import passes


class Draw(NamedTuple):
    """A quadratic: kappa and heights of all neurons but the last two, the ball's multiplier.

    The neuron before the last is affine, with this q. The last one, far from its kink, has no part
    in it.
    """

    net: TwoLayerReLU
    x: Any
    height: Any
    kappa: Any
    q: float
    lam: float


def draws(n: int, seed: int) -> Iterator[Draw]:
    """Quadratics with a Hessian above lambda 2^-k by a few rounding errors, or below."""
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        M, d = [(2, 3), (4, 2), (3, 3), (12, 2), (3, 12)][rng.integers(5)]
        W, b = rng.normal(size=(M, d)), rng.normal(size=M)
        if rng.random() < 0.5:
            W[1] = W[0] + 1e-3 * W[1]
        height, kappa = rng.random(M) + 0.1, 2.0 ** rng.integers(-3, 6, M) * (1 + rng.random(M))
        top = float(np.linalg.eigvalsh((W.T * (height * kappa)) @ W)[-1])
        margin = 2.0 ** -float(rng.choice([1, 2, 8, 14, 20, 26]))
        lam = top / (1 - margin) * (1 + rng.integers(-4, 5) * 2.0**-53)
        q = float(rng.normal() * rng.choice([1e-2, 1.0, 1e2, 1e15]))
        W = np.vstack([W, rng.normal(size=(2, d))])
        b = np.concatenate([b, [rng.choice([0.0, 1e8]), 1e8] * rng.normal(size=2)])
        net = TwoLayerReLU(W, b, np.concatenate([-height, [q, 0.0]])[None], [1.0])
        yield Draw(net, rng.normal(size=d), height, kappa, q, lam)


def bowl_of(module: ModuleType, ball: Any, draw: Draw) -> Any:
    """Return the module's quadratic, or None where its Hessian is not shown to be definite."""
    net, M, none = draw.net, len(draw.kappa), np.zeros((1, draw.net.n_hidden))
    curved = np.arange(net.n_hidden)[None] < M
    rows = Rows(
        D=np.ones((1, 1, 1)),
        phase=np.where(curved, 0, 1),
        lo=none - np.inf,
        up=none + np.inf,
        weights=np.ones((1, 1)),
        tau=none,
        nu=none,
        kappa=np.concatenate([draw.kappa, np.zeros(2)])[None],
        ball=np.array([draw.lam]),
    )
    q = np.where(curved, 0.0, net.A)
    m = Minorant(np.ones((1, 1)), net.A, q, np.ones(1), curved, np.ones(1, dtype=bool))
    return module._bowl_of(net, ball, m, 0, rows, module._affine(rows, m, net, ball))


def broken(module: ModuleType, n: int, seed: int) -> set[str]:
    """Claims of the module that one of the first n draws refutes."""
    with np.errstate(all="ignore"):  # as in the module
        return {claim for draw in draws(n, seed) for claim in _broken(module, draw)}


def _broken(module: ModuleType, draw: Draw) -> Iterator[str]:
    rng = np.random.default_rng(len(draw.kappa))
    net, M = draw.net, len(draw.kappa)
    R = 1.0
    ball = module._ball(net, Region(draw.x, R), 1)
    bowl = bowl_of(module, ball, draw)
    if bowl is None:
        return
    hessian = bowl.hessian
    W, D = (
        matrix(net.W),
        [h * k for h, k in zip(*map(vector, (draw.height, draw.kappa)), strict=True)],
    )
    d, lam = net.dim, Fraction(draw.lam)
    H = [[lam * (i == j) - sum(D[r] * W[r][i] * W[r][j] for r in range(M)) for j in range(d)]
         for i in range(d)]  # fmt: skip
    h = lam * Fraction(hessian.stiffness)
    soft = [[H[i][j] - h * (i == j) for j in range(d)] for i in range(d)]
    if not definite(soft):
        yield "stiffness"
        return
    leaf = Cuts(*(np.array([entry]) for entry in (0, 0, 0, 0.0, 1.0)))
    rays = bowl.rays(leaf)
    there = 10 ** rng.integers(5) * rng.normal(size=(1, d))
    for points in (rays, rays._replace(U=np.vstack([there, 0 * there]))):
        _, values, slopes = around(bowl, points, leaf)
        value, gradient = exactly(draw, ball.z, exact_point(points, 0), R)
        if np.isfinite(values[0]) and value < Fraction(float(values[0])):
            yield "value"
        if dot(gradient, gradient) > Fraction(float(slopes[0])) ** 2:
            yield "gradient"
    value, gradient = exactly(draw, ball.z, exact_point(rays, 0), R)
    # mu Q + bound - z of a neuron has the least value 0 at `limit`: of one in Q, and of the last.
    mu = 1.0
    for r in (0, M + 1):
        slope = [Fraction(mu) * g - w for g, w in zip(gradient, vector(net.W[r]), strict=True)]
        z = Fraction(float(ball.z[r])) + dot(vector(net.W[r]), exact_point(rays, 0))
        limit = z - Fraction(mu) * value + dot(slope, solve(H, slope)) / (4 * Fraction(mu))
        below = np.nextafter(float(limit), -np.inf)
        cut = Cuts(*(np.array([entry]) for entry in (0, r, 1, below, mu)))
        if Fraction(float(below)) < limit and bowl.proves(cuts=cut)[0]:
            yield "cut"
        moved = bowl.rays(cut)
        exact = [
            Fraction(mu) * g - w
            for g, w in zip(
                exactly(draw, ball.z, exact_point(moved, 0), R)[1], vector(net.W[r]), strict=True
            )
        ]
        if dot(exact, exact) > Fraction(float(around(bowl, moved, cut)[2][0])) ** 2:
            yield "slope"


def exact_point(rays: Any, i: int) -> list[Fraction]:
    """Return the point of cut i in fractions."""
    U, s = matrix(rays.U), Fraction(float(rays.s[i]))
    return [a + s * b for a, b in zip(U[0], U[rays.row[i]], strict=True)]


def around(bowl: Any, rays: Any, cuts: Cuts) -> Any:
    """What the checker says of the points of all cuts."""
    products = bowl.products(rays)
    return bowl.around(cuts, rays.s, products.take(0), products.take(rays.row))


def exactly(draw: Draw, z: Any, delta: Any, R: float) -> tuple[Fraction, list[Fraction]]:
    """Q and its gradient at delta."""
    W, lam = matrix(draw.net.W), Fraction(draw.lam)
    value = 1 + lam * (dot(delta, delta) - Fraction(R) ** 2)
    gradient = [2 * lam * entry for entry in delta]
    for w, z_r, height, kappa in zip(W, z, draw.height, draw.kappa, strict=False):
        D, s = Fraction(height) * Fraction(kappa), 1 / (4 * Fraction(kappa))
        c = Fraction(float(z_r)) + dot(w, delta) + s
        value -= D * c**2
        gradient = [g - 2 * D * c * entry for g, entry in zip(gradient, w, strict=True)]
    M, q = len(draw.kappa), Fraction(draw.q)
    value += q * (Fraction(float(z[M])) + dot(W[M], delta))
    gradient = [g + q * entry for g, entry in zip(gradient, W[M], strict=True)]
    return value, gradient


def definite(rows: list[list[Fraction]]) -> bool:
    """Positive definite, by elimination in fractions."""
    rows = [row[:] for row in rows]
    for k in range(len(rows)):
        if rows[k][k] <= 0:
            return False
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return True


def solve(rows: list[list[Fraction]], right: list[Fraction]) -> list[Fraction]:
    """Solution of a positive definite system, in fractions."""
    rows = [[*row, entry] for row, entry in zip(rows, right, strict=True)]
    for k in range(len(rows)):
        rows[k] = [entry / rows[k][k] for entry in rows[k]]
        for i in range(len(rows)):
            if i != k:
                factor = rows[i][k]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [row[-1] for row in rows]


def test_a_square_that_underflows_proves_no_cut() -> None:
    # f(0.9 R) < 0: with mu = 1 / s, the square of s is a subnormal, and ||U_j||^2 about 2^1024.
    U, s, lam = 2.0**511.9, 0.52**0.5 * 2.0**-537, 2.0**-100
    R, w = s * U, 2 * lam * U
    height = 2.0**-170 / (w * R)
    net = TwoLayerReLU([[2.0**-100], [w]], None, [[-(2.0**-150), -height]], [0.8 * height * w * R])
    none, cut = np.zeros((2, 2)), (0, 1, 1, 0.6 * w * R, 1 / s)
    proof = Certificate(
        splits=np.array([-2, -1]),
        weights=np.ones((2, 1)),
        tau=none,
        nu=none,
        kappa=np.array([[2.0**40, 0], [0, 0]]),
        ball=np.array([lam, 0]),
        cuts=Cuts(*(np.array([entry]) for entry in cut)),
    )
    assert net.outputs([[0.9 * R]])[0, 0] < 0
    assert not passes(net, [0.0], 1, proof, radius=R)


def test_a_sum_that_overflows_has_no_interval() -> None:
    # f = z - max is negative in half of the ball, and a sum for z in another order is inf.
    w = [363135625874451, 3045533934625873, 2326228120468671, 11993482547403790, 286018281109197]
    net = TwoLayerReLU(np.array([w]) * 2.0**-30, None, [[1.0]], [-sys.float_info.max])
    one = np.ones((2, 1))
    cut = 0, 0, 1, sys.float_info.max, 1.0
    proof = Certificate(
        splits=np.array([-2, -1]),
        weights=np.array([[1.0], [0.0]]),
        tau=one,
        nu=0 * one,
        cuts=Cuts(*(np.array([entry]) for entry in cut)),
    )
    assert not passes(net, np.full(5, 2.0**1000), 1, proof, radius=1.0)


@pytest.mark.thorough
def test_e35_e42_the_claims_hold_in_fractions() -> None:
    assert broken(floats, share(200), seed=0) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("sphere - 4 * self.eps * S", "sphere", "value"),
        (
            "return R0, value, slope * (1 + 4 * Q.eps) + 4 * Q.eps * errors",
            "return R0, value, slope * (1 + 4 * Q.eps)",
            "gradient",
        ),
        (
            "errors = cuts.mu * Q.slopes(R0) + np.abs(cuts.side)",
            "errors = np.abs(cuts.side)",
            "slope",
        ),
        ("self.constant + self.reach", "self.reach", "value"),
        (" + self.reach * R0 + self.lam", " + self.lam", "value"),
        ("    shift = 8 * (n + 2) * n * UNIT + 2 * scale", "    shift = 0 * scale", "stiffness"),
        ("level - loss - 4 * Q.eps * pad", "level - loss + 4 * Q.eps * pad", "cut"),
    ],
)
def test_each_term_of_the_bound_is_needed(old: str, new: str, claim: str) -> None:
    assert claim in broken(mutant(floats, old, new), 100, seed=1)
