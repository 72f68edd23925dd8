"""Certificates of the radius (E33) against exact radii from enumeration in rational arithmetic."""

from __future__ import annotations

import ast
import math
import sys
from dataclasses import fields, replace
from fractions import Fraction
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from effort import examples, least, share
from exact_radius import constraint_rows, full_certificate, pieces, squared_radius
from floats_alone import floats_prove
from hypothesis import given
from hypothesis import strategies as st

from refimpl import GroupMax, GroupSum, TwoLayerReLU, certificate
from refimpl.certificate import (
    Certificate,
    CertificateError,
    floats,
    form,
    rationals,
    region,
    verify_certificate,
)

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
import hostile_certificates
from hostile_certificates import passes

MODES = pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
TIES = pytest.mark.parametrize("ties", ["adversarial", "robust"])


class Case(NamedTuple):
    """A network with small integers, a sample, its exact r^2 (None: inf) and a certificate."""

    net: TwoLayerReLU
    x: Any
    y: int
    options: dict[str, Any]
    squared: Fraction | None
    proof: Certificate

    @property
    def radius(self) -> float:
        return math.inf if self.squared is None else math.sqrt(self.squared)


def case(rng: np.random.Generator, ties: str, M: int | None = None) -> Case:
    M = int(rng.integers(1, 4)) if M is None else M
    d, K = int(rng.integers(1, 3)), int(rng.integers(1, 4))
    W, b, A, c = (rng.integers(-3, 4, shape) for shape in ((M, d), M, (K, M), K))
    net = TwoLayerReLU(W, b if rng.random() < 0.8 else None, A, c)
    labels = rng.permutation([1, -1, *rng.choice([-1, 1], size=max(K - 2, 0))])
    decision: Any = "sign"
    if K > 1:
        decision = ["argmax", GroupMax(labels), GroupSum(labels)][rng.integers(3)]
    y = int(rng.integers(K) if decision == "argmax" else rng.choice([-1, 1]))
    x = rng.integers(-3, 4, d).astype(float)
    parts = pieces(net, x, y, decision, ties)
    options = {"decision": decision, "ties": ties}
    return Case(net, x, y, options, squared_radius(parts), full_certificate(parts))


def cases(n: int, ties: str, seed: int, **options: Any) -> list[Case]:
    """The first n random cases with a radius above 0."""
    found: list[Case] = []
    for index in range(20 * n):
        new = case(np.random.default_rng([seed, index]), ties, **options)
        if new.squared != 0:
            found.append(new)
        if len(found) == n:
            return found
    raise AssertionError("too few cases with a positive radius")


def one_leaf(M: int, *, n_constraints: int = 1, n_leaves: int = 1) -> Certificate:
    """Leaves without splits, w = 1 and tau = 1."""
    return Certificate(
        np.full(n_leaves, -1),
        np.ones((n_leaves, n_constraints)),
        np.ones((n_leaves, M)),
        np.zeros((n_leaves, M)),
    )


# What the certificate proves


@pytest.mark.thorough
@MODES
@TIES
def test_e33_full_trees_prove_every_radius_below_the_exact_one_and_none_above(
    exact: bool, ties: str
) -> None:
    finite = 0
    for net, x, y, options, squared, proof in cases(share(40), ties, seed=1):
        if squared is None:
            for radius in (1e-3, 1e3, math.inf):
                assert passes(net, x, y, proof, radius=radius, exact=exact, **options)
            continue
        finite += 1
        r = math.sqrt(squared)
        # Multipliers rounded to floats move the proved radius by a few 1e-16 times the condition of
        # systems of at most 4 small integers: far below 1e-9.
        for factor in (1e-3, 0.5, 1 - 1e-9):
            assert passes(net, x, y, proof, radius=r * factor, exact=exact, **options)
        for factor in (1 + 1e-9, 1 + 1e-6, 2, math.inf):
            assert not passes(net, x, y, proof, radius=r * factor, exact=exact, **options)
    assert least(10) <= finite <= share(40) - least(5)


@MODES
def test_e33_the_radius_itself_fails_with_default_ties_and_passes_with_strict_ones(
    exact: bool,
) -> None:
    # f = x at x = 2: delta = -2 is adversarial, but not strictly.
    net, proof = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]]), one_leaf(2)
    below, above = math.nextafter(2, 0), math.nextafter(2, 3)
    for ties, proved in (("adversarial", [True, False, False]), ("robust", [True, True, False])):
        options = {"ties": ties, "exact": exact}
        assert [
            passes(net, [2.0], 1, proof, radius=R, **options) for R in (below, 2, above)
        ] == proved


