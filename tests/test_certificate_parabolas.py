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
from effort import examples
from exact_radius import pieces, squared_radius
from floats_alone import floats_prove
from hypothesis import given
from hypothesis import strategies as st

from refimpl import GroupMax, TwoLayerReLU, datasets, robust_radius
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
from refimpl.certificate.integers import UNLIMITED, Limits
from refimpl.certificate.region import Region

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from hostile_certificates import passes

MODES = pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])


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


@pytest.mark.slow
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


@pytest.mark.parametrize("index", [0, 8, 30])  # the radius of 8 is small, and left `bounded`
def test_floats_alone_prove_the_radii_of_a_wide_network(data_directory: Path, index: int) -> None:
    net = TwoLayerReLU.load(data_directory / "networks" / "mv24-mnist-500.npz")
    _, (x, y) = datasets.load_mnist(data_directory, layout="flat", scale=True)
    image, digit = x[index], y[index]
    found = robust_radius(net, image[None], [digit], decision="argmax", certificates=True)
    proof, lower = (found.certificates or [])[0], float(found.lower[0])
    options: Any = {"decision": "argmax"}
    assert floats_prove(net, image, digit, proof, radius=lower, **options)
    assert not passes(net, image, digit, proof, radius=1.01 * lower, **options)


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


@examples(100)
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
    ball = floats._ball(net, Region(x, R), 2)
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


@examples(25)
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
    ball = Region(np.asarray(one.x), R)
    by_floats = floats.proved(reading, one.net, ball)[0]
    sample = rationals.Sample(one.net, ball)
    step = reading.rows([0]), reading.cuts_of([0])
    exactly = rationals.proved(*step, sample, strict=False, limits=UNLIMITED)
    assert exactly or not by_floats
    return exactly


def adversarial(one: Case, delta: Any, target: int) -> Any:
    """Which points (n,) of the target's adversarial set."""
    D = np.array(parabolas.constraint_rows(one.y, one.decision, one.net.n_outputs)[target])
    return (one.net.outputs(one.x + delta) @ D.T <= 0).all(axis=1)


# f = ReLU(x + 3) - ReLU(x) / 2 at 0: adversarial below -3 only. In the ball of R = 4 the row's
# minorant is l = 3 + x - (x + 4) / 4 with the chord, so that x <= -8/3 where l <= 0: the cut
# x <= -8/3 of neuron 1, with mu = 4/3, makes it stable, and f = ReLU(x + 3) > 0 for x > -3.
STEP = TwoLayerReLU([[1.0], [1.0]], [3.0, 0.0], [[1.0, -0.5]])


def narrowed(bound: float, mu: float = 4 / 3) -> Certificate:
    rows = np.ones((2, 2))
    cut = (np.array([value]) for value in (0, 1, 1, bound, mu))
    return Certificate(np.array([-2, -1]), np.ones((2, 1)), rows, 0 * rows, cuts=Cuts(*cut))


@MODES
def test_e41_a_cut_by_hand(exact: bool) -> None:
    # R = 2.9: l = 3 + x - (x + R) / 4 <= 0 for x <= (R - 12) / 3 = -3.03: an empty region.
    for R, bound, proved in (
        (2.9, -2.9, True),
        (2.9, -9.1 / 3 + 1e-9, True),
        (2.9, -9.1 / 3 - 1e-9, False),
        (3.5, -8.5 / 3 + 1e-9, False),
    ):
        assert passes(STEP, [0.0], 1, narrowed(bound), radius=R, exact=exact) == proved
    # Without a multiple of the minorant only the ball itself is proved.
    for bound, proved in ((2.9 + 1e-9, True), (2.9 - 1e-9, False)):
        assert passes(STEP, [0.0], 1, narrowed(bound, 0.0), radius=2.9, exact=exact) == proved


