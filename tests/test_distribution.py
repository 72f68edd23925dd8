"""Cluster distributions: features, samples, the seed, and bad arguments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest
from tolerances import gamma

from refimpl import ClusterDistribution, Sample, strategies

# A right sampler fails a test at a fixed seed with this probability.
LEVEL = 1e-4


@st.composite
def frames(draw):
    """Sizes k <= d, a cosine for which features exist, both ends included, and a seed."""
    k = draw(st.integers(2, 12))
    d = draw(st.integers(k, 20))
    lowest = -1 / (k - 1)
    cosine = draw(st.sampled_from([0.0, lowest]) | st.floats(lowest, 0.99))
    return k, d, cosine, draw(strategies.seeds())


@given(frames())
def test_e2_features_have_the_asked_norms_and_cosines(case):
    k, d, cosine, seed = case
    mu = ClusterDistribution.correlated(k, d, cosine=cosine, rng=seed).features
    expected = d * (cosine + (1 - cosine) * np.eye(k))
    # Householder QR: orthonormal to gamma(d k) in norm (Higham, theorem 19.4), then sums of k.
    np.testing.assert_allclose(mu @ mu.T, expected, rtol=0, atol=d * gamma(10 * d * k))


@given(frames())
def test_e2_orthogonal_is_the_case_of_cosine_0(case):
    k, d, _, seed = case
    orthogonal = ClusterDistribution.orthogonal(k, d, noise_std=0.5, rng=seed)
    correlated = ClusterDistribution.correlated(k, d, cosine=0.0, rng=seed)
    np.testing.assert_array_equal(orthogonal.features, correlated.features)
    assert orthogonal.noise_std == 0.5
    gram = orthogonal.features @ orthogonal.features.T
    np.testing.assert_allclose(gram, d * np.eye(k), rtol=0, atol=d * gamma(10 * d * k))


def test_e2_the_frame_is_uniform_among_rotations():
    frames = [ClusterDistribution.orthogonal(2, 2, rng=seed).features for seed in range(600)]
    angles = np.array([np.arctan2(mu[0, 1], mu[0, 0]) for mu in frames])
    assert kstest(angles, "uniform", args=(-np.pi, 2 * np.pi)).pvalue > LEVEL
    turns = sum(int(np.linalg.det(mu) > 0) for mu in frames)
    assert chisquare([turns, 600 - turns]).pvalue > LEVEL


def test_default_labels_are_the_first_half_positive():
    assert ClusterDistribution.orthogonal(4, 4, rng=0).labels.tolist() == [1, 1, -1, -1]
    assert ClusterDistribution.orthogonal(5, 5, rng=0).labels.tolist() == [1, 1, -1, -1, -1]
    own = ClusterDistribution.orthogonal(3, 5, labels=[-1, 1, -1], rng=0)
    assert own.labels.tolist() == [-1, 1, -1]


@given(strategies.distributions())
def test_e3_imbalance_is_the_smallest_r(dist):
    ratio = (dist.labels > 0).sum() / (dist.labels < 0).sum()
    r = dist.imbalance
    assert r >= 1
    assert r in (ratio, pytest.approx(1 / ratio, rel=2.0**-52))


@given(strategies.distributions(), strategies.seeds(), st.integers(1, 20))
def test_e1_samples_are_labelled_by_their_cluster(dist, seed, n):
    sample = dist.sample(n, rng=seed)
    assert sample.x.shape == (n, dist.dim)
    assert (sample.x.dtype, sample.y.dtype, sample.cluster.dtype) == (float, np.int64, np.int64)
    assert sample.cluster.min() >= 0
    assert sample.cluster.max() < dist.n_clusters
    np.testing.assert_array_equal(sample.y, dist.labels[sample.cluster])
    if dist.noise_std == 0:
        np.testing.assert_array_equal(sample.x, dist.features[sample.cluster])


def test_e1_clusters_are_uniform_and_noise_is_standard_normal():
    dist = ClusterDistribution.orthogonal(8, 20, noise_std=0.5, rng=0)
    sample = dist.sample(5000, rng=1)
    assert chisquare(np.bincount(sample.cluster, minlength=8)).pvalue > LEVEL
    xi = (sample.x - dist.features[sample.cluster]) / 0.5
    assert kstest(xi.ravel(), "norm").pvalue > LEVEL
    for direction in np.eye(20)[:3] + np.eye(20)[3:6]:  # sums of coordinates: independence
        assert kstest(xi @ direction / np.sqrt(2), "norm").pvalue > LEVEL
    assert kstest((xi[:-1] + xi[1:])[::2].ravel() / np.sqrt(2), "norm").pvalue > LEVEL
    for j in range(8):  # the noise does not know the cluster
        assert kstest(xi[sample.cluster == j].ravel(), "norm").pvalue > LEVEL


def test_e1_noise_std_scales_the_same_noise():
    features, labels = np.zeros((2, 3)), [1, -1]
    unit = ClusterDistribution(features, labels).sample(5, rng=3)
    wide = ClusterDistribution(features, labels, noise_std=4.0).sample(5, rng=3)
    np.testing.assert_array_equal(wide.x, 4.0 * unit.x)


def test_a_seed_repeats_and_a_generator_moves_on():
    dist = ClusterDistribution(np.eye(3), [1, 1, -1])
    first = dist.sample(4, rng=5)
    np.testing.assert_array_equal(first.x, dist.sample(4, rng=5).x)
    rng = np.random.default_rng(5)
    np.testing.assert_array_equal(first.x, dist.sample(4, rng=rng).x)
    assert (first.x != dist.sample(4, rng=rng).x).all()


def test_arrays_are_read_only_copies():
    features, labels = np.eye(2), np.array([1, -1])
    dist = ClusterDistribution(features, labels)
    features[0, 0], labels[0] = 9.0, -1
    assert dist.features.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert dist.labels.tolist() == [1, -1]
    for array in (dist.features, dist.labels):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_any_features_will_do():
    dist = ClusterDistribution([[1, 2], [1, 2], [0, 0]], [1.0, -1.0, 1.0])
    assert (dist.n_clusters, dist.dim, dist.noise_std) == (3, 2, 1.0)
    assert isinstance(dist.sample(1, rng=0), Sample)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": [1.0, 2.0]}, r"features: expected real numbers of shape \(k, d\)"),
        ({"features": [[1.0, 2.0]]}, "features: expected at least 2 clusters, got 1"),
        ({"features": np.zeros((2, 0))}, r"features: .*got shape \(2, 0\)"),
        ({"features": np.zeros((0, 2))}, r"features: .*got shape \(0, 2\)"),
        ({"features": [[np.nan], [1]]}, "features: expected finite numbers, got nan"),
        ({"features": [[1j], [1]]}, "features: .*got dtype complex128"),
        ({"features": [["a"], ["b"]]}, "features: .*got dtype <U1"),
        ({"labels": [1]}, r"labels: expected real numbers of shape \(2,\), got shape \(1,\)"),
        ({"labels": [0, 1]}, r"labels: expected labels in {-1, \+1}, got 0"),
        ({"labels": [1, 1]}, r"labels: expected clusters of both classes, got only \+1"),
        ({"labels": [-1, -1]}, "labels: expected clusters of both classes, got only -1"),
        ({"labels": [True, False]}, "labels: .*got dtype bool"),
        ({"noise_std": -1}, "noise_std: expected a number of at least 0, got -1"),
        ({"noise_std": np.inf}, "noise_std: expected finite numbers, got inf"),
        ({"noise_std": [1.0]}, r"noise_std: expected real numbers of shape \(\)"),
        ({"noise_std": None}, "noise_std: .*got dtype object"),
    ],
)
def test_constructor_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        ClusterDistribution(**({"features": np.eye(2), "labels": [1, -1]} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_clusters": 1}, "n_clusters: expected an integer of at least 2, got 1"),
        ({"n_clusters": 2.0}, "n_clusters: expected an integer, got 2.0"),
        ({"n_clusters": 4}, "n_clusters: expected at most dim = 3 linearly independent features"),
        ({"dim": 0}, "dim: expected an integer of at least 1, got 0"),
        ({"dim": True}, "dim: expected an integer, got True"),
        ({"labels": [1, 1]}, "labels: expected clusters of both classes"),
        ({"labels": [1, -1, 1]}, r"labels: expected real numbers of shape \(2,\)"),
        ({"noise_std": -0.5}, "noise_std: expected a number of at least 0"),
        ({"rng": None}, "rng: expected a non-negative int seed"),
        ({"rng": -3}, "rng: expected a non-negative int seed"),
    ],
)
def test_orthogonal_refuses(change, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        ClusterDistribution.orthogonal(**({"n_clusters": 2, "dim": 3, "rng": 0} | change))


@pytest.mark.parametrize("cosine", [1.0, 1.5, -0.51, -1.0, np.nan, "0", None, [0.0]])
def test_correlated_refuses_cosines_that_no_three_features_have(cosine):
    with pytest.raises(ValueError, match=r"^cosine: expected"):
        ClusterDistribution.correlated(3, 5, cosine=cosine, rng=0)


@pytest.mark.parametrize("n", [0, -1, 1.0, "1", None, True])
def test_sample_refuses_sizes(n):
    with pytest.raises(ValueError, match=r"^n: expected an integer"):
        ClusterDistribution(np.eye(2), [1, -1]).sample(n, rng=0)


@pytest.mark.parametrize("rng", [None, 1.5, "seed", np.random])
def test_sample_refuses_generators(rng):
    with pytest.raises(ValueError, match=r"^rng: expected"):
        ClusterDistribution(np.eye(2), [1, -1]).sample(1, rng=rng)
