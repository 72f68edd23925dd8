"""Exact robust radius (E29 to E32): bounds, points, options, symmetries, certificates."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import pickle
import signal
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from fractions import Fraction
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import brute_force
import numpy as np
import pytest
from effort import least, share
from scipy.stats import ortho_group
from tolerances import FORMULA, RADIUS, gamma

from refimpl import (
    ClusterDistribution,
    GroupMax,
    GroupSum,
    RobustRadius,
    TwoLayerReLU,
    closed_form_direction,
    decisions,
    linear_region_attack,
    pgd_attack,
    robust_radius,
    smallest_step,
    theory,
    verify_certificate,
)
from refimpl.radius.search import Search

TIES = pytest.mark.parametrize("ties", ["adversarial", "robust"])
ROBUST_TIES_SLOW = pytest.mark.parametrize(
    "ties", ["adversarial", pytest.param("robust", marks=pytest.mark.slow)]
)


class Case(NamedTuple):
    """A network, its samples, and a decision that gets most of them right."""

    net: TwoLayerReLU
    x: Any
    y: Any
    decision: Any

    def radius(self, **options: Any) -> RobustRadius:
        return robust_radius(self.net, self.x, self.y, decision=self.decision, **options)


def case(name: str, *, M: int = 8, d: int = 5, n: int = 12, seed: int = 0) -> Case:
    """A Gaussian network for a decision; the last sample has a wrong label."""
    rng = np.random.default_rng([seed, M, d])
    K = 1 if name == "sign" else 4
    W, b, A, c = (rng.standard_normal(shape) for shape in ((M, d), M, (K, M), K))
    net, x = TwoLayerReLU(W, b, A, c), rng.standard_normal((n, d))
    labels = [1, -1, 1, -1]
    decision = {"group_max": GroupMax(labels), "group_sum": GroupSum(labels)}.get(name, name)
    y = net.predict(x, decision)
    y[-1] = (y[-1] + 1) % K if decision == "argmax" else -y[-1]
    return Case(net, x, y, decision)


NAMES = ("sign", "argmax", "group_max", "group_sum")
DECISIONS = pytest.mark.parametrize("name", NAMES)


# The point and the bounds


@TIES
@DECISIONS
def test_e32_the_point_is_adversarial_and_upper_is_its_norm(name: str, ties: str) -> None:
    for M, d in ((3, 5), (8, 5), (14, 3)):
        net, x, y, decision = case(name, M=M, d=d, n=6)
        found = robust_radius(net, x, y, decision=decision, ties=ties)
        assert (found.lower <= found.upper).all()
        points = x + found.perturbation
        assert decisions.adversarial(net.outputs(points), y, decision, ties).all()
        rows = np.concatenate([net.outputs(point[None]) for point in points])
        assert decisions.adversarial(rows, y, decision, ties).all()
        norm = np.linalg.norm(found.perturbation, axis=1)
        np.testing.assert_allclose(found.upper, norm, rtol=gamma(16 * (d + 20)))
        for row, upper in zip(found.perturbation, found.upper, strict=True):
            assert sum(Fraction(value) ** 2 for value in row) <= Fraction(upper) ** 2


@pytest.mark.thorough
@DECISIONS
def test_e29_no_attack_is_nearer_than_lower(name: str) -> None:
    net, x, y, decision = case(name, M=10, d=4, n=6)
    lower = robust_radius(net, x, y, decision=decision).lower
    rng = np.random.default_rng(1)
    for _ in range(share(200)):
        u = rng.standard_normal(x.shape)
        t = smallest_step(net, x, y, u, decision=decision)
        assert (t >= lower * (1 - gamma(100))).all()
    for factor in (0.9, 0.999):
        x_adv = pgd_attack(net, x, y, epsilon=lower * factor, decision=decision, restarts=5, rng=2)
        flipped = decisions.adversarial(net.outputs(x_adv), y, decision, "adversarial")
        assert np.array_equal(flipped, lower == 0)


def test_e29_no_gradient_step_is_nearer_than_lower() -> None:
    net, x, y, decision = case("sign", n=40)
    lower = robust_radius(net, x, y).lower
    x_adv = linear_region_attack(net, x, y)
    flipped = decisions.adversarial(net.outputs(x_adv), y, decision, "adversarial")
    assert flipped.sum() > 5
    norm = np.linalg.norm(x_adv - x, axis=1)
    assert (norm >= lower * (1 - RADIUS))[flipped].all()


def test_e32_pgd_reaches_just_beyond_the_radius() -> None:
    net, x, y, decision = case("sign", M=4, d=3, n=30)
    upper = robust_radius(net, x, y).upper
    x_adv = pgd_attack(net, x, y, epsilon=upper * 1.02, steps=200, restarts=20, rng=0)
    flipped = decisions.adversarial(net.outputs(x_adv), y, decision, "adversarial")
    assert flipped.mean() > 0.8  # a radius that is too large would leave none


@TIES
@DECISIONS
def test_e29_a_misclassified_sample_has_radius_0(name: str, ties: str) -> None:
    found = case(name).radius(ties=ties)
    assert found.lower[-1] == found.upper[-1] == 0
    assert not found.perturbation[-1].any()
    assert found.status[-1] == "exact"
    assert found.nodes[-1] == 0
    assert (found.lower[:-1] > 0).all()


def test_e29_a_tie_at_the_sample_has_radius_0_by_default() -> None:
    net = TwoLayerReLU([[1.0, 0.0], [0.0, 1.0]], None, [[1.0, -1.0]])
    found = robust_radius(net, [[2.0, 2.0], [-1.0, -1.0]], [1, 1])
    assert found.upper.tolist() == [0.0, 0.0]
    found = robust_radius(net, [[2.0, 2.0], [-1.0, -1.0]], [1, 1], ties="robust")
    assert found.lower[0] == 0  # adversarial at once beyond the tie
    assert 0 < found.upper[0] < 1e-12
    assert found.upper[1] == pytest.approx(1.0, rel=RADIUS)  # -ReLU(x_2) < 0 for x_2 > 0


# By hand


def test_e31_the_trap_of_the_hyperplane_of_all_branching_neurons() -> None:
    """f = 3 ReLU(z1) - ReLU(z2) - ReLU(z3) at z = (3, 0, -5).

    S empty asks for z1 <= 0, at 3; S = {2} for 3 z1 <= z2, at 9/sqrt(10) = 2.846; S = {3} for
    3 z1 <= z3, at 14/sqrt(10); both for 3 z1 <= z2 + z3, at 14/sqrt(11) = 4.221.
    """
    Q = ortho_group.rvs(3, random_state=4)
    for W in (np.eye(3), Q):
        net = TwoLayerReLU(W, None, [[3.0, -1.0, -1.0]])
        found = robust_radius(net, [W.T @ [3.0, 0.0, -5.0]], [1])
        assert found.status.tolist() == ["exact"]
        assert found.upper[0] == pytest.approx(9 / math.sqrt(10), rel=RADIUS)
        nearest = W @ found.perturbation[0]
        np.testing.assert_allclose(nearest, [-2.7, 0.9, 0.0], atol=1e-8)


def test_e29_default_and_strict_ties_differ_where_0_is_only_touched() -> None:
    net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, 1.0]])  # f = |x|
    found = robust_radius(net, [[3.0]], [1])
    assert found.lower[0] == pytest.approx(3.0, rel=RADIUS)
    assert found.upper[0] >= 3.0
    strict = robust_radius(net, [[3.0]], [1], ties="robust")
    assert strict.status.tolist() == ["unreachable"]
    assert strict.lower.tolist() == strict.upper.tolist() == [math.inf]


@TIES
def test_e29_a_plane_that_is_crossed_has_the_same_radius_with_both_ties(ties: str) -> None:
    net = TwoLayerReLU([[3.0, 4.0], [-3.0, -4.0]], [5.0, -5.0], [[1.0, -1.0]])  # f = 3x + 4y + 5
    found = robust_radius(net, [[0.0, 0.0], [1.0, 3.0]], [1, 1], ties=ties)
    np.testing.assert_allclose(found.upper, [1.0, 4.0], rtol=RADIUS)
    assert found.status.tolist() == ["exact"] * 2


# Idealised networks

PARTITIONS = (
    [1, -1],
    [1, 1, -1, -1],
    [1, -1, -1],
    [1, 1, 1, -1, 1],
    [1, -1, -1, -1, -1, -1],
    [-1, 1, -1, 1, -1, 1],
)
PARTITION = pytest.mark.parametrize("labels", PARTITIONS)


def assert_is(found: RobustRadius, value: Any) -> None:
    """The bounds bracket the value, up to the value's own rounding, and have met."""
    assert (found.status == "exact").all(), found
    assert (found.lower <= np.multiply(value, 1 + FORMULA)).all(), (found, value)
    assert (found.upper >= np.multiply(value, 1 - FORMULA)).all(), (found, value)
    assert (found.upper - found.lower <= 1e-9 * found.upper).all()


