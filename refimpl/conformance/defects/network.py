# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""Defects of outputs, predictions and losses (E4, E8, E10)."""

from __future__ import annotations

from typing import Any

import numpy as np

from refimpl.conformance.defects.plain import Plain
from refimpl.conformance.defects.registry import breaks


@breaks("E4-outputs", "E4-outputs-batch")
class HiddenBiasMissing(Plain):
    """W x without b."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return super().outputs(W, 0 * b, A, c, x)


@breaks("E4-outputs")
class OutputBiasMissing(Plain):
    """A ReLU(W x + b) without c."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return super().outputs(W, b, A, 0 * c, x)


@breaks("E4-outputs", "E4-rescaling")
class LeakyRelu(Plain):
    """A slope of 0.01 for negative preactivations, and 1 above 2."""

    def activation(self, z: Any) -> Any:
        return np.where(z > 0, z, np.maximum(0.01 * z, -0.02))


@breaks("E4-rescaling")
class ReluSix(Plain):
    """The activation is capped at 6."""

    def activation(self, z: Any) -> Any:
        return np.clip(z, 0, 6)


@breaks("E4-outputs-at-kinks")
class SmoothRelu(Plain):
    """(z + sqrt(z^2 + 1e-12))/2 in place of the hinge."""

    def activation(self, z: Any) -> Any:
        return (z + np.sqrt(z**2 + 1e-12)) / 2


@breaks("E4-neuron-order")
class SignsByPosition(Plain):
    """The first half of the neurons counts as positive, whatever A says."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        signs = np.where(np.arange(len(W)) < (len(W) + 1) // 2, 1, -1)
        return super().outputs(W, b, np.abs(A) * signs.astype(A.dtype), c, x)


@breaks("E4-outputs")
class OneOverMTwice(Plain):
    """1/m is in A and taken once more."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return super().outputs(W, b, A / max(len(W) // 2, 1), c, x)


@breaks("E4-outputs-batch")
class BlocksDropped(Plain):
    """Blocks of 32 rows; what is left over has outputs 0."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        F = super().outputs(W, b, A, c, x)
        if len(x) > 32:
            F[len(x) // 32 * 32 :] = 0
        return F


@breaks("E4-outputs-batch", "E4-outputs")
class SinglePrecision(Plain):
    """Products are summed in float32."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        single = (array.astype(np.float32) for array in (W, b, A, c, x))
        return super().outputs(*single).astype(np.float64)


@breaks("E4-outputs-subnormal")
class SubnormalsFlushed(Plain):
    """Preactivations below the smallest normal number are 0."""

    def activation(self, z: Any) -> Any:
        return np.where(z > np.finfo(z.dtype).tiny, z, 0)


@breaks("E4-predict-sign")
class PredictsZeroOne(Plain):
    """Labels 0 and 1."""

    def sign(self, f: Any) -> Any:
        return (f > 0).astype(int)


@breaks("E4-predict-sign-tie")
class TieIsPositive(Plain):
    """f = 0 is the class +1."""

    def sign(self, f: Any) -> Any:
        return np.where(f >= 0, 1, -1)


@breaks("E4-predict-argmax")
class ArgmaxOfSizes(Plain):
    """argmax |F|."""

    def argmax(self, F: Any) -> Any:
        return np.abs(F).argmax(axis=1)


@breaks("E4-predict-argmax-tie")
class LastOfTies(Plain):
    """The highest index wins a tie."""

    def argmax(self, F: Any) -> Any:
        return F.shape[1] - 1 - F[:, ::-1].argmax(axis=1)


@breaks("E8-logistic-loss", "E8-loss-batch", "E8-duplicated-batch")
class LossSummed(Plain):
    """The sum over samples, not their mean."""

    def loss(self, *arguments: Any) -> Any:
        return super().loss(*arguments) * len(arguments[4])


@breaks("E8-logistic-loss")
class LossMarginSign(Plain):
    """log(1 + exp(y f))."""

    def losses(self, F: Any, targets: Any) -> Any:
        return super().losses(F, -targets if F.shape[1] == 1 else targets)


