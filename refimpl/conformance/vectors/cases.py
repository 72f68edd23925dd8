"""What the frozen vectors hold: for each file its equations, inputs, outputs and bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from refimpl import (
    ClusterDistribution,
    GroupMax,
    GroupSum,
    Sample,
    TwoLayerReLU,
    gradient_descent,
    linear_region_attack,
    robust_radius,
    theory,
)
from refimpl.conformance.adapter import METHODS, region
from refimpl.conformance.case import Case
from refimpl.conformance.oracle import Reference
from refimpl.conformance.vectors import bounds
from refimpl.decomposition import decompose, increment_bounds

LABELS = np.array([1, 1, -1])

Arrays = dict[str, Any]
Draw = Callable[[np.random.Generator], Case]


class Vector(NamedTuple):
    """One file: `inputs` draws a case, `outputs` computes it, `bounds` says how far one may be off.

    `outputs` takes the inputs by name, `bounds` the unit roundoff and the case; both return a value
    for each output.
    """

    equations: str
    inputs: Draw
    outputs: Callable[..., Arrays]
    bounds: Callable[[float, Case], Arrays]


# Inputs: multiples of 1/8 from a seed, which float32 holds exactly. Scalars are int or float.


def _eighths(rng: np.random.Generator, *shape: int) -> Any:
    return rng.integers(-16, 17, size=shape) / 8


def _network(rng: np.random.Generator, K: int, M: int = 4, d: int = 3) -> Case:
    W, b, A, c = (_eighths(rng, *shape) for shape in ((M, d), (M,), (K, M), (K,)))
    return Case(W=W, b=b, A=A, c=c)


def _forward(rng: np.random.Generator, K: int = 2) -> Case:
    return _network(rng, K).replace(x=_eighths(rng, 5, 3))


def _cotangents(rng: np.random.Generator) -> Case:
    return _forward(rng).replace(cotangent=_eighths(rng, 5, 2))


def _supervised(K: int, **more: Any) -> Draw:
    """Network, x and targets, then more scalars."""

    def inputs(rng: np.random.Generator) -> Case:
        targets = rng.choice([-1, 1], 5) if K == 1 else rng.integers(K, size=5)
        return _forward(rng, K).replace(targets=targets, **more)

    return inputs


def _clusters(rng: np.random.Generator) -> Case:
    """Draw samples of three clusters, labels constant on them, and a binary network with m = 2."""
    features, cluster = 8 * np.eye(3) + _eighths(rng, 3, 3), rng.integers(3, size=5)
    net = _network(rng, 1).replace(A=np.array([[0.5, 0.5, -0.5, -0.5]]), c=np.zeros(1))
    return net.replace(
        x=features[cluster] + _eighths(rng, 5, 3),
        cluster=cluster,
        features=features,
        targets=LABELS[cluster],
        learning_rate=0.125,
        steps=3,
    )


def _increasing(rng: np.random.Generator) -> Case:
    case = _clusters(rng)
    samples = Case(x=case.x, cluster=case.cluster, features=case.features)
    return samples.replace(learning_rate=case.learning_rate, m=2)


def _attacked(rng: np.random.Generator) -> Case:
    case = _clusters(rng)
    samples = Case(x=case.x, y=case.targets, features=case.features)
    return samples.replace(labels=LABELS, epsilon=rng.integers(0, 17) / 8)


def _labelled(K: int = 1) -> Draw:
    """Network, x, and labels of which nearly all are right."""
    return lambda rng: _with_labels(_forward(rng, K))


def _with_labels(case: Case) -> Case:
    F = case.net.outputs(case.x)
    return case.replace(y=F.argmax(axis=1) if F.shape[1] > 1 else np.where(F[:, 0] > 0, 1, -1))


def _grouped(rng: np.random.Generator) -> Case:
    case = _labelled(3)(rng)
    return case.replace(y=LABELS[case.y], labels=LABELS)


def _rays(rng: np.random.Generator) -> Case:
    return _labelled()(rng).replace(direction=np.tile([3.0, 0.0, 4.0], (5, 1)))


def _linear(rng: np.random.Generator) -> Case:
    """Networks whose gradient is not 0 at the samples: one neuron is on everywhere near."""
    case = _forward(rng, 1)
    case.W[0], case.b[0], case.A[0, 0] = [4.0, 0.0, 0.0], 64.0, 8.0
    return _with_labels(case)


def _angles(rng: np.random.Generator) -> Case:
    features = _eighths(rng, 3, 4) + 3 * np.eye(3, 4)
    return Case(features=features, W=_eighths(rng, 4, 4) + 3 * np.eye(4))


def _centres(rng: np.random.Generator) -> Case:
    k, d = int(rng.integers(2, 9)), int(rng.integers(9, 65))
    bias = -rng.integers(0, 8 * d) / 8 * rng.integers(0, 2)
    return Case(k=k, k_opposite=int(rng.integers(1, k)), d=d, bias=bias)


def _averaged(rng: np.random.Generator) -> Case:
    """Features with norm sqrt(d) = 4, orthogonal, and samples near them."""
    features = 4 * np.eye(4, 16)[rng.permutation(4)]
    labels = np.array([1, 1, -1, -1])
    x = features + _eighths(rng, 4, 16)
    return Case(x=x, y=labels, features=features, labels=labels)


def _laws(rng: np.random.Generator) -> Case:
    positive, negative = (int(rng.integers(1, 4)) for _ in range(2))
    epsilons = np.arange(0, 33) / 1.0
    return Case(epsilons=epsilons, n_positive=positive, n_negative=negative, d=1024)


def _paper(rng: np.random.Generator) -> Case:
    return Case(W=_eighths(rng, 4, 3), b=_eighths(rng, 4), x=_eighths(rng, 5, 3))


def _idealised(rng: np.random.Generator) -> Case:
    case = _clusters(rng)
    bias = -rng.integers(0, 17) / 8
    return Case(features=case.features, labels=LABELS, bias=bias, x=case.x)


def _balls(rng: np.random.Generator) -> Case:
    """Draw a row of 0, rows inside and outside of a ball, and one on its sphere."""
    return Case(delta=np.vstack([_eighths(rng, 5, 3), np.zeros(3), [0.0, 1.5, 2.0]]), epsilon=2.5)


def _within(draw: Draw, norm: float | None = None, *, box: bool = True) -> Draw:
    """Draw the same, with a norm, and a box whose sides touch samples; one may be infinite."""

    def inputs(rng: np.random.Generator) -> Case:
        case = draw(rng)
        rows = case.x if "x" in case else np.zeros((1, 3))
        more: Arrays = {} if norm is None else {"norm": norm}
        if box:
            room = rng.integers(0, 9, size=(2, 3)) / 8
            room[rng.integers(2), rng.integers(3)] = np.inf
            more["box"] = np.stack([rows.min(axis=0) - room[0], rows.max(axis=0) + room[1]])
        return case.replace(**more)

    return inputs


def _curve(rng: np.random.Generator) -> Case:
    """Draw radii, one of them inf, and epsilons that they often equal."""
    radius = np.append(rng.integers(0, 9, size=7) / 4, np.inf)
    return Case(radius=radius, epsilons=np.arange(9) / 4)


# Outputs.


def _method(method: str, *names: str) -> Callable[..., Arrays]:
    """Results of one of the oracle's methods, under these names."""

    def outputs(**case: Any) -> Arrays:
        arguments = (case[name] for name in METHODS[method].arguments)
        results = getattr(Reference(), method)(*arguments, **region(case))
        return dict(zip(names, (results,) if len(names) == 1 else results, strict=True))

    return outputs