def idealised(labels: Any) -> ClusterDistribution:
    return ClusterDistribution.orthogonal(len(labels), 48, labels=labels, rng=len(labels))


@PARTITION
def test_e19_averaging_at_centres(labels: Any) -> None:
    dist = idealised(labels)
    net = TwoLayerReLU.feature_averaging(dist)
    found = robust_radius(net, dist.features, dist.labels)
    assert_is(found, math.sqrt(48 / len(labels)))
    assert theory.feature_averaging_radius(len(labels), 48) == pytest.approx(found.upper[0], 1e-9)


@PARTITION
@pytest.mark.parametrize("bias", [0.0, 1.5, 60.0, -10.0, -25.0, -47.0])
def test_e20_decoupling_with_group_max_at_centres(labels: Any, bias: float) -> None:
    dist = idealised(labels)
    net = TwoLayerReLU.feature_decoupling(dist, bias=bias)
    found = robust_radius(net, dist.features, dist.labels, decision=GroupMax(labels))
    half, off = math.sqrt(24), math.sqrt(48) + bias / math.sqrt(48)
    assert_is(found, half if bias >= 0 else min(half, off))
    assert theory.decoupled_radius(48, bias) == pytest.approx(found.upper[0], 1e-9)


@PARTITION
@pytest.mark.parametrize("bias", [0.0, -10.0, -25.0, -47.0])
def test_e21_decoupling_with_group_sum_at_centres(labels: Any, bias: float) -> None:
    dist = idealised(labels)
    net = TwoLayerReLU.feature_decoupling(dist, bias=bias)
    found = robust_radius(net, dist.features, dist.labels, decision=GroupSum(labels))
    opposite = (dist.labels[:, None] != dist.labels).sum(axis=1)
    root = math.sqrt(48)
    expected = [
        min((root + (n - 1) * abs(bias) / root) / math.sqrt(1 + n) for n in range(k + 1))
        for k in opposite
    ]
    assert_is(found, expected)
    for k, upper in zip(opposite, found.upper, strict=True):
        assert theory.group_sum_radius(int(k), 48, bias) == pytest.approx(upper, 1e-9)


