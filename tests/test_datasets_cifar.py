"""CIFAR-10 from folders and archives."""

from __future__ import annotations

import gzip
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from dataset_files import (
    BATCH_NAMES,
    batch,
    binary_batch,
    cifar10_archive,
    cifar10_contents,
    python2_pickle,
    refused,
    write_files,
)

from refimpl import datasets
from refimpl.datasets import cifar, published
from refimpl.datasets.locate import BINARY, PYTHON

FOLDERS = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}
TRAIN = [batch(3, seed=i) for i in range(5)]
TEST = batch(3, seed=5)


def write(directory: Path, form: str, place: str) -> Path:
    """Write batches of three images into the directory, its usual folder, or an archive."""
    if place == "archive":
        path = directory / f"cifar-10-{form}.tar.gz"
        path.write_bytes(cifar10_archive(form))
        return path
    folder = directory / FOLDERS[form] if place == "folder" else directory
    write_files(folder, cifar10_contents(form))
    return folder


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("place", ["here", "folder", "archive"])
def test_every_form_gives_the_images_in_the_order_of_the_batches(
    tmp_path: Path, form: str, place: str
) -> None:
    write(tmp_path, form, place)
    before = sorted(tmp_path.rglob("*"))
    (x_train, y_train), (x_test, y_test) = datasets.load_cifar10(
        tmp_path, verify=False, layout="flat"
    )
    np.testing.assert_array_equal(x_train, np.concatenate([images for images, _ in TRAIN]))
    np.testing.assert_array_equal(x_test, TEST[0])
    assert y_train.tolist() == [label for _, labels in TRAIN for label in labels]
    assert y_test.tolist() == TEST[1]
    assert (x_train.dtype, y_train.dtype) == (np.uint8, np.int64)
    assert x_train.flags.writeable
    assert x_test.flags.writeable
    assert sorted(tmp_path.rglob("*")) == before


def test_layouts_and_scale(tmp_path: Path) -> None:
    write(tmp_path, "binary", "folder")
    (hwc, _), _ = datasets.load_cifar10(tmp_path, verify=False)
    (chw, _), _ = datasets.load_cifar10(tmp_path, verify=False, layout="chw")
    (scaled, _), _ = datasets.load_cifar10(tmp_path, verify=False, scale=True)
    assert (hwc.shape, chw.shape) == ((15, 32, 32, 3), (15, 3, 32, 32))
    row = TRAIN[0][0][1]  # red, green and blue planes, each row by row
    assert hwc[1, 2, 5].tolist() == [row[2 * 32 + 5 + 1024 * c] for c in range(3)]
    assert chw[1, :, 2, 5].tolist() == hwc[1, 2, 5].tolist()
    assert scaled.dtype == np.float64
    assert scaled[1, 2, 5, 0] == int(hwc[1, 2, 5, 0]) / 255


