"""Times certificates: making them, checking them in both modes; and their size.

1000 test points of the paper's 2-class network (goals: producing at most 3 times the plain call,
fast mode under 2 s, exact mode under 120 s), then, if $REFIMPL_DATA is set, MNIST odd against even
with M = 30; the same in the box [0, 1], in l2 and l_inf (goals for one certificate: fast mode 3 ms,
exact mode 30 ms, in the median); and version 2, with parabolas: the published network of 500 hidden
neurons and ten classes, $REFIMPL_IMAGES images, 3 by default (goal: producing at most 1.5 times the
plain call).
Run as ``python tests/benchmarks/certificates.py``.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mnist_networks
import numpy as np
from radius import interleaved, published, synthetic

from refimpl import Certificate, TwoLayerReLU, datasets, robust_radius, verify_certificate


def check(net: TwoLayerReLU, x: Any, y: Any, decision: Any, *, exact: bool) -> float:
    """Seconds to check the certificates of all samples at their `lower`."""
    found = robust_radius(net, x, y, decision=decision, certificates=True)
    start = time.perf_counter()
    for row, label, radius, proof in zip(x, y, found.lower, found.certificates or (), strict=True):
        if proof is not None:
            options: Any = {"radius": float(radius), "decision": decision, "exact": exact}
            verify_certificate(net, row, label, proof, **options)
    return time.perf_counter() - start


def report_box(net: TwoLayerReLU, x: Any, y: Any, norm: float) -> None:
    """Print the median CPU time of checking one certificate in [0, 1], in both modes."""
    region: Any = {"norm": norm, "box": (0, 1)}
    found = robust_radius(net, x, y, **region, certificates=True)
    questions = zip(x, y, found.lower.tolist(), found.certificates or (), strict=True)
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for row, label, radius, proof in (each for each in questions if each[3] is not None):
        for exact, times in seconds.items():
            start = time.process_time()
            verify_certificate(net, row, label, proof, radius=radius, exact=exact, **region)
            times.append(time.process_time() - start)
    fast, exactly = (1e3 * np.median(times) for times in seconds.values())
    print(f"  l{norm} in [0, 1]: checking one, fast {fast:.1f} ms, exact {exactly:.1f} ms "
          f"(medians of {len(seconds[True])})")  # fmt: skip


def size(proof: Certificate) -> int:
    """Bytes of the arrays."""
    arrays = [proof.splits, proof.weights, proof.tau, proof.nu, proof.kappa]
    return sum(array.nbytes for array in arrays if array is not None)


def report(name: str, net: TwoLayerReLU, x: Any, y: Any, decision: Any = "sign") -> None:
    options: Any = {"decision": decision}
    times = interleaved(
        {
            "plain": lambda: robust_radius(net, x, y, **options),
            "certified": lambda: robust_radius(net, x, y, **options, certificates=True),
        },
        repeats=3,
    )
    proofs = robust_radius(net, x, y, **options, certificates=True).certificates or ()
    some = [proof for proof in proofs if proof is not None]
    print(f"{name}: {len(some)} certificates of {len(x)} samples, "
          f"{np.median([len(proof.weights) for proof in some]):.0f} leaves and "
          f"{np.median([size(proof) for proof in some]) / 1024:.1f} KiB in the median")  # fmt: skip
    print(f"  producing {times['certified']:.3f} s, plain {times['plain']:.3f} s, "
          f"{times['certified'] / times['plain']:.2f} x")  # fmt: skip
    print(f"  checking, fast {check(net, x, y, decision, exact=False):.2f} s, "
          f"exact {check(net, x, y, decision, exact=True):.1f} s")  # fmt: skip


def main() -> int:
    two, _, x, y, _ = synthetic()
    report("Paper's 2-class network", two, x, y)
    if not os.environ.get("REFIMPL_DATA"):
        print("MNIST: left out, $REFIMPL_DATA is not set")
        return 0
    train, test = mnist_networks.parity()
    net = mnist_networks.train(*train, 30)
    report("MNIST odd against even, M = 30", net, test[0][:200], test[1][:200])
    right = np.flatnonzero(net.predict(test[0][:60], "sign") == test[1][:60])
    for norm in (2, math.inf):
        report_box(net, test[0][right], test[1][right], norm)
    _, (x, y) = datasets.load_mnist(layout="flat", scale=True)
    few, net = slice(int(os.environ.get("REFIMPL_IMAGES", "3"))), published()
    report("MNIST digits, M = 500, published", net, x[few], y[few], "argmax")
    return 0


if __name__ == "__main__":
    sys.exit(main())
