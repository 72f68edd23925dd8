"""MNIST in the one file of Keras: read as the IDX files are, or refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dataset_files import digits, refused

from refimpl.datasets import load_mnist, verify_directory

Arrays = dict[str, np.ndarray]


def arrays() -> Arrays:
    """Seven training and five test images with labels."""
    (x, y), (x_test, y_test) = digits(7), digits(5, seed=1)
    return {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("folder", ["", "mnist"])
def test_the_four_arrays_are_read(tmp_path: Path, write: Callable[..., None], folder: str) -> None:
    (tmp_path / folder).mkdir(exist_ok=True)
    kept = arrays()
    write(tmp_path / folder / "mnist.npz", **kept)
    train, test = load_mnist(tmp_path, verify=False)
    for got, name in zip((*train, *test), kept, strict=True):
        np.testing.assert_array_equal(got, kept[name])
    assert train[1].dtype == np.int64
    assert train[0].flags.writeable  # as images of IDX files are


@pytest.mark.slow
def test_the_official_images_are_known_by_their_contents(
    tmp_path: Path, data_directory: Path
) -> None:
    train, test = load_mnist(data_directory)
    kept = {"x_train": train[0], "y_train": train[1], "x_test": test[0], "y_test": test[1]}
    np.savez(tmp_path / "mnist.npz", **{name: it.astype(np.uint8) for name, it in kept.items()})
    again = load_mnist(tmp_path)  # verify=True
    np.testing.assert_array_equal(again[0][0], train[0])
    np.testing.assert_array_equal(again[1][1], test[1])
    assert [finding.problem for finding in verify_directory(tmp_path)] == [None] * 4


def test_others_are_refused_unless_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", **arrays())
    with refused(tmp_path / "mnist.npz" / "x_train", expected="the 60000 items", got="7"):
        load_mnist(tmp_path)
    findings = [str(finding) for finding in verify_directory(tmp_path)]
    assert len(findings) == 4
    assert f"{tmp_path / 'mnist.npz' / 'y_test'}: expected the 10000 items" in findings[3]


@pytest.mark.parametrize(
    ("change", "member", "expected", "got"),
    [
        ({"x_test": None}, "x_test", "a whole array", "no item named"),
        ({"x_train": np.zeros((7, 28, 28))}, "x_train", "unsigned bytes", "float64"),
        ({"x_train": np.zeros((7, 784), np.uint8)}, "x_train", "(28, 28)", "(784,)"),
        ({"y_train": np.zeros((), np.uint8)}, "y_train", "items of shape ()", "()"),
        ({"y_train": np.array([10] * 7, np.uint8)}, "y_train", "from 0 to 9", "10"),
        ({"y_train": np.array([1] * 6, np.uint8)}, None, "7 labels", "6"),
        ({"y_train": np.array([[1]] * 7, object)}, "y_train", "unsigned bytes", "object"),
        ({"x_test": np.zeros((0, 28, 28), np.uint8)}, "x_test", "from 1 to 60000", "0"),
        ({"y_test": np.zeros(60_001, np.uint8)}, "y_test", "from 1 to 60000", "60001"),
        (
            {"x_test": np.asfortranarray(digits(5)[0])},
            "x_test",
            "rows one after the other",
            "Fortran",
        ),
    ],
)
def test_arrays_of_another_form_are_refused(
    tmp_path: Path, change: dict[str, Any], member: str | None, expected: str, got: str
) -> None:
    path = tmp_path / "mnist.npz"
    kept = {name: it for name, it in (arrays() | change).items() if it is not None}
    np.savez(path, **kept)
    with refused(path / member if member else path, expected=expected, got=got):
        load_mnist(tmp_path, verify=False)


def test_files_that_are_no_archive_or_cut_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    path.write_bytes(b"<html>")
    with refused(path, expected="an .npz file", got="another kind of file"):
        load_mnist(tmp_path, verify=False)
    np.savez(path, **arrays())
    whole = bytearray(path.read_bytes())
    whole[300] ^= 1  # one bit of the first image: the checksum of the member tells
    path.write_bytes(whole)
    with refused(path / "x_train", expected="a whole array", got="Bad CRC-32"):
        load_mnist(tmp_path, verify=False)


def test_no_more_is_decompressed_than_the_header_promises(tmp_path: Path) -> None:
    path = tmp_path / "mnist.npz"
    np.savez_compressed(path, **arrays())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["x_train.npy"] += bytes(10**6)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with refused(path / "x_train", expected="nothing after", got="more bytes"):
        load_mnist(tmp_path, verify=False)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with refused(path / "x_train", expected="deflate or no compression", got="another method"):
        load_mnist(tmp_path, verify=False)
