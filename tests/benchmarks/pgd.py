"""Times `pgd_attack` against the same attack in input space, at the paper's setting.

200 points in d = 3072 dimensions, 10 hidden neurons, 40 steps, float64: a plain PyTorch loop with
autograd, and Foolbox's L2PGD where it is installed. Prints medians, ratios and the share of points
flipped. Run as ``python tests/benchmarks/pgd.py [threads]``.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from typing import Any

_GIVEN = sys.argv[1:] if __name__ == "__main__" else []
THREADS = int(_GIVEN[0]) if _GIVEN else len(os.sched_getaffinity(0))
os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), str(THREADS)))

import numpy as np  # noqa: E402  # the number of threads is read on import
import torch  # noqa: E402

from refimpl import (  # noqa: E402
    ClusterDistribution,
    TwoLayerReLU,
    gradient_descent,
    pgd_attack,
)

EPSILON, STEPS, RUNS = 18.0, 40, 7


def setting() -> tuple[TwoLayerReLU, Any, Any]:
    dist = ClusterDistribution.orthogonal(10, 3072, rng=0)
    train, test = dist.sample(1000, rng=1), dist.sample(200, rng=2)
    net = TwoLayerReLU.binary(3072, 5, rng=3)
    path = gradient_descent(net, train.x, train.y, learning_rate=0.001, steps=100)
    return path.network, test.x, test.y


def in_torch(net: TwoLayerReLU) -> torch.nn.Module:
    """The network with the two logits -f and f."""
    hidden = torch.nn.Linear(net.dim, net.n_hidden, dtype=torch.float64)
    output = torch.nn.Linear(net.n_hidden, 2, dtype=torch.float64)
    module = torch.nn.Sequential(hidden, torch.nn.ReLU(), output)
    values = (net.W, net.bias, np.vstack([-net.A, net.A]), np.append(-net.c, net.c))
    for parameter, value in zip(module.parameters(), values, strict=True):
        parameter.data = torch.tensor(value)
        parameter.requires_grad_(False)
    return module


def torch_loop(module: torch.nn.Module, x: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """L2 PGD as one writes it down, without keeping the best iterate."""
    delta = torch.randn_like(x)
    delta *= EPSILON * torch.rand(len(x), 1) ** (1 / x.shape[1]) / delta.norm(dim=1, keepdim=True)
    for _ in range(STEPS):
        delta.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(module(x + delta), classes, reduction="sum")
        (g,) = torch.autograd.grad(loss, delta)
        with torch.no_grad():
            norm = g.norm(dim=1, keepdim=True).clamp_min(1e-300)
            delta = delta + 2.5 * EPSILON / STEPS * g / norm
            delta = delta * (EPSILON / delta.norm(dim=1, keepdim=True)).clamp_max(1)
    return x + delta


def main() -> None:
    torch.set_num_threads(THREADS)
    net, x, y = setting()
    module, x_torch, classes = in_torch(net), torch.tensor(x), torch.tensor((y > 0).astype(int))
    runs: dict[str, Any] = {
        "refimpl": lambda seed: pgd_attack(net, x, y, epsilon=EPSILON, steps=STEPS, rng=seed),
        "torch loop": lambda _: torch_loop(module, x_torch, classes).numpy(),
    }
    try:
        import foolbox
    except ImportError:
        print("foolbox is not installed: left out")
    else:
        model = foolbox.PyTorchModel(module.eval(), bounds=(-1e3, 1e3), device="cpu")
        attack = foolbox.attacks.L2PGD(rel_stepsize=2.5 / STEPS, steps=STEPS)
        runs["foolbox"] = lambda _: attack(model, x_torch, classes, epsilons=EPSILON)[1].numpy()

    times: dict[str, list[float]] = {name: [] for name in runs}
    flipped: dict[str, float] = {}
    for seed in range(RUNS + 1):
        for name, run in runs.items():  # in turn, so that a busy machine slows all
            start = time.perf_counter()
            x_adv = run(seed)
            if seed > 0:  # the first warms up
                times[name].append(time.perf_counter() - start)
            flipped[name] = float((y * net.outputs(x_adv)[:, 0] <= 0).mean())
    ours = statistics.median(times["refimpl"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name}: {1e3 * median:.1f} ms, ours/theirs {ours / median:.3f}, "
              f"flips {flipped[name]:.0%} at {EPSILON:g}")  # fmt: skip


if __name__ == "__main__":
    main()
