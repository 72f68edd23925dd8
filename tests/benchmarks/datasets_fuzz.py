"""Fuzz the parsers of data files: ``python datasets_fuzz.py [minutes]``, by default 10.

Valid files of every format are mutated. Whatever comes of it, the parser returns or raises
`DatasetFormatError`, soon and within modest memory; while it runs nothing is imported, compiled or
executed and no file is opened to be written, which an audit hook watches.
"""

from __future__ import annotations

import gzip
import os
import pickle
import pickletools  # noqa: F401  # imported here, since the hook allows no import later
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from dataset_files import batch, binary_batch, cifar10_archive, digits, idx_bytes, python2_pickle
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from refimpl.datasets import DatasetFormatError
from refimpl.datasets.batches import parse_binary, parse_pickle
from refimpl.datasets.cifar import read_source
from refimpl.datasets.idx import read_idx
from refimpl.datasets.locate import BINARY, PYTHON, Cifar10Source
from refimpl.datasets.pickles import load_dict

EXAMPLES_A_ROUND = 200
MAX_SECONDS = 5.0
MAX_MEGABYTES = 1024
FORBIDDEN = ("import", "compile", "exec", "os.", "subprocess.", "socket.", "pickle.", "ctypes.")
TOKENS = [
    *(b"cos\nsystem\n", b"cnumpy\nndarray\n", b"c_codecs\nencode\n", b"U\x02O8", b"X\3\0\0\0zip"),
    *(b"\xff" * 4, b"\x7f" + b"\xff" * 7, b"\0" * 8, b"../", b"/", b"777777777777", b"\x1f\x8b"),
    *(bytes([code]) for code in b"Rbsue)(]}qrhjtT0.\x81\x85\x86\x87\x8a\x8e\x93\x94\x95\x96"),
]

pieces = st.sampled_from(TOKENS) | st.binary(max_size=8)
edits = st.lists(
    st.tuples(
        st.sampled_from(["replace", "insert", "delete", "repeat", "cut"]),
        st.integers(0, 1 << 16),
        pieces,
        st.integers(1, 600),
    ),
    max_size=4,
)


def mutate(content: bytes, changes: list[tuple[str, int, bytes, int]]) -> bytes:
    """Apply edits at positions taken modulo the length."""
    for kind, position, piece, length in changes:
        at = position % (len(content) + 1)
        before, after = content[:at], content[at:]
        content = {
            "replace": before + piece + after[len(piece) :],
            "insert": before + piece + after,
            "delete": before + after[length:],
            "repeat": before + after[:length] + after,
            "cut": before,
        }[kind]
    return content


class Gadget:
    """Would end the run, if it ever ran."""

    def __reduce__(self) -> Any:
        return os._exit, (1,)


def pickle_seeds(width: int) -> list[bytes]:
    """Batches of one image, in every protocol, by both Pythons, and with a gadget."""
    images, labels = batch(1)
    entries = {"data": images[:, :width], "labels": labels}
    both = (entries, {key.encode(): value for key, value in entries.items()})
    dumps = [pickle.dumps(e, protocol) for e in both for protocol in range(6)]
    return [*dumps, python2_pickle(images[:, :width], labels), pickle.dumps([entries, Gadget()])]


def parse_archive(path: Path) -> None:
    """Read an archive in the format that its content names."""
    form = PYTHON if b"batches-py" in path.read_bytes()[:2000] else BINARY
    read_source(Cifar10Source(form, path, {}, is_archive=True), verify=True)


Parser = Callable[[Path], object]
TARGETS: dict[str, tuple[Parser, list[bytes]]] = {
    "IDX images": (lambda path: read_idx(path, (28, 28)), [idx_bytes(digits(1)[0])]),
    "IDX labels": (lambda path: read_idx(path, ()), [idx_bytes(digits(20)[1])]),
    "pickle": (lambda path: load_dict(path.read_bytes(), path), pickle_seeds(8)),
    "pickle batch": (lambda path: parse_pickle(path.read_bytes(), path), pickle_seeds(3072)),
    "binary batch": (
        lambda path: parse_binary(path.read_bytes(), path),
        [binary_batch(*batch(2))],
    ),
    "archive": (
        parse_archive,
        [gzip.decompress(cifar10_archive(form, n=1)) for form in ("python", "binary")],
    ),
}

watching = False


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Refuse what no parser may do."""
    if not watching:
        return
    # The second argument of open is a mode such as "rb", the third the flags of os.open.
    writes = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if writes or event.startswith(FORBIDDEN):
        raise AssertionError(f"the parser did {event} {arguments}")


@contextmanager
def watched() -> Iterator[None]:
    """Let the audit hook refuse, and the clock run."""
    global watching
    start = time.monotonic()
    watching = True
    try:
        yield
    finally:
        watching = False
    assert time.monotonic() - start < MAX_SECONDS, "too slow"


def fuzz(name: str, path: Path, number: int, outcomes: Counter[str]) -> None:
    """One round of mutations for one parser."""
    parse, seeds = TARGETS[name]

    @seed(number)
    @settings(
        max_examples=EXAMPLES_A_ROUND,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(seeds), edits, st.booleans(), edits)
    def run(content: bytes, inner: Any, packed: bool, outer: Any) -> None:
        content = mutate(content, inner)
        path.write_bytes(mutate(gzip.compress(content, 1), outer) if packed else content)
        with watched():
            try:
                parse(path)
                outcomes[f"{name}: read"] += 1
            except DatasetFormatError:
                outcomes[f"{name}: refused"] += 1

    run()


def main() -> None:
    """Fuzz all parsers by turns until the time is over, and say how often each refused."""
    end = time.monotonic() + 60 * float(sys.argv[1] if len(sys.argv) > 1 else 10)
    outcomes: Counter[str] = Counter()
    sys.addaudithook(audit)
    with tempfile.TemporaryDirectory() as folder:
        for number in count():
            for name in TARGETS:
                fuzz(name, Path(folder) / "file", number, outcomes)
            assert os.listdir(folder) == ["file"], "a file was written"  # noqa: PTH208
            if time.monotonic() > end:
                break
    for outcome, times in sorted(outcomes.items()):
        print(f"{outcome} {times}")
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{sum(outcomes.values())} files, at most {megabytes} MB of memory")
    assert megabytes < MAX_MEGABYTES, "too much memory"


if __name__ == "__main__":
    main()
