from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import tolerances
from hypothesis import given
from hypothesis import strategies as st

from refimpl import TwoLayerReLU, gradient_descent, training
from refimpl.strategies import seeds

METHODS = ("primal", "gram", "auto")
ETA, STEPS = 0.01, 8


def gaussian_problem(seed, *, n=7, d=3, M=4, n_outputs=None, bias=None):
    """Network, x and targets without special positions: no preactivation is 0 by design."""
    rng = np.random.default_rng(seed)
    K = rng.choice([1, 3]) if n_outputs is None else n_outputs
    bias = rng.random() < 0.5 if bias is None else bias
    b = rng.standard_normal(M) if bias else None
    A, c = rng.uniform(-1, 1, (K, M)), rng.uniform(-1, 1, K)
    net = TwoLayerReLU(rng.standard_normal((M, d)), b, A, c)
    y = rng.choice([-1, 1], n) if K == 1 else rng.integers(K, size=n)
    return net, rng.standard_normal((n, d)), y


def plain_descent(net, x, y, eta, batches):
    """Gradient descent sample by sample; batches of row numbers. Returns W, b, batch losses."""
    W, b, losses = net.W.copy(), net.bias.copy(), []
    M, K = net.n_hidden, net.n_outputs
    for rows in batches:
        dW, db, loss = np.zeros_like(W), np.zeros_like(b), 0.0
        for i in rows:
            z = [b[r] + math.fsum(W[r] * x[i]) for r in range(M)]
            hidden = [max(value, 0.0) for value in z]
            F = [net.c[k] + math.fsum(net.A[k] * hidden) for k in range(K)]
            if K == 1:
                loss += math.log(1 + math.exp(-y[i] * F[0])) / len(rows)
                slope = [-y[i] / (1 + math.exp(y[i] * F[0]))]
            else:
                total = math.fsum(map(math.exp, F))
                loss -= math.log(math.exp(F[y[i]]) / total) / len(rows)
                slope = [math.exp(F[k]) / total - (k == y[i]) for k in range(K)]
            for r in range(M):
                if z[r] > 0:
                    g = math.fsum(slope * net.A[:, r]) / len(rows)
                    db[r] += g
                    dW[r] += g * x[i]
        losses.append(loss)
        W = W - eta * dW
        if net.b is not None:
            b = b - eta * db
    return W, b, np.array(losses)


def shuffled_batches(n, size, steps, seed):
    rng = np.random.default_rng(seed)
    batches = []
    while len(batches) < steps:
        order = list(rng.permutation(n))
        while order:
            batches.append(order[:size])
            order = order[size:]
    return batches[:steps]


def assert_close(actual, expected, tolerance):
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("method", METHODS)
@given(seed=seeds())
def test_e13_full_batch_matches_a_plain_loop(method, seed):
    net, x, y = gaussian_problem(seed)
    path = gradient_descent(net, x, y, learning_rate=ETA, steps=STEPS, method=method)
    everything = [range(len(x))] * (STEPS + 1)
    W, b, _ = plain_descent(net, x, y, ETA, everything[:-1])
    _, _, losses = plain_descent(net, x, y, ETA, everything)
    tolerance = tolerances.descent(net, x, ETA, STEPS)
    assert_close(path.network.W, W, tolerance)
    assert_close(path.network.bias, b, tolerance)
    assert_close(path.losses, losses, tolerance)
    assert (path.network.b is None) == (net.b is None)
    np.testing.assert_array_equal(path.network.A, net.A)
    np.testing.assert_array_equal(path.network.c, net.c)


