# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""Defects of attacks (E26, E27) and of projected gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from refimpl.conformance.defects.plain import Plain
from refimpl.conformance.defects.registry import breaks


@breaks("E26-closed-form", "E26-length")
class DirectionNotNormalised(Plain):
    """x - epsilon y v."""

    def direction(self, features: Any, labels: Any) -> Any:
        return features[labels > 0].sum(axis=0) - features[labels < 0].sum(axis=0)


@breaks("E26-closed-form")
class TowardsOwnClass(Plain):
    """x + epsilon y v/||v||."""

    def direction(self, features: Any, labels: Any) -> Any:
        return -super().direction(features, labels)


@breaks("E26-closed-form")
class MeansOfClasses(Plain):
    """Means of the features of each class in place of sums."""

    def direction(self, features: Any, labels: Any) -> Any:
        v = features[labels > 0].mean(axis=0) - features[labels < 0].mean(axis=0)
        return v / (np.linalg.norm(v) or 1.0)


@breaks("E26-length")
class DirectionOfSigns(Plain):
    """sign(v), a step in the maximum norm."""

    def direction(self, features: Any, labels: Any) -> Any:
        return np.sign(super().direction(features, labels))


@breaks("E26-no-budget")
class BudgetPlusEpsilon(Plain):
    """A little more than epsilon, to be on the safe side."""

    def closed_form_attack(self, x: Any, y: Any, features: Any, labels: Any, epsilon: float) -> Any:
        return super().closed_form_attack(x, y, features, labels, epsilon + 1e-6)


@breaks("E27-smallest-step")
class FirstPieceOnly(Plain):
    """The crossing of the linear region that x lies in, extended for ever."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        u, on = self.unit(direction), W @ x + b > 0
        f = float(y * (A[0] @ np.maximum(W @ x + b, 0) + c[0]))
        slope = float(y * (A[0] * on) @ W @ u)
        return 0.0 if f <= 0 else f / -slope if slope < 0 else np.inf


@breaks("E27-smallest-step")
class UnboundedPieceMissing(Plain):
    """Nothing is looked for beyond the last kink."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        t = super().walk(W, b, A, c, x, y, direction)
        u = self.unit(direction)
        kinks = [-(w @ x + r) / (w @ u) for w, r in zip(W, b, strict=True) if w @ u != 0]
        return t if t <= max(kinks, default=0.0) else np.inf


@breaks("E27-direction-length")
class StepsOfTheDirection(Plain):
    """t in units of the direction's own length."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        return super().walk(W, b, A, c, x, y, direction) / float(np.linalg.norm(direction))


@breaks("E27-smallest-step")
class BothWays(Plain):
    """The direction is a line: the smaller step of the two ways."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        return min(super().walk(W, b, A, c, x, y, way) for way in (direction, -direction))


@breaks("E27-misclassified")
class MisclassifiedWalkOn(Plain):
    """A misclassified sample is walked until it flips to its label."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        f = A[0] @ np.maximum(W @ x + b, 0) + c[0]
        return super().walk(W, b, A, c, x, np.sign(f) or y, direction)


@breaks("E27-tie")
class TiedWalkOn(Plain):
    """f = 0 does not count as adversarial at the start."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        t = super().walk(W, b, A, c, x, y, direction)
        tied = A[0] @ np.maximum(W @ x + b, 0) + c[0] == 0
        return np.inf if tied else t


@breaks("E27-touching")
class SignChangesOnly(Plain):
    """A step counts when f is negative right after it."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        t = super().walk(W, b, A, c, x, y, direction)
        after = x + t * (1 + 1e-6) * self.unit(direction) if t < np.inf else x
        return t if t in (0.0, np.inf) or y * self.scalar(W, b, A, c, after) <= 0 else np.inf

    def scalar(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> float:
        return float(A[0] @ np.maximum(W @ x + b, 0) + c[0])


@breaks("E27-unreachable")
class LargestStep(Plain):
    """1000 where nothing is found."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        return min(super().walk(W, b, A, c, x, y, direction), 1e3)


@breaks("E27-not-below-radius")
class HalfAStep(Plain):
    """Bisection that returns the lower end of its first interval."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        return super().walk(W, b, A, c, x, y, direction) / 2


@breaks("PGD-projection")
class ComponentsClipped(Plain):
    """Each component is clipped to [-epsilon, epsilon]."""

    def project(self, delta: Any, epsilon: float, *region: Any) -> Any:
        return np.clip(delta, -epsilon, epsilon)


@breaks("PGD-projection")
class BatchNorm(Plain):
    """The norm of the whole batch in place of each row's."""

    def project(self, delta: Any, epsilon: float, *region: Any) -> Any:
        return delta * min(1, epsilon / (np.linalg.norm(delta) or 1.0))


@breaks("PGD-projection-inside")
class AlwaysOnTheSphere(Plain):
    """Every row is scaled to norm epsilon."""

    def project(self, delta: Any, epsilon: float, *region: Any) -> Any:
        norm = np.linalg.norm(delta, axis=1, keepdims=True)
        return delta * (epsilon / np.where(norm > 0, norm, 1))


