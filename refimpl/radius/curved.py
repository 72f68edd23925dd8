"""Nodes bounded with parabolas while many neurons are free, and their intervals narrowed (E42).

`parabola` climbs to multipliers; here they are evaluated with their rounding error taken off. Where
they do not exclude a node, its adversarial points lie in the ellipsoid {Q <= 0}, and every interval
is cut to what z_r takes there. Neurons become stable, and with fewer parabolas the next climb gets
higher; both are repeated while neurons are lost.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from refimpl._arrays import Array
from refimpl.radius.ball import Ball
from refimpl.radius.geometry import FLOOR, UNIT, Flags
from refimpl.radius.leaf import Multipliers
from refimpl.radius.narrowing import Intervals, Narrowing, contradictory, step
from refimpl.radius.parabola import Bound, Part, Step, climb
from refimpl.radius.problem import Problem
from refimpl.radius.state import State
from refimpl.radius.tree import Node

_ROUNDS = 12
_END = 10  # free neurons that are left to chords at once in a box
_EAGER = 0.8  # of the free neurons: in a box cuts are made when no more seem to be left
_ROOM = 1e-4  # of `Bound.room`: less is no place to climb further
_PATIENCE = 8  # steps in which no neuron is lost
_RISES = 0.1  # relative: a step of F that is worth more of them
_LOST = 0.9  # of the free neurons: another round where no more are left
_FEWER = 0.7  # of the free neurons: time for another climb, from narrower intervals
_DEFINITE = (1e-2, 1e-4, 1e-6)  # tried as least eigenvalues of Q's Hessian over lambda
_PAD = 1e-4  # relative, of every cut: more than the checker's own rounding, where H is well off
_ERRORS = 64  # rounding errors of Q that a cut leaves to the checker


class Certain(NamedTuple):
    """What is certain of Q: inf Q >= value, and how far Q, z and H^-1 are off.

    The minimiser's z_r are off by at most `shift` (m,), and w_r^T H^-1 w_r by `spread` (m,). H has
    no eigenvalue below `least`.
    """

    value: float
    error: float
    shift: Array
    spread: Array
    least: float


def free(ball: Ball, node: Node) -> int:
    """Count the free branching neurons of a node; parabolas are for l2 alone (E40)."""
    if ball.norm != 2:
        return 0
    lines = ball.nodes(node.signs[None], node.lo[None], node.up[None])
    return int(((lines.phase == 0) & node.problem.target.is_branching).sum())


def bound(state: State, node: Node, w: Array) -> Node:
    """Bound a node with parabolas, round after round; return what is left of it."""
    warm = node.warm
    for _ in range(_ROUNDS):
        count, rest = free(node.problem.ball, node), _round(state, node, w, warm)
        if rest is None:
            break
        node.rest, node, warm = rest, rest, None
        left = free(node.problem.ball, node)
        few = left < _END and not node.problem.ball.euclidean
        if node.lower >= state.goal or few or left >= _LOST * count or state.late():
            break
    return node


def _round(state: State, node: Node, w: Array, warm: Multipliers | None) -> Node | None:
    """Climb once; what is left of the node, None if that is all of it."""
    problem, ball = node.problem, node.problem.sized(state.incumbent.ball.radius)
    lo, up = _at_hand(ball, node)
    gamma, beta = w @ problem.target.alpha, float(w @ problem.target.beta)
    around = lo, up, node.signs, ball.radius
    near = problem.take(state.incumbent.near(problem.whole))
    part = Part(ball.geometry.gram, ball.z, gamma, beta, *around, box=ball.box(), near=near)
    start = _start(problem, part, near, warm)
    if start is None or part.n == 0:
        return None
    ascent = _Ascent(state, node, w, lo, up, part.n)
    value, patience, last = start.value, _PATIENCE, start
    for found in climb(part, start):
        if found.bound.value < 0 and found.bound.room < _ROOM:
            break
        last = found.bound
        patience -= 1
        if ascent.take(found):
            patience = _PATIENCE
        if found.bound.value > value + _RISES * abs(value):
            value, patience = found.bound.value, _PATIENCE
        hopeless = patience == 0 or found.most < 0 or ascent.left < _FEWER * part.n
        if ascent.done or hopeless or state.late():
            break
    node.neuron = int(part.index[last.losses().argmax()])
    return ascent.rest(last)


class _Ascent:
    """What one climb has proved of a node so far, and its intervals as they were cut.

    All is proved from the intervals before the climb, so that it holds wherever a step is used.
    """

    def __init__(
        self, state: State, node: Node, w: Array, lo: Array, up: Array, count: int
    ) -> None:
        self.state, self.node, self.w = state, node, w
        self.before, self.lo, self.up = (lo, up), lo, up
        self.left, self.done = count, False  # neurons with parabolas; whether no more is needed
        self.asked = self.next(count)  # neurons that a step has to leave at most
        self.steps: list[Narrowing] = []
        self.best: tuple[float, Multipliers] = (0.0, node.multipliers)

    def next(self, count: int) -> int:
        """How many neurons the next cuts are to leave at most: what one costs is up to the box."""
        return count - 1 if self.node.problem.ball.euclidean else int(_EAGER * count)

    def take(self, found: Step) -> bool:
        """Take a step's bound and intervals where they may be better; tell if neurons are lost."""
        target = self.node.problem.target
        lo, up = self.lo.copy(), self.up.copy()
        lo[found.neurons] = np.maximum(lo[found.neurons], found.lo)
        up[found.neurons] = np.minimum(up[found.neurons], found.up)
        gamma = self.w @ target.alpha
        hoped = _free(lo, up, gamma)
        if found.bound.value <= 0 and hoped > self.asked:
            return False
        certain, multipliers = self.prove(found.bound)
        if self.done:
            return False
        cut = _cut(self.node.problem.ball, found, certain, self.lo, self.up)
        left = _free(cut.lo[0], cut.up[0], gamma)
        self.asked = self.next(hoped if found.bound.part.box is not None else left)
        if left == self.left and not contradictory(*cut[:2]).any():
            return False
        self.steps.append(step(cut, target, self.lo, self.up, 0, multipliers))
        self.left, self.lo, self.up = left, cut.lo[0], cut.up[0]
        self.done = bool(contradictory(self.lo, self.up))
        return True

    def prove(self, bound: Bound) -> tuple[Certain, Multipliers]:
        """Prove a bound of the node with its rounding errors, and keep it if it is the best."""
        node, ball = self.node, self.node.problem.ball
        multipliers = Multipliers(self.w, *bound.multipliers())
        certain = _certain(node.problem, ball, *self.before, node, multipliers, bound)
        lower = _distance(certain.value, bound.lam, ball.radius)
        if lower > self.best[0]:
            self.best = lower, multipliers
        self.done = lower >= self.state.goal
        return certain, multipliers

    def rest(self, last: Bound) -> Node | None:
        """Give the node its bound; return what is left of it, None if that is all of it."""
        node, problem = self.node, self.node.problem
        if not self.done and last.distance > self.best[0]:
            self.prove(last)
        if self.best[0] > node.lower:
            node.lower = node.proved = self.best[0]
            node.multipliers = self.best[1]
            node.warm = problem.multipliers(node.multipliers)
        if node.lower >= self.state.goal or not self.steps:
            return None
        node.narrowing = tuple(self.steps)
        rest = replace(node, lo=self.lo, up=self.up, narrowing=())
        rest.proved = math.inf if contradictory(self.lo, self.up) else 0.0
        rest.lower = max(rest.lower, rest.proved)
        if rest.lower < self.state.goal:
            whole = problem.whole
            self.state.incumbent.polish(whole, whole.ball.at(problem.point(last.point())))
        return rest


