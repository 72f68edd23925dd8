"""What the proofs share: results, settings, trained networks, and bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtri, pdtrc

from refimpl import (
    ClusterDistribution,
    Sample,
    Trajectory,
    TwoLayerReLU,
    closed_form_direction,
    gradient_descent,
    robust_radius,
    smallest_step,
)
from refimpl._validation import Array
from refimpl.decisions import Decision

BALANCE = 2.5
"""Bound of max/min over samples of |dL/df_i| up to t = 100, the claim `balance`."""

FALSE_ALARM = 1e-9
"""Probability with which chance alone may exceed a bound on random quantities."""

RADIUS = 1e-8
"""Relative error of two exact radii compared: each is within 1e-9, the solver's tolerance."""


@dataclass(frozen=True)
class Check:
    """One measurement: ``figure <= bound``, ``figure >= bound``, or only reported (bound None)."""

    what: str
    figure: float
    relation: str = "reported"
    bound: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the figure is on the right side; NaN never is."""
        if self.bound is None:
            return True
        below = self.relation == "<="
        return self.figure <= self.bound if below else self.figure >= self.bound

    @classmethod
    def at_most(cls, what: str, figure: float, bound: float) -> Check:
        """Claim that figure <= bound."""
        return cls(what, float(figure), "<=", float(bound))

    @classmethod
    def at_least(cls, what: str, figure: float, bound: float) -> Check:
        """Claim that figure >= bound."""
        return cls(what, float(figure), ">=", float(bound))

    @classmethod
    def reported(cls, what: str, figure: float) -> Check:
        """Claim nothing."""
        return cls(what, float(figure))


@dataclass(frozen=True)
class Result:
    """Evidence for one claim: its checks, and the numbers behind them as JSON can hold them."""

    claim: str
    statement: str
    status: str
    checks: Sequence[Check]
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """``"holds"`` where all checks do, else ``"fails"``."""
        return "holds" if all(check.holds for check in self.checks) else "fails"

    @property
    def decisive(self) -> Check:
        """The first check that fails, or the first of all."""
        return next((check for check in self.checks if not check.holds), self.checks[0])

    def as_json(self) -> dict[str, Any]:
        """Object with claim, status, figure, bound, verdict (of `decisive`), checks and numbers."""
        first = self.decisive
        return {
            "claim": self.claim,
            "statement": self.statement,
            "status": self.status,
            "what": first.what,
            "figure": _finite(first.figure),
            "relation": first.relation,
            "bound": first.bound,
            "verdict": self.verdict,
            "checks": [
                {
                    "what": check.what,
                    "figure": _finite(check.figure),
                    "relation": check.relation,
                    "bound": check.bound,
                    "holds": check.holds,
                }
                for check in self.checks
            ],
            "numbers": dict(self.numbers),
        }


@dataclass(frozen=True)
class Size:
    """Setting of the trained networks; the defaults are the paper's, for three seeds.

    k, d, n, m: clusters, dimension, training samples, neurons of each sign; test: test samples;
    learning_rate and steps of full-batch gradient descent; sigma: standard deviation of all
    initial weights and biases; cosine: of each two features; seeds: one network of each kind each.
    """

    k: int = 10
    d: int = 3072
    n: int = 1000
    m: int = 5
    test: int = 200
    learning_rate: float = 0.001
    steps: int = 100
    sigma: float = 1e-5
    cosine: float = 0.0
    seeds: tuple[int, ...] = (0, 1, 2)


def scaled(
    k: int, d: int, n: int, m: int, *, test: int = 100, seeds: tuple[int, ...] = (0, 1)
) -> Size:
    """Size at which the outputs grow as fast as in the paper's: eta d / (k m) is the same.

    >>> round(scaled(10, 3072, 1000, 5).learning_rate, 12)
    0.001
    """
    rate = 0.001 * (3072 / d) * (k * m / 50)
    return Size(k, d, n, m, test, rate, seeds=seeds)


PAPER = Size()
QUICK = Size(n=500, test=100, seeds=(0, 1))


@dataclass(frozen=True, eq=False)
class Problem:
    """A distribution, its training sample and its test sample."""

    dist: ClusterDistribution
    train: Sample
    test: Sample


@dataclass(frozen=True, eq=False)
class Run:
    """A problem, the network before training, and what training made of it."""

    problem: Problem
    initial: TwoLayerReLU
    path: Trajectory

    @property
    def net(self) -> TwoLayerReLU:
        """The trained network."""
        return self.path.network


@lru_cache(maxsize=8)
def problem(size: Size, seed: int) -> Problem:
    """Draw features, training samples and test samples."""
    rng = np.random.default_rng([seed, 0])
    dist = ClusterDistribution.correlated(size.k, size.d, cosine=size.cosine, rng=rng)
    return Problem(dist, dist.sample(size.n, rng=rng), dist.sample(size.test, rng=rng))


@lru_cache(maxsize=16)
def binary(size: Size, seed: int) -> Run:
    """Train the paper's binary network on the labels."""
    rng = np.random.default_rng([seed, 1])
    net = TwoLayerReLU.binary(size.d, size.m, sigma_w=size.sigma, sigma_b=size.sigma, rng=rng)
    return train(size, seed, net)


