"""Minimum-norm attack: the incumbents of the exact search, without its proofs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl._validation import Array
from refimpl.decisions import Decision, check_decision, check_labels
from refimpl.network import TwoLayerReLU
from refimpl.radius import fast
from refimpl.radius.answer import attain
from refimpl.radius.ball import Ball
from refimpl.radius.geometry import Geometry, Target, in_range, targets_of
from refimpl.radius.incumbent import Incumbent
from refimpl.radius.points import Question
from refimpl.radius.problem import Problem
from refimpl.radius.region import Space
from refimpl.radius.search import length_in_sight

_RESTARTS = 8  # in vain, each in the piece around a random point, that end the attack
_FARTHEST = 3  # of these points: 2^4 times as far as the nearest adversarial point known
_PIECES = 8  # visited one after the other from there
_GROWTH = (4.0, 2.0**12)  # lengths of the region that is looked at until a point is found
_POINTS = 3  # that are tried, where the nearest cannot be evaluated as adversarial


def minimum_norm_attack(
    net: TwoLayerReLU,
    x: ArrayLike,
    y: ArrayLike,
    *,
    decision: Decision = "sign",
    norm: float = 2,
    box: Any = None,
    rng: int | np.random.Generator,
) -> Array:
    """Look for the nearest adversarial point of each sample.

    x' is near argmin{||x' - x||_norm : lo <= x' <= hi, x' is adversarial}: the nearest point of
    a linear piece of the network, and of no piece beside it.

    Parameters
    ----------
    net : TwoLayerReLU
    x : (n,d) array
    y : (n,) array
        Class integers for argmax, -1 or +1 for the other decisions.
    decision : "sign", "argmax", GroupMax or GroupSum
    norm : 1, 2 or numpy.inf
    box : pair (lo, hi), optional
        Numbers or (d,) arrays, infinities allowed, that bound x and the result.
    rng : int or numpy.random.Generator

    Returns
    -------
    (n,d) array
        Adversarial points, ties among them, in the box, as float64 computes the outputs. x itself
        in rows that are adversarial as they are, and where no point was found.

    Raises
    ------
    ValueError
        Bad shapes or values, a sample outside the box, another norm.

    Notes
    -----
    A *piece* fixes which of the neurons that count against the sample are on. What is left is
    convex, and its nearest point solves a few small least-distance problems, kinks included, where
    a gradient would zigzag. From there the attack goes on to the piece that the point lies in, and
    to pieces that differ in one neuron. It starts from the linear step at the sample, and, so that
    neurons that are inactive there count too, from pieces around random points.

    That it fails shows nothing; `robust_radius` proves. Source: E31, derived.

    Examples
    --------
    >>> net = TwoLayerReLU([[1, 0], [0, 1]], None, [[1, -1]])
    >>> minimum_norm_attack(net, [[3, 1]], [1], rng=0).round(6).tolist()
    [[2.0, 2.0]]
    """
    check.instance("net", net, TwoLayerReLU)
    decision = check_decision(decision, net.n_outputs)
    x = np.ascontiguousarray(check.real_array("x", x, ("n", net.dim)))
    y = check_labels(y, len(x), decision, net.n_outputs)
    space = Space.of(net, check.check_norm(norm), check.check_box(box, x))
    rng = check.generator(rng)
    question = Question(net, decision, "adversarial")
    x_adv = x.copy()
    with np.errstate(all="ignore"):  # a piece that overflows has no point
        z = net.preactivations(x)
        right = ~question.adversarial(net.readout(z), y) & in_range(net, x)
        for label in np.unique(y[right]).tolist():
            targets = targets_of(net, label, decision)
            index = np.flatnonzero(right & (y == label))
            starts = _first_steps(net, space, targets, x[index], z[index])
            for i, start in zip(index, starts, strict=True):
                incumbent = _search(net, space, targets, x[i], z[i], start, rng)
                points = incumbent.points[: -_POINTS - 1 : -1]
                found = attain(question, space, incumbent, points, x[i], label)
                if found is not None:
                    x_adv[i] = space.end(x[i], found[1][None])[0][0]
    return x_adv


def _first_steps(
    net: TwoLayerReLU, space: Space, targets: list[Target], x: Array, z: Array
) -> Array:
    """Weights v (n,M) of the nearest point v W of the pieces that the fast path looks at."""
    geometry = space.geometry if space.plain else Geometry.of(net)
    size = np.abs(x) @ np.abs(net.W).T + geometry.bias
    return fast.bound(geometry, targets, z, size).v


def _search(
    net: TwoLayerReLU,
    space: Space,
    targets: list[Target],
    x: Array,
    z: Array,
    start: Array,
    rng: np.random.Generator,
) -> Incumbent:
    """Find near adversarial points of one sample."""
    ball = space.around(x, z, np.abs(net.W) @ np.abs(x) + space.geometry.bias)
    length = length_in_sight(ball, targets, float(np.linalg.norm(x)))
    for growth in _GROWTH:
        ball.resize(growth * length)
        incumbent = Incumbent(ball, targets, "adversarial", None)
        incumbent.start(ball.start(start, targets, net.W))
        for problem in incumbent.problems:
            incumbent.polish(problem, incumbent.near(problem))
        _restart(incumbent, length, rng)
        if incumbent.points:
            break
    return incumbent


def _restart(incumbent: Incumbent, length: float, rng: np.random.Generator) -> None:
    """Polish pieces around random points, until a few in a row bring nothing nearer."""
    vain = 0
    while vain < _RESTARTS:
        known = len(incumbent.points)
        radius = incumbent.ball.radius if known else length
        nearest = [point.problem for point in incumbent.points[-1:]]
        for problem in nearest or incumbent.problems:
            _descend(incumbent, problem, _around(incumbent.ball, radius, rng))
        vain = 0 if len(incumbent.points) > known else vain + 1


def _descend(incumbent: Incumbent, problem: Problem, z: Array) -> None:
    """Go from piece to piece, however far, and on to the neighbours of the nearest one."""
    for _ in range(_PIECES):
        on = z > 0
        key = problem.index, on[problem.target.branching].tobytes()
        if key in incumbent.visited:
            break
        incumbent.visited.add(key)
        z, _ = incumbent.visit(problem, on[None])
    incumbent.polish(problem, z)


def _around(ball: Ball, radius: float, rng: np.random.Generator) -> Array:
    """Preactivations (M,) of a random point, from one to many times this distance in l2."""
    direction = rng.standard_normal(ball.geometry.U.shape[1])
    far = 2 ** rng.uniform(0, _FARTHEST) * radius / ball.per_l2[0]
    direction *= far / float(np.linalg.norm(direction))
    return np.asarray(ball.z + ball.geometry.U @ direction)
