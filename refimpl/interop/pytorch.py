"""Networks from and for PyTorch, which is imported only to make a module."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from functools import partial
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl.interop._optional import framework
from refimpl.interop.comparison import compared
from refimpl.interop.layers import Layer, Normalisation
from refimpl.interop.torch_run import (
    Event,
    copied,
    evaluating,
    flagged,
    numbers,
    parameters,
    runnable,
)
from refimpl.network import TwoLayerReLU


def from_torch(
    module: Any, *, hidden: str | None = None, output: str | None = None, example: Any = None
) -> TwoLayerReLU:
    """Network of a PyTorch module that computes one: linear, ReLU, linear.

    The weights of its two linear layers are read as they are while the module runs: after hooks and
    parametrizations such as ``spectral_norm``, ``weight_norm`` and pruning. Then the module and the
    network are compared at points of many scales, and must agree within rounding. That decides, not
    the names of classes: flattening, dropout, identities, a functional relu, an own layer are right
    where they compute the same function.

    Parameters
    ----------
    module : torch.nn.Module
        Evaluated as ``module.eval()`` computes it, whatever mode it is in: dropout does nothing,
        and batch normalisation uses its running statistics. BatchNorm layers anywhere, and layers
        in front with a ``mean`` and a ``std`` (torchvision's Normalize), are folded in; radii are
        then in raw units. A final softmax, log-softmax or sigmoid, as a layer or functional, is
        passed over, which leaves the decision as it is: argmax, or for K = 1 the sign, where 0
        stands for the probability 1/2. What is compared are the outputs before it.
    hidden, output : str, optional
        Names of the two linear layers, as in ``module.named_modules()``; needed where there are
        more than two.
    example : tensor or array, optional
        An input, or a batch of inputs: its shape is that of the points. By default rows (n,d).

    Returns
    -------
    TwoLayerReLU
        b None where the hidden layer has no bias. It takes inputs flattened to rows in C order, as
        ``torch.nn.Flatten`` does: channel, row, column, the last axis fastest. bfloat16, half and
        float32 parameters are taken exactly.

    Raises
    ------
    ValueError
        Parameters without values (lazy, or on the device "meta"), no two linear layers, a module
        that does not run, or one that computes something else: the error says where the two
        differ, by how much, and which layers ran.

    Notes
    -----
    The module itself is left as it is: a deep copy runs, in float64 on the CPU. Where that fails,
    because it insists on its own precision, a copy runs in that precision, if its rounding still
    leaves something to compare: float32 does, bfloat16 does not. There what is smaller than that
    rounding cannot be seen, but a leak of slope 0.001 below zero must be. A module that cannot be
    copied runs itself, and has its modes of training back by its own ``train``.

    The network is the module's function of real numbers. Rounding is no part of it, neither that of
    the module's own precision nor that of a ``torch.autocast`` within its forward.

    Examples
    --------
    >>> from_torch([])
    Traceback (most recent call last):
    ValueError: module: expected a torch.nn.Module, got list
    """
    torch = sys.modules.get("torch")  # without it nothing is a module
    if torch is None or not isinstance(module, torch.nn.Module):
        check.fail("module", "a torch.nn.Module", type(module).__name__)
    _require_values(torch, module)
    original: Any = nullcontext()
    with suppress(Exception):  # whatever copying raises: then the module runs itself
        module, original = copied(torch, module), flagged(module)
    with original, evaluating(torch, module):
        pairs = _pairs(torch, module, hidden, output)
        return _first(pairs, lambda names: _read(torch, module, names, example))


def _first(ways: Sequence[Any], read: Callable[[Any], TwoLayerReLU]) -> TwoLayerReLU:
    """Return what is read in the first way in which it can be, or raise what the first raised."""
    failures = []
    for way in ways:
        try:
            return read(way)
        except ValueError as error:
            failures.append(error)
    raise failures[0]


def to_torch(net: TwoLayerReLU, *, dtype: Any = None) -> Any:
    """Return the network as ``torch.nn.Sequential(Linear, ReLU, Linear)``.

    Parameters
    ----------
    net : TwoLayerReLU
    dtype : torch.dtype, optional
        float64 by default, which is exact. Another one rounds the weights: the module is then
        another network, with radii of its own, that `from_torch` reads exactly.

    Returns
    -------
    torch.nn.Sequential
        On the CPU, without a hidden bias where b is None. PyTorch's random state is left alone.

    Raises
    ------
    ValueError
        No real floating-point dtype, or weights out of its range.
    ImportError
        PyTorch is not installed.

    Examples
    --------
    >>> net = refimpl.TwoLayerReLU([[1.0]], None, [[2.0]])  # doctest: +SKIP
    >>> foolbox.PyTorchModel(refimpl.interop.to_torch(net), bounds=(0, 1))  # doctest: +SKIP
    """
    check.instance("net", net, TwoLayerReLU)
    torch = framework("torch", "to_torch needs PyTorch: pip install torch")
    dtype = torch.float64 if dtype is None else dtype
    if not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        check.fail("dtype", "a floating-point torch.dtype", repr(dtype))
    hidden = _linear(torch, net.W, net.b, dtype)
    return torch.nn.Sequential(hidden, torch.nn.ReLU(), _linear(torch, net.A, net.c, dtype))


def _linear(torch: Any, weight: Array, bias: Array | None, dtype: Any) -> Any:
    rows, columns = weight.shape
    layer = torch.nn.utils.skip_init(
        torch.nn.Linear, columns, rows, bias=bias is not None, dtype=dtype, device="cpu"
    )
    with torch.no_grad():
        for parameter, values in zip(layer.parameters(), (weight, bias), strict=False):
            parameter.copy_(torch.tensor(values, device="cpu"))
            if not bool(torch.isfinite(parameter.double()).all()):
                check.fail("dtype", "a type whose range holds the weights", dtype)
    return layer


def _require_values(torch: Any, module: Any) -> None:
    """Refuse parameters that have no values yet."""
    for kind in (module.named_parameters, module.named_buffers):
        for name, tensor in kind():
            if torch.nn.parameter.is_lazy(tensor) or tensor.is_meta:
                where = "not initialised" if torch.nn.parameter.is_lazy(tensor) else "on 'meta'"
                check.fail("module", "tensors with values", f"{name}, which is {where}")


def _pairs(
    torch: Any, module: Any, hidden: str | None, output: str | None
) -> list[tuple[str, str]]:
    """Names of the hidden and the output layer, both ways round where the shapes leave it open."""
    linear = {
        name: tuple(layer.weight.shape)
        for name, layer in module.named_modules()
        if _is_linear(torch, layer)
    }
    for argument, name in (("hidden", hidden), ("output", output)):
        if name is not None and name not in linear:
            known = ", ".join(map(repr, linear)) or "none here"
            check.fail(argument, f"the name of a linear layer ({known})", repr(name))
    rest = [name for name in linear if name not in (hidden, output)]
    if hidden is None and output is None and len(rest) == 2:
        both = [(rest[0], rest[1]), (rest[1], rest[0])]
        return [(a, b) for a, b in both if linear[a][0] == linear[b][1]] or both[:1]
    if (hidden is None) != (output is None) and len(rest) == 1:
        return [(hidden or rest[0], output or rest[0])]
    if hidden is None or output is None:
        kinds = dict.fromkeys(_kind(it) for it in module.modules())
        found = f"{', '.join(map(repr, linear)) or 'none'} among {', '.join(kinds)}"
        check.fail("module", "two linear layers, or hidden and output to name them", found)
    return [(hidden, output)]


def _kind(layer: Any) -> str:
    """Name of a layer's class, with where it is defined unless it is PyTorch's plain one."""
    kind = type(layer)
    plain = kind.__module__.startswith("torch.nn.modules.")
    return kind.__name__ if plain else f"{kind.__module__}.{kind.__name__}"


def _is_linear(torch: Any, layer: Any) -> bool:
    weight = getattr(layer, "weight", None)
    return isinstance(weight, torch.Tensor) and weight.ndim == 2 and weight.is_floating_point()


def _read(torch: Any, module: Any, names: tuple[str, str], example: Any) -> TwoLayerReLU:
    """Read these two layers, at first with everything folded in that looks like a normalisation."""
    weight = dict(module.named_modules())[names[0]].weight
    run = runnable(torch, module, weight, _shape(example, int(weight.shape[1])))
    events = run.events(names)
    ran = ", ".join(f"{event.name} {_kind(event.layer)}" for event in events if event.leaf)
    candidates = [_folded(torch, run.module, events, names, by_name) for by_name in (True, False)]
    if candidates[0][0].roundings == candidates[1][0].roundings:
        del candidates[1]
    note = f" (layers that ran: {ran or 'none that can be seen'})"

    def read(candidate: tuple[Layer, Layer, str | None]) -> TwoLayerReLU:
        hidden, output, last = candidate
        original = partial(run.logits, name=last)
        return compared("module", hidden, output, original, dtype=run.numpy_dtype, note=note)

    return _first(candidates, read)


def _shape(example: Any, dim: int) -> tuple[int, ...]:
    """Shape of one input."""
    if example is None:
        return (dim,)
    shape = tuple(int(size) for size in getattr(example, "shape", ()))
    fitting = [it for it in (shape[1:], shape) if it and math.prod(it) == dim]
    if not fitting:
        check.fail("example", f"an array of {dim} numbers for each input", f"shape {shape}")
    return fitting[0]


def _folded(
    torch: Any, module: Any, events: list[Event], names: tuple[str, str], by_name: bool
) -> tuple[Layer, Layer, str | None]:
    """Return both layers, the normalisations that ran folded in, and whose outputs are F."""
    calls = [
        max((k for k, it in enumerate(events) if it.name == name), default=-1) for name in names
    ]
    hidden, output = (
        Layer.of(
            f"module.{name}",
            *(
                events[k].parameters
                if k >= 0
                else parameters(torch, dict(module.named_modules())[name])
            ),
        )
        for name, k in zip(names, calls, strict=True)
    )
    i, j = calls
    if min(calls) < 0:  # used without being called: there is nothing to see around it
        return hidden, output, None if j < 0 else names[1]
    for event in reversed(events[:i]):
        if (step := _normalisation(torch, event, by_name)) is not None:
            hidden = hidden.after(step)
    before_relu, after_relu = events[i].output, []
    for event in events[i + 1 : j]:
        if (step := _normalisation(torch, event, False)) is not None:
            if _same(torch, event.input, before_relu):
                hidden, before_relu = hidden.then(step), event.output
            else:
                after_relu.append(step)
    for step in reversed(after_relu):
        output = output.after(step)
    last = events[j]
    for event in events[j + 1 :]:
        step = _normalisation(torch, event, False)
        if step is not None and _same(torch, event.input, last.output):
            output, last = output.then(step), event
    return hidden, output, last.name


def _same(torch: Any, a: Any, b: Any) -> bool:
    return b is not None and a.dtype == b.dtype and bool(torch.equal(a, b))


def _normalisation(torch: Any, event: Event, by_name: bool) -> Normalisation | None:
    """Return what a BatchNorm, or else a layer with a mean and a std, does to flattened inputs."""
    layer = event.layer
    if event.input is None or event.input.ndim < 2:
        return None
    if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
        if layer.running_mean is None:  # takes the batch's own, as no network does
            return None
        std = np.sqrt(numbers(layer.running_var) + layer.eps)
        affine = [numbers(it) for it in (layer.weight, layer.bias) if it is not None]
        parts = [numbers(layer.running_mean), std, *affine]
    elif by_name and hasattr(layer, "mean") and hasattr(layer, "std"):
        parts = [layer.mean, layer.std]
    else:
        return None
    try:
        spread = [_spread(torch, part, tuple(event.input.shape[1:])) for part in parts]
    except (ValueError, TypeError):
        return None  # no normalisation after all: the comparison decides
    return Normalisation(*spread) if np.all(spread[1] != 0) else None


def _spread(torch: Any, values: Any, shape: tuple[int, ...]) -> Array:
    """Values for each channel (the first axis), or in the shape of the input, for every entry."""
    values = np.asarray(numbers(values) if isinstance(values, torch.Tensor) else values, np.float64)
    if values.ndim == len(shape) + 1 and values.shape[0] == 1:
        values = values[0]
    if values.ndim == 1 and values.size == shape[0]:
        values = values.reshape(-1, *[1] * (len(shape) - 1))
    return np.broadcast_to(values, shape).ravel()
