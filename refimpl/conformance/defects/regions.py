# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""Defects of other norms and of boxes (E37), in radii, steps, projections and attacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from refimpl.conformance.defects.plain import Plain
from refimpl.conformance.defects.registry import breaks

BOXES = ("E37-radius-box", "E27-step-box", "PGD-projection-box", "PGD-in-box")


@breaks(*BOXES, "E37-radius-norm-box", "E37-unreachable-in-box", "PGD-in-box-linf")
class BoxIgnored(Plain):
    """The box changes nothing."""

    def limits(self, x: Any, box: Any) -> Any:
        return super().limits(x, None)


@breaks(*BOXES)
class OneSideOnly(Plain):
    """lo is forgotten, hi is kept."""

    def limits(self, x: Any, box: Any) -> Any:
        return -np.inf, super().limits(x, box)[1]


@breaks("E27-step-norm-box", "PGD-projection-linf-box")
class BoxForgottenInOtherNorms(Plain):
    """The code for l2 reads the box, and that for other norms does not."""

    def length(self, t: float, x: Any, direction: Any, norm: float, box: Any) -> float:
        return super().length(t, x, direction, norm, box if norm == 2 else None)

    def project(self, delta: Any, epsilon: float, norm: float = 2, box: Any = None) -> Any:
        return super().project(delta, epsilon, norm, box if norm == 2 else None)


@breaks("E27-step-norm-box")
class BoxExitInL2(Plain):
    """The length of the step in the norm, and of the way to the box in l2."""

    def length(self, t: float, x: Any, direction: Any, norm: float, box: Any) -> float:
        u = direction.astype(float) / np.linalg.norm(direction.astype(float))
        length = t * self.size(u, norm)
        return length if length <= self.exit(x, u, box) else np.inf


@breaks("E37-radius-box", "PGD-in-box")
class BoxAroundTheSample(Plain):
    """lo and hi bound delta, and not x + delta."""

    def limits(self, x: Any, box: Any) -> Any:
        return super().limits(np.zeros_like(x), box)


@breaks(*BOXES)
class OneBoxForAllPixels(Plain):
    """The smallest lo and the largest hi, for all coordinates."""

    def limits(self, x: Any, box: Any) -> Any:
        return super().limits(x, None if box is None else (np.min(box[0]), np.max(box[1])))


@breaks("E37-radius-box", "PGD-in-box")
class BoxBroadcastOverRows(Plain):
    """lo and hi of the first pixel for the whole sample, as (d,1) beside (n,d) gives it."""

    def limits(self, x: Any, box: Any) -> Any:
        if box is None:
            return super().limits(x, box)
        return super().limits(x, [np.minimum(x, box[0][..., :1]), np.maximum(x, box[1][..., :1])])


@breaks("E37-radius-box")
class FixedPixelsAreFree(Plain):
    """A pixel with lo = hi has no range to divide by, and is left out of the box."""

    def limits(self, x: Any, box: Any) -> Any:
        low, high = super().limits(x, box)
        free = low == high
        return np.where(free, -np.inf, low), np.where(free, np.inf, high)


@breaks("E37-radius-box", "E37-radius-norm-box")
class NearestPointClipped(Plain):
    """The nearest point of all, clipped to the box after the norm was minimised."""

    def nearest(self, E: Any, h: Any, norm: float, low: Any, high: Any) -> Any:
        found = super().nearest(E, h, norm, np.full_like(low, -np.inf), np.full_like(high, np.inf))
        return None if found is None else np.clip(found, low, high)


@breaks("E37-unreachable-in-box")
class FurthestCorner(Plain):
    """Where the box holds no adversarial point, the distance to its furthest corner."""

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        low, high = self.limits(x, region[1])
        corner = self.size(np.maximum(-low, high) + 0 * x, region[0])
        return min(super().radius(W, b, A, c, x, y, *region), corner)