@breaks("PGD-projection-inside")
class ZeroByZero(Plain):
    """delta min(1, epsilon/||delta||) and 0/0 for a row of zeros."""

    def project(self, delta: Any, epsilon: float, *region: Any) -> Any:
        norm = np.linalg.norm(delta, axis=1, keepdims=True)
        return delta / norm * np.minimum(norm, epsilon)


@breaks("PGD-projection-twice")
class HalfwayToTheBall(Plain):
    """Half the way towards the ball."""

    def project(self, delta: Any, epsilon: float, *region: Any) -> Any:
        return (delta + super().project(delta, epsilon, *region)) / 2


@breaks("PGD-budget")
class BudgetSpentTwice(Plain):
    """The random start is not part of the perturbation that is projected."""

    def pgd_attack(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        W, b, A, c, x, y, epsilon, steps, step_size, seed = arguments
        start = self.start(np.random.default_rng(seed), x, epsilon)
        arguments = W, b, A, c, x + start, y, epsilon, steps, step_size, seed
        return super().pgd_attack(*arguments, norm=norm, box=box)


@breaks("PGD-budget")
class ProjectionForgotten(Plain):
    """Nothing keeps the iterates in the ball."""

    def pgd_attack(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        W, b, A, c, x, y, epsilon, steps, step_size, seed = arguments
        delta = self.start(np.random.default_rng(seed), x, epsilon)
        for _ in range(steps):
            delta = delta + step_size * self.ascent(W, b, A, c, x + delta, y)
        return x + delta


@breaks("PGD-linear")
class DescendsTheLoss(Plain):
    """Steps down the loss."""

    def ascent(self, *arguments: Any) -> Any:
        return -super().ascent(*arguments)


@breaks("PGD-linear")
class LabelIgnored(Plain):
    """f falls for both classes."""

    def ascent(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any) -> Any:
        return super().ascent(W, b, A, c, x, np.ones_like(y))


@breaks("PGD-linear")
class OneCoordinate(Plain):
    """Only the largest component of the gradient is followed."""

    def ascent(self, *arguments: Any) -> Any:
        g = super().ascent(*arguments)
        return np.where(np.abs(g) == np.abs(g).max(axis=1, keepdims=True), np.sign(g), 0) / 2


@breaks("PGD-scale")
class GradientNotNormalised(Plain):
    """step_size times the gradient itself."""

    def normalised(self, g: Any) -> Any:
        return g


@breaks("PGD-row-by-row")
class GradientNormalisedOverBatch(Plain):
    """g/||g|| with the norm of the whole batch in place of each row's."""

    def normalised(self, g: Any) -> Any:
        return g / (np.linalg.norm(g) or 1.0)


@breaks("PGD-best-iterate")
class LastIterate(Plain):
    """The last iterate comes back, not the best."""

    def better(self, *arguments: Any) -> Any:
        return arguments[-1]


@breaks("PGD-small-budget")
class FirstAdversarialOnly(Plain):
    """An iterate replaces the start only when it flips the sample."""

    def better(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, best: Any, delta: Any) -> Any:
        flipped = y * self.outputs(W, b, A, c, x + delta)[:, 0] <= 0
        return np.where(flipped[:, None], delta, best)


@breaks("PGD-no-gradient")
class GradientZeroByZero(Plain):
    """g/||g|| with g = 0."""

    def normalised(self, g: Any) -> Any:
        return g / np.linalg.norm(g, axis=1, keepdims=True)

    def better(self, *arguments: Any) -> Any:
        return arguments[-1]


@breaks("PGD-seed")
class StartUnseeded(Plain):
    """The random start takes fresh entropy."""

    def start(self, rng: Any, *arguments: Any) -> Any:
        return super().start(np.random.default_rng(), *arguments)


@breaks("E26-closed-form")
class EightFeatures(Plain):
    """Features beyond the eighth are left out."""

    def direction(self, features: Any, labels: Any) -> Any:
        return super().direction(features[:8], labels[:8])


@breaks("E27-smallest-step")
class StepsUpToHundred(Plain):
    """A search interval that ends at 100."""

    def walk(self, *arguments: Any) -> float:
        step = super().walk(*arguments)
        return step if step <= 100 else np.inf


@breaks("E27-smallest-step")
class MarginTolerance(Plain):
    """A margin below 1e-8 counts as crossed."""

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        near = y * (A[0] @ np.maximum(W @ x + b, 0) + c[0]) <= 1e-8
        return 0.0 if near else super().walk(W, b, A, c, x, y, direction)


@breaks("PGD-projection-near")
class ProjectionTolerance(Plain):
    """Points up to a relative 1e-6 outside stay where they are."""

    def project(self, delta: Any, epsilon: float, *region: Any) -> Any:
        norm = np.linalg.norm(delta, axis=1, keepdims=True)
        return np.where(
            norm > epsilon * (1 + 1e-6), super().project(delta, epsilon, *region), delta
        )


@breaks("PGD-large-outputs")
class GradientOfTheLoss(Plain):
    """The gradient of the logistic loss, 1 - sigmoid(y f): 0 at large margins."""

    def ascent(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any) -> Any:
        f = self.outputs(W, b, A, c, x)[:, 0]
        masked = (1 - self.sigmoid(y * f))[:, None]
        return super().ascent(W, b, A, c, x, y) * (masked > 0)
