"""PyTorch modules that compute a two-layer ReLU network, and modules that almost do.

Each entry is a function without arguments that returns a module, or a module and keywords for
`from_torch`. All take 6 inputs, or images (2, 1, 3), and are in float64.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune, spectral_norm, weight_norm

IMAGE = torch.zeros(2, 1, 3, dtype=torch.float64)


def fc1(**options):
    return nn.Linear(6, 9, dtype=torch.float64, **options)


def fc2(k=4, **options):
    return nn.Linear(9, k, dtype=torch.float64, **options)


def layers(*between, first=None, last=None):
    """Linear, the layers between, Linear."""
    return nn.Sequential(first or fc1(), *between, last or fc2())


def plain(*after, before=(), k=4):
    return nn.Sequential(*before, fc1(), nn.ReLU(), fc2(k), *after)


class Net(nn.Module):
    """The module of a textbook; `change` names the step that differs from the plain network."""

    def __init__(self, **changes):
        super().__init__()
        self.fc1, self.fc2 = fc1(), fc2(changes.pop("k", 4))
        self.changes = changes

    def _step(self, name, value):
        return self.changes[name](value) if name in self.changes else value

    def forward(self, x):
        x = self._step("input", x)
        x = self._step("z", self.fc1(x))
        h = self._step("h", torch.relu(x))
        return self._step("output", self.fc2(h))


class Normalize(nn.Module):
    """torchvision.transforms.Normalize, as far as it matters."""

    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x):
        mean, std = (torch.tensor(it, dtype=x.dtype)[:, None, None] for it in (self.mean, self.std))
        return (x - mean) / std


class Normalized(nn.Module):
    """A model around another: buffers that broadcast over images."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.register_buffer("mean", torch.tensor([0.5, -1.0]).reshape(1, 2, 1, 1))
        self.register_buffer("std", torch.tensor([0.25, 3.0]).reshape(1, 2, 1, 1))

    def forward(self, x):
        return self.net((x - self.mean) / self.std)


class WithStatistics(nn.Module):
    """Remembers a mean and a std and does nothing with them."""

    def __init__(self):
        super().__init__()
        self.net, self.mean, self.std = plain(), [1.0], [2.0]

    def forward(self, x):
        return self.net(x)


class Swapped(nn.Module):
    """Registers its layers in the other order, square so that no shape tells."""

    def __init__(self):
        super().__init__()
        self.last = nn.Linear(6, 6, dtype=torch.float64)
        self.first = nn.Linear(6, 6, dtype=torch.float64)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


class Auxiliary(Net):
    """Has a layer that it does not use."""

    def __init__(self):
        super().__init__()
        self.head = fc2()


class FunctionalWeights(Net):
    def forward(self, x):
        h = torch.relu(functional.linear(x, self.fc1.weight, self.fc1.bias))
        return functional.linear(h, self.fc2.weight, self.fc2.bias)


class Absolute(Net):
    def forward(self, x):
        return self.fc2(torch.relu(functional.linear(x, self.fc1.weight.abs(), self.fc1.bias)))


class Double(nn.Module):
    """A parametrization."""

    def forward(self, weight):
        return 2 * weight


class OwnLinear(nn.Module):
    """Neither PyTorch's class nor its subclass."""

    def __init__(self, transpose=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6, dtype=torch.float64))
        self.bias, self.transpose = None, transpose

    def forward(self, x):
        return x @ (self.weight if self.transpose else self.weight.T)


class Transposing(nn.Linear):
    def forward(self, x):
        return functional.linear(x, self.weight.T, self.bias)


class Adapted(nn.Linear):
    """A low-rank adapter on top of the weight, as fine-tuning adds them."""

    def forward(self, x):
        return super().forward(x) + 1e-6 * x[:, :1] * x[:, 1:2].sign().abs()


class Merging(nn.Linear):
    """A low-rank adapter that is part of the weight in eval mode only, as in loralib."""

    def __init__(self):
        super().__init__(6, 9, dtype=torch.float64)
        self.down = nn.Parameter(torch.randn(1, 6, dtype=torch.float64))
        self.up = nn.Parameter(torch.randn(9, 1, dtype=torch.float64))
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        if mode == self.merged:
            self.weight.data += (-1 if mode else 1) * (self.up @ self.down).data
            self.merged = not mode
        return self

    def forward(self, x):
        weight = self.weight if self.merged else self.weight + self.up @ self.down
        return functional.linear(x, weight, self.bias)


