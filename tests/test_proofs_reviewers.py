"""What the paper's reviewers asked: each proof holds, and fails where its claim is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proofs_numeric import adversarial_training as adversarial
from proofs_numeric import bayes, linf, multiclass, participation, prove, regime
from proofs_numeric import evidence as shared
from proofs_numeric.evidence import Run, binary, problem, scaled
from proofs_numeric.supervision_alone import averaged_classes
from refimpl import ClusterDistribution, Trajectory, TwoLayerReLU
from refimpl.setting import Problem

SMALL = scaled(4, 1600, 240, 2, test=40)
TINY = scaled(4, 240, 40, 2, test=10, seeds=(0,))


@pytest.mark.parametrize("claim", ["multiclass", "participation", "bayes", "linf"])
def test_holds_in_its_hypotheses(claim):
    result = prove(claim, SMALL)
    assert result.verdict == "holds", [each for each in result.checks if not each.holds]


def _failed(result):
    assert result.verdict == "fails"
    return {check.what for check in result.checks if not check.holds}


def _with(run, net):
    return Run(run.problem, run.initial, Trajectory(net, run.path.losses, run.path.coefficients))


def test_participation_counts_by_hand():
    parts = np.array([[1.0, 1.0, 0.0, -1.0], [5.0, 0.0, 0.0, 0.0], [3.0, 1.0, 0.0, 0.0]])
    assert shared.participation(parts).tolist() == [3.0, 1.0, 1.6]  # (3 + 1)^2 / (9 + 1)


def test_participation_fails_where_averages_and_single_features_are_swapped():
    two, many = binary(SMALL, 0), shared.multiclass(SMALL, 0)
    scalar = _with(many, many.net.group_sum(many.problem.dist.labels))
    assert _failed(participation.judge([scalar], [two])) >= {
        "2 classes: count over its lower bound, smallest",
        "k classes: |count - 1|, largest",
    }


@pytest.mark.parametrize("dead", [0, 1])
def test_participation_fails_on_a_dead_neuron_of_any_run(dead):
    many = [shared.multiclass(SMALL, seed) for seed in (0, 1)]
    C = many[dead].path.coefficients.copy()
    C[:, 0] = 0.0
    path = Trajectory(many[dead].net, many[dead].path.losses, C)
    many[dead] = Run(many[dead].problem, many[dead].initial, path)
    with np.errstate(invalid="ignore"):
        failed = _failed(participation.judge([binary(SMALL, 0)], many))
    assert failed == {"k classes: |count - 1|, largest"}


def test_participation_fails_on_neurons_drawn_to_the_other_class():
    run = binary(SMALL, 0)
    path = Trajectory(run.net, run.path.losses, np.abs(run.path.coefficients))
    failed = _failed(participation.judge([Run(run.problem, run.initial, path)], []))
    assert "2 classes: count over k_own, largest" in failed


@pytest.mark.slow
def test_adversarial_training_takes_features_apart():
    result = prove("adversarial-training", SMALL)
    assert result.verdict == "holds", [each for each in result.checks if not each.holds]


def test_adversarial_training_fails_on_a_network_that_averages_all_the_same():
    plain = adversarial.descend(TINY, 0)
    runs = {("pgd", 0.0): [binary(TINY, 0)], adversarial.DECISIVE: [plain]}
    other = _with(plain, TwoLayerReLU(plain.net.W * 1.1, plain.net.b, plain.net.A))
    failed = _failed(adversarial.judge(runs, [other]))
    assert failed >= {
        "features a neuron averages at 3/4 sqrt(d/k), median",
        "median radius over sqrt(d/k), the same",
        "no budget: change of W against gradient descent",
    }


def test_adversarial_training_counts_without_neurons_that_took_nothing_up():
    run = binary(TINY, 0)
    dead = run.path.coefficients.copy()
    dead[:, 0] = 0.0
    path = Trajectory(run.net, run.path.losses, dead)
    row = adversarial._row([Run(run.problem, run.initial, path)], 1.0)
    assert row["dead"] == 0.25
    assert np.isfinite(row["features"])


def test_multiclass_fails_on_decoupled_and_on_averaged_weights_in_each_others_place():
    run = shared.multiclass(SMALL, 0)
    dist = run.problem.dist
    averaged = averaged_classes(dist, multiclass.EPSILON)
    W = np.repeat(np.eye(2), 2, axis=1)
    decoupled = TwoLayerReLU(dist.features, np.full(4, -0.29 * SMALL.d), W)
    failed = _failed(
        multiclass.judge(
            {2: [_with(run, decoupled)]},
            [_with(run, averaged)],
            dist,
            TwoLayerReLU.feature_decoupling(dist),
        )
    )
    assert failed >= {
        "2 classes: |median radius / sqrt(dK/(2k)) - 1|",
        "4 classes, across groups: |median / sqrt(d/2) - 1|",
        "averaged weights: radii at centres, formulas",
    }


def test_multiclass_fails_where_the_clusters_are_lost():
    run = shared.multiclass(SMALL, 0)
    lost = averaged_classes(run.problem.dist, -0.1)
    failed = _failed(multiclass.judge({}, [run], run.problem.dist, lost))
    assert "averaged weights: centres with a wrong cluster" in failed


def test_radii_within_and_across_are_those_of_the_outputs_by_hand():
    dist = ClusterDistribution([[2, 0, 0], [0, 2, 0], [0, 0, 4]], [1, 1, -1])
    net = TwoLayerReLU.feature_decoupling(dist)
    one = np.array([0])
    within, across = (
        multiclass.radii_of(net, dist.features[:1], one, dist, side)[0]
        for side in ("within", "across")
    )
    assert within == pytest.approx(2**0.5)  # to (1, 1, 0)
    # 2 x1 <= 4 x3 from (2, 0, 0): 4 / sqrt(4 + 16)
    assert across == pytest.approx(4 / 20**0.5)
    alone = multiclass.radii_of(net, dist.features[2:], np.array([2]), dist, "within")
    assert alone.tolist() == [np.inf]


def test_bayes_fails_on_radii_that_no_classifier_has():
    drawn = problem(TINY, 0)
    beyond = np.full((2, 4), 1.01 * np.sqrt(TINY.d / 2))
    assert _failed(bayes.judge([drawn], {"impossible": beyond})) == {
        "min(r(mu_i + xi), r(mu_l + xi)) / sqrt(d/2), all",
        "share robust at sqrt(d/2), any classifier",
    }


@pytest.mark.slow
def test_bayes_fails_where_it_is_not_the_nearest_cluster_and_not_robust():
    dist = ClusterDistribution.correlated(4, 900, cosine=0.999, rng=0)
    far = ClusterDistribution(dist.features, dist.labels)
    sample = far.sample(200, rng=1)
    failed = _failed(bayes.judge([Problem(far, sample, sample)], {"none": np.zeros((1, 4))}))
    assert "samples where Bayes is not the nearest cluster" in failed
    assert any(what.startswith("d = 900: Bayes radii below") for what in failed)


def test_bayes_odds_by_hand():
    # one cluster a class: |x - mu_-|^2 - |x - mu_+|^2 over 2 noise_std^2 = (9 - 1) / 8
    dist = ClusterDistribution([[0.0], [4.0]], [1, -1], noise_std=2.0)
    assert bayes.bayes_margin(dist, np.array([[1.0]]), np.array([1])) == pytest.approx(1.0)
    lower, upper = bayes.bayes_radii(
        Problem(dist, dist.sample(1, rng=0), replace(dist.sample(1, rng=0), x=np.array([[1.0]])))
    )
    sign = dist.sample(1, rng=0).y[0]
    assert lower[0] == pytest.approx(1.0 if sign > 0 else 0.0, abs=1e-9)  # to x = 2
    assert upper[0] == pytest.approx(lower[0], abs=1e-6)


def test_nearest_cluster_is_the_nearest():
    dist = ClusterDistribution([[3.0, 0.0], [0.0, 1.0], [-2.0, 1.0]], [1, -1, 1])
    x = np.random.default_rng(0).standard_normal((50, 2)) * 2
    distances = np.linalg.norm(x[:, None] - dist.features, axis=2)
    net = bayes.nearest_cluster(dist)
    np.testing.assert_array_equal(net.predict(x, "argmax"), distances.argmin(axis=1))


def test_regime_holds_and_fails_where_averaging_ends():
    result = prove("regime", replace(SMALL, seeds=(0,)))
    assert result.verdict == "holds", [each for each in result.checks if not each.holds]
    sizes = [scaled(4, d, 64, 2, seeds=(0,)) for d in (256, 512)]
    large = [replace(size, sigma=0.2) for size in sizes]  # from a large initialisation
    runs = {size: [binary(size, 0)] for size in large}
    failed = _failed(regime.judge(runs, regime.at_times(large[0], (25, 400))))
    assert failed == {
        "slope of log(1 - alignment) in log d, n ~ d",
        "alignment over its bound, smallest, all d",
        "alignment over its bound, T <= 100",
    }


def test_networks_at_several_times_are_those_of_shorter_trainings():
    found = regime.at_times(TINY, (3, 7))
    shorter = binary(replace(TINY, steps=3), 0)
    np.testing.assert_array_equal(found[3].net.W, shorter.net.W)


def _axes(k, d):
    dist = ClusterDistribution.orthogonal(k, d, rng=0)
    return ClusterDistribution(np.sqrt(d) * np.eye(k, d), dist.labels)


def _trained_on(dist, size):
    drawn = Problem(dist, dist.sample(size.n, rng=1), dist.sample(size.test, rng=2))
    nets = shared.start(size, 0), size.multiclass(np.random.default_rng(3))
    return tuple(Run(drawn, net, size.train(net, drawn.train)) for net in nets)


def test_linf_fails_where_features_lie_on_the_axes_and_are_not_dense():
    axes = _axes(4, SMALL.d)
    failed = _failed(linf.judge([_trained_on(axes, SMALL)], axes, 10))
    assert failed == {f"{kind}: |r_2 / (sqrt(2d/pi) r_inf) - 1|, largest" for kind in linf.KINDS}


def test_linf_fails_where_features_said_to_lie_on_the_axes_are_dense():
    runs = [(binary(SMALL, 0), shared.multiclass(SMALL, 0))]
    failed = _failed(linf.judge(runs, runs[0][0].problem.dist, 10))
    assert failed == {"features on the axes: l_inf radii, formulas"}


def test_linf_fails_where_group_max_reads_weights_that_average():
    two, many = binary(SMALL, 0), shared.multiclass(SMALL, 0)
    averaged = _with(many, averaged_classes(many.problem.dist, 0.001))
    failed = _failed(linf.judge([(two, averaged)], _axes(4, SMALL.d), 10))
    assert failed == {"median in l_inf, group max over averaging"}


def test_linf_fails_on_a_single_radius_that_is_not_exact(monkeypatch):
    real = linf.robust_radius

    def stopped(net, x, y, **options):
        found = real(net, x, y, **options)
        return replace(found, status=np.append(found.status[:-1], "bounded"))

    monkeypatch.setattr(linf, "robust_radius", stopped)
    runs = [(binary(TINY, 0), shared.multiclass(TINY, 0))]
    result = linf.judge(runs, _axes(4, TINY.d), 2)
    assert _failed(result) == {check.what for check in result.checks if check.bound is not None}


@pytest.mark.parametrize(("M", "d"), [(4, 400), (40, 1600)])
def test_distortion_bounds_the_largest_in_a_random_space_and_is_not_loose(M, d):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((d, M)))[0]
    scale, largest = np.sqrt(2 * d / np.pi), 0.0
    for _ in range(20):
        v = basis @ rng.standard_normal(M)
        for _ in range(300):  # ascent of ||v||_1 over unit v of the space
            v = basis @ (basis.T @ np.sign(v))
        largest = max(largest, np.abs(v).sum() / np.linalg.norm(v) / scale - 1)
    eps = linf.distortion(M, d)
    assert 0.2 * eps < largest <= eps