@MODES
def test_e33_strict_radius_of_an_absolute_value_is_infinite(exact: bool) -> None:
    # f = |x|: never strictly adversarial. tau = 0 gives l = 0.
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, 1.0]])
    proof = replace(one_leaf(2), tau=np.zeros((1, 2)))
    for radius in (1e-9, 1e9, math.inf):
        assert passes(net, [1.0], 1, proof, radius=radius, ties="robust", exact=exact)
        assert not passes(net, [1.0], 1, proof, radius=radius, exact=exact)
        no_weight = replace(proof, weights=np.zeros((1, 1)))
        assert not passes(net, [1.0], 1, no_weight, radius=radius, ties="robust", exact=exact)


@MODES
def test_e33_chord_by_hand(exact: bool) -> None:
    # f = ReLU(x + 3) - ReLU(x)/2 at 0. The chord of ReLU(x) on [-R, R] is (x + R)/2, so that
    # l = 3 + delta - (delta + R)/4, at least 3 - R: positive below r = 3.
    net = TwoLayerReLU([[1.0], [1.0]], [3.0, 0.0], [[1.0, -0.5]])
    for radius in (0.1, 1.0, 3 - 1e-12):
        assert passes(net, [0.0], 1, one_leaf(2), radius=radius, exact=exact)
    for radius in (3.0, 3 + 1e-12, 10.0, math.inf):
        assert not passes(net, [0.0], 1, one_leaf(2), radius=radius, exact=exact)


@MODES
def test_e33_spec_example_of_a_hyperplane_that_is_too_far(exact: bool) -> None:
    # f = 3 ReLU(z1) - ReLU(z2) - ReLU(z3), z = delta + (3, 0, -5): r = 2.846 = 9/sqrt(10).
    net = TwoLayerReLU(np.eye(3), [3.0, 0.0, -5.0], [[3.0, -1.0, -1.0]])
    parts = pieces(net, np.zeros(3), 1)
    r = math.sqrt(8.1)
    assert squared_radius(parts) == Fraction(81, 10)
    proof = full_certificate(parts)
    assert passes(net, np.zeros(3), 1, proof, radius=r * (1 - 1e-12), exact=exact)
    assert not passes(net, np.zeros(3), 1, proof, radius=r * (1 + 1e-12), exact=exact)
    # All branching neurons on: 9/sqrt(11) for that piece alone, no bound for the others.
    assert not passes(net, np.zeros(3), 1, one_leaf(3), radius=4.221, exact=exact)


@MODES
def test_e33_without_the_ball_only_constant_neurons_have_bounds(exact: bool) -> None:
    # f = 3 - ReLU(0 x + 2) = 1 everywhere; f = 3 - ReLU(x) has the radius 3 at 0.
    constant = TwoLayerReLU([[0.0]], [2.0], [[-1.0]], [3.0])
    assert passes(constant, [0.0], 1, one_leaf(1), radius=math.inf, exact=exact)
    varying = TwoLayerReLU([[1.0]], None, [[-1.0]], [3.0])
    assert not passes(varying, [0.0], 1, one_leaf(1), radius=math.inf, exact=exact)
    # Nor may l1 be small instead of 0: f = 1 + 2^-500 ReLU(x), tau = 1.
    nearly = TwoLayerReLU([[2.0**-500]], None, [[1.0]], [1.0])
    assert not passes(nearly, [0.0], 1, one_leaf(1), radius=math.inf, exact=exact)
    flat = replace(one_leaf(1), tau=np.zeros((1, 1)))
    assert passes(nearly, [0.0], 1, flat, radius=math.inf, exact=exact)


