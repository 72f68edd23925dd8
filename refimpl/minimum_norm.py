"""Minimum-norm attack: the incumbents of the exact search, without its proofs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl._validation import Array, IntArray
from refimpl.decisions import Decision, check_decision, check_labels
from refimpl.network import TwoLayerReLU
from refimpl.radius.answer import attain
from refimpl.radius.geometry import Target, in_range, targets_of
from refimpl.radius.incumbent import Incumbent
from refimpl.radius.points import Question
from refimpl.radius.region import Space
from refimpl.radius.search import length_in_sight
from refimpl.walks import Pieces, Walks

_STARTS = 32  # random ones of a sample
_POLISHED = 6  # pieces of a sample, the ones with the least bounds
_NEIGHBOURS = 3  # times that the pieces beside the nearest one are looked at
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
        index = np.flatnonzero(~question.adversarial(net.readout(z), y) & in_range(net, x))
        if len(index) > 0:
            targets, aims = _targets(net, y[index], decision)
            pieces = Walks(space, targets, aims, x[index], z[index]).around(_STARTS, rng)
            for k, i in enumerate(index):
                near = pieces.take(np.flatnonzero(pieces.sample == k))
                near = near._replace(target=near.target - aims[k][0])
                incumbent = _search(net, space, [targets[t] for t in aims[k]], x[i], z[i], near)
                points = incumbent.points[: -_POINTS - 1 : -1]
                found = attain(question, space, incumbent, points, x[i], int(y[i]))
                if found is not None:
                    x_adv[i] = space.end(x[i], found[1][None])[0][0]
    return x_adv


def _targets(
    net: TwoLayerReLU, y: IntArray, decision: Decision
) -> tuple[list[Target], list[list[int]]]:
    """Targets of all labels, and the indices of those of each sample."""
    targets, of_label = [], {}
    for label in np.unique(y).tolist():
        found = targets_of(net, label, decision)
        of_label[label] = list(range(len(targets), len(targets) + len(found)))
        targets += found
    return targets, [of_label[label] for label in y.tolist()]


def _search(
    net: TwoLayerReLU, space: Space, targets: list[Target], x: Array, z: Array, pieces: Pieces
) -> Incumbent:
    """Find near adversarial points of one sample."""
    ball = space.around(x, z, np.abs(net.W) @ np.abs(x) + space.geometry.bias)
    length = length_in_sight(ball, targets, float(np.linalg.norm(x)))
    for growth in _GROWTH:
        ball.resize(growth * length)
        incumbent = Incumbent(ball, targets, "adversarial", None)
        _polish(incumbent, _promising(pieces, targets))
        if incumbent.points:
            break
    return incumbent


def _promising(pieces: Pieces, targets: list[Target]) -> Pieces:
    """Pieces that may have the nearest point, those with the least bounds first."""
    best: dict[tuple[int, bytes], int] = {}
    known = pieces.bound[pieces.met].min(initial=math.inf)
    for k in np.argsort(-pieces.bound).tolist():
        t = int(pieces.target[k])
        best.setdefault((t, pieces.on[k, targets[t].branching].tobytes()), k)
    order = [k for k in reversed(best.values()) if pieces.bound[k] <= known]
    return pieces.take(np.array(order[:_POLISHED], np.int64))


def _polish(incumbent: Incumbent, pieces: Pieces) -> None:
    """Offer the nearest points of pieces, and go on from the nearest one."""
    while len(pieces.bound) > 0:
        index = int(pieces.target[0])
        problem, of_it = incumbent.problems[index], pieces.target == index
        on = pieces.on[of_it]
        incumbent.visited |= {(index, row[problem.target.branching].tobytes()) for row in on}
        incumbent.visit(problem, on)
        pieces = pieces.take(~of_it & (pieces.bound < incumbent.ball.radius))
    for point in incumbent.points[-1:]:
        for _ in range(_NEIGHBOURS):
            incumbent.polish(point.problem, incumbent.near(point.problem))
