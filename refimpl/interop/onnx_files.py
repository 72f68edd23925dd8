"""Networks from and for ONNX files: the door for Keras, JAX, MATLAB, and for verifiers.

Needs the package onnx, the extra ``onnx`` of this package.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl._extras import install
from refimpl._files import atomic_write
from refimpl.interop._optional import framework
from refimpl.interop.comparison import compared
from refimpl.interop.layers import Layer
from refimpl.network import TwoLayerReLU

_FLOATS = (1, 10, 11, 16)  # float, float16, double, bfloat16 in onnx.proto
_HEADS = ("Softmax", "LogSoftmax", "Sigmoid")
_NEXT = {  # operators that may follow what has been computed so far, and what they lead to
    "the input": {"Flatten": "the input", "Reshape": "the input"}
    | dict.fromkeys(("Gemm", "MatMul"), "the first layer"),
    "the first layer": {"Add": "the first layer", "Relu": "Relu"},
    "Relu": dict.fromkeys(("Gemm", "MatMul"), "the second layer"),
    "the second layer": {"Add": "the second layer"} | dict.fromkeys(_HEADS, "the last function"),
    "the last function": {},
}


def from_onnx(path: str | os.PathLike[str]) -> TwoLayerReLU:
    """Network of an ONNX file: Gemm (or MatMul and Add), Relu, Gemm.

    Flatten or Reshape may come before it, Identity anywhere. The model and the network are compared
    at points of many scales, with ONNX's own reference evaluator in float64.

    Parameters
    ----------
    path : path-like
        A model with one input, whose first axis is the batch (of any size, or fixed), and one
        output. A final Softmax or LogSoftmax over the last axis, or Sigmoid, is passed over, which
        leaves the decision as it is: argmax, or for K = 1 the sign, where 0 stands for the
        probability 1/2.

    Returns
    -------
    TwoLayerReLU
        b None where the first layer has no bias. It takes inputs flattened to rows in C order.
        Weights of every floating-point type are taken exactly; alpha and beta of Gemm are applied.

    Raises
    ------
    ValueError
        No valid model, an operator that does not fit, by its name, or one that computes something
        else than expected: the error has the point and the difference.
    OSError
        The file is missing or unreadable.
    ImportError
        The package onnx is not installed.

    Examples
    --------
    >>> net = refimpl.interop.from_onnx("model.onnx")  # doctest: +SKIP
    """
    onnx = framework("onnx", f"from_onnx needs onnx: {install('onnx')}")
    name = str(path)
    model = _float64(onnx, _loaded(onnx, path), name)
    hidden, output, logits = _chain(onnx, model, name)
    return compared(name, hidden, output, _evaluator(onnx, model, logits, hidden, name))


def to_onnx(net: TwoLayerReLU, path: str | os.PathLike[str]) -> None:
    """Write the network as an ONNX model in float64: Gemm, Relu, Gemm. `from_onnx` reads it back.

    Parameters
    ----------
    net : TwoLayerReLU
    path : path-like
        Written whole or not at all. Input "x" of shape (n, d), output "outputs" of shape (n, K).

    Raises
    ------
    OSError
        The directory is missing or not writable.
    ImportError
        The package onnx is not installed.

    Examples
    --------
    >>> net = refimpl.TwoLayerReLU([[1.0]], None, [[2.0]])  # doctest: +SKIP
    >>> refimpl.interop.to_onnx(net, "model.onnx")  # doctest: +SKIP
    """
    check.instance("net", net, TwoLayerReLU)
    onnx = framework("onnx", f"to_onnx needs onnx: {install('onnx')}")
    arrays = {"W": net.W, "b": net.b, "A": net.A, "c": net.c}
    tensors = [onnx.numpy_helper.from_array(v, k) for k, v in arrays.items() if v is not None]
    first = ["x", "W"] if net.b is None else ["x", "W", "b"]
    nodes = [
        onnx.helper.make_node("Gemm", first, ["z"], transB=1),
        onnx.helper.make_node("Relu", ["z"], ["h"]),
        onnx.helper.make_node("Gemm", ["h", "A", "c"], ["outputs"], transB=1),
    ]
    ends = [
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, ["n", size])]
        for name, size in (("x", net.dim), ("outputs", net.n_outputs))
    ]
    graph = onnx.helper.make_graph(nodes, "two_layer_relu", *ends, tensors)
    # Opset 14 is the first whose Relu is defined for float64 in common runtimes.
    opset = onnx.helper.make_opsetid("", 14)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    onnx.checker.check_model(model)
    with atomic_write(path) as file:
        file.write(model.SerializeToString(deterministic=True))


def _loaded(onnx: Any, path: str | os.PathLike[str]) -> Any:
    with Path(path).open("rb"):  # errors of the file system are its own
        pass
    with check.foreign(path, "an ONNX model"):  # protobuf, onnx and its checker raise their own
        model = onnx.load(os.fspath(path))
        onnx.checker.check_model(model)
    return model


def _float64(onnx: Any, model: Any, name: str) -> Any:
    """Return the model with every constant an initializer, and every floating-point one float64."""
    graph = model.graph
    if graph.sparse_initializer:
        check.fail(name, "dense weights", "a sparse initializer")
    if own := [it.name for it in model.functions if it.domain in ("", "ai.onnx")]:
        check.fail(name, "operators of ONNX", f"one of the model's own in its name, {own[0]}")
    nodes, constants = [], list(graph.initializer)
    for node in graph.node:
        if node.op_type != "Constant":
            nodes.append(node)
        elif [it.name for it in node.attribute] != ["value"]:
            check.fail(name, "a Constant with a tensor", f"{node.attribute[0].name}")
        else:
            constants.append(node.attribute[0].t)
            constants[-1].name = node.output[0]
    doubles = [
        onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(it).astype(np.float64), it.name)
        if it.data_type in _FLOATS
        else it
        for it in constants
    ]
    known = {it.name for it in doubles}
    inputs = [it for it in graph.input if it.name not in known]
    if (len(inputs), len(graph.output)) != (1, 1):
        check.fail(name, "one input and one output", f"{len(inputs)} and {len(graph.output)}")
    for end in (*inputs, *graph.output):
        if end.type.tensor_type.elem_type not in _FLOATS:
            check.fail(name, f"floating-point numbers in {end.name!r}", "another type")
        end.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    parts = onnx.helper.make_graph(nodes, graph.name, inputs, list(graph.output), doubles)
    return onnx.helper.make_model(
        parts, opset_imports=list(model.opset_import), ir_version=model.ir_version
    )


def _chain(onnx: Any, model: Any, name: str) -> tuple[Layer, Layer, str]:
    """Follow the operators from the input to the output: two layers, and the value that is F."""
    graph = model.graph
    constants = {it.name: onnx.numpy_helper.to_array(it) for it in graph.initializer}
    value = logits = graph.input[0].name
    state = "the input"
    layers: list[Layer] = []
    for node in graph.node:
        given = {it.name: onnx.helper.get_attribute_value(it) for it in node.attribute}
        operator = (
            node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
        )
        if [it for it in node.input if it and it not in constants] != [value]:
            check.fail(name, f"operators in a chain after {value!r}", f"{operator} elsewhere")
        allowed = _NEXT[state] | {"Identity": state}
        if operator not in allowed:
            check.fail(name, f"{', '.join(allowed)} after {state}", operator)
        if operator in ("Gemm", "MatMul", "Add"):
            _extend(layers, node, given, value, constants, name)
        if operator in _HEADS:
            _check_head(onnx, model, node, len(layers[1].weight), name)
        state, value = allowed[operator], node.output[0]
        logits = logits if state == "the last function" else value
    if len(layers) < 2 or graph.output[0].name != value:
        check.fail(name, "Gemm, Relu, Gemm up to the output", f"an end after {state}")
    return layers[0], layers[1], logits


def _extend(
    layers: list[Layer], node: Any, given: Any, value: str, constants: Any, name: str
) -> None:
    """Add the layer of a Gemm or MatMul, or to the bias of the last one."""
    where = f"{name}: {node.op_type} {node.name or node.output[0]!r}"
    if node.op_type == "Add":
        if "axis" in given:  # of versions below 7: the reference evaluator passes over it
            check.fail(where, "a bias added along the last axis", f"axis {given['axis']}")
        term = constants[next(it for it in node.input if it != value)]
        layers[-1] = _biased(layers[-1], term, where)
        return
    if node.input[0] != value or given.get("transA", 0):
        check.fail(where, "the data as its first factor, not transposed", "another order")
    weight = constants[node.input[1]]
    weight = weight if given.get("transB", 0) else weight.T
    layer = Layer.of(where, given.get("alpha", 1.0) * weight, None)
    layers.append(replace(layer, roundings=3))  # alpha, on either side
    if len(node.input) > 2 and node.input[2]:
        layers[-1] = _biased(layers[-1], given.get("beta", 1.0) * constants[node.input[2]], where)


def _biased(layer: Layer, term: Any, where: str) -> Layer:
    """Layer with a term added to its bias; alpha, beta and the sum are three roundings at most."""
    m = len(layer.weight)
    if term.shape not in ((), (1,), (m,), (1, 1), (1, m)):
        check.fail(where, f"a bias of {m} numbers", f"shape {term.shape}")
    term = check.real_array(where, np.broadcast_to(term.ravel(), (m,)), (m,))
    bias = term if layer.bias is None else layer.bias + term
    size = layer.bias_size + np.abs(term)
    return replace(layer, bias=bias, bias_size=size, roundings=layer.roundings + 3)


def _check_head(onnx: Any, model: Any, node: Any, n_outputs: int, name: str) -> None:
    """Refuse a last function that does not leave the decision as it is."""
    if node.op_type == "Sigmoid":
        return
    opset = max(it.version for it in model.opset_import if it.domain in ("", "ai.onnx"))
    axis = next((it.i for it in node.attribute if it.name == "axis"), -1 if opset >= 13 else 1)
    graph = onnx.shape_inference.infer_shapes(model).graph
    ranks = {it.name: len(it.type.tensor_type.shape.dim) for it in graph.value_info}
    last = axis == -1 or (axis == 1 and ranks.get(node.input[0]) == 2)
    if not last or n_outputs < 2:
        got = f"axis {axis} of {ranks.get(node.input[0], 'an unknown number')}, {n_outputs} outputs"
        check.fail(name, f"{node.op_type} over the last axis, two outputs or more", got)


def _evaluator(
    onnx: Any, model: Any, logits: str, hidden: Layer, name: str
) -> Callable[[Array], Array]:
    """Return the function x -> F(x) that the reference evaluator computes."""
    graph = model.graph
    source, dim = graph.input[0], hidden.weight.shape[1]
    sizes = [it.dim_value for it in source.type.tensor_type.shape.dim]  # 0: any
    shape = sizes[1:] if all(sizes[1:]) else [dim]
    if len(sizes) < 2 or np.prod(shape) != dim:
        check.fail(name, f"a batch of inputs of {dim} numbers", f"an input of shape {sizes}")
    end = onnx.helper.make_tensor_value_info(logits, onnx.TensorProto.DOUBLE, None)
    last = next((i for i, node in enumerate(graph.node) if logits in node.output), -1)
    del graph.output[:], graph.node[last + 1 :]  # what follows saturates, and may overflow
    graph.output.append(end)
    with check.foreign(name, "a model that runs"):
        run = import_module("onnx.reference").ReferenceEvaluator(model).run

    def original(x: Array) -> Array:
        batch = sizes[0] or len(x)
        padded = np.vstack([x, np.zeros((-len(x) % batch, dim))]).reshape(-1, batch, *shape)
        with check.foreign(name, "a model that runs"):
            parts = [run(None, {source.name: block})[0] for block in padded]
            return np.concatenate(parts)[: len(x)].reshape(len(x), -1)

    return original
