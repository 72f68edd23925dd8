# ruff: noqa: D401 - a claim's docstring states the property
"""Claims on the losses (E8, E10)."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.case import Case
from refimpl.conformance.claims.registry import claim


def _agree(mine: Probe, truth: Probe, case: Case) -> None:
    expected = truth.loss(**case)
    bound = _bound(case, mine.unit)
    discard_if(bound > tolerances.VOID * max(expected, np.log(2)))  # log 2: that of a coin
    mine.agree("loss", mine.loss(**case), expected, bound)


def _bound(case: Case, unit: float) -> float:
    return tolerances.evaluate(case.net, case.x, case.targets, unit).loss_error


@claim("E8-logistic-loss", "loss", cases.supervised(n_outputs=1, kinks="any"))
def logistic(mine: Probe, truth: Probe, case: Case) -> None:
    """K = 1: the loss is the mean of log(1 + exp(-y f)).

    Usual causes: the sum and not the mean, labels 0 and 1, the sign of the margin, logarithms
    to base 2.
    """
    _agree(mine, truth, case)


@claim("E8-logistic-large-margins", "loss", cases.margins(1, st.sampled_from([50.0, 1e3, 1e5])))
def logistic_large(mine: Probe, truth: Probe, case: Case) -> None:
    """At large margins the loss is finite: -y f on the wrong side, about 0 on the right one.

    exp of a large number overflows to inf: the first bad sample turns the loss into inf or NaN, and
    then the weights.
    """
    _agree(mine, truth, case)


@claim(
    "E8-logistic-tail", "loss", cases.margins(1, st.sampled_from([18.5, 20.5, 22.0, 25.0, 36.0]))
)
def logistic_tail(mine: Probe, truth: Probe, case: Case) -> None:
    """At margins of 18 to 38 the loss keeps its last digits.

    A softplus that turns linear beyond a threshold (20 in some frameworks) is off by exp(-20)
    there: harmless for training, not for a reference in float64. In float32 nothing shows.
    """
    discard_if(_bound(case, mine.unit) > np.exp(-np.abs(case.c[0])) / 4)
    _agree(mine, truth, case)


@claim("E10-cross-entropy-loss", "loss", cases.supervised(n_outputs=cases.SEVERAL, kinks="any"))
def cross_entropy(mine: Probe, truth: Probe, case: Case) -> None:
    """K > 1: the loss is the mean of -log softmax(F)_y over the samples.

    Usual causes: softmax over the wrong axis, the mean over n K entries, indices from 1.
    """
    _agree(mine, truth, case)


@claim(
    "E10-cross-entropy-large-margins", "loss", cases.margins(3, st.sampled_from([50.0, 1e3, 1e5]))
)
def cross_entropy_large(mine: Probe, truth: Probe, case: Case) -> None:
    """At large outputs the loss is finite: the difference of two outputs, or about 0.

    Without the shift by the maximum exp overflows, and with log(p) after an underflow comes -inf.
    """
    _agree(mine, truth, case)


@claim("E10-shift", "loss", cases.supervised(n_outputs=cases.SEVERAL, kinks="any"))
def shift(mine: Probe, truth: Probe, case: Case) -> None:
    """Adding 16 to every output does not change the cross-entropy. Needs no oracle.

    Softmax sees differences only. Per-class sigmoids and normalised logits do not.
    """
    moved = case.replace(c=case.c + 16)
    discard_if(not np.array_equal(moved.c.astype(mine.dtype) - mine.dtype.type(16), case.c))
    bound = _bound(case, mine.unit) + _bound(moved, mine.unit)
    mine.agree("loss", mine.loss(**moved), mine.loss(**case), bound)


@claim("E8-loss-batch", "loss", cases.batches())
def loss_batch(mine: Probe, truth: Probe, case: Case) -> None:
    """The loss is the mean over the whole batch, at any batch size.

    Means of means over blocks of unequal size, and dropped remainders, show here.
    """
    _agree(mine, truth, case)


@claim("E8-duplicated-batch", "loss", cases.supervised(kinks="any"))
def duplicated(mine: Probe, truth: Probe, case: Case) -> None:
    """Every sample twice gives the same loss. Needs no oracle.

    A sum in place of a mean doubles: the learning rate then means something else at every n.
    """
    doubled = cases.twice(case)
    bound = 2 * _bound(doubled, mine.unit)
    mine.agree("loss", mine.loss(**doubled), mine.loss(**case), bound)
