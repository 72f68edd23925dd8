"""The list of defects, and the decorator that adds to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from refimpl.conformance.defects.plain import Plain


class Defect(NamedTuple):
    """A wrong implementation and the claims that it must fail."""

    adapter: type[Plain]
    breaks: tuple[str, ...]

    @property
    def name(self) -> str:
        """The class's name."""
        return self.adapter.__name__


registered: list[Defect] = []


def breaks(*claims: str) -> Callable[[type[Plain]], type[Plain]]:
    """Add a defect that each of these claims is to catch."""

    def add(adapter: type[Plain]) -> type[Plain]:
        adapter.name = adapter.__name__
        registered.append(Defect(adapter, claims))
        return adapter

    return add
