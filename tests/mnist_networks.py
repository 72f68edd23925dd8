"""Networks that tell odd digits of MNIST from even ones, for slow tests and benchmarks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from refimpl import TwoLayerReLU, datasets, gradient_descent


def parity(directory: Path | None = None) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Training and test images (n,784) in [0, 1] and labels, odd +1."""
    train, test = datasets.load_mnist(directory, layout="flat", scale=True)
    return (train[0], datasets.odd_even(train[1])), (test[0], datasets.odd_even(test[1]))


def train(
    x: Any, y: Any, n_hidden: int, *, epochs: int = 10, seed: int = 0, rate: float | None = None
) -> TwoLayerReLU:
    """The paper's binary network after mini-batch gradient descent from small weights."""
    net = TwoLayerReLU.binary(x.shape[1], n_hidden // 2, sigma_w=1e-2, sigma_b=1e-2, rng=seed)
    steps = epochs * (len(x) // 100)
    rate = rate or n_hidden / 3  # the derivative of an output has a factor 1/m
    path = gradient_descent(
        net, x, y, learning_rate=rate, steps=steps, batch_size=100, rng=seed, method="primal"
    )
    return path.network
