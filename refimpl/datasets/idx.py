"""The IDX format of MNIST: a magic number, the dimensions, then unsigned bytes.

Two zero bytes, a type code (8: unsigned byte), the number of dimensions, each dimension as a
big-endian uint32, then the items in C order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refimpl.datasets.content import Content, open_content
from refimpl.datasets.errors import expect

MAX_ITEMS = 60_000  # of MNIST's largest file: no header may claim more
_UNSIGNED_BYTE = 8


@dataclass(frozen=True, eq=False)
class Idx:
    """An IDX file: its header as it stands there, and its items, uint8 of shape (n, ...)."""

    header: bytes
    items: NDArray[np.uint8]


def read_idx(path: Path, item_shape: tuple[int, ...]) -> Idx:
    """Read a plain or gzip IDX file of n items of the given shape, 1 <= n <= 60,000.

    Raises
    ------
    DatasetFormatError
        Another header than that, or other than exactly the bytes that it promises.
    """
    with open_content(path) as content:
        header = _header(content, item_shape)
        shape = tuple(np.frombuffer(header, ">u4", offset=4).tolist())
        items = content.exactly(math.prod(shape), "items, as the header says")
        content.end("the items that the header says")
    return Idx(header, np.frombuffer(items, np.uint8).reshape(shape))


def _header(content: Content, item_shape: tuple[int, ...]) -> bytes:
    path, dimensions = content.path, 1 + len(item_shape)
    magic = bytes(content.exactly(4, "an IDX header"))
    zeros = "an IDX file, which starts with two zero bytes"
    expect(magic[:2] == b"\0\0", path, zeros, repr(magic))
    expect(magic[2] == _UNSIGNED_BYTE, path, "type code 8 (unsigned byte)", magic[2])
    expect(magic[3] == dimensions, path, f"{dimensions} dimension(s)", magic[3])
    rest = bytes(content.exactly(4 * dimensions, "dimensions"))
    count, *shape = np.frombuffer(rest, ">u4").tolist()
    expect(tuple(shape) == item_shape, path, f"items of shape {item_shape}", tuple(shape))
    expect(1 <= count <= MAX_ITEMS, path, f"from 1 to {MAX_ITEMS} items", count)
    return magic + rest
