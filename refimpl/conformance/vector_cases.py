"""What the frozen vectors hold: for each file its inputs, outputs and tolerances."""

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
    linear_region_attack,
    robust_radius,
    theory,
)
from refimpl.conformance import tolerances
from refimpl.conformance.adapter import METHODS
from refimpl.conformance.oracle import Reference
from refimpl.decomposition import increment_bounds

UNIT = 2.0**-52  # unit roundoff of float64, on both sides
SCALARS = ("learning_rate", "steps", "epsilon", "k", "d", "bias", "n_positive", "n_negative")
LABELS = np.array([1, 1, -1])

Arrays = dict[str, Any]
Draw = Callable[[np.random.Generator], Arrays]


class Vector(NamedTuple):
    """One file: `inputs` draws a case, `outputs` computes it, `tolerance` bounds its rounding."""

    equations: str
    inputs: Draw
    outputs: Callable[..., Arrays]
    tolerance: Callable[..., dict[str, float]]


# Inputs: multiples of 1/8 from a seed, which float32 holds exactly.


def _eighths(rng: np.random.Generator, *shape: int) -> Any:
    return rng.integers(-16, 17, size=shape) / 8


def _network(rng: np.random.Generator, K: int, M: int = 4, d: int = 3) -> Arrays:
    net = {"W": _eighths(rng, M, d), "b": _eighths(rng, M), "A": _eighths(rng, K, M)}
    return net | {"c": _eighths(rng, K)}


def _forward(rng: np.random.Generator) -> Arrays:
    return _network(rng, 2) | {"x": _eighths(rng, 5, 3)}


def _cotangents(rng: np.random.Generator) -> Arrays:
    return _forward(rng) | {"cotangent": _eighths(rng, 5, 2)}


def _supervised(K: int, **more: Any) -> Draw:
    """Network, x and targets, then more scalars."""

    def inputs(rng: np.random.Generator) -> Arrays:
        targets = rng.choice([-1, 1], 5) if K == 1 else rng.integers(K, size=5)
        return _network(rng, K) | {"x": _eighths(rng, 5, 3), "targets": targets} | more

    return inputs


def _clusters(rng: np.random.Generator) -> Arrays:
    """Draw samples of three clusters, labels constant on them, and a binary network with m = 2."""
    features, cluster = 8 * np.eye(3) + _eighths(rng, 3, 3), rng.integers(3, size=5)
    net = _network(rng, 1) | {"A": np.array([[0.5, 0.5, -0.5, -0.5]]), "c": np.zeros(1)}
    x = features[cluster] + _eighths(rng, 5, 3)
    samples = {"x": x, "cluster": cluster, "features": features, "targets": LABELS[cluster]}
    return net | samples | {"learning_rate": 0.125, "steps": 3}


def _attacked(rng: np.random.Generator) -> Arrays:
    case = _clusters(rng)
    samples = {"x": case["x"], "y": case["targets"], "features": case["features"]}
    return samples | {"labels": LABELS, "epsilon": rng.integers(0, 17) / 8}


def _labelled(K: int = 1) -> Draw:
    """Network, x, and labels of which nearly all are right."""

    def inputs(rng: np.random.Generator) -> Arrays:
        case = _network(rng, K) | {"x": _eighths(rng, 5, 3)}
        F = _net(**case).outputs(case["x"])
        return case | {"y": F.argmax(axis=1) if K > 1 else np.where(F[:, 0] > 0, 1, -1)}

    return inputs


def _grouped(rng: np.random.Generator) -> Arrays:
    case = _labelled(3)(rng)
    return case | {"y": LABELS[case["y"]]}


def _rays(rng: np.random.Generator) -> Arrays:
    return _labelled()(rng) | {"direction": np.tile([3.0, 0.0, 4.0], (5, 1))}


def _linear(rng: np.random.Generator) -> Arrays:
    """Networks whose gradient is not 0 at the samples: one neuron is on everywhere near."""
    case = _labelled()(rng)
    case["W"][0], case["b"][0], case["A"][0, 0] = [4.0, 0.0, 0.0], 64.0, 8.0
    F = _net(**case).outputs(case["x"])
    return case | {"y": np.where(F[:, 0] > 0, 1, -1)}


def _angles(rng: np.random.Generator) -> Arrays:
    return {"features": _eighths(rng, 3, 4) + 3 * np.eye(3, 4)} | {
        "W": _eighths(rng, 4, 4) + 3 * np.eye(4)
    }