@pytest.mark.parametrize("method", ["primal", "gram"])
@given(seed=seeds(), size=st.integers(1, 7))
def test_e13_mini_batches_match_a_plain_loop(method, seed, size):
    net, x, y = gaussian_problem(seed)
    path = gradient_descent(
        net, x, y, learning_rate=ETA, steps=STEPS, method=method, batch_size=size, rng=seed
    )
    batches = shuffled_batches(len(x), size, STEPS, seed)
    everything = range(len(x))
    _, _, [initial] = plain_descent(net, x, y, ETA, [everything])
    W, b, _ = plain_descent(net, x, y, ETA, batches)
    _, _, between = plain_descent(net, x, y, ETA, [*batches, everything])
    tolerance = tolerances.descent(net, x, ETA * len(x) / size, STEPS)  # |G| is n/B times as large
    assert_close(path.network.W, W, tolerance)
    assert_close(path.network.bias, b, tolerance)
    assert_close(path.losses, [initial, *between[1:]], tolerance)


@pytest.mark.parametrize("method", ["primal", "gram"])
def test_e13_losses_over_all_rows_are_the_means_of_all_blocks(method, monkeypatch):
    """Blocks of 3 rows where n = 7: the last one is smaller, and counts for what it has."""
    monkeypatch.setattr("refimpl.training._BLOCK", 3)
    rng = np.random.default_rng(0)
    net = TwoLayerReLU(rng.standard_normal((4, 3)), None, rng.standard_normal((1, 4)))
    x, y = rng.standard_normal((7, 3)), rng.choice([-1, 1], 7)
    path = gradient_descent(
        net, x, y, learning_rate=ETA, steps=5, method=method, batch_size=2, rng=0
    )
    for loss, network in ((path.losses[0], net), (path.losses[-1], path.network)):
        exact = np.mean(np.logaddexp(0, -y * network.outputs(x)[:, 0]))
        assert_close(loss, exact, tolerances.descent(net, x, ETA * 7 / 2, 5))


