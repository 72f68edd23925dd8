"""Branch and bound over the phases of branching neurons, best bound first, for one sample (E31)."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.radius.ball import Ball, Lines
from refimpl.radius.fast import FEW, subsets
from refimpl.radius.geometry import Geometry, Target
from refimpl.radius.leaf import Multipliers, probe, prove
from refimpl.radius.relaxation import Cuts, Relaxations, relax
from refimpl.radius.tree import Node

# None of these changes what is true of the results, only how fast they come.
_BATCH = 16  # nodes split at a time
_POLISHES = 8  # pieces tried for a first incumbent
_GROWTH = (4.0, 2.0**12, 2.0**24)  # search radii where no adversarial point is known
_GAIN = 1e-6  # of the goal: the least gain that a half counts with in the choice of a neuron
_CLOSE = 1e-6  # relative: an incumbent that is nearer to stop_at decides nothing yet
_TIED = 2.0**-20  # relative: by how much a part without strict points is asked for them

# Multipliers near the given ones that prove, exactly, that a part of a target's set is empty.
Prover = Callable[[int, IntArray, Multipliers], Multipliers | None]


class Options(NamedTuple):
    """What ends the search: see `robust_radius`."""

    ties: str
    tol: float
    max_nodes: int
    time_limit: float
    stop_at: float
    certificates: bool


class Point(NamedTuple):
    """Adversarial point c = U^T v up to rounding: the minimiser of one target's convex part."""

    v: Array
    target: int
    lines: Lines
    cuts: IntArray


