r"""Frozen inputs and outputs of the equations, for implementations that cannot call Python.

A folder of vectors holds a manifest, ``manifest.json``, and one ``<name>.npz`` for each of its
entries. The manifest is JSON:

    schema           integer, of the manifest's form; a reader refuses a larger one than it knows
    version          integer, of the vectors; raised whenever a value changes
    package_version  of the package that wrote them
    files            list of entries

Each entry is an object:

    file               name of the .npz
    equations          object: what each equation says, by its tag
    inputs             list of the inputs' names
    outputs            list of the outputs' names
    tolerance          object: for each output, how far you may be off in float64
    tolerance_float32  object: the same in float32
    count              integer, the number of cases in the file
    sha256             of the .npz file, in hexadecimal

You agree when |yours - ours| <= tolerance, entry by entry, in every case; where ours is inf, yours
is inf. A tolerance is what rounding can do at these inputs in these arithmetics, with what is
allowed to a search (1e-9 of a radius on either side) or a quadrature (1e-9): see
`refimpl.conformance.vector_bounds`. float32 holds all inputs exactly.

An .npz is an uncompressed ZIP archive of .npy files; a .npy file is the magic ``\x93NUMPY``, two
version bytes, the length of a header (2 bytes, little-endian, in version 1.0), the header, a Python
dictionary in ASCII as in ``{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }``, and the
raw entries, here little-endian doubles (``<f8``) or 64-bit integers (``<i8``), rows first; inf is
that of IEEE 754. NPZ.jl, cnpy and the like read it. Case number i (from 0) of a file has its arrays
under ``i.name``, as in ``0.W.npy`` in the archive. Scalars are arrays of shape (1,).

Rows are samples: n samples, d dimensions, M hidden neurons, K outputs, k clusters. The inputs:

    W, b, A, c              (M,d), (M,), (K,M), (K,): the network F(x) = A ReLU(W x + b) + c
    x                       (n,d), samples
    y                       (n,), -1 or +1; in radius-argmax the class, from 0
    targets                 (n,), -1 or +1 where K = 1, else the class, from 0
    features                (k,d), the centres mu_j
    labels                  -1 or +1 for each cluster; in radius-group-* for each output
    cluster                 (n,), of each sample, from 0
    cotangent               (n,K), the v of E12
    direction               (n,d), of a ray from each sample, of any length
    delta                   (n,d), perturbations, to be projected onto the ball of radius epsilon
    radius                  (n,), in robust-accuracy
    epsilon, epsilons       scalar; (e,): budgets in l2
    learning_rate, steps    scalars, of gradient descent with all samples
    m                       scalar, neurons of each sign
    bias                    scalar, of every neuron of f_FD
    d, k, k_opposite        scalars: dimensions, all clusters, those of the other class
    n_positive, n_negative  scalars: clusters of each class; noise has standard deviation 1

The outputs:

    F                       (n,K)
    binary, multiclass      (n,) with m = 2; (n,2) with h = 2, from the same W
    loss, losses            scalar; (steps+1,), before each step and after the last
    dW, db                  (M,d), (M,): derivatives of the loss
    gradient                (n,d), of <v, F(x)> with respect to x
    W_end, b_end, A_end     (M,d), (M,), (K,M), after the steps
    coefficients            (n,M), C after the steps
    feature, noise          (M,k), (M,n), lambda and sigma; in increment-bounds theirs (k,), (n,)
    coefficient             scalar, the bound for C
    cosine                  (k,M)
    averaging, decoupled    f_FA (n,), f_FD (n,k); in centre-radii scalars: their radii, the second
                            under group_max; in robust-accuracy-laws (e,): P(radius > epsilon)
    group_max, group_sum    the same for f_FD under these decisions
    x_adv, projected        (n,d)
    t, radius               (n,), the smallest step; the robust radius; ties count as adversarial
    share                   (e,), of samples with radius > epsilon

No vectors: E1 and E7 are draws, E2 and E3 conditions on the data, E32 says how far a search got,
and E33 and E35 have a checker of their own, `refimpl.verify_certificate`. E34, E36, E39, E40, E41
and E42 serve the search, which may be done otherwise, and E37 and E38 need a norm and a box, which
no vector has.
"""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

import refimpl
from refimpl import _validation as check
from refimpl._files import output_directory, read_npz, write_json, write_npz
from refimpl.conformance.adapter import Discard
from refimpl.conformance.claims import OTHER
from refimpl.conformance.vector_bounds import DOUBLE, SINGLE
from refimpl.conformance.vector_cases import VECTORS, Vector
from refimpl.equations import EQUATIONS

