"""How outputs become a decision, and which outputs are adversarial.

A decision is ``"sign"`` (one output), ``"argmax"``, `GroupMax` or `GroupSum`. Labels y are class
integers for argmax, -1 or +1 for the others.

Outputs F can be adversarial in several ways, one for each *target*, such as a wrong class that
argmax may choose. A target's adversarial outputs are a polyhedron {F : D F <= 0}, or {F : D F < 0}
where a tie counts as robust; the set of all adversarial outputs is the union of these polyhedra.
`targets` lists the matrices D.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray

TIES = ("adversarial", "robust")


@dataclass(frozen=True, eq=False, init=False)
class _Grouped:
    """A decision between two groups of classes, labels (K,) in {-1, +1}, both present."""

    labels: IntArray

    def __init__(self, labels: ArrayLike) -> None:
        labels = check.signs("labels", labels, "K")
        if abs(labels.sum()) == len(labels):
            check.fail("labels", "classes in both groups", f"only {labels[0]:+d}")
        object.__setattr__(self, "labels", check.frozen(labels))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and np.array_equal(self.labels, other.labels)

    def __hash__(self) -> int:
        return hash((type(self), self.labels.tobytes()))


class GroupMax(_Grouped):
    """Sign of max_{labels = +1} F_j - max_{labels = -1} F_j.

    >>> GroupMax([1, 1, -1]).labels.tolist()
    [1, 1, -1]
    """


class GroupSum(_Grouped):
    """Sign of sum_j labels_j F_j, a scalar network again (`TwoLayerReLU.group_sum`)."""


Decision = str | GroupMax | GroupSum


def check_decision(decision: object, n_outputs: int) -> Decision:
    """Return the decision if it fits K = n_outputs, else raise `ValueError`."""
    if isinstance(decision, _Grouped):
        if len(decision.labels) != n_outputs:
            check.fail(
                "decision",
                f"one label for each of {n_outputs} outputs",
                f"{len(decision.labels)} labels",
            )
        return decision  # type: ignore[return-value]  # its two subclasses
    if not (isinstance(decision, str) and decision in ("sign", "argmax")):
        check.fail(
            "decision", "'sign', 'argmax', GroupMax(labels) or GroupSum(labels)", repr(decision)
        )
    if (decision == "sign") != (n_outputs == 1):
        sign = decision == "sign"
        wanted = "K = 1 output" if sign else "K > 1 outputs"
        others = "'argmax', GroupMax(labels) or GroupSum(labels)" if sign else "'sign'"
        got = f"K = {n_outputs}, which takes {others}"
        check.fail("decision", f"{wanted} for {decision!r}", got)
    return decision


def check_labels(y: ArrayLike, n: int, decision: Decision, n_outputs: int) -> IntArray:
    """Labels y (n,) of the kind that the decision takes."""
    if decision == "argmax":
        return check.classes("y", y, n, n_outputs)
    grouped = f" of the two groups for {type(decision).__name__}"
    return check.signs("y", y, n, of="" if decision == "sign" else grouped)


def predict(outputs: Array, decision: Decision) -> IntArray:
    """Decided labels (n,): 0 at a sign tie, the lowest index at an argmax tie.

    >>> predict(np.array([[1.0, 1.0, 0.0]]), "argmax"), predict(np.array([[0.0]]), "sign")
    (array([0]), array([0]))
    """
    if decision == "argmax":
        check.representable("x", "outputs", outputs)
        return np.argmax(outputs, axis=1)
    score = _score(outputs, decision)
    check.representable("x", "outputs and their group sums", score)
    return np.sign(score).astype(np.int64)


def margin(outputs: Array, y: IntArray, decision: Decision) -> Array:
    """Decision margin (n,), at most 0 exactly where the outputs are adversarial with default ties.

    sign: y f; argmax: F_y - max_{t != y} F_t; grouped: y times the score. The sign is exact, as a
    difference of floats never rounds across 0, but for GroupSum, whose sums are rounded.

    >>> margin(np.array([[3.0, 1.0, 2.0]]), np.array([0]), "argmax").tolist()
    [1.0]
    """
    if decision == "argmax":
        rows = np.arange(len(outputs))
        others = outputs.copy()
        others[rows, y] = -np.inf
        return outputs[rows, y] - others.max(axis=1)
    return y * _score(outputs, decision)


def adversarial(outputs: Array, y: IntArray, decision: Decision, ties: str) -> np.ndarray[Any, Any]:
    """Bool (n,): margin <= 0, or margin < 0 where ties count as robust."""
    value = margin(outputs, y, decision)
    return value < 0 if ties == "robust" else value <= 0


def _score(outputs: Array, decision: Decision) -> Array:
    if isinstance(decision, GroupMax):
        positive = decision.labels > 0
        return outputs[:, positive].max(axis=1) - outputs[:, ~positive].max(axis=1)
    if isinstance(decision, GroupSum):
        return outputs @ decision.labels.astype(np.float64)
    return outputs[:, 0]


def targets(y: int, decision: Decision, n_outputs: int) -> Array:
    """Matrices D (L,I,K): outputs F are adversarial for label y iff D_l F <= 0 for some l.

    sign and group_sum: one target, one row; argmax: for each t != y the row e_y - e_t; group_max:
    for each t of the other group the rows e_i - e_t, i in the own group.

    >>> targets(0, "argmax", 3).tolist()
    [[[1.0, -1.0, 0.0]], [[1.0, 0.0, -1.0]]]
    """
    if decision == "sign":
        return np.full((1, 1, 1), float(y))
    unit = np.eye(n_outputs)
    if isinstance(decision, GroupSum):
        return (y * decision.labels).astype(np.float64)[None, None]
    classes = decision.labels if isinstance(decision, GroupMax) else np.arange(n_outputs)
    own = classes == y
    return unit[own][None] - unit[~own][:, None]  # (E30)
