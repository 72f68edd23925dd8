"""Nodes bounded with chords: their relaxations, the halves these exclude, narrower intervals.

A relaxation's multipliers do more than bound a node. With one neuron's sign added they may show
that a half of it holds nothing, so that the other half is all of it; and they cut the intervals
(`narrowing`), so that the next relaxation of the node is better. Both are repeated while they pay.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius import narrowing
from refimpl.radius.ball import Lines
from refimpl.radius.leaf import Multipliers, probe, prove
from refimpl.radius.narrowing import Narrowing
from refimpl.radius.problem import Problem
from refimpl.radius.relaxation import Relaxations, relax
from refimpl.radius.state import State
from refimpl.radius.tree import Node

_GAIN = 1e-6  # of the goal: the least gain that a half counts with in the choice of a neuron
_PAYS = 0.8  # of the chords' losses: narrowing is worth another relaxation where it leaves less


class Rest(NamedTuple):
    """What is left of a node: signs and intervals, after excluded halves and narrowing steps."""

    signs: IntArray
    lo: Array
    up: Array
    planes: IntArray
    excluded: tuple[Node, ...]
    narrowing: tuple[Narrowing, ...]


def columns(nodes: list[Any]) -> tuple[IntArray, Array, Array, list[IntArray]]:
    """Signs, intervals (B,M) and planes of some nodes, or of rests."""
    signs, lo, up = (np.array([getattr(n, name) for n in nodes]) for name in ("signs", "lo", "up"))
    return signs, lo, up, [node.planes for node in nodes]


def bound(
    state: State,
    problem: Problem,
    signs: IntArray,
    lo: Array,
    up: Array,
    planes: list[IntArray],
) -> list[Node]:
    """Bound nodes given by signs and intervals (B,M); what is left of them is at their `end`."""
    nodes, rests = _bound_once(state, problem, signs, lo, up, planes)
    while rests and state.room() >= len(rests):
        state.nodes += len(rests)
        found, more = _bound_once(state, problem, *columns(list(rests.values())))
        for (node, rest), end in zip(rests.items(), found, strict=True):
            end.lower = max(end.lower, node.lower)
            node.rest = end
            node.excluded, node.narrowing = rest.excluded, rest.narrowing
        rests = more
    return nodes


def _bound_once(
    state: State,
    problem: Problem,
    signs: IntArray,
    lo: Array,
    up: Array,
    planes: list[IntArray],
) -> tuple[list[Node], dict[Node, Rest]]:
    """Bound nodes by their relaxations, and look ahead: what is left of those still open."""
    target, ball = problem.target, problem.sized(state.incumbent.ball.radius)
    lines = ball.nodes(signs, lo, up)
    found = relax(ball, target, lines, problem.pool, planes, state.goal)
    nodes = [
        Node(
            *(problem, signs[b], lo[b], up[b]),
            *(float(found.lower[b]), found.multipliers(b), found.planes[b]),
        )
        for b in range(len(signs))
    ]
    for i in np.flatnonzero(narrowing.contradictory(lo, up)):
        nodes[i].lower = nodes[i].proved = math.inf
    if state.strict:
        _drop_tied(problem, lines.slope, nodes)
    left = []
    for b, node in enumerate(nodes):
        if _offer(state, node, lines, found, b) or node.lower >= state.goal:
            continue
        if problem.small is not None and found.feasible[b]:
            node.neuron = -1  # it is the small problem's, and not the network's
        else:
            left.append(b)
    if not left:
        return nodes, {}
    parts = [nodes[b] for b in left], lines.take(left), found.take(left)
    excluded = _look_ahead(state, problem, *parts)
    return nodes, _narrow(state, problem, parts[0], parts[2], excluded)


def _offer(state: State, node: Node, lines: Lines, found: Relaxations, b: int) -> bool:
    """Offer a node's relaxed minimiser to the incumbent; tell whether it was taken as it is."""
    problem, incumbent = node.problem, state.incumbent
    if problem.small is None:
        point = incumbent.point(problem, lines, found, b)
        if point is not None and incumbent.offer(point):
            return True
        if incumbent.points and node.lower < state.goal and not node.signs.any():
            incumbent.polish(problem, found.z[b])
    elif found.feasible[b] and node.lower < state.goal:
        whole = problem.whole
        incumbent.polish(whole, whole.ball.at(problem.point(found.v[b])))
    return False