@PARTITION
def test_e22_averaging_at_any_sample(labels: Any) -> None:
    dist = idealised(labels)
    net = TwoLayerReLU.feature_averaging(dist)
    sample = dist.sample(60, rng=1)
    found = robust_radius(net, sample.x, sample.y)
    k, root = len(labels), math.sqrt(48)
    own = sample.y[:, None] == dist.labels
    inner = sample.x @ dist.features.T
    p, q = (inner * own).sum(axis=1) / root, (inner * ~own).sum(axis=1) / root
    right = p > np.maximum(q, 0) + 0.1
    expected = np.minimum(p / np.sqrt(own.sum(axis=1)), (p - q) / math.sqrt(k))
    part = RobustRadius(
        *(value[right] for value in (found.lower, found.upper, found.perturbation, found.status)),
        found.nodes[right],
        None,
    )
    assert_is(part, expected[right])
    wrong = p < np.maximum(q, 0) - 0.1
    assert not found.upper[wrong].any()
    assert right.sum() > 40


def test_e24_decoupling_with_group_max_at_noisy_samples() -> None:
    """r = (sqrt(d) + g_own - max_opp g)/sqrt(2): the nearest point where <mu_j, x> = <mu_l, x>."""
    labels = [1, 1, 1, -1, -1, -1]
    dist = idealised(labels)
    sample = dist.sample(50, rng=3)
    net = TwoLayerReLU.feature_decoupling(dist)
    found = robust_radius(net, sample.x, sample.y, decision=GroupMax(labels))
    inner = sample.x @ dist.features.T / math.sqrt(48)
    own = sample.y[:, None] == dist.labels
    first = inner[np.arange(50), sample.cluster]
    second = np.where(own, -np.inf, inner).max(axis=1)
    meet = (first + second) / 2
    inner[np.arange(50), sample.cluster] = -np.inf
    others = np.maximum(np.where(own, inner, -np.inf).max(axis=1), 0)
    holds = meet > others
    assert holds.sum() > 40
    values = [v[holds] for v in (found.lower, found.upper, found.perturbation, found.status)]
    part = RobustRadius(*values, found.nodes[holds], None)
    assert_is(part, (first - second)[holds] / math.sqrt(2))


