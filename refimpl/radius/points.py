"""Upper bounds: perturbations whose endpoints the network itself finds adversarial (E32)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from refimpl import _rational, decisions
from refimpl._arrays import Array, IntArray
from refimpl.attacks import row_norms
from refimpl.decisions import Decision
from refimpl.network import TwoLayerReLU
from refimpl.radius.geometry import UNIT, Flags


class Question(NamedTuple):
    """What is asked of every sample: which outputs are adversarial."""

    net: TwoLayerReLU
    decision: Decision
    ties: str

    def adversarial(self, outputs: Array, y: IntArray, guard: Array | float = 0.0) -> Flags:
        """Tell where outputs (n,K) are adversarial, by a margin of `guard`."""
        margin = decisions.margin(outputs, y, self.decision)
        strict = margin < 0 if self.ties == "robust" else margin <= 0
        return strict & (margin <= -np.asarray(guard))

    def evaluated(self, ends: Array, y: int) -> Iterator[int]:
        """Yield the indices of points (s,d) that are adversarial in floats, together and alone.

        A matrix product may round one row otherwise than it does many.
        """
        labels = np.full(len(ends), y)
        for i in np.flatnonzero(self.adversarial(self.net.outputs(ends), labels)).tolist():
            if self.adversarial(self.net.outputs(ends[i : i + 1]), labels[:1])[0]:
                yield i

    def truly_adversarial(self, x: _rational.Fractions | Array, y: int) -> bool:
        """Tell whether one point x (d,), floats or fractions, is adversarial in rationals."""
        F = _rational.outputs(self.net, x)
        for D in decisions.targets(y, self.decision, self.net.n_outputs):
            worst = max(D.astype(np.int64).astype(object) @ F)  # (E30)
            if worst < 0 or (worst == 0 and self.ties == "adversarial"):
                return True
        return False


def length(perturbation: Array) -> Array:
    """Norms of the rows (n,d), rounded up."""
    return row_norms(perturbation) * (1 + (perturbation.shape[1] + 4) * UNIT)
