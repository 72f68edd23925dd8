"""The proofs about data and training hold where they should, and fail where a claim is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proofs_numeric import averaging, balance, data, decomposition, decoupling, monotone, prove
from proofs_numeric.evidence import Run, binary, multiclass, problem, scaled
from refimpl import ClusterDistribution, Sample, Trajectory, TwoLayerReLU, gradient_descent
from refimpl.setting import Problem

SMALL = scaled(4, 1200, 120, 2, test=40)
LARGE_START = replace(SMALL, sigma=0.1)


@pytest.mark.parametrize(
    "claim", ["data", "decomposition", "monotone", "averaging", "balance", "decoupling"]
)
def test_holds_in_its_hypotheses(claim):
    result = prove(claim, SMALL)
    assert result.verdict == "holds", [each for each in result.checks if not each.holds]
    assert sum(check.bound is not None for check in result.checks) >= 1


def _failed(result):
    assert result.verdict == "fails"
    return {check.what.split(":")[0].strip() for check in result.checks if not check.holds}


def _changed(**changes):
    drawn = problem(SMALL, 0)
    return Problem(drawn.dist, replace(drawn.train, **changes), drawn.test)


def test_data_fails_on_features_that_are_not_orthogonal():
    dist = ClusterDistribution.correlated(4, 1200, cosine=0.01, rng=0)
    sample = dist.sample(120, rng=1)
    assert _failed(data.judge(Problem(dist, sample, sample))) == {
        "<mu_i, mu_l>/d - 1[i = l], largest"
    }


def test_data_fails_on_unbalanced_classes_and_rare_clusters():
    dist = ClusterDistribution.orthogonal(4, 1200, labels=[1, 1, 1, -1], rng=0)
    x = dist.sample(120, rng=1)
    first = np.flatnonzero(x.cluster > 0)
    rare = Sample(x.x[first], x.y[first], x.cluster[first])
    assert "|J+|/|J-|, or its inverse" in _failed(data.judge(Problem(dist, rare, x)))
    balanced = problem(SMALL, 0)
    only = np.flatnonzero(balanced.train.cluster < 2)
    some = Sample(balanced.train.x[only], balanced.train.y[only], balanced.train.cluster[only])
    assert "clusters uniform" in _failed(data.judge(Problem(balanced.dist, some, some)))


def test_data_fails_on_wrong_labels():
    drawn = problem(SMALL, 0)
    assert _failed(data.judge(_changed(y=-drawn.train.y))) == {
        "labels that are not their cluster's"
    }


def test_data_fails_on_wrong_noise_and_on_repeated_samples():
    drawn = problem(SMALL, 0)
    centres = drawn.dist.features[drawn.train.cluster]
    wide = _changed(x=centres + 1.05 * (drawn.train.x - centres))
    assert "noise normal" in _failed(data.judge(wide))
    again = drawn.train.x.copy()
    again[1] = again[0] - centres[0] + centres[1]
    assert _failed(data.judge(_changed(x=again))) == {"noise of two samples"}


def test_decomposition_fails_on_coefficients_of_another_run():
    run = binary(SMALL, 0)
    other = run.path.coefficients * (1 + 1e-6)
    wrong = Run(run.problem, run.initial, Trajectory(run.net, run.path.losses, other))
    assert decomposition.judge([wrong], SMALL.learning_rate).verdict == "fails"


def test_decomposition_holds_for_any_features_and_clusters():
    run = binary(SMALL, 0)
    drawn = run.problem
    turned = ClusterDistribution(drawn.dist.features[::-1] * 1.01, drawn.dist.labels)
    train_sample = replace(drawn.train, cluster=(drawn.train.cluster + 1) % 4)
    other = Run(Problem(turned, train_sample, drawn.test), run.initial, run.path)
    assert decomposition.judge([other], SMALL.learning_rate).verdict == "holds"


def test_decomposition_fails_on_other_weights():
    run = binary(SMALL, 0)
    net = TwoLayerReLU(run.net.W * (1 + 1e-9), run.net.b, run.net.A)
    path = Trajectory(net, run.path.losses, run.path.coefficients)
    assert len(_failed(decomposition.judge([Run(run.problem, run.initial, path)], 0.001))) == 3


@pytest.mark.parametrize("which", [0, 1])
def test_decomposition_fails_on_other_biases_of_any_run(which):
    runs = [binary(SMALL, seed) for seed in (0, 1)]
    run = runs[which]
    net = TwoLayerReLU(run.net.W, run.net.bias + 1e-3, run.net.A)
    path = Trajectory(net, run.path.losses, run.path.coefficients)
    runs[which] = Run(run.problem, run.initial, path)
    assert len(_failed(decomposition.judge(runs, SMALL.learning_rate))) == 1


@pytest.mark.parametrize(
    ("defect", "named"),
    [
        (lambda change: -change, "increments of C, lambda, sigma of the wrong sign"),
        (lambda change: 3 * change, "largest increment over its bound"),
        (lambda change: 0.999 * change, "|increment of C - formula| over its bound"),
    ],
)
def test_monotone_fails_on_a_wrong_gradient(defect, named):
    drawn, rate = problem(SMALL, 0), SMALL.learning_rate
    net = TwoLayerReLU.binary(SMALL.d, SMALL.m, rng=0)
    steps = [
        each._replace(change=defect(each.change))
        for each in monotone.increments(net, drawn, rate, 5)
    ]
    assert named in _failed(monotone.judge(drawn, iter(steps), rate))


def test_averaging_fails_from_a_large_initialisation():
    failed = _failed(averaging.judge([binary(LARGE_START, 0)], LARGE_START))
    assert "alignment with the average of the class, smallest" in failed


def test_averaging_holds_each_run_against_its_own_bound(monkeypatch):
    runs = [binary(SMALL, seed) for seed in (0, 1)]
    bounds = iter([0.5, 1.0, 0.5])
    monkeypatch.setattr(averaging, "bound", lambda *of: next(bounds))
    assert _failed(averaging.judge(runs, SMALL)) == {
        "alignment with the average of the class, smallest"
    }
    assert averaging.judge(runs[:1], SMALL).verdict == "holds"


def test_averaging_fails_on_decoupled_neurons():
    run = multiclass(SMALL, 0)
    scalar = run.net.group_sum(run.problem.dist.labels)
    path = Trajectory(scalar, run.path.losses, run.path.coefficients)
    failed = _failed(averaging.judge([Run(run.problem, run.initial, path)], SMALL))
    assert failed >= {
        "alignment with the average of the class, smallest",
        "max/min of a class's lambda, over its bound R",
    }


def test_averaging_fails_on_wrong_predictions():
    run = binary(SMALL, 0)
    wrong = replace(run.problem.test, y=-run.problem.test.y)
    drawn = Problem(run.problem.dist, run.problem.train, wrong)
    failed = _failed(averaging.judge([Run(drawn, run.initial, run.path)], SMALL))
    assert failed == {"test samples misclassified"}


def test_balance_fails_on_unbalanced_losses():
    # sigmoid(0)/sigmoid(-2) = (1 + e^2)/2 > 4
    f, y = np.array([0.0, 2.0]), np.array([1, 1])
    assert balance.ratio(f, y) == pytest.approx((1 + np.exp(2.0)) / 2)
    assert balance.judge([{0: 1.0, 5: balance.ratio(f, y)}]).verdict == "fails"


def test_balance_fails_from_a_large_initialisation():
    assert balance.judge([balance.follow(replace(SMALL, sigma=0.2), 0)]).verdict == "fails"


def test_decoupling_fails_on_averaged_weights():
    run = multiclass(SMALL, 0)
    dist = run.problem.dist
    same = (dist.labels[:, None] == dist.labels).astype(np.float64)
    net = TwoLayerReLU(same @ dist.features + 0.1 * dist.features, None, np.eye(4))
    path = Trajectory(net, run.path.losses, run.path.coefficients)
    failed = _failed(decoupling.judge([Run(run.problem, run.initial, path)], SMALL))
    assert failed == {
        "cosine of w_j and mu_j, smallest",
        "|cosine| of w_j and another feature, largest",
    }


def test_decoupling_fails_where_features_are_not_orthogonal():
    size = replace(SMALL, cosine=0.6)
    failed = _failed(decoupling.judge([multiclass(size, 0)], size))
    assert "|cosine| of w_j and another feature, largest" in failed


def test_decoupling_fails_without_training():
    drawn, net = problem(SMALL, 0), TwoLayerReLU.multiclass(SMALL.d, 4, rng=0)
    path = gradient_descent(
        net, drawn.train.x, drawn.train.cluster, learning_rate=SMALL.learning_rate, steps=0
    )
    failed = _failed(decoupling.judge([Run(drawn, net, path)], SMALL))
    assert "test samples with a wrong cluster" in failed
