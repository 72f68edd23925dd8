"""Networks: outputs in exact arithmetic, symmetries, constructions, files."""

from __future__ import annotations

import copy
import pickle

import exact
import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, ortho_group
from tolerances import gamma, output_error

from refimpl import ClusterDistribution, GroupMax, GroupSum, TwoLayerReLU, strategies

cases = strategies.networks().flatmap(lambda net: st.tuples(st.just(net), strategies.inputs(net)))


def exact_outputs(net, x):
    parts = exact.matrix(net.W), exact.vector(net.bias), exact.matrix(net.A), exact.vector(net.c)
    return np.array([[float(f) for f in exact.outputs(*parts, exact.vector(row))] for row in x])


def assert_within(got, expected, bound):
    """|got - expected| <= bound entry by entry, bound = 0 included."""
    assert (np.abs(got - expected) <= bound).all(), (got, expected, bound)


@given(cases)
def test_e4_outputs_in_exact_arithmetic(case):
    net, x = case
    outputs = net.outputs(x)
    assert outputs.shape == (len(x), net.n_outputs)
    # One more rounding: the exact outputs are rounded to floats for the comparison.
    assert_within(outputs, exact_outputs(net, x), output_error(net, x) * (1 + gamma(1)) + 5e-324)


@given(cases, st.randoms(use_true_random=False))
def test_permuted_neurons_compute_the_same(case, random):
    net, x = case
    order = random.sample(range(net.n_hidden), net.n_hidden)
    b = None if net.b is None else net.b[order]
    permuted = TwoLayerReLU(net.W[order], b, net.A[:, order], net.c)
    assert_within(permuted.outputs(x), net.outputs(x), 2 * output_error(net, x))


@given(cases, st.sampled_from([2.0**-20, 0.5, 2.0, 2.0**20]))
def test_positive_scales_move_from_a_neuron_to_its_output_weight(case, s):
    net, x = case
    b = None if net.b is None else s * net.b
    scaled = TwoLayerReLU(s * net.W, b, net.A / s, net.c)
    np.testing.assert_array_equal(scaled.outputs(x), net.outputs(x))  # powers of two are exact


@given(cases, st.sampled_from([0.25, 8.0]))
def test_inputs_scale_against_weights(case, s):
    net, x = case
    scaled = TwoLayerReLU(net.W / s, net.b, net.A, net.c)
    np.testing.assert_array_equal(scaled.outputs(s * x), net.outputs(x))


@given(cases, st.sampled_from([0.125, 4.0]))
def test_scaled_output_layers_scale_the_outputs(case, s):
    net, x = case
    scaled = TwoLayerReLU(net.W, net.b, s * net.A, s * net.c)
    np.testing.assert_array_equal(scaled.outputs(x), s * net.outputs(x))


@given(cases)
def test_negated_output_layers_negate_the_outputs(case):
    net, x = case
    negated = TwoLayerReLU(net.W, net.b, -net.A, -net.c)
    np.testing.assert_array_equal(negated.outputs(x), -net.outputs(x))


@given(strategies.networks(dim=4), st.data())
def test_rotated_inputs_and_weights_compute_the_same(net, data):
    x = data.draw(strategies.inputs(net))
    rotation = ortho_group.rvs(4, random_state=data.draw(strategies.seeds()))
    rotated = TwoLayerReLU(net.W @ rotation, net.b, net.A, net.c)
    # <|w|, |x|> is at most |w| |x|, which rotations keep; O^T O = I to gamma(4 d), entry by entry.
    size = np.linalg.norm(net.W, axis=1) * np.linalg.norm(x, axis=1)[:, None] + np.abs(net.bias)
    bound = gamma(10 * net.dim + net.n_hidden) * net.dim * (size @ np.abs(net.A).T + np.abs(net.c))
    assert_within(rotated.outputs(x @ rotation), net.outputs(x), bound)