class InFloat32(nn.Sequential):
    """Insists on float32, and counts what it has seen in a buffer."""

    def __init__(self, *layers):
        super().__init__(*layers)
        self.float().register_buffer("seen", torch.zeros(()))

    def forward(self, x):
        self.seen += len(x)
        return super().forward(x.float())


class OwnRelu(nn.ReLU):
    def __init__(self, limit=None):
        super().__init__()
        self.limit = limit

    def forward(self, x):
        return super().forward(x).clamp(max=self.limit) if self.limit else super().forward(x)


class ScalingDropout(nn.Dropout):
    def forward(self, x):
        return x * (1 - self.p)


class OwnFlatten(nn.Module):
    def forward(self, x):
        return x.reshape(len(x), -1)


class ColumnFlatten(nn.Flatten):
    def forward(self, x):
        return super().forward(x.transpose(1, 3))


class Softmax(nn.Softmax):
    def forward(self, x):
        return super().forward(-x)


class StaysInTraining(nn.Sequential):
    def eval(self):
        return self.train()


class Counting(Net):
    """Another function from the fifth call on."""

    calls = 0

    def forward(self, x):
        self.calls += 1
        return super().forward(x) * (1 if self.calls < 5 else 2)


class AutoCast(Net):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


class InPlace(Net):
    """Changes its inputs, and its hidden layer, where they stand."""

    def forward(self, x):
        x.sub_(0.0)
        result = self.fc2(self.fc1(x).relu_())
        x.mul_(0.0)
        return result


def twice(layer, inputs, output):
    return output, output


def small(x):
    if x.abs().max() > 1e7:
        raise OverflowError("inputs of at most 1e7")
    return x


def hooked(module, name, hook, pre=False):
    layer = module.get_submodule(name)
    (layer.register_forward_pre_hook if pre else layer.register_forward_hook)(hook)
    return module


def seen(module):
    """Running statistics and affine weights as after some training."""
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.affine:
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias)
    module.double().train()
    for _ in range(5):
        module(3 * torch.randn(40, 6, dtype=torch.float64) + 1)
    return module


def stale(normalise):
    """A module whose weights were loaded after its hook last ran."""
    source = layers(nn.ReLU(), first=normalise(fc1()))
    module = layers(nn.ReLU(), first=normalise(fc1()))
    module(torch.zeros(1, 6, dtype=torch.float64))
    module.load_state_dict(source.state_dict())
    return module


def pruned():
    module = plain()
    prune.l1_unstructured(module[0], "weight", amount=0.5)
    with torch.no_grad():
        module[0].weight_orig.mul_(3.0)  # layer.weight is now stale
    return module


def parametrized():
    module = plain()
    parametrize.register_parametrization(module[0], "weight", Double())
    parametrize.register_parametrization(module[2], "bias", Double())
    return module


def filled(module, value):
    nn.init.constant_(module[0].weight, value)
    return module


def images(module):
    return module, {"example": IMAGE}


