"""What radii and training do not depend on, and what they do.

Status: derived.

Radii are the same under (x, W) -> (x O, W O) for orthogonal O, permutation of neurons, (y, A, c)
-> -(y, A, c) for one output, labels -> -labels for group_max, (A, c) -> s (A, c) and (w_r, b_r,
A_r) -> (s w_r, s b_r, A_r/s) for s > 0; (x, W) -> (s x, W/s) multiplies them by s. Two exact radii
are compared, each within 1e-9 of the truth.

Training commutes with rotation, permutation of neurons and label swap, to rounding. The map of one
step is Lipschitz with the constant g = 1 + eta (s^2 + 1) a o in the preactivations, s the longest
sample, a the largest output weight, o the largest sum of them, so T steps magnify the rounding of
one by T g^T at most. It does not commute with rescaling f: the sigmoid sees the scale. That is a
control, and must differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from proofs_numeric.evidence import RADIUS, Check, Evidence, Size, gamma
from refimpl import (
    ClusterDistribution,
    GroupMax,
    Sample,
    TwoLayerReLU,
    gradient_descent,
    robust_radius,
)
from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision

SCALE = 3.7
RATE, STEPS = 0.02, 20


@dataclass(frozen=True, eq=False)
class Case:
    """A network, inputs, labels and a decision."""

    net: TwoLayerReLU
    x: Array
    y: IntArray
    decision: Decision

    def radii(self) -> Array:
        """Exact radii."""
        return robust_radius(self.net, self.x, self.y, decision=self.decision).upper


Transform = Callable[[Case, np.random.Generator], Case]


def rotate(case: Case, rng: np.random.Generator) -> Case:
    """(x, W) -> (x O, W O)."""
    O = np.linalg.qr(rng.standard_normal((case.net.dim,) * 2))[0]  # noqa: E741  # the mathematics
    net = case.net
    return replace(case, net=TwoLayerReLU(net.W @ O, net.b, net.A, net.c), x=case.x @ O)


def permute(case: Case, rng: np.random.Generator) -> Case:
    """Another order of the neurons."""
    net, order = case.net, rng.permutation(case.net.n_hidden)
    return replace(case, net=TwoLayerReLU(net.W[order], net.bias[order], net.A[:, order], net.c))


def swap(case: Case, rng: np.random.Generator) -> Case:
    """(y, A, c) -> -(y, A, c), and for group_max (y, labels) -> -(y, labels)."""
    net = case.net
    if isinstance(case.decision, GroupMax):
        return replace(case, y=-case.y, decision=GroupMax(-case.decision.labels))
    return replace(case, y=-case.y, net=TwoLayerReLU(net.W, net.b, -net.A, -net.c))


def scale_outputs(case: Case, rng: np.random.Generator) -> Case:
    """Map (A, c) -> s (A, c)."""
    net = case.net
    return replace(case, net=TwoLayerReLU(net.W, net.b, SCALE * net.A, SCALE * net.c))


def scale_neurons(case: Case, rng: np.random.Generator) -> Case:
    """(w_r, b_r, A_r) -> (s_r w_r, s_r b_r, A_r / s_r)."""
    net, s = case.net, rng.uniform(0.2, 5.0, case.net.n_hidden)
    return replace(case, net=TwoLayerReLU(net.W * s[:, None], net.bias * s, net.A / s, net.c))


def scale_inputs(case: Case, rng: np.random.Generator) -> Case:
    """(x, W) -> (s x, W / s): the one that multiplies radii, by s."""
    net = case.net
    return replace(case, x=SCALE * case.x, net=TwoLayerReLU(net.W / SCALE, net.b, net.A, net.c))


RADII: Mapping[str, tuple[Transform, float]] = {
    "rotation": (rotate, 1.0),
    "permutation of neurons": (permute, 1.0),
    "swap of the classes": (swap, 1.0),
    "(A, c) -> s (A, c)": (scale_outputs, 1.0),
    "(w, b, A)_r -> (s w, s b, A/s)_r": (scale_neurons, 1.0),
    "(x, W) -> (s x, W/s), over s": (scale_inputs, SCALE),
}


def prove(size: Size) -> Evidence:
    """Transform small random networks, and their training."""
    return judge(size.seeds, RADII, gradient_descent)


def judge(
    seeds: tuple[int, ...],
    radii: Mapping[str, tuple[Transform, float]],
    descend: Callable[..., object],
) -> Evidence:
    """Compare radii, and trained weights, before and after."""
    changes = dict.fromkeys(radii, 0.0)
    for seed in seeds:
        for case in _cases(np.random.default_rng(seed)):
            before = case.radii()
            for name, (transform, factor) in radii.items():
                after = transform(case, np.random.default_rng(seed)).radii() / factor
                finite = np.isfinite(before)
                same = np.array_equal(finite, np.isfinite(after))
                difference = np.abs(after - before)[finite] / np.maximum(before[finite], 1e-300)
                change = float(difference.max(initial=0.0)) if same else float("inf")
                changes[name] = max(changes[name], change)
    rotation, others, control, bound = (
        max(values) for values in zip(*(_training(seed, descend) for seed in seeds), strict=True)
    )
    checks = [
        *(Check.at_most(f"radii, {name}: change", c, RADIUS) for name, c in changes.items()),
        Check.at_most("training, rotation: change", rotation, bound),
        Check.at_most("training, permutation and swap: change", others, bound),
        Check.at_least("training, control: f -> s f must change W", control, 1e3 * bound),
    ]
    return Evidence(
        "symmetry",
        "radii and training commute with the symmetries of the problem",
        "derived",
        checks,
        {"seeds": list(seeds), "scale": SCALE},
    )


def _cases(rng: np.random.Generator) -> list[Case]:
    """Random networks with one output and with three, and inputs that they classify in any way."""
    x, d, neurons = rng.standard_normal((12, 5)), 5, 7
    W, b = rng.standard_normal((neurons, d)), rng.standard_normal(neurons)
    one = TwoLayerReLU(W, b, rng.standard_normal((1, neurons)), rng.standard_normal(1))
    three = TwoLayerReLU(W, b, rng.standard_normal((3, neurons)), rng.standard_normal(3))
    y = np.where(rng.random(12) < 0.5, 1, -1)
    return [Case(one, x, y, "sign"), Case(three, x, y, GroupMax(np.array([1, -1, 1])))]


def _training(seed: int, descend: Callable[..., object]) -> tuple[float, float, float, float]:
    """Change of W under rotation, under permutation and swap, under f -> s f, and the bound."""
    rng = np.random.default_rng(seed)
    dist = ClusterDistribution.orthogonal(4, 12, rng=rng)
    sample = dist.sample(20, rng=rng)
    net = TwoLayerReLU.binary(12, 3, sigma_w=0.1, sigma_b=0.1, rng=rng)
    case = Case(net, sample.x, sample.y, "sign")
    W = _trained(case, sample, descend)
    O = np.linalg.qr(np.random.default_rng(seed).standard_normal((12, 12)))[0]  # noqa: E741
    order = np.random.default_rng(seed).permutation(net.n_hidden)
    rotated = _trained(rotate(case, np.random.default_rng(seed)), sample, descend)
    permuted = _trained(permute(case, np.random.default_rng(seed)), sample, descend)
    swapped = _trained(swap(case, rng), sample, descend)
    rescaled = _trained(scale_outputs(case, rng), sample, descend)
    others = max(np.abs(permuted - W[order]).max(), np.abs(swapped - W).max())
    return (
        float(np.abs(rotated - W @ O).max()),
        float(others),
        float(np.abs(rescaled - W).max()),
        _rounding(case),
    )


def _trained(case: Case, sample: Sample, descend: Callable[..., object]) -> Array:
    path = descend(case.net, case.x, case.y, learning_rate=RATE, steps=STEPS, method="primal")
    W: Array = path.network.W  # type: ignore[attr-defined]  # a Trajectory
    return W


def _rounding(case: Case) -> float:
    """Bound of the difference of W after `STEPS` steps in other coordinates."""
    n, d = case.x.shape
    s = float(np.linalg.norm(case.x, axis=1).max())
    a, o = np.abs(case.net.A).max(), np.abs(case.net.A).sum()
    growth = (1 + RATE * (s**2 + 1) * a * o) ** STEPS
    size = s * (np.linalg.norm(case.net.W, axis=1).max() + STEPS * RATE * a * s) + 1
    return float(gamma(6 * (n + d + case.net.n_hidden)) * STEPS * growth * size)
