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
    norm                    1 or inf, of distances and balls; where there is none it is that of l2
    box                     (2,d), lo and hi of the inputs, in projections of delta; may be inf
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
and E33 and E35 have a checker of their own, `refimpl.verify_certificate`. E34, E36, E38, E39, E40,
E41 and E42 serve the search, which may be done otherwise.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from refimpl import _validation
from refimpl.conformance.adapter import Discard
from refimpl.conformance.case import Case
from refimpl.conformance.claims import OTHER
from refimpl.conformance.vectors import files
from refimpl.conformance.vectors.bounds import DOUBLE, SINGLE
from refimpl.conformance.vectors.cases import VECTORS, Vector
from refimpl.conformance.vectors.files import MANIFEST, SCHEMA, VERSION, Arrays, Entry
from refimpl.equations import EQUATIONS

__all__ = ["MANIFEST", "SCHEMA", "VECTORS", "VERSION", "check_vectors", "write_vectors"]

_STATEMENTS = OTHER | {tag: equation.formula for tag, equation in EQUATIONS.items()}


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
    count = _validation.integer("count", count, minimum=1)
    contents = (_contents(name, vector, count) for name, vector in VECTORS.items())
    return files.write(directory, contents)


def _contents(name: str, vector: Vector, count: int) -> tuple[Entry, Arrays]:
    """Return the entry of a file, without its digest, and its arrays."""
    cases = _draw(name, vector, count)
    arrays = {
        f"{i}.{key}": np.ascontiguousarray(value)  # rows first, scalars as (1,)
        for i, case in enumerate(cases)
        for key, value in (case | vector.outputs(**case)).items()
    }
    return Entry(f"{name}.npz", **_describe(vector, cases), count=count), arrays


def _draw(name: str, vector: Vector, count: int) -> list[Case]:
    """Draw cases that decide something in float32 too."""
    rng, cases = np.random.default_rng(sum(map(ord, name))), list[Case]()
    while len(cases) < count:
        case = Case(vector.inputs(rng))
        with suppress(Discard):
            vector.bounds(SINGLE, case)
            cases.append(case)
    return cases


def _describe(vector: Vector, cases: list[Case]) -> dict[str, Any]:
    """Return what the manifest says of these cases."""
    double, single = (_largest(vector, unit, cases) for unit in (DOUBLE, SINGLE))
    return {
        "equations": {tag: _STATEMENTS[tag] for tag in vector.equations.split()},
        "inputs": list(cases[0]),
        "outputs": list(double),
        "tolerance": double,
        "tolerance_float32": single,
    }


def _largest(vector: Vector, unit: float, cases: list[Case]) -> dict[str, float]:
    bounds = [vector.bounds(unit, case) for case in cases]
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
    folder, differences = Path(directory), []
    for entry in files.read(folder, [f"{name}.npz" for name in VECTORS]):
        vector, arrays = VECTORS[Path(entry.file).stem], files.read_arrays(folder, entry)
        cases = _cases(folder, entry, vector, arrays)
        lines = [*_of_entry(folder, entry, vector, cases), *_of_cases(entry, vector, cases, arrays)]
        differences += [f"{entry.file}{line}" for line in lines]
    return differences


def _cases(folder: Path, entry: Entry, vector: Vector, arrays: Arrays) -> list[Case]:
    """Return the inputs of every case, scalars as numbers."""
    names = vector.inputs(np.random.default_rng(0))
    files.demand(folder, f"inputs {list(names)} of {entry.file}", entry.inputs, list(names))
    return [
        Case(
            (name, arrays[f"{i}.{name}"] if np.ndim(value) else arrays[f"{i}.{name}"].item())
            for name, value in names.items()
        )
        for i in range(entry.count)
    ]


def _of_entry(folder: Path, entry: Entry, vector: Vector, cases: list[Case]) -> Iterator[str]:
    """Say how an entry differs from the one that would be written for these cases."""
    known = Entry(entry.file, **_describe(vector, cases), count=len(cases))
    files.demand(folder, f"outputs {known.outputs} of {entry.file}", entry.outputs, known.outputs)
    if entry.equations.keys() != known.equations.keys():
        yield f": equations are {[*known.equations]}, were {[*entry.equations]}"
    for field in ("tolerance", "tolerance_float32"):
        ours, given = getattr(known, field), getattr(entry, field)
        kinds: dict[str, type] = dict.fromkeys(known.outputs, float)
        files.demand_fields(folder, f"{field!r} of {entry.file}", given, kinds)
        for output in known.outputs:
            # Tolerances of searches are differences of near radii, and round.
            if not ours[output] / 2 <= given[output] <= 2 * ours[output]:
                yield f": {field} of {output} is {ours[output]:.3g}, was {given[output]:.3g}"


def _of_cases(entry: Entry, vector: Vector, cases: list[Case], arrays: Arrays) -> Iterator[str]:
    """Name the outputs that are not within their tolerance."""
    tags = ", ".join(vector.equations.split())
    for i, case in enumerate(cases):
        for output, value in vector.outputs(**case).items():
            frozen, tolerance = arrays[f"{i}.{output}"], entry.tolerance[output]
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