@given(strategies.networks(n_outputs=3), st.data())
def test_group_sum_is_the_signed_sum_of_the_outputs(net, data):
    x, labels = data.draw(strategies.inputs(net)), data.draw(strategies.partitions(3))
    expected = (net.outputs(x) * labels).sum(axis=1, keepdims=True)
    bound = 2 * output_error(net, x).sum(axis=1, keepdims=True) + gamma(3) * np.abs(
        net.outputs(x)
    ).sum(axis=1, keepdims=True)
    # Sums of rows of A are rounded too: gamma(3) of sum |A|, which output_error's gamma exceeds.
    assert_within(net.group_sum(labels).outputs(x), expected, bound)


@given(strategies.networks(dim=2), st.data())
def test_fold_input_computes_the_standardised_inputs_outputs(net, data):
    x = data.draw(strategies.inputs(net))
    mean = data.draw(strategies.arrays((2,)))
    std = np.array(data.draw(st.tuples(*[st.sampled_from([0.25, 1.0, 3.0])] * 2)))
    folded = net.fold_input(mean, std)
    rows = [
        [(p - m) / s for p, m, s in zip(*map(exact.vector, (row, mean, std)), strict=True)]
        for row in x
    ]
    parts = exact.matrix(net.W), exact.vector(net.bias), exact.matrix(net.A), exact.vector(net.c)
    expected = np.array([[float(f) for f in exact.outputs(*parts, row)] for row in rows])
    size = (np.abs(x) + np.abs(mean)) @ np.abs(net.W / std).T + np.abs(net.bias)
    size = size @ np.abs(net.A).T + np.abs(net.c)
    assert_within(folded.outputs(x), expected, gamma(2 * 2 + net.n_hidden + 8) * size + 5e-324)


def test_fold_input_takes_scalars_and_gives_biases():
    folded = TwoLayerReLU([[1.0, 2.0]], None, [[1.0]]).fold_input(1.0, [2.0, 4.0])
    assert folded.W.tolist() == [[0.5, 0.5]]
    assert folded.b.tolist() == [-1.0]


@pytest.mark.parametrize("shape", [(3, 2, 2), (3, 4), (3, 1, 4)])
def test_fold_input_takes_a_mean_and_std_for_each_channel(shape):
    net = TwoLayerReLU(np.arange(24.0).reshape(2, 12), [0.5, -0.5], [[1.0, -2.0]])
    mean, std = np.array([1.0, -2.0, 3.0]), np.array([0.5, 2.0, 4.0])
    folded = net.fold_input(mean, std, shape=shape)
    images = np.random.default_rng(0).integers(-8, 8, (5, *shape)).astype(float)
    spread = (3, *[1] * (len(shape) - 1))
    standardised = (images - mean.reshape(spread)) / std.reshape(spread)
    expected = net.outputs(standardised.reshape(5, -1))
    assert folded.outputs(images.reshape(5, -1)).tolist() == expected.tolist()  # all dyadic


def test_fold_input_mixes_numbers_channels_and_inputs():
    net = TwoLayerReLU(np.ones((1, 4)), None, [[1.0]])
    folded = net.fold_input([1.0, 2.0, 3.0, 4.0], 2.0, shape=(2, 2))
    assert (folded.W.tolist(), folded.b.tolist()) == ([[0.5] * 4], [-5.0])
    folded = net.fold_input(0.0, [1.0, 0.5], shape=(2, 1, 2))
    assert folded.W.tolist() == [[1.0, 1.0, 2.0, 2.0]]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((3, 1, 1), r"shape: expected \(channels, ...\) with d = 4 entries, got \(3, 1, 1\)"),
        ((), r"shape: expected \(channels, ...\) with d = 4 entries, got \(\)"),
        (2.0, "shape: expected an integer"),
        ((-2, -2), "shape: expected an integer of at least 1, got -2"),
        ((4, 1), r"mean: expected real numbers of shape \(4,\), got shape \(2,\)"),
        ((2, 2), "std: expected positive numbers, got 0"),
    ],
)
def test_fold_input_refuses_shapes_that_do_not_fit(shape, message):
    net = TwoLayerReLU(np.ones((1, 4)), None, [[1.0]])
    with pytest.raises(ValueError, match=f"^{message}"):
        net.fold_input([0.0, 0.0], [1.0, 0.0], shape=shape)


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.0], 1.0, r"mean: expected real numbers of shape \(2,\)"),
        (0.0, 0.0, "std: expected positive numbers, got 0"),
        (0.0, [1.0, -1.0], "std: expected positive numbers, got -1"),
        (np.nan, 1.0, "mean: expected finite numbers"),
        (None, 1.0, "mean: expected an array of real numbers"),
    ],
)
def test_fold_input_refuses(mean, std, message):
    net = TwoLayerReLU([[1.0, 2.0]], None, [[1.0]])
    with pytest.raises(ValueError, match=f"^{message}"):
        net.fold_input(mean, std)


