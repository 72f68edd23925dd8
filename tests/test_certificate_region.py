"""Certificates in any norm and box (E37, E38, E41): what they prove, exactly and in floats.

Certificates are made here from linear and quadratic programs, one for each activation pattern, and
points that are adversarial in fractions say what no certificate may prove.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
from exact import dot, matrix, outputs, vector
from scipy.optimize import linprog

from refimpl import GroupMax, TwoLayerReLU
from refimpl.certificate import Certificate, CertificateError, Cuts, form, region
from refimpl.certificate import rationals, verify_certificate
from refimpl.certificate.region import FloatRegion, Region

quadprog = pytest.importorskip("quadprog")
sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from hostile_certificates import passes

Array = Any
MODES = pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
NORMS = pytest.mark.parametrize("norm", [1, 2, math.inf])
GROUPS = GroupMax([1, 1, -1])


def floats_prove(*args: Any, **options: Any) -> bool:
    """Whether float64 proves it alone, with no row left to exact arithmetic."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rationals, "Sample", lambda *_: None)
        patch.setattr(rationals, "proved", lambda *_, **__: False)
        return passes(*args, **options)


class Case(NamedTuple):
    """A network with a sample in a box, which may have infinite sides and fixed coordinates."""

    net: TwoLayerReLU
    x: Array
    y: int
    decision: Any
    norm: float
    box: tuple[Array, Array] | None

    def options(self) -> dict[str, Any]:
        return {"decision": self.decision, "norm": self.norm, "box": self.box}

    def sides(self) -> tuple[Array, Array]:
        """Caps a and b."""
        infinite = np.full(len(self.x), math.inf)
        lo, hi = self.box or (-infinite, infinite)
        return self.x - lo, hi - self.x

    def target_rows(self) -> Array:
        return form.targets(self.y, self.decision, self.net.n_outputs)


def case(seed: int, norm: float) -> Case:
    """A sample that is classified right."""
    rng = np.random.default_rng([seed, int(min(norm, 3))])
    M, d = int(rng.integers(1, 4)), int(rng.integers(1, 5))
    decision: Any = ["sign", "argmax", GROUPS][rng.integers(3)]
    K = 1 if decision == "sign" else 3
    net = TwoLayerReLU(
        rng.normal(size=(M, d)),
        0.5 * rng.normal(size=M),
        rng.normal(size=(K, M)),
        rng.normal(size=K),
    )
    x = rng.random(d)
    F = net.outputs(x[None])[0]
    y = int(np.sign(F[0])) if K == 1 else int(np.argmax(F))
    if decision is GROUPS:
        y = int(GROUPS.labels[y])
    lo, hi = np.zeros(d), np.ones(d)
    kind = seed % 4
    if kind == 1:
        lo[rng.random(d) < 0.5], hi[rng.random(d) < 0.5] = -math.inf, math.inf
    if kind == 2:
        fixed = rng.random(d) < 0.3
        lo[fixed] = hi[fixed] = x[fixed]
    box = None if kind == 3 else (lo, hi)
    return Case(net, x, y, decision, norm, box)


# A certificate that splits every neuron


class Pattern(NamedTuple):
    """Rows a delta + k <= 0 of one activation pattern: the constraints, then the phases."""

    a: Array
    k: Array
    n_constraints: int
    phase: Array


def patterns(case: Case) -> Iterator[Pattern]:
    """Of all targets, in the order of a certificate's leaves."""
    net, z = case.net, case.net.W @ case.x + case.net.bias
    for D in case.target_rows():
        for signs in product((1, -1), repeat=net.n_hidden):
            phase = np.array(signs)
            alpha = (D @ net.A) * (phase > 0)
            a = np.vstack([alpha @ net.W, -phase[:, None] * net.W])
            yield Pattern(a, np.concatenate([D @ net.c + alpha @ z, -phase * z]), len(D), phase)


def closest(case: Case, p: Pattern) -> tuple[float, Array]:
    """Smallest norm in the pattern and its box, and the point; inf where there is none."""
    d = p.a.shape[1]
    if case.norm == 2:
        found = _quadratic_program(case, p)
        point = np.zeros(d) if found is None else found[0]
        return (math.inf if found is None else float(np.linalg.norm(point))), point
    lp = _program(case, p.a, p.k, None)
    return (lp.fun, lp.x[:d] - lp.x[d : 2 * d]) if lp.status == 0 else (math.inf, np.zeros(d))


def _quadratic_program(case: Case, p: Pattern) -> Any:
    """The nearest point and the multipliers of p's rows, None where there is none."""
    eye = np.eye(p.a.shape[1])
    below, above = (np.where(np.isfinite(side), side, 1e3) for side in case.sides())
    rows = np.vstack([-p.a, eye, -eye])
    try:
        found = quadprog.solve_qp(eye, 0 * below, rows.T, np.hstack([p.k, -below, -above]))
    except ValueError:
        return None
    return found[0], found[4][: len(p.k)]


