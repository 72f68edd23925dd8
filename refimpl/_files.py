"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary neighbour of `path`, which takes the name `path` on success only."""
    target = Path(path)
    # Not tempfile: its files are private to the user, and results are to be shared.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_npz(path: str | os.PathLike[str], **arrays: Any) -> None:
    """Write arrays to exactly `path` as an uncompressed .npz without pickle."""
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def read_npz(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read every array of an .npz file, never unpickling; a `ValueError` names a bad file."""
    # Opened here: np.load leaves a file that is no archive open, and the file system's own errors
    # (missing, a directory, unreadable) pass through as they are.
    with Path(path).open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: expected an .npz file of arrays, got another kind of file")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {name: _member(archive, name) for name in archive.files}
        except Exception as error:  # zipfile, zlib and numpy.lib.format each raise their own
            reason = str(error) or type(error).__name__
            raise ValueError(f"{path}: expected an .npz file of arrays, got {reason}") from None


def _member(archive: Any, name: str) -> np.ndarray[Any, Any]:
    """Return an array of the archive; NumPy hands out anything else in it as bytes."""
    value = archive[name]
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name}, which is no array")
    return value


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as indented JSON; NaN and infinities are refused, since JSON has none."""
    text = json.dumps(value, indent=2, allow_nan=False)
    with atomic_write(path) as file:
        file.write(text.encode() + b"\n")


def output_directory(path: str | os.PathLike[str]) -> Path:
    """Make the directory if it is missing, and see that it can be written to."""
    directory = Path(path)
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise PermissionError(f"--out: expected a writable directory, got {directory}")
    return directory