def _free(lo: Array, up: Array, gamma: Array) -> int:
    """Count the neurons that have parabolas."""
    return int(((lo < 0) & (up > 0) & (gamma < 0)).sum())


def _start(problem: Problem, part: Part, near: Array, warm: Multipliers | None) -> Bound | None:
    """Start from the best point known, or from where the node above had come."""
    starts = [part.start(near)]
    if warm is not None and warm.kappa is not None and (starts[0] is None or starts[0].value < 0):
        arrays = warm.tau, warm.nu, warm.kappa
        tau, nu, kappa = (problem.take(array)[part.index] for array in arrays)
        n, own = part.n, slice(part.n, part.n + part.p)
        if (kappa[:n] > 0).all():
            nu[nu <= 0] = nu[nu > 0].min(initial=1e-3)
            sides = np.concatenate((np.clip(tau[own], 0.01, 0.99), nu[own.stop :]))
            starts.append(part.at(1 / (4 * kappa[:n]), sides, warm.ball))
    found = [start for start in starts if start is not None]
    return max(found, key=lambda start: start.value, default=None)


def _at_hand(ball: Ball, node: Node) -> tuple[Array, Array]:
    """Intervals (m,) of a node, its path's signs among them."""
    lo, up = ball.intervals()
    lo, up = np.maximum(node.lo, lo), np.minimum(node.up, up)
    lo = np.where(node.signs > 0, np.maximum(lo, 0.0), lo)
    return lo, np.where(node.signs < 0, np.minimum(up, 0.0), up)