@lru_cache(maxsize=16)
def multiclass(size: Size, seed: int) -> Run:
    """Train the paper's multi-class network, h = 1, on the clusters, for as fast a growth."""
    rng = np.random.default_rng([seed, 2])
    return train(size, seed, TwoLayerReLU.multiclass(size.d, size.k, sigma_w=size.sigma, rng=rng))


def train(size: Size, seed: int, net: TwoLayerReLU, callback: Any = None) -> Run:
    """Train any network on the problem of this seed."""
    drawn = problem(size, seed)
    path = gradient_descent(
        net,
        drawn.train.x,
        drawn.train.y if net.n_outputs == 1 else drawn.train.cluster,
        learning_rate=size.learning_rate,
        steps=size.steps,
        callback=callback,
    )
    return Run(drawn, net, path)


def radii(run: Run, decision: Decision) -> Array:
    """Exact radii at the test samples, as their proved upper bounds."""
    return robust_radius(run.net, run.problem.test.x, run.problem.test.y, decision=decision).upper


def closed_form_steps(run: Run) -> Array:
    """Smallest adversarial steps t* of the test samples along the closed-form direction."""
    dist, test = run.problem.dist, run.problem.test
    u = closed_form_direction(test.y, dist.features, dist.labels)
    return smallest_step(run.net, test.x, test.y, u)  # (E26), (E27)


def cluster_sizes(sample: Sample, k: int) -> Array:
    """Training samples of each cluster."""
    return np.bincount(sample.cluster, minlength=k).astype(np.float64)


def largest_normal(count: float) -> float:
    """Bound that `count` standard normals all stay below, but with probability `FALSE_ALARM`."""
    return float(-ndtri(FALSE_ALARM / count))


def largest_count(expected: float) -> int:
    """Bound that a Poisson count of this mean exceeds with probability `FALSE_ALARM` at most.

    >>> largest_count(0.0), largest_count(1e-6)
    (0, 1)
    """
    count = 0
    while pdtrc(count, expected) > FALSE_ALARM:
        count += 1
    return count


def cosine_with_others(size: Size, neurons: int) -> float:
    """Bound of |cos(mu_l, w_r)| for a cluster l that neuron r must not fire on.

    Gradient descent pushes w_r away from mu_l only while a sample of cluster l is active, <w_r,
    mu_l> + <w_r, xi_i> > 0, and <w_r, xi_i> is about ||w_r|| times a standard normal (the term of
    x_i itself only lowers it). It thus stops where |<w_r, mu_l>| is the largest of them, a step
    later at most: |cos| <= g_max / sqrt(d). Leading order in 1/d; a step is much smaller.
    """
    return largest_normal(size.n * neurons) / math.sqrt(size.d)


def gamma(terms: float) -> float:
    """Relative rounding error of a float64 sum of that many terms, in any order."""
    unit = 2.0**-53
    return terms * unit / (1 - terms * unit)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