@MODES
@TIES
@given(seed=st.integers(0, 2**32 - 1))
def test_e33_random_certificates_never_prove_more_than_the_exact_radius(
    exact: bool, ties: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    net, x, y, options, squared, proof = case(rng, ties)
    if squared is None:
        return
    n_targets = len(constraint_rows(y, options["decision"], net.n_outputs))
    guess = random_certificate(rng, net.n_hidden, n_targets, proof.weights.shape[1])
    r = math.nextafter(math.sqrt(squared), math.inf)
    for factor in (1.0, 1 + 1e-6, 1.1, math.inf):
        if r > 0:
            assert not passes(net, x, y, guess, radius=r * factor, exact=exact, **options)


def random_certificate(
    rng: np.random.Generator, M: int, n_targets: int, n_constraints: int
) -> Certificate:
    """Random trees with well-formed random multipliers: chords, stable and split neurons."""
    splits: list[int] = []
    paths: list[set[int]] = []

    def grow(path: set[int]) -> None:
        rest = sorted(set(range(M)) - path)
        if not rest or rng.random() < 0.4:
            splits.append(-1)
            paths.append(path)
            return
        r = int(rng.choice(rest))
        splits.append(r)
        grow(path | {r})
        grow(path | {r})

    for _ in range(n_targets):
        grow(set())
    n = len(paths)
    on_path = np.array([[r in path for r in range(M)] for path in paths])
    return Certificate(
        np.array(splits),
        rng.integers(0, 3, (n, n_constraints)).astype(float),
        rng.choice([0.0, 0.5, 1.0], (n, M)),
        rng.integers(0, 3, (n, M)) * on_path * 0.5,
    )


@TIES
def test_e33_some_trees_with_chords_and_stable_neurons_prove_a_radius(ties: str) -> None:
    proved = 0
    for seed, (net, x, y, options, _, proof) in enumerate(cases(40, ties, seed=2, M=2)):
        rng = np.random.default_rng(seed)
        n_targets = len(constraint_rows(y, options["decision"], net.n_outputs))
        guesses = [random_certificate(rng, 2, n_targets, proof.weights.shape[1]) for _ in range(5)]
        unsplit = [guess for guess in guesses if len(guess.weights) < 4 * n_targets]
        proved += any(passes(net, x, y, guess, radius=1e-3, **options) for guess in unsplit)
    assert proved >= 5


# Both arithmetics


@examples(100)
@given(seed=st.integers(0, 2**32 - 1), ties=st.sampled_from(["adversarial", "robust"]))
def test_floats_alone_never_prove_what_exact_arithmetic_refuses(seed: int, ties: str) -> None:
    rng = np.random.default_rng(seed)
    net, x, y, options, squared, proof = case(rng, ties)
    if squared == 0:
        return
    if rng.random() < 0.5:  # near the boundary: anything that is a little off
        proof = hostile_certificates.altered(proof, rng)
    r = 1.0 if squared is None else math.sqrt(squared)
    radii = [r * (1 + k * 10.0**-e) for k in (-1, 1) for e in (1, 9, 12, 13, 14, 15, 16)]
    for R in (R for R in radii if floats_prove(net, x, y, proof, radius=R, **options)):
        assert passes(net, x, y, proof, radius=R, exact=True, **options)
        assert passes(net, x, y, proof, radius=R, **options)


def test_floats_prove_ordinary_certificates_without_exact_arithmetic(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rationals, "Sample", None)
    for net, x, y, options, squared, proof in cases(20, "adversarial", seed=3):
        if squared is not None:
            r = math.sqrt(squared)
            verify_certificate(net, x, y, proof, radius=r * (1 - 1e-9), **options)


def test_floats_take_leaves_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    net, x, y, options, squared, proof = cases(1, "adversarial", seed=4, M=3)[0]
    monkeypatch.setattr(floats, "_ROWS_AT_ONCE", 3)
    radius = 0.999 * (1.0 if squared is None else math.sqrt(squared))
    verify_certificate(net, x, y, proof, radius=radius, **options)
    monkeypatch.setattr(rationals, "Sample", None)
    verify_certificate(net, x, y, proof, radius=radius, **options)


@MODES
def test_weights_that_lie_about_their_length_prove_nothing(exact: bool) -> None:
    class Short(np.ndarray):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return 1

    net = TwoLayerReLU([[1.0]], None, [[1.0]], [-5.0])  # f(2) = -3
    proof = Certificate(
        splits=np.array([-2, -1]),
        weights=np.ones((2, 1)).view(Short),
        tau=np.ones((2, 1)),
        nu=np.zeros((2, 1)),
        kappa=np.array([[0.0], [1.0]]),
        ball=np.ones(2),
    )
    assert not passes(net, [2.0], 1, proof, radius=100.0, exact=exact)


ONE, NONE = np.ones((1, 1)), np.zeros((1, 1))
LEAF = Certificate(np.array([-1]), ONE, NONE, NONE)
BOWL = replace(LEAF, kappa=ONE, ball=np.array([3.0]))
TWO_ROWS = np.ones((2, 1)), 0 * np.ones((2, 1)), 0 * np.ones((2, 1))
STEP = Certificate(np.array([-2, -1]), *TWO_ROWS, np.ones((2, 1)), np.array([3.0, 3.0]))


@MODES
@pytest.mark.parametrize(
    ("a", "c", "proof", "region", "proved"),
    [
        (-1.0, 3.0, LEAF, {"radius": 1e140, "box": (0, 1)}, True),
        (1.0, 1e300, replace(LEAF, weights=1e300 * ONE, tau=ONE),
         {"radius": math.inf, "box": (-math.inf, 1)}, False),
        (-1e200, 1e300, replace(BOWL, weights=1e100 * ONE, kappa=1e100 * ONE),
         {"radius": 0.5, "box": (-1, 1)}, False),
        (-1.0, 1e300, BOWL, {"radius": 1e160}, False),
        (-1.0, 3.0, STEP, {"radius": 0.5, "box": (-1, 1)}, True),
    ],
)  # fmt: skip
def test_the_ends_of_the_range_are_proved_or_refused(
    a: float, c: float, proof: Certificate, region: dict[str, Any], proved: bool, exact: bool
) -> None:
    net = TwoLayerReLU([[1.0]], None, [[a]], [c])  # f(x) = a ReLU(x) + c
    assert passes(net, [0.0], 1, proof, exact=exact, **region) == proved


@MODES
def test_hostile_scales_neither_overflow_nor_prove_too_much(exact: bool) -> None:
    # f = s x with s from the ends of float64's range, or x there: r = |x| all the same.
    for scale in (2.0**-1074, 2.0**-600, 2.0**600, 2.0**1023):
        for x in (2.0**-1000, 1.0, 2.0**1000):
            net = TwoLayerReLU([[scale], [-scale]], None, [[1.0, -1.0]])
            assert passes(net, [x], 1, one_leaf(2), radius=math.nextafter(x, 0), exact=exact)
            assert not passes(net, [x], 1, one_leaf(2), radius=x, exact=exact)
            assert not passes(net, [x], 1, one_leaf(2), radius=1.7e308, exact=exact)


@MODES
def test_bounds_that_are_too_far_apart_to_subtract_prove_no_more(exact: bool) -> None:
    # f = 2^1022 - ReLU(x) at 0: r = 2^1022, and the bounds -+ 2^1023 differ by more than floats go.
    net = TwoLayerReLU([[1.0]], None, [[-1.0]], [2.0**1022])
    for radius, proved in ((2.0**1021, True), (2.0**1022, False), (2.0**1023, False)):
        assert passes(net, [0.0], 1, one_leaf(1), radius=radius, exact=exact) == proved
    assert not passes(net, [0.0], 1, one_leaf(1), radius=1.7e308, exact=exact)


@pytest.mark.thorough
@pytest.mark.slow
def test_hostile_networks_never_prove_a_radius_that_enumeration_refutes() -> None:
    tally = hostile_certificates.run(range(share(80)), seed=1)
    assert tally.refuted == 0
    assert tally.trials > least(200)
    assert tally.proved > least(80)


@pytest.mark.slow
def test_hostile_networks_would_expose_a_missing_error_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(floats, "UNIT", 0.0)
    assert hostile_certificates.run(range(40), seed=0).refuted > 0


# The bound on rounding errors: certificates of falsehoods that rounding errors would prove if one
# term of the bound were missing. Where an error depends on the order of a sum, which is up to the
# BLAS, the terms come in several orders.


@pytest.mark.parametrize("where", ["first layer", "second layer", "outputs"])
@pytest.mark.parametrize(
    ("ones", "n"), [(1, 2**12), pytest.param(32, 2**18, marks=pytest.mark.slow)]
)
def test_e33_errors_that_grow_with_the_number_of_terms_prove_nothing(
    where: str, ones: int, n: int
) -> None:
    # f = C - s x at x = 2 has r = C/s - 2: below 1 for the largest float C < 3 s. In the sum
    # s = 1 + ... + 1 + 2^-54 + ... + 2^-54 of n terms the tiny ones are lost, one by one.
    terms = np.full(n, 2.0**-54)
    terms[:ones] = 1.0
    s = ones + Fraction(n - ones, 2**54)
    C = math.nextafter(float(3 * s), 0)
    assert Fraction(C) < 3 * s

    def proved(C: float) -> bool:
        if where == "outputs":
            A, c = np.append(terms, 0.0)[:, None], np.append(np.zeros(n), C)
            net, decision = TwoLayerReLU([[1.0]], None, A, c), GroupSum(np.append(-np.ones(n), 1))
            return floats_prove(net, [2.0], 1, one_leaf(1), radius=1.0, decision=decision)
        W, A = (terms, np.ones(n)) if where == "first layer" else (np.ones(n), terms)
        net = TwoLayerReLU(W[:, None], None, -A[None], [C])
        return floats_prove(net, [2.0], 1, one_leaf(n), radius=1.0)

    assert not proved(C)
    assert proved(C * (1 + 1e-7))


def test_e33_inputs_may_be_added_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # f = C - <w, x> < 0 with the largest float C below s = <w, x>. NumPy adds up in pairs, which
    # loses little, but does not say so: the bound is that of the worst order.
    root = 2**11
    w = np.full((root, root), 2.0**-54)
    w[:, 0] = 1.0
    s = root + Fraction(root * (root - 1), 2**54)
    C = math.nextafter(float(s), 0)
    assert Fraction(C) < s

    def one_by_one(rows: Any, x: Any) -> Any:
        products = (rows * x).reshape(*rows.shape[:-1], root, root)
        return np.cumsum(np.cumsum(products, axis=-1)[..., -1], axis=-1)[..., -1]

    for module in (floats, region):
        monkeypatch.setattr(module, "dots", one_by_one)
    x = np.ones(w.size)
    for level, proved in ((C, False), (C * (1 + 1e-10), True)):
        net = TwoLayerReLU(w.reshape(1, -1), None, [[-1.0]], [level])
        assert floats_prove(net, x, 1, one_leaf(1), radius=1e-12) == proved


# Four floats whose sum is 0, and comes out as 2 where -2^53 - 1 - 1 is rounded to -2^53.
CANCELLING = [np.array(terms) for terms in permutations([-(2.0**53), -1.0, -1.0, 2.0**53 + 2])]


@MODES
def test_e33_outputs_that_cancel_prove_nothing(exact: bool) -> None:
    # f = sum_k labels_k c_k = 0: x itself is adversarial.
    for terms in CANCELLING:
        net = TwoLayerReLU([[1.0]], None, np.zeros((4, 1)), np.abs(terms))
        signs = GroupSum(np.sign(terms))
        assert not passes(net, [0.0], 1, one_leaf(1), radius=1e-3, decision=signs, exact=exact)


@MODES
def test_e33_biases_that_cancel_prove_nothing(exact: bool) -> None:
    # f = sum_r A_r ReLU(b_r) = 0 with A_r = +-1: x itself is adversarial.
    for terms in CANCELLING:
        net = TwoLayerReLU(np.zeros((4, 1)), np.abs(terms), np.sign(terms)[None])
        assert not passes(net, [0.0], 1, one_leaf(4), radius=1e-3, exact=exact)


@MODES
@pytest.mark.parametrize("biased", [False, True])
def test_e33_inputs_that_cancel_prove_no_leaf_empty(exact: bool, biased: bool) -> None:
    # f = 1 - 100 ReLU(z), z = sum_j delta_j: r = 0.01/sqrt(d). If z were -2 at x, as it comes out,
    # w = 0 and nu = 1 would prove that no point near x has z >= 0; elsewhere f = 1.
    one = np.ones((2, 1))
    proof = Certificate(np.array([0, -1, -1]), one, one, 0 * one)
    empty = replace(proof, weights=np.array([[0.0], [1.0]]), nu=np.array([[1.0], [0.0]]))
    for terms in CANCELLING:
        last = biased & (terms > 0)
        # With zeros the sums of about sqrt(d) products, which are added up, have three of them.
        x, b = np.append(-terms[~last], np.zeros(5)), -terms[last].sum()
        net = TwoLayerReLU(np.ones((1, len(x))), [b], [[-100.0]], [1.0])
        r = 0.01 / math.sqrt(len(x))
        assert passes(net, x, 1, proof, radius=0.9 * r, exact=exact)
        for wrong in (proof, empty):
            assert not passes(net, x, 1, wrong, radius=1.1 * r, exact=exact)


@MODES
def test_e33_slopes_that_cancel_prove_nothing_far_away(exact: bool) -> None:
    # f = 1 - e ReLU(-e x) + ReLU(-(1 + 2 u) x) at 0 with e = 1 + u, u = 2^-52. For x < 0 it is
    # 1 + u^2 x, so that r = 2^104; but e^2 is rounded to 1 + 2 u. For x >= 0 it is 1.
    e = 1 + 2.0**-52
    for order in ([0, 1], [1, 0]):
        W, A = np.array([[-e], [-e * e]])[order], np.array([[-e, 1.0]])[:, order]
        net = TwoLayerReLU(W, None, A, [1.0])
        splits, tau = np.array([order.index(0), -1, -1]), np.array([[1.0, 1.0], [0.0, 0.0]])
        proof = Certificate(splits, np.ones((2, 1)), tau, np.zeros((2, 2)))
        for radius, proved in ((math.nextafter(2.0**104, 0), True), (2.0**104, False)):
            assert passes(net, [0.0], 1, proof, radius=radius, exact=exact) == proved
        assert not passes(net, [0.0], 1, proof, radius=2.0**105, exact=exact)


@MODES
def test_e33_the_slope_of_a_chord_is_rounded_up(exact: bool) -> None:
    # f = 2 - ReLU(x - 1) at 0: r = 3. The chord of ReLU(z) on [-4, 2] has the slope 1/3, which no
    # binary number is, and 2 - (z + 4)/3 is 0 at z = 2.
    net = TwoLayerReLU([[1.0]], [-1.0], [[-1.0]], [2.0])
    assert passes(net, [0.0], 1, one_leaf(1), radius=3 * (1 - 1e-15), exact=exact)
    assert not passes(net, [0.0], 1, one_leaf(1), radius=3.0, exact=exact)


@MODES
def test_e33_the_norm_of_a_row_is_rounded_up(exact: bool) -> None:
    # f = 2^-200 - ReLU(delta_1 + delta_2 - p), p the square root of 2 cut after 150 bits: r < 1,
    # since delta_1 + delta_2 = sqrt(2) on the unit ball. Were that cut after fewer bits, z < 0 on
    # the ball, and f = 2^-200. Three floats hold p = -<w, x> - b.
    p = Fraction(math.isqrt(2 << 300), 1 << 150)
    assert (p + Fraction(1, 1 << 200)) ** 2 < 2
    high = float(p)
    middle = float(p - Fraction(high))
    low = float(p - Fraction(high) - Fraction(middle))
    assert Fraction(high) + Fraction(middle) + Fraction(low) == p
    net = TwoLayerReLU([[1.0, 1.0]], [-high], [[-1.0]], [2.0**-200])
    x = [-middle, -low]
    assert passes(net, x, 1, one_leaf(1), radius=1 - 2.0**-53, exact=exact)
    assert not passes(net, x, 1, one_leaf(1), radius=1.0, exact=exact)


@pytest.mark.slow
@pytest.mark.parametrize(("M", "d", "K"), [(30, 1000, 10), (200, 500, 3)])
def test_the_largest_radius_that_floats_prove_of_a_larger_network_is_proved_exactly(
    M: int, d: int, K: int
) -> None:
    rng = np.random.default_rng([M, d, K])
    W, b, A, c = (rng.normal(size=shape) for shape in ((M, d), M, (K, M), K))
    net = TwoLayerReLU(W, b, A, c)
    labels = [1, 1, -1, *rng.choice([-1, 1], K - 3)]
    for decision in ("argmax", GroupMax(labels), GroupSum(labels)):
        x = rng.normal(size=d)
        y = int(net.predict(x[None], decision)[0])
        sample = net, x, y, split_once(rng, net, x, constraint_rows(y, decision, K))
        low, high = 1e-9, 1e9
        assert floats_prove(*sample, radius=low, decision=decision)
        while (middle := (low + high) / 2) not in (low, high):
            proved = floats_prove(*sample, radius=middle, decision=decision)
            low, high = (middle, high) if proved else (low, middle)
        assert passes(*sample, radius=low, decision=decision, exact=True)
        assert not passes(*sample, radius=low * (1 + 1e-6), decision=decision, exact=True)


def split_once(
    rng: np.random.Generator, net: TwoLayerReLU, x: Any, targets: list[list[list[int]]]
) -> Certificate:
    """A certificate that proves a small radius, each target split at one neuron."""
    z = net.W @ x + net.bias
    g = np.array(targets) @ (net.A @ np.maximum(z, 0) + net.c)
    r = rng.integers(len(z), size=len(g))
    n = 2 * len(g)
    nu = np.zeros((n, len(z)))
    nu[np.arange(n), np.repeat(r, 2)] = rng.random(n) * (np.outer(z[r], [1, -1]).ravel() < 0)
    return Certificate(
        splits=np.stack([r, np.full(len(r), -1), np.full(len(r), -1)], axis=1).ravel(),
        weights=np.repeat((g > 0) * rng.random(g.shape), 2, axis=0),
        tau=np.tile((z > 0) * 1.0, (n, 1)),
        nu=nu,
    )


# What is refused


@pytest.mark.parametrize("exact", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_e33_altering_any_number_never_proves_more_than_the_exact_radius(exact: bool) -> None:
    finite = [one for one in cases(12, "adversarial", seed=5, M=2) if one.squared is not None]
    for net, x, y, options, squared, proof in finite[:3]:
        radius = math.nextafter(math.sqrt(squared or 0), math.inf)
        for field in fields(Certificate):
            array = getattr(proof, field.name)
            if array is None:  # no parabolas and no cuts
                continue
            for index in np.ndindex(array.shape):
                old = array[index]
                scaled = [old * factor for factor in (-1, 0, 0.5, 1 - 1e-15, 1 + 1e-15, 2)]
                for new in [-2, 1] if field.name == "splits" else [*scaled, old + 1, math.nan]:
                    changed = array.copy()
                    changed[index] = new
                    mutant = replace(proof, **{field.name: changed})
                    assert not passes(net, x, y, mutant, radius=radius, exact=exact, **options)


@MODES
def test_e33_a_tree_that_lost_doubled_or_swapped_a_part_is_refused(exact: bool) -> None:
    # f = ReLU(x) - 2 ReLU(-x) + 1 at x = 1: adversarial from x = -1/2, r = 3/2.
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -2.0]], [1.0])
    parts = pieces(net, [1.0], 1)
    assert squared_radius(parts) == Fraction(9, 4)
    proof = full_certificate(parts)
    options = {"radius": 1.5 - 1e-12, "exact": exact}
    assert passes(net, [1.0], 1, proof, **options)
    # splits: 0, 1, leaf, leaf, 1, leaf, leaf
    for keep in ([1, 2, 3], [0, 1, 3], [0, 1, 2, 2, 3], [0, 1, 2, 3, 3]):
        rows = {name: getattr(proof, name)[keep] for name in ("weights", "tau", "nu")}
        assert not passes(net, [1.0], 1, replace(proof, **rows), **options)
        splits = np.delete(proof.splits, 3) if len(keep) < 4 else np.insert(proof.splits, 3, -1)
        assert not passes(net, [1.0], 1, replace(proof, splits=splits, **rows), **options)
    swapped = {name: getattr(proof, name)[[2, 3, 0, 1]] for name in ("weights", "tau", "nu")}
    assert not passes(net, [1.0], 1, replace(proof, **swapped), **options)


