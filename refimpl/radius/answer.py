"""One sample that the fast path left: search, then a point and a proof (E32)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.certificate import Certificate, CertificateError, verify_certificate
from refimpl.radius import proof
from refimpl.radius.geometry import Geometry, Target, targets_of
from refimpl.radius.points import Question, length
from refimpl.radius.relaxation import relax
from refimpl.radius.search import Options, Search

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
    unreachable: bool
    nodes: int
    certificate: Certificate | None


def search(
    question: Question, geometry: Geometry, options: Options, samples: Samples
) -> list[Answer]:
    """Answer for each of the samples."""
    with np.errstate(all="ignore"):  # overflow in a hopeless node ends in a bound of 0 or inf
        return [
            _answer(question, geometry, options, *sample) for sample in zip(*samples, strict=True)
        ]


def _answer(
    question: Question,
    geometry: Geometry,
    options: Options,
    x: Array,
    y: Any,
    z: Array,
    start: Array,
) -> Answer:
    targets = targets_of(question.net, int(y), question.decision)
    space = Search(geometry, targets, z, float(np.linalg.norm(x)), options)
    found = space.run(start)
    lower, upper, perturbation = found.lower, math.inf, np.full_like(x, np.nan)
    if (nearest := _attain(question, space, x, y)) is not None:
        perturbation, upper = nearest
        lower = min(lower, upper)
    certificate = None
    if not found.points or options.keep_trees:
        certificate = proof.of_trees(found.trees)
    return Answer(lower, upper, perturbation, False, found.nodes, certificate)


def _attain(question: Question, space: Search, x: Array, y: Any) -> tuple[Array, float] | None:
    """Perturbation to the nearest incumbent that the network itself finds adversarial, or near it.

    One that is adversarial by more than rounding can lose is taken at once. Where ties alone are
    adversarial there is none, and the shortest of those that evaluate so is taken.
    """
    guard = max(float(t.noise(space.ball.geometry, space.ball.reach).max()) for t in space.targets)
    label = np.array([y])
    tied: list[tuple[float, Array]] = []
    for point in space.points[: -_POINTS - 1 : -1]:
        for v in _neighbours(space, point):
            perturbation = v @ question.net.W
            distance = float(length(perturbation[None])[0])
            outputs = question.net.outputs((x + perturbation)[None])
            if question.adversarial(outputs, label, guard)[0]:
                return perturbation, distance
            if question.adversarial(outputs, label)[0]:
                tied.append((distance, perturbation))
        if tied:
            distance, perturbation = min(tied, key=lambda pair: pair[0])
            return perturbation, distance
    return None


def _neighbours(space: Search, point: Array) -> Iterator[Array]:
    """Weights of points beside an incumbent, from one that lies safely within its target."""
    ball = space.ball
    z = ball.z + ball.geometry.U @ (point @ ball.geometry.U)
    index = space.target_at(z)
    target, cuts = space.targets[index], space.cuts[index]
    noise = target.noise(ball.geometry, ball.reach)
    for safety in (1.5, 64.0):
        lines, pool = ball.piece(z > 0), space.pools[index]
        yield relax(ball, target, lines, pool, [cuts], math.inf, safety * noise).v[0]
    yield point
    for beyond in (2.0**-50, 2.0**-46, 2.0**-42, 2.0**-38, 2.0**-34):
        yield point * (1 + beyond)