@pytest.mark.parametrize("options", [{"layout": "hcw"}, {"scale": None}, {"verify": "maybe"}])
def test_bad_options(tmp_path: Path, options: dict) -> None:
    with pytest.raises(ValueError, match=rf"^{next(iter(options))}: expected "):
        datasets.load_cifar10(tmp_path, **options)


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize("place", ["folder", "archive"])
def test_shortened_batches_are_refused_unless_verify_is_false(
    tmp_path: Path, form: str, place: str
) -> None:
    write(tmp_path, form, place)
    with refused(expected="the 10000 images of", got="3"):
        datasets.load_cifar10(tmp_path)
    with pytest.warns(datasets.DatasetWarning) as caught:
        datasets.load_cifar10(tmp_path, verify="warn")
    counts = [w for w in caught if "10000 images of" in str(w.message)]
    assert len(counts) == 6
    of_the_whole = {("binary", "folder"): 2, ("binary", "archive"): 1}
    assert len(caught) - len(counts) == of_the_whole.get((form, place), 0)
    assert {Path(w.filename) for w in caught} == {Path(__file__)}


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make batches of three images pass for the official ones."""
    monkeypatch.setattr(cifar, "CIFAR10_BATCH_COUNT", 3)
    for name, content in cifar10_contents("python").items():
        monkeypatch.setitem(published.CIFAR10_MD5, name, hashlib.md5(content).hexdigest())


@pytest.mark.usefixtures("official")
@pytest.mark.parametrize("place", ["folder", "archive"])
def test_pickles_are_verified_by_their_md5_wherever_they_lie(tmp_path: Path, place: str) -> None:
    path = write(tmp_path, "python", place)
    assert len(datasets.load_cifar10(tmp_path)[0][0]) == 15
    if place == "folder":
        images, labels = TRAIN[1]
        (path / "data_batch_2").write_bytes(python2_pickle(images ^ 1, labels))
        with refused(path / "data_batch_2", expected=published.CIFAR10_MD5["data_batch_2"]):
            datasets.load_cifar10(tmp_path)


@pytest.mark.usefixtures("official")
def test_binary_batches_in_a_folder_have_as_many_images_of_every_class(
    tmp_path: Path, monkeypatch
) -> None:
    folder = write(tmp_path, "binary", "folder")
    with refused(folder, expected="as many training images of every class", got="["):
        datasets.load_cifar10(tmp_path)
    monkeypatch.setattr(cifar, "CIFAR10_BATCH_COUNT", 10)
    images, _ = batch(10)
    write_files(
        folder, {f"{name}.bin": binary_batch(images, list(range(10))) for name in BATCH_NAMES}
    )
    assert len(datasets.load_cifar10(tmp_path)[0][0]) == 50
    (folder / "test_batch.bin").write_bytes(binary_batch(images, [0, *range(9)]))
    with refused(folder, expected="as many test images", got="[2, 1, 1, 1, 1, 1, 1, 1, 1, 0]"):
        datasets.load_cifar10(tmp_path)


@pytest.mark.usefixtures("official")
def test_the_binary_archive_is_verified_by_its_sha256(tmp_path: Path, monkeypatch) -> None:
    path = write(tmp_path, "binary", "archive")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    with refused(path, expected=published.CIFAR10_BINARY.sha256, got=sha256):
        datasets.load_cifar10(tmp_path)
    # The table is frozen, so the file's own checksum stands in for another one.
    monkeypatch.setattr(cifar, "file_sha256", lambda path: published.CIFAR10_BINARY.sha256)
    assert len(datasets.load_cifar10(tmp_path)[0][0]) == 15


def test_an_error_in_an_archive_names_the_member(tmp_path: Path) -> None:
    path = tmp_path / "cifar-10-python.tar.gz"
    content = gzip.decompress(cifar10_archive("python"))
    path.write_bytes(content.replace(b"cnumpy\ndtype", b"cnumpy\ndtypo"))
    name = path / "cifar-10-batches-py" / "test_batch"
    with refused(name, expected="a pickle", got="numpy.dtypo"):
        datasets.load_cifar10(tmp_path, verify=False)


@pytest.mark.parametrize(("form", "limit"), [(PYTHON, 10_000), (BINARY, 3 * 3073 - 1)])
def test_a_file_larger_than_any_honest_one_is_not_read(
    tmp_path: Path, monkeypatch, form, limit: int
) -> None:
    kind = "python" if form == PYTHON else "binary"
    folder = write(tmp_path, kind, "folder")
    monkeypatch.setitem(cifar._MAX_SIZE, form, limit if form == BINARY else 9000)
    with refused(folder / f"data_batch_1{form.suffix}", expected="bytes at most", got="more"):
        datasets.load_cifar10(tmp_path, verify=False)


def test_a_fifo_in_place_of_a_batch_or_an_archive_is_not_waited_for(tmp_path: Path) -> None:
    folder = write(tmp_path, "python", "folder")
    (folder / "test_batch").unlink()
    os.mkfifo(folder / "test_batch")
    with refused(folder / "test_batch", expected="a regular file"):
        datasets.load_cifar10(tmp_path, verify=False)
    archive = tmp_path / "other" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    os.mkfifo(archive)
    with refused(archive, expected="a regular file"):
        datasets.load_cifar10(archive.parent, verify=False)


def test_two_loaders_at_once(tmp_path: Path) -> None:
    write(tmp_path, "python", "archive")
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda d: datasets.load_cifar10(d, verify=False), [tmp_path, tmp_path])
    np.testing.assert_array_equal(one[0][0], two[0][0])
    assert not np.shares_memory(one[0][0], two[0][0])


def test_real_shortened_batches(data_directory: Path) -> None:
    """The data directory holds the first 1017 images of each batch, so they load unverified."""
    (x_train, y_train), (x_test, y_test) = datasets.load_cifar10(
        data_directory, verify=False, layout="flat"
    )
    assert len(x_train) == len(y_train) == 5 * len(x_test) == 5 * len(y_test)
    with refused(expected="the 10000 images of data_batch_1", got=f"{len(x_test)}"):
        datasets.load_cifar10(data_directory)
    records = (data_directory / FOLDERS["binary"] / "test_batch.bin").read_bytes()
    assert records == binary_batch(x_test, y_test.tolist())
