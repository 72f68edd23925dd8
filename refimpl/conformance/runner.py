"""Runs claims on an adapter, and looks for the smallest input on which one fails."""

from __future__ import annotations

import functools
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np

from refimpl import _validation
from refimpl._progress import track
from refimpl.conformance.adapter import Adapter, Discard, Mismatch, Probe
from refimpl.conformance.claims import Claim, claims
from refimpl.conformance.oracle import Reference

EXAMPLES = 40
SHRINK_SECONDS = (
    4.0,
    1.0,
)  # for each of the first failures, which explain most, and for the others
FIRST = 5
STATUSES = ("passed", "failed", "not_implemented", "expected_failure")


@dataclass(frozen=True, eq=False)
class Failure:
    """Where a claim fails: the input, the call that was made last, and what came of it."""

    message: str
    case: Mapping[str, Any]
    call: tuple[str, tuple[Any, ...]] | None
    expected: Any
    got: Any
    ratio: float
    traceback: str

    @property
    def size(self) -> tuple[int, int, int]:
        """What "smaller" means among failing inputs: entries, those that are not 0, digits."""
        arrays = [np.asarray(value) for value in self.case.values()]
        entries = sum(array.size for array in arrays)
        digits = 0 if entries > 1000 else sum(len(repr(array.tolist())) for array in arrays)
        return entries, sum(int(np.count_nonzero(array)) for array in arrays), digits


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one claim.

    status: "passed", "failed", "not_implemented" or "expected_failure"; ratio: the largest error
    over its bound; inputs and discarded: how many were checked, and how many could decide nothing;
    dtype: the precision that the adapter was checked in.
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


def check(
    adapter: Adapter | type[Adapter],
    *,
    seed: int = 0,
    examples: int = EXAMPLES,
    only: Iterable[str] | None = None,
    expected_failures: Mapping[str, str] | None = None,
    subnormals: bool = False,
    tight: bool = False,
    dtype: Any = None,
    shrink: bool = True,
    progress: bool = False,
) -> list[Result]:
    """Check an implementation against every claim.

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
    expected_failures : mapping, optional
        Reason by claim. One that passes nevertheless has status "failed".
    subnormals : bool
        Whether to check the claims on subnormal numbers too.
    tight : bool
        Whether bounds of the radius are to meet, as those of an exact method do.
    dtype : "float32" or "float64", optional
        In place of the adapter's own.
    shrink : bool
        Whether to look for a smaller input after a failure, for 4 s, after many failures for 1 s.
    progress : bool
        Whether to show progress on standard error.

    Returns
    -------
    list of Result
        In the order of the equations. An earlier failure often explains later ones.

    Raises
    ------
    ValueError
        An adapter that is none, a name that is no claim, examples below 1, or a dtype that is
        neither float32 nor float64.
    ImportError
        Hypothesis, the extra ``check``, is missing.
    """
    instance = instance_of(adapter)
    expected = reasons(expected_failures)
    probe = Probe(instance, dtype)  # refuses a bad dtype before anything runs
    seed = _validation.integer("seed", seed, minimum=0)
    examples = _validation.integer("examples", examples, minimum=1)
    chosen = select(only, subnormals=subnormals, tight=tight)
    results: list[Result] = []
    for claim in track(chosen, "claims", len(chosen), enabled=progress):
        failures = sum(result.failure is not None for result in results)
        limit = SHRINK_SECONDS[failures >= FIRST] if shrink else 0.0
        result = run_claim(
            instance, claim, seed=seed, examples=examples, dtype=probe.dtype, shrink=limit
        )
        results.append(judge(result, expected))
    return results


