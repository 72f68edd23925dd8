"""MNIST: odd against even digits, against a network trained on the ten digits."""

from __future__ import annotations

import os

import numpy as np

from refimpl.datasets import load_mnist, odd_even
from refimpl.experiments.images import ImageTask, described

IMAGES = (60_000, 10_000)  # that MNIST has for training and for tests
LARGEST_RADIUS = 2.4  # a grid of 0.1


def load(directory: str | os.PathLike[str] | None, *, verify: bool = True) -> ImageTask:
    """MNIST as rows of 784 pixels in [0, 1]; the directory is None for $REFIMPL_DATA."""
    train, test = load_mnist(directory, verify=verify, layout="flat", scale=True)
    digits = np.arange(10)
    return ImageTask(
        train=train,
        test=test,
        labels=odd_even(digits),
        class_names=tuple(map(str, digits)),
        unit="pixel units of [0, 1]",
        largest_radius=LARGEST_RADIUS,
        image_shape=(28, 28),
        data=described("MNIST", IMAGES, (train, test), verify),
    )
