# ruff: noqa: D401 - a claim's docstring states the property
"""Claims on outputs and predictions (E4)."""

from __future__ import annotations

import numpy as np

from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.case import Case
from refimpl.conformance.claims.registry import claim


@claim("E4-outputs", "outputs", cases.forward())
def outputs(mine: Probe, truth: Probe, case: Case) -> None:
    """F(x) = A ReLU(W x + b) + c.

    Everything else builds on it: repair this one first. Usual causes: a missing or misplaced bias,
    a transposed matrix, an activation that is not ReLU, 1/m taken twice.
    """
    bound = tolerances.output_error(case.net, case.x, mine.unit)
    mine.agree("F", mine.outputs(**case), truth.outputs(**case), bound)


@claim("E4-outputs-at-kinks", "outputs", cases.forward(kinks="on"))
def outputs_at_kinks(mine: Probe, truth: Probe, case: Case) -> None:
    """A neuron with W x + b = 0 adds exactly nothing, and sums of dyadic numbers are exact.

    A step in place of the hinge shows here; so does arithmetic of lower precision than dtype says.
    """
    expected = truth.outputs(**case)
    got = mine.outputs(**case)
    mine.demand("F", got == expected, expected, got)


@claim("E4-outputs-batch", "outputs", cases.batches())
def outputs_batch(mine: Probe, truth: Probe, case: Case) -> None:
    """A row's outputs do not depend on the other rows, at any batch size.

    Errors in blocks, remainders that are dropped and statistics taken over the batch show here.
    """
    outputs(mine, truth, case)


@claim("E4-rescaling", "outputs", cases.forward())
def rescaling(mine: Probe, truth: Probe, case: Case) -> None:
    """(W, b, A) -> (2 W, 2 b, A/2) leaves every output as it is. Needs no oracle.

    ReLU is positively homogeneous: another activation, a threshold or an epsilon breaks this.
    """
    rescaled = case.replace(W=2 * case.W, b=2 * case.b, A=case.A / 2)
    bound = 2 * tolerances.output_error(case.net, case.x, mine.unit)
    mine.agree("F of the rescaled network", mine.outputs(**rescaled), mine.outputs(**case), bound)


@claim("E4-neuron-order", "outputs", cases.forward())
def neuron_order(mine: Probe, truth: Probe, case: Case) -> None:
    """Neurons in reverse order give the same outputs. Needs no oracle.

    An implementation that takes the sign of a neuron from its position, and not from A, breaks it.
    """
    reverse = case.replace(W=case.W[::-1], b=case.b[::-1], A=case.A[:, ::-1])
    bound = 2 * tolerances.output_error(case.net, case.x, mine.unit)
    mine.agree("F of the reversed network", mine.outputs(**reverse), mine.outputs(**case), bound)


@claim("E4-outputs-subnormal", "outputs", cases.forward(), option="subnormals")
def outputs_subnormal(mine: Probe, truth: Probe, case: Case) -> None:
    """Outputs below the smallest normal number of the dtype keep their absolute accuracy.

    Flushing subnormal numbers to zero is a choice that many processors offer: radii near 0 and
    certificates are then off by up to the smallest normal number.
    """
    limits = np.finfo(mine.dtype)
    size = np.abs(case.W).max() * np.abs(case.A).max() * np.abs(case.x).max()
    discard_if(size == 0 or not 2.0**-20 < size < 2.0**20)
    x = case.x * float(limits.tiny) / 2 ** np.ceil(np.log2(size) + 8)
    case = case.replace(b=np.zeros_like(case.b), c=np.zeros_like(case.c), x=x).rounded(mine.dtype)
    expected, got = truth.outputs(**case), mine.outputs(**case)
    # Each product and sum of the hidden layer rounds to a multiple of the smallest subnormal.
    steps = (case.net.dim + 1) * np.abs(case.A).sum(axis=1) + case.net.n_hidden + 1
    bound = tolerances.output_error(case.net, case.x, mine.unit)
    mine.agree("F", got, expected, bound + steps * float(limits.smallest_subnormal))


@claim("E4-predict-sign", "predict", cases.forward(n_outputs=1))
def predict_sign(mine: Probe, truth: Probe, case: Case) -> None:
    """One output: the prediction is its sign, -1 or +1.

    Labels 0 and 1 multiply losses and margins by 0: accuracies are then nonsense, silently.
    """
    F = truth.outputs(**case)[:, 0]
    error = tolerances.output_error(case.net, case.x, mine.unit)
    clear = np.abs(F) > error[:, 0]
    discard_if(not clear.any())
    got = mine.predict(**case)
    mine.demand("prediction", ~clear | (got == np.sign(F)), np.sign(F), got)


@claim("E4-predict-sign-tie", "predict", cases.ties(1))
def predict_sign_tie(mine: Probe, truth: Probe, case: Case) -> None:
    """At f = 0 exactly, the prediction is 0: no class.

    A tie counts as adversarial; who calls it +1 reports too much robustness on one class only.
    """
    got = mine.predict(**case)
    mine.demand("prediction at f = 0", got == 0, 0, got)


@claim("E4-predict-argmax", "predict", cases.forward(n_outputs=cases.SEVERAL))
def predict_argmax(mine: Probe, truth: Probe, case: Case) -> None:
    """Several outputs: the prediction is the index of the largest, from 0.

    Indices from 1, or the argmax of sizes, make every multi-class accuracy wrong.
    """
    F = truth.outputs(**case)
    error = tolerances.output_error(case.net, case.x, mine.unit)
    top = np.sort(F, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * error.max(axis=1)
    discard_if(not clear.any())
    got, expected = mine.predict(**case), F.argmax(axis=1)
    mine.demand("prediction", ~clear | (got == expected), expected, got)


@claim("E4-predict-argmax-tie", "predict", cases.ties(*cases.SEVERAL))
def predict_argmax_tie(mine: Probe, truth: Probe, case: Case) -> None:
    """Between equal largest outputs the lowest index wins.

    Dead networks tie everywhere: their accuracy is then the share of one class, the same for all
    who keep to this rule.
    """
    got, expected = mine.predict(**case), truth.outputs(**case).argmax(axis=1)
    mine.demand("prediction at a tie", got == expected, expected, got)
