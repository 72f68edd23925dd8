"""Strict ties: points of thin parts of the adversarial set, which no small shift reaches (E32).

Between two neurons that are nearly parallel a part may be so thin that no point beside its nearest
one is adversarial by more than rounding, while points farther inside are. The part is convex, so
that all between are strictly adversarial too, and the nearest that the network finds so is taken.
"""

from __future__ import annotations

import math

import numpy as np

from refimpl._arrays import Array
from refimpl.radius.geometry import Target
from refimpl.radius.leaf import minorant
from refimpl.radius.points import Question, length
from refimpl.radius.search import Search
from refimpl.radius.tree import Node

_HALVINGS = 100  # of the way from a deep point to the nearest one


def nearest(
    question: Question, space: Search, parts: list[Node], x: Array, y: int
) -> tuple[float, Array] | None:
    """Length of and perturbation to the nearest point found in the parts, if there is any."""
    found: tuple[float, Array] | None = None
    whole = [
        part for part in parts if part.problem.small is None and part.multipliers.kappa is None
    ]
    for part in sorted(whole, key=lambda part: part.lower):
        if not math.isfinite(part.lower) or (found and part.lower >= found[0]):
            break
        deep = _deep(space, part)
        if deep is not None:
            close = _closest(space, part, question.net.W)
            steps = 2.0 ** -np.arange(_HALVINGS)[::-1, None]
            deltas = close + steps * (deep @ question.net.W - close)
            point = _first(question, deltas, x, y)
            found = point if point and (found is None or point[0] < found[0]) else found
    return found


def _first(question: Question, deltas: Array, x: Array, y: int) -> tuple[float, Array] | None:
    """Take the first point that is adversarial in floats, alone or not, and in rationals."""
    ends = x + deltas
    for i in question.evaluated(ends, y):
        if question.truly_adversarial(ends[i], y):
            delta = ends[i] - x
            return float(length(delta[None])[0]), delta
    return None


def _closest(space: Search, part: Node, W: Array) -> Array:
    """Nearest point of the part, that its multipliers point to."""
    lines = space.ball.nodes(part.signs[None], part.lo[None], part.up[None])
    rows = (row[None] for row in part.multipliers[:3])
    direction = minorant(space.ball, part.problem.target, lines, *rows)[0][0] @ W
    size = float(np.linalg.norm(direction))
    return -direction * (part.lower / size if size > 0 else 0.0)


def _deep(space: Search, part: Node) -> Array | None:
    """Weights v of a point deep inside the part."""
    ball, target = space.ball, part.problem.target
    phase = np.where(part.signs != 0, part.signs, ball.stable)
    phase = np.where(target.is_branching & (phase == 0), np.where(ball.z > 0, 1, -1), phase)
    U = ball.geometry.U
    c = _chebyshev(target, U, ball.z, phase, 4 * max(part.lower, space.length))
    return None if c is None else np.asarray(np.linalg.lstsq(U.T, c, rcond=None)[0], np.float64)


def _chebyshev(target: Target, U: Array, z: Array, phase: Array, reach: float) -> Array | None:
    """Solve max t: g_i + t size_i <= 0 and signs hold, |c_j| <= reach, in (c, relu values, t)."""
    from scipy.optimize import linprog  # slow to import, and seldom needed

    (M, p), free, fixed = U.shape, phase == 0, phase != 0
    on = target.alpha * (phase > 0)
    size = target.size.sum(axis=1) * float(np.abs(z).max()) + target.constant
    rows = [
        np.column_stack([on @ U, target.positive * free, np.where(size > 0, size, 1.0)]),
        np.column_stack([U[free], -np.eye(M)[free], np.zeros(free.sum())]),
        np.column_stack([-phase[fixed, None] * U[fixed], np.zeros((fixed.sum(), M + 1))]),
    ]
    limits = np.concatenate([-(target.beta + on @ z), -z[free], (phase * z)[fixed]])
    bounds = [(-reach, reach)] * p + [(0, None)] * M + [(None, 1)]
    solved = linprog(-np.eye(p + M + 1)[-1], np.vstack(rows), limits, bounds=bounds)
    if solved.x is None or solved.x[-1] <= 0:
        return None
    found: Array = solved.x[:p]
    return found
