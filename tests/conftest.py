"""Settings shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# No deadline: a shared machine stalls now and then. Derandomised: a red run can be repeated.
settings.register_profile(
    "refimpl",
    deadline=None,
    derandomize=True,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("refimpl")


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder of real data that $REFIMPL_DATA names; where it is unset, tests skip."""
    directory = os.environ.get("REFIMPL_DATA")
    if not directory:
        pytest.skip("$REFIMPL_DATA is not set: no real data")
    return Path(directory)
