"""Branch and bound over the phases of branching neurons, best bound first, for one sample (E31)."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.radius.fast import FEW, subsets
from refimpl.radius.geometry import Geometry, Target
from refimpl.radius.relaxation import Ball, Cuts, Lines, Multipliers, Relaxations, relax

_BATCH = 16  # nodes split at a time
_POLISHES = 8
_GROWTH = (4.0, 2.0**12, 2.0**24)  # search radii where no adversarial point is known


class Options(NamedTuple):
    """What ends the search: see `robust_radius`."""

    ties: str
    tol: float
    max_nodes: int
    time_limit: float
    stop_at: float
    keep_trees: bool


@dataclass(eq=False)
class Node:
    """A part of one target's set: bounded below, and split in two unless it is a leaf.

    A leaf with `pieces` stands for the full tree over these neurons, each leaf with its multipliers.
    """

    target: int
    signs: IntArray
    lower: float
    multipliers: Multipliers
    cuts: IntArray
    neuron: int = -1  # to split next; -1 where nothing is left to split
    pieces: tuple[int, ...] = ()
    children: list[Node] = field(default_factory=list)


class Point(NamedTuple):
    """Adversarial point c = U^T v up to rounding: the minimiser of one target's convex part."""

    v: Array
    target: int
    lines: Lines
    cuts: IntArray


# Multipliers near the given ones that prove, exactly, that a part of a target's set is empty.
Prover = Callable[[int, IntArray, Multipliers], Multipliers | None]


