"""MNIST as Keras keeps it: one file, mnist.npz, with x_train, y_train, x_test and y_test.

Each is a member of a zip archive: an array of unsigned bytes in NumPy's format, images (n,28,28)
and labels (n,), compressed or not. No more is decompressed than MNIST has.
"""

from __future__ import annotations

import math
import struct
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from refimpl.datasets.content import open_regular
from refimpl.datasets.errors import DatasetFormatError, expect
from refimpl.datasets.idx import MAX_ITEMS, Idx

NAME = "mnist.npz"
MEMBERS = {
    "train-images-idx3-ubyte": "x_train",
    "train-labels-idx1-ubyte": "y_train",
    "t10k-images-idx3-ubyte": "x_test",
    "t10k-labels-idx1-ubyte": "y_test",
}
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_BAD = (
    *(zipfile.BadZipFile, zlib.error, EOFError, KeyError),
    *(NotImplementedError, RuntimeError, ValueError),
)


def read_member(path: Path, name: str, item_shape: tuple[int, ...]) -> Idx:
    """Read the array that stands for the IDX file of this official name, with the header of that.

    Raises
    ------
    DatasetFormatError
        The file, or the member's path, and what is wrong with it.
    """
    member = path / MEMBERS[name]
    with open_regular(path) as file:
        packed = zipfile.is_zipfile(file)
        expect(packed, path, "an .npz file of arrays", "another kind of file")
        try:
            with zipfile.ZipFile(file) as archive:
                info = archive.getinfo(f"{MEMBERS[name]}.npy")
                known = info.compress_type in _METHODS
                expect(known, member, "deflate or no compression", "another method")
                with archive.open(info) as content:
                    return _read(member, content, item_shape)
        except DatasetFormatError:
            raise
        except _BAD as error:
            reason = str(error) or type(error).__name__
            raise DatasetFormatError(member, "a whole array of an .npz file", reason) from None


def _read(member: Path, content: IO[bytes], item_shape: tuple[int, ...]) -> Idx:
    version = np.lib.format.read_magic(content)
    expect(version in _HEADERS, member, "version 1.0 or 2.0 of NumPy's format", version)
    shape, fortran, dtype = _HEADERS[version](content)
    expect(dtype == np.uint8, member, "unsigned bytes", dtype)
    items_fit = shape[1:] == item_shape and len(shape) > 0
    expect(items_fit, member, f"items of shape {item_shape}", shape[1:])
    expect(1 <= shape[0] <= MAX_ITEMS, member, f"from 1 to {MAX_ITEMS} items", shape[0])
    expect(not fortran, member, "rows one after the other", "Fortran's order")
    size = math.prod(shape)
    items = content.read(size)
    said = "items that the header says"
    expect(len(items) == size, member, f"{size} bytes of items, as the header says", len(items))
    expect(not content.read(1), member, f"the {said} and nothing after", "more bytes")
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    return Idx(header, np.frombuffer(bytearray(items), np.uint8).reshape(shape))
