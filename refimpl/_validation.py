"""Checks of arguments, all in one style: ``name: expected ..., got ...``.

Every function returns the value in the form that the mathematics uses (float64 or int64, exactly
converted) or raises `ValueError`. Nothing is clipped, cast with loss or guessed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from refimpl._arrays import Array, IntArray


def fail(name: str, expected: str, got: object) -> NoReturn:
    """Raise the one error that bad input gets."""
    raise ValueError(f"{name}: expected {expected}, got {got}")


def reason(error: BaseException) -> str:
    """Say in one line what an error of other code says.

    >>> reason(KeyError("a"))
    "KeyError: 'a'"
    """
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


@contextmanager
def foreign(name: object, expected: str) -> Iterator[None]:
    """Turn whatever other code raises into the one error that bad input gets.

    >>> with foreign("net.onnx", "a model"):
    ...     {}["graph"]
    Traceback (most recent call last):
    ...
    ValueError: net.onnx: expected a model, got KeyError: 'graph'
    """
    try:
        yield
    except Exception as error:
        raise ValueError(f"{name}: expected {expected}, got {reason(error)}") from error


@contextmanager
def about(what: object) -> Iterator[None]:
    """Say in an error what it is about: a file, or the argument that a bad value is part of.

    >>> with about("grid"):
    ...     integer("d", 0, minimum=1)
    Traceback (most recent call last):
    ...
    ValueError: grid: d: expected an integer of at least 1, got 0
    """
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def real_array(name: str, value: Any, shape: tuple[int | str, ...]) -> Array:
    """Finite float64 array of the given shape, equal to `value` exactly.

    A string in `shape` names a free dimension of at least one entry, an int fixes it.
    """
    array = _numeric(name, value)
    if array.ndim != len(shape) or any(
        got == 0 if isinstance(want, str) else got != want
        for got, want in zip(array.shape, shape, strict=True)
    ):
        got = f"shape {array.shape}" + _flattening(name, array.shape, shape)
        fail(name, _shaped(array.shape, shape), got)
    result = array if array.dtype == np.float64 else _converted(name, array)
    if not _all_finite(result):
        bad = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        fail(name, "finite numbers", f"{result[bad]} at {bad}" if bad else result)
    return result


def _shaped(got: tuple[int, ...], wanted: tuple[int | str, ...]) -> str:
    """Name what is expected; of an empty array also that it must not be empty."""
    comma = "," if len(wanted) == 1 else ""
    expected = f"real numbers of shape ({', '.join(map(str, wanted))}{comma})"
    free = [size for size in wanted if isinstance(size, str)]
    if len(got) == len(wanted) and 0 in got and free:
        expected += f", {' and '.join(free)} at least 1"
    return expected


def _converted(name: str, array: NDArray[Any]) -> Array:
    with np.errstate(over="ignore"):  # a long double out of range is refused right below
        result = array.astype(np.float64, copy=False)
    if not _same(array, result):
        fail(name, "numbers that float64 holds exactly", f"{array.dtype} that it does not")
    return result


def _flattening(name: str, got: tuple[int, ...], wanted: tuple[int | str, ...]) -> str:
    """Say how images become the rows that are wanted; in which order, only their user knows."""
    if len(wanted) != 2 or len(got) < 3:
        return ""
    advice = (
        f"; flatten images to rows in the order of axes that the network was trained with: "
        f"{name}.reshape(len({name}), -1) for channel, row, column as they are"
    )
    if len(got) == 4:
        advice += f", {name}.transpose(0, 3, 1, 2).reshape(len({name}), -1) for channels last"
    return advice


def extended_array(name: str, value: Any, shape: tuple[int | str, ...]) -> Array:
    """Like `real_array`, where inf is a number like any other (-inf is not)."""
    array = _numeric(name, value)
    infinite = array == math.inf
    finite = real_array(name, np.where(infinite, np.zeros_like(array), array), shape)
    return np.where(infinite, math.inf, finite)


def _same(array: NDArray[Any], result: Array) -> bool:
    """Whether a conversion to float64 changed no entry; only long types can lose any."""
    if array.dtype.itemsize < 8:
        return True
    if array.dtype.kind == "f":
        return np.array_equal(result.astype(array.dtype), array, equal_nan=True)
    large = np.abs(result) >= 2.0**53  # compared as Python ints: casting back may overflow
    return all(int(a) == int(r) for a, r in zip(array[large], result[large], strict=True))


def _all_finite(array: Array) -> bool:
    flat = array.ravel()
    with np.errstate(over="ignore"):
        squares = float(np.dot(flat, flat))
    # A finite dot product proves every entry finite in one pass, and an overflow is looked into.
    return math.isfinite(squares) or bool(np.isfinite(flat).all())


def _numeric(name: str, value: Any) -> NDArray[Any]:
    parts = value if isinstance(value, (list, tuple)) else [value]
    if any(isinstance(part, np.ma.MaskedArray) and np.ma.is_masked(part) for part in parts):
        fail(name, "numbers without a mask", "a masked array, in which some are masked")
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists; tensors with gradients
        fail(name, "an array of real numbers", f"{type(value).__name__} ({error})")
    if array.dtype.kind not in "iuf":
        fail(name, "an array of real numbers", f"dtype {array.dtype}")
    return array


def real(name: str, value: Any, *, positive: bool = False, minimum: float = -math.inf) -> float:
    """Finite float, above 0 if `positive`, else at least `minimum`."""
    number = float(real_array(name, value, ()))
    if positive and not number > 0:
        fail(name, "a positive number", number)
    if number < minimum:
        fail(name, f"a number of at least {minimum:g}", number)
    return number


def integer(name: str, value: Any, *, minimum: int) -> int:
    """Int (NumPy's included, bool not) of at least `minimum`."""
    if isinstance(value, (bool, np.bool_)):
        fail(name, "an integer", value)
    try:
        number = operator.index(value)
    except TypeError:
        fail(name, "an integer", repr(value))
    if number < minimum:
        fail(name, f"an integer of at least {minimum}", number)
    return number


def signs(name: str, value: Any, n: int | str, of: str = "") -> IntArray:
    """Labels in {-1, +1}, as int64 of shape (n,); the error says ``of`` what, if that is given."""
    labels = real_array(name, value, (n,))
    if not np.all(np.abs(labels) == 1):
        fail(name, f"labels in {{-1, +1}}{of}", f"{labels[np.abs(labels) != 1][0]:g}")
    return labels.astype(np.int64)


def classes(name: str, value: Any, n: int, n_classes: int) -> IntArray:
    """Class integers 0 .. n_classes - 1, as int64 of shape (n,)."""
    labels = real_array(name, value, (n,))
    bad = (labels != np.floor(labels)) | (labels < 0) | (labels >= n_classes)
    if bad.any():
        fail(name, f"class integers from 0 to {n_classes - 1}", f"{labels[bad][0]:g}")
    return labels.astype(np.int64)


def choice(name: str, value: Any, options: tuple[str, ...]) -> str:
    """One of the given strings."""
    if not (isinstance(value, str) and value in options):
        fail(name, " or ".join(map(repr, options)), repr(value))
    return value


def instance(name: str, value: Any, kind: type) -> None:
    """Refuse what is no object of the class."""
    if not isinstance(value, kind):
        fail(name, f"a {kind.__name__}", type(value).__name__)


def per_row(name: str, value: Any, n: int, row: tuple[int, ...] = ()) -> Array:
    """Array of shape (n, *row), from a value of shape `row` for all rows or one for each."""
    each = dimensions(value) > len(row)
    return np.broadcast_to(real_array(name, value, (n, *row) if each else row), (n, *row))


def dimensions(value: Any) -> int:
    """Count the dimensions; those of a ragged list, which `real_array` refuses by name, are -1."""
    try:
        return np.ndim(value)
    except ValueError:
        return -1


def representable(name: str, of: str, array: Array) -> None:
    """Refuse an argument of which something overflows."""
    if not _all_finite(array):
        fail(name, f"values of which float64 holds {of}", "an overflow")


def check_norm(norm: Any) -> float:
    """Return the p of an l_p norm, 1.0, 2.0 or inf, as `numpy.linalg.norm` takes it."""
    known = isinstance(norm, (int, float, np.integer, np.floating)) and not isinstance(norm, bool)
    if not (known and norm in (1, 2, math.inf)):
        fail("norm", "1, 2 or numpy.inf", repr(norm))
    return float(norm)


def check_box(box: Any, x: Array) -> tuple[Array, Array] | None:
    """Limits lo and hi (d,) of lo <= x' <= hi, infinities allowed, that hold the rows of x (n,d).

    None where there is no box.
    """
    if box is None:
        return None
    try:
        lo, hi = box
    except (TypeError, ValueError):
        fail("box", "a pair (lo, hi)", repr(box))
    lo, hi = (_limit("box", side, x.shape[1]) for side in (lo, hi))
    for j in np.flatnonzero(lo > hi)[:1]:
        fail("box", "no lo above its hi", f"{lo[j]:g} above {hi[j]:g} in coordinate {j}")
    for i, j in np.argwhere((x < lo) | (x > hi))[:1]:
        fail("x", "samples in the box", f"{x[i, j]} at ({i}, {j}), not in [{lo[j]}, {hi[j]}]")
    return lo, hi


def _limit(name: str, value: Any, d: int) -> Array:
    """One side of a box, (d,), from a number or an array."""
    limits = _numeric(name, value)
    infinite = np.isinf(limits)
    finite = np.where(infinite, np.zeros_like(limits), limits) if infinite.any() else limits
    finite = real_array(name, finite, (d,)[: limits.ndim])
    return np.where(infinite, limits, np.broadcast_to(finite, (d,))).astype(np.float64)


def generator(rng: Any) -> np.random.Generator:
    """Return the generator itself, or a new one from a non-negative int seed (SPEC 7)."""
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, np.random.SeedSequence):
        return np.random.default_rng(rng)
    try:
        return np.random.default_rng(integer("rng", rng, minimum=0))
    except ValueError:
        fail("rng", "a non-negative int seed or a numpy.random.Generator", repr(rng))


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only copy, so that an object of the paper cannot change under its user."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy
