"""PyTorch modules run as they compute, with what every layer took and gave."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array


@dataclass(eq=False)
class Event:
    """One call of a layer: what it took and gave, and its weight and bias while it ran."""

    name: str
    layer: Any
    input: Any
    output: Any = None
    parameters: tuple[Any, Any] = (None, None)

    @property
    def leaf(self) -> bool:
        """Whether the layer has none inside."""
        return next(self.layer.children(), None) is None


@dataclass(eq=False)
class Run:
    """A module in eval mode, with the precision and the shape of one input in which it runs."""

    torch: Any
    module: Any
    dtype: Any
    device: Any
    shape: tuple[int, ...]
    heads: list[tuple[int, Callable[[Any], Any]]] = field(init=False)

    def __post_init__(self) -> None:
        self.heads = [  # what a module may do at its end, and the least K where that says anything
            (1, lambda logits: logits),
            (2, lambda logits: self.torch.softmax(logits, dim=1)),
            (2, lambda logits: self.torch.log_softmax(logits, dim=1)),
            (1, self.torch.sigmoid),
        ]

    @property
    def numpy_dtype(self) -> Any:
        """The precision, as NumPy names it."""
        return np.dtype(str(self.dtype).removeprefix("torch."))

    def __call__(self, rows: Array) -> Any:
        """Return the tensor that the module gives for rows x (n,d), shaped and rounded for it."""
        x = self.torch.tensor(rows, dtype=self.dtype, device=self.device)  # a copy, to be changed
        inputs = f"(n, {', '.join(map(str, self.shape))})"
        expected = f"one that runs on inputs of shape {inputs}, or example of another shape"
        with check.foreign("module", expected), evaluating(self.torch, self.module):
            outputs = self.module(x.reshape(len(rows), *self.shape))
        return self._dense(outputs)

    def events(self, names: tuple[str, ...]) -> list[Event]:
        """Record the calls of all layers, in the order in which they begin, at a few inputs.

        Weights are recorded for the layers with these names only.
        """
        events: list[Event] = []

        def before(name: str) -> Callable[..., None]:
            def hook(layer: Any, inputs: Any) -> None:
                events.append(Event(name, layer, self._copied(inputs[0] if inputs else None)))

            return hook

        def after(layer: Any, _: Any, output: Any) -> None:
            event = next(it for it in reversed(events) if it.layer is layer)
            event.output = self._copied(output)
            if event.name in names:
                event.parameters = parameters(self.torch, layer)

        with ExitStack() as hooks:
            for name, layer in self.module.named_modules():
                if isinstance(layer, self.torch.jit.ScriptModule):
                    continue  # takes no hooks: seen as a whole
                hooks.enter_context(_removed(layer.register_forward_pre_hook(before(name))))
                hooks.enter_context(_removed(layer.register_forward_hook(after)))
            self(_probe(self.shape))
        return events

    def logits(self, rows: Array, name: str | None) -> Array:
        """Return outputs (n,K) of the named layer or None, the module, from which its own follow.

        The module gives them as they are or their softmax, log-softmax or sigmoid, the same of
        these at every point; anything else is refused. Both come from the same logits by the same
        functions, up to the order of summation in a softmax: K + 16 roundings cover it.
        """
        seen: list[Any] = []
        with ExitStack() as hooks:
            if name is not None:
                layer = dict(self.module.named_modules())[name]
                hook = layer.register_forward_hook(lambda *call: seen.append(self._copied(call[2])))
                hooks.enter_context(_removed(hook))
            outputs = self(rows)
        logits = self._dense(seen[-1]) if seen else outputs
        if logits.numel() % len(rows):
            check.fail("module", "a tensor (n, K) of outputs", f"shape {tuple(logits.shape)}")
        logits = logits.reshape(len(rows), -1)
        self.heads = [
            (least, head)
            for least, head in self.heads
            if logits.shape[1] >= least and self._agree(head(logits), outputs)
        ]
        if not self.heads:
            layer_name = "the last layer" if name is None else f"{name!r}"
            expected = f"outputs of {layer_name}, or their softmax, log-softmax or sigmoid"
            largest = float(logits.abs().max())
            check.fail("module", expected, f"something else, at outputs of up to {largest:.3g}")
        return numbers(logits)

    def _agree(self, expected: Any, outputs: Any) -> bool:
        if outputs.numel() != expected.numel():
            return False
        finfo = self.torch.finfo(self.dtype)
        relative = (expected.shape[1] + 16) * finfo.eps
        same = self.torch.isclose(
            outputs.reshape(expected.shape), expected, rtol=relative, atol=finfo.tiny
        )
        return bool(same.all())

    def _dense(self, outputs: Any) -> Any:
        """Return a tensor of this precision, or raise for anything else."""
        dense = isinstance(outputs, self.torch.Tensor) and outputs.layout == self.torch.strided
        if not dense or outputs.dtype != self.dtype:
            parts = (getattr(outputs, name, None) for name in ("layout", "dtype"))
            got = ", ".join([type(outputs).__name__, *(str(it) for it in parts if it)])
            check.fail("module", f"a dense tensor of outputs in {self.dtype}", got)
        return outputs

    def _copied(self, value: Any) -> Any:
        return value.clone() if isinstance(value, self.torch.Tensor) else None


def runnable(torch: Any, module: Any, like: Any, shape: tuple[int, ...]) -> Run:
    """Return a run of a float64 copy, or else of the module in the precision of `like`.

    Raises
    ------
    ValueError
        Neither runs, or that precision is coarser than float32.
    """
    try:
        run = Run(torch, copied(torch, module).cpu().double(), torch.float64, "cpu", shape)
        run(_probe(shape))
        return run
    except Exception as error:  # whatever copying raises
        failure = error
    if like.dtype not in (torch.float32, torch.float64):
        expected = "one that runs as a float64 copy, or by itself in float32 or float64"
        got = f"{like.dtype}, too coarse to compare; the copy failed: {check.reason(failure)}"
        check.fail("module", expected, got)
    run = Run(torch, module, like.dtype, like.device, shape)
    run(_probe(shape))
    return run


@contextmanager
def evaluating(torch: Any, module: Any) -> Iterator[None]:
    """Eval mode without gradients; every layer's own mode comes back.

    It comes back by `train`, with which a layer may undo what it did to its weights.
    """
    mode = module.training
    with _flags_kept(module):
        with check.foreign("module", "one with an eval mode"):  # an exported module has none
            module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            with suppress(Exception):  # whatever a layer of others raises
                module.train(mode)


@contextmanager
def flagged(module: Any) -> Iterator[None]:
    """Set the flags of eval mode alone: a module may run where its copy holds on to it."""
    with _flags_kept(module):
        for layer in module.modules():
            layer.training = False
        yield


@contextmanager
def _flags_kept(module: Any) -> Iterator[None]:
    modes = [(layer, layer.training) for layer in module.modules()]
    try:
        yield
    finally:
        for layer, mode in modes:
            layer.training = mode


def copied(torch: Any, module: Any) -> Any:
    """Deep copy.

    Weights that a hook computes are tensors with a history, which PyTorch refuses to copy.
    """
    memo = {
        id(value): value.detach().clone()
        for layer in module.modules()
        for value in vars(layer).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    return copy.deepcopy(module, memo)


def parameters(torch: Any, layer: Any) -> tuple[Any, Any]:
    """Weight and bias of a layer as float64 arrays, None for what is no tensor."""
    values = (getattr(layer, name, None) for name in ("weight", "bias"))
    weight, bias = (numbers(it) if isinstance(it, torch.Tensor) else None for it in values)
    return weight, bias


def numbers(tensor: Any) -> Array:
    """Float64 array of a real tensor anywhere: every shorter floating-point type is exact."""
    return np.array(tensor.detach().to("cpu").double().numpy())


def _probe(shape: tuple[int, ...]) -> Array:
    """Rows of sizes from 1e-3 to 1e6; their number is no usual one of outputs."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((19, int(np.prod(shape))))
    return x * 10.0 ** np.linspace(-3, 6, len(x))[:, None]


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    try:
        yield
    finally:
        handle.remove()
