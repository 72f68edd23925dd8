# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""Defects of gradients (E9 to E12)."""

from __future__ import annotations

from typing import Any

import numpy as np

from refimpl.conformance.defects.plain import Plain
from refimpl.conformance.defects.registry import breaks


@breaks("E11-weight-gradient", "E11-duplicated-batch", "E16-increments")
class GradientSummed(Plain):
    """1/n is missing."""

    def output_derivative(self, F: Any, targets: Any) -> Any:
        return super().output_derivative(F, targets) * len(F)


@breaks("E11-weight-gradient", "E13-step-weights")
class NegativeNeuronsPositive(Plain):
    """|a_r| in place of a_r: the negative neurons learn the wrong class."""

    def back(self, D: Any, A: Any) -> Any:
        return D @ np.abs(A)


@breaks("E11-weight-gradient")
class OneOverMMissing(Plain):
    """sign(a_r) in place of a_r."""

    def back(self, D: Any, A: Any) -> Any:
        return D @ np.sign(A)


@breaks("E11-weight-gradient")
class HiddenMaskMissing(Plain):
    """1[Z > 0] is missing."""

    def derivative(self, z: Any) -> Any:
        return np.ones_like(z)


@breaks("E11-weight-gradient")
class SquareLossGradient(Plain):
    """dL/df = (f - y)/n: the gradient of another loss."""

    def logistic_derivative(self, f: Any, y: Any) -> Any:
        return f - y


@breaks("E11-slope")
class GradientOfTwiceTheLoss(Plain):
    """A factor of 2 that the loss does not have."""

    def output_derivative(self, F: Any, targets: Any) -> Any:
        return 2 * super().output_derivative(F, targets)


@breaks("E11-bias-gradient", "E13-step-biases")
class BiasGradientDropped(Plain):
    """Biases are not trained."""

    def parameter_gradients(self, *arguments: Any) -> Any:
        dW, db = super().parameter_gradients(*arguments)
        return dW, 0 * db


@breaks("E11-bias-gradient")
class BiasGradientAveraged(Plain):
    """The mean over samples of what has its 1/n already."""

    def parameter_gradients(self, *arguments: Any) -> Any:
        dW, db = super().parameter_gradients(*arguments)
        return dW, db / len(arguments[4])


@breaks("E11-gradient-at-kinks", "E12-input-gradient-at-kinks")
class DerivativeOneAtKink(Plain):
    """ReLU'(0) = 1."""

    def derivative(self, z: Any) -> Any:
        return (z >= 0).astype(z.dtype)


@breaks("E11-gradient-at-kinks", "E12-input-gradient-at-kinks")
class DerivativeHalfAtKink(Plain):
    """ReLU'(0) = 1/2, as automatic differentiation of max(z, 0) has it in some frameworks."""

    def derivative(self, z: Any) -> Any:
        return (z > 0).astype(z.dtype) / 2 + (z >= 0).astype(z.dtype) / 2


@breaks("E10-multiclass-gradient")
class SoftmaxOverBatch(Plain):
    """Softmax over the wrong axis."""

    def softmax(self, F: Any) -> Any:
        return super().softmax(F.T).T


@breaks("E10-multiclass-gradient")
class OnehotMissing(Plain):
    """softmax(F)/n without the own class."""

    def multiclass_derivative(self, F: Any, onehot: Any) -> Any:
        return self.softmax(F)


@breaks("E9-gradient-large-margins")
class SigmoidOverflows(Plain):
    """exp(m)/(1 + exp(m)), literally."""

    def sigmoid(self, m: Any) -> Any:
        return np.exp(m) / (1 + np.exp(m))


@breaks("E10-gradient-large-margins")
class SoftmaxOverflows(Plain):
    """exp(F)/sum(exp(F)), literally."""

    def softmax(self, F: Any) -> Any:
        return np.exp(F) / np.exp(F).sum(axis=1, keepdims=True)


@breaks("E11-gradient-batch")
class LastBlockOnly(Plain):
    """Blocks of 32 rows that overwrite the gradient instead of adding to it."""

    def parameter_gradients(self, *arguments: Any) -> Any:
        W, b, A, c, x, targets = arguments
        G = self.hidden(W, b, A, c, x, targets)
        last = (len(x) - 1) // 32 * 32
        return G[last:].T @ x[last:], G[last:].sum(axis=0)


@breaks("E11-duplicated-batch")
class DuplicatesRemoved(Plain):
    """Equal rows count once."""

    def hidden(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        G = super().hidden(W, b, A, c, x, targets)
        keep = np.zeros((len(x), 1), bool)
        keep[np.unique(np.column_stack([x, targets]), axis=0, return_index=True)[1]] = True
        return np.where(keep, G, 0)


@breaks("E12-input-gradient")
class OutputWeightsMissing(Plain):
    """W^T H v: A is left out."""

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return super().input_gradient(W, b, np.abs(np.sign(A)), c, x, cotangent)


@breaks("E12-input-gradient")
class MaskWithoutBias(Plain):
    """Neurons are on where W x > 0, b forgotten."""

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return super().input_gradient(W, 0 * b, A, c, x, cotangent)


@breaks("E12-linear-in-cotangent")
class CotangentAsClass(Plain):
    """Only the sign of the cotangent is read."""

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return super().input_gradient(W, b, A, c, x, np.sign(cotangent))


@breaks("E12-row-by-row", "E12-input-gradient")
class GradientOfTheMean(Plain):
    """1/n of each row's gradient, as the mean over the batch gives it."""

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return super().input_gradient(W, b, A, c, x, cotangent) / len(x)


@breaks("E12-row-by-row")
class FirstRowsCotangent(Plain):
    """The first row's cotangent serves all rows."""

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return super().input_gradient(W, b, A, c, x, cotangent[:1])


@breaks("E12-row-by-row")
class FourOutputs(Plain):
    """Outputs beyond the fourth are left out."""

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return super().input_gradient(W, b, A[:4], c[:4], x, cotangent[:, :4])