def _radius(decision: Callable[[Any], Any]) -> Callable[..., Arrays]:
    """Robust radii under the decision that these labels of the outputs make, if any."""

    def outputs(**inputs: Any) -> Arrays:
        case = Case(inputs)
        options = {"decision": decision(case.get("labels"))} | region(case)
        return {"radius": robust_radius(case.net, case.x, case.y, **options).upper}

    return outputs


def _paper_networks(W: Any, b: Any, x: Any) -> Arrays:
    d = W.shape[1]
    binary = TwoLayerReLU(W, b, TwoLayerReLU.binary(d, 2, rng=0).A)  # (E5)
    multiclass = TwoLayerReLU(W, None, TwoLayerReLU.multiclass(d, 2, 2, rng=0).A)  # (E6)
    return {"binary": binary.outputs(x)[:, 0], "multiclass": multiclass.outputs(x)}


def _idealised_networks(features: Any, labels: Any, bias: float, x: Any) -> Arrays:
    dist = ClusterDistribution(features, labels)
    return {
        "averaging": TwoLayerReLU.feature_averaging(dist).outputs(x)[:, 0],
        "decoupled": TwoLayerReLU.feature_decoupling(dist, bias).outputs(x),
    }


def _centre_radii(k: int, k_opposite: int, d: int, bias: float) -> Arrays:
    return {
        "averaging": theory.feature_averaging_radius(k, d),  # (E19)
        "decoupled": theory.decoupled_radius(d, bias),  # (E20)
        "group_sum": theory.group_sum_radius(k_opposite, d, bias),  # (E21)
    }


def _radius_at(x: Any, y: Any, features: Any, labels: Any) -> Arrays:
    dist = ClusterDistribution(features, labels)
    return {"radius": theory.feature_averaging_radius_at(x, y, dist)}


def _robust_accuracy(epsilons: Any, **sizes: Any) -> Arrays:
    kinds = ("averaging", "group_max", "group_sum")
    return {kind: theory.robust_accuracy(kind, epsilons, **sizes) for kind in kinds}


def _decomposition(**inputs: Any) -> Arrays:
    case = Case(inputs)
    path = gradient_descent(
        case.net, case.x, case.targets, learning_rate=case.learning_rate, steps=case.steps
    )
    sample = Sample(case.x, case.targets, case.cluster)
    dist = ClusterDistribution(case.features, LABELS)
    parts = decompose(path, sample, dist)
    return {"coefficients": path.coefficients, "feature": parts.feature, "noise": parts.noise}


