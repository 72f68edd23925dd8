"""Affine layers as another framework has them, with normalisations folded in.

Each keeps, beside its weights, the sizes of all that was added up to make them. From these
`refimpl.interop.comparison` bounds the rounding of a layer, however much has cancelled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array

FOLD_ROUNDINGS = 8
"""Roundings of one term in a normalisation, by the original or when it is folded in.

Six occur where ``(x - mean) / sqrt(variance + eps) * gain + offset`` is computed as it stands: sum,
root, difference, quotient, product, sum. Frameworks that form ``gain / sqrt(variance + eps)``
first, and this module, which scales a weight, have two more at the most.
"""


@dataclass(frozen=True)
class Normalisation:
    """u = (v - mean) / std * gain + offset, coordinate by coordinate: numbers or arrays (n,)."""

    mean: Any = 0.0
    std: Any = 1.0
    gain: Any = 1.0
    offset: Any = 0.0


@dataclass(frozen=True, eq=False)
class Layer:
    """y = weight v + bias.

    Parameters
    ----------
    weight, bias : (m,n) and (m,) array, or None for no bias
    weight_size, bias_size : arrays of the same shapes
        The same expressions with the absolute value of every term.
    roundings : int
        Of one term, in what was folded in, on either side of the comparison.
    """

    weight: Array
    bias: Array | None
    weight_size: Array
    bias_size: Array
    roundings: int = 0

    @classmethod
    def of(cls, name: str, weight: Any, bias: Any) -> Layer:
        """Layer of arrays that `name` describes in errors."""
        weight = check.real_array(f"{name}.weight", weight, ("m", "n"))
        if bias is not None:
            bias = check.real_array(f"{name}.bias", bias, (len(weight),))
        size = np.zeros(len(weight)) if bias is None else np.abs(bias)
        return cls(weight, bias, np.abs(weight), size)

    def after(self, first: Normalisation) -> Layer:
        """Layer that takes v where this one takes the normalised u.

        >>> layer = Layer.of("fc", [[6.0]], None).after(Normalisation(mean=1.0, std=2.0))
        >>> layer.weight.tolist(), layer.bias.tolist(), layer.bias_size.tolist()
        ([[3.0]], [-3.0], [3.0])
        """
        n = self.weight.shape[1]
        mean, offset = np.broadcast_to(first.mean, n), np.broadcast_to(first.offset, n)
        weight = self.weight / first.std * first.gain
        size = self.weight_size / np.abs(first.std) * np.abs(first.gain)
        return Layer(
            weight,
            self._bias() - weight @ mean + self.weight @ offset,
            size,
            self.bias_size + size @ np.abs(mean) + self.weight_size @ np.abs(offset),
            self.roundings + n + FOLD_ROUNDINGS,
        )

    def then(self, last: Normalisation) -> Layer:
        """Layer that gives the normalised outputs.

        >>> layer = Layer.of("fc", [[6.0]], [2.0]).then(Normalisation(offset=1.0, gain=0.5))
        >>> layer.weight.tolist(), layer.bias.tolist()
        ([[3.0]], [2.0])
        """
        std, gain = (np.broadcast_to(it, len(self.weight)) for it in (last.std, last.gain))
        size = np.abs(gain) / np.abs(std)
        return Layer(
            self.weight / std[:, None] * gain[:, None],
            (self._bias() - last.mean) / std * gain + last.offset,
            self.weight_size * size[:, None],
            (self.bias_size + np.abs(last.mean)) * size + np.abs(last.offset),
            self.roundings + FOLD_ROUNDINGS,
        )

    def _bias(self) -> Array:
        return np.zeros(len(self.weight)) if self.bias is None else self.bias