@MODES
def test_e33_a_certificate_of_something_else_is_refused(exact: bool) -> None:
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])
    options = {"radius": 1.9, "exact": exact}
    assert passes(net, [2.0], 1, one_leaf(2), **options)
    assert not passes(net, [1.0], 1, one_leaf(2), **options)  # another sample, r = 1
    assert not passes(net, [2.0], -1, one_leaf(2), **options)  # another label, r = 0
    tilted = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]], [-1.0])
    assert not passes(tilted, [2.0], 1, one_leaf(2), **options)  # another network, r = 1
    # F = (ReLU(x), 0, 1) at x = 2: group_sum with labels (1, 1, -1) has r = 1, so has group_max;
    # argmax between 0 and 1 alone would have 2.
    three = TwoLayerReLU([[1.0]], None, [[1.0], [0.0], [0.0]], [0.0, 0.0, 1.0])
    both = one_leaf(1, n_leaves=2)
    options = {"radius": 0.99, "exact": exact}
    assert passes(three, [2.0], 0, both, decision="argmax", **options)
    assert passes(three, [2.0], 1, one_leaf(1), decision=GroupSum([1, 1, -1]), **options)
    for decision in (GroupSum([1, -1, -1]), GroupMax([1, 1, -1]), GroupMax([1, -1, -1])):
        assert passes(three, [2.0], 1, both, decision=decision, **options) == (
            decision == GroupMax([1, -1, -1])
        )
    assert not passes(three, [2.0], 1, both, decision="argmax", **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"splits": [0, -1]}, "splits: the tree of target 0 is not complete"),
        ({"splits": [0, -1, -1, -1]}, "splits: the trees end before node 3"),
        ({"splits": [0, 0, -1, -1, -1]}, "has not split, got 0 at node 1"),
        ({"splits": [2, -1, -1]}, "-1 or a neuron in 0..1 .* got 2 at node 0"),
        ({"splits": [-3, -1, -1]}, "got -3 at node 0"),
        ({"splits": [0.5, -1, -1]}, "got 0.5 at node 0"),
        ({"splits": []}, "splits: expected real numbers of shape"),
        ({"splits": [[0, -1, -1]]}, "splits: expected real numbers of shape"),
        ({"splits": ["a"]}, "splits: expected an array of real numbers"),
        ({"weights": np.ones((1, 1))}, "weights: expected real numbers of shape"),
        ({"weights": np.ones((2, 2))}, "weights: expected real numbers of shape"),
        ({"weights": [[1.0], [-1.0]]}, r"target 0, leaf 1, path \[0 off\]: weights: .*at least 0"),
        ({"weights": [[1.0], [math.nan]]}, "weights: expected finite numbers"),
        ({"weights": [[1.0], [math.inf]]}, "weights: expected finite numbers"),
        ({"tau": [[1.0, 1.0], [0.0, 1.0 + 1e-15]]}, r"leaf 1, .*: tau: .* in \[0, 1\]"),
        ({"tau": [[-1e-300, 1.0], [0.0, 1.0]]}, r"leaf 0, path \[0 on\]: tau"),
        ({"tau": [[1.0], [1.0]]}, "tau: expected real numbers of shape"),
        ({"nu": [[0.0, 1e-300], [0.0, 0.0]]}, "leaf 0, .*: nu: .* 0 off the path"),
        ({"nu": [[0.0, 0.0], [-1e-300, 0.0]]}, "leaf 1, .*: nu: .*at least 0"),
        ({"nu": None}, "nu: expected an array of real numbers"),
    ],
)
@MODES
def test_malformed_certificates_are_refused_by_name(
    changes: dict[str, Any], message: str, exact: bool
) -> None:
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])
    zeros = np.zeros((2, 2))
    proof = Certificate(np.array([0, -1, -1]), np.ones((2, 1)), np.ones((2, 2)), zeros)
    with pytest.raises(CertificateError, match=message):
        verify_certificate(net, [2.0], 1, replace(proof, **changes), radius=1.0, exact=exact)


