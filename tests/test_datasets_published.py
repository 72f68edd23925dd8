"""The table of what was published, against the files themselves."""

from __future__ import annotations

import gzip
import hashlib
import re
from pathlib import Path

import pytest
from dataset_files import BATCH_NAMES, IDX_NAMES

from refimpl.datasets import published


def test_every_file_has_its_entry() -> None:
    assert tuple(published.MNIST) == IDX_NAMES
    assert tuple(published.CIFAR10_MD5) == BATCH_NAMES
    assert all(entry.download.name == f"{name}.gz" for name, entry in published.MNIST.items())


def test_checksums_are_distinct_and_whole() -> None:
    downloads = [entry.download for entry in published.MNIST.values()]
    downloads += [published.CIFAR10_PYTHON, published.CIFAR10_BINARY]
    sha256 = [d.sha256 for d in downloads] + [e.sha256 for e in published.MNIST.values()]
    assert len(set(sha256)) == 10
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in sha256)
    md5 = published.CIFAR10_MD5.values()
    assert len(set(md5)) == 6
    assert all(re.fullmatch(r"[0-9a-f]{32}", digest) for digest in md5)


@pytest.mark.parametrize("name", IDX_NAMES)
def test_entries_of_mnist_are_those_of_the_real_files(data_directory: Path, name: str) -> None:
    entry = published.MNIST[name]
    packed = (data_directory / "mnist" / f"{name}.gz").read_bytes()
    content = gzip.decompress(packed)
    assert hashlib.sha256(content).hexdigest() == entry.sha256
    assert int.from_bytes(content[4:8], "big") == entry.count
    if name != "train-images-idx3-ubyte":  # that one may have been compressed again
        assert len(packed) == entry.download.size
        assert hashlib.sha256(packed).hexdigest() == entry.download.sha256
