"""The paper's synthetic experiment (its Figures 2a, 2b and 3 left), beside what the theory says."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl import theory
from refimpl._files import output_directory
from refimpl._progress import Progress
from refimpl._validation import Array
from refimpl.decisions import GroupMax
from refimpl.distribution import ClusterDistribution
from refimpl.experiments import publish
from refimpl.experiments.comparison import TITLES, Comparison
from refimpl.network import TwoLayerReLU
from refimpl.training import gradient_descent

_N_RADII = 24


@dataclass(frozen=True)
class Settings:
    """What the experiment is run with; the defaults are the paper's.

    Parameters
    ----------
    k, d, n : int
        Clusters, input dimension, training samples.
    m, h : int
        Neurons of each sign in the 2-class network, and of each class in the k-class network.
    step, steps : float, int
        Learning rate and number of full-batch gradient descent steps.
    sigma : float
        Standard deviation of the initial weights and biases.
    noise : float
        Standard deviation of the samples' noise.
    labels : tuple of k in {-1, +1}, optional
        Partition of the clusters; by default the first half is +1.
    test : int
        Test samples; radii are those of all of them.
    pgd_steps : int
        Steps of PGD at each radius.
    seed : int
    """

    k: int = 10
    d: int = 3072
    n: int = 1000
    m: int = 5
    h: int = 1
    step: float = 0.001
    steps: int = 100
    sigma: float = 1e-5
    noise: float = 1.0
    labels: tuple[int, ...] | None = None
    test: int = 200
    pgd_steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        check.integer("k", self.k, minimum=2)
        if check.integer("d", self.d, minimum=1) < self.k:
            expected = f"an integer of at least {self.k}, the number k of clusters"
            check.fail("d", expected, self.d)
        for name in ("n", "m", "h", "steps", "test", "pgd_steps"):
            check.integer(name, getattr(self, name), minimum=1)
        for name in ("step", "sigma", "noise"):
            check.real(name, getattr(self, name), positive=True)
        if self.labels is not None:
            if len(self.labels) != self.k:
                expected = f"{self.k} labels, one for each cluster"
                check.fail("labels", expected, len(self.labels))
            GroupMax(check.signs("labels", self.labels, self.k))
        check.integer("seed", self.seed, minimum=0)

    def epsilons(self) -> Array:
        """24 radii in round steps, up to where the law of group_max (E24) has fallen to 0."""
        last = math.sqrt(self.d / 2) + 5 * self.noise
        return float(f"{last / (_N_RADII - 2):.2g}") * np.arange(_N_RADII, dtype=np.float64)


def run(settings: Settings, out: Path, *, progress: bool = True) -> dict[str, Any]:
    """Train, measure, print, and write summary.json, cosines.png and robustness.png to `out`."""
    out = output_directory(out)
    draws = np.random.default_rng(settings.seed).spawn(4)
    dist = ClusterDistribution.orthogonal(
        settings.k, settings.d, labels=settings.labels, noise_std=settings.noise, rng=draws[0]
    )
    comparison = train(dist, settings, draws[1], progress=progress)
    test = dist.sample(settings.test, rng=draws[2])
    plan = publish.Plan(
        settings={**asdict(settings), "labels": dist.labels.tolist()},
        epsilons=settings.epsilons(),
        pgd_steps=settings.pgd_steps,
        unit="input space",
        theory=Idealised(dist),
    )
    return publish.publish(comparison, test.x, test.cluster, plan, out, draws[3], progress=progress)


def train(
    dist: ClusterDistribution, settings: Settings, rng: np.random.Generator, *, progress: bool
) -> Comparison:
    """Train the paper's two networks on the same samples."""
    s = settings
    sample = dist.sample(s.n, rng=rng)
    two = TwoLayerReLU.binary(s.d, s.m, sigma_w=s.sigma, sigma_b=s.sigma, rng=rng)
    ten = TwoLayerReLU.multiclass(s.d, s.k, s.h, sigma_w=s.sigma, rng=rng)
    with Progress("training, steps", 2 * s.steps, enabled=progress) as counter:
        two, ten = (
            gradient_descent(
                net,
                sample.x,
                targets,
                learning_rate=s.step,
                steps=s.steps,
                callback=lambda step, *_: counter.advance(step > 0),
            ).network
            for net, targets in ((two, sample.y), (ten, sample.cluster))
        )
    return Comparison(dist.features, dist.labels, two, ten, s.h)


class Idealised:
    """What the theory says of the three classifiers on a distribution (E19 to E25)."""

    def __init__(self, dist: ClusterDistribution) -> None:
        self.dist = dist
        positive = int((dist.labels > 0).sum())
        self.sizes = (positive, dist.n_clusters - positive)

    def laws(self, epsilons: Array) -> dict[str, Array]:
        """P(r > epsilon) by E23 to E25."""
        positive, negative = self.sizes
        return {
            kind: theory.robust_accuracy(
                kind,
                epsilons,
                n_positive=positive,
                n_negative=negative,
                d=self.dist.dim,
                noise_std=self.dist.noise_std,
            )
            for kind in TITLES
        }

    def medians(self) -> dict[str, float]:
        """Medians of the laws."""
        grid = np.linspace(0, math.sqrt(self.dist.dim) + 5 * self.dist.noise_std, 401)
        return {name: float(np.interp(-0.5, -law, grid)) for name, law in self.laws(grid).items()}

    def centre_radii(self) -> dict[str, tuple[str, list[float]]]:
        """Give formula and values of E19 to E21, group_sum one for each size of a class."""
        k, d = self.dist.n_clusters, self.dist.dim
        sums = [theory.group_sum_radius(opposite, d) for opposite in sorted(set(self.sizes))]
        return {
            "averaging": ("sqrt{d/k}", [theory.feature_averaging_radius(k, d)]),
            "group_max": ("sqrt{d/2}", [theory.decoupled_radius(d)]),
            "group_sum": ("sqrt{d/(1+k_{opp})}", sums),
        }

    def averaged_cosines(self) -> list[float]:
        """1/sqrt(k_own): cosine of mu_j with the sum of the features of its class."""
        return [1 / math.sqrt(own) for own in sorted(set(self.sizes))]
