"""A network together with how it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.decisions import Decision, margin
from refimpl.network import TwoLayerReLU


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and how it decides between -1 and +1."""

    net: TwoLayerReLU
    decision: Decision

    def correct(self, x: Array, y: IntArray) -> np.ndarray[Any, Any]:
        """Whether each sample is decided right; a tie is wrong."""
        return margin(self.net.outputs(x), y, self.decision) > 0
