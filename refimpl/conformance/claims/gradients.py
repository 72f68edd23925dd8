# ruff: noqa: D401 - a claim's docstring states the property
"""Claims on gradients in parameters (E9 to E11) and in inputs (E12)."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from refimpl._arrays import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.case import Case
from refimpl.conformance.claims.registry import claim

LARGE = st.sampled_from([1e3, 1e5, 50.0])


def _bounds(case: Case, unit: float) -> tuple[Array, Array]:
    found = tolerances.evaluate(case.net, case.x, case.targets, unit)
    discard_if(found.void)
    return found.dW_error, found.db_error


def _agree(mine: Probe, truth: Probe, case: Case, parts: tuple[int, ...]) -> None:
    bounds = _bounds(case, mine.unit)
    got, expected = (side.parameter_gradients(**case) for side in (mine, truth))
    for part in parts:
        mine.agree(("dL/dW", "dL/db")[part], got[part], expected[part], bounds[part])


@claim("E11-weight-gradient", "parameter_gradients", cases.supervised(n_outputs=1))
def weight_gradient(mine: Probe, truth: Probe, case: Case) -> None:
    """K = 1: dL/dW = G^T X, G = (dL/df a) * 1[Z > 0], away from kinks.

    Usual causes: 1/n missing, the sign of the negative neurons, a transposed product.
    """
    _agree(mine, truth, case, (0,))


@claim("E11-bias-gradient", "parameter_gradients", cases.supervised(n_outputs=1))
def bias_gradient(mine: Probe, truth: Probe, case: Case) -> None:
    """K = 1: dL/db = sum_i G_i, away from kinks.

    Usual causes: biases that are not trained, a mean in place of the sum over 1/n terms.
    """
    _agree(mine, truth, case, (1,))


@claim("E10-multiclass-gradient", "parameter_gradients", cases.supervised(n_outputs=cases.SEVERAL))
def multiclass_gradient(mine: Probe, truth: Probe, case: Case) -> None:
    """K > 1: both gradients, with dL/dF = (softmax(F) - onehot(y))/n.

    Usual causes: softmax over samples and not over classes, onehot forgotten, a further 1/K.
    """
    _agree(mine, truth, case, (0, 1))


@claim("E11-gradient-at-kinks", "parameter_gradients", cases.supervised(kinks="on"))
def kinks(mine: Probe, truth: Probe, case: Case) -> None:
    """A neuron at exactly z = 0 contributes nothing: ReLU'(0) = 0.

    Frameworks differ here (0, 1/2 or 1). Zero initialisation, zero inputs and samples that repeat
    put neurons on the kink, and runs part from the first step.
    """
    _agree(mine, truth, case, (0, 1))


@claim("E11-gradient-batch", "parameter_gradients", cases.batches())
def gradient_batch(mine: Probe, truth: Probe, case: Case) -> None:
    """Gradients are means over the whole batch, at any batch size.

    Dropped remainders and blocks that overwrite instead of adding up show here.
    """
    _agree(mine, truth, case, (0, 1))


@claim("E9-gradient-large-margins", "parameter_gradients", cases.margins(1, LARGE))
def large_margins(mine: Probe, truth: Probe, case: Case) -> None:
    """At large margins gradients are finite: full size on the wrong side, about 0 on the right one.

    exp(m)/(1 + exp(m)) is inf/inf: NaN in one weight, and in all of them a step later.
    """
    _agree(mine, truth, case, (0, 1))


@claim("E10-gradient-large-margins", "parameter_gradients", cases.margins(3, LARGE))
def large_outputs(mine: Probe, truth: Probe, case: Case) -> None:
    """At large outputs gradients are finite: softmax is 0 or 1.

    exp(F)/sum exp(F) is inf/inf without the shift by the maximum.
    """
    _agree(mine, truth, case, (0, 1))


@claim("E11-duplicated-batch", "parameter_gradients", cases.supervised())
def duplicated(mine: Probe, truth: Probe, case: Case) -> None:
    """Every sample twice gives the same gradients. Needs no oracle.

    Gradients of a sum double: the learning rate then means something else at every n.
    """
    doubled = cases.twice(case)
    bounds = _bounds(doubled, mine.unit)
    got, expected = (mine.parameter_gradients(**it) for it in (doubled, case))
    for what, g, e, bound in zip(("dL/dW", "dL/db"), got, expected, bounds, strict=True):
        mine.agree(what, g, e, 2 * bound)


@claim("E11-slope", "loss parameter_gradients", cases.supervised())
def slope(mine: Probe, truth: Probe, case: Case) -> None:
    """The gradient is the slope of the candidate's own loss. Needs no oracle.

    Along dL/dW and dL/db, central differences of the loss: a gradient of another loss than the one
    that is reported, a term that autograd does not see.
    """
    gradient = mine.parameter_gradients(**case)
    V, v = (np.where(g < 0, -1.0, 1.0) for g in gradient)
    # |df| along (V, v) is s h: no neuron is to cross its kink, and h^2 s^3 bounds the remainder.
    speed = np.abs(case.x).sum(axis=1) + 1
    s = float((speed * np.abs(case.A).sum(axis=1).max()).max())
    room = np.abs(case.net.preactivations(case.x)) / speed[:, None]
    h = min(0.5 * float(room.min(initial=np.inf)), mine.unit ** (1 / 3) / max(s, 1e-300))
    largest = max(np.abs(case.W).max(), np.abs(case.b).max())
    discard_if(not np.isfinite(h) or h < 2.0**10 * mine.unit * largest)
    sides = [case.replace(W=case.W + t * V, b=case.b + t * v).rounded(mine.dtype) for t in (h, -h)]
    high, low = (mine.loss(**side) for side in sides)
    moves = [sides[0][name] - sides[1][name] for name in "Wb"]
    expected = sum(float((g * move).sum()) for g, move in zip(gradient, moves, strict=True))
    errors = tolerances.evaluate(case.net, case.x, case.targets, mine.unit)
    dW_error, db_error = _bounds(case, mine.unit)
    steep = 2 * h * (dW_error.sum() + db_error.sum()) + (2 * h * s) ** 3
    bound = 4 * errors.loss_error + steep
    discard_if(bound > 0.1 * abs(expected))
    mine.agree("loss(theta + h) - loss(theta - h)", high - low, expected, bound)


@claim("E12-input-gradient", "input_gradient", cases.cotangents())
def input_gradient(mine: Probe, truth: Probe, case: Case) -> None:
    """W^T (1[W x + b > 0] * A^T v), away from kinks.

    Every gradient attack follows it: a wrong one finds nothing, and the network looks robust.
    """
    bound = tolerances.input_gradient(case, mine.unit)
    mine.agree("gradient", mine.input_gradient(**case), truth.input_gradient(**case), bound)


@claim("E12-input-gradient-at-kinks", "input_gradient", cases.cotangents(kinks="on"))
def input_gradient_at_kinks(mine: Probe, truth: Probe, case: Case) -> None:
    """A neuron at exactly z = 0 contributes nothing, ReLU'(0) = 0.

    At the origin, or wherever features cancel, attacks start from another direction than ours.
    """
    input_gradient(mine, truth, case)


@claim("E12-linear-in-cotangent", "input_gradient", cases.cotangents())
def linear(mine: Probe, truth: Probe, case: Case) -> None:
    """-2 v gives -2 times the gradient. Needs no oracle.

    A cotangent that is normalised, clipped or taken as a class index breaks it.
    """
    expected = -2 * mine.input_gradient(**case)
    scaled = case.replace(cotangent=-2 * case.cotangent)
    bound = tolerances.input_gradient(scaled, mine.unit)
    mine.agree("gradient", mine.input_gradient(**scaled), expected, 2 * bound)


@claim("E12-row-by-row", "input_gradient", cases.batches())
def rows(mine: Probe, truth: Probe, case: Case) -> None:
    """Each row's gradient is its own: no sum or mean over the batch, at any size.

    A gradient of the mean loss is 1/n of a sample's: attacks with a fixed step then stand still.
    """
    v = np.cos(np.arange(len(case.x) * len(case.A))).reshape(len(case.x), len(case.A))
    z, z_error = tolerances.preactivations(case.net, case.x, mine.unit)
    clear = (np.abs(z) > z_error).all(axis=1)
    discard_if(not clear.any())
    case = case.replace(x=case.x[clear], cotangent=v[clear]).rounded(mine.dtype)
    input_gradient(mine, truth, case)
