"""Numerical evidence for the claims of the paper and of this package, one module for each claim.

A module states its claim and where the bound comes from, sets up the hypotheses, measures, and
returns a `Evidence`: what was measured, the bound that was derived beforehand, and the verdict. Run
all of them with ``refimpl prove``, or ``python -m proofs_numeric``; `evidence` holds what they
share. What happens where the hypotheses end is in `sweeps`.
"""

from __future__ import annotations

from importlib import import_module

from proofs_numeric.evidence import Check, Evidence, Size

CLAIMS = (
    "data",
    "decomposition",
    "monotone",
    "averaging",
    "balance",
    "non-robust",
    "near-optimal-attack",
    "decoupling",
    "optimal-robustness",
    "readout",
    "supervision-alone",
    "scaling",
    "symmetry",
    "multiclass",
    "participation",
    "adversarial-training",
    "bayes",
    "regime",
    "linf",
)

__all__ = ["CLAIMS", "Check", "Evidence", "Size", "prove"]


def prove(claim: str, size: Size) -> Evidence:
    """Gather the evidence for one of `CLAIMS`; spaces and underscores may stand for hyphens.

    >>> from proofs_numeric.evidence import QUICK
    >>> prove("data", QUICK).verdict
    'holds'
    """
    module = import_module(f"proofs_numeric.{canonical(claim).replace('-', '_')}")
    result: Evidence = module.prove(size)
    return result


def canonical(claim: str) -> str:
    """Name of the claim as in `CLAIMS`, else a `ValueError` that lists them.

    >>> canonical("near-optimal attack")
    'near-optimal-attack'
    """
    name = claim.strip().lower().replace(" ", "-").replace("_", "-")
    if name not in CLAIMS:
        raise ValueError(f"CLAIM: expected one of {', '.join(CLAIMS)}, got {claim!r}")
    return name
