"""Problems that are drawn from seeds. Each docstring says why attacks fail there."""

from __future__ import annotations

import math

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision, GroupMax
from refimpl.distribution import ClusterDistribution, Sample
from refimpl.network import TwoLayerReLU
from refimpl.training import gradient_descent
from refimpl.truth.problem import Setting

_N = 20  # samples of a problem
_SCALE = 2.0**-7  # a power of two, so that no decision changes by rounding


def averaging() -> Setting:
    """Binary network of the paper's synthetic setting, which averages the features of a class.

    At most samples the neurons of one class are inactive, so that the gradient there is but a part
    of the direction to the other class: an attack that stops at the first adversarial point along
    it pays up to sqrt(2). Nothing else hides the way.

    d = 3072, 10 clusters, 1000 samples, 100 steps; radii are near sqrt(d/k) = 17.5.
    """
    dist = ClusterDistribution.orthogonal(10, 3072, rng=0)
    train = dist.sample(1000, rng=1)
    net = TwoLayerReLU.binary(3072, 5, rng=2)
    net = gradient_descent(net, train.x, train.y, learning_rate=0.001, steps=100).network
    return Setting(net, *_correct(net, dist.sample(2 * _N, rng=3)))


def group_sum() -> Setting:
    """Decoupled features, read out by the sum of each class: the other side's neurons are dead.

    The gradient at a sample knows the features of its own class alone, since the neurons of the
    other class are inactive there. An attack that follows it from the sample removes the own
    feature, which is the longer way: the shorter one adds features that give no gradient yet.
    """
    dist = ClusterDistribution.orthogonal(10, 128, rng=10)
    labels = dist.labels
    net = _small(TwoLayerReLU.feature_decoupling(dist, bias=-0.3 * dist.dim).group_sum(labels))
    return Setting(net, *_correct(net, dist.sample(2 * _N, rng=11)))


def group_max() -> Setting:
    """Decoupled features, read out by the largest output of each class.

    Which output is the largest of the other class changes on the way: an attack that aims at the
    one that is largest at the sample may take a longer way than to another.
    """
    dist = ClusterDistribution.orthogonal(10, 128, rng=20)
    net = _small(TwoLayerReLU.feature_decoupling(dist))
    decision = GroupMax(dist.labels)
    return Setting(net, *_correct(net, dist.sample(2 * _N, rng=21), decision), decision)


def saturated() -> Setting:
    """Ten classes whose logits are so large that softmax is 1 and 0 in floating point.

    The gradient of the cross-entropy is exactly 0 at the samples, although the classes are as near
    as they are with small logits. An attack needs the margin of the logits, or a loss that does
    not change with their scale.
    """
    dist = ClusterDistribution.orthogonal(10, 64, rng=30)
    rng = np.random.default_rng(31)
    W = dist.features + 0.3 * rng.standard_normal(dist.features.shape)
    net = TwoLayerReLU(W, None, 1e3 * (np.eye(10) - 0.2 * rng.random((10, 10))))
    sample = dist.sample(2 * _N, rng=32)
    right = net.predict(sample.x, "argmax") == sample.cluster
    return Setting(net, sample.x[right][:_N], sample.cluster[right][:_N], "argmax")


def flat() -> Setting:
    """Constant around every sample: no neuron is active there.

    The gradient is exactly 0 at the sample and near it. An attack has to start elsewhere: at random
    points that are far enough, or from an adversarial point.
    """
    rng = np.random.default_rng(40)
    W, x = _directions(rng, 16, 20), 0.5 * _directions(rng, _N, 20)
    net = TwoLayerReLU(W, np.full(16, -1.0), -np.ones((1, 16)), [0.5])
    return Setting(net, x, np.ones(_N, np.int64))


def slivers() -> Setting:
    """Thin slabs of the other class near the samples, and a half-space of it farther away.

    Outside a slab its neurons cancel, so that no gradient points there, and a step of usual length
    jumps over it. Attacks find the half-space, some four times as far. The slabs are in the
    weights: each is a group of three parallel neurons.
    """
    rng, d, count, width = np.random.default_rng(50), 20, 6, 1e-2
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    slabs, u = axes[:count], axes[count]
    W = np.vstack([np.repeat(slabs, 3, axis=0), u, -u])
    b = np.append(np.tile([width - 1, -1.0, -width - 1], count), [0.0, 0.0])
    tent = np.array([1.0, -2.0, 1.0]) / width  # 1 at distance 1 along the axis, 0 from width on
    A = np.append(np.tile(-2 * tent, count), [-0.25, 0.25])
    net = TwoLayerReLU(W, b, A[None], [1.0])
    return Setting(net, 0.3 * _directions(rng, _N, d), np.ones(_N, np.int64))


