"""Rows in integers that are rounded to the safe side: every bound holds, and is needed.

What the module claims of slopes, of the region and of cuts is checked in fractions, on numbers of
very different sizes. Every mutant of the module, which lacks one term, breaks a claim.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from brute_force import KINDS, random_problem
from effort import share
from exact import dot, matrix, vector
from mutants import mutant

from refimpl import Certificate, TwoLayerReLU, robust_radius
from refimpl.certificate import Cuts, fixed, rationals
from refimpl.certificate.form import Reading, read, targets
from refimpl.certificate.integers import UNLIMITED
from refimpl.certificate.region import FloatRegion, Region, water_level

NORMS = (1.0, 2.0, math.inf)


def scaled(rng: np.random.Generator, *shape: int) -> Any:
    """Normal numbers times powers of two, some of them 0."""
    powers = 2.0 ** rng.choice([-40.0, -3.0, 0.0, 5.0], size=shape)
    return rng.normal(size=shape) * powers * (rng.random(shape) < 0.9)


def draw(rng: np.random.Generator, norm: float) -> tuple[TwoLayerReLU, Region]:
    M, d = int(rng.integers(1, 6)), int(rng.integers(1, 7))
    W = scaled(rng, M, d)
    if rng.random() < 0.3:  # a row beside which the others have few digits
        W[0] = 2.0**60 * rng.normal(size=d)
    x, R = rng.normal(size=d), float(2.0 ** rng.integers(-8, 3) * (1 + rng.random()))
    sides = np.abs(scaled(rng, 2, d)) + (0 if norm == 2 else 1e-3)
    box = None if norm == 2 and rng.random() < 0.3 else (x - sides[0], x + sides[1])
    return TwoLayerReLU(W, rng.normal(size=M), rng.normal(size=(1, M))), Region(x, R, norm, box)


def caps(region: Region, v: list[Fraction]) -> list[Fraction]:
    """min(R, b_j) where v_j > 0, min(R, a_j) where it is not."""
    R, x = Fraction(region.R), vector(region.x)
    if region.box is None:
        return [R] * len(v)
    lo, hi = map(vector, region.box)
    return [min(R, hi[j] - x[j] if v[j] > 0 else x[j] - lo[j]) for j in range(len(v))]


def reached(region: Region, v: list[Fraction]) -> Fraction:
    """<v, delta> at a point of the region, about as far as it goes."""
    cap, R, left = caps(region, v), Fraction(region.R), Fraction(region.R)
    size = [abs(entry) if most else Fraction(0) for entry, most in zip(v, cap, strict=True)]
    if region.norm == math.inf:
        return dot(size, cap)
    if region.norm == 1:
        value = Fraction(0)
        for j in sorted(range(len(v)), key=lambda j: -size[j]):
            step = min(cap[j], left)
            value, left = value + size[j] * step, left - step
        return value
    level = water_level(np.array([size], float), np.array([cap], float), region.R)[0]
    if level == 0.0 or not any(size):
        return dot(size, cap) if dot(cap, cap) <= R**2 else Fraction(0)
    near = 1 / Fraction(float(level))
    low, high = near * (1 - Fraction(2) ** -40), near * (1 + Fraction(2) ** -40)
    for _ in range(40):
        t = (low + high) / 2
        point = [min(t * s, c) for s, c in zip(size, cap, strict=True)]
        low, high = (t, high) if dot(point, point) <= R**2 else (low, t)
    point = [min(low * s, c) for s, c in zip(size, cap, strict=True)]
    return dot(size, point) if dot(point, point) <= R**2 else Fraction(0)


def exceeds(rest: Fraction, square: Fraction, value: Fraction) -> bool:
    """Whether rest + sqrt(square) < value."""
    return value > rest and (value - rest) ** 2 > square


def broken(module: ModuleType, n: int, seed: int) -> set[str]:
    """Claims of the module that one of the first n draws refutes."""
    return {claim for index in range(n) for claim in _broken(module, [seed, index])}


def _broken(module: ModuleType, seed: list[int]) -> Iterator[str]:
    rng = np.random.default_rng(seed)
    net, region = draw(rng, NORMS[seed[1] % 3])
    with np.errstate(all="ignore"):
        sample = module._Sample(net, region)
    W, M = matrix(net.W), net.n_hidden
    for r in range(M):
        z = dot(W[r], vector(region.x)) + Fraction(float(net.bias[r]))
        if z != Fraction(sample.z[r], 1 << sample.shift):
            yield "z"
        if Fraction(sample.up[r], 1 << sample.shift) < z + reached(region, W[r]):
            yield "interval"
        if Fraction(sample.lo[r], 1 << sample.shift) > z - reached(region, [-w for w in W[r]]):
            yield "interval"
    q = scaled(rng, 1, M)
    if not np.abs(net.W).max() < 2.0**55:
        q[0, 0] = 0.0  # the others matter
    V, units, errors = sample.slopes(q)
    power = Fraction(2) ** int(units[0])
    near = [int(entry) * power for entry in V[0]]
    for j in range(net.dim):
        if abs(near[j] - dot(vector(q[0]), [row[j] for row in W])) > errors[0]:
            yield "slopes"
    value = reached(region, near)
    for support in (sample.omega.rough, sample.omega.support):
        rest, square = support(V, units)
        if exceeds(rest[0], square[0], value):
            yield "support"
    if region.norm == math.inf:
        yield from _broken_cut(module, rng, net, region)


def _broken_cut(
    module: ModuleType, rng: np.random.Generator, net: TwoLayerReLU, region: Region
) -> Iterator[str]:
    """mu g + bound - z_0 has a least value of 0 at `limit`, where g = sum gamma_r z_r."""
    region = Region(region.x, float(2.0 ** rng.integers(3)), math.inf)  # no cap is rounded
    spread = np.abs(net.W) @ (np.abs(region.x) + region.R)
    A, mu = rng.integers(1, 8, size=net.A.shape) / 8, 0.5  # floats get q right
    if rng.random() < 0.5:
        A, mu = np.abs(net.A), float(rng.random())
    net = TwoLayerReLU(net.W, 1 + 2 * spread, A)  # all neurons are on
    W, x = matrix(net.W), vector(region.x)
    z = [dot(row, x) + Fraction(float(b)) for row, b in zip(W, net.bias, strict=True)]
    q = [Fraction(mu) * a for a in vector(A[0])]
    q[0] -= 1
    slope = [dot(q, [row[j] for row in W]) for j in range(net.dim)]
    limit = reached(region, [-entry for entry in slope]) - dot(q, z)
    bound = float(limit)
    bound = bound if Fraction(bound) < limit else float(np.nextafter(bound, -math.inf))
    ones = np.ones((2, net.n_hidden))
    parts = [np.array([entry]) for entry in (0, 0, 1, bound, mu)]
    proof = Certificate(np.array([-2, -1]), np.ones((2, 1)), ones, 0 * ones, cuts=Cuts(*parts))
    reading = read(proof, targets(1, "sign", 1), net.n_hidden)
    if module.proved(reading, net, region)[0]:
        yield "cut"


@pytest.mark.thorough
def test_e38_the_claims_hold_in_fractions() -> None:
    assert broken(fixed, share(300), seed=0) == set()


def test_e38_floats_bound_the_region_too_at_first_and_at_second_look() -> None:
    for seed in range(share(200)):
        rng = np.random.default_rng([2, seed])
        net, region = draw(rng, NORMS[seed % 3])
        omega = FloatRegion(region, 100 * 2.0**-53)
        looks = omega.rough(net.W), omega.support(net.W)
        for r, row in enumerate(matrix(net.W)):
            assert all(Fraction(float(look[r])) >= reached(region, row) for look in looks)
        assert (looks[1] <= looks[0] * (1 + 1e-12)).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "claim"),
    [
        ("(3 * _scaled(1, unit) + lost)", "lost", "slopes"),
        ("(3 * _scaled(1, unit) + lost)", "3 * _scaled(1, unit)", "slopes"),
        ("bound = r + self.omega.width * _scaled(1, unit)", "bound = r", "interval"),
        ("(np.ceil(np.ldexp", "(np.floor(np.ldexp", "support"),
        ("(v > self.low) & (v < self.high)", "(v > self.low) & (v < 0)", "support"),
        (" - error * sample.omega.width", "", "cut"),
        ("np.minimum(np.minimum(at_lo, at_up), 0)", "0 * at_lo", "cut"),
    ],
)  # fmt: skip
def test_each_term_is_needed(old: str, new: str, claim: str) -> None:
    assert claim in broken(mutant(fixed, old, new), 150, seed=1)


def by_rationals(reading: Reading, i: int, net: TwoLayerReLU, region: Region) -> bool:
    """Whether rational arithmetic proves row i, in place of `fixed`."""
    step = (reading.rows([i]), reading.cuts_of([i]) if reading.is_step[i] else None)
    sample = rationals.Sample(net, region)
    return rationals.proved(*step, sample, strict=False, limits=UNLIMITED)


def questions(n: int) -> Iterator[tuple[Reading, TwoLayerReLU, Region]]:
    """Certificates of n networks of each kind in every region, at their radius and above it."""
    for kind, seed, norm in product(KINDS, range(n), NORMS):
        rng = np.random.default_rng([17, seed])
        net, decision, x, y = random_problem(
            rng, kind, max_dim=4, min_hidden=2, max_hidden=6, max_outputs=3
        )
        sides = np.full(net.dim, x.min() - 0.1), np.full(net.dim, x.max() + 1.0)
        for box in (None, sides):
            options: Any = {"decision": decision, "norm": norm, "box": box}
            found = robust_radius(net, x, y, **options, certificates=True)
            for i, proof in enumerate(found.certificates or ()):
                if proof is not None and math.isfinite(found.lower[i]):
                    reading = read(proof, targets(int(y[i]), decision, net.n_outputs), net.n_hidden)
                    for factor in (1.0, 1 + 1e-9, 1.1):
                        yield reading, net, Region(x[i], factor * found.lower[i], norm, box)


def test_rationals_prove_what_integers_prove_and_little_more() -> None:
    ours = theirs = refused = 0
    for reading, net, region in questions(share(4)):
        straight = ~reading.arrays["kappa"].any(axis=1)
        quick = fixed.proved(reading, net, region)
        exactly = [by_rationals(reading, k, net, region) for k in range(len(reading))]
        assert (quick <= (exactly & straight)).all()
        ours, theirs = ours + int(quick.sum()), theirs + int((exactly & straight).sum())
        refused += len(quick) - sum(exactly)
    assert ours >= 0.9 * theirs > 0
    assert refused > 0
