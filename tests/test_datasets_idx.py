"""IDX files, good and bad."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from dataset_files import digits, idx_bytes, refused

from refimpl.datasets.idx import read_idx

IMAGES, LABELS = digits(4)
VALID = idx_bytes(IMAGES)


def write(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_items_and_header_are_those_of_the_file(tmp_path: Path, pack) -> None:
    idx = read_idx(write(tmp_path, pack(VALID)), (28, 28))
    np.testing.assert_array_equal(idx.items, IMAGES)
    assert idx.items.dtype == np.uint8
    assert idx.items.flags.writeable
    assert idx.header + idx.items.tobytes() == VALID
    labels = read_idx(write(tmp_path, pack(idx_bytes(LABELS))), ())
    np.testing.assert_array_equal(labels.items, LABELS)


def header(*shape: int, code: int = 8, magic: bytes = b"\0\0") -> bytes:
    return magic + struct.pack(f">BB{len(shape)}I", code, len(shape), *shape)


@pytest.mark.parametrize(
    ("content", "expected", "got"),
    [
        pytest.param(b"", "4 bytes of an IDX header", "0", id="empty file"),
        pytest.param(b"<!DOCTYPE html>", "two zero bytes", "<!DO", id="an HTML page"),
        pytest.param(VALID[::-1], "two zero bytes", "b'", id="wrong magic"),
        pytest.param(b"\0\0\x08", "4 bytes of an IDX header", "3", id="cut in the magic"),
        pytest.param(idx_bytes(LABELS), "3 dimension(s)", "1", id="labels as images"),
        pytest.param(header(), "3 dimension(s)", "0", id="no dimensions"),
        pytest.param(header(1, 28, 28, 1), "3 dimension(s)", "4", id="too many dimensions"),
        pytest.param(b"\0\0\x08\xff", "3 dimension(s)", "255", id="255 dimensions"),
        pytest.param(VALID[:9], "12 bytes of dimensions", "5", id="cut in the dimensions"),
        pytest.param(header(0, 28, 28), "from 1 to 60000 items", "0", id="no items"),
        pytest.param(header(60_001, 28, 28), "to 60000", "60001", id="more than any honest file"),
        pytest.param(header(2**32 - 1, 28, 28), "to 60000", "4294967295", id="product overflow"),
        pytest.param(
            header(*[2**32 - 1] * 3), "shape (28, 28)", "4294967295", id="dimensions overflow"
        ),
        pytest.param(idx_bytes(IMAGES[:, :27]), "shape (28, 28)", "(27, 28)", id="not 28 x 28"),
        pytest.param(
            idx_bytes(IMAGES, shape=(4, 14, 56)), "shape (28, 28)", "(14, 56)", id="same size"
        ),
        pytest.param(VALID[:-1], "3136 bytes of items", "3135", id="cut in the items"),
        pytest.param(VALID + b"\0", "nothing after", "more bytes", id="trailing byte"),
        pytest.param(idx_bytes(IMAGES, shape=(5, 28, 28)), "3920", "3136", id="header larger"),
        pytest.param(
            idx_bytes(IMAGES, shape=(3, 28, 28)), "nothing after", "more", id="header smaller"
        ),
        *(
            pytest.param(idx_bytes(IMAGES, code=code), "type code 8", f"{code}", id=f"code {code}")
            for code in (0, 9, 0x0B, 0x0C, 0x0D, 0x0E)
        ),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_refused(tmp_path: Path, pack, content: bytes, expected: str, got: str) -> None:
    path = write(tmp_path, pack(content))
    with refused(path, expected=expected, got=got):
        read_idx(path, (28, 28))


def test_images_where_labels_should_be(tmp_path: Path) -> None:
    path = write(tmp_path, VALID)
    with refused(path, expected="1 dimension(s)", got="3"):
        read_idx(path, ())