RIGHT = {
    "plain": plain,
    "flattened": lambda: plain(before=(nn.Flatten(),)),
    "flattened images": lambda: images(plain(before=(nn.Flatten(),))),
    "a batch as example": lambda: (plain(before=(nn.Flatten(),)), {"example": IMAGE[None]}),
    "nested": lambda: nn.Sequential(nn.Sequential(fc1()), nn.Sequential(nn.ReLU(), fc2())),
    "no biases": lambda: layers(nn.ReLU(), first=fc1(bias=False), last=fc2(bias=False)),
    "dropout, in training mode": lambda: layers(nn.ReLU(inplace=True), nn.Dropout()).train(),
    "identities": lambda: plain(nn.Identity(), before=(nn.Identity(),)),
    "functional": Net,
    "names": lambda: (Auxiliary(), {"hidden": "fc1", "output": "fc2"}),
    "one name": lambda: (Net(), {"hidden": "fc1"}),
    "swapped": Swapped,
    "weights used without a call": FunctionalWeights,
    "changes its inputs": InPlace,
    "an own linear": lambda: layers(nn.ReLU(), first=OwnLinear(), last=nn.Linear(6, 4).double()),
    "an own ReLU": lambda: layers(OwnRelu()),
    "an own Flatten": lambda: images(plain(before=(OwnFlatten(),))),
    "a threshold at zero": lambda: layers(nn.Threshold(0.0, 0.0)),
    "a leak of zero": lambda: layers(nn.LeakyReLU(0.0)),
    "softmax": lambda: plain(nn.Softmax(dim=1)),
    "log-softmax": lambda: plain(nn.LogSoftmax(dim=-1)),
    "sigmoid": lambda: plain(nn.Sigmoid(), k=1),
    "functional log-softmax": lambda: Net(output=lambda F: functional.log_softmax(F, dim=1)),
    "functional sigmoid, squeezed": lambda: Net(k=1, output=lambda F: F.sigmoid().squeeze(1)),
    "spectral norm by hook": lambda: layers(nn.ReLU(), first=spectral_norm(fc1())),
    "spectral norm": lambda: layers(nn.ReLU(), last=parametrizations.spectral_norm(fc2())),
    "weight norm by hook": lambda: layers(nn.ReLU(), first=weight_norm(fc1())),
    "weight norm": lambda: layers(nn.ReLU(), last=parametrizations.weight_norm(fc2())),
    "stale spectral norm": lambda: stale(spectral_norm),
    "stale weight norm": lambda: stale(weight_norm),
    "stale pruning": pruned,
    "parametrized": parametrized,
    "merged in eval mode": lambda: layers(nn.ReLU(), first=Merging()),
    "a hook that looks": lambda: hooked(plain(), "1", lambda *call: None),
    "frozen": lambda: plain().requires_grad_(requires_grad=False),
    "batch norm in front": lambda: seen(plain(before=(nn.BatchNorm1d(6),))),
    "batch norm before ReLU": lambda: seen(layers(nn.BatchNorm1d(9), nn.ReLU(inplace=True))),
    "batch norm after ReLU": lambda: seen(layers(nn.ReLU(), nn.BatchNorm1d(9, affine=False))),
    "batch norm after all": lambda: seen(plain(nn.BatchNorm1d(4), nn.Softmax(1))),
    "batch norms everywhere": lambda: seen(
        layers(
            nn.BatchNorm1d(9), nn.BatchNorm1d(9), nn.ReLU(), nn.BatchNorm1d(9), nn.BatchNorm1d(9)
        )
    ),
    "normalised": lambda: images(
        nn.Sequential(Normalize([1.0, 2.0], [0.5, 0.1]), nn.Flatten(), plain())
    ),
    "normalised twice": lambda: images(
        nn.Sequential(
            Normalize([1.0, 2.0], [0.5, 0.1]),
            Normalize([3.0, 0.0], [2.0, 7.0]),
            OwnFlatten(),
            Net(),
        )
    ),
    "normalised around": lambda: images(Normalized(nn.Sequential(nn.Flatten(), plain()))),
    "statistics without use": WithStatistics,
    "scripted": lambda: torch.jit.script(plain()),
    "traced": lambda: torch.jit.trace(plain(), torch.ones(2, 6, dtype=torch.float64)),
    "wrapped": lambda: nn.DataParallel(plain(nn.Softmax(1))),
}

