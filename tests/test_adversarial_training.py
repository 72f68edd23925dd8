"""Adversarial training: every step is gradient descent on the samples that the attack moved."""

from __future__ import annotations

import numpy as np
import pytest
import tolerances

from refimpl import (
    AdversarialTrajectory,
    ClusterDistribution,
    TwoLayerReLU,
    adversarial_training,
    closed_form_attack,
    gradient_descent,
    loss_and_gradients,
    robust_radius,
)

DIST = ClusterDistribution.orthogonal(4, 12, rng=0)
SAMPLE = DIST.sample(10, rng=1)
BINARY = TwoLayerReLU.binary(12, 2, sigma_w=0.3, sigma_b=0.3, rng=2)
MULTICLASS = TwoLayerReLU.multiclass(12, 4, 2, sigma_w=0.3, rng=3)
CASES = {"binary": (BINARY, SAMPLE.y), "multiclass": (MULTICLASS, SAMPLE.cluster)}
NAMED = {
    "exact": {},
    "pgd": {"rng": 0},
    "closed_form": {"features": DIST.features, "labels": DIST.labels},
}


def train(case, attack, epsilon=0.7, steps=4, **options):
    net, targets = CASES[case]
    options = {"learning_rate": 0.1, "attack": attack, **NAMED.get(attack, {}), **options}
    return adversarial_training(net, SAMPLE.x, targets, epsilon=epsilon, steps=steps, **options)


@pytest.mark.parametrize("attack", NAMED)
@pytest.mark.parametrize("case", CASES)
def test_without_a_budget_it_is_gradient_descent(case, attack):
    net, targets = CASES[case]
    plain = gradient_descent(net, SAMPLE.x, targets, learning_rate=0.1, steps=4, method="primal")
    path = train(case, attack, epsilon=0)
    np.testing.assert_array_equal(path.network.W, plain.network.W)
    np.testing.assert_array_equal(path.losses, plain.losses)
    np.testing.assert_array_equal(path.coefficients, plain.coefficients)
    assert not path.shift.any()


@pytest.mark.parametrize("attack", NAMED)
@pytest.mark.parametrize("case", CASES)
def test_weights_are_the_samples_coefficients_and_the_shift(case, attack):
    path = train(case, attack)
    net, x = CASES[case][0], SAMPLE.x
    assert isinstance(path, AdversarialTrajectory)
    rounding = tolerances.moved_weights(net, x, 0.7, 4, 0.1)
    expected = net.W + path.coefficients.T @ x + path.shift
    np.testing.assert_allclose(path.network.W, expected, rtol=0, atol=rounding)
    assert path.shift.any()
    assert path.losses.shape == (5,)


def test_closed_form_is_gradient_descent_on_samples_moved_once():
    moved = closed_form_attack(SAMPLE.x, SAMPLE.y, DIST.features, DIST.labels, epsilon=0.7)
    plain = gradient_descent(BINARY, moved, SAMPLE.y, learning_rate=0.1, steps=4, method="primal")
    np.testing.assert_array_equal(train("binary", "closed_form").network.W, plain.network.W)


def test_closed_form_moves_classes_by_the_labels_of_their_groups():
    signs = DIST.labels[SAMPLE.cluster]
    moved = closed_form_attack(SAMPLE.x, signs, DIST.features, DIST.labels, epsilon=0.7)
    plain = gradient_descent(
        MULTICLASS, moved, SAMPLE.cluster, learning_rate=0.1, steps=2, method="primal"
    )
    path = train("multiclass", "closed_form", steps=2)
    np.testing.assert_array_equal(path.network.W, plain.network.W)


@pytest.mark.parametrize("case", CASES)
def test_exact_goes_to_the_nearest_adversarial_point_or_as_far_as_it_may(case):
    net = CASES[case][0]
    decision = "sign" if case == "binary" else "argmax"
    targets = net.predict(SAMPLE.x, decision)
    targets[0] = -targets[0] if case == "binary" else (targets[0] + 1) % 4  # stays, being wrong
    exact = robust_radius(net, SAMPLE.x, targets, decision=decision)
    wide = np.where(np.isfinite(exact.upper), exact.upper, 0.0)
    half = np.median(wide[wide > 0])
    expected = SAMPLE.x.copy()
    for i, radius in enumerate(wide):
        if radius > 0:  # by hand: all of the way, or the budget's share of it
            expected[i] += exact.perturbation[i] * min(1.0, half / radius)
    assert (wide > half).any()
    loss, gradients = loss_and_gradients(net, expected, targets)
    path = adversarial_training(net, SAMPLE.x, targets, epsilon=half, learning_rate=0.1, steps=1)
    assert path.losses[0] == pytest.approx(loss, rel=1e-12)
    np.testing.assert_allclose(path.network.W, net.W - 0.1 * gradients.W, rtol=1e-9, atol=1e-12)


