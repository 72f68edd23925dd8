r"""Frozen inputs and outputs of every equation, for implementations that cannot call Python.

A folder of vectors holds ``manifest.json`` and one ``<name>.npz`` for each entry of the manifest.
An .npz is an uncompressed ZIP archive of .npy files; a .npy file is the magic ``\x93NUMPY``, two
version bytes, the length of a header (2 bytes, little-endian, in version 1.0), the header, a Python
dictionary in ASCII as in ``{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }``, and the
raw entries, here little-endian doubles (``<f8``) or 64-bit integers (``<i8``), rows first. NPZ.jl,
cnpy and the like read it.

The manifest is JSON:

    schema           of the manifest; a reader refuses a larger one than it knows
    version          of the vectors: raised whenever a value changes
    package_version  of the package that wrote them
    files            a list of entries:
        file         name of the .npz
        equations    what each equation says, by its tag
        inputs       names of the inputs
        outputs      names of the outputs
        tolerance    of each output: |yours - ours| <= tolerance, entry by entry, for float64 on
                     both sides; times 2^29 for float32
        count        number of cases in the file
        sha256       of the .npz file, in hexadecimal

Case number i (from 0) of a file has its arrays under ``i.name``, as in ``0.W.npy`` in the archive.
Scalars are arrays of shape (1,). Names and shapes: W (M,d), b (M,), A (K,M), c (K,), x (n,d), y
(n,), rows are samples; the others as in `refimpl.conformance.Adapter`. inf means unreachable.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import refimpl
from refimpl._files import output_directory, read_npz, write_json, write_npz
from refimpl.conformance.vector_cases import VECTORS, Vector
from refimpl.equations import EQUATIONS

SCHEMA = 1
VERSION = 1  # raise it when a value changes, and write tests/vectors anew
MANIFEST = "manifest.json"

_FIELDS = {"equations", "inputs", "outputs", "tolerance", "count", "sha256"}

Arrays = dict[str, Any]


def write_vectors(directory: str | os.PathLike[str], *, count: int = 6) -> Path:
    """Write every vector and the manifest, whole or not at all, file by file; returns the folder.

    Parameters
    ----------
    directory : path
        Made if it is missing.
    count : int
        Cases for each equation.
    """
    folder = output_directory(directory)
    entries = [_write_one(folder, name, vector, count) for name, vector in VECTORS.items()]
    manifest = {"schema": SCHEMA, "version": VERSION, "package_version": refimpl.__version__}
    write_json(folder / MANIFEST, manifest | {"files": entries})
    return folder


def _write_one(folder: Path, name: str, vector: Vector, count: int) -> dict[str, Any]:
    rng = np.random.default_rng(sum(map(ord, name)))
    cases = [vector.inputs(rng) for _ in range(count)]
    results = [vector.outputs(**case) for case in cases]
    bounds = [vector.tolerance(**case) for case in cases]
    arrays = {
        f"{i}.{key}": np.atleast_1d(value)
        for i, (case, result) in enumerate(zip(cases, results, strict=True))
        for key, value in (case | result).items()
    }
    path = folder / f"{name}.npz"
    write_npz(path, **arrays)
    return {
        "file": path.name,
        "equations": {tag: EQUATIONS[tag][0] for tag in vector.equations.split()},
        "inputs": list(cases[0]),
        "outputs": list(results[0]),
        "tolerance": {key: max(float(bound[key]) for bound in bounds) for key in results[0]},
        "count": count,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


def check_vectors(directory: str | os.PathLike[str]) -> list[str]:
    """Compare a folder of vectors with what this package computes.

    Returns
    -------
    list of str
        One line for each value that differs; empty when all agree.

    Raises
    ------
    ValueError
        The folder is not whole: no manifest, a newer schema or another version of the vectors, a
        file that is missing, changed, or without the arrays that the manifest names.
    """
    folder = Path(directory)
    differences = []
    for entry in _manifest(folder)["files"]:
        vector = VECTORS.get(Path(entry["file"]).stem)
        if vector is None:
            raise ValueError(f"{folder}: expected vectors known here, got {entry['file']}")
        arrays = _read(folder, entry)
        for i in range(entry["count"]):
            differences += [
                f"{entry['file']} case {i}: {line}" for line in _compare(arrays, i, entry, vector)
            ]
    return differences


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text())
        schema, version, files = (manifest[key] for key in ("schema", "version", "files"))
        names = {Path(entry["file"]).stem for entry in files}
    except FileNotFoundError:
        raise ValueError(f"{folder}: expected {MANIFEST}, got none") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected a manifest of vectors, got {error!r}") from None
    for what, got, known in (("schema", schema, SCHEMA), ("version", version, VERSION)):
        if got != known:
            raise ValueError(f"{path}: expected {what} {known}, got {got}")
    if missing := VECTORS.keys() - names:
        raise ValueError(f"{path}: expected all equations, got none of {sorted(missing)}")
    return dict(manifest)


def _read(folder: Path, entry: dict[str, Any]) -> Arrays:
    path = folder / Path(entry["file"]).name
    if lack := _FIELDS - entry.keys():
        raise ValueError(f"{folder / MANIFEST}: expected {sorted(lack)} of {path.name}, got none")
    if not path.is_file():
        raise ValueError(f"{path}: expected a file, got none")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != entry["sha256"]:
        raise ValueError(f"{path}: expected SHA-256 {entry['sha256']}, got {digest}")
    arrays = read_npz(path)
    keys = entry["inputs"] + entry["outputs"]
    odd = arrays.keys() ^ {f"{i}.{key}" for i in range(entry["count"]) for key in keys}
    if odd:
        raise ValueError(f"{path}: expected the arrays that {MANIFEST} names, got {sorted(odd)}")
    return arrays


def _compare(arrays: Arrays, i: int, entry: dict[str, Any], vector: Vector) -> Iterator[str]:
    case = {key: arrays[f"{i}.{key}"] for key in entry["inputs"]}
    result = vector.outputs(**case)
    for key in entry["outputs"]:
        frozen, got = arrays[f"{i}.{key}"], np.atleast_1d(result[key])
        with np.errstate(invalid="ignore"):
            same = frozen.shape == got.shape and bool(
                ((frozen == got) | (np.abs(frozen - got) <= entry["tolerance"][key])).all()
            )
        if not same:
            equations = ", ".join(entry["equations"])
            yield f"{key} ({equations}) is {got.tolist()}, was {frozen.tolist()}"
