"""The setting of the paper's synthetic experiments, once: its values, and what they make.

Experiments, sweeps, proofs and the command line all start from a `Setting`. A field that `option`
made says what it is, and is an option of the command line. Files name it as `as_json` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl.decisions import GroupMax
from refimpl.distribution import ClusterDistribution, Sample
from refimpl.network import TwoLayerReLU
from refimpl.training import Trajectory, gradient_descent

_N_RADII = 24


def option(
    default: Any,
    text: str,
    *,
    minimum: float | None = None,
    none: str = "",
    json: str | None = None,
) -> Any:
    """Make a field of settings that the command line has as an option.

    Parameters
    ----------
    default : int, float or None
        None is an int that may be left out.
    text : str
        What the field is, for the help.
    minimum : float, optional
        Smallest value; by default an int is at least 1 and a float above 0.
    none : str
        What None stands for, for the help.
    json : str, optional
        Its name in files, by default that of the field.
    """
    metadata = {"help": text, "minimum": minimum, "none": none, "json": json}
    return field(default=default, metadata=metadata)


def options(settings: Any) -> dict[str, Field[Any]]:
    """Fields of settings, or of their class, that `option` made, by their names in files.

    >>> list(options(Setting))[-4:]
    ['step', 'steps', 'test', 'seed']
    """
    made = [each for each in fields(settings) if "help" in each.metadata]
    return {each.metadata["json"] or each.name: each for each in made}


def checked(each: Field[Any], value: Any) -> Any:
    """Value of a field that `option` made, in the type of its default, or a `ValueError`.

    >>> checked(options(Setting)["noise"], 1), checked(options(Setting)["positive"], None)
    (1.0, None)
    """
    minimum = each.metadata["minimum"]
    if value is None and each.default is None:
        return None
    if isinstance(each.default, float):
        if minimum is None:
            return check.real(each.name, value, positive=True)
        return check.real(each.name, value, minimum=minimum)
    return check.integer(each.name, value, minimum=1 if minimum is None else minimum)


class Options:
    """Settings whose options are checked, and have the types of their defaults."""

    def __post_init__(self) -> None:
        for each in options(self).values():
            object.__setattr__(self, each.name, checked(each, getattr(self, each.name)))

    def as_json(self) -> dict[str, Any]:
        """Values of the options, by their names in files."""
        return {name: getattr(self, each.name) for name, each in options(self).items()}


@dataclass(frozen=True, eq=False)
class Problem:
    """A distribution, its training sample and its test sample."""

    dist: ClusterDistribution
    train: Sample
    test: Sample


@dataclass(frozen=True)
class Setting(Options):
    """Data, networks and training of a synthetic experiment; the defaults are the paper's.

    The metadata of the fields say what each is.

    Raises
    ------
    ValueError
        Values that no sample or network can have, as more clusters than dimensions.

    Examples
    --------
    >>> Setting(k=4, d=100, positive=1).partition()
    (1, -1, -1, -1)
    """

    k: int = option(10, "clusters", minimum=2)
    d: int = option(3072, "input dimension")
    n: int = option(1000, "training samples")
    m: int = option(5, "hidden neurons of each sign in the 2-class network")
    positive: int | None = option(None, "clusters with label +1", minimum=0, none="half")
    cosine: float = option(0.0, "cosine of each two features", minimum=-1)
    noise: float = option(1.0, "standard deviation of the noise")
    sigma: float = option(1e-5, "standard deviation of the initial weights")
    learning_rate: float = option(0.001, "learning rate", json="step")
    steps: int = option(100, "gradient descent steps")
    test: int = option(200, "test samples, whose exact radii are found")
    seed: int = option(0, "seed of all random numbers", minimum=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        k = self.k
        if self.d < k:
            check.fail("d", f"an integer of at least {k}, the number k of clusters", self.d)
        if self.positive is not None and not 1 <= self.positive < k:
            check.fail("positive", f"a number from 1 to {k - 1}, for k {k}", self.positive)
        if not -1 <= self.cosine * (k - 1) < k - 1:
            check.fail("cosine", f"a number from -1/{k - 1} to below 1, for k {k}", self.cosine)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Setting:
        """Read what `as_json` wrote.

        >>> Setting.from_json({"d": 40, "step": 0.02}).learning_rate
        0.02
        """
        named = options(cls)
        if not isinstance(values, Mapping) or not values.keys() <= named.keys():
            check.fail("setting", f"values of {', '.join(named)}", values)
        return cls(**{named[name].name: value for name, value in values.items()})

    def partition(self) -> tuple[int, ...]:
        """Labels (k,) of the clusters, those with +1 first."""
        positive = self.k // 2 if self.positive is None else self.positive
        return (1,) * positive + (-1,) * (self.k - positive)

    def distribution(self, rng: int | np.random.Generator) -> ClusterDistribution:
        """Draw the features (E2)."""
        return ClusterDistribution.correlated(
            self.k,
            self.d,
            cosine=self.cosine,
            labels=self.partition(),
            noise_std=self.noise,
            rng=rng,
        )

    def problem(self) -> tuple[Problem, np.random.Generator]:
        """Draw features and samples; the generator goes on to draw the initial weights."""
        features, training, testing = np.random.default_rng(self.seed).spawn(3)
        dist = self.distribution(features)
        train, test = dist.sample(self.n, rng=training), dist.sample(self.test, rng=testing)
        return Problem(dist, train, test), training

    def binary(self, rng: int | np.random.Generator) -> TwoLayerReLU:
        """Draw the 2-class network before training (E5)."""
        return TwoLayerReLU.binary(self.d, self.m, sigma_w=self.sigma, sigma_b=self.sigma, rng=rng)

    def multiclass(self, rng: int | np.random.Generator, h: int = 1) -> TwoLayerReLU:
        """Draw the multi-class network before training (E6), h neurons a class."""
        return TwoLayerReLU.multiclass(self.d, self.k, h, sigma_w=self.sigma, rng=rng)

    def train(
        self, net: TwoLayerReLU, sample: Sample, callback: Callable[..., object] | None = None
    ) -> Trajectory:
        """Train a network on the labels, or on the clusters if it has an output for each (E13)."""
        return gradient_descent(
            net,
            sample.x,
            sample.y if net.n_outputs == 1 else sample.cluster,
            learning_rate=self.learning_rate,
            steps=self.steps,
            callback=callback,
        )


@dataclass(frozen=True)
class SyntheticSettings(Setting):
    """A setting, and how `refimpl reproduce synthetic` measures its networks.

    labels: partition of the clusters, in place of `positive`.
    """

    h: int = option(1, "hidden neurons of each class in the multi-class network")
    pgd_steps: int = option(40, "PGD steps at each radius")
    other_radii: int = option(20, "test samples whose radii in l_inf are found")
    labels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels is None:
            return
        if self.positive is not None:
            check.fail("labels", "None, as positive is given", self.labels)
        if len(self.labels) != self.k:
            check.fail("labels", f"{self.k} labels, one for each cluster", len(self.labels))
        GroupMax(check.signs("labels", self.labels, self.k))

    def partition(self) -> tuple[int, ...]:
        """Labels (k,) of the clusters."""
        return super().partition() if self.labels is None else self.labels

    def as_json(self) -> dict[str, Any]:
        """Values by their names in summary.json, the labels in place of `positive`."""
        values = {**super().as_json(), "labels": list(self.partition())}
        del values["positive"]
        return values

    def epsilons(self) -> Array:
        """24 radii in round steps, up to where the law of group_max (E24) has fallen to 0.

        Its median is half the distance of two centres, sqrt(d (1 - cosine) / 2).
        """
        last = math.sqrt((1 - self.cosine) * self.d / 2) + 5 * self.noise
        return float(f"{last / (_N_RADII - 2):.2g}") * np.arange(_N_RADII, dtype=np.float64)


@dataclass(frozen=True)
class ImageSettings(Options):
    """How the two networks are trained on real data and measured.

    Parameters
    ----------
    h : int, optional
        Hidden neurons of a class in the finer network; the 2-class network has as many in all. By
        default 3, and 4 for an odd number of classes.
    epochs, batch : int
        Passes over the training samples, and rows in a gradient step.
    two_step, ten_step : float
        Learning rates of the two networks, for rows of root mean square norm 10; a tenth of that in
        the last fifth of the steps.
    sigma : float
        Standard deviation of the initial weights and biases.
    train : int, optional
        Training samples, drawn from all; by default all.
    radii : int
        Test samples, drawn from all, whose exact radii are found.
    other_radii : int
        How many of them, the first ones, have radii in other norms and in the box found too.
    max_nodes : int
        Effort for one radius, as in `robust_radius`; what it does not settle stays bounded.
    pgd_steps : int
        Steps of PGD at each radius.
    seeds : int
        Pairs of networks trained, each from its own initial weights.
    seed : int
        Of the first pair and of the samples drawn.
    """

    h: int | None = option(
        None,
        "hidden neurons of each class in the multi-class network",
        none="3, or 4 for an odd number of classes",
    )
    epochs: int = option(15, "passes over the training samples")
    batch: int = option(100, "rows in a gradient step")
    two_step: float = option(2.0, "learning rate of the 2-class network")
    ten_step: float = option(1.0, "learning rate of the multi-class network")
    sigma: float = option(0.1, "standard deviation of the initial weights")
    train: int | None = option(None, "training samples, drawn at random", none="all")
    radii: int = option(500, "test samples, drawn at random, whose exact radii are found")
    other_radii: int = option(
        100, "of them, those whose radii in other norms, and in the range of pixels, are found"
    )
    max_nodes: int = option(
        1000, "search nodes for one radius; what they do not settle stays bounded"
    )
    seeds: int = option(3, "pairs of networks, each from its own initial weights")
    pgd_steps: int = option(40, "PGD steps at each radius")
    seed: int = option(0, "seed of all random numbers", minimum=0)

    def width(self, k: int) -> int:
        """Neurons of a class in a network of k classes: an even number of them in all.

        >>> ImageSettings().width(10), ImageSettings().width(5)
        (3, 4)
        """
        h = (3 if k % 2 == 0 else 4) if self.h is None else self.h
        if k * h % 2:
            check.fail("h", f"an even number, for {k} classes", h)
        return h
