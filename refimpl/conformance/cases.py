# ruff: noqa: D401 - a strategy's docstring states what it draws
"""Inputs of the claims: cases drawn from `refimpl.strategies`.

Small cases are drawn entry by entry and shrink. Large ones are made from a seed by the functions
that are `recorded`, so that a failure on a million numbers is repeated from one line.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from refimpl import (
    ClusterDistribution,
    Sample,
    TwoLayerReLU,
    input_gradient,
    smallest_step,
    strategies,
)
from refimpl.conformance.case import Case, recorded
from refimpl.conformance.tolerances import exact

Outputs = int | tuple[int, ...] | None  # K, or what it is drawn from
SEVERAL = (3, 2, 10)
TAIL = (18.0, 38.0)  # margins on the wrong side where a thresholded softplus shows


@st.composite
def forward(draw: st.DrawFn, n_outputs: Outputs = None, kinks: str = "any") -> Case:
    """A network of any kind, often with biases that its kind does not have, and inputs."""
    K = draw(st.sampled_from(n_outputs)) if isinstance(n_outputs, tuple) else n_outputs
    net = draw(strategies.networks(n_outputs=K, scales=kinks != "on"))
    if draw(st.booleans()):
        b, c = draw(strategies.arrays((net.n_hidden,))), draw(strategies.arrays((net.n_outputs,)))
        net = TwoLayerReLU(net.W, b, net.A, c)
    x = draw(strategies.inputs(net, kinks=kinks))
    assume(kinks != "on" or exact(net, x))
    return Case.of(net, x=x)


@st.composite
def ties(draw: st.DrawFn, *n_outputs: int) -> Case:
    """Outputs that are free of rounding and tied: f = 0, or two largest outputs equal."""
    net = draw(strategies.networks(n_outputs=draw(st.sampled_from(n_outputs)), scales=False))
    x = draw(strategies.inputs(net))
    top = np.sort(net.outputs(x), axis=1)
    tied = net.outputs(x) == 0 if net.n_outputs == 1 else top[:, -1:] == top[:, -2:-1]
    assume(exact(net, x) and tied.any())
    return Case.of(net, x=x[tied[:, 0]])


@st.composite
def supervised(draw: st.DrawFn, n_outputs: Outputs = None, kinks: str = "off") -> Case:
    """A network, inputs and targets, margins not in the tail of the logistic loss."""
    case = draw(forward(n_outputs, kinks))
    targets = draw(strategies.targets(case.net, len(case.x)))
    if case.net.n_outputs == 1:
        wrong = -targets * case.net.outputs(case.x)[:, 0]
        assume(not ((wrong > TAIL[0]) & (wrong < TAIL[1])).any())
    return case.replace(targets=targets)


def twice(case: Case) -> Case:
    """Every sample and its target twice."""
    return case.replace(**{name: np.concatenate([case[name]] * 2) for name in ("x", "targets")})


@st.composite
def cotangents(draw: st.DrawFn, kinks: str = "off") -> Case:
    """A network, inputs and a cotangent for each."""
    case = draw(forward(kinks=kinks))
    return case.replace(cotangent=draw(strategies.arrays((len(case.x), len(case.A)))))


@st.composite
def margins(draw: st.DrawFn, n_outputs: int, sizes: Any) -> Case:
    """One output at a margin of the given sizes, and a row for each label or class."""
    size = draw(sizes)
    side = draw(st.sampled_from([1, -1]))
    W, b = np.ones((1, 1)), np.zeros(1)
    A = np.full((n_outputs, 1), 1 / 8)
    c = np.zeros(n_outputs)
    c[draw(st.integers(0, n_outputs - 1))] = side * size
    targets = np.array([1, -1]) if n_outputs == 1 else np.arange(n_outputs)
    x = np.full((len(targets), 1), -float(draw(st.integers(-1, 1))))
    return Case(W=W, b=b, A=A, c=c, x=x, targets=targets)


@recorded
def batch(seed: int, n: int, d: int, M: int, K: int) -> Case:
    """Gaussian network and inputs of any size, random targets."""
    rng = np.random.default_rng(seed)
    net = TwoLayerReLU(
        rng.standard_normal((M, d)) / np.sqrt(d),
        rng.standard_normal(M),
        rng.standard_normal((K, M)) / M,
        rng.standard_normal(K) / 8,
    )
    x = rng.standard_normal((n, d))
    targets = rng.choice([-1, 1], n) if K == 1 else rng.integers(K, size=n)
    return Case.of(net, x=x, targets=targets)


@st.composite
def batches(draw: st.DrawFn) -> Case:
    """Batches of sizes around powers of two and round numbers, where blocks end."""
    n = draw(st.sampled_from([2, 3, 31, 33, 100, 129, 257, 1000, 1025]))
    d, M = draw(st.sampled_from([1, 7, 64, 257])), draw(st.sampled_from([1, 8, 33, 130]))
    K = draw(st.sampled_from([1, 3, 10]))
    if draw(st.integers(0, 9)) == 9:
        n, d = 33, 3072
    return batch(draw(strategies.seeds()), n, d, M, K)


@st.composite
def training(draw: st.DrawFn, steps: tuple[int, int] = (1, 4), kinks: str = "off") -> Case:
    """What a descent takes; learning rates at which losses hardly move, and at which they rise."""
    case = draw(supervised(kinks=kinks))
    learning_rate = draw(st.sampled_from([0.5, 0.25, 0.01, 2.0**-14, 4.0]))
    return case.replace(learning_rate=learning_rate, steps=draw(st.integers(*steps)))


@st.composite
def steps(draw: st.DrawFn, kinks: str = "off") -> Case:
    """What one step takes."""
    case = draw(training((1, 1), kinks))
    del case["steps"]
    return case


@recorded
def clusters(
    seed: int,
    n: int,
    d: int,
    k: int,
    m: int,
    steps: int,
    learning_rate: float = 0.05,
    sigma: float = 0.01,
    multiclass: bool = False,
) -> Case:
    """Return the paper's setting at any size: orthogonal clusters and its network (E1 to E7)."""
    rng = np.random.default_rng(seed)
    dist = ClusterDistribution.orthogonal(k, d, rng=rng)
    sample = dist.sample(n, rng=rng)
    if multiclass:
        net = TwoLayerReLU.multiclass(d, k, m, sigma_w=sigma, rng=rng)
    else:
        net = TwoLayerReLU.binary(d, m, sigma_w=sigma, sigma_b=sigma, rng=rng)
    return Case.of(
        net,
        x=sample.x,
        cluster=sample.cluster,
        features=dist.features,
        targets=sample.cluster if multiclass else sample.y,
        learning_rate=learning_rate,
        steps=steps,
    )


