"""Runs claims on an adapter, and looks for the smallest input on which one fails."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from refimpl import _validation
from refimpl._progress import track
from refimpl.conformance import draws
from refimpl.conformance.adapter import Adapter, Discard, Mismatch, Probe
from refimpl.conformance.case import Case
from refimpl.conformance.claims import Claim, claims
from refimpl.conformance.oracle import Reference

EXAMPLES = 40
SHRINKS = (200, 20)  # inputs for each of the first failures, which explain most, and the others
FIRST = 5
CONVENTIONS = "conventions"  # in place of the names of all of them
STATUSES = ("passed", "failed", "not_implemented", "expected_failure")


@dataclass(frozen=True, eq=False)
class Failure:
    """Where a claim fails: the input, the call that was made last, and what came of it."""

    message: str
    case: Case
    call: tuple[str, Mapping[str, Any]] | None
    expected: Any
    got: Any
    ratio: float
    traceback: str = ""
    row: int | None = None  # first index of the entry that the message is about

    @property
    def size(self) -> tuple[int, int, int]:
        """What "smaller" means among failing inputs: entries, those that are not 0, digits."""
        arrays = [np.asarray(value) for value in self.case.values()]
        entries = sum(array.size for array in arrays)
        digits = 0 if entries > 1000 else sum(len(repr(array.tolist())) for array in arrays)
        return entries, sum(int(np.count_nonzero(array)) for array in arrays), digits


Attempt = Callable[[Case], Failure | Exception | None]


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one claim.

    status: "passed", "failed", "not_implemented" or "expected_failure"; ratio: the largest error
    over its bound; inputs and discarded: how many were checked, and how many could decide nothing;
    dtype: the precision that the adapter was checked in; convention: whether another method that
    is right may fail it; asked: False where the adapter's methods take no norm or no box, so that
    claims on these are not asked of it, which counts as not implemented.
    """

    claim: str
    status: str
    equation: str
    statement: str
    consequence: str
    detail: str = ""
    ratio: float = 0.0
    inputs: int = 0
    discarded: int = 0
    seconds: float = 0.0
    seed: int = 0
    dtype: str = "float64"
    failure: Failure | None = None
    convention: bool = False
    asked: bool = True


def check(
    adapter: Adapter | type[Adapter],
    *,
    seed: int = 0,
    examples: int = EXAMPLES,
    only: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    expected_failures: Mapping[str, str] | None = None,
    subnormals: bool = False,
    tight: bool = False,
    dtype: Any = None,
    shrink: bool = True,
    progress: bool = False,
    finished: list[Result] | None = None,
) -> list[Result]:
    """Check an implementation: try every claim on it.

    Parameters
    ----------
    adapter : Adapter
        An instance, or the class.
    seed : int
        Draws the inputs: the same seed, the same inputs.
    examples : int
        Inputs for each claim, at most.
    only : iterable of str, optional
        Names of the claims to check, by default all.
    exclude : iterable of str
        Names of claims not to check; "conventions" names all those that are conventions, as which
        iterate of PGD comes back.
    expected_failures : mapping, optional
        Reason by claim. One that passes nevertheless has status "failed".
    subnormals : bool
        Whether to check the claims on subnormal numbers too.
    tight : bool
        Whether bounds of the radius are to meet, as those of an exact method do.
    dtype : "float32" or "float64", optional
        In place of the adapter's own.
    shrink : bool
        Whether to look for a smaller input after a failure: up to 200 more are tried for each of
        the first five failures, and 20 for each further one.
    progress : bool
        Whether to show progress on standard error.
    finished : list, optional
        An empty list that is to take the results: after Ctrl-C it has those that there are.

    Returns
    -------
    list of Result
        In the order of the equations. An earlier failure often explains later ones.

    Raises
    ------
    ValueError
        An adapter that is none, a name that is no claim, no claim that is left to check, examples
        below 1, or a dtype that is neither float32 nor float64.
    ImportError
        Hypothesis, the extra ``check``, is missing.
    """
    instance = instance_of(adapter)
    expected = reasons(expected_failures)
    probe = Probe(instance, dtype)  # refuses a bad dtype before anything runs
    seed = _validation.integer("seed", seed, minimum=0)
    examples = _validation.integer("examples", examples, minimum=1)
    chosen = select(only, exclude, subnormals=subnormals, tight=tight)
    results: list[Result] = [] if finished is None else finished
    for claim in track(chosen, "claims", len(chosen), enabled=progress):
        failures = sum(result.failure is not None for result in results)
        limit = SHRINKS[failures >= FIRST] if shrink else 0
        result = run_claim(
            instance, claim, seed=seed, examples=examples, dtype=probe.dtype, shrink=limit
        )
        results.append(judge(result, expected))
    return results


