"""Functions that are a network within rounding pass the comparison, all others are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl import TwoLayerReLU, strategies
from refimpl.interop.comparison import LEAK, compared, gamma, points
from refimpl.interop.layers import Layer

RNG = np.random.default_rng(3)
W, B, A, C = (
    RNG.normal(size=(9, 4)),
    RNG.normal(size=9),
    RNG.normal(size=(3, 9)),
    RNG.normal(size=3),
)
HIDDEN, OUTPUT = Layer.of("fc1", W, B), Layer.of("fc2", A, C)


def relu(z):
    return np.maximum(z, 0)


def network(x, *, activation=relu, weights=(W, B, A, C)):
    W, b, A, c = weights
    return activation(x @ W.T + b) @ A.T + c


def compare(original, hidden=HIDDEN, output=OUTPUT, **options):
    return compared("module", hidden, output, original, **options)


def test_the_network_itself_is_accepted_unchanged():
    net = compare(network)
    for mine, given_ in zip((net.W, net.b, net.A, net.c), (W, B, A, C), strict=True):
        np.testing.assert_array_equal(mine, given_)


@given(strategies.networks(), st.sampled_from([np.float32, np.float64]), st.integers(0, 9))
def test_any_order_of_summation_in_either_precision_is_accepted(net, dtype, seed):
    rng = np.random.default_rng(seed)
    columns, neurons = rng.permutation(net.dim), rng.permutation(net.n_hidden)
    weights = [
        np.asarray(it, dtype)
        for it in (net.W[:, columns][neurons], net.bias[neurons], net.A[:, neurons], net.c)
    ]
    rounded = [np.float64(it) for it in weights]  # what this precision holds
    if not all(np.isfinite(it).all() for it in rounded):
        return
    back, order = np.argsort(columns), np.argsort(neurons)
    hidden = Layer.of("fc1", rounded[0][:, back][order], rounded[1][order])
    output = Layer.of("fc2", rounded[2][:, order], rounded[3])

    def original(x):
        rows = np.asarray(x[:, columns], dtype)
        return np.float64(network(rows, weights=weights))

    assert isinstance(compare(original, hidden, output, dtype=dtype), TwoLayerReLU)


def last_neuron_only(change):
    """ReLU with the last neuron changed."""

    def activation(z):
        h = relu(z)
        h[:, -1] = change(h[:, -1])
        return h

    return activation


def stateful():
    """The network for three calls, then another one."""
    calls = []

    def original(x):
        calls.append(1)
        return network(x) * (1 if len(calls) <= 3 else 1 + 1e-6)

    return original


WRONG = {
    "a clamp far out": lambda x: network(x, activation=lambda z: np.minimum(relu(z), 2e5)),
    "a clamp of one neuron": lambda x: network(
        x, activation=last_neuron_only(lambda h: np.minimum(h, 1e5))
    ),
    "a bump in mid-range": lambda x: network(
        x, activation=lambda z: relu(z) + ((z > 2) & (z < 5)) * 1e-6
    ),
    "a leak": lambda x: network(x, activation=lambda z: np.maximum(z, 1e-9 * z)),
    "a kink that is rounded off": lambda x: network(
        x, activation=lambda z: np.logaddexp(0, z * 1e7) / 1e7
    ),
    "a kink that is moved": lambda x: network(x, activation=lambda z: relu(z - 1e-9)),
    "a kink with a jump": lambda x: network(x, activation=lambda z: np.where(z > 1e-5, z, 0)),
    "the derivative at the kink only": lambda x: network(x, activation=np.abs),
    "no activation": lambda x: network(x, activation=lambda z: z),
    "inputs clamped to [0, 1]": lambda x: network(np.clip(x, 0, 1)),
    "inputs clamped far out": lambda x: network(np.clip(x, -1e5, 1e5)),
    "inputs scaled where they look like bytes": lambda x: network(x / 255 if x.max() > 1 else x),
    "inputs rounded": lambda x: network(np.float64(np.float32(x))),
    "inputs in another order": lambda x: network(x[:, ::-1]),
    "inputs centred by the batch": lambda x: network(x - x.mean(axis=0)),
    "outputs clamped far out": lambda x: np.clip(network(x), -1e9, 1e9),
    "outputs in another order": lambda x: network(x)[:, ::-1],
    "outputs scaled": lambda x: network(x) * (1 + 1e-12),
    "outputs with the input added": lambda x: network(x) + 1e-9 * x[:, :1],
    "a sign": lambda x: -network(x),
    "one weight off by 1e-9": lambda x: network(x, weights=(W + 1e-9 * (W[4, 2] == W), B, A, C)),
    "a weight transposed": lambda x: network(x, weights=(W[::-1], B, A, C)),
    "a bias forgotten": lambda x: network(x, weights=(W, B, A, 0 * C)),
    "noise": lambda x: network(x) + 1e-9 * np.random.default_rng(0).normal(size=(len(x), 3)),
    "what is no number": lambda x: network(x) * np.where(x[:, :1] > 1e5, np.nan, 1),
    "an overflow": lambda x: np.where(np.abs(network(x)) > 1e9, np.inf, network(x)),
    "another number of outputs": lambda x: network(x)[:, :2],
    "another function after three calls": stateful(),
}


@pytest.mark.parametrize("original", WRONG.values(), ids=WRONG.keys())
def test_another_function_is_refused(original):
    with pytest.raises(ValueError, match=r"^module: expected "):
        compare(original)


def test_the_error_says_where_and_by_how_much():
    message = (
        r"^module: expected the function A ReLU\(W x \+ b\) \+ c of its two linear layers, "
        r"got another: at an x of norm 1e-06 output 0 differs by 0\.25, "
        r"of which rounding explains \d\.\d+e-1\d \(note\)$"
    )
    with pytest.raises(ValueError, match=message):
        compare(lambda x: network(x) + 0.25, note=" (note)")
    with pytest.raises(ValueError, match=r"near the kink of hidden neuron \d+ output"):
        compare(WRONG["a kink that is rounded off"])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"^module: expected weights of shapes \(M, d\) and"):
        compare(network, OUTPUT, HIDDEN)


def wide(d, m, *, k=3, seed=0):
    """Weights as PyTorch draws them, that float32 holds, without biases."""
    rng = np.random.default_rng(seed)
    W, A = rng.uniform(-1, 1, (m, d)) / d**0.5, rng.uniform(-1, 1, (k, m)) / m**0.5
    W, A = np.float64(np.float32(W)), np.float64(np.float32(A))
    return W, np.zeros(m), A, np.zeros(k)


def in_float32(weights, activation=relu):
    """What a network that computes in float32 gives."""
    weights = [np.float32(it) for it in weights]
    return lambda x: np.float64(network(np.float32(x), activation=activation, weights=weights))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("d", [3, 700])
def test_in_float32_wide_networks_are_told_from_leaky_ones(d, scale):
    W, b, A, c = wide(d, 300)
    weights = scale * W, b, A / scale, c
    weights = [np.float64(np.float32(it)) for it in weights]
    layers = Layer.of("fc1", weights[0], None), Layer.of("fc2", weights[2], None)
    compare(in_float32(weights), *layers, dtype=np.float32)
    for slope in (LEAK, 0.01, -0.01):
        leaky = in_float32(weights, lambda z, s=slope: np.where(z < 0, np.float32(s) * z, z))
        with pytest.raises(ValueError, match=r"got another: at an x of norm"):
            compare(leaky, *layers, dtype=np.float32)


@pytest.mark.parametrize("change", [np.half, lambda x: np.clip(x, -1e5, 1e5)])
def test_in_float32_other_inputs_of_wide_networks_are_refused(change):
    weights = wide(700, 300)
    layers = Layer.of("fc1", weights[0], None), Layer.of("fc2", weights[2], None)
    original = in_float32(weights)
    with np.errstate(over="ignore"), pytest.raises(ValueError, match=r"got another: at an x"):
        compare(lambda x: original(np.float64(change(x))), *layers, dtype=np.float32)


def test_a_network_whose_leak_rounding_explains_is_refused_in_float32():
    """Up to z = 1e12 a leak of 1e-3 adds 1e-11 to outputs near 1, rounded to 1e-7."""
    W, b, A, c = (np.float64(np.float32(it)) for it in ([[1.0]], [0.0], [[1e-20]], [1.0]))
    layers = Layer.of("fc1", W, None), Layer.of("fc2", A, c)
    compare(lambda x: network(x, weights=(W, b, A, c)), *layers)
    message = "^module: expected outputs in which a leak of slope 0.001 exceeds rounding, got none"
    with pytest.raises(ValueError, match=message):
        compare(in_float32((W, b, A, c)), *layers, dtype=np.float32)
    still = Layer.of("fc2", 0 * A, c)  # nothing to be seen
    compare(in_float32((W, b, 0 * A, c)), layers[0], still, dtype=np.float32)


def test_rounding_that_exceeds_everything_is_infinite():
    assert gamma(3000, np.float16) == np.inf


@pytest.mark.parametrize("scale", [1e-150, 1e-30, 1e30, 1e120])
def test_networks_of_any_scale_are_compared(scale):
    hidden, output = Layer.of("fc1", scale * W, scale * B), Layer.of("fc2", scale * A, scale * C)
    weights = [scale * it for it in (W, B, A, C)]
    compare(lambda x: network(x, weights=weights), hidden, output)
    with pytest.raises(ValueError, match="got another: at an x of norm"):
        compare(lambda x: network(x, weights=[W, B, A, C]), hidden, output)


def test_a_network_whose_outputs_overflow_is_refused():
    hidden, output = Layer.of("fc1", 1e200 * W, 1e200 * B), Layer.of("fc2", 1e200 * A, C)
    with pytest.raises(ValueError, match="expected outputs within the range of float64, got an ov"):
        compare(network, hidden, output)


@pytest.mark.parametrize("nonzero", [1, 2, 4])
def test_points_lie_on_both_sides_of_every_kink_at_every_scale(nonzero):
    net = TwoLayerReLU(np.vstack([W, 0 * W[:1]]), np.append(B, 1.0), np.hstack([A, C[:, None]]))
    decades = {r: set() for r in range(9)}
    norms = []
    for x, neuron in points(net, nonzero):
        assert np.isfinite(x).all()
        norms += np.linalg.norm(x[neuron < 0], axis=1).tolist()
        z = net.preactivations(x)
        for i in np.flatnonzero(neuron >= 0):
            z_r = float(z[i, neuron[i]]) or 1e-20
            entries = np.flatnonzero(x[i])
            assert set(entries) == set(np.argsort(-np.abs(net.W[neuron[i]]))[:nonzero])
            decades[neuron[i]].add((np.sign(z_r), float(np.ceil(np.log10(abs(z_r))))))
    for found in decades.values():  # the neuron without weights has no kink
        assert found >= {(side, float(e)) for side in (-1, 1) for e in range(-2, 7)}
        assert {side for side, e in found if e <= -3} == {-1.0, 1.0}
    assert {0.0} | {10.0**e for e in range(-3, 7)} <= {float(f"{norm:.3g}") for norm in norms}


def test_points_are_the_same_each_time():
    net = TwoLayerReLU(W, B, A, C)
    for first, second in zip(points(net, 2), points(net, 2), strict=True):
        np.testing.assert_array_equal(first.x, second.x)
