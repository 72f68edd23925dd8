"""Smallest adversarial step along a ray, exactly, for every decision (E27)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl import decisions
from refimpl._validation import Array
from refimpl.attacks import per_row, unit_rows
from refimpl.decisions import Decision
from refimpl.network import TwoLayerReLU, relu

_EPS = float(np.finfo(np.float64).eps)


def smallest_step(
    net: TwoLayerReLU,
    x: ArrayLike,
    y: ArrayLike,
    direction: ArrayLike,
    *,
    decision: Decision = "sign",
    ties: str = "adversarial",
) -> Array:
    """Infimum of the steps along a ray that make a sample adversarial.

    t* = inf{t >= 0 : x + t u is adversarial},  u = direction / ||direction||.

    Parameters
    ----------
    net : TwoLayerReLU
    x : (n,d) array
    y : (n,) array
        Class integers for argmax, -1 or +1 for the other decisions.
    direction : (d,) or (n,d) array
        One for all samples or one for each, of any length but 0; followed as it points.
    decision : "sign", "argmax", GroupMax or GroupSum
    ties : "adversarial" or "robust"
        Whether a tie counts as adversarial.

    Returns
    -------
    (n,) array
        t*, in units of x: 0 for a sample that is adversarial already, inf if the ray never is.
        With ``ties="robust"`` the infimum need not be attained: it is the tie after which strictly
        adversarial points follow at once.

    Raises
    ------
    ValueError
        Bad shapes or values, a zero direction, or a decision that does not fit the network.

    Notes
    -----
    Source: E27. The outputs are affine between the sorted breakpoints z_r(x + t u) = 0. The pieces
    are walked outwards, the last and unbounded one included; on each of them the constraints of a
    target cut out intervals, and the first piece where these meet holds t*. Steps beyond t* may be
    harmless again: success at a budget is another question than t* <= budget.

    Rounding: in a bounded piece a crossing needs outputs of different sign, computed at its two
    ends, so that none is made up far away. In the unbounded piece, and for a neuron along the ray,
    a slope smaller than the rounding error of its own computation counts as 0. A tie without a
    crossing, an output that just touches 0, is seen where float64 holds the outputs exactly.

    Memory is O(n (M + K^2)) for M neurons and K outputs, time O(n M^2) at most.

    Examples
    --------
    >>> net = TwoLayerReLU([[1.0, 0.0], [0.0, 1.0]], None, [[1.0, -1.0]])  # relu(x1) - relu(x2)
    >>> smallest_step(net, [[3, 1], [3, 1], [0, 0]], [1, 1, 1], [[-1, 0], [1, 0], [1, 0]]).tolist()
    [2.0, inf, 0.0]
    """
    x = check.real_array("x", x, ("n", net.dim))
    decision = decisions.check_decision(decision, net.n_outputs)
    y = decisions.check_labels(y, len(x), decision, net.n_outputs)
    ties = check.choice("ties", ties, decisions.TIES)
    rays = per_row("direction", direction, len(x), (net.dim,))
    if not rays.any(axis=1).all():
        row = int(np.argmin(rays.any(axis=1)))
        check.fail("direction", "nonzero directions", f"zero for sample {row}")
    z, u = net.preactivations(x), unit_rows(rays)
    t = np.empty(len(x))
    for label in np.unique(y):
        rows = y == label
        matrices = decisions.targets(int(label), decision, net.n_outputs)
        t[rows] = _walk(net, z[rows], u[rows], matrices, ties)
    t[decisions.adversarial(net.readout(z), y, decision, ties)] = 0.0
    return t


def _walk(net: TwoLayerReLU, z: Array, u: Array, matrices: Array, ties: str) -> Array:
    """First step (n,) that meets all constraints of some target, piece after piece."""
    slope, kinks, size = _lines(net, z, u)
    final = _final_slopes(net, slope, size, matrices)
    nodes = np.sort(np.where(kinks > 0, kinks, np.inf), axis=1)
    nodes = np.concatenate([nodes, np.full((len(z), 1), np.inf)], axis=1)
    t = np.full(len(z), np.inf)
    rows, start = np.arange(len(z)), np.zeros(len(z))
    g = _constraints(net, relu(z), matrices)
    q = 0
    while len(rows):
        last = np.isinf(nodes[rows, q])
        end = np.where(last, start, nodes[rows, q])
        # A neuron is 0 at its own breakpoint exactly, and at those that share it. Outputs are
        # summed anew at each node: running sums of slopes would carry their cancellation outwards.
        along = slope[rows] * (end[:, None] - kinks[rows])
        hidden = relu(np.where(slope[rows] == 0, z[rows], along))
        g_end = _constraints(net, hidden, matrices)
        tau = _entry(g, np.where(last[:, None, None], final[rows], g_end), last, ties)
        found = tau < np.inf
        length = np.where(last, 1.0, end - start)
        t[rows[found]] = start[found] + tau[found] * length[found]  # (E27)
        on = ~found & ~last
        rows, start, g, q = rows[on], end[on], g_end[on], q + 1
    return t


def _lines(net: TwoLayerReLU, z: Array, u: Array) -> tuple[Array, Array, Array]:
    """Slope s, breakpoint -z/s and size |w|.|u| of every neuron along the rays, each (n,M).

    A neuron that stays as it is, or whose breakpoint no float64 holds, has slope and breakpoint 0.
    """
    slope, size = u @ net.W.T, np.abs(u) @ np.abs(net.W).T
    # d u/(1 - d u) |w|.|u| bounds the error of the dot product <w, u>, and _EPS is 2 u.
    slope[np.abs(slope) <= net.dim * _EPS * size] = 0.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        kinks = -z / slope
    moves = np.isfinite(kinks)
    return np.where(moves, slope, 0.0), np.where(moves, kinks, 0.0), size


def _constraints(net: TwoLayerReLU, hidden: Array, matrices: Array) -> Array:
    """g_{l,i} = (D_l F)_i of shape (n,L,I)."""
    return np.einsum("lik,nk->nli", matrices, hidden @ net.A.T + net.c, optimize=True)  # (E30)


def _final_slopes(net: TwoLayerReLU, slope: Array, size: Array, matrices: Array) -> Array:
    """Slopes of g_{l,i} in the unbounded piece, (n,L,I); 0 where rounding hides their sign."""
    result = np.einsum("lim,nm->nli", matrices @ net.A, relu(slope), optimize=True)
    scale = np.abs(matrices) @ np.abs(net.A)
    bound = np.einsum("lim,nm->nli", scale, size * (slope > 0), optimize=True)
    # The terms of <w, u>, of the sum over neurons and of D A: each rounds once.
    terms = net.dim + net.n_hidden + net.n_outputs
    return np.where(np.abs(result) <= terms * _EPS * bound, 0.0, result)


def _entry(g: Array, end: Array, last: Array, ties: str) -> Array:
    """First tau (n,) at which some target's constraints (n,L,I) all hold in a piece, or inf.

    A bounded piece is g + tau (end - g) for tau in [0, 1]; the last one is g + tau end, tau >= 0.
    """
    last = last[:, None, None]
    # The sign that a constraint ends with; an unbounded piece without slope ends as it starts.
    end_sign = np.where(last & (end == 0), g, end)
    holds, ends_so = (g < 0, end_sign < 0) if ties == "robust" else (g <= 0, end_sign <= 0)
    drop = np.where(last, -end, g - end)
    crossing = np.divide(g, drop, out=np.zeros_like(g), where=holds != ends_so)
    low = np.where(holds, 0.0, np.where(ends_so, crossing, np.inf)).max(axis=2)
    high = np.where(holds & ~ends_so, crossing, np.inf).min(axis=2)
    meet = low < high if ties == "robust" else low <= high  # (E27)
    return np.where(meet, low, np.inf).min(axis=1)  # (E27)
