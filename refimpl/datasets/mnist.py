"""MNIST from its four IDX files, or from the one file of Keras."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl._arrays import IntArray
from refimpl.datasets import mnist_npz
from refimpl.datasets.errors import DatasetFormatError, Verify, check_verify, expect, report
from refimpl.datasets.idx import Idx, read_idx
from refimpl.datasets.images import arrange, check_options
from refimpl.datasets.labels import check_range
from refimpl.datasets.locate import Directory, data_directory, find_mnist
from refimpl.datasets.published import MNIST

Split = tuple[NDArray[Any], IntArray]
_SHAPES: dict[str, tuple[int, ...]] = {"images": (28, 28), "labels": ()}


def load_mnist(
    directory: Directory = None,
    *,
    verify: Verify = True,
    layout: str = "hwc",
    scale: bool = False,
) -> tuple[Split, Split]:
    """Load MNIST, 28 x 28 grey images of the digits 0 to 9, from files that are there already.

    The four IDX files lie in the directory, in ``mnist/`` or in ``MNIST/raw/``, named with
    ``-idx3-ubyte`` or ``.idx3-ubyte``, with or without ``.gz``. Whether they are compressed is told
    from their contents. Where the four are not there, ``mnist.npz`` of Keras, with x_train,
    y_train, x_test and y_test, is read and verified in their place. Nothing is downloaded (that is
    `fetch`) and nothing written.

    Parameters
    ----------
    directory : path, optional
        By default the one that the environment variable REFIMPL_DATA names.
    verify : bool or "warn"
        Headers, contents and counts must agree in any case. True: also the counts (60,000 and
        10,000) and the sha256 of the contents are the official ones; "warn": a `DatasetWarning` for
        each that is not; False: any well-formed data.
    layout : {"hwc", "chw", "flat"}
        Images (n,28,28), since grey images have no channel axis, or (n,784) for "flat".
    scale : bool
        False: uint8 as in the files; True: float64 in [0, 1], that is x / 255.

    Returns
    -------
    (x_train, y_train), (x_test, y_test)
        Images, and labels int64 (n,), in the order of the files.

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
    files = find_mnist(data_directory(directory))
    deviations: list[DatasetFormatError] = []
    train, test = (_read_split(files, name, verify, deviations) for name in ("train", "t10k"))
    report(deviations, verify)
    return (arrange(train[0], layout, scale), train[1]), (arrange(test[0], layout, scale), test[1])


def read_mnist_file(path: Path, name: str) -> Idx:
    """Read one of the four files, `name` its official name; labels are checked to be 0 to 9."""
    kind = name.split("-")[1]
    packed = path.name == mnist_npz.NAME
    file = (
        mnist_npz.read_member(path, name, _SHAPES[kind])
        if packed
        else read_idx(path, _SHAPES[kind])
    )
    if kind == "labels":
        check_range(member_path(path, name), file.items)
    return file


def member_path(path: Path, name: str) -> Path:
    """Path of one of the four files, and of a member where they are packed into one."""
    return path / mnist_npz.MEMBERS[name] if path.name == mnist_npz.NAME else path


def mnist_deviations(path: Path, name: str, file: Idx) -> Iterator[DatasetFormatError]:
    """How a well-formed file differs from the official one."""
    path = member_path(path, name)
    official = MNIST[name]
    if len(file.items) != official.count:
        expected = f"the {official.count} items of {name}"
        yield DatasetFormatError(path, expected, f"{len(file.items)}")
        return
    digest = hashlib.sha256(file.header)
    digest.update(file.items.data)
    if digest.hexdigest() != official.sha256:
        expected = f"the contents of {name}, sha256 {official.sha256}"
        yield DatasetFormatError(path, expected, digest.hexdigest())


def _read_split(
    files: Mapping[str, Path], prefix: str, verify: Verify, deviations: list[DatasetFormatError]
) -> tuple[NDArray[np.uint8], IntArray]:
    """Images and labels of one half, as many of the one as of the other."""
    items = []
    for name in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
        file = read_mnist_file(files[name], name)
        if verify:
            deviations += mnist_deviations(files[name], name, file)
        items.append(file.items)
    images, labels = items
    expected = f"{len(images)} labels, one an image"
    expect(len(images) == len(labels), files[name], expected, len(labels))
    return images, labels.astype(np.int64)
