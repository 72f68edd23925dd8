"""The checker of certificates with its exact half switched off."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from refimpl.certificate import rationals

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from hostile_certificates import passes


def floats_prove(*args: Any, **options: Any) -> bool:
    """Whether float64 proves it alone, with no row left to exact arithmetic."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rationals, "Sample", lambda *_: None)
        patch.setattr(rationals, "proved", lambda *_, **__: False)
        return passes(*args, **options)