class Search:
    """The search for one sample that is classified correctly."""

    def __init__(
        self,
        geometry: Geometry,
        targets: list[Target],
        z: Array,
        x_norm: float,
        options: Options,
        prove_empty: Prover,
    ) -> None:
        self.targets, self.options, self.prove_empty = targets, options, prove_empty
        # Where nothing else is known, a few times the largest length in sight.
        size = np.where(geometry.norms > 0, geometry.norms, math.inf)
        self.length = x_norm + float((np.abs(z) / size).max()) or 1.0
        self.ball = Ball(geometry, z, x_norm, _GROWTH[0] * self.length)
        self.pools = [Cuts(target, z) for target in targets]
        self.cuts = [pool.first for pool in self.pools]
        self.points: list[Point] = []  # the nearest last
        self.polished: dict[int, Multipliers] = {}
        self.nodes = 0
        self.deadline = time.monotonic() + options.time_limit

    def run(self, start: Array) -> tuple[float, list[Node]]:
        """Search from the point U^T start: a lower bound, and the trees that prove it."""
        for growth in _GROWTH:
            self.ball.shrink(growth * self.length)
            self.polish(start)
            lower, trees = self.explore()
            if self.points and growth > _GROWTH[0]:  # found with the noise of a ball far too large
                self.points.clear()
                self.ball.shrink(2 * self.ball.radius)
                lower, trees = self.explore()
            if self.points or lower < self.ball.radius or self.exhausted():
                break
        return lower, trees

    @property
    def goal(self) -> float:
        """A node is done with when its bound reaches this."""
        enough = math.nextafter(self.options.stop_at, math.inf)
        return min(self.ball.radius * (1 - self.options.tol / 2), enough)

    def exhausted(self) -> bool:
        """Out of nodes or of time."""
        return self.nodes >= self.options.max_nodes or time.monotonic() > self.deadline

    def decided(self) -> bool:
        """An adversarial point well within `stop_at` is known."""
        stop_at = self.options.stop_at
        return bool(self.points) and self.ball.radius * (1 + 1e-6) < stop_at < math.inf

    def offer(self, point: Point) -> bool:
        """Take an adversarial point as incumbent if it is nearer."""
        distance = float(np.linalg.norm(point.v @ self.ball.geometry.U))
        if distance >= self.ball.radius:
            return False
        self.points.append(point)
        self.ball.shrink(distance)
        return True

    def point(self, index: int, lines: Lines, found: Relaxations, b: int) -> Point | None:
        """Point of the relaxed minimiser of one node, if it is adversarial under the ties' rule."""
        if not found.feasible[b]:
            return None
        point = Point(found.v[b], index, lines.take([b]), found.cuts[b])
        return point if self.options.ties == "adversarial" else self.within(point, 1.5)

    def within(self, point: Point, safety: float) -> Point | None:
        """Point beside another where every constraint is negative, by a multiple of its noise."""
        target, pool = self.targets[point.target], self.pools[point.target]
        shift = safety * target.noise(self.ball.geometry, self.ball.reach)
        found = relax(self.ball, target, point.lines, pool, [point.cuts], math.inf, shift)
        inside = found.feasible[0] and (target.values(found.z[0]) < 0).all()
        return point._replace(v=found.v[0]) if inside else None

    def target_at(self, z: Array) -> int:
        """Target that preactivations z (M,) are in, or nearest to."""
        return int(np.argmin([target.values(z).max() for target in self.targets]))

    def polish(self, start: Array) -> None:
        """Move to the nearest point of the piece that the point is in, until the piece stays."""
        z = self.ball.z + self.ball.geometry.U @ (start @ self.ball.geometry.U)
        for _ in range(_POLISHES):
            index, on = self.target_at(z), z > 0
            target, pool, cuts = self.targets[index], self.pools[index], self.cuts[index]
            lines = self.ball.piece(on)
            found = relax(self.ball, target, lines, pool, [cuts], math.inf)
            self.nodes += 1
            z = found.z[0]
            point = self.point(index, lines, found, 0)
            if point is not None and self.offer(point):
                self.polished[index] = found.multipliers(0)
                self.cuts[index] = found.cuts[0]
            elif self.points:
                return
            if np.array_equal(on[target.branching], (z > 0)[target.branching]):
                return

    def explore(self) -> tuple[float, list[Node]]:
        """Branch and bound from scratch within the present ball."""
        trees = [self.root(index) for index in range(len(self.targets))]
        order = itertools.count()
        heap = [(tree.lower, next(order), tree) for tree in trees]
        heapq.heapify(heap)
        closed = math.inf
        while heap and heap[0][0] < self.goal and not self.exhausted() and not self.decided():
            batch: list[Node] = []
            while heap and len(batch) < _BATCH and heap[0][0] < self.goal:
                node = heapq.heappop(heap)[2]
                if node.neuron < 0:  # nothing left to split: rounding keeps it from the goal
                    closed = min(closed, node.lower)
                else:
                    batch.append(node)
            for child in self.split(batch):
                heapq.heappush(heap, (child.lower, next(order), child))
        return min(closed, self.ball.radius, heap[0][0] if heap else math.inf), trees

    def root(self, index: int) -> Node:
        """Bound a whole target, by all of its pieces where they are few."""
        signs = np.zeros(len(self.ball.z), np.int64)
        known = self.polished.get(index)
        if known is not None and (node := self.all_pieces(index, signs, known)) is not None:
            return node
        node = self.bound(index, signs[None], [self.cuts[index]])[0]
        if node.lower >= self.goal or not self.points:
            return node
        return self.all_pieces(index, signs, node.multipliers) or node

    def split(self, nodes: list[Node]) -> list[Node]:
        """Bound both halves of each node; a node's own multipliers hold on its halves too."""
        children = []
        for index in sorted({node.target for node in nodes}):
            parents = [node for node in nodes if node.target == index for _ in range(2)]
            signs = np.array([node.signs for node in parents])
            neurons = [node.neuron for node in parents]
            signs[np.arange(len(parents)), neurons] = np.resize((1, -1), len(parents))
            halves = self.bound(index, signs, [node.cuts for node in parents])
            for parent, half in zip(parents, halves, strict=True):
                if parent.lower > half.lower:
                    half.lower, half.multipliers = parent.lower, parent.multipliers
                if self.options.keep_trees or not self.points:
                    parent.children.append(half)
            children += halves
        return children

    def bound(self, index: int, signs: IntArray, cuts: list[IntArray]) -> list[Node]:
        """Bound nodes of one target, and learn from their relaxed minimisers."""
        self.nodes += len(signs)
        target = self.targets[index]
        lines = self.ball.nodes(signs)
        found = relax(self.ball, target, lines, self.pools[index], cuts, self.goal)
        nodes = []
        for b in range(len(signs)):
            multipliers, lower = found.multipliers(b), float(found.lower[b])
            node = Node(index, signs[b], lower, multipliers, found.cuts[b])
            point = self.point(index, lines, found, b)
            if point is not None:
                self.offer(point)
            else:
                node.neuron = self.to_split(target, lines.phase[b], found.loss[b])
            if point is None and node.neuron < 0 and found.feasible[b]:
                self.close_tied(node, lines.take([b]))
            nodes.append(node)
        if self.options.ties == "robust":
            self.drop_tied(target, lines.slope, nodes)
        return nodes

    def close_tied(self, node: Node, lines: Lines) -> None:
        """Strict ties: try to prove a convex part empty where its nearest point is but a tie."""
        target = self.targets[node.target]
        shift = 2.0**-20 * (target.size @ self.ball.reach + target.constant)
        shift[shift == 0] = 1.0
        found = relax(
            self.ball, target, lines, self.pools[node.target], [node.cuts], math.inf, shift
        )
        proof = self.prove_empty(node.target, node.signs, found.multipliers(0))
        if proof is not None:
            node.lower, node.multipliers = math.inf, proof

    @staticmethod
    def to_split(target: Target, phase: IntArray, loss: Array) -> int:
        """Free branching neuron whose chord costs most, or any; -1 where all are fixed."""
        free = target.branching[phase[target.branching] == 0]
        return int(free[np.argmax(loss[free])]) if len(free) else -1

    def drop_tied(self, target: Target, slope: Array, nodes: list[Node]) -> None:
        """Strict ties: a node is empty where a constraint has beta_i >= 0 and only ReLUs off below."""
        tied = (target.beta >= 0) & ~((slope > 0) @ (target.negative < 0).T)
        for b in np.flatnonzero(tied.any(axis=1)):
            w = np.eye(len(target.beta))[np.argmax(tied[b])]
            nodes[b].lower, nodes[b].neuron = math.inf, -1
            nodes[b].multipliers = Multipliers(w, *np.zeros((2, slope.shape[1])))

    def all_pieces(self, index: int, signs: IntArray, multipliers: Multipliers) -> Node | None:
        """Close a target by bounding every piece with the same multipliers, if they are few (E31)."""
        target = self.targets[index]
        w, tau, nu = multipliers
        gamma = w @ target.alpha
        pieces = np.flatnonzero((gamma < 0) & (self.ball.stable == 0))
        if len(pieces) > FEW:
            return None
        q = np.repeat([gamma * np.where(gamma > 0, tau, self.ball.stable > 0)], 2 ** len(pieces), 0)
        q[:, pieces] = subsets(len(pieces)) * gamma[pieces]
        lower = float(self.ball.lower(target, w, q, w @ target.beta).min())
        if lower < self.goal:
            return None
        leaf = Multipliers(w, tau, np.zeros_like(nu))
        return Node(
            index, signs, lower, leaf, self.pools[index].first, pieces=tuple(pieces.tolist())
        )
