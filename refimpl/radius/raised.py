"""Lower bounds that only rationals can prove, at a nearest point where neurons have their kinks.

Where two neurons are opposite but for their last bits, the multipliers that prove the distance of
a point cancel all but these bits: floats lose them, and their bound. At a point p of exact ties the
conditions of Karush, Kuhn and Tucker are linear equations, W^T q = -lambda (p - x), which are
solved in rationals here. What comes out are multipliers of a leaf (E33), of a bound ||p - x||.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from refimpl import _rational
from refimpl._arrays import Array, IntArray
from refimpl._rational import Fractions, fractions
from refimpl.network import TwoLayerReLU
from refimpl.radius.empty import solve
from refimpl.radius.leaf import Multipliers

_LARGEST = 2000  # coefficients of equations that are worth solving in fractions


def raise_bound(
    net: TwoLayerReLU, D: Array, signs: IntArray, x: Array, end: Array
) -> tuple[float, Multipliers] | None:
    """Bound of a leaf's distance from x, at most ||end - x||, and its multipliers, or None.

    D (I,K) is the target and signs (M,) the path, as in `empty.prove_empty`.
    """
    if net.dim * net.n_hidden > _LARGEST:
        return None
    alpha = D.astype(np.int64).astype(object) @ fractions(net.A)  # (E30)
    beta = D.astype(np.int64).astype(object) @ fractions(net.c)
    z, z_end = (_rational.preactivations(net, point) for point in (x, end))
    found = (
        _tangent(net, gamma, constant, signs, z, z_end, fractions(end) - fractions(x))
        for gamma, constant in zip(alpha, beta, strict=True)
    )
    for i, each in enumerate(found):
        if each is not None:
            bound, tau, nu = each
            return bound, Multipliers(np.eye(len(D))[i], tau, nu)
    return None


def _tangent(
    net: TwoLayerReLU,
    gamma: Fractions,
    constant: Fraction,
    signs: IntArray,
    z: Fractions,
    z_end: Fractions,
    delta: Fractions,
) -> tuple[float, Array, Array] | None:
    """Bound and multipliers tau, nu (M,) by one constraint sum_r gamma_r relu(z_r) + constant."""
    if ((gamma < 0) & (signs == 0)).any():
        return None  # a chord, which no plane through the end can replace
    W = fractions(net.W)
    at_kink = (z_end == 0) & net.W.any(axis=1)
    inner = np.flatnonzero((gamma > 0) & at_kink)
    split = np.flatnonzero((signs != 0) & at_kink)
    full = np.where(gamma > 0, (z_end > 0), signs > 0).astype(bool)
    full[inner] = False
    fixed: Fractions = gamma * full.astype(np.int64)
    columns = [fixed @ W, *W[inner], *(-signs[split, None] * W[split]), delta]
    guess = [Fraction(1), *gamma[inner], *[Fraction(0)] * len(split), Fraction(0)]
    u = solve(np.array(columns, dtype=object).T, np.array(guess, dtype=object))
    if not fixed.any():  # any multiple is a solution: the largest whose tau are at most 1
        most = max(
            (each / limit for each, limit in zip(u[1:], gamma[inner], strict=False)), default=1
        )
        u = u / most if most > 1 else u
    t, nu, pull = u[1 : 1 + len(inner)], u[1 + len(inner) : -1], u[-1]
    if pull <= 0 or (u < 0).any() or (t > gamma[inner]).any():
        return None
    q = fixed.copy()
    q[inner] += t
    q[split] -= signs[split] * nu
    l0, l1 = q @ z + constant, q @ W  # (E33)
    if (l1 + pull * delta).any() or l0 <= 0:
        return None
    bound = _rational.root(l0 * l0 / (l1 @ l1))
    tau, multipliers = full * (gamma > 0) * 1.0, np.zeros(len(z))
    tau[inner] = _in_proportion(t / gamma[inner])
    multipliers[split] = nu.astype(np.float64)
    return float(np.nextafter(bound, 0.0)), tau, multipliers


def _in_proportion(values: Fractions) -> Array:
    """Floats beside the values, two of them in a proportion exact to the square of rounding."""
    floats: Array = values.astype(np.float64)
    if len(values) == 2 and min(values) > 0:
        low, high = sorted((0, 1), key=values.__getitem__)
        ratio = (values[low] / values[high]).limit_denominator(2**53)
        floats[[low, high]] = ratio.numerator, ratio.denominator
        floats *= 2.0 ** -np.ceil(np.log2(ratio.denominator / float(values[high])))
    return floats
