"""Times `robust_radius` in the box [0, 1] on MNIST parity, in l2, l_inf and l1, one thread.

Median CPU time of an image, after one that warms up, beside the time to reach and l2 without a
box. With the names scip and highs among the words, the programs of `mixed_integer` are solved too,
SCIP's of l2 to a gap of 1e-6 of the square, and the ratio of the medians over the same few images
is printed. Run as

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
from functools import partial
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mixed_integer
import mnist_networks
import numpy as np  # the number of threads is read on import
from radius import published

from refimpl import TwoLayerReLU, datasets, robust_radius

GOALS = {2: {10: 3, 30: 5, 100: 15}, math.inf: {10: 8, 30: 12, 100: 60}, 1: {30: 40}}
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


def report(net: TwoLayerReLU, x: Any, y: Any, peers: list[str]) -> None:
    """Print a line for each norm, and one for each peer."""
    M = net.n_hidden
    plain, _, upper = times(net, x, y)
    milliseconds = 1e3 * statistics.median(plain)
    print(f"  l2, no box: {milliseconds:.1f} ms, radius {np.median(upper):.4f}")
    for norm in (2, math.inf, 1):
        seconds, lower, upper = times(net, x, y, norm=norm, box=(0, 1))
        goal = GOALS[norm].get(M)
        print(f"  l{norm} in [0, 1]: median {1e3 * statistics.median(seconds):.1f} ms"
              f"{'' if goal is None else f' (goal: {goal})'}, mean "
              f"{1e3 * statistics.mean(seconds):.1f} ms, radius {np.median(upper):.4f}, gap at "
              f"most {np.max(1 - lower / upper):.0e}")  # fmt: skip
        for name in peers:
            if solve := PEERS[name].get(norm):
                ratio(name, solve, net, x[:FEW], y[:FEW], seconds[:FEW], lower, upper)


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
    (x_train, y_train), (x, y) = mnist_networks.parity()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("REFIMPL_NETWORKS", temporary))
        for M in (10, 30, 100):
            path = folder / f"mnist-{M}.npz"
            if not path.exists():
                mnist_networks.train(x_train, y_train, M).save(path)
            net = TwoLayerReLU.load(path)
            right = np.flatnonzero(net.predict(x, "sign") == y)[:images]
            print(f"MNIST parity, M = {M}, {images} test images that are decided rightly")
            report(net, x[right], y[right], peers)


if __name__ == "__main__":
    main()
