"""Branch and bound over the phases of branching neurons, best bound first, for one sample (E31)."""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.radius import narrowing
from refimpl.radius.ball import Ball, Lines
from refimpl.radius.fast import FEW, subsets
from refimpl.radius.geometry import Geometry, Target
from refimpl.radius.incumbent import Incumbent, Point
from refimpl.radius.leaf import Multipliers, probe, prove
from refimpl.radius.narrowing import Narrowing
from refimpl.radius.relaxation import Relaxations, relax
from refimpl.radius.tree import Node

# None of these changes what is true of the results, only how fast they come.
_BATCH = 16  # nodes split at a time
_GROWTH = (4.0, 2.0**12, 2.0**24)  # search radii where no adversarial point is known
_GAIN = 1e-6  # of the goal: the least gain that a half counts with in the choice of a neuron
_CLOSE = 1e-6  # relative: an incumbent that is nearer to stop_at decides nothing yet
_PAYS = 0.8  # of the chords' losses: narrowing is worth another relaxation where it leaves less
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


class Rest(NamedTuple):
    """What is left of a node: signs and intervals, after excluded halves and a narrowing step."""

    signs: IntArray
    lo: Array
    up: Array
    planes: IntArray
    excluded: tuple[Node, ...]
    narrowing: Narrowing | None


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
        self.options, self.prove_empty = options, prove_empty
        self.length = _length(geometry, targets, z, x_norm)
        self.ball, self.targets = Ball(geometry, z, size, self.length), targets
        self.incumbent = Incumbent(self.ball, targets, options.ties, accept)
        self.nodes = 0
        self.least = math.inf  # bound of the leaves that are not in the heap
        self.deadline = time.monotonic() + options.time_limit

    def run(self, start: Array) -> tuple[float, list[Node]]:
        """Search from the point U^T start: a lower bound, and the trees that prove it.

        Every exploration proves its own bound, whatever the ball: the least of its radius and of
        the bounds of its leaves. The best one counts.
        """
        best, incumbent = 0.0, self.incumbent
        for growth in _GROWTH:
            self.ball.resize(growth * self.length)
            incumbent.start(start)
            lower, trees = self.explore()
            if incumbent.points and growth > _GROWTH[0]:  # found with the noise of a ball too large
                far = incumbent.points.copy()
                incumbent.points.clear()
                self.ball.resize(2 * self.ball.radius)
                lower, trees = self.explore()
                incumbent.points = far + incumbent.points
            if lower >= best:
                best, best_trees = lower, trees
            if incumbent.points or lower < self.ball.radius:
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
        return self.options.certificates or not self.incumbent.points

    def late(self) -> bool:
        """Tell whether the search is out of time."""
        return time.monotonic() > self.deadline

    def exhausted(self) -> bool:
        """Tell whether the search is out of nodes or of time."""
        return self.nodes + 2 > self.options.max_nodes or self.late()

    def decided(self) -> bool:
        """Tell whether an adversarial point well within `stop_at` is known."""
        stop_at = self.options.stop_at
        return bool(self.incumbent.points) and self.ball.radius * (1 + _CLOSE) < stop_at < math.inf

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
        ball, incumbent = self.ball, self.incumbent
        known = incumbent.polished.get(index)
        if known is not None and (node := self.all_pieces(index, known[1])) is not None:
            return node
        signs = np.zeros((1, len(ball.z)), np.int64)
        whole = ball.lo[None], ball.up[None]
        node = self.bound(index, signs, *whole, [incumbent.planes[index]])[0]
        if node.lower >= self.goal or not incumbent.points:
            return node
        return self.all_pieces(index, node.multipliers) or node

    def all_pieces(self, index: int, multipliers: Multipliers) -> Node | None:
        """Close a target by bounding all of its pieces with the same multipliers (E31)."""
        target, ball = self.targets[index], self.ball
        w, tau, nu, *_ = multipliers
        gamma = w @ target.alpha
        pieces = np.flatnonzero((gamma < 0) & (ball.stable == 0))
        if len(pieces) > FEW:
            return None
        q = np.repeat([gamma * np.where(gamma > 0, tau, ball.stable > 0)], 2 ** len(pieces), 0)
        q[:, pieces] = subsets(len(pieces)) * gamma[pieces]
        lower = float(ball.lower(target, w, q, w @ target.beta).min())
        if lower < self.goal:
            return None
        leaf, signs = Multipliers(w, tau, np.zeros_like(nu)), np.zeros(len(ball.z), np.int64)
        planes, split = self.incumbent.planes[index], tuple(pieces.tolist())
        return Node(index, signs, ball.lo, ball.up, lower, leaf, planes, pieces=split)

    def split(self, nodes: list[Node]) -> list[Node]:
        """Bound both halves of each node."""
        halves: list[Node] = []
        for index in sorted({node.target for node in nodes}):
            parents = [node for node in nodes if node.target == index for _ in range(2)]
            signs, lo, up, planes = _columns(parents)
            neurons = [node.neuron for node in parents]
            signs[np.arange(len(parents)), neurons] = np.resize((1, -1), len(parents))
            self.nodes += len(parents)
            found = self.bound(index, signs, lo, up, planes)
            for parent, half in zip(parents, found, strict=True):
                half.end.lower = max(half.end.lower, parent.lower)
            if self.keeps_trees:
                for parent, on, off in zip(parents[::2], found[::2], found[1::2], strict=True):
                    parent.children = on, off
            halves += found
        return halves

    def bound(
        self, index: int, signs: IntArray, lo: Array, up: Array, planes: list[IntArray]
    ) -> list[Node]:
        """Bound nodes of one target, given by signs and intervals (B,M), and what is left of them.

        Of a node, halves that neurons would split off are excluded, and its intervals narrowed, as
        long as that pays.
        """
        nodes, rests = self.bound_once(index, signs, lo, up, planes)
        while rests and self.nodes + len(rests) <= self.options.max_nodes and not self.late():
            self.nodes += len(rests)
            found, more = self.bound_once(index, *_columns(list(rests.values())))
            for (node, rest), end in zip(rests.items(), found, strict=True):
                end.lower = max(end.lower, node.lower)
                node.rest = end
                if self.keeps_trees:
                    node.excluded, node.narrowing = rest.excluded, rest.narrowing
            rests = more
        return nodes

    def bound_once(
        self, index: int, signs: IntArray, lo: Array, up: Array, planes: list[IntArray]
    ) -> tuple[list[Node], dict[Node, Rest]]:
        """Bound nodes by their relaxations, and look ahead: what is left of those still open."""
        target, incumbent = self.targets[index], self.incumbent
        lines = self.ball.nodes(signs, lo, up)
        found = relax(self.ball, target, lines, incumbent.pools[index], planes, self.goal)
        nodes = [
            Node(
                *(index, signs[b], lo[b], up[b]),
                *(float(found.lower[b]), found.multipliers(b), found.planes[b]),
            )
            for b in range(len(signs))
        ]
        for i in np.flatnonzero(narrowing.contradictory(lo, up)):
            nodes[i].lower = nodes[i].proved = math.inf
        if self.options.ties == "robust":
            self.drop_tied(target, lines.slope, nodes)
        left: list[int] = []
        for b, node in enumerate(nodes):
            point = incumbent.point(index, lines, found, b)
            if point is not None and incumbent.offer(point):
                continue
            if node.lower < self.goal:
                left.append(b)
                if incumbent.points and not signs.any():
                    incumbent.polish(index, found.z[b])
        if not left:
            return nodes, {}
        return nodes, self.look_ahead([nodes[b] for b in left], lines.take(left), found.take(left))

    def look_ahead(self, nodes: list[Node], lines: Lines, found: Relaxations) -> dict[Node, Rest]:
        """Choose where to split nodes; find halves that are empty, and narrow the intervals."""
        target = self.targets[nodes[0].target]
        _, w, tau, nu, *_ = found
        halves, push = probe(self.ball, target, lines, w, tau, nu)
        free = (lines.phase == 0) & target.is_branching
        gain = np.clip(halves, 0.0, self.goal) - found.lower[:, None]
        score = np.where(free, np.maximum(gain, _GAIN * self.goal).prod(axis=0), -1.0)
        for b, node in enumerate(nodes):
            node.neuron = int(score[b].argmax()) if free[b].any() else -1
        excluded = [self.forced(node, lines.phase[b], found.z[b]) for b, node in enumerate(nodes)]
        _, lo, up, _ = _columns(nodes)
        half, row, neuron = np.nonzero((halves >= self.goal) & free)
        signs, w, tau, nu = lines.signs[row], w[row], tau[row], nu[row]
        each = np.arange(len(row))
        signs[each, neuron] = 1 - 2 * half
        nu[each, neuron] = push[half, row, neuron]
        lower = prove(self.ball, target, self.ball.nodes(signs, lo[row], up[row]), w, tau, nu)
        for i in np.flatnonzero(lower >= self.goal):
            node, r = nodes[row[i]], int(neuron[i])
            leaf = replace(
                node,
                signs=signs[i],
                lower=float(lower[i]),
                neuron=r,
                multipliers=Multipliers(w[i], tau[i], nu[i]),
            )
            self.least = min(self.least, leaf.lower)
            excluded[row[i]][r] = leaf  # of both halves one is enough
        return self.narrow(nodes, found, excluded)

    def forced(self, node: Node, phase: IntArray, z: Array) -> dict[int, Node]:
        """Halves that intervals exclude and the relaxed minimiser is in, by their neurons."""
        branching = self.targets[node.target].is_branching
        wrong = (phase * z < 0) & (node.signs == 0) & (self.ball.stable == 0) & branching
        halves = {}
        for r in np.flatnonzero(wrong).tolist():
            signs = node.signs.copy()
            signs[r] = -phase[r]
            halves[r] = replace(node, signs=signs, lower=math.inf, neuron=r)
        return halves

    def narrow(
        self, nodes: list[Node], found: Relaxations, excluded: list[dict[int, Node]]
    ) -> dict[Node, Rest]:
        """Take the excluded halves off nodes, and cut their intervals where it pays."""
        target, ball = self.targets[nodes[0].target], self.ball
        signs, lo, up, _ = _columns(nodes)
        for row, leaves in zip(signs, excluded, strict=True):
            for r, leaf in leaves.items():
                row[r] = -leaf.signs[r]
        lo, up = np.maximum(lo, ball.lo), np.minimum(up, ball.up)
        lines = ball.nodes(signs, lo, up)
        cut = None
        if self.incumbent.points:
            cut = narrowing.affine(ball, target, lines, lo, up, *found[1:4])
            before = narrowing.losses(target, lo, up, lines.phase)
            after = narrowing.losses(target, cut.lo, cut.up, ball.nodes(signs, *cut[:2]).phase)
            pays = (after < _PAYS * before) | narrowing.contradictory(*cut[:2])
        rests = {}
        for b, node in enumerate(nodes):
            halves = tuple(excluded[b].values())
            if cut is not None and pays[b]:
                step = narrowing.step(cut, lo[b], up[b], b, found.multipliers(b))
                rests[node] = Rest(signs[b], cut.lo[b], cut.up[b], node.planes, halves, step)
            elif halves:
                rests[node] = Rest(signs[b], lo[b], up[b], node.planes, halves, None)
        return rests

    def drop_tied(self, target: Target, slope: Array, nodes: list[Node]) -> None:
        """Strict ties: a node is empty where some beta_i >= 0 and all that lowers g_i is off."""
        tied = (target.beta >= 0) & ~((slope > 0) @ (target.alpha < 0).T)
        for b in np.flatnonzero(tied.any(axis=1)):
            w = np.eye(len(target.beta))[np.argmax(tied[b])]
            nodes[b].lower = nodes[b].proved = math.inf
            nodes[b].multipliers = Multipliers(w, *np.zeros((2, slope.shape[1])))

    def close(self, node: Node) -> None:
        """Take the bound of a node with nothing left to split: rounding keeps it from the goal.

        Strict ties: or its nearest point is but a tie, and it may be possible to prove it empty.
        """
        if self.options.ties == "robust":
            target, pool = self.targets[node.target], self.incumbent.pools[node.target]
            lines = self.ball.nodes(node.signs[None], node.lo[None], node.up[None])
            shift = _TIED * (target.size @ self.ball.reach + target.constant)
            shift[shift == 0] = 1.0
            found = relax(self.ball, target, lines, pool, [node.planes], math.inf, shift)
            proof = self.prove_empty(node.target, node.signs, found.multipliers(0))
            if proof is not None:
                node.lower = node.proved = math.inf
                node.multipliers = proof
        self.least = min(self.least, node.lower)


def _columns(nodes: list[Any]) -> tuple[IntArray, Array, Array, list[IntArray]]:
    """Signs, intervals (B,M) and planes of some nodes, or of rests."""
    signs, lo, up = (np.array([getattr(n, name) for n in nodes]) for name in ("signs", "lo", "up"))
    return signs, lo, up, [node.planes for node in nodes]


def _length(geometry: Geometry, targets: list[Target], z: Array, x_norm: float) -> float:
    """Largest length in sight, a few times which is searched where nothing else is known."""
    norms = np.where(geometry.norms > 0, geometry.norms, math.inf)
    slopes = [np.abs(target.alpha) @ geometry.norms for target in targets]
    values = [np.abs(target.values(z)) for target in targets]
    lengths = [v / np.where(s > 0, s, math.inf) for v, s in zip(values, slopes, strict=True)]
    return (x_norm + float((np.abs(z) / norms).max() + np.max(lengths))) or 1.0
