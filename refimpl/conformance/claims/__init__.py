"""Claims, a module for each topic: what an implementation is held to.

Each claim is a property with a name, the inputs that it is tried on, and what a failure means. The
wrong implementations that break them stand in `defects`, a module of the same name for each topic.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec

from refimpl._extras import install
from refimpl.conformance.claims.registry import OTHER, Claim, claim, registered

__all__ = ["OTHER", "Claim", "claim", "claims"]

TOPICS = ("data", "network", "losses", "gradients", "training", "attacks", "radius", "regions")


@cache
def claims() -> dict[str, Claim]:
    """Return every claim by name, in the order of the topics. Needs Hypothesis."""
    if find_spec("hypothesis") is None:
        raise ImportError(f"checks need Hypothesis: {install('check')}")
    for topic in TOPICS:
        import_module(f"refimpl.conformance.claims.{topic}")
    return registered
