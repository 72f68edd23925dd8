"""The errors of `refimpl.datasets`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from refimpl.datasets.errors import (
    DatasetFormatError,
    DatasetMissingError,
    DatasetWarning,
    check_verify,
    report,
)


@pytest.mark.parametrize(
    "error",
    [
        DatasetFormatError(Path("a/b"), "this", "that"),
        DatasetMissingError(Path("a/b"), "this", "that", "mnist"),
    ],
)
def test_an_error_names_path_expected_and_got_and_survives_a_worker_process(error: Any) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert vars(copy) == vars(error)
    assert (copy.path, copy.expected, copy.got) == (Path("a/b"), "this", "that")
    assert str(copy) == f"{Path('a/b')}: expected this, got that"


def test_kinds_of_errors_that_users_catch() -> None:
    assert issubclass(DatasetFormatError, ValueError)
    assert issubclass(DatasetMissingError, (DatasetFormatError, FileNotFoundError))


def test_report_raises_the_first_or_warns_of_each() -> None:
    deviations = [DatasetFormatError("a", "x", "y"), DatasetFormatError("b", "x", "y")]
    with pytest.raises(DatasetFormatError, match=r"^a: expected x, got y$"):
        report(deviations, verify=True)
    with pytest.warns(DatasetWarning) as caught:
        report(deviations, verify="warn")
    assert [str(w.message) for w in caught] == ["a: expected x, got y", "b: expected x, got y"]
    report([], verify=True)


@pytest.mark.parametrize("verify", [None, 1, "yes", "True"])
def test_verify_is_a_bool_or_warn(verify: object) -> None:
    with pytest.raises(ValueError, match=r"^verify: expected True, False or 'warn', got "):
        check_verify(verify)
