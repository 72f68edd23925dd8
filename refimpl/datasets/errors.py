"""What goes wrong with a file, said in one way."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

from refimpl import _validation as check


class DatasetFormatError(ValueError):
    """A file is not what it should be: ``path: expected ..., got ...``.

    Parameters
    ----------
    path : str or path
        The file; for a member of an archive, the archive's path followed by the member's name.
    expected, got : str
        What the file should hold, and what it holds.

    Examples
    --------
    >>> error = DatasetFormatError("t10k-labels-idx1-ubyte", "labels from 0 to 9", "12")
    >>> print(error)
    t10k-labels-idx1-ubyte: expected labels from 0 to 9, got 12
    >>> error.got
    '12'
    """

    def __init__(self, path: str | os.PathLike[str], expected: str, got: str) -> None:
        super().__init__(f"{os.fspath(path)}: expected {expected}, got {got}")
        self.path, self.expected, self.got = path, expected, got

    def __reduce__(self) -> tuple[Any, ...]:  # so that it comes back from a worker process
        return type(self), (self.path, self.expected, self.got)


class DatasetMissingError(DatasetFormatError, FileNotFoundError):
    """Files are not there; `expected` lists their names, where they are published, checksums.

    `name` is that of the data set, as `refimpl.datasets.fetch` takes it.
    """

    def __init__(self, path: str | os.PathLike[str], expected: str, got: str, name: str) -> None:
        super().__init__(path, expected, got)
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.expected, self.got, self.name)


class UnofficialDataError(DatasetFormatError):
    """Well-formed data that are not the official ones, which ``verify=False`` takes."""


class DatasetWarning(UserWarning):
    """With ``verify="warn"``: well-formed data that are not the official ones."""


def expect(condition: object, path: str | os.PathLike[str], expected: str, got: object) -> None:
    """Raise `DatasetFormatError` unless the condition holds."""
    if not condition:
        raise DatasetFormatError(path, expected, str(got))


Verify = bool | str


def check_verify(verify: Verify) -> None:
    """Refuse anything but True, False and "warn"."""
    if not (isinstance(verify, bool) or verify == "warn"):
        check.fail("verify", "True, False or 'warn'", repr(verify))


def report(deviations: Sequence[DatasetFormatError], verify: Verify) -> None:
    """Raise the first deviation from the official data, or warn of each."""
    for deviation in deviations:
        if verify == "warn":
            warnings.warn(str(deviation), DatasetWarning, stacklevel=3)  # the loader's caller
        else:
            raise UnofficialDataError(deviation.path, deviation.expected, deviation.got)
