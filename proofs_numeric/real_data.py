"""Features that a neuron averages on real data, and what adversarial training makes of them.

    python -m proofs_numeric.real_data --data DIR --features FEATURES.npz

Measured answers, without a bound. DIR holds MNIST; FEATURES.npz holds frozen features, as `refimpl
reproduce features` takes them. Either may be left out.

**How many features does a neuron average?** A 2-class network is trained by mini-batches as
`refimpl reproduce` does, with one learning rate, on 5000 rows less their mean. lambda_rj (E15) is
what neuron r has taken up of the mean of class j; printed is the median over the neurons of the
participation of its positive part, as in the claim `participation`, for three seeds. It is 1 for a
single class and 5 for an average of all five.

**Does adversarial training take features apart?** The same network, full batch, on 500 rows of the
features that PGD moves within a share of the median radius that no attack leads to. Printed are
the count, the accuracy on test samples and their median exact radius over that without an attack.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from proofs_numeric.evidence import participation
from refimpl import ClusterDistribution, Sample, Trajectory, TwoLayerReLU, decompose
from refimpl._arrays import Array, IntArray
from refimpl._workers import one_thread
from refimpl.adversarial_training import adversarial_training
from refimpl.experiments import tasks
from refimpl.experiments.tasks import Task, class_means, shuffled
from refimpl.radius import robust_radius
from refimpl.training import gradient_descent

SEEDS = (0, 1, 2)
ROWS, FEW = 5000, 500
M = 15  # neurons of each sign
NORM = 10.0  # root mean square of the rows' norms
SHARES = (0.0, 0.5, 1.0, 1.5)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m proofs_numeric.real_data")
    parser.add_argument("--data", metavar="DIR", help="folder of MNIST")
    parser.add_argument("--features", type=Path, metavar="FEATURES.npz")
    parser.add_argument("--steps", type=int, default=100, metavar="N", help="of full batches")
    parser.add_argument("--radii", type=int, default=100, metavar="N", help="test samples")
    args = parser.parse_args(argv)
    if args.data is None and args.features is None:
        parser.error("expected --data or --features")
    with one_thread():
        if args.data is not None:
            _print_counts("MNIST", tasks.mnist(args.data, verify=False))
        if args.features is not None:
            deep = tasks.features(args.features, None, seed=0)
            _print_counts("features", deep)
            _print_attacked(deep, args.steps, args.radii)
    return 0


def _print_counts(name: str, task: Task) -> None:
    counts = [np.nanmedian(features_averaged(task, seed)) for seed in SEEDS]
    text = ", ".join(f"{count:.2f}" for count in counts)
    print(f"{name}: features averaged by a neuron, median, seeds 0 to 2: {text}", flush=True)


def features_averaged(task: Task, seed: int, epochs: int = 15) -> Array:
    """Count for every neuron (2m,) of a network trained by mini-batches."""
    sample, dist, _ = _sample(task, ROWS, seed)
    n, batch = len(sample.x), min(100, len(sample.x))
    rng = np.random.default_rng(seed)
    path = gradient_descent(
        _initial(dist.dim, seed),
        sample.x,
        sample.y,
        learning_rate=2.0,
        steps=epochs * -(-n // batch),
        method="primal",
        batch_size=batch,
        rng=rng,
    )
    return _counts(path, sample, dist)


def _print_attacked(task: Task, steps: int, radii: int) -> None:
    print(f"{'budget':>8}{'count':>8}{'accuracy':>10}{'radius':>8}")
    plain = 0.0
    for share in SHARES:
        count, accuracy, radius = attacked(task, share * plain, steps, radii)
        plain = plain or radius
        print(f"{share:8g}{count:8.2f}{accuracy:10.3f}{radius / plain:8.2f}", flush=True)


def attacked(task: Task, epsilon: float, steps: int, radii: int) -> tuple[float, float, float]:
    """Median count, accuracy and median exact radius after adversarial training, rows scaled."""
    sample, dist, change = _sample(task, FEW, 0)
    net = _initial(dist.dim, 0)
    path = adversarial_training(
        net,
        sample.x,
        sample.y,
        epsilon=epsilon,
        learning_rate=2.0,
        steps=steps,
        attack="pgd",
        rng=0,
    )
    x, classes = shuffled(task.test, np.random.default_rng(0))
    x, y = (x[:radii] - change[0]) / change[1], task.labels[classes[:radii]]
    found = robust_radius(path.network, x, y, max_nodes=300).upper
    count = float(np.nanmedian(_counts(path, sample, dist)))
    return count, float((found > 0).mean()), float(np.median(found))


def _sample(
    task: Task, rows: int, seed: int
) -> tuple[Sample, ClusterDistribution, tuple[Array, float]]:
    """Rows less their mean, scaled; the class means as centres; the mean and the scale."""
    x, classes = shuffled(task.train, np.random.default_rng(seed))
    x, classes = x[:rows], classes[:rows]
    mean = x.mean(axis=0)
    scale = float(np.linalg.norm(x - mean) / np.sqrt(len(x))) / NORM
    x = (x - mean) / scale
    labels: IntArray = task.labels
    dist = ClusterDistribution(class_means((x, classes), len(labels)), labels)
    return Sample(x, labels[classes], classes), dist, (mean, scale)


def _initial(dim: int, seed: int) -> TwoLayerReLU:
    return TwoLayerReLU.binary(dim, M, sigma_w=0.1, sigma_b=0.1, rng=seed)


def _counts(path: Trajectory, sample: Sample, dist: ClusterDistribution) -> Array:
    return participation(np.maximum(decompose(path, sample, dist).feature, 0.0))


if __name__ == "__main__":
    sys.exit(main())