@st.composite
def settings(draw: st.DrawFn, multiclass: bool = False) -> Case:
    """Return the paper's setting, small."""
    k = draw(st.sampled_from([2, 4, 5]))
    d, n = draw(st.sampled_from([8, 40])), draw(st.sampled_from([5, 60]))
    m, steps = draw(st.sampled_from([1, 2, 3])), draw(st.integers(1, 12))
    return clusters(draw(strategies.seeds()), n, d, k, m, steps, multiclass=multiclass)


@st.composite
def paper(draw: st.DrawFn) -> Case:
    """Return the paper's own sizes: one step of the binary network, three of the other."""
    m, steps, multiclass = draw(st.sampled_from([(5, 1, False), (1, 3, True)]))
    return clusters(0, 1000, 3072, 10, m, steps, 0.001, 1e-5, multiclass)


@st.composite
def decompositions(draw: st.DrawFn, at_centres: bool = False) -> Case:
    """Samples of any distribution, a binary network, and a short descent.

    Labels are constant on clusters. `at_centres`: without noise, and often a feature twice.
    """
    dist = draw(strategies.distributions())
    sample = draw(strategies.samples(dist))
    x = dist.features[sample.cluster] if at_centres else sample.x
    net = draw(strategies.networks(dim=dist.dim, n_outputs=1, kinds=("binary",)))
    return Case.of(
        net,
        x=x,
        cluster=sample.cluster,
        features=dist.features,
        targets=sample.y,
        learning_rate=draw(st.sampled_from([0.5, 0.01])),
        steps=draw(st.sampled_from([2, 1, 3, 4, 0])),
    )


