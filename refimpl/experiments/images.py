"""The paper's image experiments with the networks of its theory (Figures 2c, 2d, 3 middle, right).

The paper trains ResNet-18; here they are the two-layer networks of the theory, on pixels or on
features, so that curves compare in shape and not in value. The features of the classes are the
means of the training samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._files import output_directory
from refimpl._progress import Progress
from refimpl._validation import Array, IntArray
from refimpl.experiments import publish
from refimpl.experiments.comparison import Comparison
from refimpl.network import TwoLayerReLU
from refimpl.training import gradient_descent

Split = tuple[Array, IntArray]  # rows x (n,d) and their classes (n,)
_N_RADII = 25


@dataclass(frozen=True, eq=False)
class ImageTask:
    """Labelled rows, and a partition of their classes.

    Parameters
    ----------
    train, test : pairs of x (n,d) and classes (n,)
    labels : (k,) array in {-1, +1}
        Binary label of each class.
    class_names : tuple of k str
    unit : str
        The space of x.
    largest_radius : float
        Where the curves end.
    """

    train: Split
    test: Split
    labels: IntArray
    class_names: tuple[str, ...]
    unit: str
    largest_radius: float


@dataclass(frozen=True)
class Settings:
    """How the two networks are trained and measured.

    Parameters
    ----------
    m, h : int
        Neurons of each sign in the 2-class network, and of each class in the other.
    epochs, batch : int
        Passes over the training samples, and rows in a gradient step.
    two_step, ten_step : float
        Learning rates of the two networks; a tenth of that in the last fifth of the steps.
    sigma : float
        Standard deviation of the initial weights and biases.
    train : int, optional
        Training samples, drawn from all; by default all.
    radii : int
        Test samples, drawn from all, whose exact radii are found.
    max_nodes : int
        Effort for one radius, as in `robust_radius`; what it does not settle stays bounded.
    pgd_steps : int
        Steps of PGD at each radius.
    seed : int
    """

    m: int = 15
    h: int = 3
    epochs: int = 15
    batch: int = 100
    two_step: float = 3.0
    ten_step: float = 3.0
    sigma: float = 0.1
    train: int | None = None
    radii: int = 200
    max_nodes: int = 3000
    pgd_steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("m", "h", "epochs", "batch", "radii", "max_nodes", "pgd_steps"):
            check.integer(name, getattr(self, name), minimum=1)
        for name in ("two_step", "ten_step", "sigma"):
            check.real(name, getattr(self, name), positive=True)
        if self.train is not None:
            check.integer("train", self.train, minimum=1)
        check.integer("seed", self.seed, minimum=0)


def run(
    load: Callable[[], ImageTask], settings: Settings, out: Path, *, progress: bool = True
) -> dict[str, Any]:
    """Load, train, measure, print, and write summary.json, cosines.png and robustness.png."""
    out = output_directory(out)
    task = load()
    draws = np.random.default_rng(settings.seed).spawn(4)
    chosen, held_out = (
        _shuffled(split, rng) for split, rng in ((task.train, draws[0]), (task.test, draws[1]))
    )
    chosen = _first(chosen, settings.train)
    comparison = train(task.labels, chosen, settings, draws[2], progress=progress)
    plan = publish.Plan(
        settings={**asdict(settings), "train": len(chosen[0]), "test": len(held_out[0])},
        epsilons=np.linspace(0, task.largest_radius, _N_RADII),
        pgd_steps=settings.pgd_steps,
        max_nodes=settings.max_nodes,
        unit=task.unit,
        n_radii=settings.radii,
        class_names=task.class_names,
    )
    return publish.publish(comparison, *held_out, plan, out, draws[3], progress=progress)


def train(
    labels: IntArray, split: Split, settings: Settings, rng: np.random.Generator, *, progress: bool
) -> Comparison:
    """Train a 2-class network on the labels of the classes, and one on the classes."""
    s, (x, classes) = settings, split
    k, d = len(labels), x.shape[1]
    batch = min(s.batch, len(x))
    steps = s.epochs * -(-len(x) // batch)
    two = TwoLayerReLU.binary(d, s.m, sigma_w=s.sigma, sigma_b=s.sigma, rng=rng)
    ten = TwoLayerReLU.multiclass(d, k, s.h, sigma_w=s.sigma, rng=rng)
    with Progress("training, steps", 2 * steps, enabled=progress) as counter:
        two, ten = (
            _descend(net, x, targets, step_size, steps, batch, rng, counter)
            for net, targets, step_size in (
                (two, labels[classes], s.two_step),
                (ten, classes, s.ten_step),
            )
        )
    return Comparison(class_means(split, k), labels, two, ten, s.h)


def _descend(
    net: TwoLayerReLU,
    x: Array,
    targets: IntArray,
    step_size: float,
    steps: int,
    batch: int,
    rng: np.random.Generator,
    counter: Progress,
) -> TwoLayerReLU:
    """Mini-batch descent, at last with small steps, whose noise leaves less of a mark."""
    last = steps // 5
    for learning_rate, count in ((step_size, steps - last), (step_size / 10, last)):
        net = gradient_descent(
            net,
            x,
            targets,
            learning_rate=learning_rate,
            steps=count,
            method="primal",
            batch_size=batch,
            rng=rng,
            callback=lambda step, *_: counter.advance(step > 0),
        ).network
    return net


def class_means(split: Split, k: int) -> Array:
    """Mean (k,d) of the samples of each class.

    >>> class_means((np.array([[0.0], [2.0], [5.0]]), np.array([0, 0, 1])), 2).tolist()
    [[1.0], [5.0]]
    """
    x, classes = split
    missing = sorted(set(range(k)) - set(classes.tolist()))
    if missing:
        check.fail("train", f"samples of all {k} classes", f"none of class {missing[0]}")
    return np.stack([x[classes == j].mean(axis=0) for j in range(k)])


def _shuffled(split: Split, rng: np.random.Generator) -> Split:
    order = rng.permutation(len(split[0]))
    return split[0][order], split[1][order]


def _first(split: Split, count: int | None) -> Split:
    return split[0][:count], split[1][:count]
