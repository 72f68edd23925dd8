"""Lower bounds on the distance to a target within nodes: least-distance problems (E31, E33).

A node of branch and bound fixes the phases of some branching neurons. Where the phase of neuron r
is free, ReLU(z_r) is bounded above by its chord over the interval that z_r keeps within the ball.
What is left is convex: with its own ReLUs replaced by cutting planes, z_r or 0, a node reads

    minimise ||c||  subject to  N z(c) + constants <= 0,  z(c) = z + U c,

and is solved by non-negative least squares (Lawson and Hanson, *Solving Least Squares Problems*,
chapter 23). The solver's status is never used: any multipliers u >= 0 give an affine minorant and
with it a bound, and it is this bound, evaluated with its rounding error taken off, that counts.

Nodes are relaxed several at a time, (B,M) arrays, since a node alone is too small for NumPy.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.ball import Ball, Lines
from refimpl.radius.geometry import Flags, Target
from refimpl.radius.leaf import Multipliers, prove

_NOISES = 8  # rounding errors by which a minimiser may miss its constraints: solving has its own


class Planes:
    """Linear pieces of one target's constraints, shared by its nodes, which name them by index."""

    def __init__(self, target: Target, z: Array) -> None:
        n_rows = len(target.beta)
        self.row = np.arange(n_rows)  # whose constraint
        self.on = np.repeat((z > 0)[None], n_rows, axis=0)  # which own ReLUs stand as z_r, not 0
        self.first = self.row  # every constraint linearised at the sample itself

    def add(self, row: IntArray, on: Flags) -> IntArray:
        """Add planes, and return their indices."""
        self.row = np.concatenate((self.row, row))
        self.on = np.concatenate((self.on, on))
        return np.arange(len(self.row) - len(row), len(self.row))

    def has(self, index: IntArray, row: int, on: Flags) -> bool:
        """Tell whether a cut is among those of the given indices."""
        index = index[self.row[index] == row]
        return bool((self.on[index] == on).all(axis=1).any())


class Relaxations(NamedTuple):
    """What is known of B nodes.

    `lower` (B,) bounds the distance; weights (B,I), tau and nu (B,M) prove it, as a certificate's
    leaf. c = U^T v is the relaxed minimiser, z its preactivations, both (B,M), `feasible` (B,)
    where it meets the target itself.
    """

    lower: Array
    weights: Array
    tau: Array
    nu: Array
    v: Array
    z: Array
    feasible: Flags
    planes: list[IntArray]

    def take(self, index: Any) -> Relaxations:
        """Return some of the nodes."""
        fields: list[Any] = [array[index] for array in self[:-1]]
        fields.append([self.planes[b] for b in index])
        return Relaxations(*fields)

    def multipliers(self, b: int) -> Multipliers:
        """Multipliers of one node."""
        return Multipliers(self.weights[b], self.tau[b], self.nu[b])


def relax(
    ball: Ball,
    target: Target,
    lines: Lines,
    pool: Planes,
    planes: list[IntArray],
    goal: float | None,
    shift: Array | float = 0.0,
) -> Relaxations:
    """Bound the distance from x to {g_i <= 0} on B nodes, with more planes until it is found.

    Parameters
    ----------
    lines : Lines
        Of the nodes, `Ball.nodes`, or of pieces.
    pool, planes : Planes, list of B index arrays
        The planes of each node, at least one for each constraint.
    goal : float, or None
        Stop on a node as soon as its bound reaches it. None: bounds are not evaluated, and are 0.
    shift : (I,) array or float
        The minimiser is to have g_i <= -shift_i.
    """
    noise = target.noise(ball.geometry, ball.reach)
    limit = np.where(shift == 0.0, _NOISES * noise, noise - shift)
    planes, left = list(planes), np.arange(len(planes))
    most, bounded = math.inf if goal is None else goal, goal is not None
    result = _solve(ball, target, lines, pool, planes, shift, bounded)
    while len(left) > 0:
        z = result.z[left]
        relu = np.maximum(z, 0.0)
        g = relu @ target.alpha.T + target.beta
        result.feasible[left] = (g <= limit).all(axis=1)
        gap = lines.slope[left] * z + lines.offset[left] - relu
        excess = g + gap @ target.negative.T - limit
        worst = excess.argmax(axis=1)
        open_ = (result.lower[left] < most) & ~result.feasible[left] & (excess.max(axis=1) > 0)
        more = [
            k for k in np.flatnonzero(open_) if not pool.has(planes[left[k]], worst[k], z[k] > 0)
        ]
        left = left[more]
        for b, index in zip(left, pool.add(worst[more], z[more] > 0), strict=True):
            planes[b] = np.append(planes[b], index)
        if len(left) > 0:
            some = [planes[b] for b in left]
            part = _solve(ball, target, lines.take(left), pool, some, shift, bounded)
            for old, new in zip(result[:-1], part[:-1], strict=True):
                old[left] = new
    return result._replace(planes=planes)


