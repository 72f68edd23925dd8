# ruff: noqa: D401 - a claim's docstring states the property
"""Claims on samples (E1): the laws of large numbers, at odds of 1e-9 against a false alarm."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from refimpl._arrays import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe
from refimpl.conformance.case import Case
from refimpl.conformance.claims.registry import claim

DRAWS = 64  # so many shares are off by at most 0.41
LAGS = (1, 2, 3, 10, 32, 64, 100, 128, 256, 512, 1000, 1024, 2048)  # where blocks may begin anew


def _noise(mine: Probe, case: Case) -> tuple[Array, Array]:
    """(x - mu_cluster)/noise_std, in float64, and the clusters."""
    x, _, cluster = mine.sample(**case)
    _demand_indices(mine, cluster, len(case.labels))
    return (x - case.features[cluster.astype(int)]) / case.noise_std, cluster


def _demand_indices(mine: Probe, cluster: Array, k: int) -> None:
    """Demand that clusters are indices of the features."""
    mine.demand("cluster", np.isin(cluster, np.arange(k)), f"an integer from 0 to {k - 1}", cluster)


def _resolution(mine: Probe, case: Case) -> float:
    """Rounding of x, in units of the noise."""
    return 4 * mine.unit * float(np.abs(case.features).max() / case.noise_std + 8)


@claim("E1-sample-labels", "sample", cases.draws())
def labels(mine: Probe, truth: Probe, case: Case) -> None:
    """Every y is the label of its cluster, and clusters are indices from 0.

    Else the learner trains on wrong labels, and clean accuracy has a ceiling that looks like bad
    optimisation.
    """
    _, y, cluster = mine.sample(**case)
    k = len(case.labels)
    _demand_indices(mine, cluster, k)
    expected = case.labels[cluster.astype(int)]
    mine.demand("y", y == expected, expected, y)


@claim("E1-uniform-clusters", "sample", cases.draws())
def uniform(mine: Probe, truth: Probe, case: Case) -> None:
    """Clusters are drawn uniformly, whatever the sizes of the two classes.

    Drawing the label first weights the clusters of the smaller class up: averaged features then
    have unequal weights, and so do radii.
    """
    k, n = len(case.labels), case.n
    cluster = mine.sample(**case)[2]
    shares = np.bincount(cluster.astype(int) % k, minlength=k).cumsum() / n
    expected = np.arange(1, k + 1) / k
    mine.agree("share of clusters up to j", shares, expected, tolerances.uniform_distance(n))


@claim("E1-independent-clusters", "sample", cases.draws())
def independent_clusters(mine: Probe, truth: Probe, case: Case) -> None:
    """Clusters are drawn anew for every sample: two of them agree with a probability of 1/k.

    Clusters in turn are balanced exactly: no training set is then ever short of one.
    """
    k, n = len(case.labels), case.n
    cluster = mine.sample(**case)[2]
    for lag in (*LAGS, k):
        same = np.mean(cluster[lag:] == cluster[:-lag])
        # Pairs overlap: in two halves, at worst, they are independent.
        bound = 2 * tolerances.uniform_distance((n - lag) // 2)
        mine.agree(f"share of equal clusters {lag} samples apart", same, 1 / k, bound)


@claim("E1-clusters-with-replacement", "sample", cases.draws())
def with_replacement(mine: Probe, truth: Probe, case: Case) -> None:
    """Clusters are drawn with replacement: of k samples some share one in 1 - k!/k^k of the draws.

    Clusters that are dealt and shuffled are balanced as well, and no lag shows it.
    """
    k = len(case.labels)
    seeds = case.seed % 2**30 + np.arange(DRAWS)
    drawn = (mine.sample(**case.replace(n=k, seed=int(seed)))[2] for seed in seeds)
    shared = np.mean([len(np.unique(cluster)) < k for cluster in drawn])
    expected = 1 - math.factorial(k) / k**k
    bound = tolerances.uniform_distance(DRAWS)
    mine.agree("share of draws with a cluster twice", shared, expected, bound)


@claim("E1-noise-mean", "sample", cases.draws())
def mean(mine: Probe, truth: Probe, case: Case) -> None:
    """x - mu_cluster has mean 0 in every coordinate and every cluster.

    A shift adds one more feature that the network can use.
    """
    noise, cluster = _noise(mine, case)
    for j in np.unique(cluster):
        part = noise[cluster == j]
        bound = tolerances.deviations() / np.sqrt(len(part)) + _resolution(mine, case)
        mine.agree(f"mean of (x - mu)/noise_std, cluster {j}", part.mean(axis=0), 0.0, bound)


@claim("E1-noise-scale", "sample", cases.draws())
def scale(mine: Probe, truth: Probe, case: Case) -> None:
    """x - mu_cluster has variance noise_std^2 in every coordinate.

    All radii are in units of the noise: a factor here rescales every result. Watch for noise_std
    read as a variance, and for a noise vector that is normalised.
    """
    variance = np.square(_noise(mine, case)[0]).mean(axis=0)
    bound = tolerances.chi_square(case.n) + 8 * _resolution(mine, case)
    mine.agree("mean of ((x - mu)/noise_std)^2", variance, 1.0, bound)


@claim("E1-noise-gaussian", "sample", cases.draws())
def gaussian(mine: Probe, truth: Probe, case: Case) -> None:
    """The noise has the distribution function of a Gaussian, and its tails.

    The laws of radii on noisy samples (E23 to E25) hold for Gaussian noise only.
    """
    noise = _noise(mine, case)[0]
    resolution = _resolution(mine, case)
    for column in (*noise.T, noise.ravel()):
        n, ordered = len(column), np.sort(column)
        distance = np.abs(ndtr(ordered) - (np.arange(n) + 0.5) / n).max()
        bound = tolerances.uniform_distance(n) + 1 / n + resolution
        mine.within("distance of distribution functions", distance, bound)
    least, most = tolerances.largest(noise.size)
    largest = float(np.abs(noise).max())
    mine.demand(
        "largest |x - mu|/noise_std",
        least - resolution <= largest <= most + resolution,
        f"between {least:.3g} and {most:.3g}",
        largest,
    )


@claim("E1-independent-noise", "sample", cases.draws())
def independent(mine: Probe, truth: Probe, case: Case) -> None:
    """Noise is drawn anew for every sample and every coordinate.

    Shared noise is a feature, not noise: the network learns it, and its radius with it.
    """
    noise, n = _noise(mine, case)[0], case.n
    # g g' = ((g + g')^2 - (g - g')^2)/4: two chi-square variables of the same mean. Products of
    # samples some lag apart overlap: in two parts, at worst, they are independent.
    for lag in LAGS:
        mean = (noise[lag:] * noise[:-lag]).mean(axis=0)
        bound = 2 * tolerances.chi_square((n - lag) // 2 - 1) + 8 * _resolution(mine, case)
        mine.agree(f"mean product of samples {lag} apart", mean, 0.0, bound)
    products = noise.T @ noise / n
    np.fill_diagonal(products, 0.0)
    bound = 2 * tolerances.chi_square(n) + 8 * _resolution(mine, case)
    mine.agree("mean product of coordinates", products, 0.0, bound)


@claim("E1-noiseless", "sample", cases.draws())
def noiseless(mine: Probe, truth: Probe, case: Case) -> None:
    """With noise_std = 0 every sample is its cluster's centre, exactly.

    The radii of E19 to E21 are stated at centres.
    """
    x, _, cluster = mine.sample(**case.replace(noise_std=0.0, n=16))
    expected = case.features[cluster.astype(int) % len(case.labels)]
    mine.demand("x at noise_std = 0", x == expected, expected, x)


@claim("E1-seeds", "sample", cases.draws())
def seeds(mine: Probe, truth: Probe, case: Case) -> None:
    """The same seed gives the same samples, another seed gives others.

    Else nobody repeats a result, or every repetition is the same one.
    """
    case = case.replace(n=64)
    first, again = (mine.sample(**case)[0] for _ in range(2))
    other = mine.sample(**case.replace(seed=case.seed + 1))[0]
    mine.demand("x of the same seed, once more,", first == again, first, again)
    mine.demand("x of another seed", (first != other).any(), "other than before", "the same")
