"""Wrong implementations, each named for its defect and for the claim that it breaks.

They measure the power of the claims: ``refimpl check --power`` runs every claim on every defect.
All are mistakes that people make; each is `Plain` with one step replaced.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module

from refimpl.conformance.defects.plain import Plain, PlainSingle
from refimpl.conformance.defects.registry import Defect, registered

__all__ = ["Defect", "Plain", "PlainSingle", "defects"]

TOPICS = ("data", "network", "gradients", "training", "attacks", "radius", "regions")


@cache
def defects() -> tuple[Defect, ...]:
    """Return every defect, in the order of the equations."""
    for topic in TOPICS:
        import_module(f"refimpl.conformance.defects.{topic}")
    return tuple(registered)
