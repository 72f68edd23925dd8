"""Holds alpha-CROWN, the bound of auto_LiRPA, against exact radii and exact robust accuracy.

    REFIMPL_DATA=... python tests/benchmarks/alpha_crown.py [--images 20] [--accuracy 100]

For each image alpha-CROWN's largest certified radius is found by bisection, to a thousandth of the
exact radius, and printed as a share of it, with the CPU seconds of one certification; in l2
without a box, and in l_inf in the box [0, 1]. Then the share of the published network's test images
that are certified at 0.3 and at 0.5 in l2, beside the exact one (`stop_at`) and that of PGD, 40
steps and one start.

auto_LiRPA 0.3 is the last version on the package index, and asks for PyTorch below 1.13. It is run
with the PyTorch that is here: two names that it imports are put back where they were, and one
method of graph nodes. Its settings are its defaults, 20 iterations for the slopes. It gets an
environment of its own below --environments, which sees the packages of this Python.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np  # the number of threads is read on import

REQUIREMENTS = ("auto_LiRPA==0.3", "appdirs", "tqdm")
EPSILONS = (0.3, 0.5)
_HALVINGS = 10
Certify = Callable[[Any, Any, float], Any]  # (x, y, epsilon) -> whether each row is certified


def certifier(net: Any, norm: float, box: tuple[float, float] | None) -> Certify:
    """alpha-CROWN's answer for a network, in the norm; a score is read as two classes."""
    import torch
    import torch.onnx.symbolic_helper  # by this name, which is another module than the attribute
    from torch.onnx._internal.torchscript_exporter._globals import GLOBALS

    numpy_1 = types.ModuleType("numpy.lib.arraysetops")
    numpy_1.isin = np.isin  # type: ignore[attr-defined]
    sys.modules[numpy_1.__name__] = numpy_1
    helper: Any = sys.modules["torch.onnx.symbolic_helper"]
    helper._set_opset_version = partial(setattr, GLOBALS, "export_onnx_opset_version")
    torch._C.Node.__getitem__ = lambda node, name: getattr(node, node.kindOf(name))(name)
    logging.disable(logging.INFO)
    from auto_LiRPA import BoundedModule, BoundedTensor
    from auto_LiRPA.perturbations import PerturbationLpNorm

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # its tensors have this type, whatever the module's
    A, c = (net.A, net.c) if net.n_outputs > 1 else (np.vstack([-net.A, net.A]), 0.0)
    K = len(A)
    inner = (
        torch.nn.Linear(net.dim, net.n_hidden),
        torch.nn.ReLU(),
        torch.nn.Linear(net.n_hidden, K),
    )
    module = torch.nn.Sequential(*inner).double()
    values = net.W, 0.0 if net.b is None else net.b, A, 0.0 if c is None else c
    for parameter, value in zip(module.parameters(), values, strict=True):
        parameter.data[:] = torch.as_tensor(np.broadcast_to(value, parameter.shape).copy())
    bounded = BoundedModule(module, torch.zeros(1, net.dim))

    def certify(x: Any, y: Any, epsilon: float) -> Any:
        rows = np.arange(K)
        own = y if net.n_outputs > 1 else (y > 0).astype(int)
        others = np.array([rows[rows != each] for each in own])
        C = torch.zeros(len(x), K - 1, K)
        for i, each in enumerate(own):
            C[i, :, each] = 1.0
            C[i, range(K - 1), others[i]] = -1.0
        ends = {}
        if box is not None:
            ends = {"x_L": torch.tensor(np.maximum(x - epsilon, box[0])),
                    "x_U": torch.tensor(np.minimum(x + epsilon, box[1]))}  # fmt: skip
        ball = PerturbationLpNorm(norm=norm, eps=epsilon, **ends)
        samples = BoundedTensor(torch.tensor(x), ball)
        lower, _ = bounded.compute_bounds(
            x=(samples,), C=C, method="CROWN-Optimized", bound_upper=False
        )
        return (lower > 0).all(dim=1).numpy()

    return certify


