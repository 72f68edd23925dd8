"""A batch of CIFAR-10: a pickled dict, or records of a label and 3072 bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refimpl._arrays import IntArray
from refimpl.datasets.errors import DatasetFormatError, expect
from refimpl.datasets.labels import check_range
from refimpl.datasets.pickles import load_dict
from refimpl.datasets.published import CIFAR10_BATCH_COUNT

PIXELS = 3 * 32 * 32
_RECORD = 1 + PIXELS
MAX_PICKLE = 1 << 26  # Python 3 writes the bytes of 10,000 images as up to twice as many
MAX_BINARY = CIFAR10_BATCH_COUNT * _RECORD


@dataclass(frozen=True, eq=False)
class Batch:
    """Images (n,3072) uint8 (all red, all green, all blue), labels (n,) int64."""

    images: NDArray[np.uint8]
    labels: IntArray


def parse_pickle(content: bytes, path: Path) -> Batch:
    """Return the batch that a pickle describes, without running it.

    Raises
    ------
    DatasetFormatError
        What `load_dict` refuses, CIFAR-100, or other than ``data`` uint8 (n,3072) and ``labels``, a
        list of n integers from 0 to 9, with 1 <= n <= 10,000. Other keys are passed over.
    """
    batch = load_dict(content, path)
    other = {"fine_labels", "coarse_labels"} & batch.keys()
    expect(not other, path, "CIFAR-10's key labels", "CIFAR-100's fine or coarse_labels")
    keys = ", ".join(sorted(batch)[:8])[:200]
    for key in ("data", "labels"):
        expect(key in batch, path, f"the key {key!r}", f"the keys {keys}")
    images = _images(batch["data"], path)
    return Batch(images, _labels(batch["labels"], len(images), path))


def _images(data: object, path: Path) -> NDArray[np.uint8]:
    if not isinstance(data, np.ndarray):
        raise DatasetFormatError(path, "a uint8 matrix as data", type(data).__name__)
    n, width = data.shape
    expected = f"data of shape (n, {PIXELS}), n at most {CIFAR10_BATCH_COUNT}"
    expect(width == PIXELS and n <= CIFAR10_BATCH_COUNT, path, expected, data.shape)
    return data


def _labels(labels: object, n: int, path: Path) -> IntArray:
    if type(labels) is not list or any(type(label) is not int for label in labels):
        raise DatasetFormatError(path, "labels as a list of integers", "something else")
    expect(len(labels) == n, path, f"{n} labels, one an image", len(labels))
    try:
        array = np.array(labels, dtype=np.int64)
    except OverflowError:
        raise DatasetFormatError(path, "labels from 0 to 9", "one beyond 64 bits") from None
    check_range(path, array)
    return array


def parse_binary(content: bytes, path: Path) -> Batch:
    """Return the batch of n >= 1 records: a label from 0 to 9, then an image.

    Raises
    ------
    DatasetFormatError
        A length that is no positive multiple of 3073, or another label.
    """
    whole = content and len(content) % _RECORD == 0
    expect(whole, path, f"a positive multiple of {_RECORD} bytes", len(content))
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    labels = records[:, 0].astype(np.int64)
    check_range(path, labels)
    return Batch(records[:, 1:], labels)
