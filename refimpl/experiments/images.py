"""The paper's experiments on real data, with the networks of its theory (Figures 2c, 2d, 3).

The paper trains ResNet-18; here they are the two-layer networks of the theory, on pixels or on
features, so that curves compare in shape and not in value. The features of the classes are the
means of the training samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from refimpl import _validation as check
from refimpl._progress import Progress
from refimpl._validation import Array, IntArray
from refimpl.attacks import closed_form_direction
from refimpl.decisions import GroupMax
from refimpl.decomposition import cosine_matrix
from refimpl.experiments.comparison import Comparison
from refimpl.network import TwoLayerReLU
from refimpl.setting import ImageSettings
from refimpl.training import gradient_descent

Split = tuple[Array, IntArray]  # rows x (n,d) and their classes (n,)
_TYPICAL_NORM = 10.0  # of the rows that the networks are trained on


@dataclass(frozen=True, eq=False)
class ImageTask:
    """Labelled rows, and a partition of their classes.

    Parameters
    ----------
    train, test : pairs of x (n,d) and classes (n,)
    labels : (k,) array in {-1, +1}
        Binary label of each class.
    class_names : tuple of k str
    unit : str
        The space of x.
    largest_radius : float, optional
        Where the curves end; by default where the samples' radii do.
    image_shape : tuple of int, optional
        Shape of the image in a row whose entries are pixels in [0, 1]; None where x is no image.
    data : str
        What the rows are: a report says it.
    centre : bool
        Whether the networks are trained on rows less their mean, and features are class means less
        that mean. They take the rows as they are all the same: the biases make up for it.

    Raises
    ------
    ValueError
        Labels of one class only, or training samples that lack a class.
    """

    train: Split
    test: Split
    labels: IntArray
    class_names: tuple[str, ...]
    unit: str
    largest_radius: float | None = None
    image_shape: tuple[int, ...] | None = None
    data: str = ""
    centre: bool = False

    def __post_init__(self) -> None:
        GroupMax(self.labels)
        class_means(self.train, len(self.labels))


def check_features(task: ImageTask) -> None:
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
    task: ImageTask,
    split: Split,
    settings: ImageSettings,
    rng: np.random.Generator,
    *,
    progress: bool,
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


def class_means(split: Split, k: int) -> Array:
    """Mean (k,d) of the samples of each class.

    >>> class_means((np.array([[0.0], [2.0], [5.0]]), np.array([0, 0, 1])), 2).tolist()
    [[1.0], [5.0]]
    """
    x, classes = split
    missing = sorted(set(range(k)) - set(classes.tolist()))
    if missing:
        check.fail("train", f"samples of all {k} classes", f"none of class {missing[0]}")
    return np.stack([x[classes == j].mean(axis=0) for j in range(k)])


def described(name: str, whole: tuple[int, int], splits: tuple[Split, Split], verify: bool) -> str:
    """Say how many of all training and test images there are, and whether they were verified.

    >>> few = (np.zeros((3, 1)), np.zeros(3, dtype=np.int64))
    >>> described("MNIST", (60000, 10000), (few, few), False)
    'MNIST, 3 of 60000 training images and 3 of 10000 test images, not verified'
    """
    train, test = (f"{len(x)} of {n}" for (x, _), n in zip(splits, whole, strict=True))
    known = "verified" if verify else "not verified"
    return f"{name}, {train} training images and {test} test images, {known}"


def shuffled(split: Split, rng: np.random.Generator) -> Split:
    """Rows and classes in a random order."""
    order = rng.permutation(len(split[0]))
    return split[0][order], split[1][order]