WRONG = {
    "another activation": lambda: layers(nn.GELU()),
    "no activation": lambda: layers(),
    "an own ReLU that clamps": lambda: layers(OwnRelu(1e5)),
    "ReLU6": lambda: layers(nn.ReLU6()),
    "a transposing Linear": lambda: layers(
        nn.ReLU(), first=Transposing(6, 6).double(), last=nn.Linear(6, 4).double()
    ),
    "an own transposing layer": lambda: layers(
        nn.ReLU(), first=OwnLinear(transpose=True), last=nn.Linear(6, 4).double()
    ),
    "an adapter": lambda: layers(nn.ReLU(), first=Adapted(6, 9).double()),
    "a scaling Dropout": lambda: layers(nn.ReLU(), ScalingDropout()),
    "dropout that never stops": lambda: Net(h=lambda h: functional.dropout(h, 0.1)),
    "training that never stops": lambda: StaysInTraining(fc1(), nn.ReLU(), nn.Dropout(), fc2()),
    "a Flatten in another order": lambda: images(plain(before=(ColumnFlatten(),))),
    "a Flatten of the batch": lambda: plain(before=(nn.Flatten(0, -1),)),
    "a hook that changes outputs": lambda: hooked(plain(), "2", lambda m, x, y: y * 1.001),
    "a hook on the hidden layer": lambda: hooked(plain(), "0", lambda m, x, y: y.clamp(max=1e5)),
    "a hook on the inputs": lambda: hooked(plain(), "0", lambda m, x: (x[0].abs(),), pre=True),
    "a hook on the whole": lambda: hooked(plain(), "", lambda m, x, y: -y),
    "absolute weights": Absolute,
    "inputs clamped": lambda: Net(input=lambda x: x.clamp(0, 1)),
    "inputs scaled by what they are": lambda: Net(input=lambda x: x / 255 if x.max() > 1 else x),
    "inputs centred by the batch": lambda: Net(input=lambda x: x - x.mean(0)),
    "inputs rounded to float32": lambda: Net(input=lambda x: x.float().double()),
    "activations rounded": lambda: Net(h=lambda h: torch.round(h * 100) / 100),
    "a temperature": lambda: Net(output=lambda F: F / 2),
    "a clamp of the outputs": lambda: Net(output=lambda F: F.clamp(-1e8, 1e8)),
    "a clamp before softmax": lambda: Net(output=lambda F: F.clamp(max=1e4).softmax(1)),
    "outputs in another order": lambda: Net(output=lambda F: F.flip(1)),
    "one output less": lambda: Net(output=lambda F: F[:, :3]),
    "two outputs": lambda: Net(output=lambda F: (F, F)),
    "softmax over the batch": lambda: plain(nn.Softmax(dim=0)),
    "softmax of one output": lambda: plain(nn.Softmax(dim=1), k=1),
    "an own Softmax": lambda: plain(Softmax(dim=1)),
    "tanh at the end": lambda: plain(nn.Tanh()),
    "ReLU at the end": lambda: plain(nn.ReLU()),
    "softmax between": lambda: layers(nn.ReLU(), nn.Softmax(dim=1)),
    "a skip connection": lambda: Net(z=lambda z: z + 1e-7 * z.roll(1, dims=1)),
    "statistics of the batch": lambda: seen(
        layers(nn.BatchNorm1d(9, track_running_stats=False), nn.ReLU())
    ),
    "normalisation between": lambda: layers(nn.ReLU(), nn.LayerNorm(9, dtype=torch.float64)),
    "another function later": Counting,
    "a hidden layer that gives two": lambda: hooked(Net(), "fc1", lambda m, x, y: (y, y)),
    "an output layer that gives two": lambda: hooked(Net(output=lambda F: F[0]), "fc2", twice),
    "outputs of another number": lambda: Net(output=lambda F: F.ravel()[1:]),
    "outputs rounded to float32": lambda: Net(output=lambda F: F.float()),
    "outputs of whole numbers": lambda: Net(output=lambda F: F.long()),
    "decisions": lambda: Net(output=lambda F: F > 0),
    "complex outputs": lambda: Net(output=lambda F: F + 0j),
    "sparse outputs": lambda: Net(output=lambda F: F.to_sparse()),
    "a sparse hidden layer": lambda: hooked(Net(), "fc2", lambda m, x, y: y.to_sparse()),
    "outputs that are a list": lambda: Net(output=lambda F: F.tolist()),
    "an assertion on large inputs": lambda: Net(input=small),
    "an error of its own": lambda: Net(h=lambda h: h.no_such_method()),
    "scripted, clamped": lambda: torch.jit.script(layers(nn.Hardtanh(0.0, 1e5))),
    "scripted, with softmax": lambda: torch.jit.script(plain(nn.Softmax(1))),
    "three layers": lambda: nn.Sequential(fc1(), nn.ReLU(), fc2(9), nn.ReLU(), fc2()),
    "three layers, two named": lambda: (
        nn.Sequential(fc1(), nn.ReLU(), fc2(9), nn.ReLU(), fc2()),
        {"hidden": "0", "output": "4"},
    ),
    "names the other way round": lambda: (Net(), {"hidden": "fc2", "output": "fc1"}),
    "the unused layer named": lambda: (Auxiliary(), {"hidden": "fc1", "output": "head"}),
    "a convolution in front": lambda: images(
        nn.Sequential(nn.Conv2d(2, 2, 1, dtype=torch.float64), nn.Flatten(), plain())
    ),
    "images without an example": lambda: Normalized(nn.Sequential(nn.Flatten(), plain())),
    "an example of another size": lambda: (plain(), {"example": torch.zeros(5)}),
    "an example without a shape": lambda: (plain(), {"example": 3}),
    "one linear layer": fc1,
    "no layers": nn.Sequential,
    "a shared layer": lambda: (lambda it: nn.Sequential(it, nn.ReLU(), it))(nn.Linear(6, 6)),
    "quantised": lambda: torch.ao.quantization.quantize_dynamic(plain().float(), {nn.Linear}),
    "weights without values": lambda: plain().to("meta"),
    "lazy": lambda: nn.Sequential(nn.LazyLinear(9), nn.ReLU(), fc2()),
    "complex": lambda: nn.Sequential(
        nn.Linear(6, 9, dtype=torch.complex128), nn.ReLU(), nn.Linear(9, 4, dtype=torch.complex128)
    ),
    "infinite": lambda: filled(plain(), torch.inf),
    "no number": lambda: filled(plain(), torch.nan),
}
