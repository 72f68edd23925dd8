"""Evidence that a network which was read is the original: both are evaluated at many points.

For every hidden neuron there are points on both sides of its kink, and in it, with z_r of sizes
from 1e-6 to 1e6, so that a clamp far out is met as well as a kink that is rounded off. Random
points of norms from 1e-6 to 1e12 are added, and points at which the outputs have such sizes.

The two computations may differ by their rounding, and by no more. Let u be the unit roundoff and
gamma(n) = n u / (1 - n u). An expression of sums, products and quotients in which no term passes
through more than n roundings is off by at most gamma(n) times the same expression of absolute
values, in any order of summation (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd
ed., lemmas 3.1 and 3.3). Zeros are multiplied and added without rounding. At an x with s entries
that are not zero, a computed z_r is thus off by at most

    e_r = gamma(s + 1) (|W| |x| + |b|)_r.

ReLU, which is 1-Lipschitz, keeps this so, and where z_r < -e_r its value is 0 exactly. If m neurons
are left, outputs are off by at most

    |A| e + gamma(m + 1) (|A| (ReLU(z) + e) + |c|), with sums over those m.

Everything that was folded in is counted before it cancels (`Layer`), and its roundings are added to
s + 1 and m + 1. Products below the smallest normal number t round absolutely, each by t at most,
also where a library flushes them to zero: n t (1 + |x|_1) (1 + |W|_1) (1 + |A|_1) covers all of
them, with n = d + M + 2 and the roundings of foldings, and sums over all entries. Each side errs so
far, the original with the u and t of its own precision.

In float32 this hides much at dense points: their e grows like s^2, the contribution of one neuron
only like s if x is along its weights, and the sum over m >> 1 neurons like m sqrt(s). The ratio
s / (s^2 + m sqrt(s)) is largest at s = (m/2)^(2/3). Points at kinks have so many entries there, for
m = M/2, those in which the neuron's weights are largest. A comparison that could not tell ReLU from
a leaky one is none (`LEAK`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl.interop.layers import Layer
from refimpl.network import TwoLayerReLU, relu

LEAK = 0.001
"""Slope on the negative side, of all neurons, that must be seen in the original's own precision.

