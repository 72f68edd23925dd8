"""Modules that lack something: what the tests of rounding errors are to notice."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def mutant(module: ModuleType, old: str, new: str) -> ModuleType:
    """Return the module with one piece of its source replaced."""
    source = Path(str(module.__file__)).read_text()
    assert source.count(old) == 1, old
    changed = ModuleType("refimpl.certificate.mutant")
    sys.modules[changed.__name__] = changed  # where its dataclasses look for it
    exec(compile(source.replace(old, new), "mutant", "exec"), changed.__dict__)
    return changed