def _distance(value: float, lam: float, radius: float) -> float:
    """Radius within the ball for which the same multipliers prove Q > 0 (E35)."""
    square = radius**2 + value / lam
    return radius if square >= radius**2 else math.sqrt(max(square, 0.0)) * (1 - 8 * UNIT)


def _certain(
    problem: Problem, ball: Ball, lo: Array, up: Array, node: Node, m: Multipliers, bound: Bound
) -> Certain:
    """Bound inf Q from below: Q and its gradient at one point, and its Hessian's least eigenvalue.

    inf Q >= Q(c) - ||grad Q(c)||^2 / (4 sigma) for H >= sigma I, at any c: the minimiser's. At the
    sides of a box the gradient is without what the sides' multipliers take away (E40).
    """
    geometry, target = ball.geometry, problem.target
    gamma, absolute = m.weights @ target.alpha, m.weights @ target.size + m.nu
    c = ball.perturbation(bound.point(), geometry.U)
    t = ball.z + geometry.U @ c
    curved = (lo < 0) & (up > 0) & (gamma < 0)
    kappa = np.where(curved, bound.multipliers()[2], 0.0)
    s = 1 / (4 * np.where(curved, kappa, 1.0))
    q = np.where(curved, 0.0, gamma * np.where(gamma > 0, m.tau, lo >= 0)) - node.signs * m.nu
    above = kappa * np.square(t + s)
    square = float(c @ c)
    reach = ball.reach + geometry.norms * math.sqrt(square)  # c may lie beyond the region
    value = float(m.weights @ target.beta + q @ t + gamma @ above)
    value += m.ball * (square - ball.radius**2)
    rho = q + 2 * gamma * kappa * (t + s)
    sizes = absolute * (reach + above + 2 * kappa * np.abs(t + s) * reach)
    error = (
        2
        * geometry.rounding
        * float(sizes.sum() + m.weights @ target.constant + m.ball * (square + ball.radius**2))
    )
    slope = float(np.linalg.norm(ball.inward(c, rho @ geometry.U + 2 * m.ball * c)))
    weight = np.abs(rho) + absolute + 2 * absolute * kappa * reach
    slope += (
        2
        * (geometry.factor + geometry.rounding)
        * float(weight @ geometry.norms + 2 * m.ball * math.sqrt(square))
    )
    least = _definite(ball, -gamma * kappa / m.ball, curved)
    if least == 0:
        nothing = np.full_like(t, math.inf)
        return Certain(-math.inf, error, nothing, nothing, 0.0)
    shift = geometry.norms * slope / (2 * least * m.ball)
    spread = 64 * len(t) * UNIT / least**2 * np.square(geometry.norms) / m.ball
    value -= error + slope**2 / (4 * least * m.ball) + FLOOR
    return Certain(value, error, shift, spread, least * m.ball)


