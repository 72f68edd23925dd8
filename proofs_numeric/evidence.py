"""What the proofs share: results, settings, trained networks, and bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.special import ndtri, pdtrc

from refimpl import (
    Sample,
    Trajectory,
    TwoLayerReLU,
    closed_form_direction,
    decompose,
    robust_radius,
    smallest_step,
)
from refimpl._arrays import Array
from refimpl.decisions import Decision
from refimpl.setting import Problem, Setting

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
class Evidence:
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
                {**asdict(check), "figure": _finite(check.figure), "holds": check.holds}
                for check in self.checks
            ],
            "numbers": dict(self.numbers),
        }


@dataclass(frozen=True)
class Size(Setting):
    """A setting for several seeds, one network of each kind for each; `seed` is not looked at.

    full: judge long evidence as a whole, where a reduced case is judged else.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    full: bool = False


def scaled(
    k: int, d: int, n: int, m: int, *, test: int = 100, seeds: tuple[int, ...] = (0, 1)
) -> Size:
    """Size at which the outputs grow as fast as in the paper's: eta d / (k m) is the same.

    >>> round(scaled(10, 3072, 1000, 5).learning_rate, 12)
    0.001
    """
    rate = 0.001 * (3072 / d) * (k * m / 50)
    return Size(k=k, d=d, n=n, m=m, test=test, learning_rate=rate, seeds=seeds)


PAPER = Size()
QUICK = Size(n=500, test=100, seeds=(0, 1))


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
    dist = size.distribution(rng)
    return Problem(dist, dist.sample(size.n, rng=rng), dist.sample(size.test, rng=rng))


@lru_cache(maxsize=16)
def binary(size: Size, seed: int) -> Run:
    """Train the paper's binary network on the labels."""
    return train(size, seed, start(size, seed))


@lru_cache(maxsize=16)
def multiclass(size: Size, seed: int) -> Run:
    """Train the paper's multi-class network, h = 1, on the clusters, for as fast a growth."""
    return train(size, seed, size.multiclass(np.random.default_rng([seed, 2])))


def start(size: Size, seed: int) -> TwoLayerReLU:
    """Draw the binary network before training."""
    return size.binary(np.random.default_rng([seed, 1]))


def train(
    size: Size, seed: int, net: TwoLayerReLU, callback: Callable[..., object] | None = None
) -> Run:
    """Train any network on the problem of this seed."""
    drawn = problem(size, seed)
    return Run(drawn, net, size.train(net, drawn.train, callback))


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


def participation(parts: Array) -> Array:
    """How many of the k parts of each row (M,k) count: (sum |p|)^2 / sum p^2, NaN for zeros.

    It is 1 where one part is all, and k where all are alike.

    >>> participation(np.array([[0.0, 3.0], [-2.0, -2.0], [0.0, 0.0]])).tolist()
    [1.0, 2.0, nan]
    """
    size = np.abs(parts)
    squares = (size**2).sum(axis=1)
    nothing = np.full(len(size), np.nan)
    return np.divide(size.sum(axis=1) ** 2, squares, out=nothing, where=squares > 0)


def features_averaged(run: Run) -> Array:
    """How many features each neuron averages (M,): the participation of its positive lambda.

    NaN for a neuron that has taken up none. A neuron is drawn to the features of its own class and
    pushed away from all others (E16), which have a negative lambda.
    """
    feature = decompose(run.path, run.problem.train, run.problem.dist).feature
    return participation(np.maximum(feature, 0.0))


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
    """Bound of |cos(mu_l, w_r)| between a neuron r and the feature of a cluster l of another class.

    Gradient descent turns w_r away from mu_l through the samples x_i = mu_l + xi_i of the cluster
    on which the neuron fires, which are those with <w_r, mu_l> + <w_r, xi_i> > 0. As <w_r, mu_l>
    falls, fewer of them are left. None is left, and the push ends, once -<w_r, mu_l> exceeds the
    largest <w_r, xi_i>.

    For noise that is independent of w_r, <w_r, xi_i> is ||w_r|| times a standard normal. (The share
    of x_i in w_r makes it smaller: it was pushed away from x_i as well.) So -<w_r, mu_l> ends at
    ||w_r|| g_max at most, where g_max is the largest of the standard normals of all samples and
    neurons, and ||mu_l|| = sqrt(d) gives |cos| <= g_max / sqrt(d). The last step may go beyond
    this; its size is of a higher order in 1/d, and is left out.
    """
    return largest_normal(size.n * neurons) / math.sqrt(size.d)


def gamma(terms: float) -> float:
    """Relative rounding error of a float64 sum of that many terms, in any order."""
    unit = 2.0**-53
    return terms * unit / (1 - terms * unit)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
