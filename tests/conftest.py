"""Settings shared by all tests."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from effort import THOROUGH, share
from hypothesis import HealthCheck, settings

from refimpl.experiments import figures

# No deadline: a shared machine stalls now and then. Derandomised: a red run can be repeated.
for name, number in (("quick", share(THOROUGH)), ("thorough", THOROUGH)):
    settings.register_profile(
        name,
        deadline=None,
        derandomize=True,
        max_examples=number,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile("quick")

os.environ["LANGUAGE"] = "C"  # or else each parser looks for translations on the disk
figures.DPI = 20  # tests look at what is drawn, and at no pixel


gc.disable()  # until all tests are there


def pytest_collection_finish() -> None:
    """Set aside what was made until now: a hundred collections of garbage need not visit it."""
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder of real data that $REFIMPL_DATA names; where it is unset, tests skip."""
    directory = os.environ.get("REFIMPL_DATA")
    if not directory:
        pytest.skip("$REFIMPL_DATA is not set: no real data")
    return Path(directory)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save the time of drawing what another test looks at."""
    monkeypatch.setattr(figures, "available", lambda: False)
