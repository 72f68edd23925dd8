# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""Defects of gradient descent and of the decomposition (E13 to E16)."""

from __future__ import annotations

from typing import Any

import numpy as np

from refimpl.conformance.defects.plain import Plain
from refimpl.conformance.defects.registry import breaks


@breaks("E13-step-weights", "E13-step-follows-gradient", "E16-monotone")
class GradientAscent(Plain):
    """W + learning_rate dL/dW."""

    def step(self, *arguments: Any) -> Any:
        *point, learning_rate = arguments
        return super().step(*[*point, -learning_rate])

    def coefficients(self, *arguments: Any) -> Any:
        return -super().coefficients(*arguments)


@breaks("E13-step-weights", "E13-step-follows-gradient")
class WeightDecay(Plain):
    """W shrinks by 1e-4 times the learning rate."""

    def step(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
        moved, bias = super().step(W, b, A, c, x, targets, learning_rate)
        return moved - 1e-4 * learning_rate * W, bias


@breaks("E13-step-biases")
class BiasAfterWeights(Plain):
    """b takes its gradient at the new W."""

    def step(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
        moved, _ = super().step(W, b, A, c, x, targets, learning_rate)
        _, bias = super().step(moved, b, A, c, x, targets, learning_rate)
        return moved, bias


@breaks("E13-step-follows-gradient")
class NormalisedStep(Plain):
    """The gradient is scaled to norm 1."""

    def step(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
        dW, db = self.parameter_gradients(W, b, A, c, x, targets)
        norm = np.sqrt((dW**2).sum() + (db**2).sum()) or 1.0
        return W - learning_rate * dW / norm, b - learning_rate * db / norm


@breaks("E13-train-weights", "E13-train-clusters", "E13-train-paper")
class OneStepShort(Plain):
    """range(1, steps)."""

    def train(self, *arguments: Any) -> Any:
        *start, steps = arguments
        W, b, A, losses = super().train(*[*start, max(steps - 1, 0)])
        return W, b, A, np.resize(losses, steps + 1)


@breaks("E13-train-clusters")
class Momentum(Plain):
    """A tenth of the last step is added to the next one."""

    def train(
        self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: float, steps: int
    ) -> Any:
        losses, old = [self.loss(W, b, A, c, x, targets)], W
        for _ in range(steps):
            moved, b = self.step(W, b, A, c, x, targets, learning_rate)
            W, old = moved + 0.1 * (W - old), W
            losses.append(self.loss(W, b, A, c, x, targets))
        return W, b, A, np.array(losses)


@breaks("E13-train-losses")
class LossesAfterSteps(Plain):
    """The curve starts after the first step."""

    def train(self, *arguments: Any) -> Any:
        W, b, A, losses = super().train(*arguments)
        return W, b, A, losses[1:]


@breaks("E13-own-losses", "E13-train-losses")
class LossesBeforeSteps(Plain):
    """Entry t is the loss before step t, and the last one is repeated."""

    def train(self, *arguments: Any) -> Any:
        W, b, A, losses = super().train(*arguments)
        return W, b, A, np.append(losses[:1], losses[:-1])


@breaks("E5-output-layer-fixed")
class OutputLayerTrained(Plain):
    """A takes gradient steps too."""

    def update(self, W: Any, b: Any, A: Any, c: Any, x: Any, *rest: Any) -> Any:
        targets, learning_rate = rest
        D = self.output_derivative(self.outputs(W, b, A, c, x), targets)
        dA = D.T @ self.activation(x @ W.T + b)
        return *self.step(W, b, A, c, x, *rest), A - learning_rate * dA


@breaks("E13-no-steps")
class AlwaysOneStep(Plain):
    """do ... while."""

    def train(self, *arguments: Any) -> Any:
        *start, steps = arguments
        W, b, A, losses = super().train(*[*start, max(steps, 1)])
        return W, b, A, losses[: steps + 1]


@breaks("E13-train-paper")
class SinglePrecisionSums(Plain):
    """Gradients are summed in float32."""

    def parameter_gradients(self, *arguments: Any) -> Any:
        W, b, A, c, x, targets = arguments
        G = self.hidden(W, b, A, c, x, targets).astype(np.float32)
        dW, db = G.T @ x.astype(np.float32), G.sum(axis=0)
        return dW.astype(W.dtype), db.astype(b.dtype)


@breaks("E15-feature-coefficients", "E15-reconstruction")
class LambdaWithoutNorm(Plain):
    """The factor ||mu_j||^2 is missing."""

    def decompose(self, *arguments: Any) -> Any:
        feature, noise = super().decompose(*arguments)
        return feature / np.maximum((arguments[6] ** 2).sum(axis=1), 1e-30), noise


@breaks("E15-feature-coefficients")
class LambdaByProjection(Plain):
    """<w_r - w_r(0), mu_j>, right for orthogonal features without noise only."""

    def decompose(self, *arguments: Any) -> Any:
        W, b, A, c, x, _, features, targets, learning_rate, steps = arguments
        _, noise = super().decompose(*arguments)
        moved = self.train(W, b, A, c, x, targets, learning_rate, steps)[0]
        return (moved - W) @ features.T, noise


@breaks("E15-noise-coefficients", "E15-centres")
class SigmaWithWholeSample(Plain):
    """||x_i||^2 in place of ||xi_i||^2."""

    def decompose(self, *arguments: Any) -> Any:
        feature, noise = super().decompose(*arguments)
        x, xi = arguments[4], arguments[4] - arguments[4 + 2][arguments[5]]
        ratio = (x**2).sum(axis=1) / np.maximum((xi**2).sum(axis=1), 1e-30)
        C = self.coefficients(*arguments[:5], *arguments[7:])
        return feature, np.where((xi != 0).any(axis=1), noise * ratio, C.T * (x**2).sum(axis=1))


@breaks("E15-noise-coefficients")
class SigmaWithoutSquare(Plain):
    """||xi_i|| in place of ||xi_i||^2."""

    def decompose(self, *arguments: Any) -> Any:
        feature, noise = super().decompose(*arguments)
        norm = np.linalg.norm(arguments[4] - arguments[6][arguments[5]], axis=1)
        return feature, noise / np.where(norm > 0, norm, 1)


@breaks("E15-centres")
class SigmaDividesByNoise(Plain):
    """Through the unit vector xi/||xi||: 0/0 at a centre."""

    def decompose(self, *arguments: Any) -> Any:
        feature, noise = super().decompose(*arguments)
        norm = np.linalg.norm(arguments[4] - arguments[6][arguments[5]], axis=1)
        return feature, noise / norm * norm


@breaks("E15-reconstruction")
class CoefficientsOneStepShort(Plain):
    """The coefficients lack the last step."""

    def coefficients(self, *arguments: Any) -> Any:
        *start, steps = arguments
        return super().coefficients(*[*start, max(steps - 1, 0)])


@breaks("E16-monotone")
class CoefficientsDecay(Plain):
    """Every step shrinks C by a tenth."""

    def coefficients(self, *arguments: Any) -> Any:
        return super().coefficients(*arguments) * 0.9 ** arguments[-1]


@breaks("E16-increments")
class LearningRateTimesM(Plain):
    """The step of a network without the factor 1/m in its outputs."""

    def hidden(self, *arguments: Any) -> Any:
        return 4 * super().hidden(*arguments)


@breaks("Figure2-cosines", "Figure2-scale")
class InnerProducts(Plain):
    """<mu_i, w_r>, not divided by lengths."""

    def cosine_matrix(self, features: Any, W: Any) -> Any:
        return features @ W.T


@breaks("Figure2-scale")
class CosineEpsilon(Plain):
    """1e-4 in the denominator."""

    def cosine_matrix(self, features: Any, W: Any) -> Any:
        lengths = np.outer(np.linalg.norm(features, axis=1), np.linalg.norm(W, axis=1))
        return features @ W.T / (lengths + 1e-4)


@breaks("E13-step-at-kinks")
class StepOnAtKinks(Plain):
    """Training has its own mask, z >= 0, apart from that of the gradients."""

    def step(self, W: Any, b: Any, A: Any, c: Any, x: Any, *rest: Any) -> Any:
        targets, learning_rate = rest
        D = self.output_derivative(self.outputs(W, b, A, c, x), targets)
        G = (D @ A) * (x @ W.T + b >= 0)
        return W - learning_rate * G.T @ x, b - learning_rate * G.sum(axis=0)


@breaks("E13-train-weights")
class BestWeights(Plain):
    """The weights of the smallest loss come back, not the last ones."""

    def train(self, W: Any, b: Any, A: Any, c: Any, x: Any, *rest: Any) -> Any:
        targets, learning_rate, _ = rest
        losses = super().train(W, b, A, c, x, *rest)[3]
        best = int(np.argmin(losses))
        W, b, A, _ = super().train(W, b, A, c, x, targets, learning_rate, best)
        return W, b, A, losses


@breaks("E13-train-weights")
class StopsEarly(Plain):
    """Training ends where the loss changes by less than 1e-4."""

    def train(self, W: Any, b: Any, A: Any, c: Any, x: Any, *rest: Any) -> Any:
        targets, learning_rate, steps = rest
        losses = super().train(W, b, A, c, x, *rest)[3]
        still = np.flatnonzero(np.abs(np.diff(losses)) < 1e-4)
        steps = int(still[0]) if len(still) else steps
        W, b, A, _ = super().train(W, b, A, c, x, targets, learning_rate, steps)
        return W, b, A, losses


@breaks("E15-clusters")
class DecomposesFirstOutput(Plain):
    """Coefficients of the first output's neurons only: right for one output."""

    def coefficients(self, W: Any, b: Any, A: Any, *rest: Any) -> Any:
        return super().coefficients(W, b, A, *rest) * (A[0] != 0)