def _increments(x: Any, cluster: Any, features: Any, learning_rate: float, m: int) -> Arrays:
    sample, dist = Sample(x, LABELS[cluster], cluster), ClusterDistribution(features, LABELS)
    found = increment_bounds(sample, dist, learning_rate=learning_rate, m=m)
    return {"coefficient": found.coefficient, "feature": found.feature, "noise": found.noise}


def _linear_step(x: Any, y: Any, **net: Any) -> Arrays:
    return {"x_adv": linear_region_attack(TwoLayerReLU(**net), x, y)}


def _gradients(equations: str, K: int) -> Vector:
    outputs = _method("parameter_gradients", "dW", "db")
    return Vector(equations, _supervised(K), outputs, bounds.of_gradients)


def _trained(K: int) -> Vector:
    inputs = _supervised(K, learning_rate=0.125, steps=3)
    outputs = _method("train", "W_end", "b_end", "A_end", "losses")
    return Vector("E13", inputs, outputs, bounds.of_training)


def _searched(
    equations: str, inputs: Draw, decision: Callable[[Any], Any], signs: Callable[..., Any]
) -> Vector:
    return Vector(equations, inputs, _radius(decision), bounds.of_radius(decision, signs))


def _stepped(equations: str, inputs: Draw) -> Vector:
    return Vector(equations, inputs, _method("smallest_step", "t"), bounds.of_smallest_step)


def _projected(inputs: Draw, bound: Callable[[float, Case], Arrays]) -> Vector:
    return Vector("PGD", inputs, _method("project", "projected"), bound)


def _bounded(norm: float | None, *, box: bool) -> Vector:
    inputs = _within(lambda rng: _labelled()(rng).rows(slice(2)), norm, box=box)
    return _searched("E29 E37", inputs, lambda labels: "sign", _sign)


# Signs of the outputs for a label: +1 where one speaks for it, -1 where against it.


def _sign(label: Any, _: Any) -> Any:
    return label


def _own_class(label: Any, _: Any) -> Any:
    return 2 * np.eye(3)[label] - 1


def _own_group(label: Any, labels: Any) -> Any:
    return label * labels


VECTORS: dict[str, Vector] = {
    "outputs": Vector("E4", _forward, _method("outputs", "F"), bounds.of_outputs),
    "paper-networks": Vector("E5 E6", _paper, _paper_networks, bounds.of_paper_networks),
    "logistic-loss": Vector("E8", _supervised(1), _method("loss", "loss"), bounds.of_loss),
    "cross-entropy": Vector("E10", _supervised(3), _method("loss", "loss"), bounds.of_loss),
    "binary-gradients": _gradients("E9 E11", 1),
    "multiclass-gradients": _gradients("E10 E11", 3),
    "input-gradient": Vector(
        "E12", _cotangents, _method("input_gradient", "gradient"), bounds.of_input_gradient
    ),
    "binary-training": _trained(1),
    "multiclass-training": _trained(3),
    "decomposition": Vector("E14 E15", _clusters, _decomposition, bounds.of_decomposition),
    "increment-bounds": Vector("E16", _increasing, _increments, bounds.of_increments),
    "cosines": Vector("Figure2", _angles, _method("cosine_matrix", "cosine"), bounds.of_cosines),
    "idealised-networks": Vector("E17 E18", _idealised, _idealised_networks, bounds.of_idealised),
    "centre-radii": Vector("E19 E20 E21", _centres, _centre_radii, bounds.of_centre_radii),
    "averaging-radii": Vector("E22", _averaged, _radius_at, bounds.of_averaging_radii),
    "robust-accuracy-laws": Vector("E23 E24 E25", _laws, _robust_accuracy, bounds.of_laws),
    "closed-form-attack": Vector(
        "E26", _attacked, _method("closed_form_attack", "x_adv"), bounds.of_closed_form
    ),
    "smallest-step": _stepped("E27", _rays),
    "smallest-step-linf-box": _stepped("E27 E37", _within(_rays, np.inf)),
    "linear-step": Vector("E28", _linear, _linear_step, bounds.of_linear_step),
    "projection": _projected(_balls, bounds.of_projection),
    "projection-box": _projected(_within(_balls), bounds.of_box_projection),
    "projection-linf-box": _projected(_within(_balls, np.inf), bounds.of_linf_projection),
    "robust-accuracy": Vector(
        "E29", _curve, _method("robust_accuracy", "share"), bounds.of_robust_accuracy
    ),
    "radius-sign": _searched("E29 E31", _labelled(), lambda labels: "sign", _sign),
    "radius-argmax": _searched("E29 E30", _labelled(3), lambda labels: "argmax", _own_class),
    "radius-group-max": _searched("E29 E30", _grouped, GroupMax, _own_group),
    "radius-group-sum": _searched("E29 E31", _grouped, GroupSum, _own_group),
    "radius-l1": _bounded(1, box=False),
    "radius-linf": _bounded(np.inf, box=False),
    "radius-box": _bounded(None, box=True),
    "radius-linf-box": _bounded(np.inf, box=True),
}
