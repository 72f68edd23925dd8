"""Fetch the official files: the only part of the package that uses the network."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from refimpl import _validation as check
from refimpl._extras import install
from refimpl._files import atomic_write, output_directory
from refimpl._progress import Progress
from refimpl.datasets import published
from refimpl.datasets.content import file_sha256
from refimpl.datasets.published import Download

_CHUNK = 1 << 16
_PLACES = {"mnist": published.MNIST_PLACES, "cifar10": published.CIFAR10_PLACES}
_FOLDERS = {"mnist": "mnist", "cifar10": ""}


class FetchError(OSError):
    """A file could not be had from any place; the text says of each what came instead."""


class _WrongFileError(Exception):
    """What came is not the published file."""


def fetch(
    name: str,
    directory: str | os.PathLike[str],
    *,
    progress: bool = True,
    base_urls: Sequence[str] | None = None,
    timeout: float = 30.0,
) -> list[Path]:
    """Download a data set to where its loader finds it, every file whole or not at all.

    Needs the extra ``fetch``. A file that is there with the published sha256 is kept; any other is
    replaced, once its successor is whole. Two that fetch into one directory do not disturb each
    other.

    Parameters
    ----------
    name : {"mnist", "cifar10"}
        MNIST: the four gzip files, 12 MB, into ``mnist/``; CIFAR-10: ``cifar-10-python.tar.gz``,
        170 MB, into the directory itself.
    directory : path
        Made if it is missing.
    progress : bool
        Says on standard error what is downloaded, and how far it is.
    base_urls : sequence of str, optional
        Tried in this order for each file, whose name is appended; by default the places where the
        data are published. The published sha256 is required wherever a file comes from.
    timeout : float
        Seconds without an answer or without data after which a place is given up.

    Returns
    -------
    list of Path
        The files.

    Raises
    ------
    ImportError
        pooch is not installed; the message says what to type.
    FetchError
        No place gave the published file; an `OSError`.
    OSError
        The directory cannot be written to.
    ValueError
        Another name, a bad timeout or no places.
    """
    check.choice("name", name, tuple(_PLACES))
    timeout = check.real("timeout", timeout, positive=True)
    places = _PLACES[name] if base_urls is None else tuple(base_urls)
    if isinstance(base_urls, str) or not places:
        check.fail("base_urls", "a sequence of at least one URL", repr(base_urls))
    pooch = _pooch()
    headers = {"Accept-Encoding": "identity"}  # or else a server may send .gz files decompressed
    get = pooch.HTTPDownloader(chunk_size=_CHUNK, timeout=timeout, headers=headers)
    folder = output_directory(Path(directory) / _FOLDERS[name])
    return [_fetch_file(file, folder, places, get, progress) for file in _downloads(name)]


def _pooch() -> ModuleType:
    try:
        return import_module("pooch")
    except ImportError:
        raise ImportError(f"fetch needs pooch: {install('fetch')}") from None


def _downloads(name: str) -> list[Download]:
    if name == "mnist":
        return [entry.download for entry in published.MNIST.values()]
    return [published.CIFAR10_PYTHON]


def _fetch_file(
    file: Download, folder: Path, places: Sequence[str], get: Any, progress: bool
) -> Path:
    """Have one file, from the first place that gives it whole."""
    request_errors = import_module("requests.exceptions").RequestException  # pooch needs requests
    target = folder / file.name
    if target.is_file() and file_sha256(target) == file.sha256:
        return target
    failures = []
    for place in places:
        url = f"{place.rstrip('/')}/{file.name}"
        if progress:
            print(f"downloading {url}", file=sys.stderr)
        try:
            _download(url, target, file, get, progress)
        except (request_errors, _WrongFileError) as error:
            failures.append(f"{url}: {error}")
        else:
            return target
    expected = f"{file.name} (sha256 {file.sha256})"
    raise FetchError(f"{target}: expected {expected}, got {'; '.join(failures)}")


def _download(url: str, target: Path, file: Download, get: Any, progress: bool) -> None:
    with (
        atomic_write(target) as temporary,
        Progress(f"{file.name}, bytes", file.size, enabled=progress) as counter,
    ):
        sink = _Sink(temporary, file, counter)
        get(url, sink, None)
        sink.finish()


class _Sink:
    """A file that takes only the published bytes: no more of them, and with their sha256."""

    def __init__(self, file: IO[bytes], official: Download, progress: Progress) -> None:
        self._file, self._official, self._progress = file, official, progress
        self._size, self._digest = 0, hashlib.sha256()

    def write(self, chunk: bytes) -> None:
        if self._size == 0 and chunk.lstrip().startswith(b"<"):
            raise _WrongFileError("an HTML page")
        self._size += len(chunk)
        if self._size > self._official.size:
            raise _WrongFileError(f"more than {self._official.size} bytes")
        self._file.write(chunk)
        self._digest.update(chunk)
        self._progress.advance(len(chunk))

    def flush(self) -> None:
        """Leave the flushing to `atomic_write`; the downloader asks for it chunk by chunk."""

    def finish(self) -> None:
        if (digest := self._digest.hexdigest()) != self._official.sha256:
            raise _WrongFileError(f"{self._size} bytes with sha256 {digest}")
