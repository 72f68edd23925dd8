"""One sample that the fast path left: search, then a point and a proof (E32)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from refimpl import decisions
from refimpl._validation import Array, IntArray
from refimpl.certificate import Certificate, CertificateError, verify_certificate
from refimpl.network import TwoLayerReLU
from refimpl.radius import empty, interior, raised, ties
from refimpl.radius.geometry import Geometry, Target
from refimpl.radius.leaf import Multipliers
from refimpl.radius.points import Question, length
from refimpl.radius.search import Options, Point, Prover, Search
from refimpl.radius.tree import Node, certificate, leaves

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
    geometry: Geometry,
    targets: dict[int, list[Target]],
    options: Options,
    samples: Samples,
) -> list[Answer]:
    """Answer for each of the samples."""
    with np.errstate(all="ignore"):  # overflow in a hopeless node ends in a bound of 0 or inf
        return [
            _answer(question, geometry, targets[int(sample[1])], options, *sample)
            for sample in zip(*samples, strict=True)
        ]


def _answer(
    question: Question,
    geometry: Geometry,
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
        return _attain(question, space, [point], x, y) is not None

    size, x_norm = np.abs(net.W) @ np.abs(x) + geometry.bias, float(np.linalg.norm(x))
    space = Search(geometry, targets, z, size, x_norm, options, prove_empty)
    lower, trees = space.run(start)
    nearest = _attain(question, space, space.points[: -_POINTS - 1 : -1], x, y)
    if space.points and nearest is None:
        # No more than near the target, it seems: search on, and take no point on trust.
        deadline = space.deadline  # one for both
        space = Search(geometry, targets, z, size, x_norm, options, prove_empty, attained)
        space.deadline = deadline
        again, more = space.run(start)
        if again >= lower:
            lower, trees = again, more
        nearest = _attain(question, space, space.points[: -_POINTS - 1 : -1], x, y)
    if nearest is None and trees and options.ties == "robust":
        nearest = interior.nearest(question, space, leaves(trees)[1], x, int(y))
    if nearest is None and not space.points and _all_empty(trees, prove_empty):
        lower = math.inf
    if nearest is not None and trees and lower < nearest[0] * (1 - options.tol):
        lower = _raised(net, matrices, leaves(trees)[1], x, nearest, lower)
    upper, perturbation = nearest or (math.inf, np.full_like(x, np.nan))
    lower, proof = min(lower, upper), None
    if options.certificates and lower > 0:
        lower, proof = _certify(question, x, y, lower, certificate(trees))
    return Answer(lower, upper, perturbation, space.nodes, proof)


def _raised(
    net: TwoLayerReLU,
    matrices: Array,
    parts: list[Node],
    x: Array,
    nearest: tuple[float, Array],
    lower: float,
) -> float:
    """Lower bound that rationals prove where floats do not; the leaves take the proofs."""
    proofs = []
    for part in parts:
        if part.lower < nearest[0]:
            D, end = matrices[part.target], x + nearest[1]
            proof = raised.raise_bound(net, D, part.signs, x, end)
            if proof is None or proof[0] <= lower:
                return lower
            proofs.append((part, proof))
    for part, proof in proofs:
        part.lower, part.multipliers = proof
    return min((part.lower for part in parts), default=lower)


def _all_empty(trees: list[Node], prove_empty: Prover) -> bool:
    """Whether every leaf is proved empty at every radius; the leaves take the proofs."""
    for leaf in leaves(trees)[1]:
        found = prove_empty(leaf.target, leaf.signs, leaf.multipliers)
        if found is None:
            return False
        leaf.multipliers = found
    return True


def _certify(
    question: Question, x: Array, y: Any, lower: float, proof: Certificate
) -> tuple[float, Certificate | None]:
    """Round `lower` down until its certificate passes; None where floats cannot hold the proof."""
    net, decision, rule = question
    for down in (0.0, 1e-12, 1e-10, 1e-8, 1e-6) if math.isfinite(lower) else (0.0,):
        radius = lower - down * lower if down else lower
        try:
            verify_certificate(net, x, y, proof, radius=radius, decision=decision, ties=rule)
        except CertificateError:
            continue
        return radius, proof
    return lower, None


def _attain(
    question: Question, space: Search, points: list[Point], x: Array, y: Any
) -> tuple[float, Array] | None:
    """Length of and perturbation to the first of the points that the network finds adversarial.

    One that is adversarial by more than rounding can lose is taken at once. Where ties alone are
    adversarial there is none, and the shortest of its neighbours that evaluate so is taken.
    """
    net, label = question.net, np.array([y])
    guard = max(float(t.noise(space.ball.geometry, space.ball.reach).max()) for t in space.targets)
    for point in points:
        for safety in (1.5, 16.0, 256.0):
            if (inner := space.within(point, safety)) is not None:
                perturbation = inner.v @ net.W
                outputs = net.outputs((x + perturbation)[None])
                if question.adversarial(outputs, label, guard)[0]:
                    return float(length(perturbation[None])[0]), perturbation
        perturbations = ties.neighbours(net, x, point.v @ net.W) - x
        together = net.outputs(x + perturbations)
        lengths = length(perturbations)
        for i in np.argsort(lengths):
            # A matrix product may round one row otherwise than it does many.
            alone = net.outputs((x + perturbations[i])[None])
            both = np.stack((together[i], alone[0]))
            if question.adversarial(both, np.repeat(label, 2)).all() and ties.is_beside(
                question, x + perturbations[i], int(y)
            ):
                return float(lengths[i]), perturbations[i]
    return None
