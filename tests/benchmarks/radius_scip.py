"""Times `robust_radius` against SCIP on MNIST parity with 30 hidden neurons, one thread each.

SCIP solves the mixed-integer program of `mixed_integer`, to a gap of 1e-6 of the square; ours is
exact to 1e-9. Prints the CPU time for each image, ours within one call, and the ratio (goal: 100).
Run as ``REFIMPL_DATA=... python tests/benchmarks/radius_scip.py [images]``.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mixed_integer
import numpy as np  # the number of threads is read on import
from mnist_networks import parity, train

from refimpl import robust_radius

RUNS = 5


def main() -> None:
    images = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    (x_train, y_train), (x, y) = parity()
    net = train(x_train, y_train, 30)
    right = np.flatnonzero(net.predict(x, "sign") == y)[:images]
    x, y = x[right], y[right]
    ours = []
    for _ in range(RUNS + 1):  # the first warms up
        start = time.process_time()
        found = robust_radius(net, x, y)
        ours.append((time.process_time() - start) / images)
    theirs, differences = [], []
    for row, label, radius in zip(x, y, found.upper, strict=True):
        start = time.process_time()
        bounds = mixed_integer.scip(net, row, int(label))
        theirs.append(time.process_time() - start)
        differences.append(max(bounds.lower - radius, radius - bounds.upper) / radius)
    mean, their_mean = statistics.median(ours[1:]), statistics.mean(theirs)
    print(f"ours {1e3 * mean:.2f} ms, SCIP mean {1e3 * their_mean:.0f} ms, "
          f"median {1e3 * statistics.median(theirs):.0f} ms an image")  # fmt: skip
    print(f"SCIP/ours {their_mean / mean:.0f}")
    print(f"statuses {dict(zip(*np.unique(found.status, return_counts=True), strict=True))}, "
          f"outside SCIP's bounds by at most {max(differences):.1e} of r")  # fmt: skip


if __name__ == "__main__":
    main()
