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
from refimpl.radius.geometry import Flags, Geometry, Target
from refimpl.radius.relaxation import (
    Ball,
    Cuts,
    Lines,
    Multipliers,
    Relaxations,
    probe,
    prove,
    relax,
)

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
    neuron: int = -1  # split, or to split next; -1 where nothing is left to split
    pieces: tuple[int, ...] = ()
    children: list[Node] = field(default_factory=list)  # on, off
    open: Node | None = None  # the part that is left where neurons were fixed in passing

    @property
    def end(self) -> Node:
        """The node itself, or what is left of it."""
        return self if self.open is None else self.open.end

    def inherit(self, parent: Node) -> None:
        """Take the bound of a node that this is a part of, where it is better."""
        if self.lower < parent.lower:
            self.lower, self.multipliers = parent.lower, parent.multipliers


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
        heap = [(tree.end.lower, next(order), tree.end) for tree in trees]
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
            for half in self.split(batch):
                heapq.heappush(heap, (half.end.lower, next(order), half.end))
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
        """Bound both halves of each node; the node's own multipliers hold there too."""
        halves: list[Node] = []
        for index in sorted({node.target for node in nodes}):
            parents = [node for node in nodes if node.target == index for _ in range(2)]
            signs = np.array([node.signs for node in parents])
            neurons = [node.neuron for node in parents]
            signs[np.arange(len(parents)), neurons] = np.resize((1, -1), len(parents))
            found = self.bound(index, signs, [node.cuts for node in parents])
            for parent, half in zip(parents, found, strict=True):
                half.inherit(parent)
                if self.keeps_trees:
                    parent.children.append(half)
            halves += found
        return halves

    @property
    def keeps_trees(self) -> bool:
        """Trees are wanted as proofs, or may be needed for the proof that nothing is reachable."""
        return self.options.keep_trees or not self.points

    def bound(self, index: int, signs: IntArray, cuts: list[IntArray]) -> list[Node]:
        """Bound nodes of one target, and what is left of them once neurons are fixed in passing."""
        target = self.targets[index]
        lines = self.ball.nodes(signs)
        found = relax(self.ball, target, lines, self.pools[index], cuts, self.goal)
        self.nodes += len(signs)
        nodes = [
            Node(index, signs[b], float(found.lower[b]), found.multipliers(b), found.cuts[b])
            for b in range(len(signs))
        ]
        if self.options.ties == "robust":
            self.drop_tied(target, lines.slope, nodes)
        for b in np.flatnonzero(found.feasible):
            point = self.point(index, lines, found, b)
            if point is not None:
                self.offer(point)
            elif not self.is_free(target, lines)[b].any():
                self.close_tied(nodes[b], lines.take([b]))
            found.feasible[b] = point is not None
        left = [
            b for b, node in enumerate(nodes) if node.lower < self.goal and not found.feasible[b]
        ]
        if left:
            self.look_ahead([nodes[b] for b in left], target, lines.take(left), found.take(left))
        return nodes

    @staticmethod
    def is_free(target: Target, lines: Lines) -> Flags:
        """Branching neurons of nodes (B,M) that have no phase yet."""
        return (lines.phase == 0) & target.is_branching

    def look_ahead(
        self, nodes: list[Node], target: Target, lines: Lines, found: Relaxations
    ) -> None:
        """Choose where to split, and fix neurons one half of which the nodes' multipliers exclude."""
        halves, push = probe(self.ball, target, lines, found)
        free = self.is_free(target, lines)
        gain = np.clip(halves, 0.0, self.goal) - found.lower[:, None]
        score = np.maximum(gain, 1e-6 * self.goal).prod(axis=0)
        for node, neuron, any_free in zip(
            nodes, np.where(free, score, -1.0).argmax(axis=1), free.any(axis=1), strict=True
        ):
            node.neuron = int(neuron) if any_free else -1
        half, row, neuron = np.nonzero((halves >= self.goal) & free)
        if len(row) == 0:
            return
        signs = lines.signs[row]
        signs[np.arange(len(row)), neuron] = 1 - 2 * half
        w, tau, nu = found.weights[row], found.tau[row], found.nu[row]
        nu[np.arange(len(row)), neuron] = push[half, row, neuron]
        lower = prove(self.ball, target, self.ball.nodes(signs), w, tau, nu)
        fixed: dict[int, dict[int, Node]] = {}
        for i in np.flatnonzero(lower >= self.goal):
            node = nodes[row[i]]
            leaf = Node(
                node.target, signs[i], float(lower[i]), Multipliers(w[i], tau[i], nu[i]), node.cuts
            )
            fixed.setdefault(int(row[i]), {})[int(neuron[i])] = leaf
        self.fix([nodes[b] for b in fixed], list(fixed.values()))

    def fix(self, nodes: list[Node], excluded: list[dict[int, Node]]) -> None:
        """Bound what is left of nodes when halves that neurons would split off are excluded."""
        if not nodes:
            return
        signs = np.array([node.signs for node in nodes])
        for row, leaves in zip(signs, excluded, strict=True):
            for neuron, leaf in leaves.items():
                row[neuron] = -leaf.signs[neuron]
        rest = self.bound(nodes[0].target, signs, [node.cuts for node in nodes])
        for node, leaves, left in zip(nodes, excluded, rest, strict=True):
            left.inherit(node)
            node.open = left
            if self.keeps_trees:
                chain(node, leaves, left)

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

    def choose(self, nodes: list[Node], target: Target, lines: Lines, found: Relaxations) -> None:
        """Choose the neurons that nodes are to be split at: where both halves gain most."""
        halves, push = probe(self.ball, target, lines, found)
        gain = np.clip(halves, 0.0, self.goal) - found.lower[:, None]
        score = np.maximum(gain, 1e-6 * self.goal).prod(axis=0)
        free = (lines.phase == 0) & target.is_branching
        chosen = np.where(free, score, -1.0).argmax(axis=1)
        for b, (node, neuron) in enumerate(zip(nodes, chosen, strict=True)):
            if free[b, neuron]:
                node.neuron, node.push = int(neuron), (push[0, b, neuron], push[1, b, neuron])

    def drop_tied(self, target: Target, slope: Array, nodes: list[Node]) -> None:
        """Strict ties: a node is empty where a constraint has beta_i >= 0 and only ReLUs off below."""
        tied = (target.beta >= 0) & ~((slope > 0) @ (target.alpha < 0).T)
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


def chain(node: Node, excluded: dict[int, Node], left: Node) -> None:
    """Link a node to what is left of it by splits, each with one half excluded."""
    for position, (neuron, leaf) in enumerate(excluded.items()):
        rest = left
        if position < len(excluded) - 1:
            rest = Node(node.target, node.signs, node.lower, node.multipliers, node.cuts)
        node.neuron = neuron
        node.children = [leaf, rest] if leaf.signs[neuron] > 0 else [rest, leaf]
        node = rest
