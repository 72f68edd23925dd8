"""MNIST: where it lies, how it is laid out, what is refused."""

from __future__ import annotations

import gzip
import hashlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dataset_files import IDX_NAMES, idx_bytes, refused, write_mnist

from refimpl import datasets
from refimpl.datasets import published

FOLDERS = ("", "mnist", "MNIST/raw")


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A directory with made-up files that pass for the official ones."""
    for name, array in zip(IDX_NAMES, write_mnist(tmp_path), strict=True):
        entry = published.MNIST[name]
        sha256 = hashlib.sha256(idx_bytes(array)).hexdigest()
        monkeypatch.setitem(published.MNIST, name, replace(entry, count=len(array), sha256=sha256))
    return tmp_path


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("dot", [False, True])
@pytest.mark.parametrize("gz", [False, True])
def test_finds_the_files_under_every_name_in_use(
    tmp_path: Path, folder: str, dot: bool, gz: bool
) -> None:
    arrays = write_mnist(tmp_path / folder, dot=dot, gz=gz)
    (x_train, y_train), (x_test, y_test) = datasets.load_mnist(tmp_path, verify=False)
    for got, expected in zip((x_train, y_train, x_test, y_test), arrays, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert (x_train.dtype, y_train.dtype) == (np.uint8, np.int64)
    assert x_test.shape == (5, 28, 28)
    assert all(a.flags.writeable for a in (x_train, y_train, x_test, y_test))


def test_compressed_or_not_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    arrays = write_mnist(tmp_path)
    for name in IDX_NAMES:
        packed = tmp_path / f"{name}.gz"
        if name.startswith("train"):
            packed.rename(tmp_path / name)
        else:
            packed.write_bytes(gzip.decompress(packed.read_bytes()))
    (x_train, _), (x_test, _) = datasets.load_mnist(tmp_path, verify=False)
    np.testing.assert_array_equal(x_train, arrays[0])
    np.testing.assert_array_equal(x_test, arrays[2])


def test_layouts_and_scale(tmp_path: Path) -> None:
    images = write_mnist(tmp_path)[0]
    for layout, shape in (("hwc", (7, 28, 28)), ("chw", (7, 28, 28)), ("flat", (7, 784))):
        (x, _), _ = datasets.load_mnist(tmp_path, verify=False, layout=layout)
        assert x.shape == shape
        assert x.tobytes() == images.tobytes()
    (x, _), _ = datasets.load_mnist(tmp_path, verify=False, scale=True)
    assert x.dtype == np.float64
    assert x[2, 3, 4] == int(images[2, 3, 4]) / 255
    assert 0 <= x.min() <= x.max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "nhwc"}, "^layout: expected 'hwc' or 'chw' or 'flat', got 'nhwc'$"),
        ({"scale": 255}, "^scale: expected True or False, got 255$"),
        ({"verify": "no"}, "^verify: expected True, False or 'warn', got 'no'$"),
        ({"directory": 7}, r"^directory: expected a path, or \$REFIMPL_DATA set, got 7$"),
    ],
)
def test_bad_options(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.load_mnist(**{"directory": tmp_path, **options})


def test_the_environment_names_the_default_directory(tmp_path: Path, monkeypatch) -> None:
    write_mnist(tmp_path)
    monkeypatch.setenv("REFIMPL_DATA", str(tmp_path))
    assert len(datasets.load_mnist(verify=False)[0][0]) == 7
    for unset in ("", None):
        monkeypatch.delenv("REFIMPL_DATA") if unset is None else monkeypatch.setenv(
            "REFIMPL_DATA", unset
        )
        with pytest.raises(ValueError, match=r"^directory: expected a path, or \$REFIMPL_DATA"):
            datasets.load_mnist()


@pytest.mark.parametrize("name", IDX_NAMES)
def test_a_missing_file_is_named_with_checksum_and_places(tmp_path: Path, name: str) -> None:
    write_mnist(tmp_path)
    (tmp_path / f"{name}.gz").unlink()
    with refused(tmp_path, expected=published.MNIST[name].download.sha256, got=f"no {name}"):
        datasets.load_mnist(tmp_path)
    with pytest.raises(FileNotFoundError) as caught:
        datasets.load_mnist(tmp_path)
    for known in (*IDX_NAMES, *published.MNIST_PLACES):
        assert known in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("directory", ["empty", "not there"])
def test_nothing_there_at_all(tmp_path: Path, directory: str) -> None:
    (tmp_path / "empty").mkdir()
    with refused(tmp_path / directory, got="none of them"):
        datasets.load_mnist(tmp_path / directory)


def test_counts_of_images_and_labels_agree_in_any_case(tmp_path: Path) -> None:
    _, labels, *_ = write_mnist(tmp_path, gz=False)
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(labels[:-1]))
    with refused(path, expected="7 labels", got="6"):
        datasets.load_mnist(tmp_path, verify=False)


def test_labels_are_digits_in_any_case(tmp_path: Path) -> None:
    write_mnist(tmp_path, gz=False)
    path = tmp_path / "t10k-labels-idx1-ubyte"
    path.write_bytes(idx_bytes(np.array([0, 9, 10, 3, 11], dtype=np.uint8)))
    with refused(path, expected="labels from 0 to 9", got="10 at index 2"):
        datasets.load_mnist(tmp_path, verify=False)


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_something_else_under_the_name_of_a_file(tmp_path: Path, kind: str) -> None:
    write_mnist(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.unlink()
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    with refused(path, expected="regular file"):
        datasets.load_mnist(tmp_path, verify=False)


def test_a_file_is_preferred_to_a_folder_of_another_of_its_names(tmp_path: Path) -> None:
    write_mnist(tmp_path, dot=True)
    (tmp_path / "train-images-idx3-ubyte").mkdir()
    assert len(datasets.load_mnist(tmp_path, verify=False)[0][0]) == 7


def test_official_data_pass_and_leave_no_warning(official: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        strict = datasets.load_mnist(official)
        datasets.load_mnist(official, verify="warn")
    np.testing.assert_array_equal(strict[0][0], datasets.load_mnist(official, verify=False)[0][0])


def test_train_and_test_swapped_are_noticed(official: Path) -> None:
    for kind in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"):
        (official / f"train-{kind}").rename(official / "kept")
        (official / f"t10k-{kind}").rename(official / f"train-{kind}")
        (official / "kept").rename(official / f"t10k-{kind}")
    with refused(official / "train-images-idx3-ubyte.gz", expected="the 7 items", got="5"):
        datasets.load_mnist(official)
    with pytest.warns(datasets.DatasetWarning) as caught:
        datasets.load_mnist(official, verify="warn")
    assert len(caught) == 4
    assert {Path(w.filename) for w in caught} == {Path(__file__)}
    datasets.load_mnist(official, verify=False)


def test_a_changed_pixel_is_noticed(official: Path) -> None:
    path = official / "t10k-images-idx3-ubyte.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content))
    with refused(path, expected=published.MNIST["t10k-images-idx3-ubyte"].sha256):
        datasets.load_mnist(official)


def test_a_read_only_directory_is_enough_and_loaders_do_not_disturb_each_other(
    official: Path,
) -> None:
    before = sorted(official.rglob("*"))
    official.chmod(0o555)
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(datasets.load_mnist, [official, official])
    official.chmod(0o755)
    np.testing.assert_array_equal(one[0][0], two[0][0])
    one[0][0][:] = 0
    assert two[0][0].any()
    assert sorted(official.rglob("*")) == before


def test_real_mnist_is_whole(data_directory: Path) -> None:
    (x_train, y_train), (x_test, y_test) = datasets.load_mnist(data_directory)
    assert (x_train.shape, x_test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    # Counts of the digits as published with the data: http://yann.lecun.com/exdb/mnist/
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(y_train).tolist() == train
    assert np.bincount(y_test).tolist() == test
