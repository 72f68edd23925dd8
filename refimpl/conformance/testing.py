"""The claims as pytest tests, one for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache

from refimpl.conformance.adapter import Adapter
from refimpl.conformance.claims import claims
from refimpl.conformance.report import explain
from refimpl.conformance.runner import Result, instance_of, judge, reasons, run_claim, select


def suite(
    adapter: Adapter | type[Adapter],
    expected_failures: Mapping[str, str] | None = None,
    min_claims: int = 1,
    *,
    seed: int = 0,
    examples: int = 25,
    exclude: Iterable[str] = (),
    subnormals: bool = False,
    tight: bool = False,
) -> Callable[..., None]:
    """Make a parametrised test of an implementation: one test for each claim, and one that counts.

    ::

        test_mine = conformance.suite(MyAdapter(), {"E8-logistic-tail": "softplus"}, min_claims=30)

    Parameters
    ----------
    adapter : Adapter
        An instance, or the class.
    expected_failures : mapping, optional
        Reason by claim. Such a test is expected to fail, and fails when it passes.
    min_claims : int
        Least number of claims that are implemented, so that none is lost unseen.
    seed, examples, exclude, subnormals, tight
        As in `check`.

    Raises
    ------
    ValueError
        An adapter that is none, an expected failure that is no claim, or no claim that is left.
    ImportError
        pytest is missing, or Hypothesis.
    """
    try:
        import pytest
    except ImportError:
        raise ImportError("suite needs pytest: pip install pytest") from None
    instance = instance_of(adapter)
    expected = reasons(expected_failures)
    names = [claim.name for claim in select(None, exclude, subnormals=subnormals, tight=tight)]

    @cache
    def run(name: str) -> Result:
        result = run_claim(instance, claims()[name], seed=seed, examples=examples)
        return judge(result, expected)

    @pytest.mark.parametrize("claim", [*names, "enough-claims"])
    def test_conformance(claim: str) -> None:
        if claim == "enough-claims":
            count = sum(run(name).status != "not_implemented" for name in names)
            if count < min_claims:
                pytest.fail(
                    f"{count} claims implemented, at least {min_claims} wanted", pytrace=False
                )
            return
        result = run(claim)
        if result.status == "failed":
            pytest.fail(explain(result, instance), pytrace=False)
        if result.status == "not_implemented":
            pytest.skip(result.detail if result.asked else f"not asked: {result.detail}")
        if result.status == "expected_failure":
            pytest.xfail(result.detail)

    return test_conformance
