"""What the parts of one sample's search share: its options, its incumbent, and how far it is."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

from refimpl.radius.incumbent import Incumbent

_CLOSE = 1e-6  # relative: an incumbent that is nearer to stop_at decides nothing yet
_MEMORY = 2**29  # bytes that nodes may take
_ARRAYS = 64  # bytes of a node for each neuron

Listener = Callable[[int, float], None]  # of a sample's nodes and relative gap


class Options(NamedTuple):
    """What ends the search: see `robust_radius`."""

    ties: str
    tol: float
    max_nodes: int
    time_limit: float
    stop_at: float
    certificates: bool


class State:
    """One sample's search: `nodes` were made, `least` bounds the leaves that were closed."""

    def __init__(self, options: Options, incumbent: Incumbent) -> None:
        self.options, self.incumbent = options, incumbent
        self.nodes, self.least = 0, math.inf
        self.listener: Listener | None = None
        self.deadline = time.monotonic() + options.time_limit

    @property
    def goal(self) -> float:
        """A node is done with when its bound reaches this."""
        enough = math.nextafter(self.options.stop_at, math.inf)
        return min(self.incumbent.ball.radius * (1 - self.options.tol / 2), enough)

    @property
    def strict(self) -> bool:
        """Whether only strictly adversarial points count."""
        return self.options.ties == "robust"

    @property
    def keeps_trees(self) -> bool:
        """Whether halves stay below their nodes: as proofs, or to prove that nothing is reachable.

        What a node excludes and cuts always stays, for its `rest` alone would prove too much.
        """
        return self.options.certificates or not self.incumbent.points

    @property
    def farthest(self) -> float:
        """Radius of the ball in which `stop_at` is decided."""
        stop_at = self.options.stop_at or math.inf  # at 0 any bound decides
        return stop_at * (1 + _CLOSE) / (1 - self.options.tol / 2)

    def report(self, lower: float) -> None:
        """Tell how far this sample's search is, given the least bound of what is open."""
        if self.listener is not None and self.nodes > 0:
            radius = self.incumbent.ball.radius
            self.listener(self.nodes, 1 - lower / radius if lower < radius else 0.0)

    def late(self) -> bool:
        """Tell whether the search is out of time."""
        return time.monotonic() > self.deadline

    def room(self, neurons: int = 0) -> int:
        """How many more nodes may be made where those kept have so many neurons in all."""
        if self.late() or _ARRAYS * neurons > _MEMORY:
            return 0
        return max(0, self.options.max_nodes - self.nodes)  # one batch can overrun it

    def decided(self) -> bool:
        """Tell whether an adversarial point well within `stop_at` is known."""
        stop_at, radius = self.options.stop_at, self.incumbent.ball.radius
        return bool(self.incumbent.points) and radius * (1 + _CLOSE) < stop_at < math.inf
