"""What an implementation is asked for: an adapter's methods, and calls that validate results."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from refimpl import _validation

SHAPES = {"W": "M d", "b": "M", "A": "K M", "c": "K", "x": "n d", "y": "n", "targets": "n"}
SHAPES |= {"cluster": "n", "features": "k d", "labels": "k", "cotangent": "n K", "delta": "n d"}
SHAPES |= {"direction": "n d", "radius": "n", "epsilons": "e", "box": "2 d"}


class Signature(NamedTuple):
    """Arguments of a method in order, and the shape of each result; "" is a scalar."""

    arguments: tuple[str, ...]
    results: tuple[str, ...]


def _signature(arguments: str, *results: str) -> Signature:
    return Signature(tuple(arguments.split()), results)


METHODS = {
    "sample": _signature("features labels noise_std n seed", "n d", "n", "n"),
    "outputs": _signature("W b A c x", "n K"),
    "predict": _signature("W b A c x", "n"),
    "loss": _signature("W b A c x targets", ""),
    "parameter_gradients": _signature("W b A c x targets", "M d", "M"),
    "input_gradient": _signature("W b A c x cotangent", "n d"),
    "step": _signature("W b A c x targets learning_rate", "M d", "M"),
    "train": _signature("W b A c x targets learning_rate steps", "M d", "M", "K M", "steps+1"),
    "decompose": _signature("W b A c x cluster features targets learning_rate steps", "M k", "M n"),
    "closed_form_attack": _signature("x y features labels epsilon", "n d"),
    "smallest_step": _signature("W b A c x y direction", "n"),
    "project": _signature("delta epsilon", "n d"),
    "pgd_attack": _signature("W b A c x y epsilon steps step_size seed", "n d"),
    "radius_bounds": _signature("W b A c x y", "n", "n"),
    "robust_accuracy": _signature("radius epsilons", "e"),
    "cosine_matrix": _signature("features W", "k M"),
}
REGION = ("norm", "box")  # that some methods may take besides, by name, for a norm and a box
IN_REGIONS = ("smallest_step", "project", "pgd_attack", "radius_bounds")
INTEGERS = ("y", "targets", "cluster", "labels")
INFINITE = ("smallest_step", "radius_bounds")  # whose results may be inf
OPTIONAL = ("radius_bounds",)  # whose results may each be None
_OVERFLOWED = ", as after an overflow or a division by 0"


def region(named: Mapping[str, Any]) -> dict[str, Any]:
    """Norm and box among arguments or in a case, those that are there."""
    return {name: named[name] for name in REGION if name in named}


class Adapter:
    """Connects an implementation to the claims: subclass it and define what you have.

    Set `name` and `dtype` ("float64" or "float32"), and define any of the methods below, with these
    arguments by position. Rows are samples: W (M,d), b (M,), A (K,M), c (K,), x (n,d). Floating
    arrays come in your dtype, labels y in {-1, +1} and class integers as int64, all of them through
    `to_native`; learning_rate, epsilon, noise_std and step_size are floats; n, steps and seed ints.
    A network without biases has b = 0. A method that is absent, or raises `NotImplementedError`,
    counts as not implemented.

    ::

        sample(features, labels, noise_std, n, seed) -> x (n,d), y (n,), cluster (n,)        # E1
        outputs(W, b, A, c, x) -> (n,K)                                                      # E4
        predict(W, b, A, c, x) -> (n,)       # sign for K = 1, 0 at a tie; argmax, lowest at a tie
        loss(W, b, A, c, x, targets) -> scalar         # E8: K = 1, targets +-1; E10: K > 1, classes
        parameter_gradients(W, b, A, c, x, targets) -> dL/dW (M,d), dL/db (M,)              # E11
        input_gradient(W, b, A, c, x, cotangent (n,K)) -> (n,d)                             # E12
        step(W, b, A, c, x, targets, learning_rate) -> W, b                                 # E13
        train(W, b, A, c, x, targets, learning_rate, steps) -> W, b, A, losses (steps+1,)
        decompose(W, b, A, c, x, cluster, features, targets, learning_rate, steps)
            -> feature (M,k), noise (M,n)                     # E15, after these steps of E13
        closed_form_attack(x, y, features, labels, epsilon) -> (n,d)                        # E26
        smallest_step(W, b, A, c, x, y, direction (n,d)) -> (n,)     # E27, K = 1, default ties
        project(delta (n,d), epsilon) -> (n,d)                      # onto the l2 ball, row by row
        pgd_attack(W, b, A, c, x, y, epsilon, steps, step_size, seed) -> (n,d)            # K = 1
        radius_bounds(W, b, A, c, x, y) -> lower (n,), upper (n,)   # E29, K = 1; each may be None
        robust_accuracy(radius (n,), epsilons (e,)) -> (e,)         # share with radius > epsilon
        cosine_matrix(features, W) -> (k,M)                         # the paper's Figure 2

    smallest_step, project, pgd_attack and radius_bounds may take ``norm=2`` and ``box=None``
    besides, or one of them. Claims on norms and boxes are asked of those that do, and pass them by
    name: norm is 1, 2 or numpy.inf (for project and pgd_attack 2 or numpy.inf), and box (2,d) has
    lo and hi, infinities allowed, of inputs lo <= x' <= hi; for project of delta itself.
    """

    name = "unnamed"
    dtype: Any = "float64"

    def to_native(self, array: NDArray[Any]) -> Any:
        """Convert a NumPy array to what your functions take; by default it stays as it is."""
        return array

    def to_numpy(self, value: Any) -> Any:
        """Convert one result to a NumPy array; by default `numpy.asarray`."""
        return np.asarray(value)


class Mismatch(AssertionError):  # noqa: N818 - what a claim found, not an error of the program
    """A result that differs from what the claim says."""

    def __init__(
        self,
        message: str,
        expected: Any = None,
        got: Any = None,
        ratio: float = np.inf,
        row: int | None = None,
    ):
        super().__init__(message)
        self.expected, self.got, self.ratio, self.row = expected, got, ratio, row


class Discard(Exception):  # noqa: N818 - control flow, like StopIteration
    """The input cannot decide the claim: the bound on rounding is void there."""


def discard_if(condition: Any) -> None:
    """Leave this input out, and count it."""
    if condition:
        raise Discard


class Probe:
    """An adapter as the claims see it: NumPy in, validated float64 out, the last call remembered.

    It has the methods of the adapter. Their arguments come by position, or by name out of a case:
    what the method does not take is then left aside, but for a norm and a box.

    >>> class Mine(Adapter):
    ...     def project(self, delta, epsilon):
    ...         return delta
    >>> Probe(Mine()).project([[3.0, 4.0]], 1.0).tolist()
    [[3.0, 4.0]]
    """

    def __init__(self, adapter: Adapter, dtype: Any = None) -> None:
        self.adapter = adapter
        self.dtype = floating_type(adapter.dtype if dtype is None else dtype)
        # Both sides round: the candidate in its dtype, the oracle in float64.
        self.unit = float(np.finfo(self.dtype).eps + np.finfo(np.float64).eps) / 2
        self.ratio = 0.0
        self.last_call: tuple[str, Mapping[str, Any]] | None = None
        self.changed = ""  # what a call did to its own arguments

    def has(self, method: str) -> bool:
        """Whether the adapter defines this method."""
        return callable(getattr(self.adapter, method, None))

    def takes(self, method: str, option: str) -> bool:
        """Whether the adapter's method has an argument of this name."""
        try:
            return option in inspect.signature(getattr(self.adapter, method)).parameters
        except ValueError:  # of a function in C without one
            return False

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method not in METHODS:
            raise AttributeError(method)
        return partial(self._call, method)

    def _call(self, method: str, /, *arguments: Any, **named: Any) -> Any:
        names, results = METHODS[method]
        named |= dict(zip(names[: len(arguments)], arguments, strict=True))
        call = {name: named[name] for name in names}
        if method in IN_REGIONS:
            call |= region(named)
        self.last_call = method, call
        if not self.has(method):
            raise NotImplementedError(method)
        values = {
            name: np.asarray(value, np.int64 if name in INTEGERS else self.dtype)
            if name in SHAPES
            else value
            for name, value in call.items()
        }
        copies = {name: value.copy() for name, value in values.items() if name in SHAPES}
        native = {
            name: self.adapter.to_native(copies[name]) if name in copies else value
            for name, value in values.items()
        }
        options = {name: native.pop(name) for name in REGION if name in native}
        returned = getattr(self.adapter, method)(*native.values(), **options)
        if changed := [
            name for name, it in copies.items() if it.tobytes() != values[name].tobytes()
        ]:
            self.changed = f"{method} changed {' and '.join(changed)} in place"
        if len(results) == 1:
            return self._result(method, returned, 0, values)
        if not isinstance(returned, (tuple, list)) or len(returned) != len(results):
            raise Mismatch(f"{method} returned {_describe(returned)}, not {len(results)} results")
        return tuple(
            None
            if value is None and method in OPTIONAL
            else self._result(method, value, part, values)
            for part, value in enumerate(returned)
        )

    def _result(self, method: str, value: Any, part: int, values: dict[str, Any]) -> Any:
        """Part of what a method returned, as float64: it has the right type, shape and entries."""
        results = METHODS[method].results
        said = f"{method} returned" + (f" as result {part + 1}" if len(results) > 1 else "")
        array = np.asarray(self.adapter.to_numpy(value))
        if array.dtype.kind not in "iuf":
            raise Mismatch(f"{said} {_describe(value)}, not real numbers", got=value)
        expected = tuple(_sizes(values)[dimension] for dimension in results[part].split())
        if array.shape != expected:
            raise Mismatch(f"{said} shape {array.shape}, not {expected}", got=array)
        if array.dtype.kind == "f" and np.finfo(array.dtype).eps > np.finfo(self.dtype).eps:
            raise Mismatch(f"{said} {array.dtype}, although dtype is {self.dtype}", got=array)
        array = array.astype(np.float64)
        bad = np.isnan(array) if method in INFINITE else ~np.isfinite(array)
        if bad.any():
            seen = f"{said} {array[bad][0]}{_OVERFLOWED}{self._aside}"
            raise Mismatch(seen, got=array, row=_first_row(bad))
        return array

    @property
    def _aside(self) -> str:
        return f"; {self.changed}" if self.changed else ""

    def agree(self, what: str, got: ArrayLike, expected: ArrayLike, bound: ArrayLike) -> None:
        """Demand |got - expected| <= bound entry by entry, and remember the largest ratio."""
        got, expected = np.asarray(got, float), np.asarray(expected, float)
        with np.errstate(invalid="ignore"):
            error = np.where(got == expected, 0.0, np.abs(got - expected))
        self.within(what, error, bound, expected, got)

    def within(
        self, what: str, error: ArrayLike, bound: ArrayLike, expected: Any = None, got: Any = None
    ) -> None:
        """Demand error <= bound entry by entry, both at least 0."""
        error, bound = np.broadcast_arrays(np.asarray(error, float), np.asarray(bound, float))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = np.where(error == 0, 0.0, error / bound)
        worst = float(ratio.max(initial=0.0))
        self.ratio = max(self.ratio, worst)
        if not worst <= 1:
            where = tuple(int(i) for i in np.unravel_index(int(np.argmax(ratio)), ratio.shape))
            at = f" at {list(where)}" if where else ""
            raise Mismatch(
                f"{what}{at} is off by {error[where]:.3g}, bound {bound[where]:.3g}{self._aside}",
                error if expected is None else expected,
                error if got is None else got,
                worst,
                where[0] if where else None,
            )

    def demand(self, what: str, holds: Any, expected: Any = None, got: Any = None) -> None:
        """Demand a condition that rounding has no part in, of `what`, which came out as `got`.

        `expected` is a value, or words such as "at most 0". The finding says what was seen: the
        first entry where the condition fails, and how many there are.
        """
        holds = np.asarray(holds)
        if holds.all():
            return
        where = tuple(int(i) for i in np.argwhere(~holds)[0])
        at = f" in row {where[0]}" if len(where) == 1 else f" at {list(where)}" if where else ""
        seen, wanted = _entry(got, where, holds.shape), _entry(expected, where, holds.shape)
        count = f" ({np.sum(~holds)} of {holds.size} fail)" if where else ""
        message = f"{what}{at} is {seen}, not {wanted}{count}{self._aside}"
        raise Mismatch(message, expected, got, row=where[0] if where else None)


def floating_type(dtype: Any) -> Any:
    """Return float32 or float64 as NumPy's; takes the names and the dtypes of other frameworks."""
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
    name = name.rsplit(".", 1)[-1]
    return np.dtype(_validation.choice("dtype", name, ("float32", "float64")))


def _sizes(values: dict[str, Any]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            sizes |= dict(zip(SHAPES[name].split(), value.shape, strict=True))
    counts = {name: values[name] for name in ("n", "steps") if name in values}
    return sizes | counts | {"steps+1": counts.get("steps", 0) + 1}


def _first_row(bad: Any) -> int | None:
    return int(np.argwhere(bad)[0][0]) if np.ndim(bad) else None


def _entry(values: Any, where: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Say the entry of values that have the shape, or a shape that begins like it; else all."""
    if isinstance(values, str):
        return values
    array = np.asarray(values)
    entry = array[where] if array.shape[: len(shape)] == shape else array
    return str(entry.item()) if entry.size == 1 else str(entry.tolist())


def _describe(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:80]!r}"