SCHEMA = 2  # raise it when the manifest's form changes
VERSION = 2  # raise it when a value changes, and write tests/vectors anew
MANIFEST = "manifest.json"

_STATEMENTS = OTHER | {tag: equation.formula for tag, equation in EQUATIONS.items()}
_FIELDS = {
    "file": str,
    "equations": dict,
    "inputs": list,
    "outputs": list,
    "tolerance": dict,
    "tolerance_float32": dict,
    "count": int,
    "sha256": str,
}
_KINDS = {str: "a string", dict: "an object", list: "a list", int: "an integer", float: "a number"}

Arrays = dict[str, Any]


def write_vectors(directory: str | os.PathLike[str], *, count: int = 6) -> Path:
    """Write every vector and the manifest, whole or not at all, file by file; returns the folder.

    Parameters
    ----------
    directory : path
        Made if it is missing.
    count : int, at least 1
        Cases in each file.

    Raises
    ------
    ValueError
        count < 1.
    OSError
        The folder cannot be written to.
    """
    count = check.integer("count", count, minimum=1)
    folder = output_directory(directory)
    entries = [_write_one(folder, name, vector, count) for name, vector in VECTORS.items()]
    manifest = {"schema": SCHEMA, "version": VERSION, "package_version": refimpl.__version__}
    write_json(folder / MANIFEST, manifest | {"files": entries})
    return folder


def _write_one(folder: Path, name: str, vector: Vector, count: int) -> dict[str, Any]:
    cases = _draw(name, vector, count)
    arrays = {
        f"{i}.{key}": np.ascontiguousarray(value)  # rows first, scalars as (1,)
        for i, case in enumerate(cases)
        for key, value in (case | vector.outputs(**case)).items()
    }
    path = folder / f"{name}.npz"
    write_npz(path, **arrays)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"file": path.name, **_describe(vector, cases), "count": count, "sha256": digest}


def _draw(name: str, vector: Vector, count: int) -> list[Arrays]:
    """Draw cases that decide something in float32 too."""
    rng, cases = np.random.default_rng(sum(map(ord, name))), list[Arrays]()
    while len(cases) < count:
        case = vector.inputs(rng)
        with suppress(Discard):
            vector.bounds(SINGLE, **case)
            cases.append(case)
    return cases


def _describe(vector: Vector, cases: list[Arrays]) -> dict[str, Any]:
    """Return what the manifest says of these cases."""
    double, single = (_largest(vector, unit, cases) for unit in (DOUBLE, SINGLE))
    return {
        "equations": {tag: _STATEMENTS[tag] for tag in vector.equations.split()},
        "inputs": list(cases[0]),
        "outputs": list(double),
        "tolerance": double,
        "tolerance_float32": single,
    }


def _largest(vector: Vector, unit: float, cases: list[Arrays]) -> dict[str, float]:
    bounds = [vector.bounds(unit, **case) for case in cases]
    return {key: max(float(np.max(bound[key])) for bound in bounds) for key in bounds[0]}


def check_vectors(directory: str | os.PathLike[str]) -> list[str]:
    """Compare a folder of vectors with what this package computes from their inputs.

    Returns
    -------
    list of str
        One line for each output of a case that differs, with the entry that differs most, and one
        for each tolerance that is not within a factor of 2; empty when all agree.

    Raises
    ------
    ValueError
        The folder is not whole: no manifest, a malformed one, another schema or version, a file
        that is missing, changed, or without the arrays that the manifest names.
    """
    path = Path(directory) / MANIFEST
    differences = []
    for entry in _entries(path):
        vector = VECTORS[Path(entry["file"]).stem]
        arrays = _read(path, entry)
        cases = _cases(path, entry, vector, arrays)
        lines = [*_of_entry(path, entry, vector, cases), *_of_cases(entry, vector, cases, arrays)]
        differences += [f"{entry['file']}{line}" for line in lines]
    return differences


def _entries(path: Path) -> list[dict[str, Any]]:
    """Return the manifest's entries, well formed, one for each file that there should be."""
    try:
        manifest = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path.parent}: expected {MANIFEST}, got none") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: expected JSON, got {error}") from None
    for key, here in (("schema", SCHEMA), ("version", VERSION)):
        _demand_fields(path, "the manifest", manifest, {key: int})
        if manifest[key] != here:
            check.fail(str(path), f"{key} {here}", manifest[key])
    _demand_fields(path, "the manifest", manifest, {"files": list})
    entries: list[dict[str, Any]] = manifest["files"]
    for i, entry in enumerate(entries):
        _demand_fields(path, f"files[{i}]", entry, _FIELDS)
    names, known = [entry["file"] for entry in entries], {f"{name}.npz" for name in VECTORS}
    if missing := sorted(known - set(names)):
        check.fail(str(path), f"entries for {missing}", "none")
    if unknown := sorted(set(names) - known):
        check.fail(str(path), "files of this version", unknown)
    if len(names) > len(known):
        check.fail(str(path), f"{len(known)} entries", len(names))
    return entries