def _solve(
    ball: Ball,
    target: Target,
    lines: Lines,
    pool: Planes,
    planes: list[IntArray],
    shift: Array | float,
    bounded: bool,
) -> Relaxations:
    """Solve the least-distance problems of the nodes with the planes that they have."""
    n_nodes, n_hidden = lines.slope.shape
    U, z = ball.geometry.U, ball.z
    counts = np.array([len(index) for index in planes])
    owner, index = np.repeat(np.arange(n_nodes), counts), np.concatenate(planes)
    row = pool.row[index]
    # Own neurons are on or off where the ball says so: intervals are narrowed for a node alone.
    phase = np.where(target.is_branching, lines.phase, ball.stable)[owner]
    own = np.where(phase == 0, pool.on[index], phase > 0)
    normals = target.negative[row] * lines.slope[owner] + target.positive[row] * own
    values = normals @ z + (target.beta + shift)[row]
    values += (target.negative[row] * lines.offset[owner]).sum(axis=1)
    faces, sizes = _unit_normals(-normals @ U, values)
    used = np.flatnonzero(lines.signs.any(axis=0))
    splits, lengths = np.empty((n_hidden, U.shape[1] + 1)), np.empty(n_hidden)
    if len(used) > 0:
        splits[used], lengths[used] = _unit_normals(U[used], -z[used])
    starts = (ends := np.cumsum(counts)) - counts
    nearest = np.maximum.reduceat(faces[:, -1], starts)
    scale = np.where((nearest > 0) & (nearest < ball.radius), nearest, ball.radius or 1.0)

    u, nu = np.zeros(len(index)), np.zeros((n_nodes, n_hidden))
    step, points = np.zeros(n_nodes), []
    for b, (start, end) in enumerate(zip(starts, ends, strict=True)):
        path = np.flatnonzero(lines.signs[b])
        signs = lines.signs[b, path, None].astype(np.float64)
        rows = np.concatenate((faces[start:end], signs * splits[path]))
        solution, step[b], point = ball.nearest(rows, scale[b])
        points.append(point)
        u[start:end] = solution[: end - start] / sizes[start:end]
        nu[b, path] = solution[end - start :] / lengths[path]

    w = np.zeros((n_nodes, len(target.beta)))
    np.add.at(w, (owner, row), u)
    combined = np.add.reduceat(u[:, None] * normals, starts)
    v = step[:, None] * (combined - lines.signs * nu) if points[0] is None else np.array(points)
    tau = _lines(ball, w @ target.alpha, combined)
    lower = prove(ball, target, lines, w, tau, nu) if bounded else np.zeros(n_nodes)
    return Relaxations(lower, w, tau, nu, v, ball.at(v), np.zeros(n_nodes, np.bool_), planes)


def _lines(ball: Ball, gamma: Array, combined: Array) -> Array:
    """Complete multipliers by tau: the line tau_r gamma_r z_r for gamma_r > 0.

    Its slope is that of the combined planes clipped to what is valid, and so it is at least as good
    on the ball as the combined planes themselves.
    """
    tau = np.where(gamma > 0, combined, 0.0) / np.where(gamma > 0, gamma, 1.0)
    tau = np.minimum(np.maximum(tau, 0.0), 1.0)
    return np.where(ball.stable > 0, 1.0, tau)


def _unit_normals(gradients: Array, values: Array) -> tuple[Array, Array]:
    """Rows (gradient, value) divided by the gradient's norm, and these norms, 1 for one of 0."""
    sizes = np.sqrt(np.square(gradients).sum(axis=1))
    sizes[sizes == 0] = 1.0
    return np.column_stack((gradients, values)) / sizes[:, None], sizes
