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
from effort import least, share
from exact import dot, matrix, outputs, vector
from floats_alone import floats_prove
from mutants import mutant
from scipy.optimize import linprog

from refimpl import GroupMax, TwoLayerReLU
from refimpl.certificate import (
    Certificate,
    CertificateError,
    Cuts,
    form,
    integers,
    region,
    verify_certificate,
)
from refimpl.certificate.region import FloatRegion, Region

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from hostile_certificates import passes

quadprog = pytest.importorskip("quadprog")

Array = Any
MODES = pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
NORMS = pytest.mark.parametrize("norm", [1, 2, math.inf])
GROUPS = GroupMax([1, 1, -1])


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
    found = _quadratic_program(case, p) if case.norm == 2 else None
    if found is not None and found[1].any():
        return np.asarray(found[1])
    lp = _program(case, p.a, p.k, R)
    if lp.status != 0:
        return np.ones(len(p.k))
    return np.maximum(-lp.ineqlin.marginals[: len(p.k)], 0.0)


def certify(case: Case, R: float) -> Certificate:
    """A tree that splits every neuron, whose leaves prove R if anything does."""
    M = case.net.n_hidden
    parts = [(p, multipliers(case, p, R)) for p in patterns(case)]
    n = parts[0][0].n_constraints
    tree: list[int] = []

    def grow(r: int) -> None:
        tree.append(r if r < M else -1)
        for _ in range(2 if r < M else 0):
            grow(r + 1)

    for _ in case.target_rows():
        grow(0)
    return Certificate(
        np.array(tree),
        np.array([u[:n] for _, u in parts]),
        np.array([(p.phase > 0).astype(float) for p, _ in parts]),
        np.array([u[n:] for _, u in parts]),
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


@pytest.mark.thorough
@NORMS
def test_e38_radii_by_enumeration_are_proved_and_no_more(norm: float) -> None:
    tight = unreachable = 0
    for seed in range(share(48)):
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
    assert tight >= least(15)
    assert unreachable >= least(3)


@pytest.mark.parametrize("norm", [pytest.param(1, marks=pytest.mark.slow), 2, math.inf])
def test_e38_no_altered_certificate_proves_a_radius_above_the_truth(norm: float) -> None:
    tried = 0
    for seed in range(12):
        each = case(seed, norm)
        r, point = radius(each)
        above = adversarial_near(each, point, r) if 1e-6 < r < math.inf else None
        if above is None:
            continue
        rng = np.random.default_rng(seed)
        for R in (above, 1.5 * above):
            proof = certify(each, R)
            for _ in range(6):
                other = replace(
                    proof,
                    weights=proof.weights * rng.choice([0.5, 1, 2], proof.weights.shape),
                    tau=np.clip(proof.tau + rng.choice([-0.3, 0, 0.3], proof.tau.shape), 0, 1),
                    nu=proof.nu * rng.choice([0, 1, 1, 2], proof.nu.shape),
                )
                for exact in (False, True):
                    asked = each.net, each.x, each.y, other
                    assert not passes(*asked, radius=R, exact=exact, **each.options())
                tried += 1
    assert tried >= 24


# By hand


def leaf(M: int, w: float = 1.0, tau: float = 1.0) -> Certificate:
    rows = np.ones((1, M))
    return Certificate(np.array([-1]), w * rows[:, :1], tau * rows, 0 * rows)


# f = ReLU(s) - ReLU(-s) = s = x1 + x2 is 2 at (1, 1). In l1 the radius is 2, in l_inf 1, in l2 the
# root of 2. From (1, 1) with 0.75 <= x1 the first coordinate gives 1/4, and the second the rest,
# 7/4: sqrt(1/16 + 49/16) = sqrt(50)/4 in l2.
PLANE = TwoLayerReLU([[1.0, 1.0], [-1.0, -1.0]], None, [[1.0, -1.0]])
CAPPED = ([0.75, -math.inf], math.inf)


@MODES
@pytest.mark.parametrize(
    ("norm", "box", "r"),
    [
        (1, None, 2.0),
        (2, None, math.sqrt(2)),
        (math.inf, None, 1.0),
        (1, CAPPED, 2.0),
        (2, CAPPED, math.sqrt(50) / 4),
        (math.inf, CAPPED, 1.75),
        (math.inf, (0, 3), 1.0),
    ],
)
def test_e38_radii_of_a_plane(norm: float, box: Any, r: float, exact: bool) -> None:
    options: dict[str, Any] = {"norm": norm, "box": box, "exact": exact}
    asked = PLANE, [1.0, 1.0], 1, leaf(2)
    assert passes(*asked, radius=math.nextafter(r, 0) * (1 - 1e-15), **options)
    assert not passes(*asked, radius=r * (1 + 1e-15), **options)
    if norm != 2:  # r is a float: a tie at r itself counts, or does not
        assert not passes(*asked, radius=r, **options)
        assert passes(*asked, radius=r, ties="robust", **options)


@MODES
@NORMS
def test_e38_the_whole_box_may_hold_no_adversarial_point(norm: float, exact: bool) -> None:
    options: dict[str, Any] = {"norm": norm, "radius": math.inf, "exact": exact}
    asked = PLANE, [1.0, 1.0], 1, leaf(2)
    assert passes(*asked, box=(0.125, 1), **options)
    assert passes(*asked, box=(0.125, math.inf), **options)  # x1 and x2 grow without end
    assert passes(*asked, box=([-1.0, 1.25 - 0.25], [2.0, 1.0]), **options) is False  # s = 0
    assert passes(*asked, box=([-1.0, 1.0], [2.0, 1.0]), ties="robust", **options)
    assert not passes(*asked, box=(-math.inf, 1), **options)
    assert not passes(*asked, box=None, **options)
    for R in (3.0, 1e300):  # a ball that holds the box
        assert passes(*asked, box=(0.125, 1), **options | {"radius": R})


# f = 1/2 - ReLU(x1 - x2) is 1/2 at (1, 1), z = 0: within the box x1 <= 1.125, x2 >= 0.75, z <= 3/8.
SHORT = TwoLayerReLU([[1.0, -1.0]], None, [[-1.0]], [0.5])
SHORT_BOX = ([-3.0, 0.75], [1.125, 2.0])


@MODES
@NORMS
def test_e38_chords_use_the_intervals_of_the_region(norm: float, exact: bool) -> None:
    options: dict[str, Any] = {"norm": norm, "exact": exact}
    asked = SHORT, [1.0, 1.0], 1, leaf(1)
    assert passes(*asked, radius=math.inf, box=SHORT_BOX, **options)
    assert passes(*asked, radius=5.0, box=SHORT_BOX, **options)
    assert not passes(*asked, radius=0.6, **options)
    # One end of z's interval is infinite: no chord is there, so that this needs a split.
    one_sided = ([-math.inf, 0.75], [1.125, math.inf])
    assert not passes(*asked, radius=math.inf, box=one_sided, **options)
    rows = np.ones((2, 1))
    split = Certificate(np.array([0, -1, -1]), rows, rows, 0 * rows)
    assert passes(SHORT, [1.0, 1.0], 1, split, radius=math.inf, box=one_sided, **options)


def narrowed(bound: float, mu: float, M: int, r: int) -> Certificate:
    rows = np.ones((2, M))
    cut = (np.array([value]) for value in (0, r, 1, bound, mu))
    return Certificate(np.array([-2, -1]), rows[:, :1], rows, 0 * rows, cuts=Cuts(*cut))


@MODES
@NORMS
@pytest.mark.parametrize("radius", [4.0, math.inf])
def test_e41_cuts_in_a_box(norm: float, radius: float, exact: bool) -> None:
    # f = ReLU(x + 3) - ReLU(x) / 2 at 0 in [-4, 4] is adversarial below -3. The minorant with the
    # chord is l = 3 + x - (x + 4) / 4 = 2 + 3 x / 4, so that x <= -8/3 where l <= 0.
    step = TwoLayerReLU([[1.0], [1.0]], [3.0, 0.0], [[1.0, -0.5]])
    options: dict[str, Any] = {"norm": norm, "box": (-2.875, 4), "exact": exact, "radius": radius}
    # In [-2.875, 4]: the chord has the slope 4/6.875, and l = 3 + x - (x + 2.875) 2 / 6.875.
    slope = 4 / 6.875 / 2
    zero = -(3 - slope * 2.875) / (1 - slope)
    mu = 1 / (1 - slope)
    assert passes(step, [0.0], 1, narrowed(zero + 1e-9, mu, 2, 1), **options)
    assert not passes(step, [0.0], 1, narrowed(zero - 1e-9, mu, 2, 1), **options)
    # With mu = 0 a cut is the interval itself.
    assert passes(step, [0.0], 1, narrowed(4.0, 0.0, 2, 1), **options)
    assert not passes(step, [0.0], 1, narrowed(math.nextafter(4.0, 0), 0.0, 2, 1), **options)


@MODES
def test_parabolas_stand_in_a_box_for_p_2_alone(exact: bool) -> None:
    # f = 1 - ReLU(x) >= 1 - (x + 1)^2 / 4, and with (x^2 - R^2) / 2 the least value is that at 1.
    net = TwoLayerReLU([[1.0]], None, [[-1.0]], [1.0])
    one = np.ones((1, 1))
    curved = Certificate(np.array([-1]), one, one, 0 * one, 0.25 * one, np.array([0.5]))
    asked: Any = (net, [0.0], 1, curved)
    for box in (None, (-3, 3)):
        assert passes(*asked, radius=0.99, box=box, exact=exact)
        assert not passes(*asked, radius=1.01, box=box, exact=exact)
    assert passes(*asked, radius=0.99, box=(-3, 0.5), exact=exact)  # the ball's proof stands
    for norm in (1, math.inf):
        for broken in (curved, replace(curved, kappa=None), replace(curved, ball=None)):
            with pytest.raises(
                CertificateError, match="expected no parabola or ball where the norm"
            ):
                verify_certificate(net, [0.0], 1, broken, radius=0.9, norm=norm, exact=exact)
    with pytest.raises(CertificateError, match="no parabola or ball where the radius is inf"):
        verify_certificate(*asked, radius=math.inf, box=(-3, 3), exact=exact)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": 3}, "norm: expected 1, 2 or numpy.inf, got 3"),
        ({"norm": "inf"}, "norm: expected 1, 2 or numpy.inf"),
        ({"box": (2, 1)}, "box: expected no lo above its hi"),
        ({"box": 1}, r"box: expected a pair \(lo, hi\)"),
        ({"box": (0, [1.0, 1.0, 1.0])}, "box: expected real numbers of shape"),
        ({"box": (0, 0.5)}, "x: expected samples in the box, got 1.0"),
    ],
)
def test_bad_norms_and_boxes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        verify_certificate(PLANE, [1.0, 1.0], 1, leaf(2), radius=0.5, **options)
    assert not isinstance(caught.value, CertificateError)


