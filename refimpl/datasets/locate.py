"""Where the files lie: in the directory that the user names, or where common tools put them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from refimpl import _validation as check
from refimpl.datasets import mnist_npz, published
from refimpl.datasets.errors import DatasetMissingError
from refimpl.datasets.published import Download

ENVIRONMENT = "REFIMPL_DATA"
Directory = str | os.PathLike[str] | None

MNIST_FOLDERS = ("", "mnist", "MNIST/raw", "MNIST", "raw")


@dataclass(frozen=True)
class Cifar10Format:
    """One of the two official forms: its folder, the ending of its file names, its archive."""

    folder: str
    suffix: str
    download: Download


PYTHON = Cifar10Format("cifar-10-batches-py", "", published.CIFAR10_PYTHON)
BINARY = Cifar10Format("cifar-10-batches-bin", ".bin", published.CIFAR10_BINARY)


@dataclass(frozen=True)
class Cifar10Source:
    """A folder of batches or an archive of them; `files` by name, those that a folder has."""

    format: Cifar10Format
    path: Path
    files: Mapping[str, Path]
    is_archive: bool


def data_directory(directory: Directory) -> Path:
    """Return the directory, by default the one that $REFIMPL_DATA names."""
    if directory is None:
        directory = os.environ.get(ENVIRONMENT) or None
    if not isinstance(directory, (str, os.PathLike)) or not os.fspath(directory):
        got = "neither" if directory is None else repr(directory)
        check.fail("directory", f"a path, or ${ENVIRONMENT} set", got)
    return Path(directory)


def mnist_folders(directory: Path) -> list[dict[str, Path]]:
    """Files by their official names, for every folder that has any of the four.

    After them comes every mnist.npz, which stands for all four.
    """
    folders = [directory / folder for folder in MNIST_FOLDERS]
    found = _nonempty({name: mnist_names(name) for name in published.MNIST}, folders)
    packed = (_first(folder, [mnist_npz.NAME]) for folder in folders)
    return found + [dict.fromkeys(published.MNIST, path) for path in packed if path]


def mnist_names(name: str) -> list[str]:
    """Names in use for an IDX file: with ``-idx`` or ``.idx``, plain or with ``.gz``.

    >>> mnist_names("t10k-labels-idx1-ubyte")[1:3]
    ['t10k-labels.idx1-ubyte', 't10k-labels-idx1-ubyte.gz']
    """
    return [n + end for end in ("", ".gz") for n in (name, name.replace("-idx", ".idx"))]


def find_mnist(directory: Path) -> dict[str, Path]:
    """Return the files of the first folder that has all four, by their official names.

    Raises
    ------
    DatasetMissingError
        No such folder: it lists the names, checksums and places where MNIST is published.
    """
    folders = mnist_folders(directory)
    for files in folders:
        if len(files) == len(published.MNIST):
            return files
    downloads = [entry.download for entry in published.MNIST.values()]
    where = "there, in mnist/, MNIST/raw/, MNIST/ or raw/, also without .gz or with .idx for -idx"
    where += f", or {mnist_npz.NAME} of Keras"
    expected = f"MNIST's files {_listed(downloads)} {where}, {_published(published.MNIST_PLACES)}"
    lack = _lack(directory, published.MNIST, folders)
    raise DatasetMissingError(directory, expected, lack, "mnist")


def cifar10_sources(directory: Path) -> list[Cifar10Source]:
    """Folders that have any batch, then archives, both with the pickles first."""
    sources = []
    for form in (PYTHON, BINARY):
        names = {name: [name + form.suffix] for name in published.CIFAR10_MD5}
        # Keras 3 unpacks the archive into a folder of its own.
        nested = directory / f"{form.folder}-target" / form.folder
        for files in _nonempty(names, (directory, directory / form.folder, nested)):
            folder = next(iter(files.values())).parent
            sources.append(Cifar10Source(form, folder, files, is_archive=False))
    for form in (PYTHON, BINARY):
        packed = form.download.name
        # Some browsers unpack the gzip and keep the tar.
        archive = _first(directory, (packed, packed.removesuffix(".gz")))
        if archive is not None:
            sources.append(Cifar10Source(form, archive, {}, is_archive=True))
    return sources


def find_cifar10(directory: Path) -> Cifar10Source:
    """Return the first source that is an archive or has all six batches.

    Raises
    ------
    DatasetMissingError
        No such source: it lists the names, checksums and places where CIFAR-10 is published.
    """
    sources = cifar10_sources(directory)
    for source in sources:
        if source.is_archive or len(source.files) == len(published.CIFAR10_MD5):
            return source
    batches = ", ".join(f"{name} (md5 {md5})" for name, md5 in published.CIFAR10_MD5.items())
    archives = _listed((PYTHON.download, BINARY.download))
    expected = (
        f"CIFAR-10's batches {batches} there or in {PYTHON.folder}/, or the same with .bin there"
        f" or in {BINARY.folder}/, or {archives}, {_published(published.CIFAR10_PLACES)}"
    )
    lack = _lack(directory, published.CIFAR10_MD5, [source.files for source in sources])
    raise DatasetMissingError(directory, expected, lack, "cifar10")


def _nonempty(names: Mapping[str, list[str]], folders: Iterable[Path]) -> list[dict[str, Path]]:
    """Map each name to a file, for every folder that has any of them."""
    found = (
        {name: file for name, files in names.items() if (file := _first(folder, files))}
        for folder in folders
    )
    return [files for files in found if files]


def _first(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the first of the names that is a file, else one that is there but is no file."""
    there = [folder / name for name in names if os.path.lexists(folder / name)]
    # Not Path.is_file, which raises for a link into a folder that may not be entered.
    return min(there, key=lambda path: not os.path.isfile(path), default=None)  # noqa: PTH113


def _listed(downloads: Iterable[Download]) -> str:
    return ", ".join(f"{file.name} (sha256 {file.sha256})" for file in downloads)


def _published(places: Iterable[str]) -> str:
    return f"published at {' and '.join(places)}"


def _lack(directory: Path, names: Iterable[str], folders: Sequence[Mapping[str, Path]]) -> str:
    if not folders:
        missing = not os.path.lexists(directory)
        return "none of them" + ", since the folder does not exist" * missing
    return f"no {', '.join(name for name in names if name not in folders[0])}"