def replay(adapter: Adapter | type[Adapter], claim: str, *, dtype: Any = None, **case: Any) -> None:
    """Check one claim on one input, in the adapter's dtype or another, and let the error out.

    >>> replay(Reference, "E29-robust-at-the-radius", radius=np.array([1.0]), epsilons=np.ones(1))
    """
    known([claim])
    probe = Probe(instance_of(adapter), dtype)
    case = rounded(case, probe.dtype)
    claims()[claim].check(probe, Probe(Reference(), "float64"), **case)


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
    only: Iterable[str] | None = None, *, subnormals: bool = False, tight: bool = False
) -> list[Claim]:
    """Return claims by name, or all that need no option but those that are on."""
    if only is not None:
        names = only if isinstance(only, str) else list(only)
        known(names)
        return [claims()[name] for name in names]
    on = {"": True, "subnormals": subnormals, "tight": tight}
    return [claim for claim in claims().values() if on[claim.option]]


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
    shrink: float = SHRINK_SECONDS[0],
    truth: Adapter | None = None,
) -> Result:
    """Check one claim on one adapter, up to the first input on which it fails.

    That input is made smaller for at most `shrink` seconds; the rest is as in `check`.
    """
    start = time.monotonic()
    probe = Probe(adapter, dtype)
    oracle = Probe(truth or Reference(), "float64")
    result = Result(
        claim.name,
        "passed",
        claim.equation,
        claim.statement,
        claim.consequence,
        seed=seed,
        dtype=str(probe.dtype),
    )
    missing = [method for method in claim.methods if not probe.has(method)]
    if missing:
        detail = f"{adapter.name} has no {' and no '.join(missing)}"
        return replace(result, status="not_implemented", detail=detail)
    attempt = functools.partial(_attempt, claim, probe, oracle)
    inputs = discarded = 0
    for case in draw(claim, seed, examples):
        failure = attempt(case)
        if isinstance(failure, Failure):
            if shrink:
                failure = _smallest(claim, attempt, seed, examples, failure, shrink)
            result = replace(result, status="failed", detail=failure.message, failure=failure)
            probe.ratio = failure.ratio
            break
        inputs, discarded = inputs + (failure is None), discarded + (failure is not None)
    else:
        if not inputs:
            detail = (
                f"nothing decided: all {discarded} inputs refused, or rounding hides the answer"
            )
            result = replace(result, status="not_implemented", detail=detail)
    seconds = time.monotonic() - start
    return replace(result, ratio=probe.ratio, inputs=inputs, discarded=discarded, seconds=seconds)


def _attempt(
    claim: Claim, probe: Probe, truth: Probe, case: dict[str, Any]
) -> Failure | Exception | None:
    """None: the claim holds on this input; an exception: the input decides nothing."""
    probe.last_call = None
    case = rounded(case, probe.dtype)
    copy = dict(case)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            claim.check(probe, truth, **copy)
    except (Discard, NotImplementedError) as error:
        return error
    except Mismatch as error:
        return Failure(
            str(error), case, probe.last_call, error.expected, error.got, error.ratio, ""
        )
    except (Exception, SystemExit) as error:
        message = f"{type(error).__name__}: {error}"
        trace = "".join(traceback.format_exception(error)[-8:])
        return Failure(message, case, probe.last_call, None, None, float("inf"), trace)
    return None


def rounded(case: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Round the case to numbers that the dtype holds, still as float64."""
    result = case.copy()
    for name, value in result.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            result[name] = value.astype(dtype).astype(np.float64)
    return result


_pools: dict[tuple[Any, int, int], list[dict[str, Any]]] = {}


def draw(claim: Claim, seed: int, examples: int) -> list[dict[str, Any]]:
    """Draw the inputs of a claim; claims that share a strategy share them."""
    key = (claim.cases, seed, examples)
    if key not in _pools:
        pool: list[dict[str, Any]] = []
        _given(claim.cases, pool.append, seed, examples, shrink=False)
        _pools[key] = pool
    return _pools[key]


class _Enough(BaseException):
    """The time for shrinking is over: Hypothesis lets it pass."""


class _Found(Exception):  # noqa: N818 - what Hypothesis is to shrink, not an error
    """A failing input."""


def _smallest(
    claim: Claim,
    attempt: Callable[..., Any],
    seed: int,
    examples: int,
    first: Failure,
    seconds: float,
) -> Failure:
    """Let Hypothesis make the failing input smaller, for a limited time."""
    from hypothesis import reject

    best, deadline = first, time.monotonic() + seconds

    def body(case: dict[str, Any]) -> None:
        nonlocal best
        if time.monotonic() > deadline:
            raise _Enough
        failure = attempt(case)
        if isinstance(failure, Exception):
            reject()
        if isinstance(failure, Failure):
            best = min(best, failure, key=lambda it: it.size)
            raise _Found

    with suppress(_Enough, Exception):  # found again, or not: an adapter may draw numbers itself
        _given(claim.cases, body, seed, examples, shrink=True)
    return best


def _given(
    cases: Any, body: Callable[[dict[str, Any]], None], seed: int, examples: int, *, shrink: bool
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

    def run(case: dict[str, Any]) -> None:
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
    change with each repair that they are to confirm.
    """
    from hypothesis.internal.conjecture import providers

    provider: Any = getattr(providers, "HypothesisProvider", None)
    if not hasattr(provider, "_maybe_draw_constant"):
        yield
        return
    with mock.patch.object(provider, "_maybe_draw_constant", return_value=None):
        yield
