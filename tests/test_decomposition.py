from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import tolerances
from hypothesis import given
from hypothesis import strategies as st

from refimpl import (
    ClusterDistribution,
    Sample,
    Trajectory,
    TwoLayerReLU,
    cosine_matrix,
    decompose,
    gradient_descent,
    strategies,
)
from refimpl.decomposition import increment_bounds

ETA, STEPS = 0.125, 6
HAND_NET = TwoLayerReLU([[1.0, 0.0], [0.0, 1.0]], None, [[1.0, -1.0]])
HAND_DIST = ClusterDistribution([[2, 0], [0, 3], [0, 3]], [1, 1, -1])
HAND_SAMPLE = Sample(
    np.array([[2.0, 1.0], [2.0, 0.0], [1.0, 3.0]]), np.array([1, 1, -1]), np.array([0, 0, 2])
)


@st.composite
def trajectories(draw, kinds=strategies.KINDS):
    """Distribution, sample, network, and the trajectories of 0, 1, .., STEPS steps."""
    dist = draw(strategies.distributions())
    sample = draw(strategies.samples(dist))
    n_outputs = 1 if kinds == ("binary",) else None
    net = draw(strategies.networks(dim=dist.dim, n_outputs=n_outputs, kinds=kinds, scales=False))
    targets = sample.y if net.n_outputs == 1 else sample.cluster % net.n_outputs
    method = draw(st.sampled_from(["primal", "gram"]))
    batch_size = draw(st.none() | st.integers(1, len(targets)))
    if kinds == ("binary",):
        batch_size = None
    paths = [
        gradient_descent(
            net,
            sample.x,
            targets,
            learning_rate=ETA,
            steps=steps,
            method=method,
            batch_size=batch_size,
            rng=0,
        )
        for steps in range(STEPS + 1)
    ]
    return dist, sample, net, paths


def rebuilt(initial, feature, noise, sample, dist):
    """The sum of (E15), term by term."""
    W = initial.copy()
    xi = sample.x - dist.features[sample.cluster]
    for coefficients, vectors in ((feature, dist.features), (noise, xi)):
        for j, vector in enumerate(vectors):
            if vector.any():
                W += np.outer(coefficients[:, j], vector / (vector @ vector))
            else:
                assert not coefficients[:, j].any()
    return W


@pytest.mark.parametrize("method", ["primal", "gram"])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_a_callback_decomposes_every_step_of_one_run(method, n_outputs):
    dist = ClusterDistribution.orthogonal(3, 8, labels=[1, 1, -1], rng=0)
    sample = dist.sample(12, rng=1)
    W = np.random.default_rng(2).standard_normal((4, 8))
    net = TwoLayerReLU(W, None, np.eye(4)[:n_outputs] - 0.25)
    targets = sample.y if n_outputs == 1 else sample.cluster
    options = {"learning_rate": ETA, "method": method}
    parts = []
    gradient_descent(
        net,
        sample.x,
        targets,
        steps=STEPS,
        callback=lambda step, loss, at: parts.append(decompose(at, sample, dist)),
        **options,
    )
    assert len(parts) == STEPS + 1
    assert parts[-1].feature.any()
    for steps, part in enumerate(parts):
        path = gradient_descent(net, sample.x, targets, steps=steps, **options)
        expected = decompose(path, sample, dist)
        np.testing.assert_array_equal(part.feature, expected.feature)
        np.testing.assert_array_equal(part.noise, expected.noise)


@given(trajectories())
def test_e15_reproduces_the_weights_along_the_trajectory(case):
    dist, sample, net, paths = case
    n_over_batch = len(sample.x)  # a batch of one row has gradients n times as large
    for path in paths:
        parts = decompose(path, sample, dist)
        W = rebuilt(net.W, parts.feature, parts.noise, sample, dist)
        tolerance = tolerances.reconstruction(path, sample.x, dist.features, ETA * n_over_batch)
        np.testing.assert_allclose(W, path.network.W, rtol=0, atol=tolerance)


@given(trajectories(kinds=("binary",)))
def test_e16_signs_and_increments_along_the_trajectory(case):
    dist, sample, net, paths = case
    m = net.n_hidden // 2
    parts = [decompose(path, sample, dist) for path in paths]
    bounds = increment_bounds(sample, dist, learning_rate=ETA, m=m)
    side = np.sign(net.A[0])[:, None]
    slack = 1 + tolerances.increments(sample.x, STEPS)
    for path, after, now, then in zip(paths, paths[1:], parts, parts[1:], strict=False):
        change = (after.coefficients - path.coefficients).T
        feature, noise = then.feature - now.feature, then.noise - now.noise
        assert (change * side * sample.y >= 0).all()
        assert (feature * side * dist.labels >= 0).all()
        assert (noise * side * sample.y >= 0).all()
        assert (np.abs(change) <= bounds.coefficient * slack).all()
        assert (np.abs(feature) <= bounds.feature * slack).all()
        assert (np.abs(noise) <= bounds.noise * slack).all()


