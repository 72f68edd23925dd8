"""What a claim is, and the decorator that registers one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from refimpl.conformance.adapter import Probe
from refimpl.conformance.case import Case
from refimpl.equations import EQUATIONS

OTHER = {"PGD": "projected gradient descent in the l2 ball (customary)"}
OTHER["Figure2"] = "cosines <mu_i, w_r>/(||mu_i|| ||w_r||) (paper, Figure 2)"

Assertion = Callable[[Probe, Probe, Case], None]


@dataclass(frozen=True, eq=False)
class Claim:
    """A property that an implementation has if it is right.

    `assertion(mine, truth, case)` raises `Mismatch` where the property fails and `Discard` where
    the case decides nothing; `mine` and `truth` are probes, of the candidate and of the oracle. Its
    docstring has the property, and below it what a failure means. `cases` is a strategy, `methods`
    are those that a candidate needs, and `option` is the option of `check` that asks for the claim.
    A `convention` says which of several right methods it is, so that others fail it too.
    """

    name: str
    methods: tuple[str, ...]
    cases: Any
    assertion: Assertion
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

    def _paragraphs(self) -> list[str]:
        text = inspect.getdoc(self.assertion) or ""
        return [" ".join(part.split()) for part in text.split("\n\n", 1)]


registered: dict[str, Claim] = {}


def claim(
    name: str, methods: str, cases: Any, *, option: str = "", convention: bool = False
) -> Callable[[Assertion], Assertion]:
    """Register an assertion as a claim; `methods` are names, `cases` is a strategy of cases."""

    def register(assertion: Assertion) -> Assertion:
        made = Claim(name, tuple(methods.split()), cases, assertion, option, convention)
        registered[name] = made
        return assertion

    return register