def _centres(rng: np.random.Generator) -> Arrays:
    return {"k": rng.integers(2, 9), "d": rng.integers(9, 65), "bias": -rng.integers(0, 17) / 8}


def _averaged(rng: np.random.Generator) -> Arrays:
    """Features with norm sqrt(d) = 4, orthogonal, and samples near them."""
    features = 4 * np.eye(4, 16)[rng.permutation(4)]
    return {"x": features + _eighths(rng, 4, 16) / 4, "y": np.array([1, 1, -1, -1])} | {
        "features": features
    }


def _laws(rng: np.random.Generator) -> Arrays:
    sizes = {"n_positive": rng.integers(1, 4), "n_negative": rng.integers(1, 4), "d": 1024}
    return {"epsilons": np.arange(0, 33) / 1.0} | sizes


# Outputs.


def _net(W: Any, b: Any, A: Any, c: Any, **_: Any) -> TwoLayerReLU:
    return TwoLayerReLU(W, b, A, c)


def _plain(case: Arrays) -> Arrays:
    """Scalars as numbers, whether they came as such or as arrays of shape (1,)."""
    return {k: np.asarray(v).item() if k in SCALARS else v for k, v in case.items()}


def _method(method: str, *names: str) -> Callable[..., Arrays]:
    """Results of one of the oracle's methods, under these names."""

    def outputs(**case: Any) -> Arrays:
        case = _plain(case)
        results = getattr(Reference(), method)(*(case[name] for name in METHODS[method].arguments))
        return dict(zip(names, (results,) if len(names) == 1 else results, strict=True))

    return outputs


def _radius(decision: Callable[[], Any]) -> Callable[..., Arrays]:
    def outputs(x: Any, y: Any, **net: Any) -> Arrays:
        return {"radius": robust_radius(_net(**net), x, y, decision=decision()).upper}

    return outputs


def _centre_radii(**case: Any) -> Arrays:
    k, d, bias = _plain(case).values()
    return {
        "averaging": theory.feature_averaging_radius(k, d),  # (E19)
        "decoupled": theory.decoupled_radius(d, bias),  # (E20)
        "group_sum": theory.group_sum_radius(k - 1, d, bias),  # (E21)
    }


def _radius_at(x: Any, y: Any, features: Any) -> Arrays:
    dist = ClusterDistribution(features, y)
    return {"radius": theory.feature_averaging_radius_at(x, y, dist)}


def _robust_accuracy(epsilons: Any, **sizes: Any) -> Arrays:
    kinds = ("averaging", "group_max", "group_sum")
    return {kind: theory.robust_accuracy(kind, epsilons, **_plain(sizes)) for kind in kinds}


def _increments(x: Any, cluster: Any, features: Any, targets: Any, **rest: Any) -> Arrays:
    sample = Sample(x, targets, np.asarray(cluster))
    rate = _plain(rest)["learning_rate"]
    dist = ClusterDistribution(features, LABELS)
    bounds = increment_bounds(sample, dist, learning_rate=rate, m=2)
    return {"coefficient": bounds.coefficient, "feature": bounds.feature, "noise": bounds.noise}


def _linear_step(x: Any, y: Any, **net: Any) -> Arrays:
    return {"x_adv": linear_region_attack(_net(**net), x, y)}


# Tolerances.


def _evaluated(case: Arrays) -> tolerances.Evaluation:
    return tolerances.evaluate(_net(**case), case["x"], case["targets"], UNIT)


def _descended(case: Arrays) -> tolerances.Descent:
    return tolerances.descent(
        _net(**case), case["x"], case["targets"], case["learning_rate"], case["steps"], UNIT
    )


def _of_outputs(**case: Any) -> dict[str, float]:
    return {"F": tolerances.output_error(_net(**case), case["x"], UNIT).max()}


def _of_loss(**case: Any) -> dict[str, float]:
    return {"loss": _evaluated(case).loss_error}


def _of_gradients(**case: Any) -> dict[str, float]:
    found = _evaluated(case)
    return {"dW": found.dW_error.max(), "db": found.db_error.max()}


def _of_training(**case: Any) -> dict[str, float]:
    found = _descended(case)
    ends = {"W_end": found.W.max(), "b_end": found.b.max(), "A_end": 0.0}
    return ends | {"losses": found.losses.max()}


def _of_decomposition(**case: Any) -> dict[str, float]:
    found, arguments = _descended(case), (case["x"], case["cluster"], case["features"])
    errors = tolerances.coefficients(*arguments, found.C, found.C_error, UNIT)
    return {"feature": errors[0].max(), "noise": errors[1].max()}