@pytest.mark.parametrize("steps", [0, 2])
def test_mini_batches_take_no_more_memory_than_a_block(steps):
    """n M = 8e6 numbers are held once, as coefficients: preactivations of all rows are not."""
    n, M = 20_000, 400
    net = TwoLayerReLU(np.ones((M, 1)), None, np.ones((1, M)))
    x, y = np.ones((n, 1)), np.ones(n)
    tracemalloc.start()
    gradient_descent(
        net, x, y, learning_rate=ETA, steps=steps, method="primal", batch_size=10, rng=0
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.5 * 8 * n * M


@given(seed=seeds())
def test_e14_coefficients_give_the_weights_and_methods_agree(seed):
    net, x, y = gaussian_problem(seed, n=20, d=9, M=6)
    primal, gram = (
        gradient_descent(net, x, y, learning_rate=ETA, steps=STEPS, method=method)
        for method in ("primal", "gram")
    )
    tolerance = tolerances.descent(net, x, ETA, STEPS)
    assert_close(primal.network.W, net.W + primal.coefficients.T @ x, tolerance)
    assert_close(gram.network.W, primal.network.W, tolerance)
    assert_close(gram.network.bias, primal.network.bias, tolerance)
    assert_close(gram.coefficients, primal.coefficients, tolerance)
    assert_close(gram.losses, primal.losses, tolerance)


@pytest.mark.parametrize("method", METHODS)
def test_e14_coefficients_by_hand(method):
    # f = 2 z: z = 3 and z = -1, so only the first sample moves the neuron, by 2 sigmoid(-6) / 2.
    net = TwoLayerReLU([[1.0]], None, [[2.0]])
    path = gradient_descent(net, [[3.0], [-1.0]], [1, -1], learning_rate=1, steps=1, method=method)
    move = 1 / (1 + math.exp(6.0))
    assert_close(path.coefficients, [[move], [0.0]], 8 * tolerances.U * move)
    assert_close(path.network.W, [[1 + 3 * move]], 8 * tolerances.U)


@pytest.mark.parametrize("method", METHODS)
def test_a_neuron_at_its_kink_does_not_move(method):
    net = TwoLayerReLU([[1.0, -1.0], [0.0, 0.0]], [0.0, 0.0], [[1.0, 1.0]])
    path = gradient_descent(net, [[2.0, 2.0]], [-1], learning_rate=1, steps=5, method=method)
    np.testing.assert_array_equal(path.network.W, net.W)
    np.testing.assert_array_equal(path.network.b, net.b)
    np.testing.assert_array_equal(path.coefficients, np.zeros((1, 2)))


@given(seed=seeds())
def test_full_batch_as_a_batch_of_all_rows(seed):
    net, x, y = gaussian_problem(seed)
    options = {"learning_rate": ETA, "steps": STEPS}
    whole = gradient_descent(net, x, y, **options)
    batch = gradient_descent(net, x, y, **options, batch_size=len(x), rng=seed)
    tolerance = tolerances.descent(net, x, ETA, STEPS)
    assert_close(batch.network.W, whole.network.W, tolerance)
    assert_close(batch.coefficients, whole.coefficients, tolerance)
    assert_close(batch.losses, whole.losses, tolerance)


def test_every_epoch_takes_every_row_once():
    # Every neuron stays active and no row is met twice in an epoch: all rows have moved after it.
    net, x, y = TwoLayerReLU([[0.0]], [1.0], [[1.0]]), np.zeros((5, 1)), np.ones(5)
    options = {"learning_rate": 0.1, "batch_size": 2, "rng": 0}
    moved = [gradient_descent(net, x, y, steps=steps, **options).coefficients for steps in range(4)]
    assert [np.count_nonzero(C) for C in moved] == [0, 2, 4, 5]


def test_a_generator_is_drawn_from_and_a_seed_repeats():
    net, x, y = gaussian_problem(3)
    options = {"learning_rate": ETA, "steps": 3, "batch_size": 2}
    rng = np.random.default_rng(5)
    first, second = (gradient_descent(net, x, y, **options, rng=rng) for _ in range(2))
    again = gradient_descent(net, x, y, **options, rng=5)
    np.testing.assert_array_equal(first.network.W, again.network.W)
    assert not np.array_equal(first.coefficients, second.coefficients)


@given(seed=seeds())
def test_training_is_equivariant_to_rotation(seed):
    net, x, y = gaussian_problem(seed)
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    rotated = TwoLayerReLU(net.W @ rotation, net.b, net.A, net.c)
    path = gradient_descent(net, x, y, learning_rate=ETA, steps=STEPS)
    other = gradient_descent(rotated, x @ rotation, y, learning_rate=ETA, steps=STEPS)
    tolerance = tolerances.descent(net, x, ETA, STEPS)
    assert_close(other.network.W, path.network.W @ rotation, tolerance)
    assert_close(other.coefficients, path.coefficients, tolerance)
    assert_close(other.losses, path.losses, tolerance)


@given(seed=seeds())
def test_training_is_equivariant_to_permutations(seed):
    net, x, y = gaussian_problem(seed)
    rng = np.random.default_rng(seed)
    neurons, rows = rng.permutation(net.n_hidden), rng.permutation(len(x))
    b = None if net.b is None else net.b[neurons]
    permuted = TwoLayerReLU(net.W[neurons], b, net.A[:, neurons], net.c)
    path = gradient_descent(net, x, y, learning_rate=ETA, steps=STEPS)
    other = gradient_descent(permuted, x[rows], y[rows], learning_rate=ETA, steps=STEPS)
    tolerance = tolerances.descent(net, x, ETA, STEPS)
    assert_close(other.network.W, path.network.W[neurons], tolerance)
    assert_close(other.coefficients, path.coefficients[np.ix_(rows, neurons)], tolerance)


@given(seed=seeds())
def test_training_is_equivariant_to_a_label_swap(seed):
    net, x, y = gaussian_problem(seed, n_outputs=1)
    swapped = TwoLayerReLU(net.W, net.b, -net.A, -net.c)
    path = gradient_descent(net, x, y, learning_rate=ETA, steps=STEPS)
    other = gradient_descent(swapped, x, -y, learning_rate=ETA, steps=STEPS)
    np.testing.assert_array_equal(other.network.W, path.network.W)  # signs are exact
    np.testing.assert_array_equal(other.losses, path.losses)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("batch", [{}, {"batch_size": 2, "rng": 0}])
def test_no_steps_give_the_network_and_its_loss(method, batch):
    net, x, y = gaussian_problem(1, n_outputs=1)
    path = gradient_descent(net, x, y, learning_rate=1, steps=0, method=method, **batch)
    _, _, loss = plain_descent(net, x, y, 1, [range(len(x))])
    assert_close(path.losses, loss, tolerances.descent(net, x, 1, 0))
    np.testing.assert_array_equal(path.network.W, net.W)
    np.testing.assert_array_equal(path.coefficients, np.zeros((len(x), net.n_hidden)))


@pytest.mark.parametrize("batch", [{}, {"batch_size": 2, "rng": 0}])
@pytest.mark.parametrize("method", ["primal", "gram"])
def test_callback_sees_every_step_and_networks_outlive_it(method, batch):
    net, x, y = gaussian_problem(2)
    options = {"learning_rate": ETA, "method": method, **batch}
    seen = []
    path = gradient_descent(net, x, y, steps=4, callback=lambda *a: seen.append(a), **options)
    assert [step for step, _, _ in seen] == [0, 1, 2, 3, 4]
    assert [loss for _, loss, _ in seen] == path.losses.tolist()
    for step, _, get_network in seen:  # asked for long after their step
        shorter = gradient_descent(net, x, y, steps=step, **options)
        np.testing.assert_array_equal(get_network().W, shorter.network.W)
        np.testing.assert_array_equal(get_network().bias, shorter.network.bias)
        np.testing.assert_array_equal(get_network.coefficients, shorter.coefficients)


@pytest.mark.parametrize("method", ["primal", "gram"])
def test_coefficients_of_a_step_stay_and_are_the_users(method):
    net, x, y = gaussian_problem(2)
    kept, untouched = [], gradient_descent(net, x, y, learning_rate=ETA, steps=3, method=method)

    def look(step, loss, get_network):
        kept.append(get_network.coefficients)
        get_network.coefficients[:] = np.nan  # a copy: training does not see it

    path = gradient_descent(net, x, y, learning_rate=ETA, steps=3, method=method, callback=look)
    np.testing.assert_array_equal(path.coefficients, untouched.coefficients)
    for step, C in enumerate(kept):  # arrays kept alone, without the snapshot they came from
        shorter = gradient_descent(net, x, y, learning_rate=ETA, steps=step, method=method)
        np.testing.assert_array_equal(C, shorter.coefficients)


@pytest.mark.parametrize("method", ["primal", "gram"])
def test_snapshots_stay_where_the_result_is_changed(method):
    net, x, y = gaussian_problem(2)
    kept = []
    path = gradient_descent(
        *(net, x, y),
        **{"learning_rate": ETA, "steps": 3, "method": method},
        callback=lambda step, loss, get_network: kept.append(get_network),
    )
    path.coefficients[:] = np.nan
    np.testing.assert_array_equal(kept[-1]().W, path.network.W)
    assert np.isfinite(kept[-1].coefficients).all()


@pytest.mark.parametrize("method", ["primal", "gram"])
def test_callback_costs_no_network_unless_asked(method, monkeypatch):
    net, x, y = gaussian_problem(2)
    built, build = [], TwoLayerReLU.__init__

    def counting(self, *arrays):
        built.append(arrays)
        build(self, *arrays)

    monkeypatch.setattr(TwoLayerReLU, "__init__", counting)
    gradient_descent(net, x, y, learning_rate=ETA, steps=3, method=method, callback=lambda *_: None)
    assert len(built) == 1  # the result


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_what_the_callback_raises_passes(error):
    def stop(step, loss, get_network):
        if step == 2:
            raise error

    net, x, y = gaussian_problem(2)
    with pytest.raises(error):
        gradient_descent(net, x, y, learning_rate=ETA, steps=3, callback=stop)


@pytest.mark.parametrize("method", ["primal", "gram"])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_divergence_is_an_error_that_names_the_step(method, n_outputs):
    net, x, y = gaussian_problem(4, n_outputs=n_outputs)
    with pytest.raises(FloatingPointError, match=r"at step [1-9].*smaller learning_rate"):
        gradient_descent(net, 4 * x, y, learning_rate=1e308, steps=3, method=method)


def test_an_infinite_output_on_the_right_side_is_divergence_too():
    # W = 1e308 after a step; then z = W x overflows while log(1 + exp(-inf)) = 0.
    net = TwoLayerReLU([[0.0]], [1e-300], [[1.0]])
    with pytest.raises(FloatingPointError, match="at step 1 "):
        gradient_descent(net, [[4.0]], [1], learning_rate=1.7e308, steps=2, method="primal")


@pytest.mark.parametrize("method", ["primal", "gram"])
def test_inputs_that_overflow_are_an_error_at_step_0(method):
    net = TwoLayerReLU([[1e200]], None, [[1.0]])
    with pytest.raises(FloatingPointError, match=r"at step 0.*scale x down"):
        gradient_descent(net, [[1e200]], [1], learning_rate=1, steps=2, method=method)


def test_auto_counts_multiplications_and_bounds_the_memory():
    net = TwoLayerReLU.binary(10, 2, rng=0)  # d = 10, M = 4
    # n = 5, T steps: n^2 d / 2 + n^2 M T = 125 + 100 T against 2 n d M T = 400 T.
    choices = [training._cheaper_method(net, 5, steps, 5) for steps in (0, 1)]
    assert choices == ["primal", "gram"]
    # n = 10: 500 + 400 T against 800 T.
    choices = [training._cheaper_method(net, 10, steps, 10) for steps in (1, 2)]
    assert choices == ["primal", "gram"]
    assert training._cheaper_method(net, 20, 10**9, 20) == "primal"  # n = 2 d


def test_arguments_are_not_changed():
    net, x, y = gaussian_problem(0, bias=True)
    x_before, y_before = x.copy(), y.copy()
    path = gradient_descent(net, x, y, learning_rate=ETA, steps=3)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(y, y_before)
    assert not np.array_equal(path.network.b, net.b)


BAD = {
    "x": [[[1.0]], [1.0, 2.0], np.zeros((0, 2)), [[np.nan, 0.0]], [["a", "b"]], [[1j, 0]]],
    "targets": [[0], [1, 1], [1.5], [np.nan], ["1"], None],
    "learning_rate": [0, -1, math.inf, math.nan, "0.1", [0.1], None],
    "steps": [-1, 1.5, True, "3", None],
    "method": ["dual", None, 1],
    "batch_size": [0, 2, -1, 1.0, True],
    "rng": [None, -1, 0.5, "seed"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values]
)
def test_bad_arguments_are_named(name, value):
    good = {"x": [[1.0, 2.0]], "targets": [1], "learning_rate": 0.1, "steps": 1}
    good |= {"batch_size": 1, "rng": 0, "method": "auto"}
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        gradient_descent(TwoLayerReLU.binary(2, 1, rng=0), **(good | {name: value}))


@pytest.mark.parametrize("value", [[3], [-1], [0.5]])
def test_bad_classes_are_named(value):
    net = TwoLayerReLU.multiclass(2, 3, rng=0)
    with pytest.raises(ValueError, match=r"^targets: expected"):
        gradient_descent(net, [[1.0, 2.0]], value, learning_rate=0.1, steps=1)
