"""Parts of a target's set that are empty at every radius, shown in rational arithmetic (E33).

Multipliers that prove it have l1 = W^T q = 0 and l0 > 0 (strict ties: l0 >= 0), which floats can
suggest but not show. In a box l1 may have entries where the box ends, and the least value of l
there counts (E38). Those that the solver finds are a vertex: which of them are 0 or at their
bound decides the rest, by linear equations that are solved here exactly.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl._rational import Fractions, fractions
from refimpl.network import TwoLayerReLU
from refimpl.radius.leaf import Multipliers

_SMALL = 1e-9  # relative: a multiplier that the solver means to be 0, or at its bound
_LARGEST = 2000  # coefficients of equations that are worth solving in fractions

Box = tuple[Array, Array]


def prove_empty(
    net: TwoLayerReLU,
    D: Array,
    signs: IntArray,
    near: Multipliers,
    *,
    strict: bool,
    box: Box | None = None,
) -> Multipliers | None:
    """Multipliers beside the given ones that prove a leaf empty at every radius, or None.

    Parameters
    ----------
    D : (I,K) array
        The target, see `decisions.targets`.
    signs : (M,) int array
        The leaf's path: 1 on, -1 off, 0 not split.
    near : Multipliers
        Of floats, up to a positive factor.
    box : (lo, hi), optional
        Limits (d,) of x', infinite where there are none.

    Returns
    -------
    Multipliers or None
        Floats beside the fractions of the proof: a certificate where they are equal.
    """
    size = float(max(near.weights.max(), near.nu.max()))
    if not 0 < size < math.inf or net.dim * (len(signs) + len(D)) > _LARGEST:
        return None
    scaled = Multipliers(near.weights / size, near.tau, near.nu / size)
    plain = Multipliers(scaled.weights, np.zeros_like(near.tau), np.zeros_like(near.nu))
    limits = box or (np.full(net.dim, -math.inf), np.full(net.dim, math.inf))
    proved = (_prove(net, D, signs, guess, strict, limits) for guess in (plain, scaled))
    return next((multipliers for multipliers in proved if multipliers is not None), None)


def _prove(
    net: TwoLayerReLU, D: Array, signs: IntArray, near: Multipliers, strict: bool, box: Box
) -> Multipliers | None:
    """Solve W^T q = 0 for the multipliers that are not at a bound, and see what they prove.

    Only entries where the box does not end are solved for.
    """
    W, b = fractions(net.W), fractions(net.bias)
    alpha, beta = fractions(D) @ fractions(net.A), fractions(D) @ fractions(net.c)
    # Some neurons have one phase in all of the box, those without weights that of their bias.
    on = np.array([_least(row, box) + bias >= 0 for row, bias in zip(W, b, strict=True)])
    off = np.array([_least(-row, box) - bias >= 0 for row, bias in zip(W, b, strict=True)])
    phase = np.where(signs != 0, signs, np.where(off, -1, np.where(on, 1, 0)))
    gamma = near.weights @ alpha.astype(np.float64)
    used = np.flatnonzero(near.weights > _SMALL)
    inner = np.flatnonzero((gamma > 0) & (near.tau > _SMALL) & (near.tau < 1 - _SMALL))
    split = np.flatnonzero(near.nu > _SMALL)
    full = np.where(gamma > 0, near.tau >= 1 - _SMALL, phase > 0)

    # q = P u, of the unknowns u: w_i, then t_r = tau_r gamma_r, then nu_r.
    n = len(used), len(used) + len(inner), len(used) + len(inner) + len(split)
    P = fractions(np.zeros((len(W), n[2]), np.int64))
    P[:, : n[0]] = alpha[used].T * full[:, None]
    P[inner, np.arange(n[0], n[1])] += 1
    P[split, np.arange(n[1], n[2])] -= signs[split]
    guess = np.concatenate((near.weights[used], (near.tau * gamma)[inner], near.nu[split]))
    rough = P.astype(np.float64) @ guess
    v, terms = rough @ net.W, np.abs(rough) @ np.abs(net.W)
    ends = np.isfinite(np.where(v > 0, *box)) & (np.abs(v) > _SMALL * terms)
    free = ~ends & (strict | ~np.isfinite(box).all(axis=0))  # l0 = 0 is met by equations alone
    u = solve(W.T[free] @ P, fractions(guess))

    w, t, nu = np.split(u, n[:2])
    gamma, q = w @ alpha[used], P @ u
    at_phase = np.where(full, phase > 0, phase < 0)
    at_phase[inner] = False
    valid = (u >= 0).all() and (t <= gamma[inner]).all() and ((gamma >= 0) | at_phase).all()
    l0 = w @ beta[used] + q @ b + _least(q @ W, box)  # (E33)
    if not valid or l0 < 0 or (l0 == 0 and not (strict and w.any())):
        return None
    common = math.lcm(*(value.denominator for value in u))
    scale = Fraction(common if common < 2**40 else 1)
    tau = full * (gamma >= 0) * 1.0
    tau[inner] = (t / np.where(gamma[inner] > 0, gamma[inner], 1)).astype(np.float64)
    weights, multipliers = np.zeros(len(D)), np.zeros(len(W))
    weights[used], multipliers[split] = (w * scale).astype(float), (nu * scale).astype(float)
    return Multipliers(weights, tau, multipliers)


def _least(v: Fractions, box: Box) -> Any:
    """Least value of <v, x> in a box, a fraction or -inf."""
    ends = [hi if value < 0 else lo for value, lo, hi in zip(v, *box, strict=True) if value]
    if not np.isfinite(ends).all():
        return -math.inf
    return sum((a * Fraction(e) for a, e in zip(v[v != 0], ends, strict=True)), Fraction(0))


def solve(equations: Fractions, guess: Fractions) -> Fractions:
    """Solution of equations @ u = 0 that has the guess for its free unknowns."""
    rows, u = equations.copy(), guess.copy()
    pivots: list[int] = []
    for column in reversed(range(len(guess))):  # the first weight stays free
        rest = rows[len(pivots) :, column]
        found = np.flatnonzero(rest)
        if len(found) == 0:
            continue
        top, chosen = len(pivots), len(pivots) + found[0]
        rows[[top, chosen]] = rows[[chosen, top]]
        rows[top] = rows[top] / rows[top, column]
        others = np.arange(len(rows)) != top
        rows[others] -= np.multiply.outer(rows[others, column], rows[top])
        pivots.append(column)
    free = np.ones(len(guess), np.bool_)
    free[pivots] = False
    for row, column in zip(rows, pivots, strict=False):
        u[column] = -(row[free] @ u[free]) if free.any() else Fraction(0)
    return u
