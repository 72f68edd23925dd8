"""The strategies keep their promises, reach the hard cases, and shrink to something readable."""

from __future__ import annotations

import builtins
import importlib
import sys

import hypothesis
import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from refimpl import GroupMax, GroupSum, _rational, decisions, strategies

SEARCH = hypothesis.settings(max_examples=2000, database=None, derandomize=True)
REACH = hypothesis.settings(SEARCH, phases=[hypothesis.Phase.generate])


def reach(strategy, condition):
    """An example that meets a condition; raises `NoSuchExample` where 2000 do not."""
    return hypothesis.find(strategy, condition, settings=REACH)


@given(st.data(), st.lists(st.integers(1, 12), min_size=1, max_size=2), st.integers(1, 8))
def test_arrays_are_bounded_and_never_nearly_0(data, shape, limit):
    array = data.draw(strategies.arrays(tuple(shape), limit=limit))
    assert array.shape == tuple(shape)
    assert array.dtype == np.float64
    size = np.abs(array[array != 0])
    assert (size >= 1e-5).all()
    assert (size <= limit).all()


def test_large_arrays_differ_by_seed():
    large = reach(strategies.arrays((100,)), lambda array: len(set(array)) > 3)
    assert np.abs(large).max() <= 8


@given(strategies.distributions(max_clusters=3, max_dim=2))
def test_distributions_keep_their_bounds(dist):
    assert 2 <= dist.n_clusters <= 3
    assert 1 <= dist.dim <= 2
    assert dist.features.any(axis=1).all()


@given(strategies.distributions(orthogonal=True))
def test_orthogonal_distributions(dist):
    gram = dist.features @ dist.features.T
    np.testing.assert_allclose(gram, dist.dim * np.eye(dist.n_clusters), atol=1e-12)


@pytest.mark.parametrize(
    "condition",
    [
        lambda dist: dist.n_clusters > dist.dim,
        lambda dist: dist.noise_std == 0,
        lambda dist: dist.imbalance == 3,
        lambda dist: len(np.unique(dist.features, axis=0)) < dist.n_clusters,
    ],
    ids=["k>d", "noiseless", "unbalanced", "equal features"],
)
def test_distributions_reach(condition):
    reach(strategies.distributions(), condition)


@given(st.data())
def test_samples_come_from_their_distribution(data):
    dist = data.draw(strategies.distributions())
    sample = data.draw(strategies.samples(dist, max_size=3))
    assert 1 <= len(sample.x) <= 3
    np.testing.assert_array_equal(sample.y, dist.labels[sample.cluster])
    noise = np.abs(sample.x - dist.features[sample.cluster])
    assert (noise <= 3 * dist.noise_std + 1e-14).all()  # adding and subtracting rounds


def test_samples_need_no_distribution():
    reach(strategies.samples(), lambda sample: len(np.unique(sample.x, axis=0)) < len(sample.x))


@given(strategies.networks(max_dim=2, max_hidden=3, max_outputs=4))
def test_networks_keep_their_bounds(net):
    assert net.dim <= 2
    assert net.n_hidden <= 4  # an idealised or multi-class network has M >= K
    assert net.n_outputs <= 4


@given(strategies.networks(dim=40, max_hidden=20, kinds=("general",)))
def test_large_networks(net):
    assert net.dim == 40
    assert 1 <= net.n_hidden <= 20


@given(strategies.networks(dim=3, n_outputs=2))
def test_networks_take_fixed_sizes(net):
    assert (net.dim, net.n_outputs) == (3, 2)


