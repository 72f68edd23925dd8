"""What to type where an optional package is missing: the one place for that text."""

from __future__ import annotations


def install(extra: str) -> str:
    """Say how to install what an extra of setup.cfg lists; there is no index to install it from.

    >>> install("plot")
    "pip install '.[plot]' in a checkout"
    """
    return f"pip install '.[{extra}]' in a checkout"