@MODES
def test_e42_a_quadratic_cut_by_hand(exact: bool) -> None:
    # PAIR with kappa = 1/4, lambda = 1/2, R = 2: Q = -1 + ((t_1 - 1)^2 + (t_2 - 1)^2) / 4 <= 0
    # where t_1 <= 3; mu = 1 shows it: Q + 3 - t_1 = ((t_1 - 3)^2 + (t_2 - 1)^2) / 4.
    leaf = pair_leaf()
    rows = {n: np.repeat(getattr(leaf, n), 2, axis=0) for n in ("weights", "tau", "nu", "kappa")}
    empty = Certificate(np.array([-2, -1]), **rows, ball=np.array([0.5, 0.5]))
    for bound, mu, proved in (
        (3.0 + 1e-9, 1.0, True),
        (3.0 - 1e-9, 1.0, False),
        (3.1, 1.0, True),
        (3.1, 0.2, False),
        (9.0, 0.0, False),
    ):
        cuts = Cuts(*(np.array([value]) for value in (0, 0, 1, bound, mu)))
        # The leaf below proves nothing at R = 2: its error tells that the step was proved.
        step = replace(empty, cuts=cuts)
        with pytest.raises(CertificateError, match="leaf 1" if proved else "narrowing step 0"):
            verify_certificate(PAIR, [0.0, 0.0], 1, step, radius=2.0, exact=exact)


@MODES
def test_cuts_count_in_their_subtree_and_target_only(exact: bool) -> None:
    # F = (ReLU(x), 0, 1/2) at x = 2, class 0: targets 1 and 2 are 2 and 1.5 away. A proved cut that
    # contradicts the ball closes target 0, at R = 1.9; target 1 has to be proved by itself.
    net = TwoLayerReLU([[1.0]], None, [[1.0], [0.0], [0.0]], [0.0, 0.0, 0.5])
    one = np.ones((3, 1))
    cuts = Cuts(*(np.array([value]) for value in (0, 0, 1, -1.0, 100.0)))
    proof = Certificate(np.array([-2, -1, -1]), one, one, 0 * one, cuts=cuts)
    assert passes(net, [2.0], 0, proof, radius=1.4, decision="argmax", exact=exact)
    with pytest.raises(CertificateError, match="target 1, leaf 2"):
        verify_certificate(net, [2.0], 0, proof, radius=1.9, decision="argmax", exact=exact)


def two_rows() -> Certificate:
    return narrowed(-2.9)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": [-2, -2]}, "splits: the tree of target 0 is not complete"),
        ({"splits": [-1, -2]}, "splits: the trees end before node 1"),
        ({"splits": [-2, -3]}, "splits: expected -2, -1 or a neuron in 0..1 .* got -3 at node 1"),
        ({"kappa": np.ones((1, 2))}, "kappa: expected real numbers of shape"),
        ({"kappa": [[0, 0], [0, -1e-9]]}, "leaf 1, .*: kappa: expected numbers of at least 0"),
        ({"kappa": [[0, 0], [0, math.nan]]}, "kappa: expected finite"),
        ({"ball": np.ones((2, 1))}, "ball: expected real numbers of shape"),
        ({"ball": [-1.0, 0.0]}, "narrowing step 0, .*: ball: expected numbers of at least 0"),
        ({"cuts": [1, 2]}, "cuts: expected Cuts or None, got list"),
        ({"cuts.row": [1]}, "cuts.row: expected the row of a narrowing step, got 1"),
        ({"cuts.row": [-1]}, "cuts.row: expected integers of at least 0, ascending, got -1"),
        ({"cuts.row": [0.5]}, "cuts.row: expected integers of at least 0, ascending, got 0.5"),
        ({"cuts.row": [0, 0]}, "cuts.neuron: expected real numbers of shape"),
        ({"cuts.row": 0}, "cuts.row: expected real numbers of shape"),
        ({"cuts.neuron": [2]}, "cuts.neuron: expected integers from 0 to 1, got 2"),
        ({"cuts.neuron": [-1]}, "cuts.neuron: expected integers from 0 to 1, got -1"),
        ({"cuts.side": [0]}, "cuts.side: expected -1 or 1, got 0"),
        ({"cuts.bound": [math.inf]}, "cuts.bound: expected finite"),
        ({"cuts.bound": [1.0, 2.0]}, "cuts.bound: expected real numbers of shape"),
        ({"cuts.mu": [-1e-300]}, "cuts.mu: expected numbers of at least 0, got -1e-300"),
    ],
)
@MODES
def test_malformed_parabolas_and_cuts_are_refused_by_name(
    changes: dict[str, Any], message: str, exact: bool
) -> None:
    proof = two_rows()
    assert proof.cuts is not None
    for name, value in changes.items():
        field, _, column = name.partition(".")
        new = proof.cuts._replace(**{column: value}) if column else value
        proof = replace(proof, **{field: new})
    with pytest.raises(CertificateError, match=message):
        verify_certificate(STEP, [0.0], 1, proof, radius=2.9, exact=exact)


