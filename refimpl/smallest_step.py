"""Smallest adversarial step along a ray, exactly, for every decision (E27)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl import decisions
from refimpl._arrays import Array
from refimpl.attacks import unit_rows
from refimpl.decisions import Decision
from refimpl.network import TwoLayerReLU, relu
from refimpl.rational_step import rational_step

_EPS = float(np.finfo(np.float64).eps)
_DIGITS = 1e-9  # a slope that is known to fewer is one for rational arithmetic


def smallest_step(
    net: TwoLayerReLU,
    x: ArrayLike,
    y: ArrayLike,
    direction: ArrayLike,
    *,
    decision: Decision = "sign",
    ties: str = "adversarial",
    norm: float = 2,
    box: Any = None,
) -> Array:
    """Infimum of the steps along a ray that make a sample adversarial.

    t* = inf{t >= 0 : x + t u is adversarial, lo <= x + t u <= hi},  u = direction / ||direction||.

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
    norm : 1, 2 or numpy.inf
        That of the length of the direction, so that t* is ||x + t* u - x|| in this norm.
    box : pair (lo, hi), optional
        Numbers or (d,) arrays, infinities allowed. A step that leaves the box is none.

    Returns
    -------
    (n,) array
        t*, in units of x: 0 for a sample that is adversarial already, inf if the ray never is, or
        leaves the box before.
        With ``ties="robust"`` the infimum need not be attained: it is the tie after which strictly
        adversarial points follow at once.

    Raises
    ------
    ValueError
        Bad shapes or values, a zero direction, a sample outside the box, or a decision that does
        not fit the network.

    Notes
    -----
    Source: E27. The outputs are affine between the sorted breakpoints z_r(x + t u) = 0. The pieces
    are walked outwards, the last and unbounded one included; on each of them the constraints of a
    target cut out intervals, and the first piece where these meet holds t*. Steps beyond t* may be
    harmless again: success at a budget is another question than t* <= budget.

    Rounding: where a bound of the rounding errors leaves open whether some piece holds an
    adversarial point, as for an output that just touches 0, the ray x + s direction is walked once
    more in rational arithmetic. In the unbounded piece, and for a neuron along the ray, a slope
    smaller than the rounding error of its own computation counts as 0 before: no crossing is made
    up far away.

    Memory is O(n (M + K^2)) for M neurons and K outputs, time O(n M^2) at most.

    Examples
    --------
    >>> net = TwoLayerReLU([[1.0, 0.0], [0.0, 1.0]], None, [[1.0, -1.0]])  # relu(x1) - relu(x2)
    >>> smallest_step(net, [[3, 1], [3, 1], [0, 0]], [1, 1, 1], [[-1, 0], [1, 0], [1, 0]]).tolist()
    [2.0, inf, 0.0]
    """
    check.instance("net", net, TwoLayerReLU)
    x = check.real_array("x", x, ("n", net.dim))
    decision = decisions.check_decision(decision, net.n_outputs)
    y = decisions.check_labels(y, len(x), decision, net.n_outputs)
    ties = check.choice("ties", ties, decisions.TIES)
    norm, limits = check.check_norm(norm), check.check_box(box, x)
    rays = check.per_row("direction", direction, len(x), (net.dim,))
    if not rays.any(axis=1).all():
        row = int(np.argmin(rays.any(axis=1)))
        check.fail("direction", "nonzero directions", f"zero for sample {row}")
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is in doubt
        z, t = net.preactivations(x), np.empty(len(x))
        lines = _lines(net, x, z, unit_rows(rays, norm), limits)
        doubt = np.zeros(len(x), np.bool_)
        for label in np.unique(y):
            rows = np.flatnonzero(y == label)
            matrices = decisions.targets(int(label), decision, net.n_outputs)
            t[rows], doubt[rows] = _walk(net, lines.take(rows), matrices, ties)
            for i in rows[doubt[rows]]:
                t[i] = rational_step(net, x[i], rays[i], matrices, ties, norm, limits)
        t[decisions.adversarial(net.readout(z), y, decision, ties)] = 0.0
    return t


class _Lines(NamedTuple):
    """Preactivations z + t slope along n rays, their kinks -z/slope and when the rays end.

    A neuron that stays as it is, or whose breakpoint no float64 holds, has slope and breakpoint 0.
    `start` and `size` are |w| |x| + |b| and |w| |u|, what the roundings are relative to; `errors`
    bounds those of the kinks and, last, of `end`, which is inf without a box.
    """

    z: Array
    slope: Array
    kinks: Array
    start: Array
    size: Array
    end: Array
    errors: Array

    def take(self, rows: Any) -> _Lines:
        """Return some of the rays."""
        return _Lines(*(array[rows] for array in self))


def _lines(net: TwoLayerReLU, x: Array, z: Array, u: Array, limits: Any) -> _Lines:
    slope, size = u @ net.W.T, np.abs(u) @ np.abs(net.W).T
    start = np.abs(x) @ np.abs(net.W).T + np.abs(net.bias)
    # d u/(1 - d u) |w|.|u| bounds the error of the dot product <w, u>, and _EPS is 2 u.
    slope[np.abs(slope) <= net.dim * _EPS * size] = 0.0
    end, end_error = _exit(x, u, limits)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        kinks = -z / slope
        # Both dot products, the quotient and u itself: d + 4 roundings at most.
        errors = (net.dim + 4) * _EPS * (start + size * np.abs(kinks)) / np.abs(slope)
    moves = np.isfinite(kinks)
    slope, kinks = np.where(moves, slope, 0.0), np.where(moves, kinks, 0.0)
    errors = np.concatenate([np.where(moves, errors, 0.0), end_error[:, None]], axis=1)
    return _Lines(z, slope, kinks, start, size, end, errors)


def _exit(x: Array, u: Array, limits: Any) -> tuple[Array, Array]:
    """Return steps (n,) at which rays leave the box, inf if never, and their rounding errors."""
    if limits is None:
        return np.full(len(x), np.inf), np.zeros(len(x))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        limit = np.where(u > 0, limits[1], limits[0])
        steps = np.where(u == 0, np.inf, (limit - x) / u)
        errors = 4 * _EPS * (np.abs(limit) + np.abs(x)) / np.abs(u)
    nearest = np.arange(len(x)), np.argmin(steps, axis=1)
    return steps[nearest], np.where(np.isfinite(steps[nearest]), errors[nearest], 0.0)


def _walk(
    net: TwoLayerReLU, lines: _Lines, matrices: Array, ties: str
) -> tuple[Array, np.ndarray[Any, np.dtype[np.bool_]]]:
    """First step (n,) that meets all constraints of some target, and where rounding hides it."""
    z, slope, kinks, _, _, exit_, errors = lines
    final, faint = _final_slopes(net, slope, lines.size, matrices)
    later = np.where((kinks > 0) & (kinks < exit_[:, None]), kinks, np.inf)
    later = np.concatenate([later, exit_[:, None]], axis=1)
    order = np.argsort(later, axis=1, kind="stable")
    nodes, errors = (np.take_along_axis(array, order, axis=1) for array in (later, errors))
    t, doubt = np.full(len(z), np.inf), np.zeros(len(z), np.bool_)
    rows, start = np.arange(len(z)), np.zeros(len(z))
    g, noise = _constraints(net, relu(z), matrices), _noise(net, lines, start, start, matrices)
    q = 0
    while len(rows):
        last = np.isinf(nodes[rows, q])
        end = np.where(last, start, nodes[rows, q])
        # A neuron is 0 at its own breakpoint exactly, and at those that share it. Outputs are
        # summed anew at each node: running sums of slopes would carry their cancellation outwards.
        along = slope[rows] * (end[:, None] - kinks[rows])
        hidden = relu(np.where(slope[rows] == 0, z[rows], along))
        g_end = _constraints(net, hidden, matrices)
        moved = np.where(last, 0.0, errors[rows, q])
        noise_end = _noise(net, lines.take(rows), end, moved, matrices)
        tau, unsure = _entries(g, noise, g_end, noise_end, final[rows], last, ties)
        unsure |= last & faint[rows]
        found = tau < np.inf
        length = np.where(last, 1.0, end - start)
        t[rows[found]] = start[found] + tau[found] * length[found]  # (E27)
        doubt[rows[unsure]] = True
        on = ~found & ~last & ~unsure & (end < exit_[rows])
        rows, start, g, noise, q = rows[on], end[on], g_end[on], noise_end[on], q + 1
    return t, doubt


def _constraints(net: TwoLayerReLU, hidden: Array, matrices: Array) -> Array:
    """g_{l,i} = (D_l F)_i of shape (n,L,I)."""
    return np.einsum("lik,nk->nli", matrices, hidden @ net.A.T + net.c, optimize=True)  # (E30)


def _noise(net: TwoLayerReLU, lines: _Lines, t: Array, moved: Array, matrices: Array) -> Array:
    """Bound of the rounding errors of g (n,L,I) at steps t (n,) that are off by `moved` (n,).

    z errs by d + 4 roundings of |w| |x| + |b| + t |w| |u|, and by `moved` times its slope; each
    sum over neurons and outputs rounds once a term. _EPS is 2 u: twice the first order pays for
    all higher ones.
    """
    terms = (net.dim + net.n_hidden + 2 * net.n_outputs + 8) * _EPS
    with np.errstate(over="ignore", invalid="ignore"):
        size = lines.size * moved[:, None] + terms * (lines.start + lines.size * t[:, None])
        outputs = size @ np.abs(net.A).T + terms * np.abs(net.c)
        bound = np.einsum("lik,nk->nli", np.abs(matrices), outputs, optimize=True)
    return np.where(np.isfinite(bound), bound, np.finfo(np.float64).max)


def _final_slopes(
    net: TwoLayerReLU, slope: Array, size: Array, matrices: Array
) -> tuple[Array, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Slopes of g_{l,i} in the unbounded piece, (n,L,I); 0 where rounding hides their sign.

    Also tells where one is known to few digits (n,).
    """
    result = np.einsum("lim,nm->nli", matrices @ net.A, relu(slope), optimize=True)
    scale = np.abs(matrices) @ np.abs(net.A)
    bound = np.einsum("lim,nm->nli", scale, size * (slope > 0), optimize=True)
    # The terms of <w, u>, of the sum over neurons and of D A: each rounds once.
    terms = net.dim + net.n_hidden + net.n_outputs
    error = terms * _EPS * bound
    found = np.where(np.abs(result) <= error, 0.0, result)
    return found, ((found != 0) & (np.abs(found) * _DIGITS <= error)).any(axis=(1, 2))


def _entries(
    g: Array, noise: Array, g_end: Array, noise_end: Array, final: Array, last: Array, ties: str
) -> tuple[Array, np.ndarray[Any, np.dtype[np.bool_]]]:
    """Entries tau (n,) as in `_entry`, and where the noise decides whether there is one."""
    open_ended = last[:, None, None]
    tau = _entry(g, np.where(open_ended, final, g_end), last, ties)
    low = np.where(open_ended, final, g_end - noise_end)
    high = np.where(open_ended, final, g_end + noise_end)
    with np.errstate(over="ignore"):
        perhaps = _entry(g - noise, low, last, "adversarial") < np.inf
        surely = _entry(g + noise, high, last, "robust") < np.inf
    overflow = ~np.isfinite(g + np.where(open_ended, final, g_end)).all(axis=(1, 2))
    return tau, (perhaps & ~surely) | overflow


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