def _definite(ball: Ball, weights: Array, curved: Flags) -> float:
    """Find sigma > 0 with I - W_N^T diag(weights) W_N >= sigma I, or 0."""
    from scipy.linalg import lapack  # on first use: importing it takes longer than refimpl itself

    N = np.flatnonzero(curved)
    root, n = np.sqrt(weights[N]), len(N)
    scaled = root[:, None] * ball.geometry.gram[np.ix_(N, N)] * root
    size = float(np.square(root * ball.geometry.norms[N]).sum())
    error = (2 * ball.geometry.factor + (ball.geometry.U.shape[1] + 8) * UNIT) * size
    error += 4 * (n + 1) ** 2 * UNIT
    for least in _DEFINITE:
        matrix = -scaled
        matrix.flat[:: n + 1] += 1 - least - error
        if n == 0 or lapack.dpotrf(matrix, lower=1, overwrite_a=1)[1] == 0:
            return least
    return 0.0


def _cut(ball: Ball, found: Step, certain: Certain, lo: Array, up: Array) -> Intervals:
    """Cut intervals (m,) to the ellipsoid {Q <= 0}, (1,m) as of one node (E42)."""
    new = Intervals(lo[None].copy(), up[None].copy(), *np.zeros((2, 1, len(lo))))
    if not math.isfinite(certain.value) or found.bound.value >= 0:
        return new
    if found.bound.part.box is not None:
        return _cut_in_box(ball, found, certain, new)
    bound, r = found.bound, found.neurons
    below = max(-certain.value, 0.0) + _ERRORS * certain.error
    center, half = (found.lo + found.up) / 2, (found.up - found.lo) / 2
    spread = np.square(half) / max(-bound.value, FLOOR) + certain.spread[r]
    half = (
        np.sqrt(below * spread) * (1 + _PAD)
        + certain.shift[r]
        + _ERRORS * ball.geometry.rounding * ball.reach[r]
    )
    mu = np.sqrt(spread / below) / 2
    higher, lower = center - half > lo[r], center + half < up[r]
    # (E42)
    new.lo[0, r[higher]], new.mu_lo[0, r[higher]] = (center - half)[higher], mu[higher]
    new.up[0, r[lower]], new.mu_up[0, r[lower]] = (center + half)[lower], mu[lower]
    return new


def _cut_in_box(ball: Ball, found: Step, certain: Certain, new: Intervals) -> Intervals:
    """Cut those intervals that seem to lose a sign to what {Q <= 0} and the box leave (E40, E42).

    Any mu > 0 and any point c show z_r <= z_r - mu Q, which is at most its value at c and the
    square of the length of what the box leaves of its gradient there over 4 mu times the least
    eigenvalue of H.
    """
    bound, r, lo, up = found.bound, found.neurons, new.lo[0], new.up[0]
    below = max(-certain.value, 0.0) + _ERRORS * certain.error
    above, under = (lo[r] < 0) & (found.up < 0), (up[r] > 0) & (found.lo > 0)
    r, sign = np.concatenate((r[above], r[under])), np.repeat((1, -1), (above.sum(), under.sum()))
    if len(r) == 0:
        return new
    half = (found.up - found.lo) / 2
    half = np.concatenate((half[above], half[under]))
    mu = half / (2 * math.sqrt(-bound.value * below))
    w = sign[:, None] * ball.geometry.U[r]
    points = bound.farthest(w / mu[:, None])
    values, gradients = bound.values(points)
    rest = ball.inward(points, mu[:, None] * gradients - w)
    loss = np.einsum("ij,ij->i", rest, rest) / (4 * mu * certain.least)
    most = sign * ball.z[r] + np.einsum("ij,ij->i", w, points) + loss - mu * values
    most += _PAD * half + _ERRORS * (mu * certain.error + ball.geometry.rounding * ball.reach[r])
    most *= sign
    above, under = (sign > 0) & (most < up[r]), (sign < 0) & (most > lo[r])
    up[r[above]], new.mu_up[0, r[above]] = most[above], mu[above]
    lo[r[under]], new.mu_lo[0, r[under]] = most[under], mu[under]
    return new
