"""The proofs about radii hold where they should, and fail where a claim is broken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proofs_numeric import (
    near_optimal_attack,
    non_robust,
    optimal_robustness,
    prove,
    readout,
    scaling,
    supervision_alone,
    symmetry,
)
from proofs_numeric.evidence import Run, binary, multiclass, problem, scaled
from refimpl import ClusterDistribution, GroupMax, Trajectory, TwoLayerReLU, gradient_descent
from refimpl.setting import Problem

SMALL = scaled(4, 1600, 240, 2, test=40)


@pytest.mark.parametrize(
    "claim",
    [
        "non-robust",
        "near-optimal-attack",
        "optimal-robustness",
        "readout",
        "supervision-alone",
        "symmetry",
    ],
)
def test_holds_in_its_hypotheses(claim):
    result = prove(claim, SMALL)
    assert result.verdict == "holds", [each for each in result.checks if not each.holds]


def _failed(result):
    assert result.verdict == "fails"
    return {check.what for check in result.checks if not check.holds}


def _with(run, net):
    return Run(run.problem, run.initial, Trajectory(net, run.path.losses, run.path.coefficients))


def test_non_robust_fails_on_a_decoupled_network_in_place_of_the_averaged_one():
    run = binary(SMALL, 0)
    dist = run.problem.dist
    bias = readout.BEST_BIAS * dist.dim
    net = TwoLayerReLU.feature_decoupling(dist, bias).group_sum(dist.labels)
    failed = _failed(non_robust.judge([_with(run, net)]))
    assert "|median radius / sqrt(d/k) - 1|, largest over seeds" in failed


@pytest.mark.slow
def test_non_robust_fails_where_features_are_not_orthogonal():
    failed = _failed(non_robust.judge([binary(replace(SMALL, cosine=0.5), 0)]))
    assert "|median radius / sqrt(d/k) - 1|, largest over seeds" in failed


def test_non_robust_fails_where_the_attack_takes_the_wrong_direction():
    run = binary(SMALL, 0)
    test = run.problem.test
    moved = ClusterDistribution(run.problem.dist.features, -run.problem.dist.labels)
    failed = _failed(
        non_robust.judge([Run(Problem(moved, run.problem.train, test), run.initial, run.path)])
    )
    assert failed == {
        "samples that the closed-form attack leaves right",
        "largest step that flips a sample, over sqrt(d/k)",
    }


def test_near_optimal_attack_fails_on_a_decoupled_network():
    run = binary(SMALL, 0)
    dist = run.problem.dist
    net = TwoLayerReLU.feature_decoupling(dist, readout.BEST_BIAS * dist.dim)
    failed = _failed(near_optimal_attack.judge([_with(run, net.group_sum(dist.labels))], SMALL))
    assert failed == {"closed-form step over exact radius, largest"}


def test_near_optimal_attack_fails_on_radii_that_are_not_minimal(monkeypatch):
    monkeypatch.setattr(near_optimal_attack, "radii", lambda run, _: np.full(40, 1e3))
    failed = _failed(near_optimal_attack.judge([binary(SMALL, 0)], SMALL))
    assert failed == {"closed-form step over exact radius, smallest"}


def test_optimal_robustness_fails_on_averaged_weights_and_on_radii_beyond_the_bound():
    run = multiclass(SMALL, 0)
    dist = run.problem.dist
    averaged = _with(run, supervision_alone.averaged_classes(dist, 0.1))
    radii = np.full(4, 1.01 * np.sqrt(SMALL.d / 2))
    assert _failed(optimal_robustness.judge([averaged], {"impossible": radii}, dist)) == {
        "|median radius / sqrt(d/2) - 1|, largest over seeds",
        "min(r(mu_i), r(mu_l)) / sqrt(d/2), any classifier",
        "share of centres robust at sqrt(d/2), any classifier",
    }


def test_optimal_robustness_lets_one_class_be_more_robust():
    dist = problem(SMALL, 0).dist
    constant = TwoLayerReLU(np.zeros((1, SMALL.d)), None, [[0.0]], [1.0])  # always +1
    centres = optimal_robustness.at_centres(dist, {"constant": (constant, "sign")})
    assert np.isinf(centres["constant"]).sum() == 2
    result = optimal_robustness.judge([multiclass(SMALL, 0)], centres, dist)
    assert result.verdict == "holds"


def test_readout_fails_on_a_bias_and_on_features_that_are_not_orthogonal():
    run = multiclass(SMALL, 0)
    dist = run.problem.dist
    biased = TwoLayerReLU.feature_decoupling(dist, readout.BEST_BIAS * dist.dim)
    skewed = ClusterDistribution.correlated(4, SMALL.d, cosine=0.1, rng=0)
    assert _failed(readout.judge([_with(run, biased)], skewed)) == {
        "|median radius / sqrt(d/(1+k_opp)) - 1|, largest",
        "idealised radii against (E20), (E21), 7 biases",
        "|radius / sqrt(d/2) - 1|, bias -(1 - 1/sqrt(2)) d",
    }


def test_supervision_alone_fails_on_decoupled_weights():
    dist = problem(SMALL, 0).dist
    networks = {0.001: [TwoLayerReLU.feature_decoupling(dist)]}
    failed = _failed(supervision_alone.judge([dist], networks))
    assert failed == {
        "radius at a centre against its formula, relative",
        "radius over sqrt(d/k) at eps = 0.001",
    }


def test_supervision_alone_fails_where_the_fine_classes_are_lost():
    dist = problem(SMALL, 0).dist
    lost = {0.001: [supervision_alone.averaged_classes(dist, -0.001)]}
    assert "centres with a wrong cluster, any eps" in _failed(supervision_alone.judge([dist], lost))


def _medians(points, power):
    return {
        (k, d): {kind: scaling.centre(kind, k, d) * k**power for kind in scaling.KINDS}
        for k, d in points
    }


def test_scaling_slopes_of_the_theory_hold_and_others_fail():
    along_d, along_k = [(4, 64), (4, 256)], [(2, 100), (4, 100), (8, 100)]
    held = scaling.judge(_medians(along_d, 0), _medians(along_k, 0))
    assert held.verdict == "holds"
    assert held.numbers["slopes"]["averaging, log k"] == pytest.approx([-0.5, -0.5])
    assert held.numbers["slopes"]["group_max, log d"] == pytest.approx([0.5, 0.5])
    failed = _failed(scaling.judge(_medians(along_d, 0), _medians(along_k, -0.11)))
    assert {what.split(":")[0] for what in failed} == {
        f"slope in log k, {kind}" for kind in scaling.KINDS
    }


def test_scaling_measures_trained_networks():
    medians = scaling._medians(scaled(4, 400, 160, 2, test=30, seeds=(0,)), 4, 400)
    assert medians["group_max"] > medians["group_sum"] > medians["averaging"] > 0


def test_symmetry_fails_on_a_map_that_is_no_symmetry():
    def shear(case, rng):
        net = case.net
        W = net.W * np.linspace(1, 2, net.dim)
        return replace(case, net=TwoLayerReLU(W, net.b, net.A, net.c))

    def flip(case, rng):
        return replace(case, y=-case.y)

    maps = {"shear": (shear, 1.0), "scale": (symmetry.scale_inputs, 1.0), "flip": (flip, 1.0)}
    failed = _failed(symmetry.judge((0,), maps, gradient_descent))
    assert failed == {f"radii, {name}: change" for name in maps}


def test_symmetry_fails_on_training_that_has_a_favourite_direction_or_neuron():
    def favours(net, x, y, **options):
        path = gradient_descent(net, x, y, **options)
        W = path.network.W.copy()
        W[0, 0] *= 1.001
        return Trajectory(TwoLayerReLU(W, net.b, net.A), path.losses, path.coefficients)

    assert _failed(symmetry.judge((0,), {}, favours)) == {
        "training, rotation: change",
        "training, permutation and swap: change",
    }


def test_symmetry_fails_on_training_that_does_not_see_the_scale_of_the_outputs():
    def linear_loss(net, x, y, *, learning_rate, steps, method):
        A = net.A / np.abs(net.A).max()  # any scale gives the same
        signs = y[:, None] * A / len(x)
        W = net.W + learning_rate * steps * signs.T @ x
        return Trajectory(TwoLayerReLU(W, net.b, net.A), np.zeros(1), signs)

    failed = _failed(symmetry.judge((0,), {}, linear_loss))
    assert failed == {"training, control: f -> s f must change W"}


def test_group_max_swap_changes_labels_only():
    cases = symmetry._cases(np.random.default_rng(0))
    swapped = symmetry.swap(cases[1], np.random.default_rng(0))
    assert isinstance(swapped.decision, GroupMax)
    assert swapped.decision.labels.tolist() == [-1, 1, -1]