def shares(net: Any, x: Any, y: Any, norm: float, box: Any) -> tuple[list[float], list[float]]:
    """alpha-CROWN's certified radius over the exact one, and CPU seconds of a certification."""
    from refimpl import robust_radius

    decision = "sign" if net.n_outputs == 1 else "argmax"
    certify, found, seconds = certifier(net, norm, box), [], []
    for row, label in zip(x[:, None], y[:, None], strict=True):
        exact = robust_radius(net, row, label, decision=decision, norm=norm, box=box, time_limit=60)
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            begin, middle = time.process_time(), (low + high) / 2
            if certify(row, label, middle * exact.upper[0])[0]:
                low = middle
            else:
                high = middle
            seconds.append(time.process_time() - begin)
        found.append(low)
    return found, seconds


def accuracies(net: Any, x: Any, y: Any) -> None:
    """Print certified, exact and attacked accuracy at each budget."""
    from refimpl import pgd_attack, robust_radius

    certify, right = certifier(net, 2, None), net.predict(x, "argmax") == y
    print(f"published, M = 500: the first {len(x)} test images, {right.mean():.0%} right, l2")
    for epsilon in EPSILONS:
        begin = time.process_time()
        proved = [
            bool(certify(x[i : i + 1], y[i : i + 1], epsilon)[0]) for i in np.flatnonzero(right)
        ]
        middle = time.process_time()
        found = robust_radius(net, x, y, decision="argmax", stop_at=epsilon, time_limit=60)
        end = time.process_time()
        above, below = found.lower >= epsilon, found.upper <= epsilon
        moved = pgd_attack(net, x, y, epsilon=epsilon, decision="argmax", rng=0)
        attacked = net.predict(moved, "argmax") == y
        print(f"  at {epsilon}: alpha-CROWN certifies {sum(proved) / len(x):.0%} "
              f"({(middle - begin) / len(proved):.2f} s an image), exact {above.mean():.0%} "
              f"({np.sum(~(above | below))} undecided, {(end - middle) / len(x):.2f} s), "
              f"PGD leaves {attacked.mean():.0%}", flush=True)  # fmt: skip


def compare(images: int, accuracy: int, networks: Path) -> None:
    """Print all."""
    import mnist_networks
    import wide_networks
    from radius import published

    from refimpl import TwoLayerReLU, datasets

    train, (x, odd) = mnist_networks.parity()
    y = datasets.load_mnist()[1][1].astype(int)
    path = networks / "mnist-30.npz"
    if not path.exists():
        mnist_networks.train(*train, 30).save(path)
    nets = {
        "parity, M = 30": (TwoLayerReLU.load(path), odd),
        "Adam, M = 100": (wide_networks.adam(networks, 100), y),
        "published, M = 500": (published(), y),
    }
    for name, (net, labels) in nets.items():
        decision = "sign" if net.n_outputs == 1 else "argmax"
        right = np.flatnonzero(net.predict(x, decision) == labels)[:images]
        for norm, box in ((2, None), (math.inf, (0.0, 1.0))):
            found, seconds = shares(net, x[right], labels[right], norm, box)
            print(f"{name}, l{norm}{' in [0, 1]' if box else ''}: alpha-CROWN certifies "
                  f"{statistics.median(found):.3f} of the exact radius (median; {min(found):.3f} "
                  f"to {max(found):.3f}) of {len(right)} images, "
                  f"{statistics.median(seconds):.2f} s each time", flush=True)  # fmt: skip
    accuracies(nets["published, M = 500"][0], x[:accuracy], y[:accuracy])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--accuracy", type=int, default=100)
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir(), "attacks"))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not args.worker:
        from environments import environment

        python = environment(args.environments / "auto_LiRPA", REQUIREMENTS)
        sys.exit(subprocess.run([str(python), *sys.argv, "--worker"], check=False).returncode)
    with tempfile.TemporaryDirectory() as temporary:
        networks = Path(os.environ.get("REFIMPL_NETWORKS", temporary))
        compare(args.images, args.accuracy, networks)


if __name__ == "__main__":
    main()
