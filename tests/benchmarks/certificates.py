"""Times certificates: making them, checking them in both modes; and their size.

1000 test points of the paper's 2-class network (goals: producing at most 3 times the plain call,
fast mode under 2 s, exact mode under 120 s), then MNIST odd against even with M = 30 if
$REFIMPL_DATA is set. Run as ``python tests/benchmarks/certificates.py``.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mnist_networks
import numpy as np
from radius import interleaved, synthetic

from refimpl import Certificate, TwoLayerReLU, robust_radius, verify_certificate


def check(net: TwoLayerReLU, x: Any, y: Any, *, exact: bool) -> float:
    """Seconds to check the certificates of all samples at their `lower`."""
    found = robust_radius(net, x, y, certificates=True)
    start = time.perf_counter()
    for row, label, radius, proof in zip(x, y, found.lower, found.certificates or (), strict=True):
        if proof is not None:
            verify_certificate(net, row, label, proof, radius=float(radius), exact=exact)
    return time.perf_counter() - start


def size(proof: Certificate) -> int:
    """Bytes of the arrays."""
    return sum(array.nbytes for array in (proof.splits, proof.weights, proof.tau, proof.nu))


def report(name: str, net: TwoLayerReLU, x: Any, y: Any) -> None:
    times = interleaved(
        {
            "plain": lambda: robust_radius(net, x, y),
            "certified": lambda: robust_radius(net, x, y, certificates=True),
        },
        repeats=5,
    )
    proofs = robust_radius(net, x, y, certificates=True).certificates or ()
    some = [proof for proof in proofs if proof is not None]
    print(f"{name}: {len(some)} certificates of {len(x)} samples, "
          f"{np.median([len(proof.weights) for proof in some]):.0f} leaves and "
          f"{np.median([size(proof) for proof in some]) / 1024:.1f} KiB in the median")  # fmt: skip
    print(f"  producing {times['certified']:.3f} s, plain {times['plain']:.3f} s, "
          f"{times['certified'] / times['plain']:.2f} x")  # fmt: skip
    print(f"  checking, fast {check(net, x, y, exact=False):.2f} s, "
          f"exact {check(net, x, y, exact=True):.1f} s")  # fmt: skip


def main() -> int:
    two, _, x, y, _ = synthetic()
    report("Paper's 2-class network", two, x, y)
    if not os.environ.get("REFIMPL_DATA"):
        print("MNIST: left out, $REFIMPL_DATA is not set")
        return 0
    train, test = mnist_networks.parity()
    net = mnist_networks.train(*train, 30)
    report("MNIST odd against even, M = 30", net, test[0][:200], test[1][:200])
    return 0


if __name__ == "__main__":
    sys.exit(main())
