"""Multi-cluster data: features, classes, samples (E1 to E3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _repr
from refimpl import _validation as check
from refimpl._arrays import Array, IntArray


@dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """Labelled points: x (n,d) float64, y (n,) in {-1,+1}, cluster (n,) in 0..k-1, both int64."""

    x: Array
    y: IntArray
    cluster: IntArray

    def __repr__(self) -> str:
        n, dim = self.x.shape
        return _repr.sizes(self, n=n, dim=dim)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class ClusterDistribution:
    """Mixture of k Gaussian clusters, each with a binary label.

    j ~ Unif{0..k-1}, y = labels[j], x = features[j] + xi, xi ~ N(0, noise_std^2 I).

    Parameters
    ----------
    features : (k,d) array, k >= 2
        Cluster centres mu_j.
    labels : (k,) array in {-1, +1}
        Classes of the clusters, J+ = {labels = +1} and J- = {labels = -1}, neither empty.
    noise_std : float, at least 0
        Standard deviation of every coordinate of the noise; the paper has 1.

    Raises
    ------
    ValueError
        Bad shapes or values, fewer than two clusters, a class without a cluster.

    Notes
    -----
    Source: E1; paper, Definition 3.1. The arrays are kept as read-only copies.

    Examples
    --------
    >>> dist = ClusterDistribution([[2, 0], [0, 2]], [1, -1], noise_std=0)
    >>> sample = dist.sample(3, rng=0)
    >>> dist, sample
    (ClusterDistribution(n_clusters=2, dim=2, noise_std=0.0), Sample(n=3, dim=2))
    >>> bool((sample.x == dist.features[sample.cluster]).all())
    True
    """

    features: Array
    labels: IntArray
    noise_std: float

    def __init__(self, features: ArrayLike, labels: ArrayLike, noise_std: float = 1.0) -> None:
        features = check.real_array("features", features, ("k", "d"))
        if len(features) < 2:
            check.fail("features", "at least 2 clusters", len(features))
        labels = check.signs("labels", labels, len(features))
        if abs(labels.sum()) == len(labels):
            check.fail("labels", "clusters of both classes", f"only {labels[0]:+d}")
        object.__setattr__(self, "features", check.frozen(features))
        object.__setattr__(self, "labels", check.frozen(labels))
        object.__setattr__(self, "noise_std", check.real("noise_std", noise_std, minimum=0))

    def __repr__(self) -> str:
        return _repr.sizes(self, n_clusters=self.n_clusters, dim=self.dim, noise_std=self.noise_std)

    @classmethod
    def orthogonal(
        cls,
        n_clusters: int,
        dim: int,
        *,
        labels: ArrayLike | None = None,
        noise_std: float = 1.0,
        rng: int | np.random.Generator,
    ) -> ClusterDistribution:
        """Uniformly random orthogonal features of norm sqrt(d), the paper's setting.

        <mu_i, mu_j> = d 1[i = j].

        Parameters
        ----------
        n_clusters, dim : int
            k and d, 2 <= k <= d.
        labels : (k,) array in {-1, +1}, optional
            By default the first floor(k/2) clusters are +1 and the rest -1.
        noise_std : float
            As in the class.
        rng : int or numpy.random.Generator
            Draws the rotation of the features.

        Raises
        ------
        ValueError
            k < 2, k > d, or what the class raises.

        Notes
        -----
        Source: E2; paper, Assumption 3.2.

        Examples
        --------
        >>> mu = ClusterDistribution.orthogonal(3, 9, rng=0).features
        >>> bool(np.allclose(mu @ mu.T, 9 * np.eye(3)))
        True
        """
        return cls.correlated(
            n_clusters, dim, cosine=0.0, labels=labels, noise_std=noise_std, rng=rng
        )

    @classmethod
    def correlated(
        cls,
        n_clusters: int,
        dim: int,
        *,
        cosine: float,
        labels: ArrayLike | None = None,
        noise_std: float = 1.0,
        rng: int | np.random.Generator,
    ) -> ClusterDistribution:
        """Features of norm sqrt(d) with one common pairwise cosine.

        <mu_i, mu_j> = d for i = j and d * cosine otherwise. The features are the symmetric square
        root of this Gram matrix, applied to a random orthonormal frame.

        Parameters
        ----------
        cosine : float
            -1/(k-1) <= cosine < 1, the values for which such features exist and differ.
        n_clusters, dim, labels, noise_std, rng
            As in `orthogonal`.

        Raises
        ------
        ValueError
            k < 2, k > d, a cosine out of range, or what the class raises.

        Notes
        -----
        Source: derived; E2 is the case cosine = 0.

        Examples
        --------
        >>> mu = ClusterDistribution.correlated(3, 4, cosine=0.5, rng=0).features
        >>> np.round(mu @ mu.T, 9).tolist()
        [[4.0, 2.0, 2.0], [2.0, 4.0, 2.0], [2.0, 2.0, 4.0]]
        """
        k = check.integer("n_clusters", n_clusters, minimum=2)
        d = check.integer("dim", dim, minimum=1)
        if k > d:
            check.fail("n_clusters", f"at most dim = {d} linearly independent features", k)
        rho = check.real("cosine", cosine)
        if not -1 <= rho * (k - 1) <= k - 1 or rho == 1:
            check.fail("cosine", f"a number from -1/{k - 1} to below 1", rho)
        if labels is None:
            labels = np.where(np.arange(k) < k // 2, 1, -1)
        gaussian = check.generator(rng).standard_normal((d, k))
        frame, triangle = np.linalg.qr(gaussian)
        # With the diagonal of R positive the frame is uniform (Haar), whatever signs QR chooses.
        frame = (frame * np.where(np.diag(triangle) < 0, -1.0, 1.0)).T
        mean = frame.mean(axis=0)
        apart, along = math.sqrt(1 - rho), math.sqrt(max(1 + (k - 1) * rho, 0.0))
        features = math.sqrt(d) * (apart * (frame - mean) + along * mean)  # (E2) for rho = 0
        return cls(features, labels, noise_std)

    @property
    def n_clusters(self) -> int:
        """Number of clusters k."""
        return int(self.features.shape[0])

    @property
    def dim(self) -> int:
        """Input dimension d."""
        return int(self.features.shape[1])

    @property
    def class_sizes(self) -> tuple[int, int]:
        """Numbers of clusters |J+| and |J-|."""
        positive = int((self.labels > 0).sum())
        return positive, self.n_clusters - positive

    @property
    def class_sums(self) -> Array:
        """Sums of the features of each class: the rows v+ and v-, v_s = sum_{j in J_s} mu_j.

        >>> ClusterDistribution([[2, 0], [0, 2], [1, 1]], [1, -1, -1]).class_sums.tolist()
        [[2.0, 0.0], [1.0, 3.0]]
        """
        return np.stack([self.features[self.labels == side].sum(axis=0) for side in (1, -1)])

    @property
    def imbalance(self) -> float:
        """The smallest r >= 1 with 1/r <= |J+|/|J-| <= r; 1 for a balanced partition.

        >>> ClusterDistribution(np.eye(4), [1, 1, 1, -1]).imbalance
        3.0
        """
        positive, negative = self.class_sizes
        return max(positive / negative, negative / positive)  # (E3)

    def sample(self, n: int, *, rng: int | np.random.Generator) -> Sample:
        """Draw n independent labelled points.

        Parameters
        ----------
        n : int, at least 1
        rng : int or numpy.random.Generator
            Draws the clusters first, then the noise.

        Returns
        -------
        Sample
            x (n,d), y (n,), cluster (n,).
        """
        n = check.integer("n", n, minimum=1)
        rng = check.generator(rng)
        cluster = rng.integers(self.n_clusters, size=n)
        x = rng.standard_normal((n, self.dim))
        x *= self.noise_std
        x += self.features[cluster]  # (E1)
        return Sample(x, self.labels[cluster], cluster)
