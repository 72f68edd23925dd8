"""Hypothesis strategies: random distributions, networks, inputs and labels that shrink well.

For property tests of any implementation of the paper's objects. Small arrays are drawn entry by
entry, so that a failure shrinks to a few zeros and ones; large ones are drawn from a seed. Ties,
kinks, duplicate, dead and unread neurons, and scales far from 1 come up often, on purpose.

Needs Hypothesis, the extra ``check``. Sizes are bounds, and every strategy documents its own. A
strategy that finds its request impossible for a network rejects that example.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from refimpl import _validation as check
from refimpl import decisions as _decisions
from refimpl._arrays import Array, IntArray
from refimpl._extras import install
from refimpl.decisions import Decision, GroupMax, GroupSum
from refimpl.distribution import ClusterDistribution, Sample
from refimpl.network import TwoLayerReLU

try:
    from hypothesis import assume, reject
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise ImportError(f"refimpl.strategies needs Hypothesis: {install('check')}") from error

KINDS = ("general", "binary", "multiclass", "averaging", "decoupling")
KINKS = ("any", "on", "off")
LARGE = 64  # arrays with more entries than this come from a seed


class Problem(NamedTuple):
    """A network, a decision that fits it, inputs x (n,d), and labels y (n,) for the decision."""

    net: TwoLayerReLU
    decision: Decision
    x: Array
    y: IntArray


@st.composite
def arrays(draw: st.DrawFn, shape: tuple[int, ...], *, limit: int = 8) -> Array:
    """Float64 array with entries in [-limit, limit], never of size below 1e-5 but 0.

    One of three styles: integers of size at most 3 (sums are exact and ties common), eighths
    (exact, ties rare), or hundred thousandths (rounded). Above 64 entries all come from one seed.
    """
    top, unit = draw(_styles(limit))
    if math.prod(shape) > LARGE:
        rng = np.random.default_rng(draw(seeds()))
        return rng.integers(-top, top, size=shape, endpoint=True) / unit
    elements = st.integers(-top, top)
    return draw(hnp.arrays(np.int64, shape, elements=elements, fill=st.nothing())) / unit


def _styles(limit: int) -> st.SearchStrategy[tuple[int, int]]:
    """Largest numerator, and the denominator of all entries."""
    styles = ((min(3, limit), 1), (limit, 8), (limit, 100_000))
    return st.sampled_from([(bound * unit, unit) for bound, unit in styles])


@st.composite
def _matrices(draw: st.DrawFn, least: int, most: int, width: int, *, limit: int = 8) -> Array:
    """`arrays` of shape (n, width), least <= n <= most, from which shrinking removes rows."""
    if most * width > LARGE:
        return draw(arrays((draw(st.integers(least, most)), width), limit=limit))
    top, unit = draw(_styles(limit))
    row = st.lists(st.integers(-top, top), min_size=width, max_size=width)
    return np.array(draw(st.lists(row, min_size=least, max_size=most))) / unit


def seeds() -> st.SearchStrategy[int]:
    """Seeds for ``rng`` arguments: integers from 0 to 2^32 - 1."""
    return st.integers(0, 2**32 - 1)


def labels(n: int) -> st.SearchStrategy[IntArray]:
    """Binary labels (n,) in {-1, +1}, int64; they shrink to all +1."""
    return hnp.arrays(np.int64, n, elements=st.sampled_from([1, -1]))


@st.composite
def partitions(draw: st.DrawFn, k: int) -> IntArray:
    """Labels (k,) in {-1, +1} with both present: J+ and J- of k >= 2 clusters or classes."""
    result = draw(labels(k))
    if abs(result.sum()) == k:
        result[draw(st.integers(0, k - 1))] *= -1
    return result


def classes(n: int, n_classes: int) -> st.SearchStrategy[IntArray]:
    """Class integers (n,) from 0 to n_classes - 1, int64."""
    return hnp.arrays(np.int64, n, elements=st.integers(0, n_classes - 1))


def targets(net: TwoLayerReLU, n: int) -> st.SearchStrategy[IntArray]:
    """Training targets (n,) for `net`: labels in {-1, +1} for K = 1, else class integers."""
    return labels(n) if net.n_outputs == 1 else classes(n, net.n_outputs)


def labels_for(decision: Decision, n: int, n_outputs: int) -> st.SearchStrategy[IntArray]:
    """Labels y (n,) of the kind that the decision takes."""
    return classes(n, n_outputs) if decision == "argmax" else labels(n)


def cotangents(net: TwoLayerReLU, n: int) -> st.SearchStrategy[Array]:
    """Cotangents v of shape (K,) or (n,K) for `input_gradient`."""
    return arrays((net.n_outputs,)) | arrays((n, net.n_outputs))


def decisions(n_outputs: int) -> st.SearchStrategy[Decision]:
    """Any decision for K = n_outputs: sign for K = 1, else argmax, `GroupMax` or `GroupSum`."""
    if n_outputs == 1:
        return st.just("sign")
    groups = partitions(n_outputs)
    return st.one_of(st.just("argmax"), groups.map(GroupMax), groups.map(GroupSum))


def distributions(
    *, max_clusters: int = 4, max_dim: int = 5, orthogonal: bool = False
) -> st.SearchStrategy[ClusterDistribution]:
    """Cluster distributions with 2 to `max_clusters` clusters and 1 to `max_dim` dimensions.

    Either any non-zero features (unequal norms, parallel and equal ones included), or random
    features of norm sqrt(d) with a common cosine, which is 0 under `orthogonal` (E2), where
    `max_dim` is at least 2. The noise is 0, 1, or something between.
    """
    if orthogonal and max_dim < 2:
        check.fail("max_dim", "at least 2 for orthogonal features", max_dim)
    return _distributions(max_clusters, max_dim, orthogonal)


@st.composite
def _distributions(
    draw: st.DrawFn, max_clusters: int, max_dim: int, orthogonal: bool
) -> ClusterDistribution:
    std = draw(st.sampled_from([1.0, 0.0, 0.25]))
    if max_dim >= 2 and (orthogonal or draw(st.booleans())):
        k = draw(st.integers(2, min(max_clusters, max_dim)))
        d = draw(st.integers(k, max_dim))
        cosine = 0.0 if orthogonal else draw(st.sampled_from([0.0, 0.5, -0.5 / (k - 1)]))
        return ClusterDistribution.correlated(
            k, d, cosine=cosine, labels=draw(partitions(k)), noise_std=std, rng=draw(seeds())
        )
    d = draw(st.integers(1, max_dim))
    features = draw(_matrices(2, max_clusters, max_dim))[:, :d]
    features[~features.any(axis=1), 0] = 1.0
    return ClusterDistribution(features, draw(partitions(len(features))), std)


@st.composite
def samples(
    draw: st.DrawFn, dist: ClusterDistribution | None = None, *, max_size: int = 6
) -> Sample:
    """Draw samples of 1 to `max_size` points of `dist`, by default of any distribution.

    x = mu_j + noise_std xi with xi drawn like other arrays: no noise at all, equal points and
    clusters without a point are common.
    """
    dist = draw(distributions()) if dist is None else dist
    noise = dist.noise_std * draw(_matrices(1, max_size, dist.dim, limit=3))
    cluster = draw(classes(len(noise), dist.n_clusters))
    return Sample(dist.features[cluster] + noise, dist.labels[cluster], cluster)


@st.composite
def networks(
    draw: st.DrawFn,
    *,
    dim: int | None = None,
    n_outputs: int | None = None,
    max_dim: int = 4,
    max_hidden: int = 5,
    max_outputs: int = 3,
    kinds: tuple[str, ...] = KINDS,
    degenerate: bool = True,
    scales: bool = True,
) -> TwoLayerReLU:
    """Networks of the form (E4), with or without biases, M above or below d.

    Parameters
    ----------
    dim, n_outputs : int, optional
        d and K, else 1 to `max_dim` and 1 to `max_outputs`.
    max_hidden : int
        Bound of M.
    kinds : tuple of str
        Of ``"general"``, any signs of A; ``"binary"`` (E5) and ``"averaging"`` (E17), only for
        K = 1; ``"multiclass"`` (E6) and ``"decoupling"`` (E18), only for K > 1. Kinds that do
        not fit the sizes are left out, and so are sizes K that no kind fits.
    degenerate : bool
        Whether neurons of the general kind may be duplicate, parallel, zero or unread on purpose.
    scales : bool
        Whether (W, b) and (A, c) of the general kind may be scaled by powers of two, from 2^-30
        to 2^30 each.

    Examples
    --------
    >>> import hypothesis
    >>> net = hypothesis.find(networks(kinds=("general",)), lambda net: net.n_hidden > net.dim)
    >>> net.W.tolist(), net.A.tolist()
    ([[0.0], [0.0]], [[0.0, 0.0]])
    """
    max_dim, min_dim = (max_dim, 1) if dim is None else (dim, dim)
    max_outputs, min_outputs = (max_outputs, 1) if n_outputs is None else (n_outputs, n_outputs)
    fitting = {
        K: fits
        for K in range(min_outputs, max_outputs + 1)
        if (fits := [kind for kind in kinds if _fits(kind, K, max_hidden)])
    }
    if not fitting:
        sizes = f"{min_outputs} to {max_outputs} outputs and {max_hidden} hidden neurons"
        check.fail("kinds", f"a kind that fits {sizes}", kinds)
    outputs = st.integers(min(fitting), max(fitting)).filter(fitting.__contains__)
    d, K = draw(st.integers(min_dim, max_dim)), draw(outputs)
    kind = draw(st.sampled_from(fitting[K]))
    if kind == "general":
        neurons = draw(_matrices(1, max_hidden, max_dim + max_outputs + 1))
        return draw(_general(neurons, d, K, degenerate, scales))
    if kind in ("averaging", "decoupling"):
        return draw(_idealised(d, K))
    if kind == "binary":
        m = draw(st.integers(1, max_hidden // 2))
        W, b = draw(arrays((2 * m, d))), draw(arrays((2 * m,)))
        return TwoLayerReLU(W, b, np.repeat([[1 / m, -1 / m]], m, axis=1))  # (E5)
    h = draw(st.integers(1, max_hidden // K))
    return TwoLayerReLU(draw(arrays((K * h, d))), None, np.repeat(np.eye(K) / h, h, axis=1))  # (E6)


def _fits(kind: str, K: int, max_hidden: int) -> bool:
    """Whether there are networks of the kind with K outputs and at most `max_hidden` neurons."""
    if check.choice("kinds", kind, KINDS) == "general":
        return True
    if kind in ("binary", "averaging"):
        return K == 1 and (kind == "averaging" or max_hidden >= 2)
    return 1 < K <= max_hidden


@st.composite
def _general(
    draw: st.DrawFn, neurons: Array, d: int, K: int, degenerate: bool, scales: bool
) -> TwoLayerReLU:
    """Read W, b and A from `neurons`, a row for each, of d + K + 1 entries or more."""
    M = len(neurons)
    W, A = neurons[:, :d], neurons[:, -K:].T
    b = draw(st.none() | st.just(neurons[:, d]))
    c = draw(st.none() | arrays((K,)))
    defect = draw(st.sampled_from(["none", "parallel", "zero", "unread"])) if degenerate else "none"
    r = draw(st.integers(0, M - 1))
    if defect == "parallel":  # -1 and 2 share the hyperplane, 1 is a duplicate
        factor = draw(st.sampled_from([1.0, -1.0, 2.0]))
        W[r] = factor * W[0]
        if b is not None:
            b[r] = factor * b[0]
    elif defect == "zero":
        W[r] = 0.0
    elif defect == "unread":
        A[:, r] = 0.0
    exponent = st.sampled_from([0, -30, 30, -7, 7]) if scales else st.just(0)
    hidden, output = 2.0 ** draw(exponent), 2.0 ** draw(exponent)
    b, c = None if b is None else hidden * b, None if c is None else output * c
    return TwoLayerReLU(hidden * W, b, output * A, c)


@st.composite
def _idealised(draw: st.DrawFn, d: int, K: int) -> TwoLayerReLU:
    k = K if K > 1 else draw(st.integers(2, 4))
    features = draw(arrays((k, d)))
    dist = ClusterDistribution(features, draw(partitions(k)))
    if K == 1:
        return TwoLayerReLU.feature_averaging(dist)
    return TwoLayerReLU.feature_decoupling(dist, bias=draw(st.sampled_from([0.0, -1.0, 0.5])))


@st.composite
def inputs(
    draw: st.DrawFn,
    net: TwoLayerReLU,
    *,
    n: int | None = None,
    max_rows: int = 4,
    kinks: str = "any",
    margin: float = 1e-3,
) -> Array:
    """Draw inputs x (n,d) for `net`, n from 1 to `max_rows` unless given.

    Parameters
    ----------
    net : TwoLayerReLU
    kinks : "any", "on" or "off"
        ``"on"``: in every row some neuron has z_r = 0 exactly, as `net.preactivations` computes
        it. ``"off"``: everywhere |z_r| > margin (|w_r| |x| + |b_r|), moduli entrywise, so that no
        relative change of the entries of W, b and x below margin/3 moves a z_r to 0. Networks
        that have no such inputs are rejected; a zero neuron without bias has z_r = 0 everywhere.
    margin : float
        Below 1.
    """
    check.choice("kinks", kinks, KINKS)
    min_rows, max_rows = (1, max_rows) if n is None else (n, n)
    x = draw(_matrices(min_rows, max_rows, net.dim))
    if kinks == "on":
        for i, row in enumerate(x):
            x[i] = draw(st.sampled_from(_onto_kinks(net, row)))
        assume((net.preactivations(x) == 0).any(axis=1).all())
    elif kinks == "off":
        x = np.stack([_off_kinks(net, row, margin) for row in x])
    return x


def _onto_kinks(net: TwoLayerReLU, x: Array) -> list[Array]:
    """All ways to move one coordinate of x (d,) so that some z_r is exactly 0; rejects if none."""
    moved = []
    for w, z in zip(net.W, net.preactivations(x[None])[0], strict=True):
        for j in np.flatnonzero(w):
            candidate = x.copy()
            candidate[j] -= z / w[j]
            moved.append(candidate)
    exact = [row for row in [x, *moved] if (net.preactivations(row[None]) == 0).any()]
    return exact or reject()


def _off_kinks(net: TwoLayerReLU, x: Array, margin: float) -> Array:
    """Return the first of x, x + u, x + 2u, ... that keeps every neuron off its kink.

    On a line a neuron has one kink at most, unless it is constant: M + 1 steps and a few more.
    """
    u = 1.0 / (1.0 + 0.618 * np.arange(net.dim))
    for step in range(4 * net.n_hidden + 4):
        row = x + step * u
        size = np.abs(net.W) @ np.abs(row) + np.abs(net.bias)
        if (np.abs(net.preactivations(row[None])[0]) > margin * size).all():
            return row
    return reject()


@st.composite
def problems(
    draw: st.DrawFn,
    *,
    max_dim: int = 4,
    max_hidden: int = 5,
    max_outputs: int = 3,
    max_rows: int = 3,
    kinds: tuple[str, ...] = KINDS,
    degenerate: bool = True,
    scales: bool = True,
    kinks: str = "any",
    correct: bool = False,
) -> Problem:
    """Networks with a decision, inputs and labels: what attacks and robust radii take.

    Parameters
    ----------
    max_dim, max_hidden, max_outputs, kinds, degenerate, scales
        As in `networks`.
    max_rows, kinks
        As in `inputs`.
    correct : bool
        Whether every label is the network's own, with a margin above its rounding error, so that
        it is no tie for anyone. Else labels are random.
    """
    net = draw(
        networks(
            max_dim=max_dim,
            max_hidden=max_hidden,
            max_outputs=max_outputs,
            kinds=kinds,
            degenerate=degenerate,
            scales=scales,
        )
    )
    decision = draw(decisions(net.n_outputs))
    x = draw(inputs(net, max_rows=max_rows, kinks=kinks))
    if not correct:
        return Problem(net, decision, x, draw(labels_for(decision, len(x), net.n_outputs)))
    y = net.predict(x, decision)
    right = _decisions.margin(net.outputs(x), y, decision) > _noise(net, x)
    assume(right.any())
    return Problem(net, decision, x[right], y[right])


def _noise(net: TwoLayerReLU, x: Array) -> Array:
    """Bound of the rounding error of every decision margin (n,), in any order of summation."""
    terms = net.dim + net.n_hidden + 2 * net.n_outputs + 8
    size = (np.abs(x) @ np.abs(net.W).T + np.abs(net.bias)) @ np.abs(net.A).T + np.abs(net.c)
    bound: Array = terms * np.finfo(np.float64).eps * size.sum(axis=1)
    return bound