def test_defaults_sizes_and_absent_biases():
    net = TwoLayerReLU([[1, 2, 3], [4, 5, 6]], None, [[1, -1]])
    assert (net.dim, net.n_hidden, net.n_outputs) == (3, 2, 1)
    assert net.b is None
    assert net.bias.tolist() == [0.0, 0.0]
    assert net.c.tolist() == [0.0]


def test_repr_says_the_sizes_and_not_the_weights():
    net = TwoLayerReLU(np.ones((30, 784)), None, np.ones((10, 30)))
    assert repr(net) == "TwoLayerReLU(dim=784, n_hidden=30, n_outputs=10)"


def test_parameters_are_read_only_copies():
    W = np.ones((1, 2))
    net = TwoLayerReLU(W, [0.0], [[1.0]])
    W[0, 0] = 5.0
    assert net.W.tolist() == [[1.0, 1.0]]
    for array in (net.W, net.b, net.A, net.c):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"W": [1.0, 2.0]}, r"W: expected real numbers of shape \(M, d\), got shape \(2,\)"),
        ({"W": np.zeros((0, 2))}, r"W: .*got shape \(0, 2\)"),
        ({"W": np.zeros((2, 0))}, r"W: .*got shape \(2, 0\)"),
        ({"W": [[np.nan, 1], [1, 1]]}, "W: expected finite numbers"),
        ({"W": [[1j, 1], [1, 1]]}, "W: expected an array of real numbers, got dtype complex128"),
        ({"W": None}, "W: expected an array of real numbers, got dtype object"),
        ({"b": [1.0]}, r"b: expected real numbers of shape \(2,\), got shape \(1,\)"),
        ({"b": 0.0}, r"b: expected real numbers of shape \(2,\), got shape \(\)"),
        ({"b": [np.inf, 0]}, "b: expected finite numbers, got inf"),
        ({"A": [1.0, 2.0]}, r"A: expected real numbers of shape \(K, M\), got shape \(2,\)"),
        (
            {"A": [[1.0]]},
            r"W and A: expected shapes \(M, d\) and \(K, M\), got \(2, 2\) and \(1, 1\)",
        ),
        ({"A": [["1", "2"]]}, "A: expected an array of real numbers, got dtype <U1"),
        ({"c": [1.0, 2.0]}, r"c: expected real numbers of shape \(1,\), got shape \(2,\)"),
        ({"c": [True]}, "c: expected an array of real numbers, got dtype bool"),
    ],
)
def test_constructor_refuses(change, message):
    good = {"W": [[1, 2], [3, 4]], "b": [0, 0], "A": [[1, -1]], "c": [0]}
    with pytest.raises(ValueError, match=f"^{message}"):
        TwoLayerReLU(**(good | change))


@pytest.mark.parametrize("method", ["outputs", "preactivations"])
@pytest.mark.parametrize(
    "bad", [[1.0, 2.0], [[1.0]], np.zeros((0, 2)), [[np.nan, 0]], [["a", "b"]]]
)
def test_inputs_refused(method, bad):
    net = TwoLayerReLU([[1.0, 2.0]], None, [[1.0]])
    with pytest.raises(ValueError, match=r"^x: expected"):
        getattr(net, method)(bad)


