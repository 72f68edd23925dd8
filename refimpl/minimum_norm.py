"""Minimum-norm attack: the incumbents of the exact search, without its proofs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision, check_decision, check_labels
from refimpl.network import TwoLayerReLU
from refimpl.pivots import polish
from refimpl.polish import nearest
from refimpl.radius import ties
from refimpl.radius.answer import attain
from refimpl.radius.ball import Ball
from refimpl.radius.geometry import Flags, Target, in_range, targets_of
from refimpl.radius.incumbent import Incumbent, Point, Polished
from refimpl.radius.leaf import Multipliers
from refimpl.radius.points import Question
from refimpl.radius.region import Space
from refimpl.radius.search import length_in_sight
from refimpl.walks import Pieces, Walks

_WALKS = 48, 10  # about how many a sample has, and of how many steps
_FEW_WALKS = 4, 2  # the same where pieces are solved at once, which goes from piece to piece
_POLISHED = 6  # pieces of a sample at once, the ones with the least bounds
_ROUNDS = 3  # of these
_NEIGHBOURS = 3  # times that the pieces beside the nearest one are looked at
_GROWTH = (4.0, 2.0**12)  # lengths of the region that is looked at until a point is found
_CLOSE = 1e-9  # relative: a point nearer by less is not looked for
_BEYOND = (0.0, *(2.0**-bits for bits in (38, 28)))  # what points are pushed out by
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
    convex. Walks go from piece to piece by steps in closed form, for all samples and starts at
    once; they start in the sample's own piece, behind its nearest kinks, and, so that neurons that
    are inactive there count too, in pieces around random points. Each step bounds from below what
    its piece has. Of the pieces that may have a nearer point than the nearest one known, a few are
    solved as least-distance problems, kinks included, where a gradient would zigzag; and so are
    pieces that differ from the nearest one in one neuron. In l2 that is done for all samples at
    once. In other norms, with GroupMax where a neuron helps one class and harms another of a group,
    and where nothing is found, it is done sample by sample.

    That it fails shows nothing; `robust_radius` proves. Of networks and samples beyond the sizes
    that it takes, as where products of weights underflow, no point is looked for. Source: E31,
    derived.

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
            x_adv[index] = _near(question, space, x[index], y[index], z[index], rng)
    return x_adv


def _near(
    question: Question, space: Space, x: Array, y: IntArray, z: Array, rng: np.random.Generator
) -> Array:
    """Find near adversarial points (n,d) of samples that are classified correctly."""
    walks = Walks(space, question.net, question.decision, x, y, z)
    pieces = walks.around(*(_FEW_WALKS if walks.at_once else _WALKS), rng)
    x_adv, left = x.copy(), np.ones(len(x), np.bool_)
    if walks.at_once:
        found = nearest(walks, pieces)
        for again in (True, False):
            some = found.pieces.sample
            perturbation = -found.q @ question.net.W if space.plain else found.c
            guard = walks.noise(some, found.pieces.target, found.distance).max(axis=1)
            ends = _pushed(question, space, perturbation, x[some], y[some], guard)
            x_adv[some], left[some] = ends
            if not again or not left[some].any():
                break
            found = polish(walks, found.pieces.take(ends[1]), np.full(len(x), np.inf))
            found = found.take(np.isfinite(found.distance))
    rest = np.flatnonzero(left)
    if len(rest) > 0:
        incumbents = _searches(question, walks, pieces, rest, y)
        x_adv[rest] = _attained(question, space, incumbents, x[rest], y[rest])
    return x_adv


def _searches(
    question: Question, walks: Walks, pieces: Pieces, rest: IntArray, y: IntArray
) -> list[Incumbent]:
    """Polish the pieces of some samples, one sample after the other, in any norm."""
    targets = {
        label: targets_of(question.net, label, question.decision) for label in set(y[rest].tolist())
    }
    met = walks.nearest_met(pieces)
    c = walks.step(met, np.full(len(walks.x), np.inf))[0]
    found = []
    for k in rest.tolist():
        of_it = pieces.take(pieces.sample == k)
        of_it = of_it._replace(target=of_it.target - walks.aims[k, 0])
        size = np.abs(question.net.W) @ np.abs(walks.x[k]) + walks.space.geometry.bias
        ball = walks.space.around(walks.x[k], walks.z[k], size)
        its_targets = targets[int(y[k])]
        at = np.flatnonzero(met.sample == k)
        if len(at) > 0:
            piece = met.take(at)
            ball.resize(2 * float(piece.bound[0]))
            incumbent = Incumbent(ball, its_targets, "adversarial", None)
            _offer(incumbent, piece._replace(target=piece.target - walks.aims[k, 0]), c[at[0]])
            _polish(incumbent, of_it)
        else:
            incumbent = _search(ball, its_targets, float(np.linalg.norm(walks.x[k])), of_it)
        found.append(incumbent)
    return found


def _search(ball: Ball, targets: list[Target], x_norm: float, pieces: Pieces) -> Incumbent:
    """Polish pieces of a sample of which no adversarial point is known yet."""
    length = length_in_sight(ball, targets, x_norm)
    for growth in _GROWTH:
        ball.resize(growth * length)
        incumbent = Incumbent(ball, targets, "adversarial", None)
        _polish(incumbent, pieces)
        if incumbent.points:
            break
    return incumbent


def _offer(incumbent: Incumbent, piece: Pieces, c: Array) -> None:
    """Take the point (p,) of a piece that is met."""
    index, row, on = int(piece.target[0]), piece.row, piece.on[0]
    ball, problem = incumbent.ball, incumbent.problems[index]
    alpha = problem.target.alpha
    v, w = c, np.eye(len(alpha))[row[0]]
    if ball.euclidean:  # c = U^T v
        q = alpha[row[0]] * on
        v = -float(piece.bound[0]) / (np.linalg.norm(q @ ball.geometry.U) or 1.0) * q
    problem.planes = np.append(problem.planes, problem.pool.add(row, piece.on))
    z = ball.at(v)
    incumbent.offer(Point(v, problem, ball.piece(piece.on), problem.planes))
    tau = np.asarray(on, np.float64)
    incumbent.polished[index] = Polished(on, Multipliers(w, tau, np.zeros(len(on))), z)
    incumbent.visited.add((index, on[problem.target.branching].tobytes()))


def _pushed(
    question: Question, space: Space, perturbation: Array, x: Array, y: IntArray, guard: Array
) -> tuple[Array, Flags]:
    """Points (n,d) that the network finds adversarial, a little beyond, and which are not.

    By more than rounding can lose, so that another order of the sums finds the same.
    """

    def hit(rows: IntArray, ends: Array) -> Flags:
        return question.adversarial(question.net.outputs(ends), y[rows], guard[rows])

    return _taken(space, perturbation, x, sorted(_BEYOND), hit)


def _tied(question: Question, space: Space, perturbation: Array, x: Array, y: IntArray) -> Array:
    """Points (n,d) that are ties in truth, and x where there is none."""
    known: dict[tuple[bytes, int], bool] = {}

    def hit(rows: IntArray, ends: Array) -> Flags:
        found = question.adversarial(question.net.outputs(ends), y[rows])
        for k in np.flatnonzero(found).tolist():
            key = ends[k].tobytes(), int(y[rows[k]])  # of many samples, a corner
            if key not in known:
                alone = 0 in question.evaluated(ends[k : k + 1], key[1])
                known[key] = alone and ties.is_beside(question, ends[k], key[1])
            found[k] = known[key]
        return found

    return _taken(space, perturbation, x, sorted(_BEYOND, reverse=True), hit)[0]


def _taken(
    space: Space,
    perturbation: Array,
    x: Array,
    beyond: list[float],
    hit: Callable[[IntArray, Array], Flags],
) -> tuple[Array, Flags]:
    """Take for each sample the first multiple of its perturbation that is a hit; which have none.

    `hit` tells it of the samples of some indices and their endpoints.
    """
    x_adv, left = x.copy(), np.ones(len(x), np.bool_)
    for farther in beyond:
        rows = np.flatnonzero(left)
        if len(rows) == 0:
            break
        ends = space.end(x[rows], (1 + farther) * perturbation[rows])[0]
        good = hit(rows, ends)
        x_adv[rows[good]], left[rows[good]] = ends[good], False
    return x_adv, left


def _attained(
    question: Question, space: Space, found: list[Incumbent], x: Array, y: IntArray
) -> Array:
    """Points (n,d) of incumbents that the network finds adversarial; ties come last."""
    some = np.array([k for k, incumbent in enumerate(found) if incumbent.points], np.int64)
    x_adv, W = x.copy(), question.net.W
    if len(some) == 0:
        return x_adv
    perturbation = np.array([found[k].ball.perturbation(found[k].points[-1].v, W) for k in some])
    guard = np.array([_noise(found[k]) for k in some])
    x_adv[some], left = _pushed(question, space, perturbation, x[some], y[some], guard)
    for i in np.flatnonzero(left).tolist():
        k = int(some[i])
        points = found[k].points[: -_POINTS - 1 : -1]
        attained = attain(question, space, found[k], points, x[k], int(y[k]))
        if attained is not None:
            x_adv[k], left[i] = space.end(x[k], attained[1][None])[0][0], False
    rest = some[left]
    x_adv[rest] = _tied(question, space, perturbation[left], x[rest], y[rest])
    return x_adv


def _noise(incumbent: Incumbent) -> float:
    """Bound the rounding error of all constraints near the incumbent."""
    ball = incumbent.ball
    return max(float(p.target.noise(ball.geometry, ball.reach).max()) for p in incumbent.problems)


def _promising(pieces: Pieces, incumbent: Incumbent) -> Pieces:
    """Pieces that may have a nearer point, those with the least bounds first."""
    pieces = pieces.take(pieces.bound < incumbent.ball.radius * (1 - _CLOSE))
    best: dict[tuple[int, bytes], int] = {}
    for k in np.argsort(-pieces.bound).tolist():
        t = int(pieces.target[k])
        branching = incumbent.problems[t].target.branching
        best.setdefault((t, pieces.on[k, branching].tobytes()), k)
    order = [k for key, k in reversed(best.items()) if key not in incumbent.visited]
    return pieces.take(np.array(order[:_POLISHED], np.int64))


def _polish(incumbent: Incumbent, pieces: Pieces) -> None:
    """Offer the nearest points of pieces, and go on from the nearest one."""
    for _ in range(_ROUNDS):
        chosen = _promising(pieces, incumbent)
        while len(chosen.bound) > 0:
            index = int(chosen.target[0])
            problem, of_it = incumbent.problems[index], chosen.target == index
            on = chosen.on[of_it]
            incumbent.visited |= {(index, row[problem.target.branching].tobytes()) for row in on}
            incumbent.visit(problem, on)
            chosen = chosen.take(~of_it & (chosen.bound < incumbent.ball.radius))
    for point in incumbent.points[-1:]:
        for _ in range(_NEIGHBOURS):
            incumbent.polish(point.problem, incumbent.near(point.problem))