@st.composite
def attacks(draw: st.DrawFn) -> Case:
    """What the closed-form attack takes."""
    dist = draw(strategies.distributions())
    sample = draw(strategies.samples(dist))
    return _attack(sample, dist, draw(st.sampled_from([1.0, 0.0, 0.25, 3.0, 100.0])))


def _attack(sample: Sample, dist: ClusterDistribution, epsilon: float) -> Case:
    centres = {"features": dist.features, "labels": dist.labels}
    return Case(x=sample.x, y=sample.y, **centres, epsilon=epsilon)


@recorded
def directions(seed: int, n: int, k: int, d: int, positive: int, epsilon: float) -> Case:
    """What the closed-form attack takes in the paper's setting, at any size."""
    labels = np.where(np.arange(k) < positive, 1, -1)
    dist = ClusterDistribution.orthogonal(k, d, labels=labels, rng=seed)
    return _attack(dist.sample(n, rng=seed + 1), dist, epsilon)


@st.composite
def large_attacks(draw: st.DrawFn) -> Case:
    """The same at sizes up to the paper's."""
    n, k, d = draw(st.sampled_from([(5, 10, 300), (33, 10, 3072), (3, 16, 64)]))
    positive, epsilon = draw(st.integers(1, k - 1)), draw(st.sampled_from([3.0, 0.25]))
    return directions(draw(strategies.seeds()), n, k, d, positive, epsilon)


def regions(draw: st.DrawFn, rows: Any, norms: tuple[float, ...], box: bool) -> dict[str, Any]:
    """A norm, if there are some to draw from, and a box around the rows, if there is to be one.

    Its sides are at the rows, near, far or infinite, in each coordinate its own; some are fixed.
    """
    region: dict[str, Any] = {"norm": draw(st.sampled_from(norms))} if norms else {}
    if box:
        room = st.sampled_from([0.25, 1.0, np.inf, 0.0, 4.0])
        pairs = st.sampled_from([st.tuples(room, room)] * 4 + [st.just((0.0, 0.0))])
        below, above = zip(*(draw(draw(pairs)) for _ in range(rows.shape[1])), strict=True)
        region["box"] = np.stack([rows.min(axis=0) - below, rows.max(axis=0) + above])
    return region


@st.composite
def rays(
    draw: st.DrawFn, correct: bool = True, norms: tuple[float, ...] = (), box: bool = False
) -> Case:
    """A scalar network, samples and directions that are not 0, often those of steepest descent.

    A box often ends near the first sample's smallest step: before it in l_inf, where a length in
    another norm is more, behind it in l1, where it is less, and in l2 before or behind.
    """
    case = draw(problems(correct))
    assume(not norms or case.x.shape[1] > 1)  # in one dimension all norms are the same
    far = draw(st.sampled_from([1.0, 64.0]))  # steps are so much longer
    case = case.replace(x=far * case.x, W=case.W / far)
    direction = draw(strategies.arrays(case.x.shape))
    if draw(st.booleans()):
        direction = -case.y[:, None] * input_gradient(case.net, case.x, [1.0])
    direction[~direction.any(axis=1), 0] = 1.0
    case = case.replace(direction=direction, **regions(draw, case.x, norms, box))
    factors = {1: [1.1], 2: [0.9, 1.1], np.inf: [0.9]}[case.get("norm", 2)]
    return _ending_at(case, draw(st.sampled_from(factors))) if box and draw(st.booleans()) else case


