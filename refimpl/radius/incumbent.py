"""The nearest adversarial points known of one sample, and the ball that they leave to search (E31).

A piece of a target is the convex set {h_i <= 0} that its constraints become once every branching
neuron is fixed: z_r where it is on, 0 where it is off. h >= g, so that a piece's nearest point is
adversarial, and where other neurons are on there than the piece says, the piece that they say is at
least as near.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.ball import Ball, Lines
from refimpl.radius.geometry import Flags, Target
from refimpl.radius.leaf import Multipliers
from refimpl.radius.problem import Problem
from refimpl.radius.relaxation import Relaxations, relax

_POLISHES = 8  # pieces visited one after the other
_NEIGHBOURS = 4  # pieces visited at once that differ in one neuron
_ROUNDS = 12  # of neighbours
_SAFETIES = 1.5, 16.0, 256.0, 4096.0  # rounding errors by which a point is strictly adversarial


class Point(NamedTuple):
    """Adversarial point c = U^T v up to rounding: the minimiser of one target's convex part."""

    v: Array
    problem: Problem
    lines: Lines
    planes: IntArray


class Polished(NamedTuple):
    """The nearest piece known of a target: its neurons, what bounds it, and its point's z."""

    on: Flags
    multipliers: Multipliers
    z: Array


class Incumbent:
    """Adversarial points of one sample, the nearest last; `ball` reaches to the nearest.

    `problems` has each target on all neurons, `polished` the best piece of it that was visited, and
    `accept` has the last word on a point.
    """

    def __init__(
        self, ball: Ball, targets: list[Target], ties: str, accept: Callable[[Point], bool] | None
    ) -> None:
        self.ball, self.ties, self.accept = ball, ties, accept
        self.problems = [Problem.of(i, target, ball) for i, target in enumerate(targets)]
        self.points: list[Point] = []
        self.polished: dict[int, Polished] = {}
        self.visited: set[tuple[int, bytes]] = set()

    def offer(self, point: Point) -> bool:
        """Take an adversarial point as incumbent if it is nearer."""
        distance = self.ball.length(point.v)
        if distance >= self.ball.radius or (self.accept is not None and not self.accept(point)):
            return False
        self.points.append(point)
        self.ball.resize(distance)
        return True

    def point(self, problem: Problem, lines: Lines, found: Relaxations, b: int) -> Point | None:
        """Point of the relaxed minimiser of one node, if adversarial up to rounding.

        With strict ties, if a point beside it is strictly adversarial.
        """
        if not found.feasible[b]:
            return None
        point = Point(found.v[b], problem, lines.take([b]), found.planes[b])
        return point if self.ties == "adversarial" else next(self.inside(point), None)

    def beyond(self, point: Point) -> Array:
        """Multiple of a point by which a constraint falls below 0 by some noise, where it can."""
        target, ball = point.problem.target, self.ball
        noise = float(target.noise(ball.geometry, ball.reach).max())
        level = float(target.values(ball.z).max())
        return point.v * (1 + _SAFETIES[0] * noise / level) if level > noise else point.v

    def inside(self, point: Point) -> Iterator[Point]:
        """Points beside another where every constraint is negative, by more and more of its noise.

        Solvers meet constraints but for some 1e-12, which may be more than the least of these.
        """
        target, pool = point.problem.target, point.problem.pool
        noise = target.noise(self.ball.geometry, self.ball.reach)
        for safety in _SAFETIES:
            shift = safety * noise
            found = relax(self.ball, target, point.lines, pool, [point.planes], None, shift)
            if (target.values(found.z[0]) < 0).all():
                yield point._replace(v=found.v[0])

    def start(self, start: Array) -> None:
        """Polish a point for the target that it is nearest to meeting, and go on from there."""
        z = self.ball.at(start)
        for _ in range(_POLISHES):
            index = int(np.argmin([problem.target.values(z).max() for problem in self.problems]))
            on = z > 0
            z, better = self.visit(self.problems[index], on[None])
            branching = self.problems[index].target.branching
            if (not better and self.points) or np.array_equal(on[branching], (z > 0)[branching]):
                return

    def polish(self, problem: Problem, z: Array) -> None:
        """Move from piece to piece of one target, and to neighbours, while points get nearer."""
        index, target = problem.index, problem.target
        for _ in range(_POLISHES):
            on = z > 0
            key = index, on[target.branching].tobytes()
            if key in self.visited:
                break
            self.visited.add(key)
            z, better = self.visit(problem, on[None])
            if not better and self.points:
                break
        for _ in range(_ROUNDS):
            on = self.neighbours(problem)
            if len(on) == 0 or not self.visit(problem, on)[1]:
                return

    def near(self, problem: Problem) -> Array:
        """Preactivations of the best point known of a target, or of its linear step."""
        if problem.index in self.polished:
            return self.polished[problem.index].z
        z, target = self.ball.z, problem.target
        row = int(target.values(z).argmax())
        q = target.alpha[row] * (z > 0)
        g = q @ self.ball.geometry.U
        step = float(q @ z + target.beta[row]) / (float(g @ g) or 1.0)
        return z - self.ball.geometry.U @ (step * g)

    def visit(self, problem: Problem, on: Flags) -> tuple[Array, bool]:
        """Offer the nearest points of pieces (B,M): the nearest one's z, and if it was taken."""
        return self.survey(problem, on, None)[:2]

    def survey(self, problem: Problem, on: Flags, goal: float | None) -> tuple[Array, bool, Array]:
        """Return what `visit` does, and bounds (B,) of the pieces' distances; see `relax`."""
        lines = self.ball.piece(on)
        planes = [problem.planes] * len(on)
        found = relax(self.ball, problem.target, lines, problem.pool, planes, goal)
        better = False
        for b in np.argsort([self.ball.length(v) for v in found.v]).tolist():
            point = self.point(problem, lines, found, b)
            if point is not None and self.offer(point):
                self.polished[problem.index] = Polished(on[b], found.multipliers(b), found.z[b])
                problem.planes = found.planes[b]
                z, better = found.z[b], True
        return (z if better else found.z[0]), better, found.lower

    def neighbours(self, problem: Problem) -> Flags:
        """Pieces (B,M) one neuron away from the polished one that may be nearer, by its tau."""
        index, target = problem.index, problem.target
        if index not in self.polished:
            return np.zeros((0, len(self.ball.z)), np.bool_)
        on, (w, tau, *_), _ = self.polished[index]
        z, gamma = self.ball.z, w @ target.alpha
        q = gamma * np.where(gamma > 0, tau, on)
        step = np.where(on, -gamma, gamma)
        level = q @ z + w @ target.beta + step * z
        flips = (gamma < 0) & (self.ball.stable == 0)
        distance = np.full(len(z), math.inf)
        distance[flips] = self.ball.distances(q, level, step, flips)
        order = [r for r in np.argsort(distance) if distance[r] < self.ball.radius * (1 - 1e-9)]
        pieces: list[Flags] = []
        for r in order[: 4 * _NEIGHBOURS]:
            flipped = on.copy()
            flipped[r] = not on[r]
            key = index, flipped[target.branching].tobytes()
            if key not in self.visited and len(pieces) < _NEIGHBOURS:
                self.visited.add(key)
                pieces.append(flipped)
        return np.array(pieces, np.bool_).reshape(-1, len(z))