def _demand_fields(path: Path, what: str, value: Any, kinds: dict[str, type]) -> None:
    if type(value) is not dict:
        check.fail(str(path), f"{what} to be an object", reprlib.repr(value))
    for name, kind in kinds.items():
        if name not in value:
            check.fail(str(path), f"{what} to have {name!r}", "none")
        if type(value[name]) is not kind:
            got = reprlib.repr(value[name])
            check.fail(str(path), f"{name!r} of {what} to be {_KINDS[kind]}", got)


def _read(manifest: Path, entry: dict[str, Any]) -> Arrays:
    """Return the arrays of a file that is what its entry says."""
    path = manifest.with_name(entry["file"])
    if not path.is_file():
        check.fail(str(path), "a file", "none")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != entry["sha256"]:
        check.fail(str(path), f"SHA-256 {entry['sha256']}", digest)
    arrays, count = read_npz(path), check.integer(f"{manifest}: count", entry["count"], minimum=1)
    keys = [*entry["inputs"], *entry["outputs"]]
    if len(arrays) != count * len(keys):
        check.fail(str(path), f"{count} cases of {len(keys)} arrays", f"{len(arrays)} arrays")
    if odd := arrays.keys() ^ {f"{i}.{key}" for i in range(count) for key in keys}:
        check.fail(str(path), f"the arrays that {MANIFEST} names", sorted(odd))
    return arrays


def _cases(path: Path, entry: dict[str, Any], vector: Vector, arrays: Arrays) -> list[Arrays]:
    """Return the inputs of every case, scalars as numbers."""
    names = vector.inputs(np.random.default_rng(0))
    if entry["inputs"] != list(names):
        check.fail(str(path), f"inputs {list(names)} of {entry['file']}", entry["inputs"])
    return [
        {
            name: arrays[f"{i}.{name}"] if np.ndim(value) else arrays[f"{i}.{name}"].item()
            for name, value in names.items()
        }
        for i in range(entry["count"])
    ]


def _of_entry(
    path: Path, entry: dict[str, Any], vector: Vector, cases: list[Arrays]
) -> Iterator[str]:
    """Say how an entry differs from the one that would be written for these cases."""
    known = _describe(vector, cases)
    if entry["outputs"] != known["outputs"]:
        check.fail(str(path), f"outputs {known['outputs']} of {entry['file']}", entry["outputs"])
    if entry["equations"].keys() != known["equations"].keys():
        yield f": equations are {[*known['equations']]}, were {[*entry['equations']]}"
    for field in ("tolerance", "tolerance_float32"):
        what = f"{field!r} of {entry['file']}"
        _demand_fields(path, what, entry[field], dict.fromkeys(known["outputs"], float))
        for output, ours in known[field].items():
            # Tolerances of searches are differences of near radii, and round.
            if not ours / 2 <= (given := entry[field][output]) <= 2 * ours:
                yield f": {field} of {output} is {ours:.3g}, was {given:.3g}"


def _of_cases(
    entry: dict[str, Any], vector: Vector, cases: list[Arrays], arrays: Arrays
) -> Iterator[str]:
    """Name the outputs that are not within their tolerance."""
    tags = ", ".join(vector.equations.split())
    for i, case in enumerate(cases):
        for output, value in vector.outputs(**case).items():
            frozen, tolerance = arrays[f"{i}.{output}"], entry["tolerance"][output]
            if difference := _difference(frozen, np.ascontiguousarray(value), tolerance):
                yield f" case {i}: {output}{difference} ({tags})"


def _difference(frozen: Any, got: Any, tolerance: float) -> str:
    """Where two arrays differ most, "" if that is within the tolerance."""
    if frozen.shape != got.shape:
        return f" has shape {got.shape}, was {frozen.shape}"
    with np.errstate(invalid="ignore"):
        off = np.nan_to_num(np.where(frozen == got, 0.0, np.abs(frozen - got)), nan=np.inf)
    worst = np.unravel_index(int(off.argmax()), off.shape)
    if off[worst] <= tolerance:
        return ""
    where = list(map(int, worst))
    return f"{where} is {float(got[worst])!r}, was {float(frozen[worst])!r}, up to {tolerance:.3g}"
