# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""Defects of sampling (E1)."""

from __future__ import annotations

from typing import Any

import numpy as np

from refimpl.conformance.defects.plain import Plain
from refimpl.conformance.defects.registry import breaks


@breaks("E1-sample-labels")
class LabelsDrawnApart(Plain):
    """y is drawn at random, not read off the cluster."""

    def sample(self, *arguments: Any) -> Any:
        x, y, cluster = super().sample(*arguments)
        return x, np.random.default_rng(arguments[-1]).permutation(y), cluster


@breaks("E1-sample-labels")
class LabelsZeroOne(Plain):
    """Labels 0 and 1."""

    def sample(self, *arguments: Any) -> Any:
        x, y, cluster = super().sample(*arguments)
        return x, (y + 1) // 2, cluster


@breaks("E1-sample-labels")
class ClustersFromOne(Plain):
    """Clusters are counted from 1."""

    def sample(self, *arguments: Any) -> Any:
        x, y, cluster = super().sample(*arguments)
        return x, y, cluster + 1


@breaks("E1-uniform-clusters")
class LabelDrawnFirst(Plain):
    """A fair label first, then a cluster of that class."""

    def clusters(self, rng: Any, labels: Any, n: int) -> Any:
        y = rng.choice([-1, 1], n)
        return np.array([rng.choice(np.flatnonzero(labels == s)) for s in y])


@breaks("E1-uniform-clusters")
class LastClusterMissing(Plain):
    """The upper end of integers(0, k - 1) is taken for included."""

    def clusters(self, rng: Any, labels: Any, n: int) -> Any:
        return rng.integers(0, len(labels) - 1, size=n)


@breaks("E1-noise-mean")
class NoiseWithMean(Plain):
    """Uniform noise of variance 1 that starts at 0."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        return np.sqrt(12) * rng.random((n, d))


@breaks("E1-noise-scale")
class VarianceForDeviation(Plain):
    """noise_std is read as a variance."""

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        return super().sample(features, labels, noise_std**0.5, n, seed)


@breaks("E1-noise-scale")
class NoiseNormalised(Plain):
    """Each noise vector has norm 1."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        noise = super().noise(rng, n, d)
        return noise / np.linalg.norm(noise, axis=1, keepdims=True)


@breaks("E1-noise-gaussian")
class NoiseUniform(Plain):
    """Uniform noise of mean 0 and variance 1."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        return np.sqrt(12) * (rng.random((n, d)) - 0.5)


@breaks("E1-independent-noise")
class NoisePerSample(Plain):
    """One number for all coordinates of a sample."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        return np.repeat(rng.standard_normal((n, 1)), d, axis=1)


@breaks("E1-independent-noise")
class NoiseInPairs(Plain):
    """Antithetic draws: every second noise vector is minus the one before."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        noise = rng.standard_normal((n, d))
        noise[1::2] = -noise[: 2 * (n // 2) : 2]
        return noise


@breaks("E1-noiseless")
class NoiseFloor(Plain):
    """noise_std has a floor of 1e-6."""

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        return super().sample(features, labels, max(noise_std, 1e-6), n, seed)


@breaks("E1-seeds")
class SeedIgnored(Plain):
    """The global seed is used, whatever is asked for."""

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        return super().sample(features, labels, noise_std, n, 0)


@breaks("E1-seeds")
class FreshEntropy(Plain):
    """A new seed from the system at each call."""

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        fresh = int(np.random.SeedSequence().generate_state(1)[0])
        return super().sample(features, labels, noise_std, n, fresh)


@breaks("E1-clusters-with-replacement")
class ClustersDealt(Plain):
    """As many samples of each cluster as may be, in random order."""

    def clusters(self, rng: Any, labels: Any, n: int) -> Any:
        return rng.permutation(np.arange(n) % len(labels))


@breaks("E1-independent-clusters")
class ClustersInTurn(Plain):
    """Cluster i modulo k: balanced, and not drawn."""

    def clusters(self, rng: Any, labels: Any, n: int) -> Any:
        return np.arange(n) % len(labels)


@breaks("E1-noise-mean")
class NoiseSortedWithClusters(Plain):
    """Noise and clusters come from one sorted draw."""

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        cluster, noise = self.clusters(rng, labels, n), self.noise(rng, n, features.shape[1])
        noise[np.argsort(cluster, kind="stable"), 0] = np.sort(noise[:, 0])
        return features[cluster] + noise_std * noise, labels[cluster], cluster


@breaks("E1-independent-noise")
class NoiseRepeatsInBlocks(Plain):
    """Each block of 1024 samples begins with the same seed."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        return np.resize(rng.standard_normal((1024, d)), (n, d))


@breaks("E1-independent-noise")
class LastCoordinateIsTheFirst(Plain):
    """Pairs of numbers, and for an odd dimension the first one again."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        noise = super().noise(rng, n, d)
        noise[:, -1] = noise[:, 0] if d > 2 else noise[:, -1]
        return noise


@breaks("E1-noise-gaussian")
class NoiseTruncated(Plain):
    """Noise beyond 2.5 standard deviations is clipped."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        return np.clip(super().noise(rng, n, d), -2.5, 2.5)


@breaks("E1-noise-gaussian")
class FirstCoordinateGaussian(Plain):
    """All coordinates but the first are uniform, with mean 0 and variance 1."""

    def noise(self, rng: Any, n: int, d: int) -> Any:
        uniform = np.sqrt(12) * (rng.random((n, d)) - 0.5)
        uniform[:, 0] = rng.standard_normal(n)
        return uniform
