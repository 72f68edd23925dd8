"""Time the loaders against plain gzip, NumPy and pickle: ``python datasets_loading.py [runs]``.

MNIST is read from $REFIMPL_DATA; the CIFAR-10 batch of 10,000 images is made up here. Prints the
median of the runs in seconds, and the ratio to the peer's.
"""

from __future__ import annotations

import gzip
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from dataset_files import IDX_NAMES, batch, python2_pickle

from refimpl import datasets
from refimpl.datasets.batches import parse_pickle


def median_seconds(*functions: Callable[[], object], runs: int) -> list[float]:
    """Medians of the functions' times, taken by turns so that noise meets all alike."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(runs):
        for function, its_times in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            its_times.append(time.perf_counter() - start)
    return [statistics.median(its_times) for its_times in times]


def compare(what: str, peer: str, peer_seconds: float, seconds: float) -> None:
    ratio = seconds / peer_seconds
    print(f"{what}: {seconds:.3f} s; {peer}: {peer_seconds:.3f} s; ratio {ratio:.2f}")


def plain_mnist(folder: Path) -> None:
    for name in IDX_NAMES:
        with gzip.open(folder / f"{name}.gz") as file:
            np.frombuffer(file.read(), np.uint8, offset=16 if "images" in name else 8).copy()


def mnist(directory: Path, runs: int) -> None:
    peer, loose, strict = median_seconds(
        lambda: plain_mnist(directory / "mnist"),
        lambda: datasets.load_mnist(directory, verify=False),
        lambda: datasets.load_mnist(directory, verify=True),
        runs=runs,
    )
    compare("MNIST, verify=False", "gzip.open and np.frombuffer", peer, loose)
    compare("MNIST, verify=True", "verify=False", loose, strict)


def cifar10_batch(path: Path, runs: int) -> None:
    def plain() -> None:
        with path.open("rb") as file:
            pickle.load(file, encoding="bytes")

    peer, ours = median_seconds(plain, lambda: parse_pickle(path.read_bytes(), path), runs=runs)
    compare("CIFAR-10, a pickle batch of 10,000", "pickle.load", peer, ours)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    directory = os.environ.get("REFIMPL_DATA")
    if directory:
        mnist(Path(directory), runs)
    else:
        print("MNIST: $REFIMPL_DATA is not set")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data_batch_1"
        path.write_bytes(python2_pickle(*batch(10_000)))
        cifar10_batch(path, runs)


if __name__ == "__main__":
    main()
