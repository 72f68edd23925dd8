"""Where the loaders look, and what they prefer."""

from __future__ import annotations

from pathlib import Path

import pytest
from dataset_files import BATCH_NAMES, cifar10_contents, refused, write_files, write_mnist

from refimpl.datasets import published
from refimpl.datasets.locate import (
    BINARY,
    PYTHON,
    cifar10_sources,
    data_directory,
    find_cifar10,
    find_mnist,
    mnist_folders,
    mnist_names,
)


def test_directory_from_the_argument_or_the_environment(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("REFIMPL_DATA", "elsewhere")
    assert data_directory(None) == Path("elsewhere")
    assert data_directory(str(tmp_path)) == data_directory(tmp_path) == tmp_path


def test_names_of_an_idx_file() -> None:
    assert sorted(mnist_names("t10k-images-idx3-ubyte")) == [
        "t10k-images-idx3-ubyte",
        "t10k-images-idx3-ubyte.gz",
        "t10k-images.idx3-ubyte",
        "t10k-images.idx3-ubyte.gz",
    ]


def test_the_first_complete_folder_of_mnist_is_taken(tmp_path: Path) -> None:
    assert mnist_folders(tmp_path) == []
    for folder in ("mnist", "MNIST/raw", ""):
        write_mnist(tmp_path / folder)
    assert len(mnist_folders(tmp_path)) == 3
    assert {file.parent for file in find_mnist(tmp_path).values()} == {tmp_path}
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert {file.parent for file in find_mnist(tmp_path).values()} == {tmp_path / "mnist"}


def write(directory: Path, *, missing: str = "") -> None:
    """All that CIFAR-10 may come from, the folders without one batch."""
    for form in (PYTHON, BINARY):
        kind = "python" if form == PYTHON else "binary"
        contents = cifar10_contents(kind, n=1)
        contents.pop(missing + form.suffix, None)
        write_files(directory, contents)
        write_files(directory / form.folder, contents)
        (directory / form.download.name).touch()


def test_complete_sources_of_cifar10_in_the_order_of_preference(tmp_path: Path) -> None:
    write(tmp_path)
    sources = cifar10_sources(tmp_path)
    assert [source.path.relative_to(tmp_path).as_posix() for source in sources] == [
        ".",
        "cifar-10-batches-py",
        ".",
        "cifar-10-batches-bin",
        "cifar-10-python.tar.gz",
        "cifar-10-binary.tar.gz",
    ]
    assert [source.format for source in sources] == [PYTHON] * 2 + [BINARY] * 2 + [PYTHON, BINARY]
    assert find_cifar10(tmp_path) == sources[0]
    assert tuple(sources[0].files) == BATCH_NAMES


def test_an_archive_is_preferred_to_a_folder_that_lacks_a_batch(tmp_path: Path) -> None:
    write(tmp_path, missing="data_batch_4")
    assert find_cifar10(tmp_path).path == tmp_path / "cifar-10-python.tar.gz"


@pytest.mark.parametrize("missing", BATCH_NAMES)
def test_a_missing_batch_is_named_with_checksums_and_place(tmp_path: Path, missing: str) -> None:
    write(tmp_path, missing=missing)
    for form in (PYTHON, BINARY):
        (tmp_path / form.download.name).unlink()
    with refused(tmp_path, expected=published.CIFAR10_MD5[missing], got=f"no {missing}"):
        find_cifar10(tmp_path)
    with refused(tmp_path, expected=PYTHON.download.sha256):
        find_cifar10(tmp_path)
    with refused(tmp_path, expected=f"published at {published.CIFAR10_PLACES[0]}"):
        find_cifar10(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with refused(tmp_path, expected="cifar-10-batches-bin/", got="none of them"):
        find_cifar10(tmp_path)


@pytest.mark.parametrize("folder", ["", "mnist", "MNIST/raw", "MNIST", "raw"])
def test_mnist_is_found_in_the_folders_of_the_common_tools(tmp_path: Path, folder: str) -> None:
    write_mnist(tmp_path / folder)
    assert {file.parent for file in find_mnist(tmp_path).values()} == {tmp_path / folder}


def test_mnist_npz_of_keras_comes_after_whole_idx_files(tmp_path: Path) -> None:
    (tmp_path / "mnist.npz").touch()
    assert set(find_mnist(tmp_path).values()) == {tmp_path / "mnist.npz"}
    write_mnist(tmp_path / "mnist")
    assert {file.parent for file in find_mnist(tmp_path).values()} == {tmp_path / "mnist"}
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()  # files of two sets do not mix
    assert set(find_mnist(tmp_path).values()) == {tmp_path / "mnist.npz"}


def test_cifar10_is_found_where_keras_puts_it(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py-target" / "cifar-10-batches-py"
    write_files(folder, cifar10_contents("python", n=1))
    assert find_cifar10(tmp_path).path == folder


@pytest.mark.parametrize("name", ["cifar-10-python.tar", "cifar-10-binary.tar"])
def test_an_archive_without_its_gzip_is_found(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert find_cifar10(tmp_path).path == tmp_path / name
    (tmp_path / f"{name}.gz").touch()
    assert find_cifar10(tmp_path).path == tmp_path / f"{name}.gz"
