"""One sample that the fast path left: search, then a point and a proof (E32)."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from refimpl import decisions
from refimpl._arrays import Array, IntArray
from refimpl.certificate import Certificate, CertificateError, verify_certificate
from refimpl.network import TwoLayerReLU
from refimpl.radius import empty, interior, raised, ties
from refimpl.radius.geometry import Target
from refimpl.radius.incumbent import Incumbent, Point
from refimpl.radius.leaf import Multipliers
from refimpl.radius.points import Question
from refimpl.radius.region import Space
from refimpl.radius.search import Prover, Search
from refimpl.radius.state import Listener, Options
from refimpl.radius.tree import Node, certificate, parts

_WIDE = 48  # hidden neurons: exact proofs take longer than the search
_SPLITS = 6  # more of them to prove a leaf empty
_DOWNS: tuple[float, ...] = (0.0, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
_SPARE = 1e-8  # of a radius: more than float mode loses on most wide networks
_POINTS = 4  # incumbents tried, the nearest first


class Samples(NamedTuple):
    """Some samples, their preactivations, and points v (n,M) to start from."""

    x: Array
    y: IntArray
    z: Array
    start: Array

    def take(self, index: Any) -> Samples:
        """Return the samples of the given indices."""
        return Samples(*(array[index] for array in self))


class Answer(NamedTuple):
    """What is known of one sample."""

    lower: float
    upper: float
    perturbation: Array
    nodes: int
    certificate: Certificate | None


def answers(
    question: Question,
    space: Space,
    targets: dict[int, list[Target]],
    options: Options,
    samples: Samples,
    listener: Listener | None = None,
) -> list[Answer]:
    """Answer for each of the samples; `listener` hears of nodes and gap on the way."""
    with np.errstate(all="ignore"):  # overflow in a hopeless node ends in a bound of 0 or inf
        return [
            _answer(question, space, targets[int(sample[1])], options, listener, *sample)
            for sample in zip(*samples, strict=True)
        ]


def _answer(
    question: Question,
    space: Space,
    targets: list[Target],
    options: Options,
    listener: Listener | None,
    x: Array,
    y: Any,
    z: Array,
    start: Array,
) -> Answer:
    net, strict = question.net, options.ties == "robust"
    matrices = decisions.targets(int(y), question.decision, net.n_outputs)

    def prove_empty(target: int, signs: IntArray, near: Multipliers) -> Multipliers | None:
        return empty.prove_empty(net, matrices[target], signs, near, strict=strict, box=space.box)

    def reached(points: list[Point]) -> tuple[float, Array] | None:
        return attain(question, space, search.incumbent, points[: -_POINTS - 1 : -1], x, y)

    def attained(point: Point) -> bool:
        return reached([point]) is not None

    size, x_norm = np.abs(net.W) @ np.abs(x) + space.geometry.bias, float(np.linalg.norm(x))
    ball = space.around(x, z, size)
    start = ball.start(start, targets, net.W)
    search = Search(ball, targets, x_norm, options, prove_empty)
    search.state.listener = listener
    lower, trees = search.run(start)
    nearest = reached(search.incumbent.points)
    if search.incumbent.points and nearest is None:
        # No more than near the target, it seems: search on, and take no point on trust.
        deadline = search.state.deadline  # one for both
        search = Search(ball, targets, x_norm, options, prove_empty, attained)
        search.state.deadline = deadline
        lower, trees = max(search.run(start), (lower, trees), key=lambda found: found[0])
        nearest = reached(search.incumbent.points)
    if nearest is None and trees and strict and space.plain:
        nearest = interior.nearest(question, search, parts(trees), x, int(y))
    if nearest is None and not search.incumbent.points:
        everywhere = ball.is_whole and lower >= ball.radius
        lower = math.inf if everywhere or _all_empty(trees, prove_empty) else lower
    if nearest and trees and space.plain and lower < nearest[0] * (1 - options.tol):
        lower = _raised(net, matrices, trees, x, nearest, lower, ball.radius)
    upper, perturbation = nearest or (math.inf, np.full_like(x, np.nan))
    lower, proof = min(lower, upper), None
    if options.certificates and lower > 0:
        gap = (upper - lower) / upper if math.isfinite(upper) else 1.0
        spare = 0.9 * (options.tol - gap) if gap < options.tol else min(_SPARE, 4 * gap)
        lower, proof = _certify(question, space, x, y, lower, spare, trees)
    return Answer(lower, upper, perturbation, search.state.nodes, proof)


def _raised(
    net: TwoLayerReLU,
    matrices: Array,
    trees: list[Node],
    x: Array,
    nearest: tuple[float, Array],
    lower: float,
    radius: float,
) -> float:
    """Lower bound that rationals prove where floats do not; the leaves take the proofs.

    What the other leaves prove holds within the ball of the search alone.
    """
    proofs, found = [], parts(trees)
    for part in found:
        if part.lower < nearest[0]:
            if part.problem.small is not None:
                return lower
            D, end = matrices[part.problem.index], x + nearest[1]
            proof = raised.raise_bound(net, D, part.signs, x, end)
            if proof is None or proof[0] <= lower:
                return lower
            proofs.append((part, proof))
    for part, proof in proofs:
        part.lower, part.multipliers = proof
        part.proved = part.lower
    raised_to = min((part.lower for part, _ in proofs), default=lower)
    return min(raised_to, radius) if len(proofs) < len(found) else raised_to


def _all_empty(trees: list[Node], prove_empty: Prover) -> bool:
    """Whether every leaf is proved empty at every radius; the leaves take the proofs."""
    return all(_is_empty(leaf, prove_empty, _SPLITS) for leaf in parts(trees))


def _is_empty(leaf: Node, prove_empty: Prover, depth: int) -> bool:
    """Whether a leaf is proved empty at every radius, if need be after more splits.

    A chord proves nothing at every radius, though it may do for the ball that was searched.
    """
    found = prove_empty(leaf.problem.index, leaf.signs, leaf.multipliers)
    if found is not None:
        leaf.multipliers = found
        return True
    free = np.flatnonzero(leaf.problem.target.is_branching & (leaf.signs == 0))
    if leaf.problem.small is not None or depth == 0 or len(free) == 0:
        return False
    halves = []
    for sign in (1, -1):
        signs = leaf.signs.copy()
        signs[free[0]] = sign
        halves.append(replace(leaf, signs=signs, excluded=(), narrowing=(), pieces=()))
    leaf.neuron, leaf.children, leaf.proved = int(free[0]), (halves[0], halves[1]), 0.0
    return all(_is_empty(half, prove_empty, depth - 1) for half in halves)


def _certify(
    question: Question,
    space: Space,
    x: Array,
    y: Any,
    lower: float,
    spare: float,
    trees: list[Node],
) -> tuple[float, Certificate | None]:
    """Round `lower` down until its certificate passes; None where floats cannot hold the proof.

    Wide networks: at once by `spare`, a relative part of it that the tolerance has to spare, or
    what a bound that misses the tolerance can do without.
    """
    net, decision, rule = question
    downs = _DOWNS if math.isfinite(lower) else (0.0,)
    if spare > 0 and net.n_hidden > _WIDE:  # fractions would take long: let floats do
        downs = (spare, *(down for down in downs if down > spare))
    for down in downs:
        radius = lower - down * lower if down else lower
        proof = certificate(trees, radius)
        try:
            verify_certificate(
                *(net, x, y, proof),
                radius=radius,
                decision=decision,
                ties=rule,
                norm=space.norm,
                box=space.box,
            )
        except CertificateError:
            continue
        return radius, proof
    return lower, None


def attain(
    question: Question, space: Space, incumbent: Incumbent, points: list[Point], x: Array, y: Any
) -> tuple[float, Array] | None:
    """Length of and perturbation to the first of the points that the network finds adversarial.

    One that is adversarial by more than rounding can lose is taken at once. Where ties alone are
    adversarial there is none, and the shortest of its neighbours that evaluate so is taken.
    """
    net, label = question.net, np.array([y])
    ball = incumbent.ball
    targets = [problem.target for problem in incumbent.problems]
    guard = max(float(t.noise(ball.geometry, ball.reach).max()) for t in targets)
    for point in points:
        inside = (inner.v for inner in incumbent.inside(point))
        for v in itertools.chain([incumbent.beyond(point)], inside):
            ends, perturbation = space.end(x, ball.perturbation(v, net.W)[None])
            if question.adversarial(net.outputs(ends), label, guard)[0]:
                return float(space.length(perturbation)[0]), perturbation[0]
        nearest = ball.perturbation(point.v, net.W)
        near = ties.neighbours(net, x, nearest, space.loose(x + nearest)) - x
        ends, perturbations = space.end(x, near)
        lengths = space.length(perturbations)
        order = np.argsort(lengths)
        for i in question.evaluated(ends[order], int(y)):
            if ties.is_beside(question, ends[order[i]], int(y)):
                return float(lengths[order[i]]), perturbations[order[i]]
    return None