def _program(case: Case, a: Array, k: Array, R: float | None) -> Any:
    """min ||delta|| with a delta + k <= 0, or min t with a delta + k <= t in the ball of R.

    The variables are delta's two parts, which may be positive at once, and t or the norm.
    """
    d = a.shape[1]
    below, above = case.sides()
    reach = math.inf if R is None else R
    bounds = [(0, min(side, reach)) for side in (*above, *below)]
    if R is None and case.norm == math.inf:
        eye = np.eye(d)
        more = np.block([[eye, -eye, -np.ones((d, 1))], [-eye, eye, -np.ones((d, 1))]])
        rows = np.vstack([np.hstack([a, -a, 0 * a[:, :1]]), more])
        right = np.concatenate([-k, np.zeros(2 * d)])
        cost = np.append(np.zeros(2 * d), 1.0)
    elif R is None:
        rows, right = np.hstack([a, -a, 0 * a[:, :1]]), -k
        cost = np.append(np.ones(2 * d), 0.0)
    else:
        rows, right = np.hstack([a, -a, -np.ones((len(a), 1))]), -k
        cost = np.append(np.zeros(2 * d), 1.0)
        if case.norm == 1 and math.isfinite(R):
            rows = np.vstack([rows, np.append(np.ones(2 * d), 0.0)])
            right = np.append(right, R)
    return linprog(cost, rows, right, bounds=[*bounds, (0 if R is None else None, None)])


def multipliers(case: Case, p: Pattern, R: float) -> Array:
    """Of the pattern's rows, that prove it if anything does."""
    if case.norm == 2 and (found := _quadratic_program(case, p)) is not None:
        if found[1].any():
            return np.asarray(found[1])
    lp = _program(case, p.a, p.k, R)
    if lp.status != 0:
        return np.ones(len(p.k))
    return np.maximum(-lp.ineqlin.marginals[: len(p.k)], 0.0)


def certify(case: Case, R: float) -> Certificate:
    """A tree that splits every neuron, whose leaves prove R if anything does."""
    M = case.net.n_hidden
    parts = [(p, multipliers(case, p, R)) for p in patterns(case)]
    I = parts[0][0].n_constraints  # noqa: E741
    tree: list[int] = []

    def grow(r: int) -> None:
        tree.append(r if r < M else -1)
        for _ in range(2 if r < M else 0):
            grow(r + 1)

    for _ in case.target_rows():
        grow(0)
    return Certificate(
        np.array(tree),
        np.array([u[:I] for _, u in parts]),
        np.array([(p.phase > 0).astype(float) for p, _ in parts]),
        np.array([u[I:] for _, u in parts]),
    )


def radius(case: Case) -> tuple[float, Array]:
    """The robust radius by enumeration, up to rounding, and a nearest point."""
    return min((closest(case, p) for p in patterns(case)), key=lambda found: found[0])


# What fractions say of one point


def is_adversarial(case: Case, delta: list[Fraction]) -> bool:
    """Whether delta is in the box, and adversarial with the ties that count so."""
    net = case.net
    end = [Fraction(float(c)) + step for c, step in zip(case.x, delta, strict=True)]
    if case.box is not None and any(
        (math.isfinite(lo) and e < Fraction(float(lo)))
        or (math.isfinite(hi) and e > Fraction(float(hi)))
        for e, lo, hi in zip(end, *case.box, strict=True)
    ):
        return False
    F = outputs(matrix(net.W), vector(net.bias), matrix(net.A), vector(net.c), end)
    return any(
        all(dot([Fraction(int(v)) for v in row], F) <= 0 for row in D) for D in case.target_rows()
    )


def within(delta: list[Fraction], norm: float, R: Fraction) -> bool:
    if norm == 2:
        return sum(e * e for e in delta) <= R * R
    return (sum if norm == 1 else max)(abs(e) for e in delta) <= R


def adversarial_near(case: Case, point: Array, r: float) -> float | None:
    """A radius just above r in which fractions find an adversarial point."""
    lo, hi = (
        side.tolist() for side in case.box or (np.full(len(point), s * math.inf) for s in (-1, 1))
    )
    for beyond in (1e-12, 1e-9, 1e-7):
        moved = []
        for c, low, high, e in zip(vector(case.x), lo, hi, point.tolist(), strict=True):
            end = c + Fraction(e) * (1 + Fraction(beyond))
            end = max(end, Fraction(low)) if math.isfinite(low) else end
            moved.append((min(end, Fraction(high)) if math.isfinite(high) else end) - c)
        R = r * (1 + 2 * beyond)
        if is_adversarial(case, moved) and within(moved, case.norm, Fraction(R)):
            return R
    return None


@NORMS
def test_e38_radii_by_enumeration_are_proved_and_no_more(norm: float) -> None:
    tight = unreachable = 0
    for seed in range(60):
        each = case(seed, norm)
        r, point = radius(each)
        if not math.isfinite(r):
            R = math.inf if each.box is not None and np.isfinite(each.box).all() else 10.0
            proof = certify(each, R)
            for exact in (False, True):
                assert passes(
                    each.net, each.x, each.y, proof, radius=R, exact=exact, **each.options()
                )
            unreachable += 1
            continue
        if r < 1e-6:
            continue
        below = r * (1 - 1e-6)
        proof = certify(each, below)
        asked = each.net, each.x, each.y, proof
        for exact in (False, True):
            assert passes(*asked, radius=below, exact=exact, **each.options()), seed
        assert floats_prove(*asked, radius=r * (1 - 1e-5), **each.options()), seed
        if (above := adversarial_near(each, point, r)) is not None:
            tight += 1
            for other in (proof, certify(each, above)):
                for exact in (False, True):
                    more = each.net, each.x, each.y, other
                    assert not passes(*more, radius=above, exact=exact, **each.options()), seed
    assert tight >= 25
    assert unreachable >= 3
