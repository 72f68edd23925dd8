"""Trained weights as features and noise, the growth of both, and their cosines (E15, E16)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl.distribution import ClusterDistribution, Sample

if TYPE_CHECKING:
    from refimpl.training import Snapshot, Trajectory


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Trained weights in terms of the data.

    feature (M,k): lambda_{r,j}, the part of cluster feature j in neuron r; noise (M,n):
    sigma_{r,i}, the part of sample i's noise in neuron r.
    """

    feature: Array
    noise: Array


def decompose(
    trajectory: Trajectory | Snapshot, sample: Sample, dist: ClusterDistribution
) -> Decomposition:
    """Split trained weights into cluster features mu_j and the noise xi_i of every sample.

    w_r = w_r(0) + sum_j lambda_{r,j} mu_j / ||mu_j||^2 + sum_i sigma_{r,i} xi_i / ||xi_i||^2,
    lambda_{r,j} = ||mu_j||^2 sum_{i in cluster j} C_{i,r},  sigma_{r,i} = ||xi_i||^2 C_{i,r},
    with xi_i = x_i - mu_{cluster i} and C = trajectory.coefficients.

    Parameters
    ----------
    trajectory : Trajectory or Snapshot
        Trained on sample.x. A snapshot is the ``get_network`` of a callback of `gradient_descent`:
        at every step it gives lambda and sigma of that step.
    sample : Sample
        x (n,d) and cluster (n,); y is not read.
    dist : ClusterDistribution
        Its features (k,d) are the mu_j; neither its labels nor its noise_std is read.

    Returns
    -------
    Decomposition
        feature (M,k): lambda; noise (M,n): sigma. A sample at its centre has sigma 0, a feature at
        the origin lambda 0: such a term is absent from the sum.

    Raises
    ------
    ValueError
        The sample's size, dimension or clusters do not fit the trajectory and the distribution.

    Notes
    -----
    Source: E15; paper, with the coefficients of E14. It holds for batches of any size.

    Examples
    --------
    One sample, x = mu_0 + xi with mu_0 = (2, 0) and xi = (0, 1); its C is 3.

    >>> from refimpl import TwoLayerReLU, Trajectory
    >>> net = TwoLayerReLU([[6.0, 3.0]], None, [[1.0]])
    >>> dist = ClusterDistribution([[2, 0], [0, 2]], [1, -1])
    >>> sample = Sample(np.array([[2.0, 1.0]]), np.array([1]), np.array([0]))
    >>> parts = decompose(Trajectory(net, np.zeros(2), np.array([[3.0]])), sample, dist)
    >>> parts.feature.tolist(), parts.noise.tolist()
    ([[12.0, 0.0]], [[3.0]])
    """
    noise, membership = _noise_and_membership(sample, dist)
    C = check.real_array("trajectory.coefficients", trajectory.coefficients, (len(noise), "M"))
    with np.errstate(all="ignore"):
        feature = _squared_norms(dist.features) * (C.T @ membership)  # (E15)
        of_noise = _squared_norms(noise) * C.T  # (E15)
    check.representable("trajectory.coefficients", "lambda", feature)
    check.representable("trajectory.coefficients", "sigma", of_noise)
    return Decomposition(feature, of_noise)


@dataclass(frozen=True, eq=False)
class IncrementBounds:
    """Bounds on |C(t+1) - C(t)|, and on the same of lambda and sigma, in one step.

    coefficient: float, for every C_{i,r}; feature (k,): for lambda_{r,j} of cluster j; noise (n,):
    for sigma_{r,i} of sample i. No bound depends on the neuron r.
    """

    coefficient: float
    feature: Array
    noise: Array