@MODES
def test_an_unproved_leaf_is_named_with_its_target_and_path(exact: bool) -> None:
    # F = (ReLU(x), 0, 3/2) at x = 2: class 1 (target 0) is 2 away, class 2 (target 1) only 1/2.
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[1, 0], [0, 0], [0, 0]], [0.0, 0.0, 1.5])
    splits = np.array([-1, 1, -1, 0, -1, -1])
    proof = replace(one_leaf(2, n_leaves=4), splits=splits)
    with pytest.raises(CertificateError, match=r"^target 1, leaf 1, path \[1 on\]: not proved for"):
        verify_certificate(net, [2.0], 0, proof, radius=0.6, decision="argmax", exact=exact)


@pytest.mark.parametrize("radius", [0.0, -0.0, -1.0, math.nan, -math.inf, [1.0], "1", None])
def test_a_radius_that_is_no_positive_number_is_refused(radius: Any) -> None:
    net = TwoLayerReLU([[1.0]], None, [[1.0]])
    with pytest.raises(CertificateError, match="radius: expected"):
        verify_certificate(net, [2.0], 1, one_leaf(1), radius=radius)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": [[1.0], [2.0]]}, "x: expected"),
        ({"net": [[1.0]]}, "net: expected a TwoLayerReLU, got list"),
        ({"x": [1.0, 2.0]}, "x: expected"),
        ({"x": [math.nan]}, "x: expected finite"),
        ({"y": 0}, "y: expected labels"),
        ({"y": [1, 1]}, "y: expected"),
        ({"ties": "none"}, "ties: expected"),
        ({"decision": "argmax"}, "decision: expected"),
        ({"certificate": None}, "certificate: expected a Certificate, got NoneType"),
    ],
)
def test_other_bad_arguments_raise(changes: dict[str, Any], message: str) -> None:
    net = TwoLayerReLU([[1.0]], None, [[1.0]])
    good: Any = {"net": net, "x": [2.0], "y": 1, "certificate": one_leaf(1), "radius": 1.0}
    verify_certificate(**good)
    verify_certificate(**good | {"x": [[2.0]], "y": [1]})
    with pytest.raises(ValueError, match=message):
        verify_certificate(**good | changes)


