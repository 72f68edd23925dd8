"""Evidence that a network which was read is the original: both are evaluated at many points.

For every hidden neuron there are points on both sides of its kink, and in it, with z_r of sizes
from 1e-6 to 1e6, so that a clamp far out is met as well as a kink that is rounded off. Random
points of norms from 1e-6 to 1e12 are added, and points at which the outputs have such sizes.

The two computations may differ by their rounding, and by no more. Let u be the unit roundoff and
gamma(n) = n u / (1 - n u). An expression of sums, products and quotients in which no term passes
through more than n roundings is off by at most gamma(n) times the same expression of absolute
values, in any order of summation (Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd
ed., lemmas 3.1 and 3.3), and ReLU, which is 1-Lipschitz, keeps this so. Here the expression of
absolute values is

    S(x) = |A| (|W| |x| + |b|) + |c|,

with everything that was folded in counted before it cancels (`Layer`), and n = d + M + 2 and the
roundings of foldings. Products below the smallest normal number t round absolutely, each by t at
most, also where a library flushes them to zero: n t (1 + |x|_1) (1 + |W|_1) (1 + |A|_1) covers all
of them, sums over all entries. Each side errs so far, the original with the u and t of its own
precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl.interop.layers import Layer
from refimpl.network import TwoLayerReLU

MEANINGFUL = 0.01
"""Largest gamma(n) of the original's own precision at which agreement says anything.

Near 1 the bound is the size of the outputs, and any network agrees.
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
        The two differ, with the point and the difference; or `dtype` is too coarse to tell.
    """
    if len(hidden.weight) != output.weight.shape[1]:
        shapes = f"{hidden.weight.shape} and {output.weight.shape}"
        check.fail(name, "weights of shapes (M, d) and (K, M)", shapes)
    net = TwoLayerReLU(hidden.weight, hidden.bias, output.weight, output.bias)  # None is zeros
    size = TwoLayerReLU(hidden.weight_size, hidden.bias_size, output.weight_size, output.bias_size)
    n = net.dim + net.n_hidden + 2 + hidden.roundings + output.roundings
    _require_meaning(name, dtype, n)
    unit = gamma(n, np.float64) + gamma(n, dtype)
    tiny = n * float(np.finfo(dtype).tiny) * (1 + size.W.sum()) * (1 + size.A.sum())
    seen = skipped = 0
    for x, neuron in points(net):
        with np.errstate(over="ignore"):  # what does not fit is skipped
            rows = x.astype(dtype).astype(np.float64)
        largest = _largest(size, rows)
        usable = (largest < float(np.finfo(dtype).max) / 16).all(axis=1)
        seen, skipped = seen + len(x), skipped + int((~usable).sum())
        if usable.any():
            at = Points(rows[usable], neuron[usable])
            underflow = tiny * (1 + np.abs(at.x).sum(axis=1))
            bound = unit * largest[usable, -net.n_outputs :] + 2 * underflow[:, None]
            _require_agreement(name, net, at, original(at.x), bound, note)
    if skipped > seen / 2:
        check.fail(name, f"outputs within the range of {np.dtype(dtype).name}", "an overflow")
    return net


def _largest(size: TwoLayerReLU, x: Array) -> Array:
    """Sizes (n,d+M+K) of all that is computed at rows x: |x|, |W| |x| + |b| and S(x)."""
    absolute = np.abs(x)
    with np.errstate(over="ignore", invalid="ignore"):  # infinities are what is looked for
        z = absolute @ size.W.T + size.bias
        return np.hstack([absolute, z, z @ size.A.T + size.c])


def _require_agreement(
    name: str, net: TwoLayerReLU, at: Points, theirs: Array, bound: Array, note: str
) -> None:
    """Raise where the original's outputs and the network's differ by more than the bound (n,K)."""
    if theirs.shape != bound.shape:
        check.fail(name, f"outputs of shape {bound.shape}", f"shape {theirs.shape}")
    difference = np.abs(theirs - net.outputs(at.x))
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


def _require_meaning(name: str, dtype: Any, n: int) -> None:
    """Refuse a precision so coarse that rounding explains every difference."""
    if gamma(n, dtype) > MEANINGFUL:
        check.fail(
            name,
            f"a relative rounding of outputs below {MEANINGFUL}, or else nothing can be compared",
            f"{gamma(n, dtype):.2g} in {np.dtype(dtype).name}",
        )


def points(net: TwoLayerReLU) -> Iterator[Points]:
    """Yield blocks of points, always the same for the same network."""
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
            yield _kinks(net, neurons[start : start + step], scale, sides, decades, rng)


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
    scale: float,
    sides: tuple[float, ...],
    decades: float,
    rng: np.random.Generator,
) -> Points:
    """Points with z_r up to some decades below `scale` on the given sides, elsewhere random."""
    r = np.repeat(neurons, len(sides))
    w, b = net.W[r], net.bias[r]
    z = np.tile(sides, len(neurons)) * scale * 10.0 ** (-decades * rng.random(len(r)))
    norm = np.linalg.norm(w, axis=1)
    x = scale * _unit(rng.standard_normal(w.shape))
    missing = (z - np.einsum("ij,ij->i", x, w) - b) / norm
    return Points(x + (missing / norm)[:, None] * w, r)


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=1, keepdims=True)
