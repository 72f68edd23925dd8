"""Sweeps: both networks trained, and exact radii taken, at every point of a grid.

Results stream to a file of JSON lines as they come. The first line says which grid and version the
rest belongs to; each other line is one point with its result or its error, written whole. A run on
the same file takes up where the last one stopped.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import refimpl
from refimpl import _validation as check
from refimpl._progress import Progress
from refimpl.experiments import sweep_point
from refimpl.setting import Setting, checked, options

FORMAT = 1
Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Outcome:
    """A point of a sweep, and its result (see `sweep_point.measure`) or its error."""

    point: Setting
    result: dict[str, Any] | None
    error: str | None


def sweep(
    grid: Grid | Sequence[Grid],
    path: str | os.PathLike[str],
    *,
    executor: Executor | None = None,
    progress: bool = False,
) -> list[Outcome]:
    """Measure every point of a grid that the file does not have yet.

    Parameters
    ----------
    grid : mapping, or sequence of mappings
        Values of any fields of `Setting`, by their names in files, of which all combinations are
        taken; the fields that are left out keep the paper's values. Several mappings: the points of
        all of them.
    path : path
        File of the results, made if it is missing.
    executor : concurrent.futures.Executor, optional
        Runs the points: a process pool, Dask's ``client.get_executor()``, ``mpi4py.futures``. The
        results are the same; only the order of the lines in the file depends on it.
    progress : bool
        Count points on standard error.

    Returns
    -------
    list of Outcome
        All points of the grid in its order, those of earlier runs included. A point that failed has
        its error, and is not tried again.

    Raises
    ------
    ValueError
        A grid with unknown fields, impossible points or none, or a file of another grid or version.
    OSError
        The file cannot be read or written.

    Examples
    --------
    >>> import tempfile
    >>> grid = {"d": [40, 80], "k": [2], "n": [20], "m": [1], "test": [5], "step": [0.02]}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     outcomes = sweep(grid, f"{folder}/sweep.jsonl")
    >>> [outcome.point.d for outcome in outcomes]
    [40, 80]
    """
    wanted = points(grid)
    path = Path(path)
    header = {"refimpl_sweep": FORMAT, "version": refimpl.__version__, "grid": _normal(grid)}
    done = _resume(path, header)
    missing = [point for point in wanted if point not in done]
    with (
        path.open("ab", buffering=0) as file,
        Progress("sweep, points", len(wanted), enabled=progress) as counter,
    ):
        counter.advance(len(wanted) - len(missing))
        for line in _outcomes(missing, executor):
            file.write(_line(line))
            counter.advance()
    return read(path)


def read(path: str | os.PathLike[str]) -> list[Outcome]:
    """Outcomes in a file, in the order of its grid whatever order they were written in."""
    header, lines = _parse(Path(path))
    found = {line["point"]: line for line in reversed(lines)}
    return [
        Outcome(point, found[point].get("result"), found[point].get("error"))
        for point in points(header["grid"])
        if point in found
    ]


def points(grid: Grid | Sequence[Grid]) -> list[Setting]:
    """All points of a grid, each once, the last field of `Setting` varying fastest.

    >>> [(point.k, point.seed) for point in points({"seed": [0, 1], "k": [4, 6]})]
    [(4, 0), (4, 1), (6, 0), (6, 1)]
    """
    found: dict[Setting, None] = {}
    for one in _normal(grid):
        for values in itertools.product(*one.values()):
            with check.about("grid"):
                found[Setting.from_json(dict(zip(one, values, strict=True)))] = None
    if not found:
        check.fail("grid", "at least one point", "none")
    return list(found)


def _normal(grid: Grid | Sequence[Grid]) -> list[dict[str, list[Any]]]:
    """Values of every field of `Setting`, in its order and types, for each of the mappings."""
    grids: Sequence[Any] = [grid] if isinstance(grid, Mapping) else list(grid)
    axes = options(Setting)
    for one in grids:
        if not isinstance(one, Mapping) or not set(one) <= set(axes):
            check.fail("grid", f"values of {', '.join(axes)}", one)
        for name, values in one.items():
            if isinstance(values, str) or not isinstance(values, Iterable):
                check.fail(f"grid: {name}", "a list of values", values)
    with check.about("grid"):
        return [
            {
                name: [checked(axis, value) for value in one.get(name, [axis.default])]
                for name, axis in axes.items()
            }
            for one in grids
        ]


def _outcomes(missing: Sequence[Setting], executor: Executor | None) -> Iterator[dict[str, Any]]:
    """Measure points, and yield their lines as they are finished."""
    if executor is None:
        yield from map(_attempt, missing)
        return
    futures = {executor.submit(_attempt, point): point for point in missing}
    try:
        for future in as_completed(futures):
            error = future.exception()
            if error is None:
                yield future.result()
            elif isinstance(error, BrokenExecutor):  # the workers are gone, not the point at fault
                raise error
            else:
                yield _failed(futures[future], error)
    finally:
        for future in futures:
            future.cancel()


def _attempt(point: Setting) -> dict[str, Any]:
    """Measure a point; whatever it raises is its result, so that the others go on."""
    try:
        return {"point": point.as_json(), "result": sweep_point.measure(point)}
    except Exception as error:
        return _failed(point, error)


def _failed(point: Setting, error: BaseException) -> dict[str, Any]:
    return {"point": point.as_json(), "error": f"{type(error).__name__}: {error}"}


def _resume(path: Path, header: dict[str, Any]) -> set[Setting]:
    """Points that the file has, without a line that was cut off; start a file if missing."""
    if not path.exists() or not path.stat().st_size:
        path.write_bytes(_line(header))
        return set()
    _drop_partial_line(path)
    found, lines = _parse(path)
    for name, wanted in header.items():
        if found[name] != wanted:
            fits = "of this grid" if name == "grid" else f"with {name} {wanted}"
            got = "those of another grid" if name == "grid" else found[name]
            check.fail(str(path), f"results {fits}, or no file", got)
    return {line["point"] for line in lines}


def _drop_partial_line(path: Path) -> None:
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole and whole < len(content):
        os.truncate(path, whole)


def _parse(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Header and whole lines of a file, their points as settings."""
    try:
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        first, *rest = whole.splitlines() or [b""]
        header = _object(1, first, {"refimpl_sweep", "version", "grid"})
        lines = [_object(number, line, {"point"}) for number, line in enumerate(rest, 2)]
        lines = [{**line, "point": Setting.from_json(line["point"])} for line in lines]
    except ValueError as error:
        check.fail(str(path), "the results of a sweep", str(error))
    return header, lines


def _object(number: int, line: bytes, keys: set[str]) -> dict[str, Any]:
    """Read a line of JSON that has these keys; the error names its number.

    >>> _object(7, b'{"point": 1}', {"point"})
    {'point': 1}
    """
    try:
        value = json.loads(line)
    except ValueError:  # no text, or no JSON
        raise ValueError(f"line {number}, which is no JSON") from None
    if not (isinstance(value, dict) and keys <= value.keys()):
        raise ValueError(f"line {number} without {', '.join(sorted(keys))}")
    return value


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, allow_nan=False).encode() + b"\n"