@MODES
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kappa": np.ones((1, 2))}, "leaf 0, .*: kappa: expected no parabola"),
        ({"ball": np.ones(1)}, "leaf 0, .*: ball: expected no parabola"),
        ({"splits": [-2]}, "splits: the tree"),
        (None, "narrowing step 0, .*: splits: expected no .*narrowing step"),
    ],
)
def test_nothing_of_the_ball_proves_an_infinite_radius(
    changes: dict[str, Any] | None, message: str, exact: bool
) -> None:
    one = np.ones((1, 2))
    leaf = Certificate(np.array([-1]), np.ones((1, 1)), one, 0 * one)
    proof = two_rows() if changes is None else replace(leaf, **changes)
    with pytest.raises(CertificateError, match=message):
        verify_certificate(STEP, [0.0], 1, proof, radius=math.inf, exact=exact)


@pytest.mark.parametrize("limits", [Limits(order=1), Limits(bits=100)])
def test_floats_refuse_what_they_cannot_decide_within_limits_and_say_so(
    monkeypatch: pytest.MonkeyPatch, limits: Limits
) -> None:
    monkeypatch.setattr("refimpl.certificate.verify._LIMITS", limits)
    monkeypatch.setattr("refimpl.certificate.integers._dominance", lambda *args: None)
    with pytest.raises(CertificateError, match=r"not proved for radius 1.5 in floats: pass exact"):
        verify_certificate(PAIR, [0.0, 0.0], 1, pair_leaf(), radius=1.5)
    with pytest.raises(CertificateError, match=r"not proved for radius 1.5$"):
        verify_certificate(PAIR, [0.0, 0.0], 1, pair_leaf(), radius=1.5, exact=True)


def test_a_tree_with_more_rows_than_multipliers_is_refused_before_it_takes_memory() -> None:
    import tracemalloc

    n, M = 200_000, 64
    net = TwoLayerReLU(np.ones((M, 1)), None, np.ones((1, M)))
    one = np.ones((1, M))
    for code in (-1, -2):
        splits = np.append(np.full(n, code), -1)
        proof = Certificate(splits, np.ones((1, 1)), one, one * 0)
        tracemalloc.start()
        with pytest.raises(CertificateError, match=r"weights|trees end"):
            verify_certificate(net, [1.0], 1, proof, radius=0.5)
        assert tracemalloc.get_traced_memory()[1] < 40e6  # 8 bytes a node, some times over
        tracemalloc.stop()


@MODES
@pytest.mark.parametrize("scale", [2.0**-600, 2.0**-200, 2.0**200, 2.0**600])
def test_hostile_scales_of_parabolas_neither_overflow_nor_prove_too_much(
    scale: float, exact: bool
) -> None:
    # PAIR with (A, c) times a scale, so that lambda scales too; x and 1/W would scale kappa.
    net = TwoLayerReLU(np.eye(2), None, [[-scale, -scale]], [2 * scale])
    leaf = pair_leaf(ball=scale / 2)
    r = math.sqrt(2)
    assert passes(net, [0.0, 0.0], 1, leaf, radius=r * (1 - 1e-12), exact=exact)
    assert not passes(net, [0.0, 0.0], 1, leaf, radius=r * (1 + 1e-12), exact=exact)
    for kappa in (1e-300, 1e300):
        assert not passes(net, [0.0, 0.0], 1, pair_leaf(kappa, scale), radius=9.0, exact=exact)
