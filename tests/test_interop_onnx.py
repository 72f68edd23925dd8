"""Files of ONNX are read as its evaluator computes them, or refused; networks become files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from tolerances import gamma

from refimpl import TwoLayerReLU, interop, strategies

RNG = np.random.default_rng(5)
W, B, A, C = (
    RNG.normal(size=(9, 6)),
    RNG.normal(size=9),
    RNG.normal(size=(3, 9)),
    RNG.normal(size=3),
)
LAYERS = [("Gemm", ["x", "W", "b"], "z"), ("Relu", ["z"], "h"), ("Gemm", ["h", "A", "c"], "y")]
WEIGHTS = {"W": W.T, "b": B, "A": A.T, "c": C}


def onnx():
    return pytest.importorskip("onnx", reason="files of ONNX need the extra onnx")


def write(
    path,
    nodes=LAYERS,
    weights=WEIGHTS,
    *,
    shape=("n", 6),
    dtype=np.float32,
    attributes=None,
    constants=(),
    end="y",
    opset=14,
    more_inputs=(),
    more_outputs=(),
):
    """Write a model of (operator, inputs, output), operators perhaps after a domain and a dot."""
    h, kinds = onnx().helper, onnx().TensorProto
    attributes = attributes or {}
    dtype = kinds.BFLOAT16 if dtype == "bfloat16" else h.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made, domains = [], {"": opset}
    for name, value in weights.items():
        value = np.asarray(value)
        kind = dtype if value.dtype.kind == "f" else kinds.INT64
        tensor = h.make_tensor(name, kind, value.shape, value.ravel().tolist())
        if name in constants:
            nodes = [("Constant", [], name), *nodes]
            attributes = attributes | {name: {"value": tensor}}
        else:
            made.append(tensor)
    operators = []
    for kind, inputs, output in nodes:
        domain, _, operator = kind.rpartition(".")
        domains.setdefault(domain, 1)
        options = attributes.get(output, {})
        operators.append(h.make_node(operator, inputs, [output], domain=domain, **options))
    inputs = [h.make_tensor_value_info(name, dtype, shape) for name in ("x", *more_inputs)]
    outputs = [h.make_tensor_value_info(name, dtype, ["n", "k"]) for name in (end, *more_outputs)]
    graph = h.make_graph(operators, "g", inputs, outputs, made)
    opsets = [h.make_opsetid(*it) for it in domains.items()]
    onnx().save(h.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def rounded(array, dtype=np.float32):
    return np.float64(np.asarray(array, dtype))


@pytest.mark.slow
def test_a_plain_model_is_read_exactly(tmp_path):
    net = interop.from_onnx(write(tmp_path / "net.onnx"))
    for mine, theirs in zip((net.W, net.b, net.A, net.c), (W, B, A, C), strict=True):
        np.testing.assert_array_equal(mine, rounded(theirs))


GEMM = {"z": {"transB": 1}}
MATMUL = [
    ("MatMul", ["x", "W"], "u"),
    ("Add", ["u", "b"], "z"),
    ("Relu", ["z"], "h"),
    ("MatMul", ["h", "A"], "v"),
    ("Add", ["c", "v"], "y"),
]
RIGHT = {
    "transB": {"attributes": GEMM, "weights": WEIGHTS | {"W": W}},
    "alpha and beta": {
        "attributes": {"z": {"alpha": 2.0, "beta": 0.5}, "y": {"beta": 4.0}},
        "weights": WEIGHTS | {"W": W.T / 2, "b": 2 * B, "c": C / 4},
    },
    "beta of zero": {
        "attributes": {"z": {"beta": 0.0}},
        "weights": WEIGHTS,
        "expected": (W, 0 * B, A, C),
    },
    "no biases": {
        "nodes": [("Gemm", ["x", "W"], "z"), LAYERS[1], ("Gemm", ["h", "A"], "y")],
        "weights": {"W": W.T, "A": A.T},
        "expected": (W, 0 * B, A, 0 * C),
    },
    "a bias as a row": {"weights": WEIGHTS | {"b": B[None]}},
    "a bias as a number": {"weights": WEIGHTS | {"b": B[0]}, "expected": (W, 0 * B + B[0], A, C)},
    "MatMul and Add": {"nodes": MATMUL},
    "constants": {"constants": ("W", "c")},
    "Flatten": {
        "nodes": [("Flatten", ["x"], "f"), ("Gemm", ["f", "W", "b"], "z"), *LAYERS[1:]],
        "shape": ("n", 2, 1, 3),
    },
    "Reshape": {
        "nodes": [("Reshape", ["x", "s"], "f"), ("Gemm", ["f", "W", "b"], "z"), *LAYERS[1:]],
        "weights": WEIGHTS | {"s": np.array([-1, 6])},
        "shape": ("n", 2, 3),
    },
    "a fixed batch": {"shape": (1, 6)},
    "a fixed batch that divides nothing": {"shape": (7, 6)},
    "a fixed batch, reshaped": {
        "nodes": [("Reshape", ["x", "s"], "f"), ("Gemm", ["f", "W", "b"], "z"), *LAYERS[1:]],
        "weights": WEIGHTS | {"s": np.array([1, 6])},
        "shape": (1, 2, 3),
        "constants": ("s",),
    },
    "sizes without numbers": {"shape": ("n", "d")},
    "Identity": {"nodes": [*LAYERS, ("Identity", ["y"], "i")], "end": "i"},
    "Identity after Softmax": {
        "nodes": [*LAYERS, ("Softmax", ["y"], "p"), ("Identity", ["p"], "i")],
        "end": "i",
    },
    "Softmax": {"nodes": [*LAYERS, ("Softmax", ["y"], "p")], "end": "p"},
    "Softmax of axis 1": {
        "nodes": [*LAYERS, ("Softmax", ["y"], "p")],
        "attributes": {"p": {"axis": 1}},
        "end": "p",
    },
    "Softmax of the last of three axes": {
        "nodes": [*MATMUL, ("Softmax", ["y"], "p")],
        "shape": ("n", 1, 6),
        "end": "p",
    },
    "Softmax of axis 1 of rows that were images": {
        "nodes": [
            ("Flatten", ["x"], "f"),
            ("MatMul", ["f", "W"], "u"),
            *MATMUL[1:],
            ("Softmax", ["y"], "p"),
        ],
        "attributes": {"p": {"axis": 1}},
        "shape": ("n", "c", "h", "w"),
        "end": "p",
    },
    "Softmax of axis 1 of reshaped rows": {
        "nodes": [
            ("Reshape", ["x", "s"], "f"),
            ("Gemm", ["f", "W", "b"], "z"),
            *LAYERS[1:],
            ("Softmax", ["y"], "p"),
        ],
        "weights": WEIGHTS | {"s": np.array([-1, 6])},
        "shape": ("n", 2, 3),
        "end": "p",
        "opset": 11,
    },
    "LogSoftmax": {"nodes": [*LAYERS, ("LogSoftmax", ["y"], "p")], "end": "p", "opset": 11},
    "Sigmoid": {"nodes": [*LAYERS, ("Sigmoid", ["y"], "p")], "end": "p"},
    "float64": {"dtype": np.float64},
    "float16": {"dtype": np.float16},
    "bfloat16": {"dtype": "bfloat16"},
}


@pytest.mark.slow
@pytest.mark.parametrize("options", RIGHT.values(), ids=RIGHT.keys())
def test_models_of_the_admitted_operators_are_read(tmp_path, options):
    options = dict(options)
    expected = options.pop("expected", (W, B, A, C))
    net = interop.from_onnx(write(tmp_path / "net.onnx", **options))
    dtype = options.get("dtype", np.float32)
    for mine, theirs in zip((net.W, net.bias, net.A, net.c), expected, strict=True):
        if dtype == "bfloat16":
            assert (np.abs(mine - theirs) <= 2.0**-8 * np.abs(theirs)).all()
        else:
            np.testing.assert_array_equal(mine, rounded(theirs, dtype))


def chain(*nodes, **options):
    """Operators that replace the first layers, up to "h"."""
    return {"nodes": [*nodes, LAYERS[2]], **options}


SQUARE = np.eye(6) + 0.1
WRONG = {
    "another activation": (
        chain(LAYERS[0], ("LeakyRelu", ["z"], "h")),
        "Add, Relu, Identity after the first layer, got LeakyRelu",
    ),
    "a convolution": (
        {"nodes": [("Conv", ["x", "k"], "f"), *LAYERS], "weights": WEIGHTS | {"k": np.eye(2)}},
        "got Conv",
    ),
    "three layers": (
        {"nodes": [*LAYERS, ("Relu", ["y"], "h2")], "end": "h2"},
        "after the second layer, got Relu",
    ),
    "no ReLU": (chain(LAYERS[0], ("Gemm", ["z", "Q"], "h")), "Relu, .* first layer, got Gemm"),
    "an operator after Softmax": (
        {"nodes": [*LAYERS, ("Softmax", ["y"], "p"), ("Relu", ["p"], "q")], "end": "q"},
        "Identity after the last function, got Relu",
    ),
    "a scaled input": (
        {"nodes": [("Mul", ["x", "s"], "f"), ("Gemm", ["f", "W", "b"], "z"), *LAYERS[1:]]},
        "Flatten, Reshape, Gemm, MatMul, Identity after the input, got Mul",
    ),
    "a shifted hidden layer": (
        {"nodes": [*LAYERS[:2], ("Add", ["h", "b"], "i"), ("Gemm", ["i", "A", "c"], "y")]},
        "Gemm, MatMul, Identity after Relu, got Add",
    ),
    "a skip connection": (
        {"nodes": [*LAYERS[:2], ("Add", ["h", "z"], "i"), ("Gemm", ["i", "A", "c"], "y")]},
        "operators in a chain after 'h', got Add elsewhere",
    ),
    "a second branch": (
        {"nodes": [*LAYERS, ("Relu", ["x"], "unused")]},
        "operators in a chain after 'y', got Relu elsewhere",
    ),
    "an output in between": ({"nodes": LAYERS, "end": "h"}, "up to the output, got an end after"),
    "a single layer": ({"nodes": LAYERS[:1], "end": "z"}, "up to the output, got an end after"),
    "another domain": (
        {"nodes": [LAYERS[0], ("mine.Relu", ["z"], "h"), LAYERS[2]]},
        r"got mine\.Relu",
    ),
    "data as the second factor": (
        {
            "nodes": [
                ("MatMul", ["Q", "x"], "z"),
                ("Relu", ["z"], "h"),
                ("MatMul", ["h", "Q"], "y"),
            ],
            "weights": {"Q": SQUARE},
            "shape": (6, 6),
        },
        "the data as its first factor, not transposed, got another order",
    ),
    "data transposed": (
        {"attributes": {"z": {"transA": 1}}},
        "the data as its first factor, not transposed, got another order",
    ),
    "Softmax over the batch": (
        {
            "nodes": [*LAYERS, ("Softmax", ["y"], "p")],
            "attributes": {"p": {"axis": 0}},
            "end": "p",
        },
        "Softmax over the last axis, two outputs or more, got axis 0 of 2, 3 outputs",
    ),
    "Softmax over an axis of length 1": (
        {
            "nodes": [*MATMUL, ("Softmax", ["y"], "p")],
            "attributes": {"p": {"axis": 1}},
            "shape": ("n", 1, 6),
            "end": "p",
        },
        "Softmax over the last axis, two outputs or more, got axis 1 of 3, 3 outputs",
    ),
    "LogSoftmax over all axes but the batch": (
        {
            "nodes": [*MATMUL, ("LogSoftmax", ["y"], "p")],
            "shape": ("n", "t", 6),
            "end": "p",
            "opset": 11,
        },
        "LogSoftmax over the last axis, two outputs or more, got axis 1 of 3, 3 outputs",
    ),
    "Softmax of one output": (
        {
            "nodes": [*LAYERS, ("Softmax", ["y"], "p")],
            "weights": WEIGHTS | {"A": A[:1].T, "c": C[:1]},
            "end": "p",
        },
        "Softmax over the last axis, two outputs or more, got axis -1 of 2, 1 outputs",
    ),
    "a bias for each sample": (
        {"weights": WEIGHTS | {"b": np.ones((4, 9))}, "shape": (4, 6)},
        r"a bias of 9 numbers, got shape \(4, 9\)",
    ),
    "a bias along the batch": (
        {
            "nodes": MATMUL,
            "weights": {"W": SQUARE, "b": B[:6], "A": SQUARE, "c": B[:6]},
            "attributes": {"z": {"axis": 0, "broadcast": 1}, "y": {"broadcast": 1}},
            "shape": (6, 6),
            "opset": 6,
        },
        "Add 'z': expected a bias added along the last axis, got axis 0",
    ),
    "a bias of another size": (
        {"weights": WEIGHTS | {"b": B[:4]}},
        "a bias of 9 numbers, got shape",
    ),
    "weights that are no matrix": (
        {"weights": WEIGHTS | {"W": B}},
        r"real numbers of shape \(m, n\)",
    ),
    "weights that are no numbers": ({"weights": WEIGHTS | {"A": np.nan * A.T}}, "finite numbers"),
    "a Flatten of the batch": (
        {
            "nodes": [("Flatten", ["x"], "f"), ("Gemm", ["f", "W", "b"], "z"), *LAYERS[1:]],
            "attributes": {"f": {"axis": 0}},
        },
        "a model that runs, got",
    ),
    "a Reshape of the batch": (
        {
            "nodes": [("Reshape", ["x", "s"], "f"), ("Gemm", ["f", "W", "b"], "z"), *LAYERS[1:]],
            "weights": WEIGHTS | {"s": np.array([-1, 6])},
            "shape": ("n", 3),
        },
        r"a batch of inputs of 6 numbers, got an input of shape \[0, 3\]",
    ),
    "a version without an evaluator": (
        {"opset": 1},
        "a model that runs, got RuntimeError: No implementation for",
    ),
    "no batch": ({"shape": (6,)}, r"a batch of inputs of 6 numbers, got an input of shape \[6\]"),
    "two inputs": ({"more_inputs": ("x2",)}, "one input and one output, got 2 and 1"),
    "two outputs": ({"more_outputs": ("h",)}, "one input and one output, got 1 and 2"),
    "integers": ({"dtype": np.int64}, "floating-point numbers in 'x', got another type"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG.keys())
def test_other_models_are_refused_by_what_does_not_fit(tmp_path, options, message):
    options = {"weights": WEIGHTS | {"Q": SQUARE, "s": SQUARE[0]}} | options
    path = write(tmp_path / "net.onnx", **options)
    with pytest.raises(ValueError, match=rf"net\.onnx: .*{message}"):
        interop.from_onnx(path)


@pytest.mark.slow
def test_the_reference_evaluator_decides(tmp_path, monkeypatch):
    from onnx.reference.ops import op_relu

    path = write(tmp_path / "net.onnx")

    def clamped(self, x):
        return (np.clip(x, 0, 1e5),)

    monkeypatch.setattr(op_relu.Relu, "_run", clamped)
    with pytest.raises(
        ValueError, match=r"net\.onnx: expected the function A ReLU.*got another: at"
    ):
        interop.from_onnx(path)


@pytest.mark.slow
def test_a_model_with_a_relu_of_its_own_is_refused(tmp_path):
    path = write(tmp_path / "net.onnx")
    model, h = onnx().load(path), onnx().helper
    leaky = [h.make_node("LeakyRelu", ["X"], ["Y"])]
    opset = [h.make_opsetid("", 14)]
    model.functions.append(h.make_function("", "Relu", ["X"], ["Y"], leaky, opset))
    onnx().save(model, path)
    with pytest.raises(ValueError, match=r"net\.onnx: expected operators of ONNX, got one .* Relu"):
        interop.from_onnx(path)


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"no model", b"\x08\x07" * 100])
def test_what_is_no_model_is_refused(tmp_path, content):
    onnx()
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"net\.onnx: expected an ONNX model, got "):
        interop.from_onnx(path)


@pytest.mark.slow
def test_errors_of_the_file_system_are_its_own(tmp_path):
    onnx()
    with pytest.raises(FileNotFoundError):
        interop.from_onnx(tmp_path / "missing.onnx")
    with pytest.raises(IsADirectoryError):
        interop.from_onnx(tmp_path)
    with pytest.raises(FileNotFoundError):
        interop.to_onnx(TwoLayerReLU([[1.0]], None, [[1.0]]), tmp_path / "missing" / "net.onnx")


@pytest.mark.slow
@given(net=strategies.networks())
def test_round_trips_through_onnx_are_exact(tmp_path_factory, net):
    onnx()
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    interop.to_onnx(net, path)
    back = interop.from_onnx(path)
    assert (back.b is None) == (net.b is None)
    pairs = zip((net.W, net.bias, net.A, net.c), (back.W, back.bias, back.A, back.c), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
@examples(200)
@given(
    data=st.data(),
    first=st.sampled_from(["Gemm", "MatMul"]),
    last=st.sampled_from(["Gemm", "MatMul"]),
    scales=st.tuples(*[st.sampled_from([1.0, 0.5, -3.0, 0.1])] * 4),
    transposed=st.tuples(st.booleans(), st.booleans()),
    head=st.sampled_from([None, "Softmax", "LogSoftmax", "Sigmoid"]),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_random_models_are_read_within_rounding(
    tmp_path_factory, data, first, last, scales, transposed, head, dtype
):
    seed = data.draw(st.integers(0, 999))
    d, m, k = (data.draw(st.integers(low, 6)) for low in (1, 1, 2))
    rng = np.random.default_rng(seed)
    shapes = {"W": (m, d), "b": (m,), "A": (k, m), "c": (k,)}
    values = {name: rounded(rng.normal(size=it), dtype) for name, it in shapes.items()}
    nodes, attributes, stored, effective = [], {}, dict(values), dict(values)
    plan = (("x", "W", "b", "z", first), ("h", "A", "c", "y", last))
    for i, (source, weight, bias, result, kind) in enumerate(plan):
        stored[weight] = values[weight].T
        if kind == "Gemm":
            alpha, beta = (float(np.float32(it)) for it in scales[2 * i : 2 * i + 2])
            attributes[result] = {"alpha": alpha, "beta": beta, "transB": int(transposed[i])}
            stored[weight] = values[weight] if transposed[i] else values[weight].T
            effective[weight], effective[bias] = alpha * values[weight], beta * values[bias]
            nodes.append(("Gemm", [source, weight, bias], result))
        else:
            nodes += [
                ("MatMul", [source, weight], f"{result}0"),
                ("Add", [f"{result}0", bias], result),
            ]
        nodes += [("Relu", ["z"], "h")] if i == 0 else []
    nodes += [(head, ["y"], "p")] if head else []
    net = interop.from_onnx(
        write(
            tmp_path_factory.mktemp("onnx") / "net.onnx",
            nodes,
            stored,
            shape=("n", d),
            dtype=dtype,
            attributes=attributes,
            end="p" if head else "y",
        )
    )
    for name, mine in (("W", net.W), ("b", net.bias), ("A", net.A), ("c", net.c)):
        np.testing.assert_allclose(mine, effective[name], rtol=gamma(2), atol=0)


def test_without_onnx_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    net = TwoLayerReLU([[1.0]], None, [[1.0]])
    with pytest.raises(
        ImportError, match=r"^to_onnx needs onnx: pip install '\.\[onnx\]' in a checkout$"
    ):
        interop.to_onnx(net, tmp_path / "net.onnx")
    with pytest.raises(ImportError, match=r"^from_onnx needs onnx"):
        interop.from_onnx(tmp_path / "net.onnx")


def test_what_is_no_network_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"^net: expected a TwoLayerReLU, got str"):
        interop.to_onnx("net", tmp_path / "net.onnx")
