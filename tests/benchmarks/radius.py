"""Times `robust_radius`: the paper's setting, curves against PGD sweeps, MNIST, large M, memory.

One BLAS thread, medians of several runs, networks trained once into a temporary directory. Run as
``REFIMPL_DATA=... python tests/benchmarks/radius.py [PART ...]`` with parts paper, curve, mnist,
large, wide and memory; all by default, some twenty minutes. $REFIMPL_IMAGES is the number of images
of the part wide. Networks stay in $REFIMPL_NETWORKS if it names a folder.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mnist_networks
import numpy as np  # the number of threads is read on import
import wide_networks

from refimpl import (
    ClusterDistribution,
    GroupMax,
    GroupSum,
    TwoLayerReLU,
    datasets,
    decisions,
    gradient_descent,
    pgd_attack,
    robust_accuracy,
    robust_radius,
)

K, D = 10, 3072
RADII = np.linspace(0, 45, 30)


def interleaved(runs: dict[str, Callable[[], Any]], repeats: int = 7) -> dict[str, float]:
    """Median seconds of each; in turn, so that a busy machine slows all."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat > 0:  # the first warms up
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


@cache
def synthetic() -> tuple[TwoLayerReLU, TwoLayerReLU, Any, Any, Any]:
    """Both networks of the paper's synthetic setting, trained; 1000 test points; the partition."""
    dist = ClusterDistribution.orthogonal(K, D, rng=0)
    train, test = dist.sample(1000, rng=1), dist.sample(1000, rng=2)
    two, ten = TwoLayerReLU.binary(D, 5, rng=3), TwoLayerReLU.multiclass(D, K, rng=4)
    options: Any = {"learning_rate": 0.001, "steps": 100}
    two = gradient_descent(two, train.x, train.y, **options).network
    ten = gradient_descent(ten, train.x, train.cluster, **options).network
    return two, ten, test.x, test.y, dist.labels


def statuses(status: Any) -> str:
    names, counts = np.unique(status, return_counts=True)
    return ", ".join(f"{count} {name}" for name, count in zip(names, counts, strict=True))


def paper() -> None:
    two, ten, x, y, labels = synthetic()
    print(f"The paper's setting, {len(x)} test points, d = {D}")
    for name, net, decision, goal in (
        ("2-class", two, "sign", "at most 5 x"),
        ("10-class, group_max", ten, GroupMax(labels), "at most 10 x"),
        ("10-class, group_sum", ten, GroupSum(labels), "at most 1 s"),
    ):
        found = robust_radius(net, x, y, decision=decision)
        times = interleaved(
            {
                "radius": lambda net=net, decision=decision: robust_radius(
                    net, x, y, decision=decision
                ),
                "outputs": lambda net=net: net.outputs(x),
            }
        )
        print(f"  {name}: {1e3 * times['radius']:.1f} ms, "
              f"{times['radius'] / times['outputs']:.1f} x net.outputs (goal: {goal}); "
              f"median radius {np.median(found.upper):.2f}; {statuses(found.status)}; "
              f"{np.mean(found.nodes == 0):.0%} without branching")  # fmt: skip


def curve() -> None:
    two, _, x, y, _ = synthetic()
    print(f"A curve of {len(RADII)} radii, 2-class network, {len(x)} points")
    start = time.perf_counter()
    lower, upper = robust_accuracy(robust_radius(two, x, y), RADII)
    exact = time.perf_counter() - start

    start = time.perf_counter()
    sweep = []
    for radius in RADII:
        x_adv = pgd_attack(two, x, y, epsilon=radius, steps=40, rng=0)
        flipped = decisions.adversarial(two.outputs(x_adv), y, "sign", "adversarial")
        sweep.append(1 - flipped.mean())
    ours = time.perf_counter() - start
    print(f"  exact {exact:.3f} s (bounds differ by {np.max(upper - lower):.3f} at most); "
          f"our PGD-40 {ours:.2f} s, {ours / exact:.0f} x, above the truth by "
          f"{np.max(sweep - upper):.3f} at most")  # fmt: skip
    try:
        import foolbox
        import torch
        from pgd import in_torch
    except ImportError as error:
        print(f"  foolbox: left out ({error})")
        return
    torch.set_num_threads(1)
    model = foolbox.PyTorchModel(in_torch(two).eval(), bounds=(-1e3, 1e3), device="cpu")
    attack = foolbox.attacks.L2PGD(rel_stepsize=2.5 / 40, steps=40)
    few = 50  # or it would take minutes
    points, classes = torch.tensor(x[:few]), torch.tensor((y[:few] > 0).astype(int))
    start = time.perf_counter()
    attack(model, points, classes, epsilons=list(RADII[1:]))
    theirs = (time.perf_counter() - start) * len(x) / few
    print(f"  foolbox's L2PGD, 40 steps: {theirs:.0f} s by {few} points, {theirs / exact:.0f} x")


@cache
def digits() -> Any:
    return mnist_networks.parity()


