"""Multipliers of a box's sides in the checker (E40): what they prove is true, and all that is.

Quadratics are drawn whose least value in a box is known from a quadratic program. Every change of
the source that would let the sides take too much proves something false.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest
import quadprog
from effort import share
from mutants import mutant

from refimpl import Certificate, CertificateError, TwoLayerReLU, verify_certificate
from refimpl.certificate import Cuts, floats, form, rationals, sides
from refimpl.certificate.integers import UNLIMITED
from refimpl.certificate.region import Region

GAP = 1e-6  # of a least value from 0; quadprog errs by some 1e-12, floats by less
MODES = pytest.mark.parametrize("exact", [False, True])


class Draw(NamedTuple):
    """A step with the root's quadratic Q, its cut, whether the cut holds, and the leaf likewise."""

    net: TwoLayerReLU
    region: Region
    proof: Certificate
    positive: bool
    holds: bool


def least(H: Any, u: Any, a: Any, b: Any) -> tuple[float, Any]:
    """Least value of <u, delta> + <delta, H delta> for -a <= delta <= b, and where."""
    d = len(u)
    sides = np.hstack((np.eye(d), -np.eye(d)))
    point, value, *_ = quadprog.solve_qp(2 * H, -u, sides, -np.concatenate((a, b)))
    return value, point


def draws(n: int, seed: int) -> Iterator[Draw]:
    """Networks c - sum_r |A_r| ReLU(z_r), all of whose neurons have parabolas."""
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        M, d = [(4, 6), (6, 3), (3, 3), (2, 9)][index % 4]
        x, W, height = rng.random(d), rng.normal(size=(M, d)), rng.random(M) + 0.1
        a, b = (rng.choice((0.0, 0.25, 1.0), d) * rng.random(d) for _ in range(2))
        box, R = (x - a, x + b), 1.5
        bias = -W @ (x + (rng.random(d) * (a + b) - a))  # the kinks cross the box
        z, kappa = W @ x + bias, 2.0 ** rng.integers(-2, 3, M)
        D, s = height * kappa, 1 / (4 * kappa)
        lam = 1.3 * float(np.linalg.eigvalsh((W.T * D) @ W)[-1])
        H, u = lam * np.eye(d) - (W.T * D) @ W, -2 * (D * (z + s)) @ W
        constant = -D @ np.square(z + s) - lam * R**2
        low, _ = least(H, u, a, b)
        positive, holds = bool(rng.integers(2)), bool(rng.integers(2))
        c = -(constant + low) + (GAP if positive else -GAP)
        r, side, mu = int(rng.integers(M)), int(rng.choice((-1, 1))), float(rng.random() + 0.1)
        move, _ = least(mu * H, mu * u - side * W[r], a, b)
        bound = side * (GAP * (1 if holds else -1) - move - mu * (constant + c)) + z[r]
        net = TwoLayerReLU(W, bias, -height[None], [c])
        rows = {name: np.zeros((2, M)) for name in ("tau", "nu")}
        cuts = Cuts(*(np.array([entry]) for entry in (0, r, side, bound, mu)))
        proof = Certificate(
            *(np.array([-2, -1]), np.ones((2, 1)), rows["tau"], rows["nu"]),
            *(np.tile(kappa, (2, 1)), np.full(2, lam), cuts),
        )
        region = Region(x, R, 2.0, box)
        if ((floats._ball(net, region, 1).lo < 0) & (floats._ball(net, region, 1).up > 0)).all():
            yield Draw(net, region, proof, positive, holds)


def verdicts(draw: Draw, *, exact: bool, checker: ModuleType = rationals) -> tuple[bool, bool]:
    """Whether the leaf and the cut are proved."""
    net, region, proof = draw.net, draw.region, draw.proof
    leaf = Certificate(
        np.array([-1]), *(a[:1] for a in (proof.weights, proof.tau, proof.nu)),
        proof.kappa[:1], proof.ball[:1],  # type: ignore[index]
    )  # fmt: skip
    found = []
    for each in (leaf, proof):
        reading = form.read(each, np.array([[[1]]]), net.n_hidden)
        if exact:
            rows, cuts = reading.rows([0]), None if each is leaf else reading.cuts_of([0])
            sample = checker.Sample(net, region)
            options: Any = {"strict": False, "limits": UNLIMITED}
            found.append(checker.proved(rows, cuts, sample, **options))
        else:
            found.append(bool(floats.proved(reading, net, region)[0]))
    return found[0], found[1]


@MODES
def test_e40_what_holds_in_the_box_is_proved_and_nothing_else(exact: bool) -> None:
    counts = np.zeros(4, int)
    for draw in draws(share(160), seed=0):
        assert verdicts(draw, exact=exact) == (draw.positive, draw.holds)
        counts += [draw.positive, not draw.positive, draw.holds, not draw.holds]
    assert (counts >= 5).all()


def test_e40_any_multipliers_are_sound_and_without_them_less_is_proved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost, rng = 0, np.random.default_rng(0)
    for scale in (0.0, 1.0):

        def others(*around: Any, scale: float = scale) -> Any:
            return scale * rng.normal(size=around[4].shape)

        monkeypatch.setattr(rationals, "multipliers", others)
        for draw in draws(share(80), seed=1):
            leaf, cut = verdicts(draw, exact=True)
            assert leaf <= draw.positive
            assert cut <= draw.holds
            lost += (draw.positive > leaf) + (draw.holds > cut)
    assert lost >= 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("np.maximum(push, 0) @ high + ", ""),
        (" + np.maximum(-push, 0) @ low", ""),
        (" - price\n", "\n"),
        ("_over(price, e + f)", "_over(price, e + f + 1)"),
        ("+ (push << (shift - e))", "+ 2 * (push << (shift - e))"),
        ("sides = sides + (exact.product(push", "sides = sides + 0 * (exact.product(push"),
        ("norms = norms + 2 * along", "norms = norms + along"),
        ("along = along - side *", "along = along + side *"),
        ("+ _over((push * push).sum(axis=1), 2 * e)", ""),
    ],
)
def test_each_term_of_the_sides_is_needed_in_rationals(old: str, new: str) -> None:
    changed = mutant(rationals, old, new)
    wrong = sum(
        verdicts(draw, exact=True, checker=changed) != (draw.positive, draw.holds)
        for draw in draws(48, seed=2)
    )
    assert wrong > 0


