"""Certificates with parabolas and narrowing steps (E34, E35, E41, E42): what they prove."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import parabolas
import pytest
from exact_radius import pieces, squared_radius
from hypothesis import given, settings
from hypothesis import strategies as st

from refimpl import GroupMax, TwoLayerReLU
from refimpl.certificate import (
    Certificate,
    CertificateError,
    Cuts,
    floats,
    form,
    integers,
    minorant,
    rationals,
    verify_certificate,
)

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from hostile_certificates import passes

MODES = pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])


def floats_prove(*args: Any, **options: Any) -> bool:
    """Whether float64 proves it alone, with no row left to exact arithmetic."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rationals, "Sample", lambda *_: None)
        patch.setattr(rationals, "proved", lambda *_, **__: False)
        return passes(*args, **options)


class Case(NamedTuple):
    net: TwoLayerReLU
    x: Any
    y: int
    decision: Any
    radius: float


def case(rng: np.random.Generator, M: int | None = None) -> Case | None:
    """A random network, and a sample that it classifies right, with a finite radius."""
    M, d, K = int(rng.integers(2, 5)) if M is None else M, int(rng.integers(1, 4)), 2
    decision = ["sign", "argmax", GroupMax([1, -1, -1]), GroupMax([1, -1, 1])][rng.integers(4)]
    K = {"sign": 1, "argmax": 2}.get(decision, 3) if isinstance(decision, str) else 3
    W, b, A, c = (rng.normal(size=shape) for shape in ((M, d), M, (K, M), K))
    net, x = TwoLayerReLU(W, b, A - 0.3, c / 4), rng.normal(size=d)
    y = int(net.predict(x[None], decision)[0])
    squared = squared_radius(pieces(net, x, y, decision))
    return Case(net, x, y, decision, math.sqrt(squared)) if squared else None


def cases(n: int, seed: int, **options: Any) -> Iterator[tuple[int, Case]]:
    found = 0
    for index in range(20 * n):
        if (new := case(np.random.default_rng([seed, index]), **options)) is not None:
            yield index, new
            found += 1
        if found == n:
            return
    raise AssertionError("too few cases with a finite radius")


def made(one: Case, factor: float, seed: int, **options: Any) -> Certificate:
    R = one.radius * factor
    return parabolas.certificate(
        one.net, one.x, one.y, R, decision=one.decision, seed=seed, **options
    )


# f = C - ReLU(z_1) - ReLU(z_2) with orthonormal weights at z = 0: kappa = 1/4 (s = 1) and lambda
# give Q = C - ((1 + t_1)^2 + (1 + t_2)^2) / 4 + lambda (t_1^2 + t_2^2 - R^2). With lambda = 1/2 the
# minimum is at t = (1, 1), C - 1 - R^2 / 2, positive below R = sqrt(2 (C - 1)). For C = 2 that is
# sqrt(2), the radius: (1, 1) is the nearest adversarial point.
PAIR = TwoLayerReLU(np.eye(2), None, [[-1.0, -1.0]], [2.0])


def pair_leaf(kappa: float = 0.25, ball: float = 0.5) -> Certificate:
    one = np.ones((1, 2))
    return Certificate(np.array([-1]), np.ones((1, 1)), one, 0 * one, kappa * one, np.array([ball]))


@MODES
def test_e35_a_parabola_by_hand(exact: bool) -> None:
    r = math.sqrt(2)
    for R in (0.1, 1.0, r * (1 - 1e-12)):
        assert passes(PAIR, [0.0, 0.0], 1, pair_leaf(), radius=R, exact=exact)
    for R in (r * (1 + 1e-15), r * (1 + 1e-12), 2.0, 1e9):
        assert not passes(PAIR, [0.0, 0.0], 1, pair_leaf(), radius=R, exact=exact)
    # The chords alone, slope 1/2, reach only l = 2 - sum (t + R) / 2 > 0: R < 2 / (1 + sqrt(1/2)).
    chords = replace(pair_leaf(), kappa=None)
    limit = 2 / (1 + math.sqrt(0.5))
    assert passes(PAIR, [0.0, 0.0], 1, chords, radius=limit * (1 - 1e-12), exact=exact)
    assert not passes(PAIR, [0.0, 0.0], 1, chords, radius=limit * (1 + 1e-12), exact=exact)


