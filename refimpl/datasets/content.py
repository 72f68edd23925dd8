"""Bytes of a regular file, plain or gzip as its first bytes tell, never more than asked for."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from refimpl.datasets.errors import DatasetFormatError, expect

CHUNK = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"


class Content:
    """The bytes of an open file, or those that its gzip members decompress to."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self._file, self._packed = path, file, file.read(len(_GZIP_MAGIC))
        self._gzip = zlib.decompressobj(wbits=31) if self._packed == _GZIP_MAGIC else None
        self._after = b""  # of a member, and no member itself

    def read(self, size: int) -> bytearray:
        """Return the next `size` bytes, fewer only at the end."""
        pieces = []
        while size > 0 and (piece := self._piece(size)):
            pieces.append(piece)
            size -= len(piece)
        return bytearray().join(pieces)

    def exactly(self, size: int, what: str) -> bytearray:
        """Return the next `size` bytes, or raise `DatasetFormatError`."""
        piece = self.read(size)
        expect(len(piece) == size, self.path, f"{size} bytes of {what}", len(piece))
        return piece

    def at_most(self, size: int) -> bytearray:
        """Return all that is left, or raise `DatasetFormatError` if that is more than `size`."""
        piece = self.read(size)
        self.end(f"{size} bytes at most")
        return piece

    def end(self, what: str) -> None:
        """Raise `DatasetFormatError` unless all has been read and the gzip checksum agrees."""
        expect(not self.read(1), self.path, f"{what} and nothing after", "more bytes")
        expect(not self._after, self.path, "gzip members only", "other bytes after their end")

    def _next_member(self) -> bool:
        """Begin the gzip member that follows, if one does (RFC 1952, section 2.2)."""
        assert self._gzip is not None
        self._after = self._after or self._gzip.unused_data + self._file.read(len(_GZIP_MAGIC))
        if not self._after.startswith(_GZIP_MAGIC):
            return False
        self._packed, self._after = self._after, b""
        self._gzip = zlib.decompressobj(wbits=31)
        return True

    def _piece(self, size: int) -> bytes:
        """From 1 to `size` bytes, none at the end."""
        if self._gzip is None:
            piece, self._packed = self._packed[:size], self._packed[size:]
            return piece or self._file.read(min(size, CHUNK))
        piece = b""
        while not piece and (not self._gzip.eof or self._next_member()):
            packed = self._packed or self._file.read(CHUNK)
            try:
                piece = self._gzip.decompress(packed, size)
            except zlib.error as error:
                raise DatasetFormatError(self.path, "whole gzip data", str(error)) from None
            self._packed = self._gzip.unconsumed_tail
            more = packed or piece or self._gzip.eof
            expect(more, self.path, "whole gzip data", "data that are cut short")
        return piece


@contextmanager
def open_content(path: Path) -> Iterator[Content]:
    """Open a regular file, plain or gzip, as `open_regular` does."""
    with open_regular(path) as file:
        yield Content(path, file)


@contextmanager
def open_regular(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file; whatever the file system says against it is a `DatasetFormatError`."""
    try:
        # Path.open takes no opener.
        with open(path, "rb", opener=_open_at_once) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            expect(regular, path, "a regular file", "a special file")
            yield file
    except OSError as error:
        reason = error.strerror or str(error)
        raise DatasetFormatError(path, "a readable regular file", reason) from None


def _open_at_once(path: str, flags: int) -> int:
    """Open a FIFO without waiting for a writer; it is refused a moment later."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file as it lies there, compressed or not."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
