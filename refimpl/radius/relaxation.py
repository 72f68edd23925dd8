"""Lower bounds on the distance to a target within nodes: least-distance problems (E31, E33).

A node of branch and bound fixes the phases of some branching neurons. Where the phase of neuron r is
free, ReLU(z_r) is bounded above by its chord over the interval that z_r keeps within the ball. What
is left is convex: with its own ReLUs replaced by cutting planes, z_r or 0, a node reads

    minimise ||c||  subject to  N z(c) + constants <= 0,  z(c) = z + U c,

and is solved by non-negative least squares (Lawson and Hanson, *Solving Least Squares Problems*,
chapter 23). The solver's status is never used: any multipliers u >= 0 give an affine minorant and
with it a bound, and it is this bound, evaluated with its rounding error taken off, that counts.

Nodes are relaxed several at a time, (B,M) arrays, since a node alone is too small for NumPy.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.radius.geometry import Flags, Geometry, Target


class Lines(NamedTuple):
    """What stands for ReLU(z_r) on B nodes: slope_r z_r + offset_r where its weight is negative.

    Where the weight is positive: z_r, 0, or cuts, by the phase 1 on, -1 off, 0 free. `signs` has
    the neurons whose sign is demanded, 1 for z_r >= 0, -1 for z_r <= 0. All are (B,M).
    """

    signs: IntArray
    phase: IntArray
    slope: Array
    offset: Array

    def take(self, index: Any) -> Lines:
        """Return some of the nodes."""
        return Lines(*(array[index] for array in self))


class Ball:
    """One sample seen from inside ||c|| <= radius, where lo <= z(c) <= up."""

    def __init__(self, geometry: Geometry, z: Array, x_norm: float, radius: float) -> None:
        self.geometry, self.z, self.x_norm = geometry, z, x_norm
        self.shrink(radius)

    def shrink(self, radius: float) -> None:
        """Take another radius, that of a new incumbent."""
        norms = self.geometry.norms
        self.radius = radius
        self.reach = norms * (self.x_norm + radius) + self.geometry.bias
        width = norms * radius + self.geometry.rounding * self.reach
        self.lo, self.up = self.z - width, self.z + width
        self.stable = np.where(self.lo >= 0, 1, np.where(self.up <= 0, -1, 0))
        unstable = self.stable == 0
        self.chord = np.where(unstable, self.up, 0.0) / np.where(unstable, self.up - self.lo, 1.0)

    def nodes(self, signs: IntArray) -> Lines:
        """Lines above ReLU(z_r) within the ball on nodes of the tree, given by their signs (B,M)."""
        phase = np.where(signs != 0, signs, self.stable)
        free = phase == 0
        slope = np.where(free, self.chord, phase > 0)
        return Lines(signs, phase, slope, np.where(free, -slope * self.lo, 0.0))

    def piece(self, on: Flags) -> Lines:
        """Lines that define the piece of the branching neurons `on`: z_r there, 0 elsewhere."""
        slope = np.where(self.stable == 0, on, self.stable > 0).astype(np.float64)[None]
        zero = np.zeros_like(slope)
        return Lines(zero.astype(np.int64), self.stable[None], slope, zero)

    def lower(self, target: Target, w: Array, q: Array, constant: Any, extra: Any = 0.0) -> Array:
        """Bound ||c|| from below where <q, z(c)> + constant <= 0, for rows of q (B,M).

        l0 / ||l1|| with the rounding error of both taken off: see `Geometry`. Neurons have the absolute
        weights w (B,I) times the target's sizes, and `extra` (B,M) beyond that.
        """
        absolute = w @ target.size + extra
        noise = self.geometry.rounding * (absolute @ self.reach + w @ target.constant)
        l1 = np.sqrt(np.square(q @ self.geometry.U).sum(axis=-1))
        l1 += self.geometry.factor * (l1 + absolute @ self.geometry.norms)
        l0 = np.maximum(q @ self.z + constant - noise, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(l0 > 0, l0 / l1, 0.0)  # (E31)


class Cuts:
    """Linear pieces of one target's constraints, shared by its nodes, which name them by index."""

    def __init__(self, target: Target, z: Array) -> None:
        n_rows = len(target.beta)
        self.row = np.arange(n_rows)  # whose constraint
        self.on = np.repeat((z > 0)[None], n_rows, axis=0)  # which own ReLUs stand as z_r, not 0
        self.first = self.row  # every constraint linearised at the sample itself

    def add(self, row: IntArray, on: Flags) -> IntArray:
        """Add cuts, and return their indices."""
        self.row = np.concatenate((self.row, row))
        self.on = np.concatenate((self.on, on))
        return np.arange(len(self.row) - len(row), len(self.row))

    def has(self, index: IntArray, row: int, on: Flags) -> bool:
        """Tell whether a cut is among those of the given indices."""
        index = index[self.row[index] == row]
        return bool((self.on[index] == on).all(axis=1).any())


