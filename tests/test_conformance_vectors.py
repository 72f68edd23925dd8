"""The frozen vectors: values stay until their version is raised, and damage is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refimpl.conformance import vectors
from refimpl.conformance.vectors import MANIFEST, check_vectors, write_vectors
from refimpl.equations import EQUATIONS

FROZEN = Path(__file__).parent / "vectors"
# The digest of all frozen values, by version: a version never changes its values.
DIGESTS = {1: "e601919ebf0de5e71a023ed279651ad65e37db91131122c6cce1c772d0534a31"}
# No functions of inputs: draws (E1, E3, E7), conditions (E2), and networks and definitions that
# other entries hold.
WITHOUT = {"E1", "E2", "E3", "E5", "E6", "E7", "E18", "E32", "E33"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(FROZEN, tmp_path / "vectors")


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_frozen_values_are_what_the_package_computes() -> None:
    assert check_vectors(FROZEN) == [], "raise vectors.VERSION and write tests/vectors anew"


def test_frozen_values_change_with_their_version_only() -> None:
    files = json.loads((FROZEN / MANIFEST).read_text())["files"]
    digest = hashlib.sha256("".join(entry["sha256"] for entry in files).encode()).hexdigest()
    assert DIGESTS[vectors.VERSION] == digest


def test_every_equation_that_is_a_function_has_vectors() -> None:
    files = json.loads((FROZEN / MANIFEST).read_text())["files"]
    assert {tag for entry in files for tag in entry["equations"]} == EQUATIONS.keys() - WITHOUT


def test_vectors_are_written_and_read_back(tmp_path: Path) -> None:
    assert check_vectors(write_vectors(tmp_path / "new", count=2)) == []


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (write_vectors(tmp_path / name, count=1) for name in ("one", "two"))
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_a_changed_equation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    old = vectors.VECTORS["outputs"]
    wrong = old._replace(outputs=lambda **case: {"F": old.outputs(**case)["F"] + 1e-9})
    monkeypatch.setitem(vectors.VECTORS, "outputs", wrong)
    differences = check_vectors(FROZEN)
    assert len(differences) == 6
    assert differences[0].startswith("outputs.npz case 0: F (E4) is")


def test_infinite_radii_are_equal_to_themselves_only(monkeypatch: pytest.MonkeyPatch) -> None:
    old = vectors.VECTORS["smallest-step"]
    wrong = old._replace(outputs=lambda **case: {"t": np.minimum(old.outputs(**case)["t"], 1e9)})
    monkeypatch.setitem(vectors.VECTORS, "smallest-step", wrong)
    assert any("smallest-step" in line for line in check_vectors(FROZEN))


def test_a_file_that_changed_is_refused(folder: Path) -> None:
    with (folder / "outputs.npz").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=r"outputs\.npz: expected SHA-256"):
        check_vectors(folder)


def test_a_missing_file_is_refused(folder: Path) -> None:
    (folder / "outputs.npz").unlink()
    with pytest.raises(ValueError, match=r"outputs\.npz: expected a file, got none"):
        check_vectors(folder)


def test_a_folder_without_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected manifest\.json, got none"):
        check_vectors(tmp_path)


ENTRIES = [json.dumps({"schema": 1, "version": 1, "files": files}) for files in (3, [3], [{}])]


@pytest.mark.parametrize("text", ["{", "[]", "{}", "null", *ENTRIES])
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ValueError, match="expected a manifest of vectors"):
        check_vectors(folder)


@pytest.mark.parametrize("key", ["schema", "version"])
def test_a_newer_schema_and_another_version_are_refused(folder: Path, key: str) -> None:
    edit(folder, lambda manifest: manifest.update({key: 2}))
    with pytest.raises(ValueError, match=f"expected {key} 1, got 2"):
        check_vectors(folder)


def test_a_folder_that_lacks_equations_is_refused(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["files"].pop())
    with pytest.raises(ValueError, match="radius-group-sum"):
        check_vectors(folder)


@pytest.mark.parametrize("key", ["equations", "inputs", "outputs", "tolerance", "count", "sha256"])
def test_an_entry_that_lacks_a_field_is_refused(folder: Path, key: str) -> None:
    edit(folder, lambda manifest: manifest["files"][0].pop(key))
    with pytest.raises(ValueError, match=rf"manifest\.json: expected \['{key}'\] of .*\.npz, got"):
        check_vectors(folder)


def test_unknown_files_are_refused(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["files"].append({"file": "other.npz"}))
    with pytest.raises(ValueError, match=r"got other\.npz"):
        check_vectors(folder)


def test_arrays_that_are_missing_are_refused(folder: Path) -> None:
    edit(folder, lambda manifest: manifest["files"][0].update(count=7))
    with pytest.raises(ValueError, match=r"6\.W"):
        check_vectors(folder)


def test_inputs_are_exact_in_single_precision() -> None:
    for entry in json.loads((FROZEN / MANIFEST).read_text())["files"]:
        with np.load(FROZEN / entry["file"]) as arrays:
            for name in entry["inputs"]:
                value = arrays[f"0.{name}"]
                assert np.array_equal(value.astype(np.float32), value), (entry["file"], name)