@breaks("E37-radius-norm", "E37-radius-norm-box", "E37-dual-norm", "E27-step-norm")
class NormsSwapped(Plain):
    """l1 for l_inf, and l_inf for l1."""

    def size(self, delta: Any, norm: float) -> float:
        return super().size(delta, 1 if norm == np.inf else np.inf if norm == 1 else norm)


@breaks("E37-radius-norm", "E37-radius-norm-box", "E37-dual-norm", "E27-step-norm")
class NormIgnored(Plain):
    """l2, whatever the norm."""

    def size(self, delta: Any, norm: float) -> float:
        return super().size(delta, 2)


@breaks("E37-radius-norm", "E37-dual-norm")
class DualNormForgotten(Plain):
    """|f|/||grad f||_p."""

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        if region[0] == 2:
            return super().radius(W, b, A, c, x, y, *region)
        z = W @ x + b
        margin = float(y * (A[0] @ np.maximum(z, 0) + c[0]))
        slope = self.size((A[0] * (z > 0)) @ W, region[0])
        return 0.0 if margin <= 0 else margin / slope if slope > 0 else np.inf


@breaks("E27-step-box")
class StepLeavesTheBox(Plain):
    """A step counts wherever it ends."""

    def exit(self, *arguments: Any) -> float:
        return np.inf


@breaks("E27-step-box")
class StepEndsAtTheBox(Plain):
    """The step up to the box, where the ray leaves it before it flips."""

    def length(self, t: float, x: Any, direction: Any, norm: float, box: Any) -> float:
        u = direction.astype(float) / np.linalg.norm(direction.astype(float))
        return super().length(min(t, self.exit(x, u, box)), x, direction, norm, box)


@breaks("PGD-projection-box")
class ProjectionClipped(Plain):
    """Scaled to the ball, then clipped to the box; as a step of an attack that is a convention."""

    def shrink(self, delta: Any, epsilon: float, low: Any, high: Any) -> Any:
        return np.clip(self.project(delta, epsilon), low, high)


@breaks("PGD-projection-linf")
class LinfBallScaled(Plain):
    """delta epsilon/max|delta|: each row is scaled to the l_inf ball."""

    def project(self, delta: Any, epsilon: float, norm: float = 2, box: Any = None) -> Any:
        if norm == np.inf:
            top = np.abs(delta).max(axis=1, keepdims=True)
            delta = delta * np.minimum(1, epsilon / np.where(top > 0, top, 1))
        return super().project(delta, epsilon, norm, box)


@breaks("PGD-projection-linf", "PGD-linear-linf")
class BallOfL2(Plain):
    """The l2 ball, whatever the norm."""

    def project(self, delta: Any, epsilon: float, norm: float = 2, box: Any = None) -> Any:
        return super().project(delta, epsilon, 2, box)


@breaks("PGD-budget-linf", "PGD-in-box-linf")
class LastStepFree(Plain):
    """In l_inf the last step by the sign is not projected."""

    def pgd_attack(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        moved = super().pgd_attack(*arguments, norm=norm, box=box)
        W, b, A, c, _, y, _, _, step_size, _ = arguments
        return moved + (norm == np.inf) * step_size * np.sign(self.ascent(W, b, A, c, moved, y))


@breaks("PGD-linear-linf")
class StepsOfL2(Plain):
    """Steps in l_inf follow the gradient, and not its sign."""

    def steepest(self, direction: Any, norm: float) -> Any:
        return direction


@breaks("PGD-zero-gradient-linf")
class SignOfZero(Plain):
    """-1 or +1 for every sign, and so +1 for that of 0."""

    def steepest(self, direction: Any, norm: float) -> Any:
        return np.where(direction >= 0, 1, -1) if norm == np.inf else direction


@breaks("PGD-linear-box")
class BoxAtTheEnd(Plain):
    """The attack ignores the box, and its result is clipped to it."""

    def pgd_attack(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        moved = super().pgd_attack(*arguments, norm=norm)
        return moved if box is None else np.clip(moved, *box)