def increment_bounds(
    sample: Sample, dist: ClusterDistribution, *, learning_rate: float, m: int
) -> IncrementBounds:
    """Bound what one full-batch step adds to the coefficients of the paper's binary network.

    |C_{i,r}(t+1) - C_{i,r}(t)| <= eta/(n m),
    |lambda_{r,j}(t+1) - lambda_{r,j}(t)| <= ||mu_j||^2 n_j eta/(n m),
    |sigma_{r,i}(t+1) - sigma_{r,i}(t)| <= ||xi_i||^2 eta/(n m),

    where eta is the learning rate and n_j the number of samples in cluster j. The increment of
    C_{i,r} is eta/n times a sigmoid, which is below 1, times an output weight, which is 1/m in
    size.

    Parameters
    ----------
    sample : Sample
        The training samples, x (n,d) and cluster (n,).
    dist : ClusterDistribution
        Its features (k,d) are the mu_j.
    learning_rate : float, above 0
    m : int, at least 1
        Neurons of each sign.

    Raises
    ------
    ValueError
        The sample does not fit the distribution, or a number is out of range.

    Notes
    -----
    Source: E16, derived, which also has the signs. Let labels be constant on clusters, and s_r be
    the sign of neuron r's output weight. For j in J_{s_r}, lambda_{r,j} and sigma_{r,i} of the
    samples i in cluster j never decrease. For the other clusters they never increase.

    Examples
    --------
    >>> dist = ClusterDistribution([[2, 0], [0, 2]], [1, -1])
    >>> sample = Sample(np.array([[2.0, 1.0], [0.0, 2.0]]), np.array([1, -1]), np.array([0, 1]))
    >>> bounds = increment_bounds(sample, dist, learning_rate=1.0, m=4)
    >>> bounds.coefficient, bounds.feature.tolist(), bounds.noise.tolist()
    (0.125, [0.5, 0.5], [0.125, 0.0])
    """
    noise, membership = _noise_and_membership(sample, dist)
    eta = check.real("learning_rate", learning_rate, positive=True)
    coefficient = eta / (len(noise) * check.integer("m", m, minimum=1))  # (E16)
    feature = _squared_norms(dist.features) * membership.sum(axis=0) * coefficient  # (E16)
    return IncrementBounds(coefficient, feature, _squared_norms(noise) * coefficient)  # (E16)


def cosine_matrix(features: ArrayLike, W: ArrayLike) -> Array:
    """Cosines of the angles between features and weight vectors.

    <mu_i, w_r> / (||mu_i|| ||w_r||), as in the paper's Figure 2.

    Parameters
    ----------
    features : (k,d) array
    W : (M,d) array

    Returns
    -------
    (k,M) array
        In [-1, 1]: what rounding puts beyond is set to the end.

    Raises
    ------
    ValueError
        Shapes that differ in d; a row of zeros, which has no angle.

    Examples
    --------
    >>> cosine_matrix([[2, 0], [0, 5]], [[3, 4], [0, -1]]).tolist()
    [[0.6, 0.0], [0.8, -1.0]]
    """
    features = check.real_array("features", features, ("k", "d"))
    W = check.real_array("W", W, ("M", features.shape[1]))
    return np.clip(_unit_rows("features", features) @ _unit_rows("W", W).T, -1.0, 1.0)


def _noise_and_membership(sample: Sample, dist: ClusterDistribution) -> tuple[Array, Array]:
    """Noise vectors xi (n,d), and the indicators (n,k) of clusters."""
    x = check.real_array("sample.x", sample.x, ("n", dist.dim))
    cluster = check.classes("sample.cluster", sample.cluster, len(x), dist.n_clusters)
    return x - dist.features[cluster], np.eye(dist.n_clusters)[cluster]


def _squared_norms(rows: Array) -> Array:
    return np.einsum("ij,ij->i", rows, rows)


def _unit_rows(name: str, rows: Array) -> Array:
    largest = np.abs(rows).max(axis=1, keepdims=True)
    if not largest.all():
        check.fail(name, "rows that are not zero", f"zeros in row {int(np.argmin(largest))}")
    scaled = rows / largest  # so that no square overflows or vanishes
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
