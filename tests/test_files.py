"""Files appear whole or not at all, and bad ones are named."""

from __future__ import annotations

import errno
import io
import json
import os
import stat
import warnings
import zipfile

import numpy as np
import pytest

from refimpl import _files


def test_atomic_write_replaces_the_old_file_at_the_end_only(tmp_path):
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")
    with _files.atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_write_leaves_nothing_behind_when_interrupted(tmp_path, error):
    path = tmp_path / "result.bin"
    path.write_bytes(b"old")

    def interrupted():
        with _files.atomic_write(path) as file:
            file.write(b"half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_atomic_write_gives_the_permissions_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    with _files.atomic_write(tmp_path / "atomic"):
        pass
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")}
    assert len(modes) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [("none/x", FileNotFoundError), ("file/x", NotADirectoryError), ("", IsADirectoryError)],
)
def test_atomic_write_names_the_file_that_cannot_be_written(tmp_path, name, kind):
    (tmp_path / "file").write_bytes(b"")
    folder = tmp_path / "folder"
    folder.mkdir()
    target = tmp_path / name if name else folder
    with pytest.raises(kind) as caught, _files.atomic_write(target):
        pass
    assert caught.value.filename == str(target)
    assert ".part" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"file", "folder"}


@pytest.mark.parametrize(
    ("error", "filename"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "result.bin"),
        (OSError(errno.ENOENT, "No such file or directory", "another"), "another"),
        (OSError("of its own"), None),
    ],
)
def test_atomic_write_names_the_file_where_an_error_names_none(tmp_path, error, filename):
    def disturbed():
        with _files.atomic_write(tmp_path / "result.bin"):
            raise error

    with pytest.raises(OSError, match=error.strerror or "of its own") as caught:
        disturbed()
    assert (caught.value.filename or "").endswith(filename or "")
    assert not list(tmp_path.iterdir())


def test_npz_round_trip_keeps_name_dtype_and_bits(tmp_path):
    path = tmp_path / "arrays.dat"  # no .npz is appended
    W = np.array([[0.1, -0.0], [5e-324, 1e308]])
    _files.write_npz(path, W=W, n=np.int64(3))
    arrays = _files.read_npz(path)
    assert arrays.keys() == {"W", "n"}
    assert arrays["W"].tobytes() == W.tobytes()
    assert arrays["n"].dtype == np.int64


def _npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def _flipped() -> bytes:
    """An archive with one wrong byte inside its data, which the checksum finds."""
    content = bytearray(_npz(W=np.arange(64.0)))
    content[300] ^= 0xFF
    return bytes(content)


def _zip_of_text() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("W.npy", "not an array")
    return buffer.getvalue()


def _twice(*names: str) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")  # zipfile's, of one name twice
        for name in names:
            archive.writestr(name, _npy())
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        _npz(W=np.zeros((50, 50)))[:1000],
        _flipped(),
        _npz(W=np.array([{}], dtype=object)),
        _npy(),
        _zip_of_text(),
        _twice("W.npy", "W.npy"),
        _twice("W", "W.npy"),
        _npz(W=np.zeros(3)) + _npz(W=np.ones(3)),
    ],
    ids=[
        *("empty", "text", "truncated", "flipped", "pickle", "npy", "zip-of-text"),
        *("twice", "twice in numpy's names", "two archives"),
    ],
)
def test_read_npz_names_a_bad_file(tmp_path, content):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz: expected an \.npz file of arrays, got .+"):
        _files.read_npz(path)


def test_read_npz_leaves_file_system_errors_as_they_are(tmp_path):
    with pytest.raises(FileNotFoundError):
        _files.read_npz(tmp_path / "missing.npz")
    with pytest.raises(IsADirectoryError):
        _files.read_npz(tmp_path)


def test_write_json(tmp_path):
    path = tmp_path / "result.json"
    _files.write_json(path, {"median": 0.1, "rows": [1, 2]})
    assert json.loads(path.read_text()) == {"median": 0.1, "rows": [1, 2]}
    assert path.read_text().endswith("}\n")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_write_json_refuses_what_json_cannot_say(tmp_path, bad):
    with pytest.raises(ValueError, match="JSON compliant"):
        _files.write_json(tmp_path / "result.json", {"radius": bad})
    assert not list(tmp_path.iterdir())


def test_output_directory(tmp_path, monkeypatch):
    made = _files.output_directory(tmp_path / "a" / "b")
    assert made.is_dir()
    assert _files.output_directory(made) == made
    (tmp_path / "file").write_text("")
    for name in ("file", "file/below"):
        with pytest.raises(
            NotADirectoryError, match=rf"{name}: expected a directory, but .*file is"
        ):
            _files.output_directory(tmp_path / name)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(PermissionError, match=r"b/c: expected a writable directory, which .*b is"):
        _files.check_directory(made / "c")
    assert not (made / "c").exists()


def test_check_writable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("old")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nothing")
    for name in ("file", "new"):
        assert _files.check_writable(tmp_path / name) == tmp_path / name
    for name, what in (("", "a directory"), ("pipe", "another kind"), ("dangling", "another kind")):
        with pytest.raises(OSError, match=f": expected a regular file, got {what}"):
            _files.check_writable(tmp_path / name)
    with pytest.raises(PermissionError, match="none/x: expected a file in a writable directory"):
        _files.check_writable(tmp_path / "none" / "x")
    assert (tmp_path / "file").read_text() == "old"


def test_read_npz_names_the_array_that_is_none(tmp_path):
    np.savez(tmp_path / "net.npz", W=np.eye(2), b=None)
    with pytest.raises(ValueError, match=r"net\.npz: expected an \.npz file of arrays, got b: "):
        _files.read_npz(tmp_path / "net.npz")
