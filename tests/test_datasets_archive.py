"""Archives read in place, against those that the standard library writes."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import pytest
from dataset_files import member, refused, tar_bytes

from refimpl.datasets.archive import read_members

LIMITS = {"batches/a": 2000, "batches/b": 2000, "batches/readme": 10}
FILES = [("batches/a", b"A" * 700), ("batches/b", b"B" * 512)]
FOLDER = (member("batches", tarfile.DIRTYPE), b"")


def read(tmp_path: Path, content: bytes) -> list[tuple[str, bytes]]:
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(content)
    return list(read_members(path, LIMITS, optional=["batches/readme"]))


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_come_in_order_with_their_contents(tmp_path: Path, mode: str, form: int) -> None:
    members = [FOLDER, ("batches/readme", b""), *FILES]
    assert read(tmp_path, tar_bytes(members, mode=mode, format=form)) == members[1:]


def test_times_and_comments_of_the_pax_format_are_passed_over(tmp_path: Path) -> None:
    members = [(member(name, mtime=1.5), content) for name, content in FILES]
    options = {"format": tarfile.PAX_FORMAT, "pax_headers": {"comment": "any"}}
    assert read(tmp_path, tar_bytes(members, **options)) == FILES


def test_a_folder_as_tar_wrote_it_before_1988(tmp_path: Path) -> None:
    content = bytearray(tar_bytes([FOLDER, *FILES], mode="w"))
    content[156] = 0  # the kind; only the slash after the name says that it is a folder
    fix_checksum(content)
    assert read(tmp_path, bytes(content)) == FILES


def test_a_name_split_in_two_fields(tmp_path: Path) -> None:
    content = bytearray(tar_bytes(FILES, mode="w", format=tarfile.USTAR_FORMAT))
    content[:100] = b"a".ljust(100, b"\0")
    content[345:352] = b"batches"
    fix_checksum(content)
    assert read(tmp_path, bytes(content)) == FILES


def fix_checksum(block: bytearray) -> None:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block[:512])


@pytest.mark.parametrize(
    "name",
    [
        "../a",
        "batches/../a",
        "/batches/a",
        "batches//a",
        "a",
        "batches/a/",
        "x" * 90,
    ],
)
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with refused(tmp_path / "archive.tar.gz", expected="batches/a, batches/b", got=f"{name!r}"):
        read(tmp_path, tar_bytes([*FILES, (name, b"evil")]))


@pytest.mark.parametrize(
    ("kind", "got"),
    [
        (tarfile.SYMTYPE, "a symbolic link"),
        (tarfile.LNKTYPE, "a hard link"),
        (tarfile.FIFOTYPE, "a FIFO"),
        (tarfile.CHRTYPE, "a character device"),
        (tarfile.BLKTYPE, "a block device"),
        (tarfile.CONTTYPE, "type '7'"),
        (tarfile.GNUTYPE_SPARSE, "a sparse file"),
        (tarfile.DIRTYPE, "a folder"),
    ],
)
def test_what_is_no_regular_file_is_refused(tmp_path: Path, kind: bytes, got: str) -> None:
    special = member("batches/a", kind, linkname="batches/b")
    with refused(expected="regular files only", got=f"{got}, 'batches/a"):
        read(tmp_path, tar_bytes([FILES[1], (special, b"")], format=tarfile.USTAR_FORMAT))


def test_a_folder_with_content_is_refused(tmp_path: Path) -> None:
    content = bytearray(tar_bytes([FOLDER, *FILES], mode="w"))
    content[124:136] = b"%011o\0" % 512
    fix_checksum(content)
    with refused(expected="regular files only", got="'batches"):
        read(tmp_path, bytes(content))


def test_a_duplicate_is_refused(tmp_path: Path) -> None:
    with refused(expected="one of each name", got="'batches/a'"):
        read(tmp_path, tar_bytes([*FILES, FILES[0]]))


def test_a_missing_member_is_refused(tmp_path: Path) -> None:
    with refused(expected="batches/a", got="none named batches/b"):
        read(tmp_path, tar_bytes(FILES[:1]))
    with refused(got="none named batches/a, batches/b"):
        read(tmp_path, tar_bytes([]))


def test_a_member_larger_than_allowed_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "archive.tar.gz"
    with refused(path / "batches/a", expected="at most 2000 bytes", got="2001"):
        read(tmp_path, tar_bytes([("batches/a", bytes(2001)), FILES[1]]))
    huge = bytearray(tar_bytes(FILES, mode="w"))
    huge[124:136] = b"7" * 11 + b"\0"
    fix_checksum(huge)
    with refused(path / "batches/a", expected="at most 2000 bytes", got="8589934591"):
        read(tmp_path, bytes(huge))


@pytest.mark.parametrize("name", ["batches/" + "x" * 200, "é" * 60])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_refused_in_every_format(tmp_path: Path, name: str, form: int) -> None:
    with refused():
        read(tmp_path, tar_bytes([(name, b"x"), *FILES], format=form))


@pytest.mark.parametrize("key", ["path", "linkpath", "size", "GNU.sparse.map"])
def test_extended_headers_that_change_a_member_are_refused(tmp_path: Path, key: str) -> None:
    renamed = member("batches/a", pax_headers={key: "700"})
    with refused(expected="plain members", got="an extended header with"):
        read(tmp_path, tar_bytes([(renamed, FILES[0][1]), FILES[1]], format=tarfile.PAX_FORMAT))


def test_extended_headers_are_small(tmp_path: Path) -> None:
    options = {"format": tarfile.PAX_FORMAT, "pax_headers": {"comment": "x" * 10_000}}
    with refused(expected="extended headers of 8192 bytes", got="100"):
        read(tmp_path, tar_bytes(FILES, **options))


def test_wherever_it_is_cut_it_is_refused(tmp_path: Path) -> None:
    plain, packed = tar_bytes(FILES, mode="w"), tar_bytes(FILES)
    end = 4 * 512 + 512  # two headers, contents of two blocks and one, then zeros
    end += plain[end:].index(bytes(512)) // 512 * 512
    for length in (*range(0, end, 64), 1, 511, 513):
        with refused():
            read(tmp_path, plain[:length])
    for length in range(len(packed)):
        with refused():
            read(tmp_path, packed[:length])


@pytest.mark.parametrize(
    ("damage", "got"),
    [
        ((0, b"X"), "wrong checksum"),
        ((124, b"9"), "b'9"),
        ((148, b"\0" * 8), "b'"),
        ((124, b"\x80"), r"b'\x80"),
        ((-1, b"x"), "something else"),
    ],
)
def test_damaged_headers_are_refused(tmp_path: Path, damage: tuple[int, bytes], got: str) -> None:
    content = bytearray(tar_bytes(FILES, mode="w"))
    where, what = damage
    content[where:] = what + (content[where + len(what) :] if where >= 0 else b"")
    with refused(got=got):
        read(tmp_path, bytes(content))


def test_nothing_but_zeros_follows_the_end_and_not_many(tmp_path: Path) -> None:
    plain = tar_bytes(FILES, mode="w")
    with refused(expected="zeros after the end", got="something else"):
        read(tmp_path, gzip.compress(plain + plain))
    with refused(expected="1048576 bytes at most"):
        read(tmp_path, gzip.compress(plain + bytes(1 << 21)))


def test_an_html_page_is_no_archive(tmp_path: Path) -> None:
    with refused(expected="512 bytes of a tar header", got="22"):
        read(tmp_path, b"<!DOCTYPE html><html/>")
    with refused(expected="a tar header", got="b'"):
        read(tmp_path, b"<!DOCTYPE html><html/>".ljust(1000, b"\n"))


def test_nothing_is_extracted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    read(tmp_path, tar_bytes([FOLDER, *FILES]))
    assert list(tmp_path.iterdir()) == [tmp_path / "archive.tar.gz"]


def test_archives_made_on_macos_are_read(tmp_path: Path) -> None:
    """Names begin with ./ there, and a member named ._ and its file holds a file's attributes."""
    members = [
        ("./", b""), ("./._batches", b"attributes"), ("./batches/", b""),
        ("./batches/._a", b"attributes" * 40), ("./batches/a", FILES[0][1]),
        ("./batches/b", FILES[1][1]),
    ]  # fmt: skip
    made = [(member(name, b"5") if name.endswith("/") else name, text) for name, text in members]
    assert read(tmp_path, tar_bytes(made)) == FILES
    with refused(got=f"{(1 << 16) + 1}"):
        read(tmp_path, tar_bytes([("batches/._a", bytes((1 << 16) + 1)), *FILES]))
