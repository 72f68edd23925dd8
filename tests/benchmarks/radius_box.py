"""Times `robust_radius` in the box [0, 1] on images of two classes, l2, l_inf and l1, one thread.

MNIST, odd against even, and CIFAR-10, the first five classes against the last five. Median CPU time
of an image, after one that warms up, beside the time to reach and l2 without a box. With the names
scip and highs among the words, the programs of `mixed_integer` are solved for MNIST too, SCIP's of
l2 to a gap of 1e-6 of the square, and the ratio of the medians over the same few images is printed.
Run as

  REFIMPL_DATA=... python tests/benchmarks/radius_box.py [images] [scip] [highs] [DIRECTORY]

Networks are trained into $REFIMPL_NETWORKS if it names a folder, and kept there. With the directory
of `wide_networks.py` among the words, networks of ten classes are timed instead, in l2: its own,
and a published one of 500 hidden neurons.
"""

from __future__ import annotations

import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mixed_integer
import mnist_networks
import numpy as np  # the number of threads is read on import
from radius import published

from refimpl import TwoLayerReLU, datasets, robust_radius

GOALS: dict[str, dict[float, dict[int, int]]] = {
    "mnist": {2: {10: 3, 30: 5, 100: 15}, math.inf: {10: 8, 30: 12, 100: 60}, 1: {30: 40}},
    "cifar10": {2: {30: 15}, math.inf: {30: 100}, 1: {}},
}
PEERS: dict[str, dict[float, Callable[..., mixed_integer.Bounds]]] = {
    "scip": {norm: partial(mixed_integer.scip, norm=norm) for norm in (2, math.inf)},
    "highs": {math.inf: mixed_integer.highs},
}
FEW = 4  # images that a peer solves


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    """CPU seconds of a call, and what it returns."""
    begin = time.process_time()
    result = run()
    return time.process_time() - begin, result


def times(net: TwoLayerReLU, x: Any, y: Any, **options: Any) -> tuple[list[float], Any, Any]:
    """CPU seconds for each image; lower and upper bounds."""
    robust_radius(net, x[:1], y[:1], **options)
    found = [
        timed(lambda i=i: robust_radius(net, x[i : i + 1], y[i : i + 1], **options))
        for i in range(len(x))
    ]
    lower, upper = (
        np.array([getattr(result, name)[0] for _, result in found]) for name in ("lower", "upper")
    )
    return [seconds for seconds, _ in found], lower, upper


@cache
def samples(name: str) -> Any:
    """Training and test images as rows in [0, 1], and their labels."""
    if name == "mnist":
        return mnist_networks.parity()
    splits = datasets.load_cifar10(verify=False, layout="flat", scale=True)
    return [(x, datasets.first_half(classes)) for x, classes in splits]


def report(name: str, net: TwoLayerReLU, x: Any, y: Any, peers: list[str]) -> None:
    """Print a line for each norm, and one for each peer."""
    plain, _, upper = times(net, x, y)
    milliseconds = 1e3 * statistics.median(plain)
    print(f"  l2, no box: {milliseconds:.1f} ms, radius {np.median(upper):.4f}")
    for norm in (2, math.inf, 1):
        seconds, lower, upper = times(net, x, y, norm=norm, box=(0, 1))
        goal = GOALS[name][norm].get(net.n_hidden)
        print(f"  l{norm} in [0, 1]: median {1e3 * statistics.median(seconds):.1f} ms"
              f"{'' if goal is None else f' (goal: {goal})'}, mean "
              f"{1e3 * statistics.mean(seconds):.1f} ms, radius {np.median(upper):.4f}, gap at "
              f"most {np.max(1 - lower / upper):.0e}")  # fmt: skip
        for peer in peers:
            if solve := PEERS[peer].get(norm):
                ratio(peer, solve, net, x[:FEW], y[:FEW], seconds[:FEW], lower, upper)


def ratio(
    name: str,
    solve: Callable[..., mixed_integer.Bounds],
    net: TwoLayerReLU,
    x: Any,
    y: Any,
    ours: list[float],
    lower: Any,
    upper: Any,
) -> None:
    """Print how many times as long a peer takes on the same images."""
    theirs, outside = [], 0.0
    for i in range(len(x)):
        seconds, (low, high) = timed(lambda i=i: solve(net, x[i], int(y[i]), box=(0, 1)))
        theirs.append(seconds)
        outside = max(outside, low / upper[i] - 1, 1 - high / lower[i])
    print(f"    {name}: median {1e3 * statistics.median(theirs):.0f} ms, "
          f"{statistics.median(theirs) / statistics.median(ours):.0f} times ours; its bounds are "
          f"wrong by {outside:.0e} of ours at most")  # fmt: skip


def digits(folder: Path, images: int) -> None:
    """Print a line for each network 784-M-10, in l2 in the box."""
    _, (x, y) = datasets.load_mnist(scale=True)
    x = x.reshape(len(x), -1)
    nets = [TwoLayerReLU.load(folder / f"adam-{M}.npz") for M in (100, 128, 256)]
    for net in (published(), *nets):
        M = net.n_hidden
        right = np.flatnonzero(net.predict(x[: 4 * images], "argmax") == y[: 4 * images])[:images]
        seconds, lower, upper = times(
            net, x[right], y[right], decision="argmax", box=(0, 1), time_limit=10
        )
        exact = int((upper - lower <= 1e-9 * upper).sum())
        print(f"784-{M}-10, digits, l2 in [0, 1]: median {statistics.median(seconds):.2f} s, mean "
              f"{statistics.mean(seconds):.2f} s, {exact} of {images} exact, gap at most "
              f"{np.max(1 - lower / upper):.0e}", flush=True)  # fmt: skip


def main() -> None:
    words = sys.argv[1:]
    images = next((int(word) for word in words if word.isdigit()), 100)
    if folders := [Path(word) for word in words if Path(word).is_dir()]:
        digits(folders[0], images)
        return
    peers = [name for name in PEERS if name in words]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("REFIMPL_NETWORKS", temporary))
        for name, M in (("mnist", 10), ("mnist", 30), ("mnist", 100), ("cifar10", 30)):
            train, (x, y) = samples(name)
            path = folder / f"{name}-{M}.npz"
            if not path.exists():
                options = {} if name == "mnist" else {"epochs": 40, "rate": 0.1}
                mnist_networks.train(*train, M, **options).save(path)
            net = TwoLayerReLU.load(path)
            right = np.flatnonzero(net.predict(x, "sign") == y)[:images]
            print(f"{name}, M = {M}, {images} test images that are decided rightly")
            report(name, net, x[right], y[right], peers if name == "mnist" else [])


if __name__ == "__main__":
    main()
