"""One target of one sample, on all of the network's neurons or on those that a search has left.

Where a neuron's phase is the same everywhere that a search still looks, it need not be carried
along: off, it is gone, and on, it joins one affine term for each constraint. The term stands in the
small problem as one more neuron, raised until it is on everywhere in the ball. A node then costs
what its free neurons cost, whatever the width of the network.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.ball import Ball
from refimpl.radius.geometry import Target
from refimpl.radius.leaf import Multipliers
from refimpl.radius.relaxation import Planes

_SMALLER = 0.7


@dataclass(eq=False)
class Small:
    """How a small problem stands for a node of the `whole` one: it has the neurons `kept` of it.

    `phase` (M,) are the phases of all neurons there, and lo <= z <= up (M,) their intervals.
    """

    whole: Problem
    kept: IntArray
    phase: IntArray
    lo: Array
    up: Array


@dataclass(eq=False)
class Problem:
    """Target `index` of one sample. `planes` are those of the pool that its root starts with."""

    index: int
    target: Target
    ball: Ball
    pool: Planes
    planes: IntArray
    small: Small | None = None

    @classmethod
    def of(cls, index: int, target: Target, ball: Ball, small: Small | None = None) -> Problem:
        """Problem of a target, with no planes but those at the sample."""
        pool = Planes(target, ball.z)
        return cls(index, target, ball, pool, pool.first, small)

    @property
    def whole(self) -> Problem:
        """The problem on all neurons."""
        return self if self.small is None else self.small.whole

    def sized(self, radius: float) -> Ball:
        """Return the ball, at the incumbent's radius."""
        if self.ball.radius != radius:
            self.ball.resize(radius)
        return self.ball

    def full(self, values: Any, others: Any = 0) -> Any:
        """Values (m,) of this problem's neurons as values (M,) of all; the rest are `others`."""
        if self.small is None:
            return values
        found = np.zeros(len(self.small.phase), values.dtype)
        found[:] = others
        found[self.small.kept] = values[: len(self.small.kept)]
        return found

    def take(self, values: Any) -> Any:
        """Values (M,) of all neurons as values (m,) of this problem's; affine terms have 0."""
        if self.small is None:
            return values
        affine = np.zeros(len(self.target.beta), values.dtype)
        return np.concatenate((values[self.small.kept], affine))

    def point(self, v: Array) -> Array:
        """Weights (M,) of the point U^T v that v (m,) stands for."""
        if self.small is None:
            return v
        affine = self.small.whole.target.alpha * (self.small.phase > 0)
        affine[:, self.small.kept] = 0.0
        return self.full(v) + v[len(self.small.kept) :] @ affine

    def multipliers(self, m: Multipliers) -> Multipliers:
        """Multipliers on all neurons that prove the same."""
        if self.small is None:
            return m
        tau = self.full(m.tau, (self.small.phase > 0) * 1.0)
        kappa = None if m.kappa is None else self.full(m.kappa)
        return Multipliers(m.weights, tau, self.full(m.nu), kappa, m.ball)

    def name(self, neurons: Any) -> Any:
        """Names in the network of this problem's neurons."""
        return neurons if self.small is None else self.small.kept[neurons]


def worth_reducing(problem: Problem, signs: IntArray, lo: Array, up: Array) -> bool:
    """Tell whether a node has so few neurons left that a problem on these costs less."""
    used = (signs != 0) | ((lo < 0) & (up > 0))
    return bool(used.sum() < _SMALLER * len(used))


def reduce(
    problem: Problem, signs: IntArray, lo: Array, up: Array
) -> tuple[Problem, IntArray, Array, Array]:
    """Return the small problem of a node given by signs and intervals (m,), and these on it."""
    whole = problem.whole
    if problem.small is not None:
        signs = problem.full(signs)
        lo, up = problem.full(lo, problem.small.lo), problem.full(up, problem.small.up)
    ball, target, geometry = whole.ball, whole.target, whole.ball.geometry
    phase = ball.nodes(signs[None], lo[None], up[None]).phase[0]
    kept = np.flatnonzero(((phase == 0) | (signs != 0)) & (target.size > 0).any(axis=0))
    on = phase > 0
    on[kept] = False
    affine, absolute = target.alpha * on, target.size * on
    norms, size = absolute @ geometry.norms, absolute @ ball.size
    raised = 2 * (size + norms * ball.radius)
    small_ball = Ball(
        geometry.combined(kept, affine, norms),
        np.concatenate((ball.z[kept], affine @ ball.z + raised)),
        np.concatenate((ball.size[kept], size + 2 * raised)),
        ball.radius,
    )
    ones = np.eye(len(raised))
    small_target = replace(
        target,
        alpha=np.hstack((target.alpha[:, kept], ones)),
        beta=target.beta - raised,
        size=np.hstack((target.size[:, kept], ones)),
    )
    small = Problem.of(whole.index, small_target, small_ball, Small(whole, kept, phase, lo, up))
    signs, lo, up = small.take(signs), small.take(lo), small.take(up)
    for end, own in zip((lo, up), small_ball.intervals(), strict=True):
        end[len(kept) :] = own[len(kept) :]
    return small, signs, lo, up
