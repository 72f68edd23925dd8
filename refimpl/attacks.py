"""Attacks in closed form: along the negative averaged features (E26), and one linear step (E28)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl.distribution import ClusterDistribution
from refimpl.gradients import input_gradient
from refimpl.network import TwoLayerReLU


def closed_form_attack(
    x: ArrayLike, y: ArrayLike, features: ArrayLike, labels: ArrayLike, *, epsilon: ArrayLike
) -> Array:
    """Move each sample by its budget against the averaged features of its class.

    x' = x - epsilon y v / ||v||,  v = v+ - v-,  v_s = sum_{labels_j = s} features_j.

    Parameters
    ----------
    x : (n,d) array
    y : (n,) array in {-1, +1}
    features : (k,d) array
        Cluster centres mu_j.
    labels : (k,) array in {-1, +1}
        Their classes, both present.
    epsilon : float or (n,) array, at least 0
        Budget in l2, one for all samples or one for each; ||x' - x|| is epsilon up to rounding.

    Returns
    -------
    (n,d) array
        x', a new array.

    Raises
    ------
    ValueError
        Bad shapes or values, a negative epsilon, v = 0, or an x' that overflows.

    Notes
    -----
    Source: E26; the paper's abstract names the direction. The network is not looked at. A larger
    step may flip a decision back: for the smallest step that flips it see `smallest_step`.

    Examples
    --------
    >>> closed_form_attack([[3, 0]], [1], [[3, 0], [0, 4]], [1, -1], epsilon=5).tolist()
    [[0.0, 4.0]]
    """
    u = closed_form_direction(y, features, labels)
    x = check.real_array("x", x, u.shape)
    with np.errstate(over="ignore", invalid="ignore"):
        result = x + budgets(epsilon, len(x))[:, None] * u  # (E26)
    check.representable("epsilon", "x'", result)
    return result


def closed_form_direction(y: ArrayLike, features: ArrayLike, labels: ArrayLike) -> Array:
    """Return the unit direction of E26, u = -y v / ||v|| with v = v+ - v-, row by row.

    Parameters
    ----------
    y : (n,) array in {-1, +1}
    features, labels
        As in `closed_form_attack`.

    Returns
    -------
    (n,d) array

    Raises
    ------
    ValueError
        Bad shapes or values, or v = 0.

    Notes
    -----
    Source: E26.

    Examples
    --------
    >>> closed_form_direction([1, -1], [[3, 0], [0, 4]], [1, -1]).tolist()
    [[-0.6, 0.8], [0.6, -0.8]]
    """
    y = check.signs("y", y, "n")
    dist = ClusterDistribution(features, labels)
    with np.errstate(over="ignore", invalid="ignore"):
        v = dist.labels @ dist.features
    check.representable("features", "sums", v)
    if not v.any():
        check.fail("features", "sums over the two classes that differ", "v+ - v- = 0")
    return -y[:, None] * unit_rows(v[None])  # (E26)


def linear_region_attack(net: TwoLayerReLU, x: ArrayLike, y: ArrayLike) -> Array:
    """Step to the zero of the affine function that f is in the sample's linear region.

    x' = argmin{||x' - x|| : f(x) + <grad f(x), x' - x> = 0} = x - f(x) grad f(x)/||grad f(x)||^2.

    Parameters
    ----------
    net : TwoLayerReLU
        With one output, K = 1.
    x : (n,d) array
    y : (n,) array in {-1, +1}

    Returns
    -------
    (n,d) array
        x', a new array; x itself in the rows that are misclassified, y f(x) <= 0.

    Raises
    ------
    ValueError
        K > 1, bad shapes or values, a correctly classified sample whose gradient is 0, or an x'
        that overflows.

    Notes
    -----
    Source: E28, one step of DeepFool. x' may lie in another linear region, where f(x') need not
    be 0: the result need not be adversarial. At a kink ReLU'(0) = 0 picks the gradient.

    Examples
    --------
    >>> net = TwoLayerReLU([[3.0, 4.0]], [-5.0], [[1.0]], [-20.0])  # 3 x1 + 4 x2 - 25
    >>> linear_region_attack(net, [[6, 8], [1, 1]], [1, 1]).tolist()
    [[3.0, 4.0], [1.0, 1.0]]
    """
    check.instance("net", net, TwoLayerReLU)
    if net.n_outputs != 1:
        check.fail("net", "K = 1 output", f"K = {net.n_outputs}")
    x = check.real_array("x", x, ("n", net.dim))
    y = check.signs("y", y, len(x))
    f = net.outputs(x)[:, 0]
    check.representable("x", "outputs", f)
    gradient = input_gradient(net, x, [1.0])
    correct = y * f > 0
    stuck = correct & ~gradient.any(axis=1)
    if stuck.any():
        rows = np.flatnonzero(stuck).tolist()
        check.fail("x", "a nonzero gradient where the sample is correct", f"0 in rows {rows}")
    u = unit_rows(gradient[correct])
    length = np.einsum("nd,nd->n", u, gradient[correct])  # ||grad f||
    result = x.copy()
    with np.errstate(over="ignore", invalid="ignore"):
        result[correct] -= (f[correct] / length)[:, None] * u  # (E28)
    check.representable("x", "x'", result)
    return result


def budgets(epsilon: ArrayLike, n: int) -> Array:
    """Budgets (n,), each at least 0, from one for all samples or one for each."""
    result = check.per_row("epsilon", epsilon, n)
    if result.min() < 0:
        check.fail("epsilon", "numbers of at least 0", result.min())
    return result


def unit_rows(vectors: Array, norm: float = 2) -> Array:
    """Rows divided by their norms; a zero row stays zero.

    >>> unit_rows(np.array([[3e-200, 4e-200], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    scaled, _ = scaled_rows(vectors)
    norms = np.linalg.norm(scaled, ord=norm, axis=1, keepdims=True)
    return np.divide(scaled, norms, out=np.zeros_like(scaled), where=norms > 0)


def row_norms(vectors: Array, norm: float = 2) -> Array:
    """Norms (n,) of rows.

    >>> row_norms(np.array([[3e-200, 4e-200], [0.0, 0.0]])).tolist()
    [5e-200, 0.0]
    """
    scaled, exponents = scaled_rows(vectors)
    return np.ldexp(np.linalg.norm(scaled, ord=norm, axis=1), exponents[:, 0])


def scaled_rows(vectors: Array) -> tuple[Array, IntArray]:
    """Rows over powers of two that bring their largest entries near 1, and the exponents (n,1).

    So no square of them overflows or vanishes.
    """
    exponents = np.frexp(np.abs(vectors).max(axis=1, keepdims=True))[1]
    return np.ldexp(vectors, -exponents), exponents
