"""Networks 784-M-10 that PyTorch trains on MNIST with Adam: wide, and not of our own making.

Adam with learning rate 1e-3, batches of 200, 15 epochs, seed 0, float32, images in [0, 1]. Run as
``REFIMPL_DATA=... python tests/benchmarks/wide_networks.py DIRECTORY [M ...]``; networks that the
directory has already are not trained again. The version of PyTorch and a digest of the weights are
printed, since other versions give other weights.
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))

import numpy as np  # the number of threads is read on import

from refimpl import TwoLayerReLU, datasets, interop

WIDTHS = (100, 128, 256, 512, 1024)


def adam(directory: Path, M: int, *, epochs: int = 15, seed: int = 0) -> TwoLayerReLU:
    """Network of the given width, trained unless the directory has it."""
    path = directory / f"adam-{M}.npz"
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        train(M, epochs=epochs, seed=seed).save(path)
    return TwoLayerReLU.load(path)


def train(M: int, *, epochs: int, seed: int) -> TwoLayerReLU:
    """784-M-10, cross-entropy, Adam."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    (x, y), _ = datasets.load_mnist(scale=True)
    images = torch.tensor(x.reshape(len(x), -1), dtype=torch.float32)
    labels = torch.tensor(y)
    net = torch.nn.Sequential(
        torch.nn.Linear(images.shape[1], M), torch.nn.ReLU(), torch.nn.Linear(M, 10)
    )
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        for batch in torch.randperm(len(images)).split(200):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimiser.step()
    return interop.from_torch(net)


def digest(net: TwoLayerReLU) -> str:
    """First digits of the SHA-256 of the weights, by which a run can be told from another."""
    parts: list[Any] = [net.W, net.bias, net.A, net.c]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()[:16]


def main() -> None:
    """Train what is not there, and say what is."""
    import torch

    directory = Path(sys.argv[1])
    _, (x, y) = datasets.load_mnist(scale=True)
    for M in map(int, sys.argv[2:] or WIDTHS):
        net = adam(directory, M)
        right = np.mean(net.predict(x.reshape(len(x), -1), "argmax") == y)
        print(f"784-{M}-10: {right:.2%} right, weights {digest(net)}, torch {torch.__version__}")


if __name__ == "__main__":
    main()
