"""The registry of claims: what is checked, on which inputs, and what a failure means."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from refimpl._extras import install
from refimpl.equations import EQUATIONS

GROUPS = ("data", "network", "losses", "gradients", "training", "attacks", "radius")
OTHER = {"PGD": "projected gradient descent in the l2 ball (customary)"}
OTHER["Figure2"] = "cosines <mu_i, w_r>/(||mu_i|| ||w_r||) (paper, Figure 2)"

_claims: dict[str, Claim] = {}


@dataclass(frozen=True, eq=False)
class Claim:
    """A property of an implementation.

    `check(mine, truth, **case)` raises `Mismatch` where it fails and `Discard` where the input
    decides nothing; `mine` and `truth` are probes, of the candidate and of the oracle.
    """

    name: str
    methods: tuple[str, ...]
    cases: Any
    check: Callable[..., None]
    option: str = ""

    @property
    def equation(self) -> str:
        """The tag, and what it says."""
        tag = self.name.split("-")[0]
        return f"{tag}: {OTHER[tag] if tag in OTHER else EQUATIONS[tag][0]}"

    @property
    def statement(self) -> str:
        """The property in words."""
        return " ".join((inspect.getdoc(self.check) or "").split("\n\n")[0].split())

    @property
    def consequence(self) -> str:
        """What a failure means, and how it hurts."""
        return " ".join((inspect.getdoc(self.check) or "").split("\n\n", 1)[1].split())


def claim(
    name: str, methods: str, cases: Any, *, option: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a check under its name; `cases` is a strategy of keyword arguments."""

    def register(check: Callable[..., None]) -> Callable[..., None]:
        _claims[name] = Claim(name, tuple(methods.split()), cases, check, option)
        return check

    return register


@cache
def claims() -> dict[str, Claim]:
    """Return every claim by name, in the order of the groups. Needs Hypothesis."""
    if find_spec("hypothesis") is None:
        raise ImportError(f"checks need Hypothesis: {install('check')}")
    for group in GROUPS:
        import_module(f"refimpl.conformance.checks_{group}")
    return _claims