def test_pgd_raises_the_loss_and_stays_within_the_budget():
    seen = []

    def spy(net, x, y, epsilon):
        from refimpl import pgd_attack

        seen.append(pgd_attack(net, x, y, epsilon=epsilon, steps=10, rng=0))
        return seen[-1]

    train("binary", spy, epsilon=np.linspace(0.1, 1.0, 10), steps=1)
    for moved in seen:
        assert np.all(np.linalg.norm(moved - SAMPLE.x, axis=1) <= np.linspace(0.1, 1.0, 10))
    clean = train("binary", "pgd", epsilon=0).losses[0]
    assert train("binary", "pgd").losses[0] > clean


def test_results_repeat_with_a_seed_and_bias_follows():
    one, other = train("binary", "pgd"), train("binary", "pgd")
    np.testing.assert_array_equal(one.network.W, other.network.W)
    assert not np.array_equal(one.network.bias, BINARY.bias)
    assert train("multiclass", "pgd").network.b is None


def test_an_attack_of_ones_own_may_work_in_place():
    def push(net, x, y, epsilon):
        x += epsilon[:, None]
        y *= -1
        epsilon *= 2
        return x

    x = SAMPLE.x.copy()
    path = adversarial_training(
        BINARY, x, SAMPLE.y, epsilon=0.7, attack=push, learning_rate=0.1, steps=4
    )
    plain = gradient_descent(BINARY, x + 0.7, SAMPLE.y, learning_rate=0.1, steps=4, method="primal")
    np.testing.assert_array_equal(x, SAMPLE.x)
    np.testing.assert_array_equal(path.network.W, plain.network.W)
    np.testing.assert_array_equal(path.coefficients, plain.coefficients)


def test_a_callback_sees_the_network_before_every_step():
    seen = []

    def look(step, loss, get_network):
        seen.append((step, loss, get_network(), get_network.coefficients))

    path = train("binary", "closed_form", callback=look)
    assert [step for step, *_ in seen] == [0, 1, 2, 3, 4]
    assert [loss for _, loss, *_ in seen] == path.losses.tolist()
    np.testing.assert_array_equal(seen[0][2].W, BINARY.W)
    np.testing.assert_array_equal(seen[-1][2].W, path.network.W)
    assert not seen[0][3].any()
    np.testing.assert_array_equal(seen[-1][3], path.coefficients)


def test_a_sample_that_nothing_flips_stays():
    always = TwoLayerReLU([[1.0]], None, [[1.0]], [1.0])  # f >= 1
    path = adversarial_training(always, [[2.0]], [1], epsilon=5, learning_rate=0.1, steps=1)
    assert not path.shift.any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "fgsm"}, "attack: expected 'exact' or 'pgd' or 'closed_form', got 'fgsm'"),
        ({"attack": "pgd", "rng": None}, "rng: expected a non-negative int seed"),
        ({"attack": "pgd", "pgd_steps": 0}, "pgd_steps: expected"),
        ({"attack": "exact", "max_nodes": 0}, "max_nodes: expected"),
        ({"attack": "closed_form", "labels": None}, "features: expected features and labels"),
        ({"epsilon": -1.0}, "epsilon: expected numbers of at least 0"),
        ({"learning_rate": 0.0}, "learning_rate: expected a positive number"),
        ({"steps": -1}, "steps: expected"),
        ({"attack": lambda *_: np.zeros((1, 1))}, r"attack\(...\): expected real numbers of shape"),
    ],
)
def test_bad_arguments_are_named(options, message):
    options = {"attack": "exact", **options}
    with pytest.raises(ValueError, match=message):
        train("binary", options.pop("attack"), **options)


def test_closed_form_needs_a_label_for_each_output():
    with pytest.raises(ValueError, match="labels: expected one for each of K = 4 outputs"):
        train("multiclass", "closed_form", features=DIST.features[:3], labels=DIST.labels[:3])


def test_overflow_names_the_step():
    with pytest.raises(FloatingPointError, match="at step 0 or after it"):
        adversarial_training(
            BINARY, 1e160 * SAMPLE.x, SAMPLE.y, epsilon=0, learning_rate=1e160, steps=3
        )
