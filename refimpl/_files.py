"""Files that appear whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary neighbour of `path`, which takes the name `path` on success only.

    Errors of the file system name `path`.
    """
    target = Path(path)
    # Not tempfile: its files are private to the user, and results are to be shared.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno and _is_about(error, temporary):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error names this file, or none, as when a disk is full."""
    return error.filename is None or str(error.filename) == str(path)


def write_npz(path: str | os.PathLike[str], **arrays: Any) -> None:
    """Write arrays to exactly `path` as an uncompressed .npz without pickle."""
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def read_npz(
    path: str | os.PathLike[str], *, stored: bool = False
) -> dict[str, np.ndarray[Any, Any]]:
    """Read every array of an .npz file, never unpickling; a `ValueError` names a bad file.

    `stored` refuses compression, so that no more can come out of a file than it has bytes.
    """
    # Opened here: np.load leaves a file that is no archive open, and the file system's own errors
    # (missing, a directory, unreadable) pass through as they are.
    with Path(path).open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: expected an .npz file of arrays, got another kind of file")
        file.seek(0)
        try:
            _check_members(file, stored)
            with np.load(file, allow_pickle=False) as archive:
                return {name: _member(archive, name) for name in archive.files}
        except Exception as error:  # zipfile, zlib and numpy.lib.format each raise their own
            reason = str(error) or type(error).__name__
            raise ValueError(f"{path}: expected an .npz file of arrays, got {reason}") from None


def _check_members(file: IO[bytes], stored: bool) -> None:
    """Raise `ValueError` unless each array has a name of its own, and there is one archive."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    for name, count in Counter(m.filename.removesuffix(".npy") for m in members).items():
        if count > 1:
            raise ValueError(f"{count} arrays {name}")
    if members and min(member.header_offset for member in members) > 0:
        raise ValueError("something before the archive")
    if stored:
        _refuse_compression(members, file.seek(0, os.SEEK_END))
    file.seek(0)


def _refuse_compression(members: list[zipfile.ZipInfo], size: int) -> None:
    """Raise `ValueError` unless the members are stored as they are, in bytes of their own."""
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
            raise ValueError(f"{member.filename}, which is compressed")
    if sum(member.file_size for member in members) > size:
        raise ValueError("members that overlap")


def _member(archive: Any, name: str) -> np.ndarray[Any, Any]:
    """Return an array of the archive; NumPy hands out anything else in it as bytes."""
    try:
        value = archive[name]
    except ValueError as error:  # as of np.savez(b=None), which is an object and no number
        raise ValueError(f"{name}: {error}") from None
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name}, which is no array")
    return value


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write `value` as `json_text` to `path`."""
    text = json_text(value)
    with atomic_write(path) as file:
        file.write(text.encode())


def json_text(value: Any) -> str:
    """Indented JSON; NaN and infinities are refused, since JSON has none."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def output_directory(path: str | os.PathLike[str]) -> Path:
    """Make the directory if it is missing, and see that it can be written to."""
    directory = check_directory(path)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def check_directory(path: str | os.PathLike[str]) -> Path:
    """Raise `OSError` unless the directory is there or can be made, and written to."""
    directory = Path(path)
    there = next(folder for folder in (directory, *directory.parents) if os.path.lexists(folder))
    if not there.is_dir():
        raise NotADirectoryError(f"{directory}: expected a directory, but {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{directory}: expected a writable directory, which {there} is not")
    return directory


def check_writable(path: str | os.PathLike[str]) -> Path:
    """Raise `OSError` unless a file can be written there, which is better known before the work."""
    file = Path(path)
    if os.path.lexists(file) and not file.is_file():
        what = "a directory" if file.is_dir() else "another kind"
        raise IsADirectoryError(f"{file}: expected a regular file, got {what}")
    if not os.access(file.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{file}: expected a file in a writable directory")
    return file