Leaks in use are larger: 0.01 is the default of PyTorch's LeakyReLU.
"""

_KINK_SCALES = 10.0 ** np.arange(-3, 7)
_RANDOM_SCALES = 10.0 ** np.arange(-6, 13)
_BLOCK = 2**22  # entries of one block of points: 32 MB


class Points(NamedTuple):
    """Rows x (n,d), and for each the neuron whose kink it is near, or -1."""

    x: Array
    neuron: Any


def compared(
    name: str,
    hidden: Layer,
    output: Layer,
    original: Callable[[Array], Array],
    *,
    dtype: Any = np.float64,
    note: str = "",
) -> TwoLayerReLU:
    """Return the network of two layers if it agrees with the original within rounding.

    Parameters
    ----------
    name : str
        The argument that errors name.
    hidden, output : Layer
    original : callable
        Takes rows x (n,d), float64 numbers that `dtype` holds exactly, and returns F(x) (n,K).
    dtype : float32 or float64
        In which the original computes.
    note : str
        What an error adds.

    Raises
    ------
    ValueError
        The two differ, with the point and the difference; or `dtype` is too coarse to tell from a
        network whose neurons leak.
    """
    if len(hidden.weight) != output.weight.shape[1]:
        shapes = f"{hidden.weight.shape} and {output.weight.shape}"
        check.fail(name, "weights of shapes (M, d) and (K, M)", shapes)
    net = TwoLayerReLU(hidden.weight, hidden.bias, output.weight, output.bias)  # None is zeros
    size = TwoLayerReLU(hidden.weight_size, hidden.bias_size, output.weight_size, output.bias_size)
    roundings = hidden.roundings, output.roundings
    exact = dtype == np.float64
    nonzero = net.dim if exact else min(net.dim, math.ceil((net.n_hidden / 4) ** (2 / 3)))
    seen = skipped = 0
    leaks = shown = False
    for x, neuron in points(net, nonzero):
        with np.errstate(over="ignore"):  # what does not fit is skipped
            rows = x.astype(dtype).astype(np.float64)
        sizes, largest = _sizes(size, rows)
        usable = largest < float(np.finfo(dtype).max) / 16
        seen, skipped = seen + len(x), skipped + int((~usable).sum())
        if usable.any():
            at = Points(rows[usable], neuron[usable])
            z = net.preactivations(at.x)
            bound = _rounding(size, dtype, roundings, at.x, z, sizes[usable])
            _require_agreement(name, at, net.readout(z), original(at.x), bound, note)
            leak = LEAK * np.abs(np.minimum(z, 0) @ net.A.T)
            leaks = leaks or bool(leak.any())
            shown = shown or bool((leak > 2 * bound).any())  # rounding may hide one bound
    if skipped > seen / 2:
        check.fail(name, f"outputs within the range of {np.dtype(dtype).name}", "an overflow")
    if leaks and not (exact or shown):
        expected = f"outputs in which a leak of slope {LEAK} exceeds rounding"
        check.fail(name, expected, f"none that do in {np.dtype(dtype).name}")
    return net


def _sizes(size: TwoLayerReLU, x: Array) -> tuple[Array, Array]:
    """|W| |x| + |b| of shape (n,M) at rows x, and the largest (n,) of all that is computed."""
    absolute = np.abs(x)
    with np.errstate(over="ignore", invalid="ignore"):  # infinities are what is looked for
        z = absolute @ size.W.T + size.bias
        S = z @ size.A.T + size.c
        return z, np.max([it.max(axis=1) for it in (absolute, z, S)], axis=0)


def _rounding(
    size: TwoLayerReLU, dtype: Any, roundings: tuple[int, int], x: Array, z: Array, sizes: Array
) -> Array:
    """Bound (n,K) of the difference that rounding explains, as the module describes it."""

    def unit(n: int) -> float:
        return gamma(n, np.float64) + gamma(n, dtype)

    s = int(np.count_nonzero(x, axis=1).max())
    e = unit(s + 1 + roundings[0]) * sizes
    left = z >= -e
    last = unit(int(left.sum(axis=1).max()) + 1 + roundings[1])
    errors = np.where(left, e + last * (relu(z) + e), 0.0)
    n = size.dim + size.n_hidden + 2 + sum(roundings)
    tiny = n * float(np.finfo(dtype).tiny) * (1 + size.W.sum()) * (1 + size.A.sum())
    underflow = tiny * (1 + np.abs(x).sum(axis=1, keepdims=True))
    return errors @ size.A.T + last * size.c + 2 * underflow


def _require_agreement(
    name: str, at: Points, mine: Array, theirs: Array, bound: Array, note: str
) -> None:
    """Raise where the network's outputs and the original's differ by more than the bound (n,K)."""
    if theirs.shape != bound.shape:
        check.fail(name, f"outputs of shape {bound.shape}", f"shape {theirs.shape}")
    difference = np.abs(theirs - mine)
    wrong = ~(difference <= bound)  # NaN is wrong
    if wrong.any():
        i, k = (int(index) for index in np.argwhere(wrong)[0])
        near = "" if at.neuron[i] < 0 else f" near the kink of hidden neuron {at.neuron[i]}"
        got = (
            f"another: at an x of norm {np.linalg.norm(at.x[i]):.3g}{near} output {k} differs "
            f"by {difference[i, k]:.3g}, of which rounding explains {bound[i, k]:.3g}{note}"
        )
        check.fail(name, "the function A ReLU(W x + b) + c of its two linear layers", got)


def gamma(n: int, dtype: Any) -> float:
    """Relative error bound of n successive roundings; infinite where n u reaches 1."""
    nu = n * float(np.finfo(dtype).eps) / 2
    return nu / (1 - nu) if nu < 1 else np.inf


def points(net: TwoLayerReLU, nonzero: int) -> Iterator[Points]:
    """Yield blocks of points, always the same for the same network.

    Near kinks at most that many entries are not zero: those of the neuron's largest weights.
    """
    rng = np.random.default_rng(0)
    for scale in _RANDOM_SCALES:
        x = _random(net, scale, rng)
        yield Points(x, np.full(len(x), -1))
    neurons = np.flatnonzero(np.abs(net.W).max(axis=1) > 1e-100)  # others have no kink in reach
    step = max(1, _BLOCK // (2 * net.dim))
    for scale in _KINK_SCALES:
        near = scale == _KINK_SCALES[0]
        sides, decades = ((-1.0, 0.0, 1.0), 3.0) if near else ((-1.0, 1.0), 1.0)
        for start in range(0, len(neurons), step):
            yield _kinks(net, neurons[start : start + step], nonzero, scale, sides, decades, rng)


@np.errstate(over="ignore", invalid="ignore")  # the comparison skips what overflows
def _random(net: TwoLayerReLU, scale: float, rng: np.random.Generator) -> Array:
    """Directions, points of one orthant, both of norm `scale`; stretched ones; the origin."""
    x = _unit(rng.standard_normal((24, net.dim)))
    x[::3] = np.abs(x[::3])
    outputs = np.abs(net.outputs(x)).max(axis=1)
    stretch = scale / np.clip(outputs, 1e-12, None)  # so that outputs are of that size
    return np.vstack([scale * x, stretch[:, None] * x, np.zeros((1, net.dim))])


@np.errstate(over="ignore", invalid="ignore")
def _kinks(
    net: TwoLayerReLU,
    neurons: Any,
    nonzero: int,
    scale: float,
    sides: tuple[float, ...],
    decades: float,
    rng: np.random.Generator,
) -> Points:
    """Points with z_r up to some decades below `scale` on the given sides, elsewhere random."""
    r = np.repeat(neurons, len(sides))
    w, b = _largest(net.W[neurons], nonzero).repeat(len(sides), axis=0), net.bias[r]
    z = np.tile(sides, len(neurons)) * scale * 10.0 ** (-decades * rng.random(len(r)))
    norm = np.linalg.norm(w, axis=1)
    x = scale * _unit(np.where(w == 0, 0.0, rng.standard_normal(w.shape)))
    missing = (z - np.einsum("ij,ij->i", x, w) - b) / norm
    return Points(x + (missing / norm)[:, None] * w, r)


def _largest(w: Array, n: int) -> Array:
    """Rows w, but for the n largest entries of each zero."""
    rest = np.argpartition(-np.abs(w), n - 1, axis=1)[:, n:]
    w = w.copy()
    np.put_along_axis(w, rest, 0.0, axis=1)
    return w


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=1, keepdims=True)
