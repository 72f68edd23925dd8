"""A named problem: a network, samples, and the exact radii that an attack is held against."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision
from refimpl.network import TwoLayerReLU
from refimpl.radius import RobustRadius, robust_radius


class Setting(NamedTuple):
    """What an attack is given: samples x (n,d) with labels y (n,), correct as the network decides.

    `norm` is that of perturbations, and `box` bounds x and every adversarial point.
    """

    net: TwoLayerReLU
    x: Array
    y: IntArray
    decision: Decision = "sign"
    norm: float = 2
    box: Any = None


@dataclass(frozen=True, eq=False)
class Problem:
    """A setting with a name, what it is in a line, and why attacks fail there.

    Examples
    --------
    >>> from refimpl import truth
    >>> kink = truth.problem("kink")
    >>> kink.summary
    'Convex boundary whose nearest point lies on eight kinks at once.'
    >>> kink.radii.status.tolist() == ["exact"] * len(kink.x)
    True
    """

    name: str
    summary: str
    cause: str
    setting: Setting

    @property
    def net(self) -> TwoLayerReLU:
        """The network."""
        return self.setting.net

    @property
    def x(self) -> Array:
        """Samples (n,d)."""
        return self.setting.x

    @property
    def y(self) -> IntArray:
        """Labels (n,)."""
        return self.setting.y

    @property
    def options(self) -> dict[str, Any]:
        """Decision, norm and box, as functions of refimpl take them."""
        decision, norm, box = self.setting[3:]
        return {"decision": decision, "norm": norm, "box": box}

    @property
    def plain(self) -> bool:
        """Whether it is in l2 without a box."""
        return self.setting.norm == 2 and self.setting.box is None

    @cached_property
    def radii(self) -> RobustRadius:
        """Robust radii of all samples, found when they are first asked for."""
        return robust_radius(self.net, self.x, self.y, **self.options)

    def certified(self) -> RobustRadius:
        """Find the radii again, with certificates that `refimpl.verify_certificate` takes."""
        return robust_radius(self.net, self.x, self.y, **self.options, certificates=True)


def described(make: Callable[[], Setting]) -> Problem:
    """Make the problem that a function sets, named and explained by its docstring.

    The first line is the summary, the paragraph after it the cause of failures.
    """
    paragraphs = inspect.cleandoc(make.__doc__ or "").split("\n\n")
    summary, cause = (" ".join(text.split()) for text in paragraphs[:2])
    return Problem(make.__name__, summary, cause, make())
