"""One batch of CIFAR-10 in its two forms."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import batch, binary_batch, python2_pickle, refused
from numpy.testing import assert_array_equal

from refimpl.datasets import batches as module
from refimpl.datasets.batches import parse_binary, parse_pickle

PATH = Path("data_batch_1")
IMAGES, LABELS = batch(3)


def dumped(**changes: Any) -> bytes:
    """A pickled batch with entries changed, or left out if None."""
    entries = {"data": IMAGES, "labels": LABELS, "batch_label": "x"} | changes
    return pickle.dumps({k: v for k, v in entries.items() if v is not None}, 2)


@pytest.mark.parametrize(
    "content",
    [
        python2_pickle(IMAGES, LABELS),
        dumped(),
        pickle.dumps({b"data": IMAGES, b"labels": LABELS}),
        pickle.dumps({b"data": IMAGES, "labels": LABELS}, 5),
    ],
    ids=["Python 2", "str keys", "bytes keys", "both"],
)
def test_pickles_of_every_origin(content: bytes) -> None:
    read = parse_pickle(content, PATH)
    assert_array_equal(read.images, IMAGES)
    assert_array_equal(read.labels, LABELS)
    assert (read.images.dtype, read.labels.dtype) == (np.uint8, np.int64)


@pytest.mark.parametrize(
    ("content", "expected", "got"),
    [
        (dumped(data=None), "the key 'data'", "the keys batch_label, labels"),
        (dumped(labels=None), "the key 'labels'", "the keys batch_label, data"),
        (dumped(labels=None, fine_labels=LABELS), "CIFAR-10's key labels", "CIFAR-100"),
        (dumped(coarse_labels=LABELS), "CIFAR-10's key labels", "CIFAR-100"),
        (dumped(data=IMAGES.astype(object)), "uint8 matrices", "dtype 'O8'"),
        (dumped(data=IMAGES.astype(np.int64)), "uint8 matrices", "dtype 'i8'"),
        (dumped(data=IMAGES.tolist()), "a uint8 matrix as data", "list"),
        (dumped(data=IMAGES[0]), "uint8 matrices", "no matrix"),
        (dumped(data=IMAGES[:, :-1]), "(n, 3072)", "(3, 3071)"),
        (dumped(data=IMAGES.T), "(n, 3072)", "(3072, 3)"),
        (dumped(data=IMAGES[:2]), "2 labels, one an image", "3"),
        (dumped(labels=LABELS[:2]), "3 labels, one an image", "2"),
        (dumped(labels=[0, 9, 10]), "labels from 0 to 9", "10 at index 2"),
        (dumped(labels=[0, -1, 3]), "labels from 0 to 9", "-1 at index 1"),
        (dumped(labels=[0, 2**70, 3]), "labels from 0 to 9", "beyond 64 bits"),
        (dumped(labels=[0, True, 3]), "a list of integers", ""),
        (dumped(labels=[0, "1", 3]), "a list of integers", ""),
        (dumped(labels=tuple(LABELS)), "a list of integers", ""),
        (dumped(labels=5), "a list of integers", ""),
        (pickle.dumps([IMAGES, LABELS], 2), "a dict", "list"),
        (b"<!DOCTYPE html>", "a pickle", "instruction"),
        (b"", "a pickle", "cut short"),
    ],
)
def test_bad_pickles(content: bytes, expected: str, got: str) -> None:
    with refused(PATH, expected=expected, got=got):
        parse_pickle(content, PATH)


def test_no_batch_has_more_than_10000_images(monkeypatch) -> None:
    monkeypatch.setattr(module, "CIFAR10_BATCH_COUNT", 2)
    with refused(PATH, expected="n at most 2", got="(3, 3072)"):
        parse_pickle(dumped(), PATH)


def test_binary_batch() -> None:
    read = parse_binary(binary_batch(IMAGES, LABELS), PATH)
    assert_array_equal(read.images, IMAGES)
    assert_array_equal(read.labels, LABELS)
    assert read.labels.dtype == np.int64


@pytest.mark.parametrize("size", [0, 1, 3072, 3074, 3 * 3073 - 1])
def test_binary_batch_of_another_length(size: int) -> None:
    with refused(PATH, expected="a positive multiple of 3073 bytes", got=f"{size}"):
        parse_binary(bytes(size), PATH)


def test_binary_batch_with_another_label() -> None:
    with refused(PATH, expected="labels from 0 to 9", got="10 at index 1"):
        parse_binary(binary_batch(IMAGES, [0, 10, 255]), PATH)