@given(st.data(), st.sampled_from(["binary", "averaging", "multiclass", "decoupling"]))
def test_networks_of_a_kind(data, kind):
    scalar = kind in ("binary", "averaging")
    net = data.draw(strategies.networks(n_outputs=1 if scalar else 2, kinds=(kind,)))
    M = net.n_hidden
    if scalar:
        assert net.A.tolist() == [[2 / M] * (M // 2) + [-2 / M] * (M // 2)]
        assert (net.b is None) == (kind == "averaging")
    else:
        h = M // 2
        assert net.A.tolist() == [[1 / h] * h + [0.0] * h, [0.0] * h + [1 / h] * h]
        assert (net.b is None) == (kind == "multiclass")
    assert not net.c.any()


def _parallel(net):
    unit = net.W[np.linalg.norm(net.W, axis=1) > 0]
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    return (np.abs(unit @ unit.T) > 1 - 1e-12).sum() > len(unit)


@pytest.mark.parametrize(
    "condition",
    [
        lambda net: net.n_hidden > net.dim,
        lambda net: net.n_hidden < net.dim,
        lambda net: net.n_outputs == 3,
        lambda net: (net.A > 0).any() and (net.A < 0).any(),
        lambda net: net.b is None,
        lambda net: net.b is not None and net.b.any(),
        lambda net: net.c.any(),
        lambda net: net.dim > 1 and _parallel(net),
        lambda net: len(np.unique(net.W, axis=0)) < net.n_hidden and net.W.any(),
        lambda net: net.W.any() and not net.W.any(axis=1).all(),
        lambda net: net.A.any() and not net.A.any(axis=0).all(),
        lambda net: net.A.any() and np.abs(net.A).max() < 1e-7,
        lambda net: np.abs(net.W).max() > 1e8,
    ],
    ids=[
        "M>d", "M<d", "K=3", "mixed signs", "no bias", "bias", "output bias", "parallel",
        "duplicate", "zero neuron", "unread neuron", "tiny outputs", "large weights",
    ],
)  # fmt: skip
def test_networks_reach(condition):
    reach(strategies.networks(), condition)


@given(strategies.networks(scales=False, degenerate=False))
def test_networks_without_scales_stay_moderate(net):
    assert max(np.abs(net.W).max(), np.abs(net.A).max()) <= 32  # E17 sums up to four features


@pytest.mark.slow
def test_networks_shrink_to_a_few_zeros_and_ones():
    net = hypothesis.find(
        strategies.networks(),
        lambda net: net.outputs([[1.0] * net.dim]).min() > 0,
        settings=SEARCH,
    )
    assert net.n_hidden <= 3
    assert max(net.dim, net.n_outputs) <= 2
    entries = np.concatenate([net.W.ravel(), net.A.ravel(), net.bias, net.c])
    assert set(entries) <= {-1.0, 0.0, 1.0}


@given(strategies.networks(), st.data())
def test_inputs_on_kinks(net, data):
    x = data.draw(strategies.inputs(net, kinks="on"))
    assert (net.preactivations(x) == 0).any(axis=1).all()


@given(strategies.networks(), st.data())
def test_inputs_off_kinks_survive_relative_changes(net, data):
    margin = 0.01
    x = data.draw(strategies.inputs(net, n=2, kinks="off", margin=margin))
    signs = net.preactivations(x) > 0
    assert (net.preactivations(x) != 0).all()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        W, b, moved = (
            value * (1 + margin / 3 * rng.choice([-1, 1], size=value.shape))
            for value in (net.W, net.bias, x)
        )
        np.testing.assert_array_equal(moved @ W.T + b > 0, signs)


def _on_biased_kink(net, x):
    return net.bias[net.preactivations(x)[0] == 0].any()


def test_inputs_on_kinks_reach_neurons_with_a_bias_off_the_origin():
    cases = strategies.networks().flatmap(
        lambda net: st.tuples(st.just(net), strategies.inputs(net, n=1, kinks="on"))
    )
    net, x = reach(
        cases,
        lambda case: case[1].any() and case[0].bias[case[0].preactivations(case[1])[0] == 0].any(),
    )
    assert net.preactivations(x).shape == (1, net.n_hidden)


def test_inputs_refuse_other_kinks():
    with pytest.raises(ValueError, match="kinks: expected 'any' or 'on' or 'off', got 'none'"):
        reach(strategies.networks().flatmap(lambda net: strategies.inputs(net, kinks="none")), bool)


@given(st.data(), st.integers(2, 6))
def test_partitions_have_both_classes(data, k):
    labels = data.draw(strategies.partitions(k))
    assert set(labels) == {-1, 1}
    assert labels.shape == (k,)


@given(strategies.problems())
def test_problems_fit_together(problem):
    net, decision, x, y = problem
    decisions.check_decision(decision, net.n_outputs)
    decisions.check_labels(y, len(x), decision, net.n_outputs)
    assert net.outputs(x).shape == (len(y), net.n_outputs)


@pytest.mark.parametrize("kinks", ["any", "on"])
@given(data=st.data())
def test_correct_problems_are_classified_right_and_are_no_ties_in_rationals(kinks, data):
    net, decision, x, y = data.draw(strategies.problems(correct=True, kinks=kinks))
    assert (decisions.margin(net.outputs(x), y, decision) > 0).all()
    for row, label in zip(x, y, strict=True):
        F = _rational.outputs(net, row)
        for D in decisions.targets(int(label), decision, net.n_outputs):
            assert max(D.astype(int).astype(object) @ F) > 0


@pytest.mark.parametrize("kind", ["binary", "averaging", "multiclass", "decoupling"])
def test_one_kind_alone_works_without_a_number_of_outputs(kind):
    @examples(50)
    @given(strategies.networks(kinds=(kind,)))
    def has_its_number(net):
        assert (net.n_outputs == 1) == (kind in ("binary", "averaging"))

    has_its_number()


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"kinds": ("convex",)}, "kinds: expected 'general' or .*, got 'convex'"),
        ({"kinds": ()}, "kinds: expected a kind that fits 1 to 3 outputs and 5 hidden neurons"),
        ({"kinds": ("binary",), "n_outputs": 2}, "kinds: expected a kind that fits 2 to 2 outp"),
        ({"kinds": ("multiclass",), "max_hidden": 1}, "kinds: expected a kind that fits 1 to 3"),
    ],
)
def test_kinds_that_there_are_not_are_refused(sizes, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        hypothesis.find(strategies.networks(**sizes), bool)


def test_orthogonal_features_on_a_line_are_refused():
    with pytest.raises(ValueError, match=r"^max_dim: expected at least 2 .*, got 1"):
        strategies.distributions(orthogonal=True, max_dim=1)


@pytest.mark.parametrize("kind", [GroupMax, GroupSum])
def test_problems_reach_ties_of_every_decision(kind):
    def tied(problem):
        margin = decisions.margin(problem.net.outputs(problem.x), problem.y, problem.decision)
        return isinstance(problem.decision, kind) and (margin == 0).any() and problem.net.A.any()

    reach(strategies.problems(), tied)


@given(strategies.networks(), st.data())
def test_targets_and_cotangents_fit_the_network(net, data):
    targets = data.draw(strategies.targets(net, 4))
    allowed = {-1, 1} if net.n_outputs == 1 else set(range(net.n_outputs))
    assert set(targets) <= allowed
    cotangent = data.draw(strategies.cotangents(net, 4))
    assert cotangent.shape in {(net.n_outputs,), (4, net.n_outputs)}


def test_without_hypothesis_the_error_names_the_extra(monkeypatch):
    real_import = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "hypothesis":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "refimpl.strategies")
    with pytest.raises(ImportError, match=r"pip install '\.\[check\]' in a checkout"):
        importlib.import_module("refimpl.strategies")
