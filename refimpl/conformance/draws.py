"""What Hypothesis does for the kit: it draws inputs from a seed, and makes failing ones smaller."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from unittest import mock

from refimpl.conformance.case import Case


def sample(cases: Any, seed: int, examples: int) -> list[Case]:
    """Draw inputs from a strategy, up to so many."""
    pool: list[Case] = []
    _run(cases, pool.append, seed, examples, shrink=False)
    return pool


class _Enough(BaseException):
    """So much for shrinking: Hypothesis lets it pass."""


class _Found(Exception):  # noqa: N818 - what Hypothesis is to shrink, not an error
    """A failing input."""


def shrink(
    cases: Any, holds: Callable[[Case], bool | None], seed: int, examples: int, limit: int
) -> None:
    """Draw the same inputs once more, and smaller ones after the first that fails.

    `holds` says of an input whether the claim holds there, None if nothing is decided. It is asked
    about `limit` inputs after the first failure, whatever the time: shrinking ends by a count, so
    that one seed has one counterexample, on a slow machine as on a fast one.
    """
    from hypothesis import reject

    left: float = math.inf  # until an input fails

    def body(case: Case) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise _Enough
        answer = holds(case)
        if answer is None:
            reject()
        if not answer:
            left = min(left, limit)
            raise _Found

    with suppress(_Enough, Exception):  # found again, or not: an adapter may draw numbers itself
        _run(cases, body, seed, examples, shrink=True)


def _run(
    cases: Any, body: Callable[[Case], None], seed: int, examples: int, *, shrink: bool
) -> None:
    """Run Hypothesis on `body`, with nothing but the seed to depend on."""
    import hypothesis

    options = hypothesis.settings(
        max_examples=examples,
        database=None,
        deadline=None,
        derandomize=False,
        print_blob=False,
        report_multiple_bugs=False,
        verbosity=hypothesis.Verbosity.quiet,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, *([hypothesis.Phase.shrink] if shrink else [])],
    )

    def run(case: Case) -> None:
        body(case)

    test: Any = run
    decorators: list[Any] = [hypothesis.given(cases), options, hypothesis.seed(seed)]
    for decorate in decorators:  # as @seed @settings @given would
        test = decorate(test)
    with _seed_only():
        test()


@contextmanager
def _seed_only() -> Iterator[None]:
    """Keep inputs a function of the seed alone.

    Newer versions of Hypothesis mix in numbers that stand in the user's own modules: inputs would
    change with each repair that they are to confirm. And Hypothesis stops shrinking after some
    minutes by the clock.
    """
    from hypothesis.internal.conjecture import engine, providers

    provider: Any = getattr(providers, "HypothesisProvider", None)
    with ExitStack() as stack:
        for owner, name, value in (
            (provider, "_maybe_draw_constant", lambda *_, **__: None),
            (engine, "MAX_SHRINKING_SECONDS", math.inf),
        ):
            if hasattr(owner, name):
                stack.enter_context(mock.patch.object(owner, name, value))
        yield
