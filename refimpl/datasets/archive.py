"""Members of a tar archive, gzip or not, read in place: nothing is ever extracted.

A tar archive is blocks of 512 bytes: for each member a header, then its content, filled up with
zeros; a block of zeros ends it. Names and sizes are those that the caller lists, so no path is made
from a name and no member is larger than allowed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from refimpl.datasets.content import Content, open_content
from refimpl.datasets.errors import DatasetFormatError, expect

_BLOCK = 512
_MAX_FILLING = 1 << 20
_MAX_EXTENDED_HEADER = 1 << 13
_MAX_ATTRIBUTES = 1 << 16
_EXTENDED_HEADERS = "xg"
_KINDS = {
    "1": "a hard link",
    "2": "a symbolic link",
    "3": "a character device",
    "4": "a block device",
    "5": "a folder",
    "6": "a FIFO",
    "L": "a GNU long name",
    "S": "a sparse file",
}


@dataclass(frozen=True)
class _Header:
    name: str
    kind: str
    size: int


def read_members(
    path: Path, limits: Mapping[str, int], *, optional: Collection[str] = ()
) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of the regular files of an archive, in its order.

    Parameters
    ----------
    path : Path
    limits : dict
        Every name that the archive may hold, with the most bytes that it may have.
    optional : collection of str
        Those of them that need not be there; no name is there twice.

    Raises
    ------
    DatasetFormatError
        Any other name or size, a name twice or missing, links, devices and FIFOs, a header whose
        checksum is wrong, an archive cut short or with something after its end.
    """
    missing = dict(limits)
    with open_content(path) as content:
        while header := _next_file(content, {"", *(name.split("/")[0] for name in limits)}):
            expected = "one of each name" if header.name in limits else _names(limits)
            expect(header.name in missing, path, expected, repr(header.name))
            limit = missing.pop(header.name)
            expect(header.size <= limit, path / header.name, f"at most {limit} bytes", header.size)
            yield header.name, bytes(_padded(content, header.size))
        zeros = not any(content.at_most(_MAX_FILLING))
        expect(zeros, path, "zeros after the end of the archive", "something else")
    lacking = [name for name in missing if name not in optional]
    expect(not lacking, path, _names(limits), f"none named {', '.join(lacking)}")


def _names(limits: Mapping[str, int]) -> str:
    return f"the members {', '.join(limits)}"


def _next_file(content: Content, folders: set[str]) -> _Header | None:
    """Pass over folders and extended headers up to the next file; None at the end."""
    while header := _header(content):
        if header.kind in _EXTENDED_HEADERS:
            _check_extended(content, header)
        elif header.kind in "5\0" and header.name.rstrip("/") in folders and header.size == 0:
            pass
        elif header.kind in "0\0" and header.name.split("/")[-1].startswith("._"):
            _pass_over(content, header)
        elif header.kind in "0\0":
            return header
        else:
            kind = _KINDS.get(header.kind, f"type {header.kind!r}")
            got = f"{kind}, {header.name!r}"
            raise DatasetFormatError(content.path, "regular files only", got)
    return None


def _header(content: Content) -> _Header | None:
    block = bytes(content.exactly(_BLOCK, "a tar header"))
    if not any(block):
        return None
    size, checksum = (_octal(content.path, block[a:b]) for a, b in ((124, 136), (148, 156)))
    right = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    expect(checksum == right, content.path, "a tar header", "one with a wrong checksum")
    name = _text(block[:100])
    if block[257:263] == b"ustar\0" and block[345]:
        name = f"{_text(block[345:500])}/{name}"
    return _Header(name.removeprefix("./"), chr(block[156]), size)


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("latin1")


def _octal(path: Path, field: bytes) -> int:
    digits = field.strip(b" \0")
    octal = digits and not digits.strip(b"01234567")
    expect(octal, path, "a tar header with octal numbers", repr(field))
    return int(digits, 8)


def _padded(content: Content, size: int) -> bytearray:
    """Return `size` bytes, and pass over what fills their last block up."""
    result = content.exactly(size, "a member of the archive")
    content.exactly(-size % _BLOCK, "filling")
    return result


def _pass_over(content: Content, header: _Header) -> None:
    """Read the attributes that macOS keeps of a file, in a member beside it named ``._`` and it."""
    most = _MAX_ATTRIBUTES
    expect(header.size <= most, content.path, f"attributes of {most} bytes", header.size)
    _padded(content, header.size)


def _check_extended(content: Content, header: _Header) -> None:
    """Read records such as the time of change; they may not rename or resize what follows."""
    most = _MAX_EXTENDED_HEADER
    expect(header.size <= most, content.path, f"extended headers of {most} bytes", header.size)
    records = bytes(_padded(content, header.size))
    for key in (b" path=", b" linkpath=", b" size=", b" GNU.sparse"):
        got = f"an extended header with {key.decode().strip(' =')}"
        expect(key not in records, content.path, "plain members", got)