def test_e5_e7_binary():
    net = TwoLayerReLU.binary(40, 500, sigma_w=1e-5, sigma_b=1e-3, rng=3)
    assert net.W.shape == (1000, 40)
    assert net.A.tolist() == [[1 / 500] * 500 + [-1 / 500] * 500]
    assert net.c.tolist() == [0.0]
    # Kolmogorov-Smirnov at a fixed seed: a right sampler fails with probability 1e-4.
    assert kstest(net.W.ravel() / 1e-5, "norm").pvalue > 1e-4
    assert kstest(net.b / 1e-3, "norm").pvalue > 1e-4


def test_e6_e7_multiclass():
    net = TwoLayerReLU.multiclass(40, 5, 100, sigma_w=0.5, rng=3)
    assert net.b is None
    assert net.A.shape == (5, 500)
    for j, row in enumerate(net.A):
        assert row.tolist() == [0.0] * (100 * j) + [1 / 100] * 100 + [0.0] * (400 - 100 * j)
    assert kstest(net.W.ravel() / 0.5, "norm").pvalue > 1e-4


def test_initialisation_follows_the_seed_and_advances_a_generator():
    first, again = (TwoLayerReLU.binary(3, 2, rng=1) for _ in range(2))
    np.testing.assert_array_equal(first.W, again.W)
    rng = np.random.default_rng(1)
    one, two = TwoLayerReLU.binary(3, 2, rng=rng), TwoLayerReLU.binary(3, 2, rng=rng)
    np.testing.assert_array_equal(first.W, one.W)
    assert (one.W != two.W).all()


def test_zero_initialisation_is_allowed():
    net = TwoLayerReLU.binary(3, 1, sigma_w=0, sigma_b=0, rng=0)
    assert not net.W.any()
    assert not net.b.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "dim: expected an integer of at least 1, got 0"),
        ({"dim": 2.0}, "dim: expected an integer, got 2.0"),
        ({"m": 0}, "m: expected an integer of at least 1"),
        ({"m": True}, "m: expected an integer, got True"),
        ({"sigma_w": -1.0}, "sigma_w: expected a number of at least 0"),
        ({"sigma_b": np.nan}, "sigma_b: expected finite numbers"),
        ({"rng": None}, "rng: expected a non-negative int seed"),
        ({"rng": -1}, "rng: expected a non-negative int seed"),
    ],
)
def test_binary_refuses(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        TwoLayerReLU.binary(**({"dim": 2, "m": 1, "rng": 0} | arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": "2"}, "dim: expected an integer"),
        ({"n_classes": 1}, "n_classes: expected an integer of at least 2, got 1"),
        ({"h": 0}, "h: expected an integer of at least 1, got 0"),
        ({"sigma_w": "1"}, "sigma_w: expected an array of real numbers"),
        ({"rng": 0.5}, "rng: expected a non-negative int seed"),
    ],
)
def test_multiclass_refuses(arguments, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        TwoLayerReLU.multiclass(**({"dim": 2, "n_classes": 2, "rng": 0} | arguments))


def test_e17_feature_averaging_by_hand():
    dist = ClusterDistribution([[1, 2], [3, 4], [5, 6]], [-1, 1, -1])
    net = TwoLayerReLU.feature_averaging(dist)
    # v+ = (3, 4), v- = (6, 8); f(1, 0) = 3 - 6, f(-1, 1) = 1 - 2, f(-1, 0) = 0 - 0.
    assert net.outputs([[1, 0], [-1, 1], [-1, 0]]).tolist() == [[-3.0], [-1.0], [0.0]]
    assert net.b is None


def test_e18_feature_decoupling_by_hand():
    dist = ClusterDistribution([[1, 2], [3, 4], [5, 6]], [-1, 1, -1])
    net = TwoLayerReLU.feature_decoupling(dist, bias=-3.5)
    assert net.outputs([[1, 1]]).tolist() == [[0.0, 3.5, 7.5]]
    assert TwoLayerReLU.feature_decoupling(dist).outputs([[1, 1]]).tolist() == [[3.0, 7.0, 11.0]]
    assert net.predict([[1, 1]], GroupMax(dist.labels)).tolist() == [-1]
    with pytest.raises(ValueError, match="bias: expected"):
        TwoLayerReLU.feature_decoupling(dist, bias="0")


@pytest.mark.parametrize("bad", [[1, 1], [1, 0], [1, -1, 1], None])
def test_group_sum_refuses(bad):
    net = TwoLayerReLU(np.eye(2), None, np.eye(2))
    with pytest.raises(ValueError, match=r"^(labels|decision): expected"):
        net.group_sum(bad)


@examples(20)
@given(net=strategies.networks())
def test_files_keep_every_bit(net, tmp_path_factory):
    path = tmp_path_factory.mktemp("net") / "net.npz"
    net.save(path)
    loaded = TwoLayerReLU.load(path)
    assert (loaded.b is None) == (net.b is None)
    for name in ("W", "bias", "A", "c"):
        assert getattr(loaded, name).tobytes() == getattr(net, name).tobytes()


def test_load_takes_a_plain_savez_of_float32(tmp_path):
    W = np.array([[0.1, 0.2]], np.float32)
    np.savez(tmp_path / "net.npz", W=W, A=np.ones((1, 1), np.float32))
    net = TwoLayerReLU.load(tmp_path / "net.npz")
    np.testing.assert_array_equal(net.W, W.astype(float))
    assert net.b is None


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"W": [[1.0]]}, "expected arrays W, A and optionally b, c, got W"),
        ({}, "expected arrays W, A and optionally b, c, got none"),
        ({"W": [[1.0]], "A": [[1.0]], "bias": [1.0]}, "got A, W, bias"),
        ({"W": [[1.0]], "A": [[1.0, 2.0]]}, r"W and A: .*got \(1, 1\) and \(1, 2\)"),
        ({"W": [[np.nan]], "A": [[1.0]]}, "W: expected finite numbers"),
        ({"W": [[1.0]], "A": [[1.0]], "format_version": 2}, "format_version: expected 1, got 2"),
    ],
)
def test_load_refuses(tmp_path, arrays, message):
    path = tmp_path / "net.npz"
    np.savez(path, **arrays)
    with pytest.raises(ValueError, match=rf"net\.npz: .*{message}"):
        TwoLayerReLU.load(path)


