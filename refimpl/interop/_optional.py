"""Frameworks that are imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def framework(name: str, advice: str) -> Any:
    """Import a module, or raise an `ImportError` that says how to install it."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(advice) from error
