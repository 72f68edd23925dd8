"""Problems of images: MNIST in [0, 1], read from the folder that ``REFIMPL_DATA`` names.

`published` is for a network of others. Min and Vidal publish it with *Can Implicit Bias Imply
Adversarial Robustness?* (ICML 2024; repository hanchmin/pReLU_ICML24, MIT licence): 784-500-10,
p = 1, trained on images less a centre m. It is read from ``networks/mv24-mnist-500.npz`` in that
folder, converted by b = -W m, so that it takes pixels in [0, 1], flat rows: arrays W (500,784), b,
A (10,500), c, as `TwoLayerReLU.load` reads them.
"""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

import numpy as np

from refimpl.datasets import DatasetMissingError, load_mnist, odd_even
from refimpl.datasets.locate import find_mnist
from refimpl.network import TwoLayerReLU
from refimpl.training import gradient_descent
from refimpl.truth.problem import Setting

FOLDER = "REFIMPL_DATA"
PUBLISHED = Path("networks", "mv24-mnist-500.npz")
_N = 20
_N_PUBLISHED = 10
_BOX = (0.0, 1.0)


def has_mnist() -> bool:
    """Whether the folder of the data is named, and has MNIST."""
    try:
        return bool(os.environ.get(FOLDER)) and bool(find_mnist(Path(os.environ[FOLDER])))
    except DatasetMissingError:
        return False


def has_published() -> bool:
    """Whether it has the published network, too."""
    return has_mnist() and (Path(os.environ[FOLDER]) / PUBLISHED).is_file()


def mnist_l2() -> Setting:
    """Odd digits against even ones, 30 neurons, in l2 and the pixel range.

    Most pixels are 0 or 1, so that half of all directions leave the box. The nearest valid image is
    not the nearest point clipped, which is often decided rightly again.
    """
    net = _parity()
    return _images(net, box=_BOX)


def mnist_linf() -> Setting:
    """Odd digits against even ones, 30 neurons, in l_inf and the pixel range.

    Budgets are small beside those in l2, and the best sign of a pixel depends on which neurons the
    other pixels turn on: a single start may end in a local minimum.
    """
    return _images(_parity(), norm=math.inf, box=_BOX)


def published() -> Setting:
    """Network of 500 neurons and ten classes that others trained and published, in l2.

    Hundreds of neurons change between a sample and its nearest adversarial point, each by little:
    an attack has to follow many pieces of the boundary, for each of nine classes.
    """
    net = TwoLayerReLU.load(Path(os.environ[FOLDER]) / PUBLISHED)
    x, y = load_mnist(layout="flat", scale=True)[1]
    right = net.predict(x, "argmax") == y
    return Setting(net, x[right][:_N_PUBLISHED], y[right][:_N_PUBLISHED], "argmax")


@cache
def _parity() -> TwoLayerReLU:
    """Train the paper's binary network by mini-batches from small weights."""
    x, digits = load_mnist(layout="flat", scale=True)[0]
    net = TwoLayerReLU.binary(784, 15, sigma_w=1e-2, sigma_b=1e-2, rng=0)
    options = {"batch_size": 100, "rng": 0, "method": "primal"}
    y = odd_even(digits)
    return gradient_descent(net, x, y, learning_rate=10.0, steps=1200, **options).network  # type: ignore[arg-type]


def _images(net: TwoLayerReLU, *, norm: float = 2, box: tuple[float, float]) -> Setting:
    x, digits = load_mnist(layout="flat", scale=True)[1]
    y = np.asarray(odd_even(digits))
    right = net.predict(x, "sign") == y
    return Setting(net, x[right][:_N], y[right][:_N], norm=norm, box=box)
