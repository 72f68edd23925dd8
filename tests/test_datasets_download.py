"""Fetching, from a server on this machine that also fails in every way that servers do."""

from __future__ import annotations

import hashlib
import http.server
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from dataset_files import IDX_NAMES, write_mnist
from test_datasets_content import unprivileged

from refimpl import datasets
from refimpl.datasets import download, published

pytest.importorskip("pooch", reason="the extra fetch is not installed")

HTML = b"<!DOCTYPE html><title>Log in to this network</title>"


class Server(http.server.ThreadingHTTPServer):
    """Serves `files` under /good/, and under other names what goes wrong."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.over = threading.Event()

    def place(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{name}/"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        _, place, name = self.path.split("/")
        content = self.server.files[name]
        getattr(self, place)(content)

    def reply(self, content: bytes, *, promised: int | None = None, status: int = 200) -> None:
        self.send_response(status)
        if promised is not None:
            self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(content)

    def good(self, content: bytes) -> None:
        assert self.headers["Accept-Encoding"] == "identity"
        self.reply(content, promised=len(content))

    def missing(self, content: bytes) -> None:
        self.reply(b"", promised=0, status=404)

    def unavailable(self, content: bytes) -> None:
        self.reply(b"", promised=0, status=503)

    def html(self, content: bytes) -> None:
        self.reply(HTML, promised=len(HTML))

    def truncated(self, content: bytes) -> None:
        self.reply(content[:-5], promised=len(content))

    def ended(self, content: bytes) -> None:
        self.reply(content[:-5])

    def wrong(self, content: bytes) -> None:
        self.reply(content[:-1] + bytes([content[-1] ^ 1]), promised=len(content))

    def endless(self, content: bytes) -> None:
        self.reply(content)
        while not self.server.over.is_set():
            self.wfile.write(bytes(1 << 16))

    def silent(self, content: bytes) -> None:
        self.server.over.wait()

    def stalled(self, content: bytes) -> None:
        self.reply(content[:20], promised=len(content))
        self.wfile.flush()
        self.server.over.wait()

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError):  # the client hung up, as it should
            super().handle()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """A server of made-up files that pass for the official ones."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    write_mnist(tmp_path / "origin")
    for name in IDX_NAMES:
        content = (tmp_path / "origin" / f"{name}.gz").read_bytes()
        server.files[f"{name}.gz"] = content
        official = replace(
            published.MNIST[name].download,
            size=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        entry = replace(published.MNIST[name], download=official)
        monkeypatch.setitem(published.MNIST, name, entry)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server: Server, directory: Path, *places: str, **options: object) -> list[Path]:
    urls = [server.place(place) for place in places]
    return datasets.fetch("mnist", directory, base_urls=urls, **{"progress": False, **options})


