"""Projected gradient descent in the l2 or l_inf ball, within a box.

In the l2 ball alone it runs in the few coordinates that reach the network.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from refimpl import _validation as check
from refimpl import decisions
from refimpl._arrays import Array, IntArray
from refimpl.attacks import budgets, unit_rows
from refimpl.decisions import Decision, GroupMax, GroupSum
from refimpl.network import TwoLayerReLU, relu_derivative
from refimpl.projection import project

OBJECTIVES = ("loss", "margin")


def pgd_attack(
    net: TwoLayerReLU,
    x: ArrayLike,
    y: ArrayLike,
    *,
    epsilon: ArrayLike,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    decision: Decision = "sign",
    objective: str = "margin",
    norm: float = 2,
    box: Any = None,
    rng: int | np.random.Generator,
) -> Array:
    """Search the ball of radius epsilon around each sample for a point that is adversarial.

    delta <- P(delta + step_size u),  g = grad_x of the objective at x + delta,
    u = argmax{<g, v> : ||v|| <= 1}: g / ||g|| in l2, sign(g) in l_inf,
    P(delta) = argmin{||p - delta||_2 : ||p|| <= epsilon, lo <= x + p <= hi},
    from P of a uniformly random delta in the ball.

    Parameters
    ----------
    net : TwoLayerReLU
    x : (n,d) array
    y : (n,) array
        Class integers for argmax, -1 or +1 for the other decisions.
    epsilon : float or (n,) array, at least 0
        Budget in the norm, one for all samples or one for each.
    steps : int, at least 1
    step_size : float, optional
        Length of a step, positive; by default 2.5 epsilon / steps, for each sample its own.
    restarts : int, at least 1
        Random starts.
    decision : "sign", "argmax", GroupMax or GroupSum
    objective : "margin" or "loss"
        What rises: minus the decision margin (the top output of the other side less the own one),
        or the loss -log of the probability that softmax gives the own side. For decisions by a
        score, sign and GroupSum, both give the same steps.
    norm : 2 or numpy.inf
    box : pair (lo, hi), optional
        Numbers or (d,) arrays, infinities allowed, that bound x and the result.
    rng : int or numpy.random.Generator

    Returns
    -------
    (n,d) array
        The point of smallest decision margin among x and all iterates of all restarts, so that an
        adversarial point wins. ``numpy.linalg.norm(x_adv - x, ord=norm, axis=1) <= epsilon`` and
        ``lo <= x_adv <= hi`` hold as float64 computes them; epsilon = 0 returns x.

    Raises
    ------
    ValueError
        Bad shapes or values, norm 1, a sample outside the box, or a decision that does not fit
        the network.

    Notes
    -----
    An attack bounds robust accuracy only from above: that it fails shows nothing. Where the
    gradient is 0 (all neurons that matter are inactive) an iterate stays where it is.

    P is exact, in l2 with a box too: no clipping before or after a scaling.

    Only the projection of delta onto the span of the rows of W reaches the network. In l2 without
    a box the iteration runs in min(M, d) orthonormal coordinates of that span and one more for the
    length of the rest, whose direction no step changes. This is projected gradient descent in R^d
    exactly, with a random start of exactly the uniform law, at n M min(M, d) instead of n M d
    operations a step.

    Source: customary; the paper measures its robust accuracies this way.

    Examples
    --------
    >>> net = TwoLayerReLU([[1.0, 0.0], [-1.0, 0.0]], None, [[1.0, -1.0]])  # f = x1
    >>> x_adv = pgd_attack(net, [[1.0, 5.0]], [1], epsilon=1.5, rng=0)
    >>> net.predict(x_adv, "sign").tolist()
    [-1]
    """
    check.instance("net", net, TwoLayerReLU)
    x = check.real_array("x", x, ("n", net.dim))
    decision = decisions.check_decision(decision, net.n_outputs)
    y = decisions.check_labels(y, len(x), decision, net.n_outputs)
    radius = budgets(epsilon, len(x))[:, None]
    steps = check.integer("steps", steps, minimum=1)
    length = radius * (2.5 / steps)
    if step_size is not None:
        length = np.full_like(radius, check.real("step_size", step_size, positive=True))
    restarts = check.integer("restarts", restarts, minimum=1)
    soft = check.choice("objective", objective, OBJECTIVES) == "loss"
    limits = check.check_box(box, x)
    if (norm := check.check_norm(norm)) == 1:
        check.fail("norm", "2 or numpy.inf for projected gradient descent", "1")
    rng = check.generator(rng)
    if isinstance(decision, GroupSum):
        net, decision = net.group_sum(decision.labels), "sign"

    z, few = net.preactivations(x), norm == 2 and limits is None
    if few:
        basis, triangle = np.linalg.qr(net.W.T)  # W delta = triangle^T basis^T delta
        reach = np.vstack([triangle, np.zeros(net.n_hidden)])
    else:
        reach = net.W.T
    ascent = _Ascent(net, z, reach, y, decision, soft)
    low, high = (-math.inf, math.inf) if limits is None else (limits[0] - x, limits[1] - x)
    within = partial(project, epsilon=radius, norm=norm, low=low, high=high)
    steepest = np.sign if norm == math.inf else unit_rows
    ascent.gradient(np.zeros_like(ascent.best))  # x itself is the first candidate
    for _ in range(restarts):
        q = within(radius * _start(rng, norm, ascent.best.shape, net.dim, few=few))
        for _ in range(steps):
            q = within(q + length * steepest(ascent.gradient(q)))
        ascent.gradient(q)
    delta = _lift(ascent.best, basis, rng) if few else ascent.best
    return _inside(x, delta, radius, norm, limits)


def _start(
    rng: np.random.Generator, norm: float, shape: tuple[int, ...], d: int, *, few: bool
) -> Array:
    """Uniform points of the unit ball of R^d, in the coordinates (n,p) that the ascent has."""
    if norm == math.inf:
        return rng.uniform(-1.0, 1.0, shape)
    return _uniform_ball(rng, shape[0], shape[1] - few, d)[:, : shape[1]]


class _Ascent:
    """The objective at coordinates q (n,p), and the best coordinates that it was asked about.

    reach (p,M) is what they do to preactivations: W delta = reach^T q. In few coordinates the last
    one is the length of the part of delta that no neuron sees, and its row is 0.
    """

    def __init__(
        self,
        net: TwoLayerReLU,
        z: Array,
        reach: Array,
        y: IntArray,
        decision: Decision,
        soft: bool,
    ) -> None:
        self.net, self.z, self.y, self.decision, self.soft = net, z, y, decision, soft
        self.reach = reach
        self.best = np.zeros((len(z), len(reach)))
        self.lowest = np.full(len(z), np.inf)

    def gradient(self, q: Array) -> Array:
        """Gradient (n,p) up to a positive factor in each row; keeps q where the margin is low."""
        z = self.z + q @ self.reach
        outputs = self.net.readout(z)
        margin = decisions.margin(outputs, self.y, self.decision)
        better = margin < self.lowest
        self.best[better], self.lowest[better] = q[better], margin[better]
        cotangent = _cotangent(outputs, self.y, self.decision, self.soft)
        return (relu_derivative(z) * (cotangent @ self.net.A)) @ self.reach.T  # (E12)


def _cotangent(outputs: Array, y: IntArray, decision: Decision, soft: bool) -> Array:
    """Differentiate the objective in the outputs (n,K), up to a positive factor in each row.

    -log P(own) has the derivative P(other) (softmax over the other side - softmax over the own):
    the factor, which may underflow, is left out, since a step uses the direction only.
    """
    if decision == "sign":
        return -y[:, None].astype(np.float64)
    classes = decision.labels if isinstance(decision, GroupMax) else np.arange(outputs.shape[1])
    own = classes == y[:, None]
    weights = []
    for side in (~own, own):
        masked = np.where(side, outputs, -np.inf)
        top = np.arange(outputs.shape[1]) == np.argmax(masked, axis=1)[:, None]
        weights.append(softmax(masked, axis=1) if soft else top.astype(np.float64))
    return weights[0] - weights[1]


def _uniform_ball(rng: np.random.Generator, n: int, p: int, d: int) -> Array:
    """Uniform points of the unit ball of R^d: p coordinates, and the length of the other d - p."""
    q = np.zeros((n, p + 1))
    q[:, :p] = rng.standard_normal((n, p))
    if d > p:
        q[:, p] = np.sqrt(rng.chisquare(d - p, n))
    return unit_rows(q) * rng.random((n, 1)) ** (1 / d)


def _lift(q: Array, basis: Array, rng: np.random.Generator) -> Array:
    """Points delta (n,d) with coordinates q, in a random direction where no neuron sees them."""
    delta = q[:, :-1] @ basis.T
    if q[:, -1].any():
        rest = rng.standard_normal(delta.shape)
        for _ in range(2):  # what the first leaves may be as small as its rounding
            rest = unit_rows(rest - (rest @ basis) @ basis.T)
        delta += q[:, -1:] * rest
    return delta


def _inside(x: Array, delta: Array, radius: Array, norm: float, limits: Any) -> Array:
    """Return x + delta in the box, with ||(x + delta) - x|| <= radius however squares are summed.

    A computed norm of d entries is off by at most d/2 + 2 roundings. Those of two norms and of the
    scaling leave the radius when delta is shrunk by d + 8 of them; and a coordinate that the
    addition rounds away from x is taken one float nearer, so that it moves by |delta| at most.
    """
    if norm == 2:
        delta = project(delta, radius * (1 - (x.shape[1] + 8) * np.finfo(np.float64).eps / 2))
    moved = x + delta
    moved = np.where(np.abs(moved - x) > np.abs(delta), np.nextafter(moved, x), moved)
    # The box holds x: its clipping moves no coordinate further away.
    return moved if limits is None else np.clip(moved, *limits)
