"""What `verify_directory` says of whole, damaged and missing files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from dataset_files import (
    BATCH_NAMES,
    IDX_NAMES,
    batch,
    binary_batch,
    cifar10_archive,
    cifar10_contents,
    write_files,
    write_mnist,
)

from refimpl import datasets
from refimpl.datasets import cifar, published


def test_nothing_there(tmp_path: Path) -> None:
    assert datasets.verify_directory(tmp_path) == []
    assert datasets.verify_directory(tmp_path / "not there") == []


def test_no_directory_named(monkeypatch) -> None:
    monkeypatch.delenv("REFIMPL_DATA", raising=False)
    with pytest.raises(ValueError, match=r"^directory: expected a path, or \$REFIMPL_DATA"):
        datasets.verify_directory()


def test_each_file_of_mnist_is_judged_on_its_own(tmp_path: Path) -> None:
    write_mnist(tmp_path / "mnist")
    folder = tmp_path / "mnist"
    (folder / f"{IDX_NAMES[0]}.gz").unlink()
    (folder / f"{IDX_NAMES[1]}.gz").write_bytes(b"<html>")
    findings = datasets.verify_directory(tmp_path)
    assert [str(finding) for finding in findings] == [
        f"MNIST: {folder / IDX_NAMES[1]}.gz: expected an IDX file, which starts with two zero"
        " bytes, got b'<htm'",
        f"MNIST: {folder / IDX_NAMES[2]}.gz: expected the 10000 items of {IDX_NAMES[2]}, got 5",
        f"MNIST: {folder / IDX_NAMES[3]}.gz: expected the 10000 items of {IDX_NAMES[3]}, got 5",
        f"MNIST: {folder}: missing {IDX_NAMES[0]}",
    ]
    assert not any(finding.whole for finding in findings)


def test_each_batch_of_a_folder_is_judged_on_its_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cifar, "CIFAR10_BATCH_COUNT", 3)
    contents = cifar10_contents("python")
    for name, content in contents.items():
        monkeypatch.setitem(published.CIFAR10_MD5, name, hashlib.md5(content).hexdigest())
    folder = tmp_path / "cifar-10-batches-py"
    write_files(folder, contents)
    findings = datasets.verify_directory(tmp_path)
    assert [f.path for f in findings] == [folder / name for name in BATCH_NAMES]
    assert all(finding.whole for finding in findings)
    assert str(findings[0]) == f"CIFAR-10: {folder / 'data_batch_1'}: whole"
    (folder / "data_batch_2").unlink()
    (folder / "data_batch_3").write_bytes(contents["data_batch_4"])
    (folder / "data_batch_5").write_bytes(b"")
    problems = [finding.problem for finding in datasets.verify_directory(tmp_path)]
    md5 = published.CIFAR10_MD5
    assert problems == [
        None,
        f"expected the official data_batch_3, md5 {md5['data_batch_3']}, got {md5['data_batch_4']}",
        None,
        "expected a pickle of a dict of lists and uint8 matrices, got one cut short",
        None,
        "missing data_batch_2",
    ]


def test_files_of_a_layout_of_which_nothing_is_there_are_not_missed(tmp_path: Path) -> None:
    for name in ("cifar-10-batches-py", "cifar-10-batches-bin", "mnist"):
        (tmp_path / name).mkdir()
    assert datasets.verify_directory(tmp_path) == []
    write_files(tmp_path / "cifar-10-batches-py", cifar10_contents("python"))
    assert not any(".bin" in str(finding) for finding in datasets.verify_directory(tmp_path))
    (tmp_path / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(b"")
    *_, test, missing = map(str, datasets.verify_directory(tmp_path))
    assert "test_batch.bin: expected" in test
    names = ", ".join(f"data_batch_{i}.bin" for i in range(1, 6))
    assert missing == f"CIFAR-10: {tmp_path / 'cifar-10-batches-bin'}: missing {names}"


def test_binary_batches_are_judged_as_a_whole_too(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(cifar, "CIFAR10_BATCH_COUNT", 10)
    images, _ = batch(10)
    balanced = binary_batch(images, list(range(10)))
    write_files(tmp_path, {f"{name}.bin": balanced for name in BATCH_NAMES})
    assert [f.problem for f in datasets.verify_directory(tmp_path)] == [None] * 6
    (tmp_path / "test_batch.bin").write_bytes(binary_batch(images, [0] * 10))
    *batches, whole = datasets.verify_directory(tmp_path)
    assert [f.problem for f in batches] == [None] * 6
    assert whole.path == tmp_path
    assert "as many test images of every class" in str(whole.problem)


@pytest.mark.parametrize("form", ["python", "binary"])
def test_an_archive_is_one_finding(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"cifar-10-{form}.tar.gz"
    path.write_bytes(cifar10_archive(form))
    (finding,) = datasets.verify_directory(tmp_path)
    assert finding.path == path
    assert "the 10000 images of test_batch, got 3" in str(finding.problem)
    path.unlink()
    os.mkfifo(path)
    (finding,) = datasets.verify_directory(tmp_path)
    assert finding.problem == "expected a regular file, got a special file"


def test_real_data(data_directory: Path) -> None:
    findings = datasets.verify_directory(data_directory)
    assert [f.whole for f in findings if f.dataset == "MNIST"] == [True] * 4
    assert not any(f.whole for f in findings if f.dataset == "CIFAR-10")  # shortened ones
