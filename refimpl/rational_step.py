"""The smallest adversarial step along one ray in rational arithmetic (E27)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from refimpl import _rational
from refimpl._arrays import Array
from refimpl._rational import Fractions, fractions
from refimpl.network import TwoLayerReLU

# Comparisons of fractions with a float infinity are exact.
Step = Fraction | float


def rational_step(
    net: TwoLayerReLU, x: Array, ray: Array, matrices: Array, ties: str, norm: float, limits: Any
) -> float:
    """t* = ||ray|| inf{s >= 0 : x + s ray is adversarial and in the box}, correctly rounded.

    Parameters
    ----------
    x, ray : (d,) arrays
    matrices : (L,I,K) array
        See `decisions.targets`.
    ties, norm, limits
        As in `smallest_step`, `limits` being its box as arrays, or None.
    """
    for start, stop, level, rate in _pieces(net, x, ray, matrices, _exit(x, ray, limits)):
        targets = zip(level.tolist(), rate.tolist(), strict=True)
        met = [_meet(*target, start, stop, strict=ties == "robust") for target in targets]
        if steps := [step for step in met if step is not None]:
            return _length(min(steps), ray, norm)  # (E27)
    return math.inf


def _exit(x: Array, ray: Array, limits: Any) -> Step:
    """First s at which x + s ray is about to leave the box."""
    if limits is None:
        return math.inf
    limit = np.where(ray > 0, limits[1], limits[0])
    lines = [line for line in zip(x, ray, limit, strict=True) if line[1] and math.isfinite(line[2])]
    steps = ((Fraction(end) - Fraction(at)) / Fraction(rate) for at, rate, end in lines)
    return min(steps, default=math.inf)


def _pieces(
    net: TwoLayerReLU, x: Array, ray: Array, matrices: Array, end: Step
) -> Iterator[tuple[Step, Step, Fractions, Fractions]]:
    """Intervals [start, stop] of s up to `end`, and there g (L,I) = level + s rate."""
    z, slope = _rational.preactivations(net, x), _rational.product(net.W, ray)
    D = matrices.astype(np.int64).astype(object)
    alpha, beta = D @ fractions(net.A), D @ fractions(net.c)  # (E30)
    on = (z > 0) | ((z == 0) & (slope > 0))
    level = alpha[..., on] @ z[on] + beta + Fraction(0)
    rate = alpha[..., on] @ slope[on] + Fraction(0)
    kinks = [(-z[r] / slope[r], r) for r in np.flatnonzero(z * slope < 0)]
    start: Step = Fraction(0)
    for kink, r in sorted(kinks):
        if kink > end:
            break
        yield start, kink, level, rate
        turn = alpha[..., r] if slope[r] > 0 else -alpha[..., r]
        start, level, rate = kink, level + turn * z[r], rate + turn * slope[r]
    yield start, end, level, rate


def _meet(
    level: list[Fraction], rate: list[Fraction], start: Step, stop: Step, *, strict: bool
) -> Step | None:
    """First s in [start, stop] with level_i + s rate_i <= 0 for all i, or the infimum with < 0."""
    for a, b in zip(level, rate, strict=True):
        if b == 0 and (a > 0 or (strict and a == 0)):
            return None
        if b < 0:
            start = max(start, -a / b)
        elif b > 0:
            stop = min(stop, -a / b)
    if start < stop or (start == stop and not strict):
        return start
    alone = start == stop and all(a + start * b < 0 for a, b in zip(level, rate, strict=True))
    return start if alone else None


def _length(step: Step, ray: Array, norm: float) -> float:
    """Length of s ray."""
    size = [abs(Fraction(value)) for value in ray]
    if norm == 2:
        return _rational.root(Fraction(step) ** 2 * sum(value * value for value in size))
    return _rational.to_float(Fraction(step) * (sum(size) if norm == 1 else max(size)))
