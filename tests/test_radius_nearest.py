"""Nearest points of polyhedra in boxes, against quadprog and HiGHS (E39)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import quadprog
from effort import examples
from hypothesis import given, strategies
from scipy.optimize import linprog

from refimpl.radius.nearest import nearest
from refimpl.radius.support import distance

NORMS = (1.0, 2.0, math.inf)


def expected(norm: float, G: Any, h: Any, a: Any, b: Any) -> float:
    """Least ||c|| with G c >= h, -a <= c <= b, inf where there is none."""
    k, d = G.shape
    bounds = [(-lo, hi) for lo, hi in zip(a, b, strict=True)]
    if linprog(np.zeros(d), -G, -h, bounds=bounds).status == 2:
        return math.inf
    if norm == 2:
        finite = np.isfinite(np.concatenate((a, b)))
        C = np.vstack((G, np.vstack((np.eye(d), -np.eye(d)))[finite]))
        limits = np.concatenate((h, -np.concatenate((a, b))[finite]))
        try:
            found = quadprog.solve_qp(np.eye(d), np.zeros(d), C.T, limits)
        except ValueError:  # it finds sets that touch empty
            found = quadprog.solve_qp(np.eye(d), np.zeros(d), C.T, limits - 1e-10)
        return float(np.linalg.norm(found[0]))
    one, m = np.eye(d), d if norm == 1 else 1
    t = np.eye(d) if norm == 1 else np.ones((d, 1))
    A = np.block([[-G, np.zeros((k, m))], [one, -t], [-one, -t]])
    costs = np.append(np.zeros(d), np.ones(m))
    limits = np.append(-h, np.zeros(2 * d))
    return float(linprog(costs, A, limits, bounds=bounds + [(0, None)] * m).fun)


def case(seed: int, whole: bool) -> Any:
    """Rows, values and a box; small integers where `whole`, so that there are ties."""
    rng = np.random.default_rng(seed)
    k, d = int(rng.integers(1, 6)), int(rng.integers(2, 9))
    draw = (lambda *s: rng.integers(-2, 3, s) * 1.0) if whole else (lambda *s: rng.normal(size=s))
    G, h = draw(k, d), draw(k) + 1.0
    a, b = np.abs(draw(d)) * 2, np.abs(draw(d)) * 2
    for side in (a, b):
        side[rng.random(d) < 0.2] = math.inf
    sizes = np.linalg.norm(G, axis=1)
    kept = sizes > 0
    return G[kept] / sizes[kept, None], h[kept] / sizes[kept], a, b


@pytest.mark.parametrize("norm", NORMS)
@given(seed=strategies.integers(0, 2**32), whole=strategies.booleans())
@examples(200)
def test_nearest_point_and_its_multipliers(norm: float, seed: int, whole: bool) -> None:
    G, h, a, b = case(seed, whole)
    if len(h) == 0:
        return
    want = expected(norm, G, h, a, b)
    u, c = nearest(norm, G, h, a, b)
    assert (u >= 0).all()
    v = u @ G
    level = np.array([u @ h])
    proved = distance(norm, level, v[None], a, b)[0]
    if math.isinf(want):
        # Columns that cancel in a ray are what floats leave of 0, and may meet infinite caps.
        v = np.where(np.abs(v) > 1e-12 * np.abs(u).sum(), v, 0.0)
        assert distance(norm, level, v[None], a, b)[0] == math.inf
        return
    assert c is not None
    assert (G @ c >= h - 1e-10).all()
    assert (-a <= c).all()
    assert (c <= b).all()
    assert np.linalg.norm(c, norm) == pytest.approx(want, rel=1e-7, abs=1e-9)
    assert proved == pytest.approx(want, rel=1e-7, abs=1e-9)
