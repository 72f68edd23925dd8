"""Modules of PyTorch are read as they compute, or refused; networks become modules."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from tolerances import folded_error, output_error

from refimpl import TwoLayerReLU, interop, strategies


def torch():
    return pytest.importorskip("torch", reason="PyTorch is the other side of this comparison")


def made(make, seed=0):
    """Module and keywords of an entry of torch_modules."""
    torch().manual_seed(seed)
    module = make()
    return module if isinstance(module, tuple) else (module, {})


def outcomes(table):
    """For every entry the network or the error, whatever it is."""
    results = {}
    for name, make in table.items():
        module, keywords = made(make)
        try:
            results[name] = interop.from_torch(module, **keywords)
        except Exception as error:
            results[name] = error
    return results


def evaluated(module, x):
    """What the module gives in eval mode; a softmax is undone up to a constant by its caller."""
    module.eval()
    with torch().no_grad():
        return module(torch().tensor(x)).numpy()


def log_odds(F):
    """Differences to the first output, which softmax and log-softmax keep."""
    return F - F[:, :1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of PyTorch, that hooks and scripts will be replaced
def test_modules_that_compute_a_network_are_read():
    torch()
    import torch_modules

    failed = {}
    for name, net in outcomes(torch_modules.RIGHT).items():
        if not isinstance(net, TwoLayerReLU):
            failed[name] = net
            continue
        module, keywords = made(torch_modules.RIGHT[name])
        x = np.random.default_rng(0).normal(size=(7, 6))
        shape = (2, 1, 3) if "example" in keywords else (6,)
        theirs, F = evaluated(module, x.reshape(7, *shape)), net.outputs(x)
        error = folded_error(net, x)
        if "softmax" in name or name in ("batch norm after all", "wrapped"):
            theirs = theirs if "log" in name else np.log(theirs)
            theirs, F, error = log_odds(theirs), log_odds(F), 4 * error.max() + 1e-13
        elif "sigmoid" in name:
            theirs = theirs.reshape(7, 1)
            theirs, error = np.log(theirs / (1 - theirs)), error + 1e-13
        if not (np.abs(theirs - F) <= error).all():
            failed[name] = np.abs(theirs - F).max()
    assert failed == {}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of PyTorch, that quantised and lazy modules will change
def test_modules_that_compute_something_else_are_refused():
    torch()
    import torch_modules

    results = outcomes(torch_modules.WRONG)
    failed = {k: it for k, it in results.items() if not isinstance(it, ValueError)}
    assert failed == {}
    arguments = {str(error).split(":")[0] for error in results.values()}
    assert arguments == {"module", "example", "module.0.weight"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "an own ReLU that clamps",
            r"module: expected the function A ReLU\(W x \+ b\) \+ c of its two linear layers, got "
            r"another: at an x of norm \S+ output \d differs by \S+, of which rounding explains "
            r"\S+ \(layers that ran: 0 Linear, 1 torch_modules.OwnRelu, 2 Linear\)",
        ),
        (
            "a temperature",
            r"module: expected outputs of 'fc2', or their softmax, log-softmax or si",
        ),
        (
            "three layers",
            r"module: expected two linear layers, or hidden .* got '0', '2', '4' among",
        ),
        (
            "outputs of whole numbers",
            r"module: expected a dense .* in torch.float64, got .*, torch.int",
        ),
        (
            "sparse outputs",
            r"module: expected a dense tensor of outputs in .* torch.sparse_coo",
        ),
        ("two outputs", r"module: expected a dense tensor of outputs in .*, got tuple"),
        ("an example of another size", r"example: expected an array of 6 numbers .*shape \(5,\)"),
        (
            "weights without values",
            r"module: expected tensors with values, got 0\.weight, which is",
        ),
    ],
)
def test_errors_name_what_is_wrong(name, message):
    torch()
    import torch_modules

    module, keywords = made(torch_modules.WRONG[name])
    with pytest.raises(ValueError, match=f"^{message}"):
        interop.from_torch(module, **keywords)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"hidden": "fc3"}, r"hidden: expected the name of a linear layer \('fc1', 'fc2'\), got"),
        ({"output": ""}, r"output: expected the name of a linear layer \('fc1', 'fc2'\), got ''"),
        ({"hidden": "fc1", "output": "fc9"}, "output: expected the name of a linear layer"),
    ],
)
def test_names_that_are_no_linear_layers_are_refused(keywords, message):
    torch()
    import torch_modules

    with pytest.raises(ValueError, match=f"^{message}"):
        interop.from_torch(torch_modules.Net(), **keywords)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_parameters_of_every_precision_are_exact(dtype):
    nn, dtype = torch().nn, getattr(torch(), dtype)
    module = nn.Sequential(nn.Linear(5, 7, dtype=dtype), nn.ReLU(), nn.Linear(7, 3, dtype=dtype))
    net = interop.from_torch(module)
    parameters = [it.detach().double().numpy() for it in module.parameters()]
    for mine, theirs in zip((net.W, net.b, net.A, net.c), parameters, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_outputs_are_those_of_float32_within_its_rounding():
    nn = torch().nn
    module = nn.Sequential(nn.Flatten(), nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4, bias=False))
    net = interop.from_torch(module)
    x = torch().randn(20, 2, 3)
    rows = x.reshape(20, 6).double().numpy()
    theirs = module(x).detach().double().numpy()
    unit = 2.0**-24 / 2.0**-53  # their roundoff in ours
    assert (np.abs(net.outputs(rows) - theirs) <= 2 * unit * output_error(net, rows)).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_module_is_left_as_it_is():
    torch()
    import torch_modules

    own = {"in its own precision": lambda: torch_modules.InFloat32(*torch_modules.plain())}
    for name, make in (torch_modules.RIGHT | own).items():
        module, keywords = made(make)
        module.train()
        for layer in list(module.modules())[1:]:
            layer.training = bool(id(layer) % 3)
        modes = [layer.training for layer in module.modules()]
        hooks = [len(it._forward_hooks) + len(it._forward_pre_hooks) for it in module.modules()]
        state = {key: value.clone() for key, value in module.state_dict().items()}
        random_state = torch().get_rng_state()
        interop.from_torch(module, **keywords)
        assert [layer.training for layer in module.modules()] == modes, name
        assert hooks == [
            len(it._forward_hooks) + len(it._forward_pre_hooks) for it in module.modules()
        ], name
        assert all(torch().equal(v, state[k]) for k, v in module.state_dict().items()), name
        assert torch().equal(random_state, torch().get_rng_state()), name


def uncopied(module):
    """A module with an attribute that cannot be copied."""
    module.lock = threading.Lock()
    return module


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_a_module_that_cannot_be_copied_runs_in_its_own_precision_if_that_says_anything(dtype):
    nn, dtype = torch().nn, getattr(torch(), dtype)

    def layers(activation):
        return uncopied(
            nn.Sequential(nn.Linear(30, 40), nn.Dropout(), activation, nn.Linear(40, 3)).to(dtype)
        )

    if torch().finfo(dtype).bits < 32:
        message = r"^module: expected one that runs as a float64 copy, or .*too coarse to compare"
        with pytest.raises(ValueError, match=message):
            interop.from_torch(layers(nn.ReLU()))
        return
    module = layers(nn.ReLU())
    net = interop.from_torch(module)
    np.testing.assert_array_equal(net.W, module[0].weight.detach().double().numpy())
    assert module[1].training
    for activation in (nn.ReLU6(), nn.Hardtanh(0, 1e5), nn.LeakyReLU(1e-4), nn.Softplus(1e4)):
        with pytest.raises(ValueError, match=r"^module: expected the function"):
            interop.from_torch(layers(activation))


def holding(module):
    """A module whose forward holds on to it, also in a copy."""
    module.forward = lambda x: type(module).forward(module, x)
    return module.train()


@pytest.mark.slow
def test_a_module_that_its_copy_holds_on_to_is_left_as_it_is():
    nn = torch().nn
    import torch_modules as parts

    assert interop.from_torch(holding(parts.layers(nn.ReLU(), nn.Dropout()))).n_hidden == 9
    module = holding(parts.seen(parts.layers(nn.BatchNorm1d(9), nn.ReLU())))
    state = {key: value.clone() for key, value in module.state_dict().items()}
    with pytest.raises(ValueError, match=r"^module: expected the function"):
        interop.from_torch(module)  # what its layers take and give is not seen
    assert all(torch().equal(value, state[key]) for key, value in module.state_dict().items())
    assert all(layer.training for layer in module.modules())


@pytest.mark.slow
def test_autocast_is_no_part_of_the_network():
    torch()
    import torch_modules

    plain = torch_modules.Net().float()
    module = torch_modules.AutoCast().float()
    module.load_state_dict(plain.state_dict())
    x = torch().randn(5, 6)
    assert not torch().equal(module(x).float(), plain(x))
    nets = interop.from_torch(module), interop.from_torch(plain)
    for name in ("W", "b", "A", "c"):
        np.testing.assert_array_equal(*(getattr(net, name) for net in nets))


@pytest.mark.slow
def test_a_module_that_cannot_be_copied_has_its_weights_back_by_its_own_train():
    torch()
    import torch_modules

    module, _ = made(torch_modules.RIGHT["merged in eval mode"])
    stored = module[0].weight.detach().clone()
    net = interop.from_torch(uncopied(module))
    added = (module[0].up @ module[0].down).detach()
    assert np.array_equal(net.W, (stored + added).numpy())
    assert not module[0].merged
    error = 2.0**-52 * (stored.abs() + added.abs())  # of a sum, and a difference
    assert ((module[0].weight - stored).abs() <= error).all()
    module = uncopied(torch_modules.plain())
    module.train = lambda mode=True: 1 // (not mode)  # fails where it is to come back
    assert interop.from_torch(module).n_hidden == 9
    assert module.training


@pytest.mark.slow
def test_a_module_that_insists_on_float32_is_compared_in_it():
    torch()
    import torch_modules

    module = torch_modules.Net(input=lambda x: x.float()).float()
    assert interop.from_torch(module).n_hidden == 9
    module = torch_modules.Net(input=lambda x: x.half().float()).float()
    with pytest.raises(ValueError, match=r"^module: expected the function"):
        interop.from_torch(module)
    module = torch_modules.Net(output=lambda F: F.float()).float()  # its copy in float64 rounds
    net = interop.from_torch(module)
    np.testing.assert_array_equal(net.A, module.fc2.weight.detach().double().numpy())
    wide = torch_modules.layers(
        torch().nn.LeakyReLU(0.01),
        first=torch().nn.Linear(3072, 1000, bias=False),
        last=torch().nn.Linear(1000, 10, bias=False),
    )
    wide.register_forward_pre_hook(lambda module, inputs: inputs[0].float())
    with pytest.raises(ValueError, match=r"^module: expected the function"):
        interop.from_torch(wide)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of PyTorch, when it copies
def test_exported_modules_are_read_where_they_take_any_batch():
    export = pytest.importorskip("torch.export", reason="older PyTorch has none")
    import torch_modules

    module, x = torch_modules.plain(), torch().ones(5, 6).double()
    batch = ({0: export.Dim("n")},)
    net = interop.from_torch(export.export(module, (x,), dynamic_shapes=batch).module())
    np.testing.assert_array_equal(net.W, module[0].weight.detach().numpy())
    fixed = export.export(module, (x,)).module()
    with pytest.raises(ValueError, match=r"^module: expected one that runs on inputs of shape"):
        interop.from_torch(fixed)
    with pytest.raises(ValueError, match=r"^module: expected one with an eval mode, got NotImp"):
        interop.from_torch(uncopied(fixed))


@pytest.mark.slow
def test_weights_are_those_of_the_running_module_after_loading():
    torch()
    import torch_modules

    make = torch_modules.RIGHT["stale pruning"]
    module, _ = made(make)
    stored = module[0].weight.detach().numpy().copy()
    net = interop.from_torch(module)
    np.testing.assert_array_equal(net.W, 3 * stored)


@st.composite
def random_modules(draw):
    """A module of random parts, its twin in float64, its shape of inputs, and a defect or None."""
    import torch_modules as parts

    nn = torch().nn
    flags, seed = st.booleans(), draw(st.integers(0, 2**16))
    norm = st.sampled_from(
        [
            None,
            parts.spectral_norm,
            parts.weight_norm,
            parts.parametrizations.spectral_norm,
            parts.parametrizations.weight_norm,
        ]
    )
    hooks, bias = (draw(norm), draw(norm)), draw(flags)
    folds = [draw(flags) and draw(flags) for _ in range(5)]
    training, inplace = draw(flags), draw(flags)
    k = draw(st.integers(1, 4))
    head = draw(
        st.sampled_from([None, nn.Sigmoid, lambda: nn.Softmax(1), lambda: nn.LogSoftmax(1)])
    )
    defect = draw(st.sampled_from([None, None, "clamp", "leak", "scale", "hook", "transposed"]))
    dtype = getattr(
        torch(), draw(st.sampled_from(["float64", "float32", "float32", "bfloat16", "float16"]))
    )
    head = None if k == 1 and head is not nn.Sigmoid else head

    activations = {
        None: lambda: nn.ReLU(inplace=inplace),
        "clamp": lambda: parts.OwnRelu(3e4),
        "leak": lambda: nn.LeakyReLU(1e-3),
    }

    def build():
        torch().manual_seed(seed)
        first, last = parts.fc1(bias=bias), parts.fc2(k)
        first, last = (
            hook(it) if hook else it for hook, it in zip(hooks, (first, last), strict=True)
        )
        body = [
            *[nn.BatchNorm1d(6)] * folds[0],
            first,
            *[nn.BatchNorm1d(9)] * folds[1],
            activations.get(defect, nn.ReLU)(),
            *[parts.ScalingDropout()] * (defect == "scale"),
            *[nn.BatchNorm1d(9)] * folds[2],
            nn.Dropout(),
            last,
            *[nn.BatchNorm1d(k)] * folds[3],
        ]
        module = parts.seen(nn.Sequential(*body))
        front = [nn.Flatten()]
        if folds[4]:
            front = [parts.Normalize([1.0, -2.0], [0.5, 3.0]), *front]
        if defect == "transposed":
            front[-1] = parts.ColumnFlatten()
        module = nn.Sequential(*front, module, *([head()] if head else []))
        if defect == "hook":
            parts.hooked(module, "0", lambda layer, x, y: y * 1.01)
        return module.to(dtype).train(training)

    return build(), build().double().eval(), head, defect


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
@examples(200)
@given(st.data())
def test_random_modules_are_read_within_rounding_or_refused(data):
    module, twin, head, defect = data.draw(random_modules())
    example = torch().zeros(2, 1, 3)
    if defect:
        with pytest.raises(ValueError, match=r"^module: expected"):
            interop.from_torch(module, example=example)
        return
    net = interop.from_torch(module, example=example)
    x = np.random.default_rng(0).normal(size=(5, 6))
    body = twin[:-1] if head else twin
    theirs = evaluated(body, x.reshape(5, 2, 1, 3))
    assert (np.abs(net.outputs(x) - theirs) <= folded_error(net, x)).all()


@pytest.mark.parametrize("module", [None, [], TwoLayerReLU([[1.0]], None, [[1.0]])])
def test_what_is_no_module_is_refused(module):
    with pytest.raises(ValueError, match=r"^module: expected a torch\.nn\.Module, got "):
        interop.from_torch(module)


def test_frameworks_are_imported_only_when_needed():
    code = (
        "import sys, refimpl.interop\n"
        "try: refimpl.interop.from_torch([])\n"
        "except ValueError: pass\n"
        "print({'torch', 'onnx', 'sklearn'} & set(sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


def test_without_pytorch_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"^to_torch needs PyTorch: pip install torch$"):
        interop.to_torch(TwoLayerReLU([[1.0]], None, [[1.0]]))


@pytest.mark.parametrize("net", [None, "net.npz"])
def test_what_is_no_network_is_no_module(net):
    with pytest.raises(ValueError, match=r"^net: expected a TwoLayerReLU, got "):
        interop.to_torch(net)


@pytest.mark.slow
@given(strategies.networks())
def test_round_trips_through_pytorch_are_exact(net):
    state = torch().get_rng_state()
    module = interop.to_torch(net)
    assert torch().equal(state, torch().get_rng_state())
    assert [type(it).__name__ for it in module] == ["Linear", "ReLU", "Linear"]
    assert all(it.requires_grad and it.dtype == torch().float64 for it in module.parameters())
    back = interop.from_torch(module)
    assert (back.b is None) == (net.b is None)
    pairs = zip((net.W, net.bias, net.A, net.c), (back.W, back.bias, back.A, back.c), strict=True)
    for mine, theirs in pairs:
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.slow
def test_another_dtype_rounds_once():
    net = TwoLayerReLU([[0.1, 1 / 3]], [0.7], [[1e5]])
    module = interop.to_torch(net, dtype=torch().float32)
    assert interop.from_torch(module).W.tolist() == np.float64(np.float32(net.W)).tolist()
    with pytest.raises(ValueError, match=r"^dtype: expected a type whose range holds the weights"):
        interop.to_torch(net, dtype=torch().float16)
    for dtype in (torch().int64, torch().complex128, "float32", np.float32):
        with pytest.raises(ValueError, match=r"^dtype: expected a floating-point torch\.dtype"):
            interop.to_torch(net, dtype=dtype)


@pytest.mark.slow
def test_tensors_are_arrays_or_one_clear_error():
    net = TwoLayerReLU([[1.0, 2.0]], None, [[1.0]])
    assert net.outputs(torch().ones(1, 2, dtype=torch().float32)).tolist() == [[3.0]]
    for x in (torch().ones(1, 2, requires_grad=True), torch().ones(1, 2, device="meta")):
        with pytest.raises(ValueError, match=r"^x: expected an array of real numbers, got Tensor"):
            net.outputs(x)