def trained(directory: Path, M: int, epochs: int) -> TwoLayerReLU:
    path = directory / f"mnist-{M}.npz"
    if not path.exists():
        (x, y), _ = digits()
        mnist_networks.train(x, y, M, epochs=epochs).save(path)
    return TwoLayerReLU.load(path)


def mnist(directory: Path) -> None:
    _, (x, y) = digits()
    x, y = x[:200], y[:200]
    print(f"MNIST, odd against even, the first {len(x)} test images, CPU time, one thread")
    for M, goal in ((10, 1), (30, 4), (100, 150)):
        net = trained(directory, M, epochs=10)
        robust_radius(net, x[:5], y[:5])
        start = time.process_time()
        found = robust_radius(net, x, y)
        mean = (time.process_time() - start) / len(x)
        each = []
        for i in range(len(x)):
            start = time.process_time()
            robust_radius(net, x[i : i + 1], y[i : i + 1])
            each.append(time.process_time() - start)
        print(f"  M = {M}: median {1e3 * statistics.median(each):.2f} ms in calls of one image "
              f"(goal: {goal}), mean {1e3 * mean:.2f} ms in one call; {statuses(found.status)}; "
              f"nodes at most {found.nodes.max()}; median radius {np.median(found.upper):.3f}; "
              f"right {np.mean(found.upper > 0):.1%}")  # fmt: skip


def large(directory: Path) -> None:
    _, (x, y) = digits()
    net = trained(directory, 512, epochs=3)
    right = np.flatnonzero(net.predict(x[:50], "sign") == y[:50])[:5]
    print("MNIST, M = 512, 10 s a sample")
    for i in right:
        found = robust_radius(net, x[i : i + 1], y[i : i + 1], time_limit=10)
        lower, upper = found.lower[0], found.upper[0]
        print(f"  image {i}: {lower:.4f} to {upper:.4f}, gap {(upper - lower) / upper:.2%}, "
              f"{found.status[0]}, {found.nodes[0]} nodes")  # fmt: skip


def wide(directory: Path) -> None:
    """Ten classes, networks that our code did not train: a published one, and PyTorch's."""
    _, (x, y) = datasets.load_mnist(scale=True)
    x, count = x.reshape(len(x), -1), int(os.environ.get("REFIMPL_IMAGES", "20"))
    nets = {"published, M = 500": published()}
    for M in (100, 128, 256, 512, 1024):
        nets[f"Adam, M = {M}"] = wide_networks.adam(directory, M)
    print(f"MNIST, argmax, the first {count} test images that are classified right, CPU time")
    for name, net in nets.items():
        right = np.flatnonzero(net.predict(x[: 2 * count], "argmax") == y[: 2 * count])[:count]
        times, gaps = [], []
        for i in right:
            start = time.process_time()
            found = robust_radius(net, x[i : i + 1], y[i : i + 1], decision="argmax", time_limit=10)
            times.append(time.process_time() - start)
            gaps.append(1 - found.lower[0] / found.upper[0])
        shares = [int(np.sum(np.array(gaps) <= gap)) for gap in (1e-2, 1e-6)]
        print(f"  {name}: median {statistics.median(times):.2f} s, mean {np.mean(times):.2f} s, "
              f"largest {max(times):.1f} s; gap at most 1 % on {shares[0]}, 1e-6 on {shares[1]}, "
              f"largest {max(gaps):.1e}; weights {wide_networks.digest(net)}")  # fmt: skip


def published() -> TwoLayerReLU:
    """The 784-500-10 network of Min and Vidal (ICML 2024)."""
    return TwoLayerReLU.load(Path(os.environ["REFIMPL_DATA"], "networks", "mv24-mnist-500.npz"))


MEMORY = """
import re
from pathlib import Path
import numpy as np
from refimpl import ClusterDistribution, TwoLayerReLU, robust_radius
from scipy.optimize import nnls
def peak():  # getrusage would count the parent's peak, which a child inherits
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
dist = ClusterDistribution.orthogonal(10, 3072, rng=0)
rng, before = np.random.default_rng(1), peak()
x = rng.standard_normal((10_000, 3072))
cluster = rng.integers(10, size=10_000)
for row, j in zip(x, cluster):
    row += dist.features[j]
net = TwoLayerReLU.feature_averaging(dist)
robust_radius(net, x, dist.labels[cluster])
print((peak() - before) / x.nbytes)
"""


def memory() -> None:
    command = [sys.executable, "-c", MEMORY]
    ratio = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    print(f"10,000 points at d = {D}: peak above the interpreter's {float(ratio.stdout):.2f} times "
          "the input array, which is among it (goal: under 4)")  # fmt: skip


def main() -> None:
    parts = sys.argv[1:] or ["paper", "curve", "mnist", "large", "wide", "memory"]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(os.environ.get("REFIMPL_NETWORKS", name))
        for part in parts:
            run: Any = {"paper": paper, "curve": curve, "mnist": mnist, "large": large,
                        "wide": wide, "memory": memory}[part]  # fmt: skip
            run(directory) if part in ("mnist", "large", "wide") else run()


if __name__ == "__main__":
    main()
