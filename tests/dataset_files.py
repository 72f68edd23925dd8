"""Small made-up files in the formats of MNIST and CIFAR-10, and the one way to see them refused."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refimpl.datasets import DatasetFormatError

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
BATCH_NAMES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")


@contextmanager
def refused(path: Path | None = None, *, expected: str = "", got: str = "") -> Iterator[None]:
    """One `DatasetFormatError` that names the path and says these words."""
    with pytest.raises(DatasetFormatError) as caught:
        yield
    error = caught.value
    assert path is None or error.path == path
    assert expected in error.expected
    assert got in error.got
    assert str(error) == f"{error.path}: expected {error.expected}, got {error.got}"


def idx_bytes(items: np.ndarray, *, code: int = 8, shape: Iterable[int] | None = None) -> bytes:
    """An IDX file; `shape` is what its header says, by default the truth."""
    shape = tuple(items.shape if shape is None else shape)
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape) + items.tobytes()


def digits(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """n grey images of noise with labels."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(256, size=(n, 28, 28), dtype=np.uint8),
        rng.integers(10, size=n, dtype=np.uint8),
    )


def write_mnist(
    folder: Path, *, n_train: int = 7, n_test: int = 5, dot: bool = False, gz: bool = True
) -> tuple[np.ndarray, ...]:
    """Write the four files; return their arrays in the order of `IDX_NAMES`."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (*digits(n_train, seed=1), *digits(n_test, seed=2))
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        file = folder / ((name.replace("-idx", ".idx") if dot else name) + (".gz" if gz else ""))
        content = idx_bytes(array)
        file.write_bytes(gzip.compress(content, mtime=0) if gz else content)
    return arrays


def batch(n: int = 3, seed: int = 0) -> tuple[np.ndarray, list[int]]:
    """n rows of 3072 bytes with labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(256, size=(n, 3072), dtype=np.uint8), rng.integers(10, size=n).tolist()


def python2_pickle(images: np.ndarray, labels: list[int], *, file_names: bool = True) -> bytes:
    """The layout of the official batches, instruction by instruction: Python 2, protocol 2."""

    def text(value: str) -> bytes:
        return pickle.SHORT_BINSTRING + bytes([len(value)]) + value.encode()

    def integer(value: int) -> bytes:
        return pickle.BININT + struct.pack("<i", value)

    def name(module: str, attribute: str) -> bytes:
        return pickle.GLOBAL + f"{module}\n{attribute}\n".encode()

    put = pickle.BINPUT + b"\x01"
    names = [text("filenames"), pickle.EMPTY_LIST, pickle.MARK]
    names += [text(f"image_{i}.png") for i in range(len(labels))]
    return b"".join(
        [
            *(pickle.PROTO, b"\x02", pickle.EMPTY_DICT, put, pickle.MARK),
            *(text("batch_label"), text("training batch 1 of 5")),
            *(text("labels"), pickle.EMPTY_LIST, pickle.MARK),
            *(pickle.BININT1 + bytes([label]) for label in labels),
            *(pickle.APPENDS, text("data")),
            *(name("numpy.core.multiarray", "_reconstruct"), name("numpy", "ndarray")),
            *(integer(0), pickle.TUPLE1, text("b"), pickle.TUPLE3, pickle.REDUCE),
            *(pickle.MARK, integer(1)),
            *(integer(images.shape[0]), integer(images.shape[1]), pickle.TUPLE2),
            *(name("numpy", "dtype"), text("u1"), integer(0), integer(1), pickle.TUPLE3),
            *(pickle.REDUCE, pickle.MARK, integer(3), text("|")),
            *(pickle.NONE * 3, integer(-1), integer(-1), integer(0), pickle.TUPLE, pickle.BUILD),
            *(pickle.NEWFALSE, pickle.BINSTRING, struct.pack("<i", images.size), images.tobytes()),
            *(pickle.TUPLE, pickle.BUILD),
            *((*names, pickle.APPENDS) if file_names else ()),
            *(pickle.SETITEMS, pickle.STOP),
        ]
    )


def binary_batch(images: np.ndarray, labels: list[int]) -> bytes:
    """Records of a label and an image."""
    return b"".join(bytes([y]) + row.tobytes() for y, row in zip(labels, images, strict=True))


def cifar10_contents(form: str, n: int = 3) -> dict[str, bytes]:
    """File names and contents of six batches, the i-th of `batch(n, seed=i)`."""
    write, suffix = {"python": (python2_pickle, ""), "binary": (binary_batch, ".bin")}[form]
    return {name + suffix: write(*batch(n, seed=i)) for i, name in enumerate(BATCH_NAMES)}


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    """Write files into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: Any) -> tarfile.TarInfo:
    """Describe a member of an archive."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar_bytes(
    members: Iterable[tuple[tarfile.TarInfo | str, bytes]], *, mode: str = "w:gz", **options: Any
) -> bytes:
    """Archive, compressed by default, as the standard library writes it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, **options) as archive:  # type: ignore[call-overload]
        for info, content in members:
            info = member(info) if isinstance(info, str) else info
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def cifar10_archive(form: str, n: int = 3) -> bytes:
    """Archive with the folder and the files of the official ones."""
    folder = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}[form]
    files = [(f"{folder}/{name}", content) for name, content in cifar10_contents(form, n).items()]
    readme = (f"{folder}/readme.html", b"<html></html>")
    return tar_bytes([(member(folder, tarfile.DIRTYPE), b""), readme, *files[::-1]])