def replay(adapter: Adapter | type[Adapter], claim: str, *, dtype: Any = None, **case: Any) -> None:
    """Try one claim on one input, in the adapter's dtype or another, and let the error out.

    >>> replay(Reference, "E29-robust-at-the-radius", radius=np.array([1.0]), epsilons=np.ones(1))
    """
    known([claim])
    probe = Probe(instance_of(adapter), dtype)
    truth = Probe(Reference(), "float64")
    claims()[claim].assertion(probe, truth, Case(case).rounded(probe.dtype))


def instance_of(adapter: Any) -> Adapter:
    """Return the adapter, or an instance of the class."""
    found = adapter() if isinstance(adapter, type) else adapter
    if not isinstance(found, Adapter):
        _validation.fail("adapter", "a subclass of Adapter, or an instance of one", found)
    return found


def reasons(expected_failures: Any) -> dict[str, str]:
    """Return the failures that are expected, all of them of claims."""
    if expected_failures is None:
        return {}
    if not isinstance(expected_failures, Mapping):
        _validation.fail("expected_failures", "reasons by claim", expected_failures)
    known(expected_failures)
    return dict(expected_failures)


def known(names: Iterable[str]) -> None:
    """Refuse names that are no claims."""
    if isinstance(names, str):
        _validation.fail("claims", "a list of names", names)
    unknown = sorted(set(names) - claims().keys())
    if unknown:
        raise ValueError(f"claims: expected names such as {next(iter(claims()))!r}, got {unknown}")


def select(
    only: Iterable[str] | None = None,
    exclude: Iterable[str] = (),
    *,
    subnormals: bool = False,
    tight: bool = False,
) -> list[Claim]:
    """Return claims by name, or all that need no option; with those of options that are on.

    Less the excluded ones. None at all is refused.

    >>> [claim.name for claim in select(["PGD-budget", "PGD-seed"], exclude=[CONVENTIONS])]
    ['PGD-budget']
    """
    names = () if only is None else only if isinstance(only, str) else set(only)
    known(names)
    on = {"": only is None, "subnormals": subnormals, "tight": tight}
    chosen = [claim for name, claim in claims().items() if name in names or on[claim.option]]
    left_out = exclude if isinstance(exclude, str) else set(exclude)
    known(left_out if isinstance(left_out, str) else left_out - {CONVENTIONS})
    if not chosen:
        _validation.fail("only", "at least one claim", "none")
    conventions = CONVENTIONS in left_out
    rest = [
        claim
        for claim in chosen
        if claim.name not in left_out and not (conventions and claim.convention)
    ]
    if not rest:
        _validation.fail("exclude", "at least one claim to be left", sorted(left_out))
    return rest


def judge(result: Result, expected: Mapping[str, str]) -> Result:
    """Read a result in the light of the failures that are expected."""
    if result.claim not in expected or result.status == "not_implemented":
        return result
    reason = expected[result.claim]
    if result.status == "failed":
        return replace(result, status="expected_failure", detail=reason)
    return replace(result, status="failed", detail=f"expected to fail ({reason}), but it passes")