# Independence


def test_e30_targets_stand_in_the_order_of_the_format() -> None:
    def rows(y: int, decision: Any, K: int) -> Any:
        return form.targets(y, decision, K).tolist()

    assert rows(-1, "sign", 1) == [[[-1]]]
    assert rows(1, "argmax", 3) == [[[-1, 1, 0]], [[0, 1, -1]]]
    assert rows(-1, GroupSum([1, 1, -1]), 3) == [[[-1, -1, 1]]]
    assert rows(1, GroupMax([1, -1, 1]), 3) == [[[1, -1, 0], [0, -1, 1]]]
    assert rows(-1, GroupMax([1, -1, 1]), 3) == [[[-1, 1, 0]], [[0, 1, -1]]]


def test_the_checker_imports_nothing_of_the_solver_directly_or_indirectly() -> None:
    found: set[str] = set()
    pending = {"refimpl.certificate"}
    while pending:
        module = pending.pop()
        found.add(module)
        pending |= imported(module) - found
    here = ("_arrays", "_validation", "certificate", "decisions", "distribution", "network")
    below = ("_files", "_repr")
    inside = (
        "fixed",
        "floats",
        "form",
        "integers",
        "minorant",
        "rationals",
        "region",
        "sides",
        "verify",
    )
    assert found == {f"refimpl.{name}" for name in here + below} | {
        f"refimpl.certificate.{name}" for name in inside
    }


def source(module: str) -> Path | None:
    """The file of a module of the package, or None if it is no module."""
    base = Path(certificate.__file__).parents[2] / module.replace(".", "/")
    files = (base.with_suffix(".py"), base / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def imported(module: str) -> set[str]:
    """Modules of the package that a module imports anywhere in its code."""
    file = source(module)
    assert file is not None
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            names |= {f"{node.module}", *(f"{node.module}.{alias.name}" for alias in node.names)}
    assert "importlib" not in {name.split(".")[0] for name in names}
    return {name for name in names if name.startswith("refimpl.") and source(name)}
