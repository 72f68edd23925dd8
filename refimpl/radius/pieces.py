"""All pieces of a target, by a few of them: which may be nearer than the nearest one known.

The multipliers of one piece bound every other piece too, with gamma_r z_r put in or taken out of
the minorant where the other has neuron r on or off (E31). With good splits -v = inner + q of a
piece's gradient v, and of the changes -+|gamma_r| w_r, any sum of them is a split of the other's
gradient (E38), and for p = 2 the lengths of the sums of `inner` come from one small Gram matrix:
thousands of pieces cost less than one least-distance problem. Those that one piece cannot exclude
are tried from another, the least bounded of them. Where that one itself may be near, it gets a
least-distance problem.
"""

from __future__ import annotations

import math

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.ball import Ball
from refimpl.radius.fast import FEW, subsets
from refimpl.radius.geometry import ROOT_FLOOR, UNIT, Flags, Target
from refimpl.radius.incumbent import Incumbent
from refimpl.radius.leaf import Multipliers
from refimpl.radius.problem import Problem

_MANY = {2: 13, math.inf: 8, 1: 8}  # neurons whose pieces are all bounded, by the norm
_ROUNDS = 60  # pieces that others are bounded from
_LEFT = 4  # pieces that get a least-distance problem


def unsettled(ball: Ball, target: Target, multipliers: Multipliers) -> IntArray:
    """Neurons that tell pieces apart for these multipliers."""
    return np.flatnonzero((multipliers.weights @ target.alpha < 0) & (ball.stable == 0))


def bound(
    incumbent: Incumbent, problem: Problem, multipliers: Multipliers, neurons: IntArray, goal: float
) -> float | None:
    """Bound a whole target by its pieces, or None; nearer points found go to the incumbent.

    There are such bounds for few `unsettled` neurons (k,).
    """
    ball, target = incumbent.ball, problem.target
    branching = target.is_branching & (ball.stable == 0)
    if ball.euclidean and len(neurons) <= FEW:
        return None  # chords are quicker
    if len(neurons) > _MANY[ball.norm] or branching.sum() > len(neurons):
        return None
    on = np.where(ball.stable == 0, incumbent.near(problem) > 0, ball.stable > 0)
    pieces = on[neurons] == subsets(len(neurons))[:, ::-1]  # the first is `on` itself
    family = _Family(ball, target, multipliers, neurons, on)
    best, near = (_by_others if ball.norm == 2 else _by_one)(family, pieces, goal)
    if len(near) > _LEFT:
        return None
    if len(near) > 0:
        some = np.repeat(on[None], len(near), 0)
        some[:, neurons] = pieces[near]
        best = min(best, float(incumbent.survey(problem, some, math.inf)[2].min()))
    return best


def _by_one(family: _Family, pieces: Flags, goal: float) -> tuple[float, IntArray]:
    """Bound each of the pieces (B,k) by itself; return the indices of those within the goal."""
    lower = family.exact(pieces)
    return float(lower[lower >= goal].min(initial=math.inf)), np.flatnonzero(lower < goal)


def _by_others(family: _Family, pieces: Flags, goal: float) -> tuple[float, IntArray]:
    """Do the same for p = 2, many at a time; the indices are also of pieces still in doubt."""
    lower, left, base = np.zeros(len(pieces)), np.arange(len(pieces)), 0
    best = math.inf
    near: list[int] = []
    for _ in range(_ROUNDS):
        lower[left] = np.maximum(lower[left], family.bounds(pieces[base], pieces[left]))
        excluded = lower[left] >= goal
        best = min(best, float(lower[left[excluded]].min(initial=math.inf)))
        if lower[base] < goal:
            near.append(base)
            excluded[left == base] = True
        left = left[~excluded]
        if len(left) == 0 or len(near) > _LEFT:
            break
        base = int(left[lower[left].argmin()])
    return best, np.concatenate((np.array(near, np.int64), left))


class _Family:
    """The pieces that differ from `on` (M,) in some neurons, for given multipliers."""

    def __init__(
        self, ball: Ball, target: Target, multipliers: Multipliers, neurons: IntArray, on: Flags
    ) -> None:
        w, tau, *_ = multipliers
        gamma, absolute = w @ target.alpha, w @ target.size
        self.target, self.w, self.neurons, self.gamma = target, w, neurons, gamma
        fixed = gamma * np.where(gamma > 0, tau, on)
        fixed[neurons] = 0.0
        self.ball, self.weight, self.fixed = ball, -gamma[neurons], fixed
        W = self.weight[:, None] * ball.geometry.U[neurons]
        self.level, self.levels = fixed @ ball.z + w @ target.beta, self.weight * ball.z[neurons]
        self.v, self.W = fixed @ ball.geometry.U, W
        if ball.norm != 2:
            return
        self.rows, self.rests, _ = ball.split(np.concatenate((W, -W)))
        self.gram, self.sizes = self.rows @ self.rows.T, np.linalg.norm(self.rows, axis=1)
        self.noise = 2 * float(ball.noise(target, w, absolute))
        self.factor = ball.geometry.factor * float(absolute @ ball.geometry.norms)
        # Sums of p products, and of k of these, err relative to the sums of absolute values.
        self.error = (2 * W.shape[1] + 8 * len(W) + 32) * UNIT

    def exact(self, pieces: Flags) -> Array:
        """Lower bounds (B,) of pieces (B,k) by their own gradients."""
        q = np.repeat(self.fixed[None], len(pieces), 0)
        q[:, self.neurons] = pieces * self.gamma[self.neurons]
        return self.ball.lower(self.target, self.w, q, self.w @ self.target.beta)

    def bounds(self, base: Flags, pieces: Flags) -> Array:
        """Lower bounds (B,) of pieces (B,k), by splits of the gradient of piece `base` (k,)."""
        ball, error = self.ball, self.error
        level = np.array([self.level - base @ self.levels])
        center = ball.split((base @ self.W - self.v)[None], level)
        # Of a neuron put in, -v gains |gamma_r| w_r; of one taken out it loses that.
        changes = np.hstack((pieces & ~base, base & ~pieces)).astype(np.float64)
        rest = center.rest[0] + changes @ self.rests
        l0 = self.level - pieces @ self.levels - rest * (1 + error) - self.noise
        length = math.sqrt(float(center.squares[0]))
        squares = center.squares[0] + 2 * changes @ (self.rows @ center.inner[0])
        squares += np.einsum("ij,ij->i", changes @ self.gram, changes)
        squares += error * np.square(length + changes @ self.sizes)
        l1 = np.sqrt(np.maximum(squares, 0.0)) * (1 + error)
        l1 += ball.geometry.factor * l1 + self.factor + ROOT_FLOOR
        return np.minimum(np.where(l0 > 0, l0 / l1 * (1 - error), 0.0), ball.radius)
