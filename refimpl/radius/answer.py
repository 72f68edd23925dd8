"""One sample that the fast path left: search, then a point and a proof (E32)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from refimpl import decisions
from refimpl._validation import Array, IntArray
from refimpl.certificate import Certificate, CertificateError, verify_certificate
from refimpl.radius import empty, ties
from refimpl.radius.geometry import Target
from refimpl.radius.incumbent import Incumbent, Point
from refimpl.radius.leaf import Multipliers
from refimpl.radius.points import Question
from refimpl.radius.region import Space
from refimpl.radius.search import Prover, Search
from refimpl.radius.state import Options
from refimpl.radius.tree import Node, certificate, rows

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
) -> list[Answer]:
    """Answer for each of the samples."""
    with np.errstate(all="ignore"):  # overflow in a hopeless node ends in a bound of 0 or inf
        return [
            _answer(question, space, targets[int(sample[1])], options, *sample)
            for sample in zip(*samples, strict=True)
        ]


def _answer(
    question: Question,
    space: Space,
    targets: list[Target],
    options: Options,
    x: Array,
    y: Any,
    z: Array,
    start: Array,
) -> Answer:
    net, strict = question.net, options.ties == "robust"
    matrices = decisions.targets(int(y), question.decision, net.n_outputs)

    def prove_empty(target: int, signs: IntArray, near: Multipliers) -> Multipliers | None:
        return empty.prove_empty(net, matrices[target], signs, near, strict=strict)

    def attained(point: Point) -> bool:
        return _attain(question, space, search.incumbent, [point], x, y) is not None

    size, x_norm = np.abs(net.W) @ np.abs(x) + space.geometry.bias, float(np.linalg.norm(x))
    ball = space.around(x, z, size)
    start = ball.start(start, targets, net.W)
    search = Search(ball, targets, x_norm, options, prove_empty)
    lower, trees = search.run(start)
    points = search.incumbent.points
    nearest = _attain(question, space, search.incumbent, points[: -_POINTS - 1 : -1], x, y)
    if points and nearest is None:
        # No more than near the target, it seems: search on, and take no point on trust.
        search = Search(ball, targets, x_norm, options, prove_empty, attained)
        again, more = search.run(start)
        if again >= lower:
            lower, trees = again, more
        points = search.incumbent.points
        nearest = _attain(question, space, search.incumbent, points[: -_POINTS - 1 : -1], x, y)
    if not points and lower >= ball.radius and (ball.is_whole or _all_empty(trees, prove_empty)):
        lower = math.inf
    upper, perturbation = nearest or (math.inf, np.full_like(x, np.nan))
    lower, proof = min(lower, upper), None
    if options.certificates and lower > 0:
        lower, proof = _certify(question, space, x, y, lower, trees)
    return Answer(lower, upper, perturbation, search.state.nodes, proof)


def _all_empty(trees: list[Node], prove_empty: Prover) -> bool:
    """Whether every leaf is proved empty at every radius; the leaves take the proofs."""
    for leaf in rows(trees, math.inf).nodes:
        found = prove_empty(leaf.problem.index, leaf.signs, leaf.multipliers)
        if found is None:
            return False
        leaf.multipliers = found
    return True


def _certify(
    question: Question, space: Space, x: Array, y: Any, lower: float, trees: list[Node]
) -> tuple[float, Certificate | None]:
    """Round `lower` down until its certificate passes; None where floats cannot hold the proof."""
    net, decision, rule = question
    for down in (0.0, 1e-12, 1e-10, 1e-8, 1e-6) if math.isfinite(lower) else (0.0,):
        radius = lower - down * lower if down else lower
        proof = certificate(trees, radius)
        try:
            verify_certificate(net, x, y, proof, radius=radius, decision=decision, ties=rule)
        except CertificateError:
            continue
        return radius, proof
    return lower, None


def _attain(
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
        for safety in (1.5, 16.0, 256.0):
            if (inner := incumbent.within(point, safety)) is not None:
                ends, perturbation = space.end(x, ball.perturbation(inner.v, net.W)[None])
                if question.adversarial(net.outputs(ends), label, guard)[0]:
                    return float(space.length(perturbation)[0]), perturbation[0]
        near = ties.neighbours(net, x, ball.perturbation(point.v, net.W)) - x
        ends, perturbations = space.end(x, near)
        together = net.outputs(ends)
        lengths = space.length(perturbations)
        for i in np.argsort(lengths):
            # A matrix product may round one row otherwise than it does many.
            alone = net.outputs(ends[i : i + 1])
            both = np.stack((together[i], alone[0]))
            if question.adversarial(both, np.repeat(label, 2)).all():
                return float(lengths[i]), perturbations[i]
    return None
