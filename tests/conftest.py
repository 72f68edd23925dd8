"""Settings shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from effort import THOROUGH, share
from hypothesis import HealthCheck, settings

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


@pytest.fixture(scope="session")
def data_directory() -> Path:
    """The folder of real data that $REFIMPL_DATA names; where it is unset, tests skip."""
    directory = os.environ.get("REFIMPL_DATA")
    if not directory:
        pytest.skip("$REFIMPL_DATA is not set: no real data")
    return Path(directory)
