"""CIFAR-10 from its pickle batches, its binary batches, or the official archive of either."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl._arrays import IntArray
from refimpl.datasets.archive import read_members
from refimpl.datasets.batches import MAX_BINARY, MAX_PICKLE, Batch, parse_binary, parse_pickle
from refimpl.datasets.content import file_sha256, open_content
from refimpl.datasets.errors import DatasetFormatError, Verify, check_verify, report
from refimpl.datasets.images import arrange, check_options
from refimpl.datasets.labels import N_CLASSES
from refimpl.datasets.locate import (
    BINARY,
    PYTHON,
    Cifar10Source,
    Directory,
    data_directory,
    find_cifar10,
)
from refimpl.datasets.published import CIFAR10_BATCH_COUNT, CIFAR10_MD5

Split = tuple[NDArray[Any], IntArray]

_MAX_SIZE = {PYTHON: MAX_PICKLE, BINARY: MAX_BINARY}
_MAX_EXTRA_SIZE = 1 << 16
_EXTRAS = {
    PYTHON: ("batches.meta", "readme.html"),
    BINARY: ("batches.meta.txt", "readme.html"),
}


def load_cifar10(
    directory: Directory = None,
    *,
    verify: Verify = True,
    layout: str = "hwc",
    scale: bool = False,
) -> tuple[Split, Split]:
    """Load CIFAR-10, 32 x 32 colour images of ten classes, from files that are there already.

    The first of these that is complete: the six pickle batches in the directory or in
    ``cifar-10-batches-py/``, the six binary batches there or in ``cifar-10-batches-bin/``,
    ``cifar-10-python.tar.gz``, ``cifar-10-binary.tar.gz``. Archives are read in place. Pickles are
    read as data: no code in them can run. Nothing is downloaded (that is `fetch`) or written.

    Parameters
    ----------
    directory : path, optional
        By default the one that the environment variable REFIMPL_DATA names.
    verify : bool or "warn"
        Contents and counts must agree in any case. True: also each batch has 10,000 images, and a
        pickle batch the published md5. No checksum of binary batches is published, only that of
        their archive, so theirs must be that of the archive, or lying in a folder they must have
        1000 test and 5000 training images of every class. "warn": a `DatasetWarning` for each
        deviation; False: any well-formed data.
    layout : {"hwc", "chw", "flat"}
        Images (n,32,32,3), (n,3,32,32), or (n,3072) in the order of the files: all red, all green,
        all blue, each row by row.
    scale : bool
        False: uint8 as in the files; True: float64 in [0, 1], that is x / 255.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images, and labels int64 (n,), training batches in the order 1 to 5.

    Raises
    ------
    DatasetMissingError
        A file is missing; the error lists names, checksums and places (a `DatasetFormatError`).
    DatasetFormatError
        A file is not what it should be; a `ValueError` with `path`, `expected` and `got`.
    ValueError
        A bad option, or neither a directory nor REFIMPL_DATA.
    """
    check_verify(verify)
    check_options(layout, scale)
    source = find_cifar10(data_directory(directory))
    batches, deviations = read_source(source, verify=bool(verify))
    report(deviations, verify)
    *train, test = (batches[name] for name in CIFAR10_MD5)
    return _split(train, layout, scale), _split([test], layout, scale)


def read_source(
    source: Cifar10Source, *, verify: bool
) -> tuple[dict[str, Batch], list[DatasetFormatError]]:
    """Read the batches that a source has; with verify, how they differ from the official ones."""
    parse = parse_pickle if source.format == PYTHON else parse_binary
    batches: dict[str, Batch] = {}
    deviations: list[DatasetFormatError] = []
    for name, path, content in _contents(source):
        batches[name] = parse(content, path)
        if verify:
            deviations += _batch_deviations(source, name, path, content, batches[name])
    if verify and source.format == BINARY and len(batches) == len(CIFAR10_MD5):
        deviations += _binary_deviations(source, batches)
    return batches, deviations


def _contents(source: Cifar10Source) -> Iterator[tuple[str, Path, bytes]]:
    """Yield name, path and content of the batches that the source has, in its own order."""
    form, size = source.format, _MAX_SIZE[source.format]
    if not source.is_archive:
        for name, path in source.files.items():
            with open_content(path) as file:
                yield name, path, bytes(file.at_most(size))
        return
    batches = {f"{form.folder}/{name}{form.suffix}": name for name in CIFAR10_MD5}
    extras = [f"{form.folder}/{name}" for name in _EXTRAS[form]]
    limits = dict.fromkeys(batches, size) | dict.fromkeys(extras, _MAX_EXTRA_SIZE)
    for member, content in read_members(source.path, limits, optional=extras):
        if member in batches:
            yield batches[member], source.path / member, content


def _batch_deviations(
    source: Cifar10Source, name: str, path: Path, content: bytes, batch: Batch
) -> Iterator[DatasetFormatError]:
    """How a well-formed batch differs from the official one: count, and md5 of a pickle."""
    if len(batch.labels) != CIFAR10_BATCH_COUNT:
        expected = f"the {CIFAR10_BATCH_COUNT} images of {name}"
        yield DatasetFormatError(path, expected, f"{len(batch.labels)}")
    elif source.format == PYTHON:
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if md5 != CIFAR10_MD5[name]:
            yield DatasetFormatError(path, f"the official {name}, md5 {CIFAR10_MD5[name]}", md5)


def _binary_deviations(
    source: Cifar10Source, batches: Mapping[str, Batch]
) -> Iterator[DatasetFormatError]:
    """How six binary batches differ as a whole, since no checksum of each is published.

    In an archive: the archive's sha256. In a folder: the images of every class.
    """
    if source.is_archive:
        sha256, official = file_sha256(source.path), source.format.download
        if sha256 != official.sha256:
            expected = f"the official {official.name}, sha256 {official.sha256}"
            yield DatasetFormatError(source.path, expected, sha256)
        return
    *train, test = (batches[name].labels for name in CIFAR10_MD5)
    for what, labels in (("training", np.concatenate(train)), ("test", test)):
        counts = np.bincount(labels, minlength=N_CLASSES)
        if np.ptp(counts) > 0:
            expected = f"as many {what} images of every class"
            yield DatasetFormatError(source.path, expected, f"{counts.tolist()}")


def _split(batches: Sequence[Batch], layout: str, scale: bool) -> Split:
    images = np.concatenate([batch.images for batch in batches]).reshape(-1, 3, 32, 32)
    return arrange(images, layout, scale), np.concatenate([batch.labels for batch in batches])