@NORMS
def test_a_proof_in_another_norm_or_box_is_not_one_in_this(norm: float) -> None:
    wide = {1: 2.0, 2: math.sqrt(2), math.inf: 1.0}
    for other, r in wide.items():
        assert passes(PLANE, [1.0, 1.0], 1, leaf(2), radius=0.999 * r, norm=norm) == (
            r <= wide[norm]
        )
        assert other in wide


# Rounding


def _h(v: Array, a: Array, b: Array, norm: float, R: Fraction) -> Fraction:
    """H_R(v) for fractions: exact but for p = 2, there from below by at most 2^-200."""
    size = [abs(Fraction(float(e))) for e in v]
    cap = [min(R, hi if e > 0 else lo) for e, lo, hi in zip(v, a, b, strict=True)]
    if norm == math.inf:
        return dot(size, cap)
    if norm == 1:
        left, total = R, Fraction(0)
        for s, c in sorted(zip(size, cap, strict=True), reverse=True):
            total += s * min(c, left)
            left -= min(c, left)
        return total
    used = [(s, c) for s, c in zip(size, cap, strict=True) if s]
    if sum(c * c for _, c in used) <= R * R:
        return sum((s * c for s, c in used), Fraction(0))
    capped: list[tuple[Fraction, Fraction]] = []
    while True:
        free = [p for p in used if p not in capped]
        t2 = (R * R - sum(c * c for _, c in capped)) / sum(s * s for s, _ in free)
        more = [p for p in free if p[0] ** 2 * t2 > p[1] ** 2]
        if not more:
            break
        capped += more
    k = 400 + max(t2.denominator.bit_length() - t2.numerator.bit_length(), 0)
    t = Fraction(math.isqrt((t2.numerator << 2 * k) // t2.denominator), 1 << k)
    return sum((s * min(t * s, c) for s, c in used), Fraction(0))


def broken(module: ModuleType, n: int) -> set[str]:
    """Claims about supports that one of n random regions refutes."""
    found = set()
    for seed in range(n):
        rng = np.random.default_rng(seed)
        d = int(rng.integers(1, 6))
        x = rng.random(d) * 2.0 ** rng.integers(-60, 1, d)
        lo, hi = x - rng.random(d) * 2.0 ** rng.integers(-3, 1, d), x + rng.random(d)
        norm, R = [1, 2, math.inf][seed % 3], float(rng.choice([0.1, 0.5, 1.0, 4.0]) * rng.random())
        v = rng.normal(size=(1, d))
        if seed % 5 == 0:  # so small that products underflow
            v, x, lo, hi = (2.0**-600 * e for e in (v, x, lo, hi))
            R *= 2.0**-600
        a = [Fraction(e) - Fraction(low) for e, low in zip(x.tolist(), lo.tolist(), strict=True)]
        b = [Fraction(h) - Fraction(e) for e, h in zip(x.tolist(), hi.tolist(), strict=True)]
        want = _h(v[0], a, b, norm, Fraction(R))
        omega = module.Region(x, R, norm, (lo, hi))
        got = module.FloatRegion(omega, 16 * 2.0**-53).support(v)[0]
        if Fraction(float(got)) < want:
            found.add("support")
        if Fraction(float(got)) > want * (1 + Fraction(1, 10**12)) + Fraction(1e-280):
            found.add("loose")
        if Fraction(float(module.FloatRegion(omega, 16 * 2.0**-53).rough(v)[0])) < want:
            found.add("rough")
        caps = zip(omega.caps(), (a, b), strict=True)
        if any(
            Fraction(c) < min(e, Fraction(R))
            for have, true in caps
            for c, e in zip(have.tolist(), true, strict=True)
        ):
            found.add("caps")
        wide = [max(p) for p in zip(a, b, strict=True)]
        spread = module.FloatRegion(omega, 16 * 2.0**-53).spread(v)[0]
        most = _h(np.abs(v[0]), wide, wide, norm, Fraction(R))
        if Fraction(float(spread)) * (1 + Fraction(1, 2**45)) + Fraction(2.0**-960) < most:
            found.add("spread")
        W, scale = integers.of_floats(v[0])
        rest, square = module.ExactRegion(omega).support(W, 1 << scale)
        bound = rest + module.root_up(square)
        if bound < want or bound > want * (1 + Fraction(1, 2**60)):
            found.add("exact")
    return found


def test_e38_supports_are_upper_bounds_and_sharp() -> None:
    assert broken(region, 300) == set()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("np.nextafter(side, math.inf), 0.0)", "side, 0.0)", "caps"),
        ("total * (1 + 2 * self.eps)", "total", "support"),
        (
            "self.eps) + v.shape[1] * FLOOR  # (E38)\n\n    def spread",
            "self.eps)\n\n    def spread",
            "support",
        ),
        ("self.R * dual * (1 + 2 * self.eps)", "self.R * dual", "rough"),
        ("np.where(a > 0, -math.inf, 0.0), np", "np.where(a < 0, -math.inf, 0.0), np", "rough"),
        ("(W), np.maximum(self.a, self.b)", "(W), np.minimum(self.a, self.b)", "spread"),
        ("np.where(up, self.b, self.a)", "np.where(up, self.a, self.b)", "exact"),
        ("rest = R * R -", "rest = R * R +", "loose"),
    ],
)
def test_each_rounding_of_a_support_is_needed(old: str, new: str, claim: str) -> None:
    assert claim in broken(mutant(region, old, new), 300)


def test_e38_products_that_underflow_are_paid_for_in_wide_regions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # f = 2^-101 - 2^-500 ReLU(2^-600 x): W^T q = 2^-1100 underflows, and yet f = 2^-101 - 2^-100 at
    # x = 2^1000.
    net = TwoLayerReLU([[2.0**-600]], [1.0], [[-(2.0**-500)]], [2.0**-101])
    rows = np.ones((2, 1))
    split = Certificate(np.array([0, -1, -1]), rows, rows, 0 * rows)
    asked: Any = (net, [0.0], 1, split)
    assert not passes(*asked, radius=2.0**1000, norm=math.inf, exact=True)
    assert not floats_prove(*asked, radius=2.0**1000, norm=math.inf)
    made = FloatRegion.__init__

    def narrow(self: FloatRegion, region: Region, eps: float) -> None:
        made(self, region, eps)
        self.width = 0.0

    monkeypatch.setattr(FloatRegion, "__init__", narrow)
    assert floats_prove(*asked, radius=2.0**1000, norm=math.inf)
