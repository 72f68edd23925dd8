"""What data a directory holds, and whether they are whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from refimpl.datasets import published
from refimpl.datasets.cifar import read_source
from refimpl.datasets.errors import DatasetFormatError
from refimpl.datasets.locate import (
    Cifar10Source,
    Directory,
    cifar10_sources,
    data_directory,
    mnist_folders,
)
from refimpl.datasets.mnist import member_path, mnist_deviations, read_mnist_file


@dataclass(frozen=True)
class Finding:
    """A file, folder or archive of a data set, and what is wrong with it: None if it is whole.

    >>> print(Finding("MNIST", Path("mnist/t10k-labels-idx1-ubyte.gz"), None))
    MNIST: mnist/t10k-labels-idx1-ubyte.gz: whole
    """

    dataset: str
    path: Path
    problem: str | None

    @property
    def whole(self) -> bool:
        """Whether the official contents are there, as far as published checksums tell."""
        return self.problem is None

    def __str__(self) -> str:
        return f"{self.dataset}: {self.path}: {self.problem or 'whole'}"


def verify_directory(directory: Directory = None) -> list[Finding]:
    """Say what is in a directory, and whether it is whole.

    Looks wherever `load_mnist` and `load_cifar10` look, goes on after a bad file, and checks all
    that ``verify=True`` checks.

    Parameters
    ----------
    directory : path, optional
        By default the one that the environment variable REFIMPL_DATA names.

    Returns
    -------
    list of Finding
        `str` of each is a line to print. The last one of a folder that has some files of a set
        names those that are missing. Empty: nothing of either data set is there.

    Raises
    ------
    ValueError
        Neither a directory nor REFIMPL_DATA.
    """
    where = data_directory(directory)
    findings = [f for files in mnist_folders(where) for f in _mnist_findings(files)]
    return findings + [f for source in cifar10_sources(where) for f in _cifar10_findings(source)]


def _mnist_findings(files: dict[str, Path]) -> Iterator[Finding]:
    """One finding for each file, and one if there are not all of them."""
    for name, path in files.items():
        yield Finding("MNIST", member_path(path, name), _mnist_problem(path, name))
    if lack := published.MNIST.keys() - files.keys():
        yield Finding("MNIST", path.parent, _missing(lack))


def _mnist_problem(path: Path, name: str) -> str | None:
    try:
        return _first(mnist_deviations(path, name, read_mnist_file(path, name)))
    except DatasetFormatError as error:
        return _said(error)


def _cifar10_findings(source: Cifar10Source) -> Iterator[Finding]:
    """One finding for an archive or for each batch of a folder, and one if these do not fit."""
    if source.is_archive:
        yield Finding("CIFAR-10", source.path, _cifar10_problem(source))
        return
    batches = [
        Finding("CIFAR-10", path, _cifar10_problem(replace(source, files={name: path})))
        for name, path in source.files.items()
    ]
    yield from batches
    if lack := published.CIFAR10_MD5.keys() - source.files.keys():
        names = {f"{name}{source.format.suffix}" for name in lack}
        yield Finding("CIFAR-10", source.path, _missing(names))
    elif all(batch.whole for batch in batches) and (problem := _cifar10_problem(source)):
        yield Finding("CIFAR-10", source.path, problem)


def _cifar10_problem(source: Cifar10Source) -> str | None:
    try:
        return _first(read_source(source, verify=True)[1])
    except DatasetFormatError as error:
        return _said(error)


def _first(deviations: Iterable[DatasetFormatError]) -> str | None:
    return next(map(_said, deviations), None)


def _said(error: DatasetFormatError) -> str:
    return f"expected {error.expected}, got {error.got}"


def _missing(names: Iterable[str]) -> str:
    return f"missing {', '.join(sorted(names))}"
