"""How much the tests try: a quarter, or all of it with `pytest --hypothesis-profile=thorough`."""

from __future__ import annotations

from hypothesis import settings

THOROUGH = 40  # examples of a test that says no number


def share(n: int) -> int:
    """Trials that a test makes of the n that it has."""
    return n if settings().max_examples == THOROUGH else -(-n // 4)


def examples(n: int) -> settings:
    """Settings of a test with n examples where others have `THOROUGH`."""
    return settings(max_examples=share(n))
