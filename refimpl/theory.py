"""Exact radii of the idealised networks (E19 to E22) and their laws on noisy samples (E23 to E25).

The networks are `TwoLayerReLU.feature_averaging` and `TwoLayerReLU.feature_decoupling` on
orthogonal features of norm sqrt(d) (E2), adversarial ties. Everything here is a formula; what
trained networks do is a matter of measurement, and `robust_radius` measures it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import bdtr, gammaincc, gammaln, ndtr, xlogy

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl.attacks import unit_rows
from refimpl.distribution import ClusterDistribution

KINDS = ("averaging", "group_max", "group_sum")
_FAR = 1e100  # times 1 + sqrt(d): every law is 0 there, and squares are still finite
_TAIL = 9.0  # P(|g| > 9) < 3e-19 for a standard normal g


def feature_averaging_radius(k: int, d: int) -> float:
    """Exact l2 robust radius of f_FA at a cluster centre.

    inf{||delta|| : y_j f_FA(mu_j + delta) <= 0} = sqrt(d / k), the same for every cluster and every
    partition: at mu_j the own neuron is d and the other 0, so f_FA = 0 is reached first where
    <v+ - v-, x> = 0, at distance d / ||v+ - v-|| = d / sqrt(k d).

    Parameters
    ----------
    k : int, at least 2
        Clusters.
    d : int, at least k
        Input dimension.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        k < 2 or d < k.

    Notes
    -----
    Source: E19. The paper's abstract states the order; as a bound from above it is in Min and
    Vidal, *Can Implicit Bias Imply Adversarial Robustness?*, ICML 2024; the equality is derived.

    Examples
    --------
    >>> feature_averaging_radius(k=4, d=64)
    4.0
    """
    k = check.integer("k", k, minimum=2)
    return math.sqrt(check.integer("d", d, minimum=k) / k)  # (E19)


def decoupled_radius(d: int, bias: float = 0.0) -> float:
    """Exact l2 robust radius of f_FD under group_max at a cluster centre.

    max(0, min(sqrt(d/2), sqrt(d) + bias / sqrt(d))): sqrt(d/2) is the distance to the midpoint of
    mu_j and a centre of the other class, where their neurons tie. With a negative bias the own
    neuron reaches 0, as all others are, at the distance sqrt(d) + bias / sqrt(d).

    Parameters
    ----------
    d : int, at least 2
        Input dimension.
    bias : float
        Of every neuron, `TwoLayerReLU.feature_decoupling(dist, bias)`.

    Returns
    -------
    float
        0 for bias <= -d: all outputs are 0 at the centre, a tie.

    Raises
    ------
    ValueError
        d < 2, or a bias that is not finite.

    Notes
    -----
    Source: E20. The paper's abstract states the order. No classifier is robust beyond sqrt(d/2) on
    the centres of two classes at once, since their midpoint is adversarial for one of them: Min and
    Vidal, *Gradient Flow Provably Learns Robust Classifiers for Orthonormal GMMs*, ICML 2025,
    Proposition 1, which also covers noisy samples. The equality for f_FD is derived.

    Examples
    --------
    >>> decoupled_radius(d=8), decoupled_radius(d=4, bias=-3.0)
    (2.0, 0.5)
    """
    d = check.integer("d", d, minimum=2)
    bias = check.real("bias", bias)
    return max(0.0, min(math.sqrt(d / 2), math.sqrt(d) + bias / math.sqrt(d)))  # (E20)


def group_sum_radius(k_opposite: int, d: int, bias: float = 0.0) -> float:
    """Exact l2 robust radius of f_FD under group_sum at a cluster centre.

    min over n = 0..k_opposite of (sqrt(d) + (n - 1) |bias| / sqrt(d)) / sqrt(1 + n): the nearest
    tie at which n neurons of the other class are active, each with the same output, whose sum is
    that of the own neuron. Without bias n = k_opposite is nearest, at sqrt(d / (1 + k_opposite)).

    Parameters
    ----------
    k_opposite : int, at least 1
        Clusters of the other class.
    d : int, at least 1 + k_opposite
        Input dimension.
    bias : float, at most 0
        Of every neuron, `TwoLayerReLU.feature_decoupling(dist, bias)`.

    Returns
    -------
    float
        0 for bias <= -d: all outputs are 0 at the centre, a tie.

    Raises
    ------
    ValueError
        k_opposite < 1, d <= k_opposite, or a positive bias: all neurons are then active at the
        centre, and the radius depends on both numbers of clusters.

    Notes
    -----
    Source: E21, derived.

    Examples
    --------
    >>> group_sum_radius(k_opposite=3, d=64), group_sum_radius(k_opposite=3, d=64, bias=-40.0)
    (4.0, 3.0)
    """
    k = check.integer("k_opposite", k_opposite, minimum=1)
    d = check.integer("d", d, minimum=k + 1)
    bias = check.real("bias", bias)
    if bias > 0:
        check.fail("bias", "a number of at most 0", bias)
    n, root = np.arange(k + 1), math.sqrt(d)
    return max(0.0, float(np.min((root - (n - 1) * (bias / root)) / np.sqrt(1 + n))))  # (E21)


def centre_radius(kind: str, *, k_own: int, k_opposite: int, d: int) -> float:
    """Exact l2 robust radius of an idealised network without bias at a cluster centre.

    Parameters
    ----------
    kind : "averaging", "group_max" or "group_sum"
        As in `robust_accuracy`.
    k_own, k_opposite : int, at least 1
        Clusters of the centre's class and of the other.
    d : int, at least k_own + k_opposite
        Input dimension.

    Raises
    ------
    ValueError
        Another kind, or numbers out of range.

    Notes
    -----
    Source: E19, E20, E21.

    Examples
    --------
    >>> [centre_radius(kind, k_own=1, k_opposite=3, d=36) for kind in ("averaging", "group_sum")]
    [3.0, 3.0]
    """
    kind = check.choice("kind", kind, KINDS)
    own = check.integer("k_own", k_own, minimum=1)
    opposite = check.integer("k_opposite", k_opposite, minimum=1)
    d = check.integer("d", d, minimum=own + opposite)
    if kind == "averaging":
        return feature_averaging_radius(own + opposite, d)
    return decoupled_radius(d) if kind == "group_max" else group_sum_radius(opposite, d)


def feature_averaging_radius_at(x: ArrayLike, y: ArrayLike, dist: ClusterDistribution) -> Array:
    """Exact l2 robust radius of f_FA at any samples, for any features.

    f_FA is adversarial where <v_y, x'> <= max(<v_-y, x'>, 0), a union of two half-spaces:
    r = min(<v_y, x> / ||v_y||, <v_y - v_-y, x> / ||v_y - v_-y||).

    Parameters
    ----------
    x : (n,d) array
    y : (n,) array in {-1, +1}
    dist : ClusterDistribution
        Its features make v_s = sum_{labels_j = s} mu_j.

    Returns
    -------
    (n,) array
        0 where f_FA is wrong or ties.

    Raises
    ------
    ValueError
        Bad shapes or values.

    Notes
    -----
    Source: E22, derived; under (E2) the norms are sqrt(d k_own) and sqrt(d k).

    Examples
    --------
    >>> dist = ClusterDistribution([[2, 0], [0, 2]], [1, -1])
    >>> feature_averaging_radius_at([[3, -4], [1, 2]], [1, 1], dist).tolist()
    [3.0, 0.0]
    """
    x = check.real_array("x", x, ("n", dist.dim))
    y = check.signs("y", y, len(x))
    v = dist.class_sums
    own, other = v[np.where(y > 0, 0, 1)], v[np.where(y > 0, 1, 0)]
    distances = [_distance(normal, x) for normal in (own, own - other)]
    return np.maximum(np.minimum(*distances), 0.0)  # (E22)


def robust_accuracy(
    kind: str,
    epsilons: ArrayLike,
    *,
    n_positive: int,
    n_negative: int,
    d: int,
    noise_std: float = 1.0,
) -> Array:
    """P(r > epsilon) for the robust radius r of an idealised network at a noisy sample.

    Let g be iid N(0, 1), k_own and k_opp the numbers of clusters of the sample's own and of the
    other class, and k = k_own + k_opp. For noise_std = 1 the radius r is the positive part of

    - averaging: min(p / sqrt(k_own), (p - q) / sqrt(k)), p ~ N(sqrt(d), k_own), q ~ N(0, k_opp);
    - group_max: (sqrt(d) + g_own - max_opp g) / sqrt(2);
    - group_sum: sqrt(N^2 / (1 + k_opp) + sum_{other own} max(g, 0)^2) where N > 0, and 0 elsewhere,
      N = sqrt(d) + g_own - sum_opp g.

    For another noise_std all lengths, sqrt(d) among them, are in units of it.

    Parameters
    ----------
    kind : "averaging", "group_max" or "group_sum"
        f_FA, or f_FD without bias under one of its two readouts.
    epsilons : (e,) array, at least 0
        Radii, l2.
    n_positive, n_negative : int, at least 1
        Clusters of the two classes. The law is the mixture over a sample's class.
    d : int, at least n_positive + n_negative
        Input dimension.
    noise_std : float, above 0
        The paper has 1.

    Returns
    -------
    (e,) array
        In [0, 1], never rising with epsilon. It is computed by quadrature in one dimension, with an
        error below 1e-12 for up to a hundred clusters.

    Raises
    ------
    ValueError
        Another kind, or numbers out of range.

    Notes
    -----
    Source: E23 to E25, derived. The law of averaging is exact; that of group_max is exact per
    sample while 0 and the other own g are at most (sqrt(d) + g_own + max_opp g) / 2; that of
    group_sum is the leading order for sqrt(d) well above 6 (1 + k_opp).

    Examples
    --------
    With one cluster a class, r of group_max is N(sqrt(d/2), 1).

    >>> robust_accuracy("group_max", [2.0], n_positive=1, n_negative=1, d=8).round(12).tolist()
    [0.5]
    """
    law = _LAWS[check.choice("kind", kind, KINDS)]
    epsilons = check.real_array("epsilons", epsilons, ("e",))
    if epsilons.min() < 0:
        check.fail("epsilons", "numbers of at least 0", epsilons.min())
    positive = check.integer("n_positive", n_positive, minimum=1)
    negative = check.integer("n_negative", n_negative, minimum=1)
    k = positive + negative
    d = check.integer("d", d, minimum=k)
    noise_std = check.real("noise_std", noise_std, positive=True)
    order = np.argsort(epsilons)
    with np.errstate(over="ignore"):
        scaled, root = epsilons[order] / noise_std, np.sqrt(d) / noise_std
        check.representable("noise_std", "its share of sqrt(d)", np.square(_FAR * (1 + root)))
    scaled = np.minimum(scaled, _FAR * (1 + root))
    sides = ((positive, negative), (negative, positive))
    share = [sum(own * law(e, root, own, opp) for own, opp in sides) / k for e in scaled]
    result = np.empty(len(epsilons))
    # Rounding must not make a curve rise.
    result[order] = np.minimum.accumulate(np.clip(share, 0.0, 1.0))
    return result


def median_radius(
    kind: str, *, n_positive: int, n_negative: int, d: int, noise_std: float = 1.0
) -> float:
    """Median of the robust radius whose law is `robust_accuracy`: P(r > median) = 1/2.

    Parameters
    ----------
    kind, n_positive, n_negative, d, noise_std
        As in `robust_accuracy`.

    Returns
    -------
    float
        Within 1e-9; 0 where at most half of the samples are decided right.

    Raises
    ------
    ValueError
        As `robust_accuracy`.

    Notes
    -----
    Source: E23 to E25, derived.

    Examples
    --------
    >>> round(median_radius("group_max", n_positive=1, n_negative=1, d=8), 6)
    2.0
    """
    from scipy.optimize import brentq  # on first use: importing it takes longer than refimpl itself

    def above_half(epsilon: float) -> float:
        sizes = {"n_positive": n_positive, "n_negative": n_negative}
        share = robust_accuracy(kind, [epsilon], **sizes, d=d, noise_std=noise_std)
        return float(share[0]) - 0.5

    if above_half(0.0) <= 0:
        return 0.0
    last = math.sqrt(d) + _TAIL * noise_std * math.sqrt(n_positive + n_negative)
    return float(brentq(above_half, 0.0, last, xtol=1e-9))


def law_parameters(dist: ClusterDistribution) -> dict[str, float] | None:
    """Arguments of `robust_accuracy` and `median_radius` for a distribution, but for the kind.

    Returns
    -------
    dict or None
        None: no law is known, as the features are not orthogonal of norm sqrt(d) (E2), or there is
        no noise.

    Examples
    --------
    >>> law_parameters(ClusterDistribution.orthogonal(3, 9, rng=0))
    {'n_positive': 1, 'n_negative': 2, 'd': 9, 'noise_std': 1.0}
    >>> law_parameters(ClusterDistribution.correlated(3, 9, cosine=0.5, rng=0)) is None
    True
    """
    gram = dist.features @ dist.features.T / dist.dim
    if not (dist.noise_std and np.allclose(gram, np.eye(dist.n_clusters), 0, 1e-9)):
        return None
    positive, negative = dist.class_sizes
    sizes = {"n_positive": positive, "n_negative": negative}
    return {**sizes, "d": dist.dim, "noise_std": dist.noise_std}


def _averaging(epsilon: float, root: float, own: int, opp: int) -> float:
    """P(p > epsilon sqrt(own), p - q > epsilon sqrt(own + opp)), p = root + sqrt(own) u."""
    slope = math.sqrt(own / opp)
    offset = (root - epsilon * math.sqrt(own + opp)) / math.sqrt(opp)
    start = max(epsilon - root / math.sqrt(own), -_TAIL)
    # A panel is as long as the steeper of the two normal functions is wide.
    u, weights = _panels(start, _TAIL, max(0, math.ceil((_TAIL - start) * max(1.0, slope))))
    return float(weights @ (_normal_density(u) * ndtr(slope * u + offset)))  # (E23)


def _group_max(epsilon: float, root: float, own: int, opp: int) -> float:
    """P(max_opp g < u + root - sqrt(2) epsilon), u = g_own."""
    u, weights = _panels(-_TAIL, _TAIL, 18)
    largest = ndtr(u + root - math.sqrt(2) * epsilon) ** opp
    return float(weights @ (_normal_density(u) * largest))  # (E24)


def _group_sum(epsilon: float, root: float, own: int, opp: int) -> float:
    """P(T > 0, T^2 + s^2 > epsilon^2), T ~ N(root / sqrt(1 + opp), 1).

    s^2 = sum of own - 1 terms max(g, 0)^2 is chi-squared with j degrees of freedom, j binomial. The
    integral over s < epsilon runs in s = epsilon sin(angle), where T > epsilon cos(angle).
    """
    centre = root / math.sqrt(1 + opp)
    j = np.arange(1, own)
    chance = np.diff(bdtr(np.arange(own), own - 1, 0.5))
    beyond = chance @ gammaincc(j / 2, epsilon**2 / 2)
    result = 0.5 ** (own - 1) * ndtr(centre - epsilon) + beyond * ndtr(centre)
    if own > 1 and epsilon > 0:
        end = min(epsilon, math.sqrt(own) + _TAIL)
        angle, weights = _panels(0.0, math.asin(end / epsilon), math.ceil(math.pi * end))
        s, t = epsilon * np.sin(angle), epsilon * np.cos(angle)
        result += (chance @ _chi_density(s, j)) @ (weights * t * ndtr(centre - t))  # (E25)
    return float(result)


_LAWS: dict[str, Callable[[float, float, int, int], float]] = {
    "averaging": _averaging,
    "group_max": _group_max,
    "group_sum": _group_sum,
}


def _distance(normals: Array, x: Array) -> Array:
    """Signed distance <v, x> / ||v|| row by row, 0 for v = 0."""
    return np.einsum("nd,nd->n", unit_rows(normals), x)


def _normal_density(u: Array) -> Array:
    return np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)


def _chi_density(s: Array, j: IntArray) -> Array:
    """Density of the root of a chi-squared with j degrees of freedom, (j,s)."""
    j = j[:, None]
    return np.exp(xlogy(j - 1, s) - s**2 / 2 - (j / 2 - 1) * math.log(2) - gammaln(j / 2))


@cache
def _legendre() -> tuple[Array, Array]:
    return np.polynomial.legendre.leggauss(16)


def _panels(start: float, stop: float, count: int) -> tuple[Array, Array]:
    """Nodes and weights of Gauss-Legendre quadrature on `count` equal panels; none for 0.

    >>> u, weights = _panels(0.0, 2.0, 3)
    >>> round(float(weights @ u**3), 12)
    4.0
    """
    nodes, weights = _legendre()
    half = (stop - start) / (2 * max(count, 1))
    middles = start + half * (2 * np.arange(count) + 1)
    return (middles[:, None] + half * nodes).ravel(), np.tile(half * weights, count)
