"""Certificates with parabolas and narrowing steps (E34, E35, E41, E42): what they prove."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace
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
    for index, one in cases(20, seed=1):
        proof = made(one, 0.98, index)
        options = {"decision": one.decision, "exact": exact}
        passed = passes(*one[:3], proof, radius=one.radius * 0.98, **options)
        proved += passed
        with_parabolas += passed and bool(np.any(proof.kappa))
        with_cuts += passed and proof.cuts is not None and len(proof.cuts.row) > 0
        for factor in (1 + 1e-12, 1.001, 2.0):
            assert not passes(*one[:3], proof, radius=one.radius * factor, **options)
    assert proved >= 10
    assert with_parabolas >= 2
    assert with_cuts >= 1


def test_floats_alone_prove_what_was_made_with_slack_and_agree_with_exact_arithmetic() -> None:
    alone = 0
    for index, one in cases(6, seed=2):
        proof = made(one, 0.9, index, share=0.7)
        for factor in (0.5, 0.9, 0.9 * (1 + 1e-9), 0.95, 1.0):
            R = one.radius * factor
            by_floats = floats_prove(*one[:3], proof, radius=R, decision=one.decision)
            exactly = passes(*one[:3], proof, radius=R, decision=one.decision, exact=True)
            fast = passes(*one[:3], proof, radius=R, decision=one.decision)
            assert fast == exactly
            assert exactly or not by_floats
            alone += by_floats
    assert alone >= 10


# E34, E35, E41 and E42 one by one


def region(rng: np.random.Generator, W: Any, z: Any, phase: Any, R: float) -> Any:
    """Random points of the ball (n,d) that lie on a path."""
    delta = rng.normal(size=(400, W.shape[1]))
    delta *= R * rng.random((400, 1)) ** 0.5 / np.linalg.norm(delta, axis=1, keepdims=True)
    return delta[((z + delta @ W.T) * phase >= 0).all(axis=1)]


@settings(max_examples=100)
@given(seed=st.integers(0, 2**32 - 1))
def test_e35_the_minorant_lies_below_the_weighted_constraints_on_the_leaf(seed: int) -> None:
    rng = np.random.default_rng(seed)
    M, d, K, R = 5, 3, 3, float(rng.random()) + 0.1
    net = TwoLayerReLU(*(rng.normal(size=shape) for shape in ((M, d), M, (K, M), K)))
    x = rng.normal(size=d)
    phase = rng.choice([-1, 0, 0, 1], (1, M))
    D = rng.integers(-1, 2, (1, 2, K))
    rows = form.Rows(
        D=D,
        phase=phase,
        lo=np.full((1, M), -np.inf),
        up=np.full((1, M), np.inf),
        weights=rng.random((1, 2)),
        tau=rng.random((1, M)),
        nu=rng.random((1, M)) * (phase != 0),
        kappa=rng.choice([0.0, 0.1, 1.0, 10.0], (1, M)),
        ball=rng.random(1),
    )
    ball = floats._ball(net, x, R, 2)
    lines = floats._lines(*minorant.intervals(rows, ball.lo, ball.up))
    m = minorant.minorant(rows, net.A, net.c, lines)
    N, height = m.parabola[0], -m.gamma[0]
    for delta in region(rng, net.W, ball.z, phase[0], R):
        t = ball.z + net.W @ delta
        g = D[0] @ (net.A @ np.maximum(t, 0) + net.c)
        curved = height[N] * rows.kappa[0, N] * (t[N] + 0.25 / rows.kappa[0, N]) ** 2
        Q = m.constant[0] + m.q[0] @ t - curved.sum() + rows.ball[0] * (delta @ delta - R**2)
        size = 1 + np.abs(Q) + curved.sum()
        assert rows.weights[0] @ g - Q >= -1e-12 * size  # 20 terms of at most `size`


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_e41_e42_cuts_that_hold_cut_off_no_adversarial_point(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one = case(rng)
    if one is None:
        return
    # Above the radius, so that there are adversarial points to cut off; each cut is tried alone,
    # as padded and moved inwards.
    R = one.radius * 1.2
    proof = made(one, 1.2, seed % 1000, max_rows=6)
    assert proof.cuts is not None
    delta = region(rng, one.net.W, 0, np.zeros(one.net.n_hidden), R)
    owners = owners_of(proof)
    for k, (row, r, side, bound, mu) in enumerate(zip(*proof.cuts, strict=True)):
        if owners[row][1].any():  # not at the root
            continue
        for moved in (0.0, 1e-3, 0.1, 0.5):
            limit = bound - side * moved * R * float(np.linalg.norm(one.net.W[r]))
            if cut_holds(one, proof, R, (row, r, side, limit, mu)):
                bad = adversarial(one, delta, owners[row][0])
                z = one.net.preactivations(one.x + delta[bad])[:, r] if bad.any() else np.empty(0)
                assert (side * (limit - z) >= -1e-12).all(), k


def owners_of(proof: Certificate) -> list[tuple[int, Any]]:
    """Target and phases of each row."""
    M = proof.tau.shape[1]
    result: list[tuple[int, Any]] = []
    pending: list[tuple[int, Any]] = []
    target = -1
    for r in proof.splits:
        if not pending:
            target += 1
            pending = [(target, np.zeros(M))]
        owner, phase = pending.pop()
        if r < 0:
            result.append((owner, phase))
            pending += [(owner, phase)] if r == -2 else []
            continue
        for sign in (-1, 1):
            child = phase.copy()
            child[r] = sign
            pending.append((owner, child))
    return result


def cut_holds(one: Case, proof: Certificate, R: float, cut: tuple[Any, ...]) -> bool:
    """Whether floats or exact arithmetic proves this one cut of a step without steps above."""
    row, r, side, bound, mu = cut
    D = np.array(parabolas.constraint_rows(one.y, one.decision, one.net.n_outputs))
    arrays = ("weights", "tau", "nu", "kappa", "ball")
    rows = {name: getattr(proof, name)[[row]] for name in arrays}
    owner = owners_of(proof)[row][0]
    alone = [Cuts(*(np.array([value]) for value in (0, r, side, bound, mu)))]
    one_step = Certificate(
        np.array([-2, -1]), *(np.repeat(a, 2, axis=0) for a in rows.values()), alone[0]
    )
    reading = form.read(one_step, D[[owner]], one.net.n_hidden)
    by_floats = floats.proved(reading, one.net, np.asarray(one.x), R)[0]
    sample = rationals.Sample(one.net, np.asarray(one.x), R)
    step = reading.rows([0]), reading.cuts_of([0])
    exactly = rationals.proved(*step, sample, strict=False, largest_order=math.inf)
    assert exactly or not by_floats
    return exactly


def adversarial(one: Case, delta: Any, target: int) -> Any:
    """Which points (n,) of the target's adversarial set."""
    D = np.array(parabolas.constraint_rows(one.y, one.decision, one.net.n_outputs)[target])
    return (one.net.outputs(one.x + delta) @ D.T <= 0).all(axis=1)
