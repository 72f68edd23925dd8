"""Branch and bound over the phases of branching neurons, best bound first, for one sample (E31)."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius import chords, curved, pieces
from refimpl.radius.ball import Ball
from refimpl.radius.fast import FEW, subsets
from refimpl.radius.geometry import FLOOR, UNIT, Target
from refimpl.radius.incumbent import Incumbent, Point
from refimpl.radius.leaf import Multipliers
from refimpl.radius.problem import Problem, reduce, worth_reducing
from refimpl.radius.relaxation import relax
from refimpl.radius.state import Options, State
from refimpl.radius.tree import Node

# None of these changes what is true of the results, only how fast they come.
_BATCH = 16  # nodes split at a time
_GROWTH = (4.0, 2.0**12, 2.0**24)  # search radii where no adversarial point is known
_MANY = 100  # free neurons of a node that is bounded by parabolas alone
_FEW = 20  # and of one that is bounded by chords alone
_BALLS = 5  # smaller ones that are tried where a limit ends the search
_POOR = 0.99  # of the ball: a bound below this is worth that
_CLOSE = 1e-6  # relative: a bound that is as good as the ball's radius
_TIED = 2.0**-20  # relative: by how much a part without strict points is asked for them

# Multipliers near the given ones that prove, exactly, that a part of a target's set is empty.
Prover = Callable[[int, IntArray, Multipliers], Multipliers | None]


class Search:
    """The search for one sample that is classified correctly."""

    def __init__(
        self,
        ball: Ball,
        targets: list[Target],
        x_norm: float,
        options: Options,
        prove_empty: Prover,
        accept: Callable[[Point], bool] | None = None,
    ) -> None:
        self.length = length_in_sight(ball, targets, x_norm)
        self.ball, self.prove_empty = ball, prove_empty
        self.incumbent = Incumbent(self.ball, targets, options.ties, accept)
        self.state = State(options, self.incumbent)

    def run(self, start: Array) -> tuple[float, list[Node]]:
        """Search from a point: a lower bound, and the trees that prove it.

        Every exploration proves its own bound, whatever the ball: the least of its radius and of
        the bounds of its leaves. The best one counts.
        """
        best, incumbent, state = 0.0, self.incumbent, self.state
        for growth in _GROWTH:
            self.ball.resize(growth * self.length)
            incumbent.start(start)
            if state.farthest < self.ball.radius:
                self.ball.resize(state.farthest)
            lower, trees = self.explore()
            if incumbent.points and growth > _GROWTH[0]:  # found with the noise of a ball too large
                far = incumbent.points.copy()
                incumbent.points.clear()
                self.ball.resize(2 * self.ball.radius)
                lower, trees = self.explore()
                incumbent.points = far + incumbent.points
            if incumbent.points and lower < _POOR * self.ball.radius and not state.decided():
                lower, trees = self.smaller(lower, trees)
            if lower >= best:
                best, best_trees = lower, trees
            if incumbent.points or lower < self.ball.radius or self.ball.is_whole:
                break
            if lower > state.options.stop_at:
                break
        return best, best_trees

    def lipschitz(self) -> float:
        """Bound the distance by the margins, |g_i(x) - g_i(x')| <= ||alpha_i|| ||W|| ||x - x'||."""
        bounds, geometry = [], self.ball.geometry
        for problem in self.incumbent.problems:
            target = problem.target
            noise = target.noise(geometry, self.ball.size)
            slopes = np.linalg.norm(target.size, axis=1) * geometry.spectral + FLOOR
            bounds.append(np.max((target.values(self.ball.z) - noise) / slopes))
        rounding = 1 - 64 * len(self.ball.z) * UNIT
        return max(0.0, float(min(bounds)) * self.ball.per_l2[0] * rounding)

    def smaller(self, lower: float, trees: list[Node]) -> tuple[float, list[Node]]:
        """Bound the targets in smaller balls, where there is less to lose; return the best bound.

        The first ball is that which the margins prove, for its certificate.
        """
        least, radius = self.lipschitz(), self.ball.radius
        low, high = max(lower, least), radius
        for attempt in range(_BALLS):
            if self.state.late() and (attempt > 0 or lower >= least):
                break
            known = len(self.incumbent.points)
            self.ball.resize(least if attempt == 0 and lower < least else (low + high) / 2)
            size = self.ball.radius
            roots = list(self.roots())
            if len(self.incumbent.points) > known:  # a nearer point: the ball has shrunk to it
                radius = high = self.ball.radius
            bound = min(self.ball.radius, self.state.least, *(root.end.lower for root in roots))
            if bound > lower:
                lower, trees = bound, roots
            low = max(low, bound)
            high = high if bound >= size * (1 - _CLOSE) else min(high, size)
        self.ball.resize(radius)
        return lower, trees

    def explore(self) -> tuple[float, list[Node]]:
        """Branch and bound from scratch within the present ball."""
        state, order = self.state, itertools.count()
        trees: list[Node] = []
        for root in self.roots():
            trees.append(root)
            state.report(min(tree.end.lower for tree in trees))
        heap = [(tree.end.lower, next(order), tree.end) for tree in trees]
        heapq.heapify(heap)
        made = held = 0  # neurons of nodes
        while heap and heap[0][0] < state.goal and not state.decided():
            room = min(_BATCH, state.room(held) // 2)
            if room == 0:
                break
            batch: list[Node] = []
            while heap and len(batch) < room and heap[0][0] < state.goal:
                node = heapq.heappop(heap)[2]
                if node.neuron >= 0:
                    batch.append(node)
                elif (end := self.close(node)) is not None:
                    heapq.heappush(heap, (end.lower, next(order), end))
            for half in self.split(batch):
                heapq.heappush(heap, (half.end.lower, next(order), half.end))
            made += sum(len(node.signs) for node in batch)
            held = made if state.keeps_trees else sum(len(entry[2].signs) for entry in heap)
            state.report(heap[0][0] if heap else state.goal)
        return min(state.least, self.ball.radius, heap[0][0] if heap else math.inf), trees

    def roots(self) -> Iterator[Node]:
        """Bound all targets anew; the halves that roots leave out are bounded by `state.least`."""
        self.state.least = math.inf
        for problem in self.incumbent.problems:
            yield self.root(problem)

    def root(self, problem: Problem) -> Node:
        """Bound a whole target, by all of its pieces where they are few."""
        ball, incumbent = self.ball, self.incumbent
        known = incumbent.polished.get(problem.index)
        if known is not None and (node := self.all_pieces(problem, known.multipliers)) is not None:
            return node
        signs, nothing = np.zeros(len(ball.z), np.int64), np.zeros(len(ball.z))
        w = np.full(len(problem.target.beta), 1.0)
        multipliers = Multipliers(w, nothing, nothing)
        node = Node(problem, signs, *ball.intervals(), 0.0, multipliers, problem.planes)
        if incumbent.points and len(w) == 1 and curved.free(ball, node) > _FEW:
            return self.bend(node)
        node = self.chords([node])[0]
        if node.lower >= self.state.goal or not incumbent.points:
            return node
        closed, end = self.all_pieces(problem, node.multipliers), node.end
        if closed is None and len(w) > 1 and end.neuron >= 0 and curved.free(ball, end) > _FEW:
            self.bend(end)  # with the weights of the constraints that chords found best
        return closed or node

    def bend(self, node: Node) -> Node:
        """Bound a node with many free neurons by parabolas, and with chords once they are few."""
        w = node.multipliers.weights
        if not w.any():  # of a relaxation whose point is beyond what is searched
            w = np.ones_like(w)
        end = curved.bound(self.state, node, w)
        if end.lower >= self.state.goal or self.state.late():
            return node
        count = curved.free(end.problem.sized(self.ball.radius), end)
        if end.neuron >= 0 and count > _MANY:
            end.curved = True
            return node
        problem, signs, lo, up = end.problem, end.signs, end.lo, end.up
        small = self.ball.euclidean and not self.state.strict
        if small and worth_reducing(problem, signs, lo, up):
            problem, signs, lo, up = reduce(problem, signs, lo, up)
        rest = replace(end, problem=problem, signs=signs, lo=lo, up=up, planes=problem.planes)
        end.rest = self.chords([rest])[0]
        last = end.rest.end
        last.lower = max(last.lower, end.lower)
        last.curved = last.neuron >= 0 and last.proved < last.lower and count > _FEW
        return node

    def chords(self, nodes: list[Node]) -> list[Node]:
        """Bound nodes of one problem with chords."""
        return chords.bound(self.state, nodes[0].problem, *chords.columns(nodes))

    def all_pieces(self, problem: Problem, multipliers: Multipliers) -> Node | None:
        """Close a target by bounding all of its pieces with the same multipliers (E31)."""
        target, ball = problem.target, self.ball
        w, tau, nu, *_ = multipliers
        neurons, lower = pieces.unsettled(ball, target, multipliers), None
        if len(neurons) <= FEW:
            gamma = w @ target.alpha
            q = np.repeat([gamma * np.where(gamma > 0, tau, ball.stable > 0)], 2 ** len(neurons), 0)
            q[:, neurons] = subsets(len(neurons)) * gamma[neurons]
            lower = float(ball.lower(target, w, q, w @ target.beta).min())
        if (lower is None or lower < self.state.goal) and not self.state.options.certificates:
            lower = pieces.bound(self.incumbent, problem, multipliers, neurons, self.state.goal)
            neurons = neurons[:0]  # of a certificate, which has no use for so many leaves
        if lower is None or lower < self.state.goal:
            return None
        leaf, signs = Multipliers(w, tau, np.zeros_like(nu)), np.zeros(len(ball.z), np.int64)
        split, endless = tuple(neurons.tolist()), np.full(len(ball.z), math.inf)
        return Node(problem, signs, -endless, endless, lower, leaf, problem.planes, pieces=split)

    def split(self, nodes: list[Node]) -> list[Node]:
        """Bound both halves of each node."""
        halves: list[Node] = []
        state = self.state
        for problem, bent in dict.fromkeys((node.problem, node.curved) for node in nodes):
            parents = [n for n in nodes if n.problem is problem and n.curved == bent]
            starts = [half for node in parents for half in self.halves(node)]
            state.nodes += len(starts)
            found = [self.bend(start) for start in starts] if bent else self.chords(starts)
            for start, half in zip(starts, found, strict=True):
                half.end.lower = max(half.end.lower, start.lower)
            if state.keeps_trees:
                for parent, on, off in zip(parents, found[::2], found[1::2], strict=True):
                    parent.children = on, off
            halves += found
        return halves

    def halves(self, node: Node) -> list[Node]:
        """Both halves of a node, on and off, before they are bounded."""
        found = []
        for sign in (1, -1):
            signs = node.signs.copy()
            signs[node.neuron] = sign
            half = replace(node, signs=signs, neuron=-1, curved=False)
            half.proved = 0.0
            found.append(half)
        return found

    def close(self, node: Node) -> Node | None:
        """Take the bound of a node with nothing left to split: rounding keeps it from the goal.

        A small problem may have lost what a point needs: then the node goes on in the whole one.
        Strict ties: or its nearest point is but a tie, and it may be possible to prove it empty.
        """
        problem, small, ball = node.problem, node.problem.small, self.ball
        if small is not None:
            lo, up = problem.full(node.lo, small.lo), problem.full(node.up, small.up)
            whole, signs = problem.whole, problem.full(node.signs)
            start = replace(node, problem=whole, signs=signs, lo=lo, up=up, planes=whole.planes)
            node.rest = self.chords([start])[0]
            node.end.lower = max(node.end.lower, node.lower)
            return node.end
        if self.state.strict:
            target = problem.target
            lines = ball.nodes(node.signs[None], node.lo[None], node.up[None])
            shift = _TIED * (target.size @ ball.reach + target.constant)
            shift[shift == 0] = 1.0
            found = relax(ball, target, lines, problem.pool, [node.planes], None, shift)
            proof = self.prove_empty(problem.index, node.signs, found.multipliers(0))
            if proof is not None:
                node.lower = node.proved = math.inf
                node.multipliers = proof
        self.state.least = min(self.state.least, node.lower)
        return None


def length_in_sight(ball: Ball, targets: list[Target], x_norm: float) -> float:
    """Largest length in sight, a few times which is searched where nothing else is known."""
    geometry, z = ball.geometry, ball.z
    norms = np.where(geometry.norms > 0, geometry.norms, math.inf)
    slopes = [np.abs(target.alpha) @ geometry.norms for target in targets]
    values = [np.abs(target.values(z)) for target in targets]
    lengths = [v / np.where(s > 0, s, math.inf) for v, s in zip(values, slopes, strict=True)]
    longest = x_norm + float((np.abs(z) / norms).max() + np.max(lengths))
    return ball.per_l2[1] * (longest or 1.0)