@breaks("E8-logistic-loss")
class LossZeroOneLabels(Plain):
    """The targets are taken for 0 and 1."""

    def losses(self, F: Any, targets: Any) -> Any:
        return super().losses(F, (targets + 1) // 2 if F.shape[1] == 1 else targets)


@breaks("E8-logistic-loss")
class HingeLoss(Plain):
    """max(0, 1 - y f)."""

    def softplus(self, m: Any) -> Any:
        return np.maximum(1 + m, 0)


@breaks("E8-logistic-large-margins")
class SoftplusOverflows(Plain):
    """log(1 + exp(m)), literally."""

    def softplus(self, m: Any) -> Any:
        return np.log(1 + np.exp(m))


@breaks("E8-logistic-tail")
class SoftplusThreshold(Plain):
    """Linear beyond 20."""

    def softplus(self, m: Any) -> Any:
        return np.where(m > 20, m, super().softplus(m))


@breaks("E10-cross-entropy-large-margins")
class LogSumExpOverflows(Plain):
    """log(sum(exp(F))), literally."""

    def log_sum_exp(self, F: Any) -> Any:
        return np.log(np.exp(F).sum(axis=1))


@breaks("E10-cross-entropy-loss")
class CrossEntropyOverOutputs(Plain):
    """The mean is over n K entries."""

    def losses(self, F: Any, targets: Any) -> Any:
        return super().losses(F, targets) / F.shape[1]


@breaks("E10-cross-entropy-loss")
class SoftmaxOverSamples(Plain):
    """The log-sum-exp is over the batch."""

    def log_sum_exp(self, F: Any) -> Any:
        return np.resize(super().log_sum_exp(F.T), len(F))


@breaks("E10-shift", "E10-cross-entropy-loss")
class SigmoidPerClass(Plain):
    """One logistic loss for the own class's output."""

    def log_sum_exp(self, F: Any) -> Any:
        return np.logaddexp(0, F).sum(axis=1)


@breaks("E8-loss-batch")
class MeanOfBlockMeans(Plain):
    """The mean of the means over blocks of 32 rows."""

    def loss(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        losses = self.losses(self.outputs(W, b, A, c, x), targets)
        return np.mean([losses[i : i + 32].mean() for i in range(0, len(x), 32)])


@breaks("E8-duplicated-batch")
class LossOverNMinusOne(Plain):
    """1/(n - 1) in place of 1/n."""

    def loss(self, *arguments: Any) -> Any:
        n = len(arguments[4])
        return super().loss(*arguments) * n / max(n - 1, 1)


@breaks("E4-outputs-batch")
class SixtyFourCoordinates(Plain):
    """One block of 64 coordinates, where there are more."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return super().outputs(W[:, :64], b, A, c, x[:, :64])


@breaks("E4-outputs-batch")
class SixtyFourNeurons(Plain):
    """One block of 64 neurons, where there are more."""

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return super().outputs(W[:64], b[:64], A[:, :64], c, x)


@breaks("E4-predict-argmax-tie")
class SecondOfTwo(Plain):
    """Two outputs are compared by >=."""

    def argmax(self, F: Any) -> Any:
        return (F[:, 1] >= F[:, 0]).astype(int) if F.shape[1] == 2 else super().argmax(F)


@breaks("E10-cross-entropy-loss")
class FiveClasses(Plain):
    """Log-sum-exp over the first five classes."""

    def log_sum_exp(self, F: Any) -> Any:
        return super().log_sum_exp(F[:, :5])


@breaks("E10-cross-entropy-loss")
class TwoClassesByTheSecond(Plain):
    """Two outputs: a logistic loss of the second output, not of the difference."""

    def losses(self, F: Any, targets: Any) -> Any:
        if F.shape[1] == 2:
            return self.softplus((1 - 2 * targets) * F[:, 1])
        return super().losses(F, targets)