@MODES
def test_e35_strict_ties_may_touch_but_a_singular_hessian_proves_nothing(exact: bool) -> None:
    # C = 3: the minimum of Q is 2 - R^2 / 2 = 0 at R = 2 exactly.
    net = TwoLayerReLU(np.eye(2), None, [[-1.0, -1.0]], [3.0])
    options: dict[str, Any] = {"radius": 2.0, "exact": exact}
    assert passes(net, [0.0, 0.0], 1, pair_leaf(), ties="robust", **options)
    assert not passes(net, [0.0, 0.0], 1, pair_leaf(), **options)
    above = {"radius": math.nextafter(2, 3), "exact": exact}
    assert not passes(net, [0.0, 0.0], 1, pair_leaf(), ties="robust", **above)
    # lambda = kappa: H = 0, and Q is affine with a slope.
    for ball in (0.25, 0.1, 0.0):
        for ties in ("adversarial", "robust"):
            flat = pair_leaf(ball=ball)
            assert not passes(net, [0.0, 0.0], 1, flat, radius=0.1, ties=ties, exact=exact)


@MODES
def test_e35_parabolas_and_the_ball_count_only_where_they_are_read(exact: bool) -> None:
    # f = 2 - ReLU(x) + ReLU(-x) at x = 1: kappa of neuron 0 is ignored where z_0 > 0 on the ball,
    # that of neuron 1 since gamma > 0, and lambda with them: l = 2 - x.
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[-1.0, 1.0]], [2.0])
    one = np.ones((1, 2))
    leaf = Certificate(np.array([-1]), np.ones((1, 1)), 0 * one, 0 * one)
    curved = replace(leaf, kappa=1e3 * one, ball=np.array([1e-3]))
    for R, proved in ((0.99, True), (1 - 1e-12, True), (1.0, False)):
        assert passes(net, [1.0], 1, leaf, radius=R, exact=exact) == proved
        assert passes(net, [1.0], 1, curved, radius=R, exact=exact) == proved


@MODES
def test_certificates_with_parabolas_and_cuts_prove_nearly_the_radius_and_nothing_above(
    exact: bool,
) -> None:
    proved = with_parabolas = with_cuts = 0
    for index, one in cases(12, seed=1):
        proof = made(one, 0.98, index)
        options = {"decision": one.decision, "exact": exact}
        passed = passes(*one[:3], proof, radius=one.radius * 0.98, **options)
        proved += passed
        with_parabolas += passed and bool(np.any(proof.kappa))
        with_cuts += passed and proof.cuts is not None and len(proof.cuts.row) > 0
        for factor in (1 + 1e-12, 1.001, 2.0):
            assert not passes(*one[:3], proof, radius=one.radius * factor, **options)
    assert proved >= 8
    assert with_parabolas >= 4
    assert with_cuts >= 2


def test_floats_alone_prove_what_was_made_with_slack_and_agree_with_exact_arithmetic() -> None:
    alone = 0
    for index, one in cases(10, seed=2):
        proof = made(one, 0.9, index, share=0.7)
        for factor in (0.5, 0.9, 0.9 * (1 + 1e-9), 0.95, 1.0):
            R = one.radius * factor
            by_floats = floats_prove(*one[:3], proof, radius=R, decision=one.decision)
            exactly = passes(*one[:3], proof, radius=R, decision=one.decision, exact=True)
            fast = passes(*one[:3], proof, radius=R, decision=one.decision)
            assert fast == exactly
            assert exactly or not by_floats
            alone += by_floats
    assert alone >= 15