def _of_attack(x: Any, features: Any, labels: Any, epsilon: Any, **_: Any) -> dict[str, float]:
    return {"x_adv": tolerances.closed_form(x, features, labels, epsilon, UNIT).max()}


def _fixed(bound: float, *names: str) -> Callable[..., dict[str, float]]:
    """Use one bound for all outputs of all cases."""
    return lambda **_: dict.fromkeys(names, bound)


_TRAINED = ("W_end", "b_end", "A_end", "losses")
# |v| |A| |W| is at most 2 2^3 2^3 here, in dot products of 2 and then of 4 terms.
_OF_INPUT_GRADIENT = _fixed(2.0**7 * 8 * UNIT, "gradient")
# The exact radius has a relative tolerance of 1e-9; the radii here are below 2^6.
_OF_RADIUS = _fixed(2.0**6 * 1e-9, "radius")

VECTORS: dict[str, Vector] = {
    "outputs": Vector("E4", _forward, _method("outputs", "F"), _of_outputs),
    "logistic-loss": Vector("E8", _supervised(1), _method("loss", "loss"), _of_loss),
    "cross-entropy": Vector("E10", _supervised(3), _method("loss", "loss"), _of_loss),
    "binary-gradients": Vector(
        "E9 E11", _supervised(1), _method("parameter_gradients", "dW", "db"), _of_gradients
    ),
    "multiclass-gradients": Vector(
        "E10 E11", _supervised(3), _method("parameter_gradients", "dW", "db"), _of_gradients
    ),
    "input-gradient": Vector(
        "E12", _cotangents, _method("input_gradient", "gradient"), _OF_INPUT_GRADIENT
    ),
    "binary-training": Vector(
        "E13",
        _supervised(1, learning_rate=0.125, steps=3),
        _method("train", *_TRAINED),
        _of_training,
    ),
    "multiclass-training": Vector(
        "E13",
        _supervised(3, learning_rate=0.125, steps=3),
        _method("train", *_TRAINED),
        _of_training,
    ),
    "decomposition": Vector(
        "E14 E15", _clusters, _method("decompose", "feature", "noise"), _of_decomposition
    ),
    "increment-bounds": Vector(
        # Squares of vectors of norm below 2^4, times 5 samples and a rate below 1.
        "E16",
        _clusters,
        _increments,
        _fixed(2.0**11 * 16 * UNIT, "coefficient", "feature", "noise"),
    ),
    "cosines": Vector(
        "E15", _angles, _method("cosine_matrix", "cosine"), _fixed(32 * UNIT, "cosine")
    ),
    "centre-radii": Vector(
        # Square roots and quotients of numbers below 2^7.
        "E19 E20 E21",
        _centres,
        _centre_radii,
        _fixed(2.0**7 * 8 * UNIT, "averaging", "decoupled", "group_sum"),
    ),
    "averaging-radii": Vector(
        # Dot products of 16 terms, 2^5 in all.
        "E17 E22",
        _averaged,
        _radius_at,
        _fixed(2.0**5 * 24 * UNIT, "radius"),
    ),
    "robust-accuracy-laws": Vector(
        # Quadrature is good to 1e-10.
        "E23 E24 E25",
        _laws,
        _robust_accuracy,
        _fixed(1e-9, "averaging", "group_max", "group_sum"),
    ),
    "closed-form-attack": Vector(
        "E26", _attacked, _method("closed_form_attack", "x_adv"), _of_attack
    ),
    "smallest-step": Vector(
        # Outputs below 2^10 with 16 roundings, slopes above 2^-6.
        "E27",
        _rays,
        _method("smallest_step", "t"),
        _fixed(2.0**16 * 16 * UNIT, "t"),
    ),
    "linear-step": Vector(
        # |f| below 2^11 over a gradient of norm above 2^4, each with 16 roundings.
        "E28",
        _linear,
        _linear_step,
        _fixed(2.0**7 * 32 * UNIT, "x_adv"),
    ),
    "radius-sign": Vector("E29 E31", _labelled(), _radius(lambda: "sign"), _OF_RADIUS),
    "radius-argmax": Vector("E29 E30", _labelled(3), _radius(lambda: "argmax"), _OF_RADIUS),
    "radius-group-max": Vector("E29 E30", _grouped, _radius(lambda: GroupMax(LABELS)), _OF_RADIUS),
    "radius-group-sum": Vector("E29 E31", _grouped, _radius(lambda: GroupSum(LABELS)), _OF_RADIUS),
}
