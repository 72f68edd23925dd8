"""Tell whether another implementation is right, and if not, which equation is wrong.

Subclass `Adapter`, define what you have, and pass it to `check`, to `suite` under pytest, or to
``refimpl check PACKAGE.MODULE:Adapter`` on the command line. Checking needs Hypothesis, the
extra ``check``.
"""

from __future__ import annotations

from refimpl.conformance.adapter import Adapter, Mismatch, Probe
from refimpl.conformance.claims import Claim, claims
from refimpl.conformance.oracle import Reference
from refimpl.conformance.report import explain, snippet, table
from refimpl.conformance.runner import Failure, Result, check, replay
from refimpl.conformance.testing import suite

__all__ = [
    "Adapter",
    "Claim",
    "Failure",
    "Mismatch",
    "Probe",
    "Reference",
    "Result",
    "check",
    "claims",
    "explain",
    "replay",
    "snippet",
    "suite",
    "table",
]