def test_e26_closed_form_steps_are_at_or_above_the_radius() -> None:
    dist = ClusterDistribution.orthogonal(6, 60, rng=0)
    sample = dist.sample(80, rng=1)
    net = TwoLayerReLU.feature_averaging(dist)
    found = robust_radius(net, sample.x, sample.y)
    u = closed_form_direction(sample.y, dist.features, dist.labels)
    t = smallest_step(net, sample.x, sample.y, u)
    assert (t >= found.lower * (1 - FORMULA)).all()
    assert np.median(t / found.upper) < 1.01  # and near it: it is the normal of the second branch


# Symmetries


def assert_same(first: RobustRadius, second: RobustRadius, scale: float = 1.0) -> None:
    np.testing.assert_allclose(second.upper, scale * first.upper, rtol=RADIUS)
    np.testing.assert_allclose(second.lower, scale * first.lower, rtol=RADIUS)
    assert first.status.tolist() == second.status.tolist()


@DECISIONS
def test_symmetry_rotation_permutation_and_rescaling_keep_radii(name: str) -> None:
    net, x, y, decision = case(name)
    W, b, A, c = net.W, net.bias, net.A, net.c
    rng = np.random.default_rng(7)
    Q, order = ortho_group.rvs(5, random_state=1), rng.permutation(len(W))
    s = rng.uniform(0.2, 5, len(W))
    radii = robust_radius(net, x, y, decision=decision)
    for other, points, scale in (
        (TwoLayerReLU(W @ Q, b, A, c), x @ Q, 1.0),
        (TwoLayerReLU(W[order], b[order], A[:, order], c), x, 1.0),
        (TwoLayerReLU(W, b, 3.7 * A, 3.7 * c), x, 1.0),
        (TwoLayerReLU(s[:, None] * W, s * b, A / s, c), x, 1.0),
        (TwoLayerReLU(W / 2.3, b, A, c), 2.3 * x, 2.3),
    ):
        assert_same(radii, robust_radius(other, points, y, decision=decision), scale)


@DECISIONS
def test_symmetry_of_signs_and_classes(name: str) -> None:
    net, x, y, decision = case(name)
    radii = robust_radius(net, x, y, decision=decision)
    if name in ("sign", "group_sum"):
        negative = TwoLayerReLU(net.W, net.b, -net.A, -net.c)
        assert_same(radii, robust_radius(negative, x, -y, decision=decision))
    if name in ("group_max", "group_sum"):
        swapped = type(decision)(-decision.labels)
        assert_same(radii, robust_radius(net, x, -y, decision=swapped))
    if name == "argmax":
        order = np.array([2, 0, 3, 1])
        permuted = TwoLayerReLU(net.W, net.b, net.A[order], net.c[order])
        assert_same(radii, robust_radius(permuted, x, np.argsort(order)[y], decision="argmax"))


