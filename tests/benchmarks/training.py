"""Times `gradient_descent` against PyTorch's autograd and SGD at the paper's setting, in float64.

Same initial weights, data and threads. Prints medians, their ratio and the largest relative
difference of the trained weights. Run as ``python tests/benchmarks/training.py [threads]``.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else os.cpu_count()
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(THREADS)))

import numpy as np  # noqa: E402  # the number of threads is read on import
import torch  # noqa: E402

from refimpl import ClusterDistribution, TwoLayerReLU, gradient_descent  # noqa: E402

LEARNING_RATE = 0.001


def train_ours(net: TwoLayerReLU, x: Any, targets: Any, steps: int) -> Any:
    path = gradient_descent(net, x, targets, learning_rate=LEARNING_RATE, steps=steps)
    return path.network.W


def train_torch(net: TwoLayerReLU, x: Any, targets: Any, steps: int) -> Any:
    inputs = torch.from_numpy(x)
    labels = torch.from_numpy(targets)
    W = torch.tensor(net.W, requires_grad=True)
    b = None if net.b is None else torch.tensor(net.b, requires_grad=True)
    A, c = torch.tensor(net.A), torch.tensor(net.c)
    optimiser = torch.optim.SGD([p for p in (W, b) if p is not None], lr=LEARNING_RATE)
    for _ in range(steps):
        optimiser.zero_grad()
        hidden = torch.relu(torch.nn.functional.linear(inputs, W, b))
        outputs = torch.nn.functional.linear(hidden, A, c)
        if len(A) == 1:
            loss = torch.nn.functional.softplus(-labels * outputs[:, 0]).mean()
        else:
            loss = torch.nn.functional.cross_entropy(outputs, labels)
        loss.backward()
        optimiser.step()
    return W.detach().numpy()


def median_time(train: Callable[..., Any], *arguments: Any, runs: int) -> tuple[float, Any]:
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        result = train(*arguments)
        times.append(time.perf_counter() - start)
    return statistics.median(times), result


def main() -> None:
    torch.set_num_threads(THREADS)
    dist = ClusterDistribution.orthogonal(10, 3072, rng=0)
    sample = dist.sample(1000, rng=1)
    settings = {
        "binary": (TwoLayerReLU.binary(3072, 5, rng=2), sample.y),
        "10-class": (TwoLayerReLU.multiclass(3072, 10, rng=2), sample.cluster),
    }
    print(f"d = 3072, n = 1000, M = 10, float64, {THREADS} threads")
    for name, (net, targets) in settings.items():
        for steps, runs in ((100, 5), (1000, 3)):
            arguments = (net, sample.x, targets, steps)
            for train in (train_ours, train_torch):
                train(*arguments[:3], 3)  # warm up
            ours, W = median_time(train_ours, *arguments, runs=runs)
            theirs, W_torch = median_time(train_torch, *arguments, runs=runs)
            difference = np.abs(W - W_torch).max() / np.abs(W_torch).max()
            print(
                f"{name:9} T = {steps:4}: refimpl {ours:.3f} s, PyTorch {theirs:.3f} s, "
                f"ratio {theirs / ours:.1f}, weights differ by {difference:.1e}"
            )


if __name__ == "__main__":
    main()
