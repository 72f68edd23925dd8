"""The paper's experiments on real data, with the networks of its theory (Figures 2c, 2d, 3).

The paper trains ResNet-18; here they are the two-layer networks of the theory, on pixels or on
features, so that curves compare in shape and not in value. The features of the classes are the
means of the training samples.
"""

from __future__ import annotations

import math

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl._progress import Progress
from refimpl.attacks import closed_form_direction
from refimpl.decomposition import cosine_matrix
from refimpl.experiments.comparison import Comparison
from refimpl.experiments.tasks import Split, Task, class_means
from refimpl.network import TwoLayerReLU
from refimpl.setting import ImageSettings
from refimpl.training import gradient_descent

_TYPICAL_NORM = 10.0  # of the rows that the networks are trained on


def check_features(task: Task) -> None:
    """Raise `ValueError` now rather than after training, if class means are no features.

    That is where one is zero, or where both signs have the same sum, or where norms overflow.
    """
    x, labels = task.train[0], task.labels
    with np.errstate(over="ignore"):
        norm = float(np.linalg.norm(x))
    if not math.isfinite(norm):
        check.fail("x", "numbers whose squares float64 holds", f"{float(np.abs(x).max()):g}")
    means = class_means(task.train, len(labels)) - (x.mean(axis=0) if task.centre else 0.0)
    try:
        cosine_matrix(means, means)
        closed_form_direction(labels, means, labels)
    except ValueError as error:
        raise ValueError(f"class means as {error}") from None


def train(
    task: Task, split: Split, settings: ImageSettings, rng: np.random.Generator, *, progress: bool
) -> Comparison:
    """Train a 2-class network on the labels of the classes, and one as wide on the classes."""
    s, labels, (x, classes) = settings, task.labels, split
    k, d = len(labels), x.shape[1]
    mean = x.mean(axis=0) if task.centre else np.zeros(d)
    x = x - mean
    h, batch = s.width(k), min(s.batch, len(x))
    scale = float(np.linalg.norm(x) / np.sqrt(len(x))) / _TYPICAL_NORM or 1.0
    steps = s.epochs * -(-len(x) // batch)
    two = TwoLayerReLU.binary(d, k * h // 2, sigma_w=s.sigma, sigma_b=s.sigma, rng=rng)
    ten = TwoLayerReLU.multiclass(d, k, h, sigma_w=s.sigma, rng=rng)
    with Progress("training, steps", 2 * steps, enabled=progress) as counter:
        two, ten = (
            _descend(net, x / scale, targets, step_size, steps, batch, rng, counter)
            for net, targets, step_size in (
                (two, labels[classes], s.two_step),
                (ten, classes, s.ten_step),
            )
        )
    two, ten = two.fold_input(mean, scale), ten.fold_input(mean, scale)
    return Comparison(class_means(split, k) - mean, labels, two, ten, h)


def _descend(
    net: TwoLayerReLU,
    x: Array,
    targets: IntArray,
    step_size: float,
    steps: int,
    batch: int,
    rng: np.random.Generator,
    counter: Progress,
) -> TwoLayerReLU:
    """Mini-batch descent, at last with small steps, whose noise leaves less of a mark."""
    last = steps // 5
    for learning_rate, count in ((step_size, steps - last), (step_size / 10, last)):
        net = gradient_descent(
            net,
            x,
            targets,
            learning_rate=learning_rate,
            steps=count,
            method="primal",
            batch_size=batch,
            rng=rng,
            callback=lambda step, *_: counter.advance(step > 0),
        ).network
    return net