class Multipliers(NamedTuple):
    """What a certificate's leaf holds: w (I,), tau (M,), nu (M,)."""

    weights: Array
    tau: Array
    nu: Array


class Relaxations(NamedTuple):
    """What is known of B nodes.

    `lower` (B,) bounds the distance; weights (B,I), tau and nu (B,M) prove it, as a certificate's leaf.
    c = U^T v is the relaxed minimiser, z its preactivations, both (B,M), `feasible` (B,) where
    it meets the target itself.
    """

    lower: Array
    weights: Array
    tau: Array
    nu: Array
    v: Array
    z: Array
    feasible: Flags
    cuts: list[IntArray]

    def take(self, index: Any) -> Relaxations:
        """Return some of the nodes."""
        *arrays, cuts = self
        return Relaxations(*(array[index] for array in arrays), [cuts[b] for b in index])

    def multipliers(self, b: int) -> Multipliers:
        """Multipliers of one node."""
        return Multipliers(self.weights[b], self.tau[b], self.nu[b])


def relax(
    ball: Ball,
    target: Target,
    lines: Lines,
    pool: Cuts,
    cuts: list[IntArray],
    goal: float,
    shift: Array | float = 0.0,
) -> Relaxations:
    """Bound the distance from x to {g_i <= 0} on B nodes, adding cuts until `goal` or convergence.

    Parameters
    ----------
    lines : Lines
        Of the nodes, `Ball.nodes(signs)`, or of a piece.
    pool, cuts : Cuts, list of B index arrays
        The cuts of each node, at least one for each constraint.
    goal : float
        Stop on a node as soon as its bound reaches it.
    shift : (I,) array or float
        The minimiser is to have g_i <= -shift_i; the bound is that of shift 0 all the same.
    """
    result = _solve(ball, target, lines, pool, cuts, shift)
    limit = target.noise(ball.geometry, ball.reach) - shift
    relu = np.maximum(result.z, 0.0)
    convex = relu @ target.alpha.T + target.beta
    feasible = (convex <= limit).all(axis=1)
    gap = lines.slope * result.z + lines.offset - relu
    excess = convex + gap @ target.negative.T - limit
    worst = np.argmax(excess, axis=1)
    on = result.z > 0
    more = [
        b
        for b in np.flatnonzero((result.lower < goal) & ~feasible & (excess.max(axis=1) > 0))
        if not pool.has(cuts[b], worst[b], on[b])
    ]
    result = result._replace(feasible=feasible, cuts=cuts)
    if not more:
        return result
    added = pool.add(worst[more], on[more])
    longer = [np.append(cuts[b], index) for b, index in zip(more, added, strict=True)]
    again = relax(ball, target, lines.take(more), pool, longer, goal, shift)
    for old, new in zip(result[:-1], again[:-1], strict=True):
        old[more] = new
    for b, index in zip(more, again.cuts, strict=True):
        result.cuts[b] = index
    return result


def _solve(
    ball: Ball, target: Target, lines: Lines, pool: Cuts, cuts: list[IntArray], shift: Array | float
) -> Relaxations:
    """Solve the least-distance problems of the nodes with the cuts that they have."""
    n_nodes, n_hidden = lines.slope.shape
    U, z = ball.geometry.U, ball.z
    counts = [len(index) for index in cuts]
    owner, index = np.repeat(np.arange(n_nodes), counts), np.concatenate(cuts)
    row = pool.row[index]
    own = np.where(lines.phase[owner] == 0, pool.on[index], lines.phase[owner] > 0)
    normals = target.negative[row] * lines.slope[owner] + target.positive[row] * own
    values = (
        normals @ z + target.beta[row] + (target.negative[row] * lines.offset[owner]).sum(axis=1)
    )
    values += np.broadcast_to(shift, target.beta.shape)[row]
    planes, sizes = _unit_normals(-normals @ U, values)
    splits, lengths = _unit_normals(U, -z)
    ends = np.cumsum(counts)
    nearest = np.maximum.reduceat(planes[:, -1], ends - counts)
    scale = np.where((nearest > 0) & (nearest < ball.radius), nearest, ball.radius or 1.0)

    u = np.zeros(len(index))
    nu = np.zeros((n_nodes, n_hidden))
    missing = np.zeros(n_nodes)
    for b, (start, end) in enumerate(zip(ends - counts, ends, strict=True)):
        path = np.flatnonzero(lines.signs[b])
        rows = np.concatenate((planes[start:end], lines.signs[b, path, None] * splits[path]))
        rows[:, -1] /= scale[b]
        solution, missing[b] = _non_negative_least_squares(rows)
        u[start:end] = solution[: end - start] / sizes[start:end]
        nu[b, path] = solution[end - start :] / lengths[path]

    w = np.zeros((n_nodes, len(target.beta)))
    np.add.at(w, (owner, row), u)
    combined = np.add.reduceat(u[:, None] * normals, ends - counts)
    # Of a minimiser in the ball 1/missing = 1 + (||c|| / scale)^2; others are none of this search's.
    inside = (missing > 1e-12) & (missing * (1 + np.square(2 * ball.radius / scale)) >= 1)
    step = np.where(inside, -scale, 0.0) / np.where(inside, missing, 1.0)
    v = step[:, None] * (combined - lines.signs * nu)
    lower, tau = _prove(ball, target, lines, w, nu, combined)
    return Relaxations(lower, w, tau, nu, v, z + (v @ U) @ U.T, np.empty(0, np.bool_), [])