def test_e16_bounds_are_reached_where_the_network_is_certain_and_wrong():
    # f = 99 and y = -1 for the only sample: sigmoid(99) is 1 in float64, so every bound is met.
    net = TwoLayerReLU([[33.0, 0.0], [0.0, 0.0]], [0.0, 0.0], [[1.0, -1.0]])
    dist = ClusterDistribution([[2.0, 0.0], [0.0, 1.0]], [-1, 1])
    sample = Sample(np.array([[3.0, 0.0]]), np.array([-1]), np.array([0]))
    path = gradient_descent(net, sample.x, sample.y, learning_rate=0.5, steps=1)
    parts = decompose(path, sample, dist)
    bounds = increment_bounds(sample, dist, learning_rate=0.5, m=1)
    assert path.coefficients.tolist() == [[-bounds.coefficient, 0.0]] == [[-0.5, 0.0]]
    assert parts.feature[0].tolist() == (-bounds.feature).tolist() == [-2.0, 0.0]
    assert parts.noise[0].tolist() == (-bounds.noise).tolist() == [-0.5]


def test_e15_by_hand_with_equal_features_and_a_sample_at_its_centre():
    C = np.array([[1.0, 2.0], [4.0, 8.0], [16.0, 32.0]])
    parts = decompose(Trajectory(HAND_NET, np.zeros(1), C), HAND_SAMPLE, HAND_DIST)
    # |mu|^2 = 4, 9, 9; clusters {0, 1}, {}, {2}; xi = (0, 1), (0, 0), (1, 0).
    assert parts.feature.tolist() == [[20.0, 0.0, 144.0], [40.0, 0.0, 288.0]]
    assert parts.noise.tolist() == [[1.0, 0.0, 16.0], [2.0, 0.0, 32.0]]


def test_e15_a_feature_at_the_origin_has_coefficient_0():
    dist = ClusterDistribution([[0.0], [1.0]], [1, -1])
    sample = Sample(np.array([[0.5]]), np.array([1]), np.array([0]))
    net = TwoLayerReLU([[1.0]], None, [[1.0]])
    parts = decompose(Trajectory(net, np.zeros(1), np.array([[8.0]])), sample, dist)
    assert parts.feature.tolist() == [[0.0, 0.0]]
    assert parts.noise.tolist() == [[2.0]]


@given(st.data())
def test_cosines_match_exact_squares(data):
    d = data.draw(st.integers(1, 4))
    features, W = (data.draw(strategies.arrays((2, d))) for _ in range(2))
    for rows in (features, W):
        rows[~rows.any(axis=1), 0] = 1.0
    cosines = cosine_matrix(features, W)
    assert (np.abs(cosines) <= 1).all()
    for i, mu in enumerate(features):
        for r, w in enumerate(W):
            products = [
                sum(Fraction(p) * Fraction(q) for p, q in zip(*pair, strict=True))
                for pair in ((mu, w), (mu, mu), (w, w))
            ]
            expected = math.copysign(
                math.sqrt(products[0] ** 2 / (products[1] * products[2])), products[0]
            )
            assert abs(cosines[i, r] - expected) <= tolerances.gamma(3 * d + 12)


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200])
def test_cosines_do_not_depend_on_the_scale(scale):
    features, W = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0], [-1.0, -1.0]])
    expected = [[math.sqrt(0.5), -1.0], [0.0, -math.sqrt(0.5)]]
    for pair in ((features * scale, W), (features, W * scale)):
        actual = cosine_matrix(*pair)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerances.gamma(18))


@pytest.mark.parametrize(
    ("name", "features", "W"),
    [
        ("features", [[1.0, 0.0], [0.0, 0.0]], [[1.0, 0.0]]),
        ("W", [[1.0, 0.0]], [[0.0, 0.0]]),
        ("W", [[1.0, 0.0]], [[1.0]]),
        ("features", [1.0], [[1.0]]),
        ("features", [[math.nan]], [[1.0]]),
        ("W", [[1.0]], [["a"]]),
        ("W", [[1.0]], np.zeros((0, 1))),
    ],
)
def test_bad_cosine_arguments_are_named(name, features, W):
    with pytest.raises(ValueError, match=rf"^{name}: expected"):
        cosine_matrix(features, W)


@pytest.mark.parametrize(
    ("name", "x", "cluster"),
    [
        (r"sample\.x", [[1.0]], [0]),
        (r"sample\.x", [[1.0, math.inf]], [0]),
        (r"sample\.x", np.zeros((0, 2)), []),
        (r"sample\.cluster", [[1.0, 2.0]], [3]),
        (r"sample\.cluster", [[1.0, 2.0]], [-1]),
        (r"sample\.cluster", [[1.0, 2.0]], [0, 1]),
        (r"trajectory\.coefficients", [[1.0, 2.0]], [0]),
    ],
)
def test_a_sample_that_does_not_fit_is_named(name, x, cluster):
    path = Trajectory(HAND_NET, np.zeros(1), np.zeros((3, 2)))
    sample = Sample(np.asarray(x), np.ones(len(x), dtype=np.int64), np.asarray(cluster))
    with pytest.raises(ValueError, match=rf"^{name}: expected"):
        decompose(path, sample, HAND_DIST)


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0), ("learning_rate", math.nan), ("m", 0), ("m", 1.0)],
)
def test_bad_bound_arguments_are_named(name, value):
    with pytest.raises(ValueError, match=rf"^{name}: expected"):
        increment_bounds(HAND_SAMPLE, HAND_DIST, **({"learning_rate": 1.0, "m": 1} | {name: value}))


def test_coefficients_that_overflow_are_refused():
    dist = ClusterDistribution([[2e200, 0.0], [0.0, 1.0]], [1, -1])
    path = Trajectory(HAND_NET, np.zeros(1), np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"lambda, got an overflow"):
        decompose(path, Sample(np.array([[2e200, 0.0]]), np.array([1]), np.array([0])), dist)
