"""How much the tests try: a quarter, or all of it with `pytest --hypothesis-profile=thorough`."""

from __future__ import annotations

from hypothesis import settings

THOROUGH = 40  # examples of a test that says no number


def thorough() -> bool:
    """Whether all is tried."""
    return settings().max_examples == THOROUGH


def share(n: int) -> int:
    """Trials that a test makes of the n that it has."""
    return n if thorough() else -(-n // 4)


def least(n: int) -> int:
    """How often all trials meet a case at least; a tenth where a share is tried."""
    return n if thorough() else -(-n // 10)


def examples(n: int) -> settings:
    """Settings of a test with n examples where others have `THOROUGH`."""
    return settings(max_examples=share(n))