class Search:
    """The search for one sample that is classified correctly."""

    def __init__(
        self,
        geometry: Geometry,
        targets: list[Target],
        z: Array,
        size: Array,
        x_norm: float,
        options: Options,
        prove_empty: Prover,
        accept: Callable[[Point], bool] | None = None,
    ) -> None:
        self.targets, self.options, self.prove_empty = targets, options, prove_empty
        self.accept = accept
        # Where nothing else is known, a few times the largest length in sight.
        norms = np.where(geometry.norms > 0, geometry.norms, math.inf)
        slopes = [np.abs(target.alpha) @ geometry.norms for target in targets]
        values = [np.abs(target.values(z)) for target in targets]
        lengths = [v / np.where(s > 0, s, math.inf) for v, s in zip(values, slopes, strict=True)]
        self.length = (x_norm + float((np.abs(z) / norms).max() + np.max(lengths))) or 1.0
        self.ball = Ball(geometry, z, size, self.length)
        self.pools = [Cuts(target, z) for target in targets]
        self.cuts = [pool.first for pool in self.pools]
        self.points: list[Point] = []  # the nearest last
        self.polished: dict[int, Multipliers] = {}
        self.nodes = 0
        self.least = math.inf  # bound of the leaves that are not in the heap
        self.deadline = time.monotonic() + options.time_limit

    def run(self, start: Array) -> tuple[float, list[Node]]:
        """Search from the point U^T start: a lower bound, and the trees that prove it.

        Every exploration proves its own bound, whatever the ball: the least of its radius and of
        the bounds of its leaves. The best one counts.
        """
        best = 0.0
        for growth in _GROWTH:
            self.ball.resize(growth * self.length)
            self.polish(start)
            lower, trees = self.explore()
            if self.points and growth > _GROWTH[0]:  # found with the noise of a ball far too large
                far = self.points.copy()
                self.points.clear()
                self.ball.resize(2 * self.ball.radius)
                lower, trees = self.explore()
                self.points = far + self.points
            if lower >= best:
                best, best_trees = lower, trees
            if self.points or lower < self.ball.radius:
                break
        return best, best_trees

    @property
    def goal(self) -> float:
        """A node is done with when its bound reaches this."""
        enough = math.nextafter(self.options.stop_at, math.inf)
        return min(self.ball.radius * (1 - self.options.tol / 2), enough)

    @property
    def keeps_trees(self) -> bool:
        """Trees are wanted as proofs, or may be needed for the proof that nothing is reachable."""
        return self.options.certificates or not self.points

    def exhausted(self) -> bool:
        """Tell whether the search is out of nodes or of time."""
        return self.nodes + 2 > self.options.max_nodes or time.monotonic() > self.deadline

    def decided(self) -> bool:
        """Tell whether an adversarial point well within `stop_at` is known."""
        stop_at = self.options.stop_at
        return bool(self.points) and self.ball.radius * (1 + _CLOSE) < stop_at < math.inf

    def offer(self, point: Point) -> bool:
        """Take an adversarial point as incumbent if it is nearer."""
        distance = float(np.linalg.norm(point.v @ self.ball.geometry.U))
        if distance >= self.ball.radius or (self.accept is not None and not self.accept(point)):
            return False
        self.points.append(point)
        self.ball.resize(distance)
        return True

    def point(self, index: int, lines: Lines, found: Relaxations, b: int) -> Point | None:
        """Point of the relaxed minimiser of one node, if adversarial up to rounding.

        With strict ties, if a point beside it is strictly adversarial.
        """
        if not found.feasible[b]:
            return None
        point = Point(found.v[b], index, lines.take([b]), found.cuts[b])
        return point if self.options.ties == "adversarial" else self.within(point, 1.5)

    def within(self, point: Point, safety: float) -> Point | None:
        """Point beside another where every constraint is negative, by a multiple of its noise."""
        target, pool = self.targets[point.target], self.pools[point.target]
        shift = safety * target.noise(self.ball.geometry, self.ball.reach)
        found = relax(self.ball, target, point.lines, pool, [point.cuts], math.inf, shift)
        inside = (target.values(found.z[0]) < 0).all()
        return point._replace(v=found.v[0]) if inside else None

    def polish(self, start: Array) -> None:
        """Move to the nearest point of the piece that the point is in, until the piece stays."""
        z = self.ball.z + self.ball.geometry.U @ (start @ self.ball.geometry.U)
        for _ in range(_POLISHES):
            index = int(np.argmin([target.values(z).max() for target in self.targets]))
            target, pool, on = self.targets[index], self.pools[index], z > 0
            lines = self.ball.piece(on)
            found = relax(self.ball, target, lines, pool, [self.cuts[index]], math.inf)
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
        self.least = math.inf
        trees = [self.root(index) for index in range(len(self.targets))]
        order = itertools.count()
        heap = [(tree.end.lower, next(order), tree.end) for tree in trees]
        heapq.heapify(heap)
        while heap and heap[0][0] < self.goal and not self.exhausted() and not self.decided():
            batch: list[Node] = []
            room = min(_BATCH, (self.options.max_nodes - self.nodes) // 2)
            while heap and len(batch) < room and heap[0][0] < self.goal:
                node = heapq.heappop(heap)[2]
                if node.neuron < 0:
                    self.close(node)
                else:
                    batch.append(node)
            for half in self.split(batch):
                heapq.heappush(heap, (half.end.lower, next(order), half.end))
        return min(self.least, self.ball.radius, heap[0][0] if heap else math.inf), trees

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

    def all_pieces(self, index: int, signs: IntArray, multipliers: Multipliers) -> Node | None:
        """Close a target by bounding all of its pieces with the same multipliers (E31)."""
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
        return Node(index, signs, lower, leaf, self.cuts[index], pieces=tuple(pieces.tolist()))

    def split(self, nodes: list[Node]) -> list[Node]:
        """Bound both halves of each node."""
        halves: list[Node] = []
        for index in sorted({node.target for node in nodes}):
            parents = [node for node in nodes if node.target == index for _ in range(2)]
            signs = np.array([node.signs for node in parents])
            neurons = [node.neuron for node in parents]
            signs[np.arange(len(parents)), neurons] = np.resize((1, -1), len(parents))
            self.nodes += len(parents)
            found = self.bound(index, signs, [node.cuts for node in parents])
            for parent, half in zip(parents, found, strict=True):
                half.inherit(parent)
            if self.keeps_trees:
                for parent, on, off in zip(parents[::2], found[::2], found[1::2], strict=True):
                    parent.children = on, off
            halves += found
        return halves

    def bound(self, index: int, signs: IntArray, cuts: list[IntArray]) -> list[Node]:
        """Bound nodes of one target, given by their signs (B,M), and what is left of them.

        Of a node, halves that neurons would split off are excluded as long as there are any.
        """
        nodes, excluded = self.bound_once(index, signs, cuts)
        while excluded and self.nodes + len(excluded) <= self.options.max_nodes:
            self.nodes += len(excluded)
            signs = np.array([node.signs for node in excluded])
            for row, leaves in zip(signs, excluded.values(), strict=True):
                for leaf in leaves:
                    row[leaf.neuron] = -leaf.signs[leaf.neuron]
            rests, more = self.bound_once(index, signs, [node.cuts for node in excluded])
            for (node, leaves), rest in zip(excluded.items(), rests, strict=True):
                rest.inherit(node)
                node.rest = rest
                if self.keeps_trees:
                    node.excluded = tuple(leaves)
            excluded = more
        return nodes

    def bound_once(
        self, index: int, signs: IntArray, cuts: list[IntArray]
    ) -> tuple[list[Node], dict[Node, list[Node]]]:
        """Bound nodes by their relaxations, and look ahead: the halves that are excluded."""
        target = self.targets[index]
        lines = self.ball.nodes(signs)
        found = relax(self.ball, target, lines, self.pools[index], cuts, self.goal)
        nodes = [
            Node(index, signs[b], float(found.lower[b]), found.multipliers(b), found.cuts[b])
            for b in range(len(signs))
        ]
        if self.options.ties == "robust":
            self.drop_tied(target, lines.slope, nodes)
        left = []
        for b, node in enumerate(nodes):
            point = self.point(index, lines, found, b)
            if point is not None and self.offer(point):
                continue
            if node.lower < self.goal:
                left.append(b)
        if not left:
            return nodes, {}
        return nodes, self.look_ahead([nodes[b] for b in left], lines.take(left), found.take(left))

    def look_ahead(
        self, nodes: list[Node], lines: Lines, found: Relaxations
    ) -> dict[Node, list[Node]]:
        """Choose where to split nodes, and find halves that their multipliers exclude."""
        target = self.targets[nodes[0].target]
        _, w, tau, nu, *_ = found
        halves, push = probe(self.ball, target, lines, w, tau, nu)
        free = (lines.phase == 0) & target.is_branching
        gain = np.clip(halves, 0.0, self.goal) - found.lower[:, None]
        score = np.where(free, np.maximum(gain, _GAIN * self.goal).prod(axis=0), -1.0)
        for b, node in enumerate(nodes):
            node.neuron = int(score[b].argmax()) if free[b].any() else -1
        half, row, neuron = np.nonzero((halves >= self.goal) & free)
        signs, w, tau, nu = lines.signs[row], w[row], tau[row], nu[row]
        each = np.arange(len(row))
        signs[each, neuron] = 1 - 2 * half
        nu[each, neuron] = push[half, row, neuron]
        lower = prove(self.ball, target, self.ball.nodes(signs), w, tau, nu)
        excluded: dict[Node, dict[int, Node]] = {}
        for i in np.flatnonzero(lower >= self.goal):
            node, r = nodes[row[i]], int(neuron[i])
            leaf = Node(
                node.target,
                signs[i],
                float(lower[i]),
                Multipliers(w[i], tau[i], nu[i]),
                node.cuts,
                r,
            )
            self.least = min(self.least, leaf.lower)
            excluded.setdefault(node, {})[r] = leaf  # of both halves one is enough
        return {node: list(leaves.values()) for node, leaves in excluded.items()}

    def drop_tied(self, target: Target, slope: Array, nodes: list[Node]) -> None:
        """Strict ties: a node is empty where some beta_i >= 0 and all that lowers g_i is off."""
        tied = (target.beta >= 0) & ~((slope > 0) @ (target.alpha < 0).T)
        for b in np.flatnonzero(tied.any(axis=1)):
            w = np.eye(len(target.beta))[np.argmax(tied[b])]
            nodes[b].lower = math.inf
            nodes[b].multipliers = Multipliers(w, *np.zeros((2, slope.shape[1])))

    def close(self, node: Node) -> None:
        """Take the bound of a node with nothing left to split: rounding keeps it from the goal.

        Strict ties: or its nearest point is but a tie, and it may be possible to prove it empty.
        """
        if self.options.ties == "robust":
            target, pool = self.targets[node.target], self.pools[node.target]
            lines = self.ball.nodes(node.signs[None])
            shift = _TIED * (target.size @ self.ball.reach + target.constant)
            shift[shift == 0] = 1.0
            found = relax(self.ball, target, lines, pool, [node.cuts], math.inf, shift)
            proof = self.prove_empty(node.target, node.signs, found.multipliers(0))
            if proof is not None:
                node.lower, node.multipliers = math.inf, proof
        self.least = min(self.least, node.lower)