def corners(rng: np.random.Generator, a: Any, b: Any, n: int) -> Any:
    """Points (n,d) of a box, of which many lie on sides."""
    return np.where(rng.random((n, len(a))) < 0.5, -a, b) * rng.choice((1, 1, 0.5), (n, len(a)))


def broken(n: int, seed: int) -> int:
    """Points at which floats claim more of the box than is true, for any point to start from."""
    wrong = 0
    for draw in draws(n, seed):
        net, region, proof = draw.net, draw.region, draw.proof
        ball = floats._ball(net, region, 1)
        N, height = np.arange(net.n_hidden), -net.A[0]
        kappa, lam = np.asarray(proof.kappa)[0], float(np.asarray(proof.ball)[0])
        l0, l1 = float(net.c[0]), np.zeros(net.dim)
        Q = floats._Quadratic(
            *(net.W, ball, N, net.W, height, kappa, lam, l0, l1, height, 1.0, 0.0, 0.0)
        )
        bowl = floats._Bowl(Q, floats._Hessian(Q, net))
        h = lam * bowl.hessian.stiffness
        a, b = ball.region.a, ball.region.b
        slope, none = Q.start(), np.zeros((1, len(a)))
        around = net.W, height * kappa, lam, slope, none
        near = [sides.least_points(*around, part * a, part * b) for part in (0.5, 1.0)]
        points = np.vstack([corners(np.random.default_rng([seed, 1]), a, b, 12), *near])
        k = len(points)
        leaf = Cuts(*(np.full(k, v) for v in (0, 0, 0, 0.0, 1.0)))._replace(
            neuron=np.zeros(k, np.int64)
        )
        rays = bowl.rays(leaf)._replace(U=np.vstack([none, points]))
        products = bowl.products(rays)
        _, value, slope = bowl.around(leaf, rays.s, products.take(0), products.take(rays.row))
        move, square = points @ net.W.T, (points**2).sum(axis=1)
        truth = Q.values(move, points @ l1, square, np.zeros(k))
        slack = 1e-9 * (1 + np.abs(truth))  # far above rounding
        wrong += int((truth[:, None] + slack[:, None] < (value - slope**2 / (4 * h))).sum())
    return wrong


def test_e40_any_point_bounds_q_in_the_box() -> None:
    assert broken(share(80), seed=3) == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(gradients < 0)", "(gradients > 0)"),
        ("(gradients > 0)", "(gradients < 0)"),
        ("points >= b)", "points >= b / 2)"),
        ("points <= -a)", "points <= -a / 2)"),
    ],
)
def test_sides_take_no_more_than_they_hold(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(floats, "outward", mutant(sides, old, new).outward)
    assert broken(40, seed=3) > 0


# f = 1 - ReLU(x) at 0: with kappa = 1/2 and lambda = 33/64,
# Q = x^2 / 64 - x / 2 + 7/8 - 33/64 R^2. Its least value for x <= 1/2 is 161/256 - 33/64 R^2,
# which is positive below R = sqrt(161 / 132) = 1.1044; on the line it is negative at any R.
LINE = TwoLayerReLU([[1.0]], None, [[-1.0]], [1.0])


def line_leaf() -> Certificate:
    one = np.ones((1, 1))
    return Certificate(np.array([-1]), one, one, 0 * one, one / 2, np.array([33 / 64]))


@MODES
def test_e40_by_hand(exact: bool) -> None:
    for hi, R, proved in (
        (0.5, 1.104, True),
        (0.5, 1.105, False),
        (0.6, 1.1, False),
        (math.inf, 0.5, True),
        (math.inf, 1.1, False),
    ):
        options: Any = {"radius": R, "box": (-math.inf, hi), "exact": exact}
        if proved:
            verify_certificate(LINE, [0.0], 1, line_leaf(), **options)
        else:
            with pytest.raises(CertificateError, match=r"leaf 0, .*: not proved .* within the box"):
                verify_certificate(LINE, [0.0], 1, line_leaf(), **options)


def test_floats_out_of_range_give_no_multipliers() -> None:
    W, far = np.ones((1, 2)), np.full((1, 2), 1e308)
    with np.errstate(all="ignore"):
        found = sides.multipliers(W, np.zeros(1), 1e-300, far[0], far, np.ones(2), np.ones(2))
    assert np.isfinite(found).all()


def test_multipliers_are_those_of_the_least_point() -> None:
    # delta^2 - 4 delta_1 + 4 delta_2 in [-1, 1]^2 is least at (1, -1), with the gradient (-2, 2).
    V, none = np.zeros((1, 2)), np.zeros((1, 2))
    around = V, np.ones(1), 1.0, np.array([-4.0, 4.0]), none, np.ones(2), np.ones(2)
    assert sides.multipliers(*around).tolist() == [[2.0, -2.0]]
    assert Fraction(sides.least_points(*around)[0, 0]) == 1
