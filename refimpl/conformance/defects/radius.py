# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""Defects of the robust radius (E19, E22, E29, E31) and of robust accuracy."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from refimpl.conformance.defects.plain import Plain
from refimpl.conformance.defects.registry import breaks


@breaks("E29-radius-lower", "E31-switching-neurons")
class HyperplaneDistance(Plain):
    """|f|/||grad f||: the linear region that x lies in, extended for ever."""

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        z = W @ x + b
        margin = float(y * (A[0] @ np.maximum(z, 0) + c[0]))
        slope = float(np.linalg.norm((A[0] * (z > 0)) @ W))
        return 0.0 if margin <= 0 else margin / slope if slope > 0 else np.inf


@breaks("E31-switching-neurons")
class AllNeuronsOn(Plain):
    """The hyperplane of all neurons together."""

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        margin = float(y * (A[0] @ np.maximum(W @ x + b, 0) + c[0]))
        linear = float(y * (A[0] @ (W @ x + b) + c[0]))
        slope = float(np.linalg.norm(A[0] @ W))
        return 0.0 if margin <= 0 else max(linear, 0.0) / slope if slope > 0 else np.inf


@breaks("E29-radius-lower", "E22-averaging-anywhere")
class OwnRegionOnly(Plain):
    """Only the linear region of x is searched."""

    def patterns(self, z: Any) -> Any:
        return [tuple((z > 0).astype(float))]


@breaks("E31-switching-neurons")
class OneSwitchOnly(Plain):
    """Patterns that differ from that of x in one neuron at most."""

    def patterns(self, z: Any) -> Any:
        on = (z > 0).astype(float)
        return [tuple(on), *(tuple(np.abs(on - flip)) for flip in np.eye(len(z)))]


@breaks("E31-many-neurons")
class FirstRegionsOnly(Plain):
    """Enumeration stops after 32 regions: all of them for five neurons, few for nine."""

    def patterns(self, z: Any) -> Any:
        return itertools.islice(super().patterns(z), 32)


@breaks("E29-radius-upper", "E29-ordered")
class UpperBelowLower(Plain):
    """The upper bound is rounded down by 1 %."""

    def slack(self, radius: Any, side: int) -> Any:
        return radius * (0.99 if side > 0 else 1)


@breaks("E29-radius-upper", "E19-averaging-at-centres")
class LipschitzBound(Plain):
    """f over a bound on its slope, as both bounds."""

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        margin = float(y * (A[0] @ np.maximum(W @ x + b, 0) + c[0]))
        slope = float(np.linalg.norm(W, 2) * np.linalg.norm(A))
        return 0.0 if margin <= 0 else margin / slope if slope > 0 else np.inf


@breaks("E29-oddities")
class SmallWeightsDropped(Plain):
    """Output weights below 1e-3 count as 0."""

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        return super().radius(W, b, np.where(np.abs(A) < 1e-3, 0, A), c, x, y, *region)


@breaks("E29-misclassified")
class DistanceOnBothSides(Plain):
    """A misclassified sample has the distance to the boundary, too."""

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        margin = y * (A[0] @ np.maximum(W @ x + b, 0) + c[0])
        return super().radius(W, b, A, c, x, y if margin > 0 else -y, *region)


@breaks("E19-averaging-at-centres", "E22-averaging-anywhere")
class RadiusSquared(Plain):
    """Squared distances."""

    def radius(self, *arguments: Any) -> float:
        return super().radius(*arguments) ** 2


@breaks("E29-ordered")
class NegativeRadius(Plain):
    """The signed distance, y f/||grad f||, of samples that are easy to flip."""

    def slack(self, radius: Any, side: int) -> Any:
        return np.where(radius < 1, -radius - 1, super().slack(radius, side))


@breaks("E29-rescaled-input")
class RadiusCapped(Plain):
    """A search interval that ends at 2."""

    def slack(self, radius: Any, side: int) -> Any:
        return np.minimum(radius, 2.0)


@breaks("E29-rescaled-input", "E29-radius-lower")
class AbsoluteTolerance(Plain):
    """Bounds are off by 1e-3, whatever the scale."""

    def slack(self, radius: Any, side: int) -> Any:
        return np.where(radius > 0, radius + 1e-3, 0.0)


@breaks("E27-not-below-radius")
class LowerTooLarge(Plain):
    """The lower bound is a quarter above the radius."""

    def slack(self, radius: Any, side: int) -> Any:
        return 1.25 * radius


@breaks("E29-radius-lower", "E22-averaging-anywhere")
class TiesAreRobust(Plain):
    """f = 0 on a whole region does not count as adversarial."""

    def piece(self, W: Any, z: Any, a: Any, c: float, *rest: Any) -> float:
        return super().piece(W, z, a, c + rest[0] * 1e-6, *rest)


@breaks("E29-tie")
class TiesAtTheSampleAreRobust(Plain):
    """A sample with f = 0 has the distance to f < 0."""

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        tied = A[0] @ np.maximum(W @ x + b, 0) + c[0] == 0
        return np.inf if tied else super().radius(W, b, A, c, x, y, *region)


@breaks("E32-tight", "E32-tight-many-neurons", "E32-tight-oddities")
class BoundsFarApart(Plain):
    """Honest bounds, 10 % on either side."""

    def slack(self, radius: Any, side: int) -> Any:
        return radius * (1 + 0.1 * side)


@breaks("E29-robust-accuracy")
class CorrectOnlyDenominator(Plain):
    """The share of the samples that are classified correctly."""

    def robust_accuracy(self, radius: Any, epsilons: Any) -> Any:
        return super().robust_accuracy(radius, epsilons) / max(np.mean(radius > 0), 1e-9)


@breaks("E29-robust-at-the-radius", "E29-robust-accuracy")
class RobustAtTheRadius(Plain):
    """radius >= epsilon."""

    def robust(self, radius: Any, epsilon: float) -> Any:
        return radius >= epsilon


@breaks("E29-robust-accuracy")
class PercentInsteadOfShare(Plain):
    """Per cent."""

    def robust_accuracy(self, radius: Any, epsilons: Any) -> Any:
        return 100 * super().robust_accuracy(radius, epsilons)


@breaks("E29-curve-never-rises")
class AttackSuccess(Plain):
    """The share that is broken, not the share that holds."""

    def robust(self, radius: Any, epsilon: float) -> Any:
        return radius <= epsilon


@breaks("E29-unreachable")
class UnreachableIsLarge(Plain):
    """A radius of 1e4 where there is none."""

    def radius(self, *arguments: Any) -> float:
        return min(super().radius(*arguments), 1e4)


@breaks("E29-robust-near-the-radius")
class RadiusTolerance(Plain):
    """radius > epsilon + 1e-5."""

    def robust(self, radius: Any, epsilon: float) -> Any:
        return radius - epsilon > 1e-5
