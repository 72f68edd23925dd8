"""How far results may be from the frozen vectors: rounding at the inputs at hand, and searches.

`unit` is the sum of the unit roundoffs of both sides, as in `tolerances`: `DOUBLE` for a reader in
float64, `SINGLE` for one in float32. A bound that does not decide anything raises `Discard`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from refimpl import (
    ClusterDistribution,
    TwoLayerReLU,
    input_gradient,
    robust_radius,
    smallest_step,
)
from refimpl._validation import Array
from refimpl.conformance import tolerances
from refimpl.conformance.adapter import discard_if
from refimpl.conformance.tolerances import gamma

DOUBLE, SINGLE = 2.0**-53 + 2.0**-53, 2.0**-24 + 2.0**-53
SEARCH = 1e-9  # relative tolerance of an exact radius, on each side
QUADRATURE = 1e-9  # absolute error of a probability, of both sides

Bounds = dict[str, Any]  # numbers or arrays, by output
Find = Callable[[TwoLayerReLU, Any], tuple[Array, Array]]


def _net(W: Any, b: Any, A: Any, c: Any, **_: Any) -> TwoLayerReLU:
    return TwoLayerReLU(W, b, A, c)


def _evaluated(unit: float, case: Bounds) -> tolerances.Evaluation:
    return tolerances.evaluate(_net(**case), case["x"], case["targets"], unit)


def _descended(unit: float, case: Bounds) -> tolerances.Descent:
    return tolerances.descent(
        _net(**case), case["x"], case["targets"], case["learning_rate"], case["steps"], unit
    )


def of_outputs(unit: float, **case: Any) -> Bounds:
    """E4."""
    return {"F": tolerances.output_error(_net(**case), case["x"], unit)}


def of_paper_networks(unit: float, W: Any, b: Any, x: Any) -> Bounds:
    """E5, E6: the same with output weights 1/2."""
    one, two = (TwoLayerReLU(W, bias, np.full((1, 4), 0.5)) for bias in (b, None))
    return {
        "binary": tolerances.output_error(one, x, unit),
        "multiclass": tolerances.output_error(two, x, unit),
    }


def of_loss(unit: float, **case: Any) -> Bounds:
    """E8, E10."""
    return {"loss": _evaluated(unit, case).loss_error}


def of_gradients(unit: float, **case: Any) -> Bounds:
    """E9 to E11."""
    found = _evaluated(unit, case)
    return {"dW": found.dW_error, "db": found.db_error}


def of_input_gradient(unit: float, x: Any, cotangent: Any, **net: Any) -> Bounds:
    """E12."""
    return {"gradient": tolerances.input_gradient(_net(**net), x, cotangent, unit)}


def of_training(unit: float, **case: Any) -> Bounds:
    """E13."""
    found = _descended(unit, case)
    return {"W_end": found.W, "b_end": found.b, "A_end": 0.0, "losses": found.losses}


def of_decomposition(unit: float, **case: Any) -> Bounds:
    """E14, E15."""
    found, arguments = _descended(unit, case), (case["x"], case["cluster"], case["features"])
    errors = tolerances.coefficients(*arguments, found.C, found.C_error, unit)
    return {"coefficients": found.C_error, "feature": errors[0], "noise": errors[1]}


def of_increments(
    unit: float, x: Any, cluster: Any, features: Any, learning_rate: float, m: int
) -> Bounds:
    """E16: the parts of E15 for C = eta/(n m), which rounds with eta, the product, the quotient."""
    C = np.full((len(x), 1), learning_rate / (len(x) * m))
    errors = tolerances.coefficients(x, cluster, features, C, 4 * unit * C, unit)
    return {"coefficient": 4 * unit * C, "feature": errors[0], "noise": errors[1]}


def of_cosines(unit: float, features: Any, W: Any) -> Bounds:
    """Entry by entry the same."""
    return {"cosine": tolerances.cosine(W.shape[1], unit)}


def of_idealised(unit: float, features: Any, labels: Any, bias: float, x: Any) -> Bounds:
    """E17, whose weights are sums of k features, and E18."""
    dist = ClusterDistribution(features, labels)
    averaging = TwoLayerReLU.feature_averaging(dist)
    summed = gamma(len(features), unit) * np.abs(features).sum(axis=0)
    hidden = tolerances.preactivations(averaging, x, unit, summed)
    decoupled = TwoLayerReLU.feature_decoupling(dist, bias)
    return {
        "averaging": tolerances.outputs(averaging, *hidden, unit)[1],
        "decoupled": tolerances.output_error(decoupled, x, unit),
    }


def of_centre_radii(unit: float, k: int, k_opposite: int, d: int, bias: float) -> Bounds:
    """E19 to E21: at most 8 roundings, of numbers up to sqrt(d) + k |b|/sqrt(d)."""
    size = np.sqrt(d) + k * abs(bias) / np.sqrt(d)
    return dict.fromkeys(("averaging", "decoupled", "group_sum"), gamma(8, unit) * size)


def of_averaging_radii(unit: float, x: Any, y: Any, features: Any, labels: Any) -> Bounds:
    """E22: dot products of x with sums of at most k features, over the norms of these.

    The features are multiples of unit vectors, so that no entry of a sum cancels.
    """
    k, d = features.shape
    norms = [np.linalg.norm(features[labels == side].sum(axis=0)) for side in (-1, 1)]
    size = np.abs(x) @ np.abs(features).sum(axis=0) / min(norms)
    return {"radius": gamma(2 * (d + k) + 8, unit) * size}


def of_laws(unit: float, **_: Any) -> Bounds:
    """E23 to E25.

    The normal laws have densities below 1/2 and arguments of sizes below 2^7 after at most 8
    roundings, and a quadrature sums at most 2^9 terms that add up to 1.
    """
    bound = 2.0**10 * unit + QUADRATURE
    return dict.fromkeys(("averaging", "group_max", "group_sum"), bound)


def of_closed_form(
    unit: float, x: Any, y: Any, features: Any, labels: Any, epsilon: float
) -> Bounds:
    """E26."""
    return {"x_adv": tolerances.closed_form(x, features, labels, epsilon, unit)}


def of_projection(unit: float, delta: Any, epsilon: float) -> Bounds:
    """Row by row a quotient by a norm, and two products."""
    return {"projected": tolerances.norm(delta.shape[1], unit) * np.abs(delta)}


def of_linear_step(unit: float, x: Any, y: Any, **parameters: Any) -> Bounds:
    """E28: |f|/||g|| times g/||g||, which a change dg of g changes by 3 ||dg||/||g|| of it."""
    net, one = _net(**parameters), np.ones((len(x), 1))
    f, f_error = np.abs(net.outputs(x)), tolerances.output_error(net, x, unit)
    g, g_error = (
        np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (input_gradient(net, x, one), tolerances.input_gradient(net, x, one, unit))
    )
    length = (f_error + f * (3 * g_error / g + gamma(2 * x.shape[1] + 8, unit))) / g
    return {"x_adv": length + 2 * unit * (np.abs(x) + f / g)}


def of_robust_accuracy(unit: float, **_: Any) -> Bounds:
    """E29: a count over n."""
    return {"share": 2 * unit}


def of_smallest_step(unit: float, x: Any, y: Any, direction: Any, **net: Any) -> Bounds:
    """E27."""

    def find(moved: TwoLayerReLU, rows: Any) -> tuple[Array, Array]:
        t = smallest_step(moved, x[rows], y[rows], direction[rows])
        return t, t

    return {"t": _searched(unit, _net(**net), x, y, lambda label: label, find, 0.0)}


def of_radius(
    decision: Callable[[Any], Any], own: Callable[[Any, Any], Any]
) -> Callable[..., Bounds]:
    """E29 to E31 for `decision(labels)`; `own(label, labels)` are the signs of F in the margin."""

    def bounds(unit: float, x: Any, y: Any, labels: Any = None, **net: Any) -> Bounds:
        def find(moved: TwoLayerReLU, rows: Any) -> tuple[Array, Array]:
            radii = robust_radius(moved, x[rows], y[rows], decision=decision(labels))
            return radii.lower, radii.upper

        def side(label: Any) -> Any:
            return own(label, labels)

        return {"radius": _searched(unit, _net(**net), x, y, side, find, 2 * SEARCH)}

    return bounds


def _searched(
    unit: float,
    net: TwoLayerReLU,
    x: Array,
    y: Any,
    own: Callable[[Any], Any],
    find: Find,
    search: float,
) -> Array:
    """Error (n,) of the distances at which samples turn adversarial.

    `find(net, rows)` bounds them from below and above, with a relative tolerance of `search`, and
    `own(label)` says which outputs are for the label (+1) and which against it (-1). Whoever
    computes F near a sample is off by at most some e in each output. So its distance lies between
    those of two networks: with 2 e (for F, and for the differences or sums that the decision takes)
    off the outputs that are for the label and onto the others, or the other way round.

    What is adversarial or unreachable stays so: F and slopes are free of rounding at the inputs.
    """
    found, error = find(net, slice(None))[1], np.zeros(len(x))
    for label, reachable in itertools.product(np.unique(y), (True, False)):
        rows = np.flatnonzero((y == label) & (np.isfinite(found) == reachable) & (found > 0))
        if len(rows) == 0:
            continue
        steps = found[rows, None] if reachable else tolerances.FAR
        reach = np.abs(x[rows]) + 2 * steps + 1
        moved = own(label) * 2 * _output_error(net, reach, unit)
        early = find(TwoLayerReLU(net.W, net.b, net.A, net.c - moved), rows)[0]
        late = find(TwoLayerReLU(net.W, net.b, net.A, net.c + moved), rows)[1]
        discard_if((np.isfinite([early, late]) != reachable).any())
        if reachable:
            discard_if((late - early > tolerances.VOID * late).any())
            length = (tolerances.norm(net.dim, unit) + search) * late
            length += unit * np.linalg.norm(reach, axis=1)
            error[rows] = np.maximum(late - found[rows], found[rows] - early) + length
    return error


def _output_error(net: TwoLayerReLU, reach: Array, unit: float) -> Array:
    """Error (K,) of F wherever |x'| <= some row of reach (r,d), entry by entry."""
    sizes = TwoLayerReLU(*(np.abs(part) for part in (net.W, net.bias, net.A, net.c)))
    z = sizes.preactivations(reach)
    return tolerances.outputs(sizes, z, gamma(net.dim + 3, unit) * z, unit)[1].max(axis=0)