def test_save_into_a_missing_directory(tmp_path):
    with pytest.raises(FileNotFoundError):
        TwoLayerReLU([[1.0]], None, [[1.0]]).save(tmp_path / "none" / "net.npz")


def test_what_overflows_has_no_prediction():
    net = TwoLayerReLU([[1e200], [1e200]], None, [[1.0, -1.0]])
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"x: .*overflow"):
        net.predict([[1e200]], "sign")
    two = TwoLayerReLU([[1.0]], None, [[1e308], [1e308]])
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"x: .*group sums.*overflow"):
        two.predict([[2.0]], GroupSum([1, -1]))


@pytest.mark.parametrize(("mean", "std", "name"), [(0, 1e-320, "std"), (1e308, 1e-5, "mean")])
def test_fold_input_names_what_overflows(mean, std, name):
    with pytest.raises(ValueError, match=rf"{name}: .*overflow"):
        TwoLayerReLU([[1.0]], None, [[1.0]]).fold_input(mean, std)


def test_fold_input_refuses_ragged_lists():
    with pytest.raises(ValueError, match="mean: expected an array"):
        TwoLayerReLU([[1.0]], None, [[1.0]]).fold_input([1.0, [2.0]], 1.0)


def pickled(net):
    return pickle.loads(pickle.dumps(net))


@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, pickled])
def test_copies_are_read_only_too(twin):
    net = TwoLayerReLU([[1.0]], [0.5], [[2.0]], [3.0])
    again = twin(net)
    assert again.outputs([[1.0]]) == net.outputs([[1.0]])
    assert not any(array.flags.writeable for array in (again.W, again.b, again.A, again.c))
