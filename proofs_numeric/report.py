"""The table that ``refimpl prove`` prints."""

from __future__ import annotations

from proofs_numeric import CLAIMS
from proofs_numeric.evidence import Check, Evidence

_WIDTHS = (max(map(len, CLAIMS)), 53, 9, 12)
HEAD = ("claim", "what was measured", "figure", "bound", "verdict")


def line(*cells: str) -> str:
    """Align the five columns, texts to the left and numbers to the right.

    >>> line("data", "labels", "0", "<= 0", "holds")[:29]
    'data                  labels '
    """
    claim, what, figure, bound, verdict = cells
    left, text, right, limit = _WIDTHS
    numbers = f"{figure:>{right}} {bound:<{limit}}"
    return f"{claim:<{left}}  {what:<{text}} {numbers} {verdict}".rstrip()


def rows(result: Evidence) -> str:
    """Lines of one claim, with a verdict wherever a bound is claimed."""
    return "\n".join(
        line(result.claim if i == 0 else "", check.what, _number(check.figure), *_judged(check))
        for i, check in enumerate(result.checks)
    )


def summary(results: list[Evidence]) -> str:
    """Count the verdicts, and name the claims that fail."""
    failed = [result.claim for result in results if result.verdict == "fails"]
    held = f"{len(results) - len(failed)} of {len(results)} claims hold"
    return f"{held}; failed: {', '.join(failed)}" if failed else held


def _judged(check: Check) -> tuple[str, str]:
    if check.bound is None:
        return "", ""
    return f"{check.relation} {_number(check.bound)}", "holds" if check.holds else "FAILS"


def _number(value: float) -> str:
    return f"{value:.4g}"
