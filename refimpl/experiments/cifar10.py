"""CIFAR-10: the first five classes against the last, against a network trained on the ten."""

from __future__ import annotations

import os

import numpy as np

from refimpl.datasets import first_half, load_cifar10
from refimpl.experiments.images import ImageTask, described

IMAGES = (50_000, 10_000)  # that CIFAR-10 has for training and for tests
LARGEST_RADIUS = 2.4  # a grid of 0.1
CLASSES = "airplane automobile bird cat deer dog frog horse ship truck"


def load(directory: str | os.PathLike[str] | None, *, verify: bool = True) -> ImageTask:
    """CIFAR-10 as rows of 3072 values in [0, 1]; the directory is None for $REFIMPL_DATA."""
    splits = load_cifar10(directory, verify=verify, scale=True)
    train, test = ((x.reshape(len(x), -1), y) for x, y in splits)
    return ImageTask(
        train=train,
        test=test,
        labels=first_half(np.arange(10)),
        class_names=tuple(CLASSES.split()),
        unit="pixel units of [0, 1]",
        largest_radius=LARGEST_RADIUS,
        image_shape=(32, 32, 3),
        data=described("CIFAR-10", IMAGES, (train, test), verify),
        centre=True,
    )