def _prove(
    ball: Ball, target: Target, lines: Lines, w: Array, nu: Array, combined: Array
) -> tuple[Array, Array]:
    """Complete multipliers by tau, and evaluate what they prove.

    The line tau_r gamma_r z_r, its slope that of the combined cuts clipped to what is valid, is at
    least as good on the ball as the combined cuts themselves.
    """
    gamma = w @ target.alpha
    tau = np.where(gamma > 0, combined, 0.0) / np.where(gamma > 0, gamma, 1.0)
    tau = np.minimum(np.maximum(tau, 0.0), 1.0)
    return prove(ball, target, lines, w, tau, nu), tau


def minorant(
    ball: Ball, target: Target, lines: Lines, w: Array, tau: Array, nu: Array
) -> tuple[Array, Array]:
    """q (B,M) and constant (B,): <q, z(c)> + constant <= sum_i w_i g_i on each node in the ball."""
    gamma = w @ target.alpha
    q = gamma * np.where(gamma > 0, tau, lines.slope) - lines.signs * nu
    return q, w @ target.beta + (np.minimum(gamma, 0.0) * lines.offset).sum(axis=1)  # (E33)


def prove(ball: Ball, target: Target, lines: Lines, w: Array, tau: Array, nu: Array) -> Array:
    """Lower bounds (B,) that multipliers prove as leaves of a certificate."""
    q, constant = minorant(ball, target, lines, w, tau, nu)
    return ball.lower(target, w, q, constant, nu)


def probe(ball: Ball, target: Target, lines: Lines, found: Relaxations) -> tuple[Array, Array]:
    """Bounds of all halves of all nodes by two constraints alone: (2,B,M), and their nu_r (2,B,M).

    The half z_r >= 0 (first) or z_r <= 0 keeps the node's multipliers but for the line of neuron r,
    which has its phase now, and nu_r: l(c) <= 0 with l = l0 + <g, c> and the sign have a nearest
    point in closed form.
    """
    U, z = ball.geometry.U, ball.z
    square = ball.geometry.squares
    w, tau, nu = found.weights, found.tau, found.nu
    q, constant = minorant(ball, target, lines, w, tau, nu)
    chord = np.where(lines.phase == 0, np.minimum(w @ target.alpha, 0.0), 0.0)
    g = q @ U
    gu, gg = g @ U.T, np.square(g).sum(axis=1)[:, None]
    l0 = (q @ z + constant)[:, None] - chord * lines.offset
    lower, weight = np.empty((2, *q.shape)), np.empty((2, *q.shape))
    for half, sign in enumerate((1.0, -1.0)):
        step = chord * ((sign > 0) - lines.slope)
        a = l0 + step * z
        au, aa = gu + step * square, gg + 2 * step * gu + np.square(step) * square
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (z * aa - a * au) / (z * au - a * square)
            t = np.where((t * sign > 0) & (a * aa > 0) & (sign * (z - a * au / aa) < 0), t, 0.0)
            distance = (a - t * z) / np.sqrt(aa - 2 * t * au + np.square(t) * square)
        lower[half] = np.where((a > 0) & (distance > 0), distance, 0.0)
        weight[half] = np.where(np.isfinite(t), t * sign, 0.0)
    return lower, weight


def _unit_normals(gradients: Array, values: Array) -> tuple[Array, Array]:
    """Rows (gradient, value) divided by the gradient's norm, and these norms, 1 for one of 0."""
    sizes = np.sqrt(np.square(gradients).sum(axis=1))
    sizes[sizes == 0] = 1.0
    return np.column_stack((gradients, values)) / sizes[:, None], sizes


def _non_negative_least_squares(rows: Array) -> tuple[Array, float]:
    """u >= 0 that minimises ||rows^T u - e_last||, and that minimum's square.

    Where the solver gives up, zeros: a bound of 0 and no minimiser.
    """
    from scipy.optimize import nnls  # on first use: importing it takes longer than refimpl itself

    aim = np.zeros(rows.shape[1])
    aim[-1] = 1.0
    try:
        u = nnls(rows.T, aim)[0]
    except RuntimeError:  # too many iterations
        return np.zeros(len(rows)), 0.0
    return u, 1.0 - float(u @ rows[:, -1])
