"""What a claim is, and the decorator that registers one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from refimpl.conformance.adapter import Probe
from refimpl.conformance.case import Case
from refimpl.equations import EQUATIONS

OTHER = {"PGD": "projected gradient descent in a ball (customary)"}
OTHER["Figure2"] = "cosines <mu_i, w_r>/(||mu_i|| ||w_r||) (paper, Figure 2)"

Assertion = Callable[[Probe, Probe, Case], None]


@dataclass(frozen=True, eq=False)
class Claim:
    """A property that an implementation has if it is right.

    `assertion(mine, truth, case)` raises `Mismatch` where the property fails and `Discard` where
    the case decides nothing; `mine` and `truth` are probes, of the candidate and of the oracle. Its
    docstring has the property, and below it what a failure means. `cases` is a strategy, `methods`
    are those that a candidate needs, `takes` are arguments that these need besides, and `option` is
    the option of `check` that asks for the claim. A `convention` says which of several right
    methods it is, so that others fail it too.
    """

    name: str
    methods: tuple[str, ...]
    cases: Any
    assertion: Assertion
    takes: tuple[str, ...] = ()
    option: str = ""
    convention: bool = False

    @property
    def equation(self) -> str:
        """The tag, and what it says."""
        tag = self.name.split("-")[0]
        return f"{tag}: {OTHER[tag] if tag in OTHER else EQUATIONS[tag][0]}"

    @property
    def statement(self) -> str:
        """The property in words."""
        return self._paragraphs()[0]

    @property
    def consequence(self) -> str:
        """What a failure means, and how it hurts."""
        return self._paragraphs()[1]

    def absent(self, probe: Probe) -> str:
        """Say which methods the adapter lacks for this claim, "" if none."""
        names = [method for method in self.methods if not probe.has(method)]
        return f"{probe.adapter.name} has no {' and no '.join(names)}" if names else ""

    def not_taken(self, probe: Probe) -> str:
        """Say which arguments the adapter's methods do not take, "" if none."""
        for method in self.methods:
            if names := [it for it in self.takes if not probe.takes(method, it)]:
                return f"{method} of {probe.adapter.name} takes no {' and no '.join(names)}"
        return ""

    def _paragraphs(self) -> list[str]:
        text = inspect.getdoc(self.assertion) or ""
        return [" ".join(part.split()) for part in text.split("\n\n", 1)]


registered: dict[str, Claim] = {}


def claim(
    name: str,
    methods: str,
    cases: Any,
    *,
    takes: str = "",
    option: str = "",
    convention: bool = False,
) -> Callable[[Assertion], Assertion]:
    """Register an assertion as a claim; `methods` and `takes` are names, `cases` a strategy."""

    def register(assertion: Assertion) -> Assertion:
        names = tuple(methods.split()), cases, assertion, tuple(takes.split())
        registered[name] = Claim(name, *names, option, convention)
        return assertion

    return register