def _ending_at(case: Case, factor: float) -> Case:
    """The case with one side of the box alone, at so many times the first smallest step."""
    norm = case.get("norm", 2)
    first = case.x[:1], case.y[:1], case.direction[:1]
    (t,) = smallest_step(case.net, *first, norm=norm)
    if not 0 < t < np.inf:
        return case
    u = case.direction[0] / np.linalg.norm(case.direction[0], ord=norm)
    j = int(np.abs(u).argmax())
    box = np.full((2, len(u)), np.inf) * [[-1], [1]]
    box[int(u[j] > 0), j] = case.x[0, j] + factor * t * u[j]
    lo, hi = np.minimum(box[0], case.x.min(axis=0)), np.maximum(box[1], case.x.max(axis=0))
    return case.replace(box=np.stack([lo, hi]))


@st.composite
def problems(draw: st.DrawFn, correct: bool = True, max_hidden: int = 5) -> Case:
    """A scalar network and samples, all classified correctly, or at random; outputs of any size."""
    found = draw(
        strategies.problems(
            max_outputs=1, max_hidden=max_hidden, scales=False, correct=correct, max_rows=2
        )
    )
    size = draw(st.sampled_from([1.0, 2.0**-30, 2.0**20]))
    net = TwoLayerReLU(found.net.W, found.net.b, size * found.net.A, size * found.net.c)
    return Case.of(net, x=found.x, y=found.y)


@st.composite
def small_problems(draw: st.DrawFn, norms: tuple[float, ...] = (), box: bool = False) -> Case:
    """A scalar network of at most three neurons, one sample that is classified correctly."""
    case = draw(problems(max_hidden=3)).rows(slice(0, 1))
    assume(not norms or case.x.shape[1] > 1)  # in one dimension all norms are the same
    return case.replace(**regions(draw, case.x, norms, box))


def unreachable(case: Case) -> Case:
    """The network with all outputs on the side of the first label, which all samples then have.

    c is so large that no precision loses it beside the outputs.
    """
    label, hidden = case.y[0], np.abs(case.x) @ np.abs(case.W).T + np.abs(case.b)
    A = np.abs(case.A) * label
    c = np.full(1, label * np.exp2(np.ceil(np.log2(1 + (hidden @ np.abs(A[0])).max()))))
    return case.replace(A=A, c=c, y=np.full_like(case.y, label))


@recorded
def search(seed: int, d: int, M: int, helpful: int) -> Case:
    """Gaussian scalar network with so many neurons that help the label of its one sample."""
    rng = np.random.default_rng(seed)
    W, b, x = rng.standard_normal((M, d)), rng.standard_normal(M), rng.standard_normal((1, d))
    y = rng.choice([-1, 1], 1)
    A = y * np.where(np.arange(M) < helpful, 1.0, -1.0) * np.abs(rng.standard_normal((1, M)))
    margin = np.abs(rng.standard_normal(1))
    net = TwoLayerReLU(W, b, A, y * margin - A @ np.maximum(W @ x[0] + b, 0))
    return Case.of(net, x=x, y=y)


@st.composite
def searches(draw: st.DrawFn) -> Case:
    """As many neurons as brute force over their phases can take, most of them harmful."""
    M, helpful = draw(st.integers(6, 9)), draw(st.integers(0, 3))
    return search(draw(strategies.seeds()), draw(st.integers(2, 6)), M, helpful)


KINDS = ("integers", "kinks", "hardly classified", "unreachable", "out of scale")


@recorded
def oddity(seed: int, kind: str, d: int, M: int) -> Case:
    """Scalar network with ties, kinks or scales on purpose, and three samples with its labels."""
    rng = np.random.default_rng(seed)
    W, b, A, x = (rng.standard_normal(size) for size in ((M, d), M, (1, M), (3, d)))
    c = rng.standard_normal(1)
    if kind == "integers":
        W, b, A, c, x = (np.round(2 * array) for array in (W, b, A, c, x))
    elif kind == "kinks":
        b = -(W @ x[0]) * (1 + rng.choice([0, 1e-12, 1e-3], size=M))
    elif kind == "hardly classified":
        c = c - (A @ np.maximum(W @ x[0] + b, 0)) * (1 - rng.choice([1e-9, 1e-3]))
    elif kind == "unreachable":
        A, c = np.abs(A), np.abs(c)
    else:
        W, b, A = W * 2.0**20, b * 2.0**20, A * 2.0**-20
    net = TwoLayerReLU(W, b, A, c)
    return Case.of(net, x=x, y=np.where(net.outputs(x)[:, 0] > 0, 1, -1))