def _look_ahead(
    state: State, problem: Problem, nodes: list[Node], lines: Lines, found: Relaxations
) -> list[dict[int, Node]]:
    """Choose where to split nodes, and find halves of them that are empty, by their neurons."""
    target, ball, goal = problem.target, problem.ball, state.goal
    _, w, tau, nu, *_ = found
    halves, push = probe(ball, target, lines, w, tau, nu)
    free = (lines.phase == 0) & target.is_branching
    gain = np.clip(halves, 0.0, goal) - found.lower[:, None]
    score = np.where(free, np.maximum(gain, _GAIN * goal).prod(axis=0), -1.0)
    for b, node in enumerate(nodes):
        node.neuron = int(score[b].argmax()) if free[b].any() else -1
    excluded = [_forced(node, lines.phase[b], found.z[b]) for b, node in enumerate(nodes)]
    half, row, neuron = np.nonzero((halves >= goal) & free)
    if len(row) == 0:
        return excluded
    _, lo, up, _ = columns(nodes)
    signs, w, tau, nu = lines.signs[row], w[row], tau[row], nu[row]
    each = np.arange(len(row))
    signs[each, neuron] = 1 - 2 * half
    nu[each, neuron] = push[half, row, neuron]
    lower = prove(ball, target, ball.nodes(signs, lo[row], up[row]), w, tau, nu)
    for i in np.flatnonzero(lower >= goal):
        node, r = nodes[row[i]], int(neuron[i])
        multipliers = Multipliers(w[i], tau[i], nu[i])
        leaf = replace(node, signs=signs[i], lower=float(lower[i]), multipliers=multipliers)
        leaf.neuron = r
        state.least = min(state.least, leaf.lower)
        excluded[row[i]][r] = leaf  # of both halves one is enough
    return excluded


def _forced(node: Node, phase: IntArray, z: Array) -> dict[int, Node]:
    """Halves that a node's intervals exclude and its relaxed minimiser is in."""
    problem = node.problem
    free = (problem.ball.stable == 0) & (node.signs == 0) & problem.target.is_branching
    halves = {}
    for r in np.flatnonzero((phase * z < 0) & free).tolist():
        signs = node.signs.copy()
        signs[r] = -phase[r]
        halves[r] = replace(node, signs=signs, lower=math.inf, neuron=r)
    return halves


def _narrow(
    state: State,
    problem: Problem,
    nodes: list[Node],
    found: Relaxations,
    excluded: list[dict[int, Node]],
) -> dict[Node, Rest]:
    """Take the excluded halves off nodes, and cut their intervals where it pays."""
    target, ball = problem.target, problem.ball
    signs, lo, up, _ = columns(nodes)
    for row, leaves in zip(signs, excluded, strict=True):
        for r, leaf in leaves.items():
            row[r] = -leaf.signs[r]
    least, most = ball.intervals()
    lo, up = np.maximum(lo, least), np.minimum(up, most)
    cut, pays = None, np.zeros(len(nodes), np.bool_)
    if state.incumbent.points:
        lines = ball.nodes(signs, lo, up)
        cut = narrowing.affine(ball, target, lines, lo, up, *found[1:4])
        before = narrowing.losses(target, lo, up, lines.phase)
        after = narrowing.losses(target, cut.lo, cut.up, ball.nodes(signs, *cut[:2]).phase)
        pays = after.sum(axis=1) < _PAYS * before.sum(axis=1)
        pays |= narrowing.contradictory(*cut[:2])
    rests = {}
    for b, node in enumerate(nodes):
        halves = tuple(excluded[b].values())
        if cut is not None and pays[b]:
            step = narrowing.step(cut, target, lo[b], up[b], b, found.multipliers(b))
            rests[node] = Rest(signs[b], cut.lo[b], cut.up[b], node.planes, halves, (step,))
        elif halves:
            rests[node] = Rest(signs[b], lo[b], up[b], node.planes, halves, ())
    return rests


def _drop_tied(problem: Problem, slope: Array, nodes: list[Node]) -> None:
    """Strict ties: a node is empty where some beta_i >= 0 and all that lowers g_i is off."""
    target = problem.target
    tied = (target.beta >= 0) & ~((slope > 0) @ (target.alpha < 0).T)
    for b in np.flatnonzero(tied.any(axis=1)):
        w = np.eye(len(target.beta))[np.argmax(tied[b])]
        nodes[b].lower = nodes[b].proved = math.inf
        nodes[b].multipliers = Multipliers(w, *np.zeros((2, slope.shape[1])))
