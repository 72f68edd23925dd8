"""Reading plain and gzip files without trusting them."""

from __future__ import annotations

import gzip
import os
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dataset_files import refused
from hypothesis import given
from hypothesis import strategies as st

from refimpl.datasets import DatasetFormatError
from refimpl.datasets import content as module
from refimpl.datasets.content import file_sha256, open_content

NOBODY = 65534


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root reads and writes everything, so step down for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def read_all(path: Path, limit: int = 1000) -> bytes:
    with open_content(path) as content:
        return bytes(content.at_most(limit))


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
@given(data=st.binary(max_size=300), sizes=st.lists(st.integers(0, 80)), chunk=st.integers(1, 40))
def test_reads_what_was_written_in_pieces_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, compress, data, sizes, chunk
) -> None:
    path = tmp_path_factory.getbasetemp() / "pieces"
    path.write_bytes(compress(data) if not data.startswith(b"\x1f\x8b") else gzip.compress(data))
    with pytest.MonkeyPatch.context() as patch, open_content(path) as content:
        patch.setattr(module, "CHUNK", chunk)
        pieces = [content.read(size) for size in sizes]
        assert all(len(p) <= size for p, size in zip(pieces, sizes, strict=True))
        assert b"".join([*pieces, content.at_most(300)]) == data
        content.end("the data")


@pytest.mark.parametrize("chunk", [1, 7, 1 << 18])
@pytest.mark.parametrize(
    ("damage", "got"),
    [
        (lambda whole: whole[:-1], "cut short"),
        (lambda whole: whole[:15], "cut short"),
        (lambda whole: whole[:2], "cut short"),
        (lambda whole: whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:], "incorrect data check"),
        (lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), "incorrect length check"),
        (lambda whole: whole[:2] + b"\xff" + whole[3:], "Error -3"),
        (lambda whole: whole + gzip.compress(b"second")[:-1], "cut short"),
        (lambda whole: whole + b"\0", "other bytes after their end"),
        (lambda whole: whole + b"\x1f", "other bytes after their end"),
    ],
)
def test_damaged_gzip_is_refused(tmp_path: Path, monkeypatch, damage, got: str, chunk: int) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(damage(gzip.compress(bytes(range(256)))))
    monkeypatch.setattr(module, "CHUNK", chunk)
    with refused(path, expected="gzip", got=got):
        read_all(path)


def test_no_flipped_bit_changes_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    data = b"a text of some length, of some length"
    whole = gzip.compress(data, mtime=0)
    refusals = 0
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        try:
            with open_content(path) as content:
                assert content.at_most(1000) in (data, flipped)  # not gzip any more: plain bytes
        except DatasetFormatError:
            refusals += 1
    # Not looked at: date, level and system in the header, padding of the last block; and 16 bits
    # are those of the magic number.
    assert refusals >= 8 * (len(whole) - 6 - 2) - 16


def test_a_bomb_is_given_up_at_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(50_000_000)))
    tracemalloc.start()
    with refused(path, expected="1000 bytes at most and nothing after", got="more bytes"):
        read_all(path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000  # the file's 48,600 bytes and buffers
    tracemalloc.stop()


def test_exactly_and_at_most_say_what_is_missing_or_too_much(tmp_path: Path) -> None:
    path = tmp_path / "four"
    path.write_bytes(b"1234")
    with open_content(path) as content:
        assert content.exactly(3, "a header") == b"123"
        with refused(path, expected="3 bytes of a header", got="1"):
            content.exactly(3, "a header")
    with refused(path, expected="3 bytes at most", got="more bytes"):
        read_all(path, limit=3)


def test_an_empty_file_has_no_bytes(tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    assert read_all(path) == b""


def test_what_is_no_regular_file_is_refused_and_never_waited_for(tmp_path: Path) -> None:
    fifo, folder, dangling = tmp_path / "fifo", tmp_path / "folder", tmp_path / "dangling"
    os.mkfifo(fifo)
    folder.mkdir()
    dangling.symlink_to(tmp_path / "nowhere")
    for path, got in (
        (fifo, "a special file"),
        (Path(os.devnull), "a special file"),
        (folder, "Is a directory"),
        (dangling, "No such file"),
    ):
        with refused(path, expected="regular file", got=got):
            read_all(path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        with refused(tmp_path / "socket", expected="regular file", got="No such device"):
            read_all(tmp_path / "socket")


def test_an_unreadable_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"x")
    path.chmod(0)
    with unprivileged(), refused(path, expected="readable", got="Permission denied"):
        read_all(path)


def test_an_error_of_the_disk_while_reading_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    with refused(path, expected="readable", got="bad sector"), open_content(path):
        raise OSError("bad sector")


def test_sha256_of_a_file_as_it_lies_there(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")  # the example of FIPS 180-4
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_sha256(path) == expected


@pytest.mark.parametrize("chunk", [1, 2, 7, 1 << 18])
def test_gzip_of_several_members_is_their_contents_one_after_the_other(
    tmp_path: Path, chunk: int, monkeypatch
) -> None:
    """RFC 1952, section 2.2; an empty member among them is one too."""
    monkeypatch.setattr("refimpl.datasets.content.CHUNK", chunk)
    path = tmp_path / "file.gz"
    parts = [b"first", b"", b"second" * 50, b"third"]
    path.write_bytes(b"".join(map(gzip.compress, parts)))
    whole = b"".join(parts)
    with open_content(path) as content:
        assert bytes(content.at_most(len(whole))) == whole
    with refused(path, got="more bytes"), open_content(path) as content:
        content.at_most(len(whole) - 1)


def test_many_members_are_no_way_around_the_bound(tmp_path: Path) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(bytes(1 << 20)) * 200)
    with refused(path, got="more bytes"), open_content(path) as content:
        content.at_most(1 << 21)