def run_claim(
    adapter: Adapter,
    claim: Claim,
    *,
    seed: int = 0,
    examples: int = EXAMPLES,
    dtype: Any = None,
    shrink: int = SHRINKS[0],
) -> Result:
    """Try one claim on one adapter, up to the first input on which it fails.

    That input is made smaller with up to `shrink` further ones; the rest is as in `check`.
    """
    start = time.monotonic()
    probe, truth = Probe(adapter, dtype), Probe(Reference(), "float64")
    words = (claim.equation, claim.statement, claim.consequence)
    result = Result(
        claim.name,
        "passed",
        *words,
        seed=seed,
        dtype=str(probe.dtype),
        convention=claim.convention,
    )
    if absent := claim.absent(probe):
        return replace(result, status="not_implemented", detail=absent)
    if not_taken := claim.not_taken(probe):
        return replace(result, status="not_implemented", detail=not_taken, asked=False)
    attempt = partial(_attempt, claim, probe, truth)
    inputs = discarded = 0
    refusals: list[NotImplementedError] = []
    changed = ""
    for case in draw(claim, seed, examples):
        failure = attempt(case)
        changed = changed or probe.changed
        refusals += [failure] if isinstance(failure, NotImplementedError) else []
        if isinstance(failure, Failure):
            if shrink:
                failure = _smallest(claim.cases, attempt, seed, examples, failure, shrink)
            result = replace(result, status="failed", detail=failure.message, failure=failure)
            probe.ratio = failure.ratio
            break
        inputs, discarded = inputs + (failure is None), discarded + (failure is not None)
    else:
        if not inputs:
            why = _undecided(discarded, refusals)
            result = replace(result, status="not_implemented", detail=why)
        elif changed:
            result = replace(result, detail=changed)
    seconds = time.monotonic() - start
    return replace(result, ratio=probe.ratio, inputs=inputs, discarded=discarded, seconds=seconds)


def _undecided(inputs: int, refusals: list[NotImplementedError]) -> str:
    """Why no input decided the claim."""
    if not refusals:
        return f"rounding hides the answer on all {inputs} inputs"
    many = "all" if len(refusals) == inputs else f"{len(refusals)} of"
    hidden = "" if len(refusals) == inputs else ", and rounding hides the answer on the others"
    return f"{many} {inputs} inputs are refused{hidden} ({_validation.reason(refusals[-1])})"


def _attempt(claim: Claim, probe: Probe, truth: Probe, case: Case) -> Failure | Exception | None:
    """None: the claim holds on this input; an exception: the input decides nothing."""
    probe.last_call, probe.changed = None, ""
    case = case.rounded(probe.dtype)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            claim.assertion(probe, truth, case)
    except (Discard, NotImplementedError) as error:
        return error
    except Mismatch as error:
        found = error.expected, error.got, error.ratio
        return Failure(str(error), case, probe.last_call, *found, row=error.row)
    except (Exception, SystemExit) as error:
        message = f"{type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error)[-8:])
        return Failure(message, case, probe.last_call, None, None, float("inf"), trace)
    return None


_pools: dict[tuple[Any, int, int], list[Case]] = {}


def draw(claim: Claim, seed: int, examples: int) -> list[Case]:
    """Draw the inputs of a claim; claims that share a strategy share them."""
    key = (claim.cases, seed, examples)
    if key not in _pools:
        _pools[key] = draws.sample(*key)
    return _pools[key]


def _smallest(
    cases: Any, attempt: Attempt, seed: int, examples: int, first: Failure, limit: int
) -> Failure:
    """Return the smallest of the failures that are found with `limit` inputs more."""
    best = first

    def holds(case: Case) -> bool | None:
        nonlocal best
        failure = attempt(case)
        if isinstance(failure, Failure):
            best = min(best, failure, key=lambda it: it.size)
            return False
        return None if failure else True

    draws.shrink(cases, holds, seed, examples, limit)
    return best
