"""The files of a folder of vectors: written whole, and refused when they are not."""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_origin, get_type_hints

import refimpl
from refimpl import _validation
from refimpl._files import output_directory, read_npz, write_json, write_npz

SCHEMA = 2  # raise it when the manifest's form changes
VERSION = 3  # raise it when a value changes, and write tests/vectors anew
MANIFEST = "manifest.json"

Arrays = dict[str, Any]

_KINDS = {str: "a string", dict: "an object", list: "a list", int: "an integer", float: "a number"}


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one file."""

    file: str
    equations: dict[str, str]
    inputs: list[str]
    outputs: list[str]
    tolerance: dict[str, float]
    tolerance_float32: dict[str, float]
    count: int
    sha256: str = ""


_FIELDS = {name: get_origin(kind) or kind for name, kind in get_type_hints(Entry).items()}


def write(directory: str | os.PathLike[str], contents: Iterable[tuple[Entry, Arrays]]) -> Path:
    """Write each file and its entry, whole or not at all, and then the manifest."""
    folder, entries = output_directory(directory), []
    for entry, arrays in contents:
        write_npz(folder / entry.file, **arrays)
        entries.append(asdict(entry) | {"sha256": _digest(folder / entry.file)})
    manifest = {"schema": SCHEMA, "version": VERSION, "package_version": refimpl.__version__}
    write_json(folder / MANIFEST, manifest | {"files": entries})
    return folder


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read(folder: Path, known: list[str]) -> list[Entry]:
    """Return the manifest's entries, well formed, one for each file that there should be."""
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{folder}: expected {MANIFEST}, got none") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
    for key, here in (("schema", SCHEMA), ("version", VERSION)):
        demand_fields(folder, "the manifest", manifest, {key: int})
        demand(folder, f"{key} {here}", manifest[key], here)
    demand_fields(folder, "the manifest", manifest, {"files": list})
    for i, entry in enumerate(manifest["files"]):
        demand_fields(folder, f"files[{i}]", entry, _FIELDS)
    names = [entry["file"] for entry in manifest["files"]]
    if missing := sorted({*known} - {*names}):
        _validation.fail(str(path), f"entries for {missing}", "none")
    if unknown := sorted({*names} - {*known}):
        _validation.fail(str(path), "files of this version", unknown)
    demand(folder, f"{len(known)} entries", len(names), len(known))
    return [Entry(**{name: entry[name] for name in _FIELDS}) for entry in manifest["files"]]


def demand(folder: Path, expected: str, got: Any, wanted: Any) -> None:
    """Refuse a manifest in which something is not what it should be."""
    if got != wanted:
        _validation.fail(str(folder / MANIFEST), expected, got)


def demand_fields(folder: Path, what: str, value: Any, kinds: Mapping[str, type]) -> None:
    """Refuse a manifest in which something is no object with fields of these kinds."""
    path = str(folder / MANIFEST)
    if type(value) is not dict:
        _validation.fail(path, f"{what} to be an object", reprlib.repr(value))
    for name, kind in kinds.items():
        if name not in value:
            _validation.fail(path, f"{what} to have {name!r}", "none")
        if type(value[name]) is not kind:
            got = reprlib.repr(value[name])
            _validation.fail(path, f"{name!r} of {what} to be {_KINDS[kind]}", got)


def read_arrays(folder: Path, entry: Entry) -> Arrays:
    """Return the arrays of a file that is what its entry says."""
    path, name = folder / entry.file, f"{folder / MANIFEST}: count"
    if not path.is_file():
        _validation.fail(str(path), "a file", "none")
    if (digest := _digest(path)) != entry.sha256:
        _validation.fail(str(path), f"SHA-256 {entry.sha256}", digest)
    arrays, count = read_npz(path), _validation.integer(name, entry.count, minimum=1)
    keys = [*entry.inputs, *entry.outputs]
    if len(arrays) != count * len(keys):
        expected = f"{count} cases of {len(keys)} arrays"
        _validation.fail(str(path), expected, f"{len(arrays)} arrays")
    if odd := arrays.keys() ^ {f"{i}.{key}" for i in range(count) for key in keys}:
        _validation.fail(str(path), f"the arrays that {MANIFEST} names", sorted(odd))
    return arrays
