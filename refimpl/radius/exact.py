"""Leaves that no rounding may touch: proofs in rational arithmetic that a part is empty (E33).

Where a target's part holds no adversarial point at all, however far, the multipliers of a leaf have
l1 = W^T q = 0 and l0 > 0 (strict ties: l0 >= 0), which floats can suggest but not show. Such multipliers
are the vertex of a polyhedron: the simple fractions near the solver's floats, if any, are exact.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.network import TwoLayerReLU
from refimpl.radius.relaxation import Multipliers

_DENOMINATOR = 1000


def empty(
    net: TwoLayerReLU, D: Array, signs: IntArray, near: Multipliers, *, strict: bool
) -> Multipliers | None:
    """Multipliers near the given ones that prove a leaf empty at every radius, if there are simple ones.

    Parameters
    ----------
    D : (I,K) array
        The target, see `decisions.targets`.
    signs : (M,) int array
        The leaf's path: 1 on, -1 off, 0 not split.
    near : Multipliers
        Of floats, up to a positive factor.
    """
    size = max(float(near.weights.max()), float(near.nu.max()))
    if not 0 < size < np.inf:
        return None
    w, nu = _simple(near.weights / size), _simple(near.nu / size)
    rows = _fractions(D).dot(_fractions(net.A))
    gamma = w.dot(rows)
    constant = w.dot(_fractions(D)).dot(_fractions(net.c))
    tau = np.zeros(len(gamma))
    q = -signs * nu
    for r in np.flatnonzero(gamma):
        on = signs[r] or (not net.W[r].any() and (1 if net.bias[r] > 0 else -1))
        if gamma[r] > 0:
            line = min(_simple(near.tau[r : r + 1] * float(gamma[r]))[0], gamma[r])
            tau[r] = float(line / gamma[r])
            q[r] += Fraction(tau[r]) * gamma[r]
        elif not on:
            return None  # a chord, which needs a ball
        elif on > 0:
            q[r] += gamma[r]
    used = np.flatnonzero(q)
    if q[used].dot(_fractions(net.W[used])).any():
        return None
    l0 = constant + q[used].dot(_fractions(net.bias[used]))  # (E33)
    if l0 < 0 or (l0 == 0 and not (strict and w.any())):
        return None
    scale = float(np.lcm.reduce([value.denominator for value in (*w, *nu)], dtype=object))
    return Multipliers((w * int(scale)).astype(float), tau, (nu * int(scale)).astype(float))


def _simple(values: Array) -> np.ndarray[Any, Any]:
    """Fractions of small denominators near the values."""
    near = [Fraction(float(value)).limit_denominator(_DENOMINATOR) for value in values]
    return np.array(near, dtype=object)


def _fractions(values: Array) -> np.ndarray[Any, Any]:
    return np.vectorize(Fraction, otypes=[object])(values) if values.size else values.astype(object)
