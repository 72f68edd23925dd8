# ruff: noqa: D401 - a check's docstring states the property
"""Claims on outputs and predictions (E4)."""

from __future__ import annotations

import numpy as np

from refimpl._validation import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.claims import claim


@claim("E4-outputs", "outputs", cases.forward())
def check_outputs(mine: Probe, truth: Probe, **net: Array) -> None:
    """F(x) = A ReLU(W x + b) + c.

    Everything else builds on it: repair this one first. Usual causes: a missing or misplaced bias,
    a transposed matrix, an activation that is not ReLU, 1/m taken twice.
    """
    bound = tolerances.output_error(cases.network(*list(net.values())[:4]), net["x"], mine.unit)
    mine.agree("F", mine.outputs(*net.values()), truth.outputs(*net.values()), bound)


@claim("E4-outputs-at-kinks", "outputs", cases.forward(kinks="on"))
def check_outputs_at_kinks(mine: Probe, truth: Probe, **net: Array) -> None:
    """A neuron with W x + b = 0 adds exactly nothing, and sums of dyadic numbers are exact.

    A step in place of the hinge shows here; so does arithmetic of lower precision than dtype says.
    """
    expected = truth.outputs(*net.values())
    got = mine.outputs(*net.values())
    mine.demand("F is exact", got == expected, expected, got)


@claim("E4-outputs-batch", "outputs", cases.batches())
def check_outputs_batch(mine: Probe, truth: Probe, **net: Array) -> None:
    """A row's outputs do not depend on the other rows, at any batch size.

    Errors in blocks, remainders that are dropped and statistics taken over the batch show here.
    """
    arguments = [net[name] for name in ("W", "b", "A", "c", "x")]
    bound = tolerances.output_error(cases.network(*arguments[:4]), net["x"], mine.unit)
    mine.agree("F", mine.outputs(*arguments), truth.outputs(*arguments), bound)


@claim("E4-rescaling", "outputs", cases.forward())
def check_rescaling(mine: Probe, truth: Probe, **net: Array) -> None:
    """(W, b, A) -> (2 W, 2 b, A/2) leaves every output as it is. Needs no oracle.

    ReLU is positively homogeneous: another activation, a threshold or an epsilon breaks this.
    """
    W, b, A, c, x = net.values()
    got, expected = mine.outputs(2 * W, 2 * b, A / 2, c, x), mine.outputs(W, b, A, c, x)
    bound = 2 * tolerances.output_error(cases.network(W, b, A, c), x, mine.unit)
    mine.agree("F of the rescaled network", got, expected, bound)


@claim("E4-neuron-order", "outputs", cases.forward())
def check_neuron_order(mine: Probe, truth: Probe, **net: Array) -> None:
    """Neurons in reverse order give the same outputs. Needs no oracle.

    An implementation that takes the sign of a neuron from its position, and not from A, breaks it.
    """
    W, b, A, c, x = net.values()
    got, expected = mine.outputs(W[::-1], b[::-1], A[:, ::-1], c, x), mine.outputs(W, b, A, c, x)
    bound = 2 * tolerances.output_error(cases.network(W, b, A, c), x, mine.unit)
    mine.agree("F of the reversed network", got, expected, bound)


@claim("E4-outputs-subnormal", "outputs", cases.forward(), option="subnormals")
def check_subnormal(mine: Probe, truth: Probe, **net: Array) -> None:
    """Outputs below the smallest normal number of the dtype keep their absolute accuracy.

    Flushing subnormal numbers to zero is a choice that many processors offer: radii near 0 and
    certificates are then off by up to the smallest normal number.
    """
    W, b, A, c, x = net.values()
    limits = np.finfo(mine.dtype)
    size = np.abs(W).max() * np.abs(A).max() * np.abs(x).max()
    discard_if(size == 0 or not 2.0**-20 < size < 2.0**20)
    zero_b, zero_c = np.zeros_like(b), np.zeros_like(c)
    x = (x * float(limits.tiny) / 2 ** np.ceil(np.log2(size) + 8)).astype(mine.dtype).astype(float)
    expected = truth.outputs(W, zero_b, A, zero_c, x)
    got = mine.outputs(W, zero_b, A, zero_c, x)
    # Each product and sum of the hidden layer rounds to a multiple of the smallest subnormal.
    steps = (W.shape[1] + 1) * np.abs(A).sum(axis=1) + A.shape[1] + 1
    bound = tolerances.output_error(cases.network(W, zero_b, A, zero_c), x, mine.unit)
    mine.agree("F", got, expected, bound + steps * float(limits.smallest_subnormal))


@claim("E4-predict-sign", "predict", cases.forward(n_outputs=1))
def check_predict_sign(mine: Probe, truth: Probe, **net: Array) -> None:
    """One output: the prediction is its sign, -1 or +1.

    Labels 0 and 1 multiply losses and margins by 0: accuracies are then nonsense, silently.
    """
    F = truth.outputs(*net.values())[:, 0]
    error = tolerances.output_error(cases.network(*list(net.values())[:4]), net["x"], mine.unit)
    clear = np.abs(F) > error[:, 0]
    discard_if(not clear.any())
    got = mine.predict(*net.values())
    mine.demand("prediction is sign(f)", got[clear] == np.sign(F[clear]), np.sign(F), got)


@claim("E4-predict-sign-tie", "predict", cases.ties(1))
def check_sign_tie(mine: Probe, truth: Probe, **net: Array) -> None:
    """At f = 0 exactly, the prediction is 0: no class.

    A tie counts as adversarial; who calls it +1 reports too much robustness on one class only.
    """
    got = mine.predict(*net.values())
    mine.demand("prediction is 0 at f = 0", got == 0, 0, got)


@claim("E4-predict-argmax", "predict", cases.forward(n_outputs=cases.SEVERAL))
def check_predict_argmax(mine: Probe, truth: Probe, **net: Array) -> None:
    """Several outputs: the prediction is the index of the largest, from 0.

    Indices from 1, or the argmax of sizes, make every multi-class accuracy wrong.
    """
    F = truth.outputs(*net.values())
    error = tolerances.output_error(cases.network(*list(net.values())[:4]), net["x"], mine.unit)
    top = np.sort(F, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * error.max(axis=1)
    discard_if(not clear.any())
    got, expected = mine.predict(*net.values()), F.argmax(axis=1)
    mine.demand("prediction is argmax F", got[clear] == expected[clear], expected, got)


@claim("E4-predict-argmax-tie", "predict", cases.ties(*cases.SEVERAL))
def check_argmax_tie(mine: Probe, truth: Probe, **net: Array) -> None:
    """Between equal largest outputs the lowest index wins.

    Dead networks tie everywhere: their accuracy is then the share of one class, the same for all
    who keep to this rule.
    """
    got, expected = mine.predict(*net.values()), truth.outputs(*net.values()).argmax(axis=1)
    mine.demand("prediction is the lowest index", got == expected, expected, got)