def test_e30_group_sum_is_a_scalar_network_and_two_groups_of_one_an_argmax() -> None:
    net, x, y, decision = case("group_sum")
    assert_same(
        robust_radius(net, x, y, decision=decision),
        robust_radius(net.group_sum(decision.labels), x, y),
    )
    two = TwoLayerReLU(net.W, net.b, net.A[:2], net.c[:2])
    y = two.predict(x, "argmax")
    radii = robust_radius(two, x, y, decision="argmax")
    for other in (GroupMax([1, -1]), GroupSum([1, -1])):
        assert_same(radii, robust_radius(two, x, 1 - 2 * y, decision=other))


# Options


@pytest.mark.thorough
@DECISIONS
@ROBUST_TIES_SLOW
def test_stop_at_decides_robustness_there(name: str, ties: str) -> None:
    truth = case(name, M=10).radius(ties=ties)
    finite = np.sort(truth.upper[np.isfinite(truth.upper)])
    for index in (0, len(finite) // 2, -1)[: share(3)]:
        for factor in (1 - 1e-6, 1 + 1e-6, 0.5, 3.0)[: share(8)]:
            epsilon = factor * finite[index]
            found = case(name, M=10).radius(ties=ties, stop_at=epsilon)
            assert ((found.lower > epsilon) | (found.upper <= epsilon)).all()
            assert np.array_equal(found.lower > epsilon, truth.lower > epsilon)
            assert (found.lower <= truth.upper).all()
            assert (found.upper >= truth.lower).all()


def test_stop_at_an_upper_bound_itself_is_decided() -> None:
    truth = case("group_max", M=12).radius()
    for upper in truth.upper[:4]:
        found = case("group_max", M=12).radius(stop_at=upper)
        assert np.array_equal(found.upper <= upper, truth.upper <= upper)


def test_stop_at_saves_work() -> None:
    hard = case("sign", M=40, d=15, n=4)
    full = hard.radius()
    early = hard.radius(stop_at=full.upper[full.upper > 0].min() / 100)
    assert early.nodes.sum() < full.nodes.sum()


@pytest.mark.parametrize("tol", [0.5, 0.1, 1e-3, 1e-9])
def test_tol_is_the_relative_gap(tol: float) -> None:
    truth = case("group_max", M=12).radius()
    found = case("group_max", M=12).radius(tol=tol)
    assert (found.status == "exact").all()
    assert (found.upper - found.lower <= tol * found.upper).all()
    assert (found.lower <= truth.upper).all()
    assert (found.upper >= truth.lower).all()
    assert found.nodes.sum() <= truth.nodes.sum()


def test_a_tol_of_0_leaves_samples_bounded_but_as_tight_as_rounding_allows() -> None:
    found = case("sign").radius(tol=0)
    right = found.upper > 0
    assert (found.status[right] == "bounded").any()
    assert (found.upper - found.lower <= RADIUS * found.upper).all()


@TIES
@DECISIONS
def test_max_nodes_leaves_proved_bounds(name: str, ties: str) -> None:
    hard = case(name, M=40, d=16, n=4)
    truth = hard.radius(ties=ties)
    assert (truth.status == "exact").all()
    found = hard.radius(ties=ties, max_nodes=1)
    assert "bounded" in found.status
    assert (found.nodes <= truth.nodes).all()
    assert (found.lower <= truth.upper).all()
    assert (found.upper >= truth.lower).all()


def test_time_limit_leaves_proved_bounds() -> None:
    hard = case("sign", M=40, d=16, n=4)
    truth, found = hard.radius(), hard.radius(time_limit=0)
    assert "bounded" in found.status
    assert (found.lower <= truth.upper).all()
    assert (found.upper >= truth.lower).all()
    generous = hard.radius(time_limit=1e6)
    assert generous.upper.tolist() == truth.upper.tolist()


def test_time_limit_is_one_deadline_where_the_search_runs_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No incumbent of the first search is taken: the second has what time is left."""
    deadlines: dict[Search, float] = {}
    run = Search.run

    def recorded(space: Search, start: Any) -> Any:
        deadlines[space] = space.state.deadline
        return (0.0, []) if len(deadlines) > 1 else run(space, start)

    monkeypatch.setattr(Search, "run", recorded)
    monkeypatch.setattr("refimpl.radius.answer.attain", lambda *_: None)
    touching = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, 1.0]])  # f = |x|
    robust_radius(touching, [[3.0]], [1], time_limit=100)
    assert len(deadlines) == 2
    assert len(set(deadlines.values())) == 1


class Listing(ThreadPoolExecutor):
    """An executor whose `map` sends a list, and is not content with less, as those of MPI are."""

    def map(self, fn: Any, *iterables: Any, timeout: Any = None, chunksize: int = 1) -> Any:
        assert all(isinstance(values, list) for values in iterables)
        work = pickle.dumps((fn, *(values[:] for values in iterables)))
        fn, *lists = pickle.loads(work)
        return [fn(*arguments) for arguments in zip(*lists, strict=True)]


def test_an_executor_that_wants_lists_gives_the_same_bits() -> None:
    hard = case("sign", M=24, d=12, n=14)
    with Listing(1) as executor:
        equal(hard.radius(), hard.radius(executor=executor))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_dask_client_gives_the_same_bits() -> None:
    distributed = pytest.importorskip("distributed", reason="Dask is not installed")
    hard = case("sign", M=24, d=12, n=14)
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        there = hard.radius(executor=client.get_executor())
    equal(hard.radius(), there)


def equal(first: RobustRadius, second: RobustRadius) -> None:
    for name in ("lower", "upper", "perturbation", "status", "nodes"):
        nan = name == "perturbation"  # where no adversarial point was found
        assert np.array_equal(getattr(first, name), getattr(second, name), equal_nan=nan)


def test_runs_are_repeatable() -> None:
    equal(case("argmax", M=16).radius(), case("argmax", M=16).radius())


@pytest.mark.parametrize("name", [pytest.param("sign", marks=pytest.mark.slow), "group_max"])
def test_executors_give_the_same_results_in_the_same_order(name: str) -> None:
    hard = case(name, M=24, d=12, n=14)
    alone = hard.radius(certificates=True)
    assert (alone.nodes > 0).any()  # else no search was sent to the executor
    with ThreadPoolExecutor(2) as threads:
        equal(alone, hard.radius(executor=threads, certificates=True))
    if name == "sign":
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
            found = hard.radius(executor=processes, certificates=True)
        equal(alone, found)
        assert alone.certificates is not None
        assert found.certificates is not None
        for one, other in zip(alone.certificates, found.certificates, strict=True):
            assert (one is None) == (other is None)
            if one is not None and other is not None:
                for field in ("splits", "weights", "tau", "nu"):
                    assert np.array_equal(getattr(one, field), getattr(other, field))


def test_progress_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=100)  # every look at it finds that it is time to speak
    monkeypatch.setattr("refimpl._progress.time.monotonic", lambda: next(clock))
    case("sign").radius(progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "radius 12/12" in captured.err
    case("sign").radius()
    assert capsys.readouterr().err == ""


# Certificates


def check_certificates(
    net: TwoLayerReLU, x: Any, y: Any, found: RobustRadius, decision: Any, ties: str
) -> int:
    assert found.certificates is not None
    count = 0
    for row, label, lower, proof in zip(x, y, found.lower, found.certificates, strict=True):
        if lower < math.inf:  # a proof at infinity may need numbers that floats do not hold
            assert (proof is None) == (lower == 0)
        for exact in (False, True):
            if proof is not None:
                options = {"decision": decision, "ties": ties, "exact": exact}
                verify_certificate(net, row, int(label), proof, radius=lower, **options)
                count += 1
    return count


@ROBUST_TIES_SLOW
@DECISIONS
@pytest.mark.parametrize(
    "max_nodes", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 20)), 100_000]
)
def test_e33_every_certificate_passes_at_lower(name: str, ties: str, max_nodes: int) -> None:
    count = 0
    for M, d in ((2, 4), (6, 3), (10, 6)):
        net, x, y, decision = case(name, M=M, d=d, n=5)
        options: dict[str, Any] = {"decision": decision, "ties": ties, "max_nodes": max_nodes}
        found = robust_radius(net, x, y, certificates=True, **options)
        count += check_certificates(net, x, y, found, decision, ties)
        equal(found, robust_radius(net, x, y, **options))
    assert count >= 12


def test_e33_certificates_of_many_branching_neurons_need_no_tree_over_all_of_them() -> None:
    net, x, y, decision = case("sign", M=60, d=2, n=4)
    found = robust_radius(net, x, y, decision=decision, certificates=True, max_nodes=200)
    assert check_certificates(net, x, y, found, decision, "adversarial") > 0


@pytest.mark.thorough
@pytest.mark.parametrize("kind", brute_force.KINDS)
def test_e33_certificates_pass_on_degenerate_networks(kind: str) -> None:
    count = 0
    for seed in range(share(20)):
        rng = np.random.default_rng([seed, 77])
        net, decision, x, y = brute_force.random_problem(rng, kind)
        ties = str(rng.choice(["adversarial", "robust"]))
        found = robust_radius(net, x, y, decision=decision, ties=ties, certificates=True)
        count += check_certificates(net, x, y, found, decision, ties)
    assert count >= least(12)


@TIES
def test_e33_certificates_of_unreachable_samples_hold_at_every_radius(ties: str) -> None:
    net = TwoLayerReLU([[1.0, 2.0], [0.5, -1.0]], [0.1, 0.2], [[1.0, 2.0]], [0.5])
    found = robust_radius(net, [[1.0, 1.0]], [1], ties=ties, certificates=True)
    assert found.status.tolist() == ["unreachable"]
    assert check_certificates(net, [[1.0, 1.0]], [1], found, "sign", ties) == 2


def test_certificates_are_none_unless_asked_for() -> None:
    assert case("sign").radius().certificates is None


# Shapes, types, scales


def test_one_sample_has_the_result_of_a_batch() -> None:
    net, x, y, decision = case("argmax")
    batch = robust_radius(net, x, y, decision=decision)
    for i in range(len(x)):
        one = robust_radius(net, x[i : i + 1], y[i : i + 1], decision=decision)
        assert one.upper[0] == pytest.approx(batch.upper[i], rel=RADIUS)
        assert one.perturbation.shape == (1, 5)


def test_results_have_their_shapes_and_types_and_inputs_stay() -> None:
    net, x, y, decision = case("sign")
    before = x.copy(), y.copy()
    x.flags.writeable = y.flags.writeable = False
    found = robust_radius(net, x, y, decision=decision)
    n, d = x.shape
    assert found.lower.shape == found.upper.shape == found.status.shape == found.nodes.shape == (n,)
    assert found.perturbation.shape == (n, d)
    assert found.lower.dtype == found.upper.dtype == found.perturbation.dtype == np.float64
    assert found.nodes.dtype == np.int64
    assert np.array_equal(x, before[0])
    assert np.array_equal(y, before[1])
    equal(found, robust_radius(net, x[:, ::-1].copy()[:, ::-1], y.astype(float)))
    equal(found, robust_radius(net, np.asfortranarray(x), y.tolist()))


@pytest.mark.parametrize("scale", [2.0**-17, 2.0**17, 2.0**-300, 2.0**300])
def test_scales_of_hidden_weights_by_powers_of_two_change_nothing(scale: float) -> None:
    net, x, y, _ = case("sign")
    other = TwoLayerReLU(scale * net.W, scale * net.bias, net.A / scale, net.c)
    assert_same(robust_radius(net, x, y), robust_radius(other, x, y))


@pytest.mark.parametrize("sigma", [1e-5, 1.0, 1e5])
def test_networks_at_initialisation_of_any_scale(sigma: float) -> None:
    net = TwoLayerReLU.binary(20, 3, sigma_w=sigma, sigma_b=sigma, rng=1)
    x = np.concatenate([np.random.default_rng(2).standard_normal((10, 20)), np.zeros((1, 20))])
    y = net.predict(x, "sign")
    y[y == 0] = 1
    found = robust_radius(net, x, y)
    assert (found.status == "exact").all()
    unit = TwoLayerReLU(net.W / sigma, net.bias / sigma, net.A)
    np.testing.assert_allclose(robust_radius(unit, x, y).upper, found.upper, rtol=RADIUS)
    truth = brute_force.radius(net, x[-1], int(y[-1]))
    assert found.upper[-1] == pytest.approx(truth, rel=RADIUS)


def test_without_bias_the_origin_is_a_tie() -> None:
    net = TwoLayerReLU(np.eye(2), None, [[1.0, -1.0]])
    assert robust_radius(net, [[0.0, 0.0]], [1]).upper.tolist() == [0.0]
    assert robust_radius(net, [[0.0, 0.0]], [1], ties="robust").lower.tolist() == [0.0]


# Errors


NET = TwoLayerReLU(np.eye(2), None, [[1.0, -1.0]])
TWO = TwoLayerReLU(np.eye(2), None, np.eye(2))
X, Y = [[1.0, 0.0]], [1]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((NET, [1.0, 0.0], Y), {}, r"x: expected real numbers of shape \(n, 2\)"),
        ((NET.W, X, Y), {}, "net: expected a TwoLayerReLU, got ndarray"),
        ((NET, [[1.0, 0.0, 2.0]], Y), {}, r"x: expected real numbers of shape \(n, 2\)"),
        ((NET, np.zeros((0, 2)), []), {}, r"x: expected real numbers of shape \(n, 2\)"),
        ((NET, [[math.nan, 0.0]], Y), {}, "x: expected finite numbers, got nan"),
        ((NET, [[math.inf, 0.0]], Y), {}, "x: expected finite numbers, got inf"),
        ((NET, [["a", "b"]], Y), {}, "x: expected an array of real numbers"),
        ((NET, [[1j, 0.0]], Y), {}, "x: expected an array of real numbers"),
        ((NET, X, [0]), {}, r"y: expected labels in \{-1, \+1\}, got 0"),
        ((NET, X, [1, 1]), {}, r"y: expected real numbers of shape \(1,\)"),
        ((TWO, X, [2]), {"decision": "argmax"}, "y: expected class integers from 0 to 1, got 2"),
        ((TWO, X, [0.5]), {"decision": "argmax"}, "y: expected class integers from 0 to 1"),
        ((TWO, X, [0]), {"decision": GroupMax([1, -1])}, r"y: expected labels in \{-1, \+1\}"),
        ((TWO, X, Y), {}, "decision: expected K = 1 output"),
        ((NET, X, Y), {"decision": "argmax"}, "decision: expected K > 1 outputs"),
        ((NET, X, Y), {"decision": "max"}, "decision: expected 'sign', 'argmax'"),
        ((TWO, X, Y), {"decision": GroupMax([1, -1, 1])}, "decision: expected one label for each"),
        ((NET, X, Y), {"ties": "strict"}, "ties: expected 'adversarial' or 'robust'"),
        ((NET, X, Y), {"tol": -1e-9}, "tol: expected a number of at least 0"),
        ((NET, X, Y), {"tol": math.nan}, "tol: expected finite numbers"),
        ((NET, X, Y), {"tol": "small"}, "tol: expected"),
        ((NET, X, Y), {"max_nodes": 0}, "max_nodes: expected an integer of at least 1"),
        ((NET, X, Y), {"max_nodes": 1.5}, "max_nodes: expected an integer"),
        ((NET, X, Y), {"time_limit": -1}, "time_limit: expected a number of at least 0"),
        ((NET, X, Y), {"executor": 3}, "executor: expected an Executor, .* got int"),
        ((NET, X, Y), {"time_limit": math.inf}, "time_limit: expected finite numbers"),
        ((NET, X, Y), {"stop_at": -0.5}, "stop_at: expected a number of at least 0"),
        ((NET, X, Y), {"stop_at": [1, 2]}, "stop_at: expected"),
    ],
)
def test_bad_input_has_one_clear_error(arguments: Any, options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        robust_radius(*arguments, **options)


def test_a_keyboard_interrupt_in_the_search_passes_through() -> None:
    if not hasattr(signal, "setitimer"):
        pytest.skip("no interval timers on this platform")
    hard = case("sign", M=200, d=20, n=8)

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            hard.radius()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_error_of_the_executor_passes_through() -> None:
    class Broken(Executor):
        def map(self, *args: Any, **options: Any) -> NoReturn:
            raise OSError("no workers")

    with pytest.raises(OSError, match="no workers"):
        case("sign", M=16, d=8).radius(executor=Broken())