def test_files_come_whole_to_where_the_loader_looks(server: Server, tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    files = fetch(server, directory, "good")
    assert files == [directory / "mnist" / f"{name}.gz" for name in IDX_NAMES]
    for file in files:
        assert file.read_bytes() == server.files[file.name]
        assert file.stat().st_mode & 0o044 == 0o044 & ~current_umask()
    assert len(datasets.load_mnist(directory, verify=False)[0][0]) == 7


def current_umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


FAILURES = {
    "missing": "404",
    "unavailable": "503",
    "html": "an HTML page",
    "truncated": "",  # which layer notices depends on its version
    "ended": "with sha256",
    "wrong": "with sha256",
    "endless": "more than",
    "silent": "timed out",
    "stalled": "timed out",
}


@pytest.mark.parametrize("place", FAILURES)
def test_a_place_that_fails_is_named_and_leaves_nothing(
    server: Server, tmp_path: Path, place: str
) -> None:
    with pytest.raises(datasets.FetchError) as caught:
        fetch(server, tmp_path / "data", place, timeout=0.3)
    text = str(caught.value)
    name = f"{IDX_NAMES[0]}.gz"
    assert published.MNIST[IDX_NAMES[0]].download.sha256 in text
    assert f"{server.place(place)}{name}: " in text
    assert FAILURES[place] in text
    assert list((tmp_path / "data" / "mnist").iterdir()) == []


@pytest.mark.parametrize("place", FAILURES)
def test_the_second_place_is_tried(server: Server, tmp_path: Path, place: str) -> None:
    files = fetch(server, tmp_path, place, "good", timeout=0.3)
    assert [file.read_bytes() for file in files] == list(server.files.values())
    assert sorted(p.name for p in (tmp_path / "mnist").iterdir()) == sorted(server.files)


def test_a_place_that_nobody_serves(server: Server, tmp_path: Path) -> None:
    with pytest.raises(datasets.FetchError, match="nonsense"):
        datasets.fetch("mnist", tmp_path, base_urls=["nonsense"], progress=False)


def test_whole_files_are_kept_and_others_replaced_only_by_whole_ones(
    server: Server, tmp_path: Path
) -> None:
    files = fetch(server, tmp_path, "good")
    files[1].write_bytes(b"damaged")
    with pytest.raises(datasets.FetchError):
        fetch(server, tmp_path, "wrong")
    assert files[1].read_bytes() == b"damaged"
    server.asked.clear()
    fetch(server, tmp_path, "good")
    assert server.asked == [f"/good/{files[1].name}"]
    assert files[1].read_bytes() == server.files[files[1].name]


def test_two_at_once_end_with_whole_files(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: fetch(server, tmp_path, "good"), range(2))
    assert one == two
    assert [file.read_bytes() for file in one] == list(server.files.values())
    assert sorted(p.name for p in (tmp_path / "mnist").iterdir()) == sorted(server.files)


def test_progress_goes_to_standard_error(server: Server, tmp_path: Path, capsys) -> None:
    fetch(server, tmp_path, "good", progress=True)
    output = capsys.readouterr()
    assert output.out == ""
    for name in server.files:
        assert f"downloading {server.place('good')}{name}\n" in output.err
    fetch(server, tmp_path / "quiet", "good")
    assert capsys.readouterr().err == ""


def test_a_read_only_directory_is_a_clear_error(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    folder.chmod(0o555)
    with unprivileged(), pytest.raises(PermissionError):
        fetch(server, tmp_path, "good")
    assert list(folder.iterdir()) == []


def test_cifar10_is_one_archive_in_the_directory_itself(
    server: Server, tmp_path: Path, monkeypatch
) -> None:
    content = b"any bytes"
    official = replace(
        published.CIFAR10_PYTHON, size=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    monkeypatch.setattr(published, "CIFAR10_PYTHON", official)
    server.files[official.name] = content
    (file,) = datasets.fetch(
        "cifar10", tmp_path, base_urls=[server.place("good").rstrip("/")], progress=False
    )
    assert file == tmp_path / "cifar-10-python.tar.gz"
    assert file.read_bytes() == content


def test_the_published_places_are_the_default(tmp_path: Path, monkeypatch) -> None:
    urls = []

    def failing(url: str, *_: object) -> None:
        urls.append(url)
        raise download._WrongFileError("nothing")

    monkeypatch.setattr(download, "_download", failing)
    for name in ("mnist", "cifar10"):
        with pytest.raises(datasets.FetchError):
            datasets.fetch(name, tmp_path, progress=False)
    assert urls == [
        "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
        "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "cifar100"}, "^name: expected 'mnist' or 'cifar10', got 'cifar100'$"),
        ({"timeout": 0}, "^timeout: expected a positive number"),
        ({"base_urls": []}, "^base_urls: expected a sequence of at least one URL"),
        ({"base_urls": "http://x/"}, "^base_urls: expected a sequence of at least one URL"),
    ],
)
def test_bad_options(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        datasets.fetch(**{"name": "mnist", "directory": tmp_path, **options})


def test_without_pooch_the_error_names_the_extra(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[fetch\]' in a checkout"):
        datasets.fetch("mnist", tmp_path / "data")
    assert not (tmp_path / "data").exists()
