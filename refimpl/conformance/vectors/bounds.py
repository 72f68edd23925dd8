"""How far results may be from the frozen vectors: rounding at the inputs at hand, and searches.

Every function `of_...` takes `unit` and a case, which has the inputs of a file by name, and returns
a bound of the error for each output. `unit` is the sum of the unit roundoffs of both sides, as in
`tolerances`: `DOUBLE` for a reader in float64, `SINGLE` for one in float32. A bound that is so
large that it decides nothing raises `Discard`.
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
from refimpl._arrays import Array
from refimpl.conformance import tolerances
from refimpl.conformance.adapter import discard_if, region
from refimpl.conformance.case import Case
from refimpl.conformance.tolerances import gamma
from refimpl.projection import project

DOUBLE, SINGLE = 2.0**-53 + 2.0**-53, 2.0**-24 + 2.0**-53
SEARCH = 1e-9  # relative tolerance of an exact radius, on each side
QUADRATURE = 1e-9  # absolute error of a probability, of both sides

Bounds = dict[str, Any]  # numbers or arrays, by output
Find = Callable[[TwoLayerReLU, Case], tuple[Array, Array]]


def of_outputs(unit: float, case: Case) -> Bounds:
    """E4."""
    return {"F": tolerances.output_error(case.net, case.x, unit)}


def of_paper_networks(unit: float, case: Case) -> Bounds:
    """E5, E6: the same with output weights 1/2."""
    one, two = (TwoLayerReLU(case.W, bias, np.full((1, 4), 0.5)) for bias in (case.b, None))
    return {
        "binary": tolerances.output_error(one, case.x, unit),
        "multiclass": tolerances.output_error(two, case.x, unit),
    }


def of_loss(unit: float, case: Case) -> Bounds:
    """E8, E10."""
    return {"loss": tolerances.evaluate(case.net, case.x, case.targets, unit).loss_error}


def of_gradients(unit: float, case: Case) -> Bounds:
    """E9 to E11."""
    found = tolerances.evaluate(case.net, case.x, case.targets, unit)
    return {"dW": found.dW_error, "db": found.db_error}


def of_input_gradient(unit: float, case: Case) -> Bounds:
    """E12."""
    return {"gradient": tolerances.input_gradient(case, unit)}


def of_training(unit: float, case: Case) -> Bounds:
    """E13."""
    found = tolerances.descent(case, unit)
    return {"W_end": found.W, "b_end": found.b, "A_end": 0.0, "losses": found.losses}


def of_decomposition(unit: float, case: Case) -> Bounds:
    """E14, E15."""
    found = tolerances.descent(case, unit)
    feature, noise = tolerances.coefficients(case, found.C, found.C_error, unit)
    return {"coefficients": found.C_error, "feature": feature, "noise": noise}


def of_increments(unit: float, case: Case) -> Bounds:
    """E16: the parts of E15 for C = eta/(n m), which rounds with eta, the product, the quotient."""
    n = len(case.x)
    C = np.full((n, 1), case.learning_rate / (n * case.m))
    feature, noise = tolerances.coefficients(case, C, 4 * unit * C, unit)
    return {"coefficient": 4 * unit * C, "feature": feature, "noise": noise}


def of_cosines(unit: float, case: Case) -> Bounds:
    """Entry by entry the same."""
    return {"cosine": tolerances.cosine(case.W.shape[1], unit)}


def of_idealised(unit: float, case: Case) -> Bounds:
    """E17, whose weights are sums of k features, and E18."""
    features, dist = case.features, ClusterDistribution(case.features, case.labels)
    averaging = TwoLayerReLU.feature_averaging(dist)
    summed = gamma(len(features), unit) * np.abs(features).sum(axis=0)
    hidden = tolerances.preactivations(averaging, case.x, unit, summed)
    decoupled = TwoLayerReLU.feature_decoupling(dist, case.bias)
    return {
        "averaging": tolerances.outputs(averaging, *hidden, unit)[1],
        "decoupled": tolerances.output_error(decoupled, case.x, unit),
    }


def of_centre_radii(unit: float, case: Case) -> Bounds:
    """E19 to E21: at most 8 roundings, of numbers up to sqrt(d) + k |b|/sqrt(d)."""
    size = np.sqrt(case.d) + case.k * abs(case.bias) / np.sqrt(case.d)
    return dict.fromkeys(("averaging", "decoupled", "group_sum"), gamma(8, unit) * size)


def of_averaging_radii(unit: float, case: Case) -> Bounds:
    """E22: dot products of x with sums of at most k features, over the norms of these.

    The features are multiples of unit vectors, so that no entry of a sum cancels.
    """
    features = case.features
    norms = [np.linalg.norm(features[case.labels == side].sum(axis=0)) for side in (-1, 1)]
    size = np.abs(case.x) @ np.abs(features).sum(axis=0) / min(norms)
    return {"radius": gamma(2 * sum(features.shape) + 8, unit) * size}


def of_laws(unit: float, case: Case) -> Bounds:
    """E23 to E25.

    The normal laws have densities below 1/2 and arguments of sizes below 2^7 after at most 8
    roundings, and a quadrature sums at most 2^9 terms that add up to 1.
    """
    bound = 2.0**10 * unit + QUADRATURE
    return dict.fromkeys(("averaging", "group_max", "group_sum"), bound)


def of_closed_form(unit: float, case: Case) -> Bounds:
    """E26."""
    return {"x_adv": tolerances.closed_form(case, unit)}


def of_projection(unit: float, case: Case) -> Bounds:
    """Row by row a quotient by a norm, and two products."""
    return {"projected": tolerances.norm(case.delta.shape[1], unit) * np.abs(case.delta)}


def of_box_projection(unit: float, case: Case) -> Bounds:
    """Row by row clip(s delta)."""
    nearest = project(case.delta, case.epsilon, 2, *case.box)
    return {"projected": tolerances.projection(case, nearest, unit)}


def of_linf_projection(unit: float, case: Case) -> Bounds:
    """Entry by entry delta, epsilon or a side of the box, none of which rounds."""
    return {"projected": 0.0}


def of_linear_step(unit: float, case: Case) -> Bounds:
    """E28: |f|/||g|| times g/||g||, which a change dg of g changes by 3 ||dg||/||g|| of it."""
    net, x, one = case.net, case.x, np.ones((len(case.x), 1))
    f, f_error = np.abs(net.outputs(x)), tolerances.output_error(net, x, unit)
    gradients = (
        input_gradient(net, x, one),
        tolerances.input_gradient(case.replace(cotangent=one), unit),
    )
    g, g_error = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in gradients)
    length = (f_error + f * (3 * g_error / g + gamma(2 * net.dim + 8, unit))) / g
    return {"x_adv": length + 2 * unit * (np.abs(x) + f / g)}


def of_robust_accuracy(unit: float, case: Case) -> Bounds:
    """E29: a count over n."""
    return {"share": 2 * unit}


def of_smallest_step(unit: float, case: Case) -> Bounds:
    """E27."""

    def find(net: TwoLayerReLU, rows: Case) -> tuple[Array, Array]:
        t = smallest_step(net, rows.x, rows.y, rows.direction, **region(rows))
        return t, t

    return {"t": _searched(unit, case, find, lambda label: label, 0.0)}


def of_radius(
    decision: Callable[[Any], Any], signs: Callable[[Any, Any], Any]
) -> Callable[[float, Case], Bounds]:
    """E29 to E31 for `decision(labels)`; `signs(label, labels)` are those of F in the margin."""

    def bounds(unit: float, case: Case) -> Bounds:
        labels = case.get("labels")

        def find(net: TwoLayerReLU, rows: Case) -> tuple[Array, Array]:
            options = {"decision": decision(labels)} | region(rows)
            radii = robust_radius(net, rows.x, rows.y, **options)
            return radii.lower, radii.upper

        return {"radius": _searched(unit, case, find, lambda it: signs(it, labels), 2 * SEARCH)}

    return bounds


def _searched(
    unit: float, case: Case, find: Find, signs: Callable[[Any], Any], search: float
) -> Array:
    """Error (n,) of the distance at which each sample turns adversarial, as a search finds it.

    A distance does not depend on F continuously in closed form, so its error is found by searching
    twice more. Whoever computes F in rounded arithmetic gets each output within some e of the true
    one, everywhere near the sample; a decision takes differences or sums of outputs, off by 2 e. So
    let one network have outputs that are worse for the label by 2 e, and another one better by 2 e.
    The distance that is found in rounded arithmetic lies between the distances of these two.

    Parameters
    ----------
    find : callable
        Lower and upper bound of the distances for a network and some samples, which differ by
        `search` at most, relatively.
    signs : callable
        For a label, a number or (K,): +1 where an output speaks for it, -1 where against it.

    Returns
    -------
    Array
        0 where the sample is adversarial to begin with, or cannot be made so: F and its slopes
        are free of rounding at the inputs of the vectors, so that anyone finds 0, or inf.
    """
    net, found, error = case.net, find(case.net, case)[1], np.zeros(len(case.x))
    for label, reachable in itertools.product(np.unique(case.y), (True, False)):
        rows = np.flatnonzero((case.y == label) & (np.isfinite(found) == reachable) & (found > 0))
        if len(rows) == 0:
            continue
        samples = case.rows(rows)
        steps = found[rows, None] if reachable else tolerances.FAR
        reach = np.abs(samples.x) + 2 * steps + 1
        moved = signs(label) * 2 * _output_error(net, reach, unit)
        early = find(TwoLayerReLU(net.W, net.b, net.A, net.c - moved), samples)[0]
        late = find(TwoLayerReLU(net.W, net.b, net.A, net.c + moved), samples)[1]
        discard_if((np.isfinite([early, late]) != reachable).any())
        if reachable:
            discard_if((late - early > tolerances.VOID * late).any())
            length = (tolerances.norm(net.dim, unit) + search) * late
            length += unit * np.linalg.norm(reach, axis=1, ord=case.get("norm", 2))
            error[rows] = np.maximum(late - found[rows], found[rows] - early) + length
    return error


def _output_error(net: TwoLayerReLU, reach: Array, unit: float) -> Array:
    """Error (K,) of F wherever |x'| <= some row of reach (r,d), entry by entry."""
    sizes = TwoLayerReLU(*(np.abs(part) for part in (net.W, net.bias, net.A, net.c)))
    z = sizes.preactivations(reach)
    return tolerances.outputs(sizes, z, gamma(net.dim + 3, unit) * z, unit)[1].max(axis=0)