def oddities() -> st.SearchStrategy[Case]:
    """Networks of every such kind."""
    sizes = st.integers(1, 6), st.integers(1, 9)
    return st.builds(oddity, strategies.seeds(), st.sampled_from(KINDS), *sizes)


@st.composite
def balls(draw: st.DrawFn, norms: tuple[float, ...] = (), box: bool = False) -> Case:
    """Points inside, on and outside of a ball; rows of 0; a box holds 0."""
    n, d = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    epsilon = draw(st.sampled_from([1.0, 0.25, 5.0, 10.0, 0.0]))
    region = regions(draw, np.zeros((1, d)), norms, box)
    return Case(delta=draw(strategies.arrays((n, d))), epsilon=epsilon, **region)


@st.composite
def shells(draw: st.DrawFn) -> Case:
    """One point that is hardly beyond a ball, by a relative 2^-21, or on it."""
    delta = np.zeros((1, draw(st.integers(1, 5))))
    epsilon = draw(st.sampled_from([1.0, 0.25, 5.0]))
    delta[0, -1] = (1 + draw(st.sampled_from([2.0**-21, 0.0]))) * epsilon
    return Case(delta=delta, epsilon=epsilon)


@st.composite
def curves(draw: st.DrawFn) -> Case:
    """Radii, 0 for misclassified samples and inf among them, and epsilons that they often equal."""
    values = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, np.inf])
    radius = np.array(draw(st.lists(values, min_size=1, max_size=7)))
    finite = st.sampled_from([0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0])
    return Case(radius=radius, epsilons=np.array(draw(st.lists(finite, min_size=1, max_size=5))))


@st.composite
def near_curves(draw: st.DrawFn) -> Case:
    """Radii that are hardly above or hardly below the epsilons, by a relative 2^-20."""
    epsilons = np.array(draw(st.lists(st.sampled_from([1.0, 0.5, 2.0]), min_size=1, max_size=3)))
    side = draw(st.sampled_from([1, -1]))
    return Case(radius=(1 + side * 2.0**-20) * epsilons, epsilons=epsilons)


@recorded
def rows(seed: int, k: int, M: int, d: int) -> Case:
    """Gaussian features and weights."""
    rng = np.random.default_rng(seed)
    return Case(features=rng.standard_normal((k, d)), W=rng.standard_normal((M, d)))


def large_angles() -> st.SearchStrategy[Case]:
    """The same at sizes up to the paper's."""
    sizes = st.just(10), st.just(30), st.sampled_from([300, 3072])
    return st.builds(rows, strategies.seeds(), *sizes)


@st.composite
def angles(draw: st.DrawFn) -> Case:
    """Features and weights, no row 0."""
    d = draw(st.integers(1, 5))
    features, W = (draw(strategies.arrays((draw(st.integers(1, 4)), d))) for _ in range(2))
    for rows in (features, W):
        rows[~rows.any(axis=1), 0] = 1.0
    return Case(features=features, W=2.0 ** draw(st.sampled_from([0, -20, 20])) * W)


@st.composite
def draws(draw: st.DrawFn) -> Case:
    """What sampling takes, at sizes where laws of large numbers bite."""
    dist = draw(strategies.distributions())
    noise_std = draw(st.sampled_from([1.0, 0.25, 3.0]))
    seed = draw(st.integers(0, 2**31 - 1))
    return Case(features=dist.features, labels=dist.labels, noise_std=noise_std, n=4096, seed=seed)