def kink() -> Setting:
    """Convex boundary whose nearest point lies on eight kinks at once.

    The gradient jumps from one side of a kink to the other, and each of its sides leads away from
    the nearest point: attacks zigzag, and stop short of it. It takes several linear pieces at once.
    """
    rng, d, count = np.random.default_rng(60), 20, 8
    axes = np.linalg.qr(rng.standard_normal((d, d)))[0]
    q, u = axes[:count], axes[count] + 0.3 * axes[:count].sum(axis=0)
    W = np.vstack([q, -q, u, -u])
    b = rng.uniform(-0.2, 0.2, count)
    A = np.append(np.full(2 * count, 2.0), [-1.0, 1.0])
    net = TwoLayerReLU(W, np.concatenate([b, -b, [0.0, 0.0]]), A[None], [1.0])
    return Setting(net, 0.5 * _directions(rng, _N, d), np.ones(_N, np.int64))


def corner() -> Setting:
    """One tie in a corner of the box is all that is adversarial.

    Every other point of the box is decided rightly, so that an attack has to come to the corner
    exactly, in floating point. A projection onto the ball before the box, a step back from the
    boundary, or a demand for a margin misses it.
    """
    rng, d = np.random.default_rng(70), 10
    scale = rng.integers(1, 9, d) / 4.0
    net = TwoLayerReLU(-np.diag(scale), scale, np.full((1, d), 0.125))
    x = rng.integers(0, 65, (_N, d)) / 64.0
    return Setting(net, x, np.ones(_N, np.int64), box=(0.0, 1.0))


def mixed() -> Setting:
    """Wide random network whose output weights have both signs, in l2.

    The boundary has many pieces, convex and concave ones, and local minima of the distance. An
    attack that refines the first adversarial point that it meets ends in one of them.
    """
    net, x, y = _random(80, 60, 40)
    return Setting(net, x, y)


def mixed_linf() -> Setting:
    """Random network whose output weights have both signs, in l_inf and a box.

    Local minima as in l2, and the nearest point moves nearly every coordinate by the same length:
    an attack that follows the sign of the gradient moves each by the full budget, also where that
    is of no use.
    """
    net, x, y = _random(90, 30, 20)
    return Setting(net, x, y, norm=math.inf, box=(-1.0, 1.0))


def mixed_classes() -> Setting:
    """Random network with five classes, in l2 and a box that many nearest points touch.

    Other classes are nearest than those that the margins at the sample suggest, and a point that
    is clipped to the box is neither the nearest in it nor, often, adversarial any more.
    """
    rng = np.random.default_rng(100)
    W, A = rng.standard_normal((24, 20)), rng.standard_normal((5, 24))
    net = _small(TwoLayerReLU(W, rng.standard_normal(24), A))
    x = np.round(rng.uniform(-1, 1, (_N, 20)) * 1.2, 3).clip(-1, 1)
    return Setting(net, x, net.predict(x, "argmax"), "argmax", box=(-1.0, 1.0))


def _random(seed: int, n_hidden: int, d: int) -> tuple[TwoLayerReLU, Array, IntArray]:
    rng = np.random.default_rng(seed)
    W, A = rng.standard_normal((n_hidden, d)), rng.standard_normal((1, n_hidden))
    net = _small(TwoLayerReLU(W, rng.standard_normal(n_hidden), A))
    x = rng.uniform(-1, 1, (_N, d))
    return net, x, net.predict(x, "sign")


def _small(net: TwoLayerReLU) -> TwoLayerReLU:
    """Return the network with outputs so small that softmax does not hide them; radii stay."""
    return TwoLayerReLU(net.W, net.b, net.A * _SCALE)


def _directions(rng: np.random.Generator, n: int, d: int) -> Array:
    """Draw unit vectors (n,d)."""
    v = rng.standard_normal((n, d))
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def _correct(
    net: TwoLayerReLU, sample: Sample, decision: Decision = "sign"
) -> tuple[Array, IntArray]:
    """Return the first samples that the network decides rightly, and their labels."""
    right = net.predict(sample.x, decision) == sample.y
    return sample.x[right][:_N], sample.y[right][:_N]
