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
    """Nearest endpoint, of the incumbents and their neighbours, that the network finds adversarial.

    One that is adversarial by more than rounding can lose is taken at once; where only ties are
    adversarial there is none, and any that evaluates so is taken.
    """
    ball = space.ball
    guard = max(float(t.noise(ball.geometry, ball.reach).max()) for t in space.targets)
    best: tuple[Array, float] | None = None
    for point in space.points[: -_POINTS - 1 : -1]:
        candidates = np.array(list(_neighbours(space, point))) @ question.net.W
        outputs = question.net.outputs(x + candidates)
        labels = np.repeat(y, len(candidates))
        lengths = length(candidates)
        for safety in (guard, 0.0):
            good = question.adversarial(outputs, labels, safety)
            if good.any():
                nearest = int(np.argmin(np.where(good, lengths, math.inf)))
                if best is None or lengths[nearest] < best[1]:
                    best = candidates[nearest], float(lengths[nearest])
                break
        if best is not None:
            break
    return best


def _neighbours(space: Search, point: Array) -> Iterator[Array]:
    """Weights of points beside an incumbent, from those that lie safely within their target."""
    ball = space.ball
    z = ball.z + ball.geometry.U @ (point @ ball.geometry.U)
    index = int(np.argmin([target.values(z).max() for target in space.targets]))
    target, pool = space.targets[index], space.pools[index]
    noise = target.noise(ball.geometry, ball.reach)
    for safety in (4.0, 64.0):
        found = relax(ball, target, ball.piece(z > 0), pool, [pool.first], math.inf, safety * noise)
        yield found.v[0]
    yield point
    for beyond in (2.0**-50, 2.0**-46, 2.0**-42, 2.0**-38, 2.0**-34):
        yield point * (1 + beyond)
