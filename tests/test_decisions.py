"""Decisions against their definitions, written out as loops; integer outputs make ties common."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refimpl import GroupMax, GroupSum, TwoLayerReLU, decisions, strategies


@st.composite
def decided(draw):
    """A decision, outputs (n,K) in small integers, and labels of its kind."""
    K = draw(st.integers(1, 4))
    decision = draw(strategies.decisions(K))
    n = draw(st.integers(1, 4))
    outputs = np.array(draw(st.lists(st.lists(st.integers(-2, 2), min_size=K, max_size=K),
                                     min_size=n, max_size=n)), float)  # fmt: skip
    return decision, outputs, draw(strategies.labels_for(decision, n, K))


def adversarial_by_definition(F, y, decision, ties):
    """Conventions of the default and of strict ties, word by word."""
    strict = ties == "robust"
    if decision == "argmax":
        return any(F[t] > F[y] if strict else F[t] >= F[y] for t in range(len(F)) if t != y)
    if isinstance(decision, GroupMax):
        own = max(F[j] for j in range(len(F)) if decision.labels[j] == y)
        other = max(F[j] for j in range(len(F)) if decision.labels[j] != y)
        return other > own if strict else other >= own
    f = F[0] if decision == "sign" else sum(s * v for s, v in zip(decision.labels, F, strict=True))
    return y * f < 0 if strict else y * f <= 0


@given(decided(), st.sampled_from(decisions.TIES))
def test_adversarial_is_the_definition_with_ties(case, ties):
    decision, outputs, y = case
    expected = [adversarial_by_definition(*row, decision, ties) for row in zip(outputs, y)]  # noqa: B905  # zip of rows and labels
    assert decisions.adversarial(outputs, y, decision, ties).tolist() == expected


@given(decided(), st.sampled_from(decisions.TIES))
def test_e30_targets_are_a_union_of_polyhedra_equal_to_the_adversarial_set(case, ties):
    decision, outputs, y = case
    below = np.less if ties == "robust" else np.less_equal
    union = [
        any(below(D @ F, 0).all() for D in decisions.targets(int(label), decision, len(F)))
        for F, label in zip(outputs, y, strict=True)
    ]
    assert union == decisions.adversarial(outputs, y, decision, ties).tolist()


@given(decided())
def test_a_positive_margin_means_that_the_label_is_predicted(case):
    decision, outputs, y = case
    predicted = decisions.predict(outputs, decision)
    margin = decisions.margin(outputs, y, decision)
    assert (predicted[margin > 0] == y[margin > 0]).all()
    assert (predicted[margin < 0] != y[margin < 0]).all()


@given(decided())
def test_negated_labels_negate_the_grouped_decisions(case):
    decision, outputs, y = case
    if isinstance(decision, GroupMax | GroupSum):
        negated = type(decision)(-decision.labels)
        np.testing.assert_array_equal(
            decisions.margin(outputs, y, decision), decisions.margin(outputs, -y, negated)
        )


def test_predict_at_ties():
    outputs = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0]])
    assert decisions.predict(outputs, "argmax").tolist() == [0, 1]
    assert decisions.predict(outputs, GroupMax([1, -1, -1])).tolist() == [0, -1]
    assert decisions.predict(outputs, GroupSum([1, -1, -1])).tolist() == [0, -1]
    assert decisions.predict(np.array([[0.0], [-0.0], [3.0], [-2.0]]), "sign").tolist() == [
        0, 0, 1, -1,
    ]  # fmt: skip


def test_margins_by_hand():
    F = np.array([[3.0, 1.0, 2.5]])
    assert decisions.margin(F, np.array([2]), "argmax").tolist() == [-0.5]
    assert decisions.margin(F, np.array([-1]), GroupMax([-1, 1, 1])).tolist() == [0.5]
    assert decisions.margin(F, np.array([1]), GroupSum([-1, 1, 1])).tolist() == [0.5]


def test_neighbouring_floats_and_subnormal_differences_are_not_ties():
    tiny = 5e-324
    close = np.array([[1.0, np.nextafter(1.0, 2.0)], [tiny, 0.0], [3 * tiny, 2 * tiny]])
    assert decisions.predict(close, GroupMax([1, -1])).tolist() == [-1, 1, 1]
    y = np.array([1, 0, 0])
    assert not decisions.adversarial(close, y, "argmax", "adversarial").any()


def test_grouped_decisions_are_values():
    assert GroupMax([1, -1]) == GroupMax(np.array([1.0, -1.0]))
    assert hash(GroupMax([1, -1])) == hash(GroupMax([1, -1]))
    assert GroupMax([1, -1]) != GroupMax([-1, 1])
    assert GroupMax([1, -1]) != GroupSum([1, -1])
    labels = np.array([1, -1])
    decision = GroupMax(labels)
    labels[0] = -1
    assert decision.labels.tolist() == [1, -1]
    with pytest.raises(ValueError, match="read-only"):
        decision.labels[0] = -1


@pytest.mark.parametrize("kind", [GroupMax, GroupSum])
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([1, 0], "got 0"),
        ([1, 1], r"classes in both groups, got only \+1"),
        ([-1], "classes in both groups, got only -1"),
        ([], r"shape \(K,\), K at least 1, got shape \(0,\)"),
        ([[1, -1]], "got shape"),
        ([True, False], "got dtype bool"),
        (None, "got dtype object"),
    ],
)
def test_grouped_labels_refused(kind, bad, message):
    with pytest.raises(ValueError, match=f"^labels: expected .*{message}"):
        kind(bad)


@pytest.mark.parametrize(
    ("decision", "n_outputs", "message"),
    [
        ("sign", 2, r"K = 1 output for 'sign', got K = 2, which takes 'argmax', GroupMax\("),
        ("argmax", 1, "K > 1 outputs for 'argmax', got K = 1, which takes 'sign'$"),
        ("max", 2, "'sign', 'argmax', GroupMax.*, got 'max'"),
        (None, 2, "got None"),
        (GroupMax, 2, "got <class"),
        (["sign"], 1, r"got \['sign'\]"),
        (GroupMax([1, -1]), 3, "one label for each of 3 outputs, got 2 labels"),
        (GroupSum([1, -1]), 1, "one label for each of 1 outputs, got 2 labels"),
    ],
)
def test_decisions_refused(decision, n_outputs, message):
    with pytest.raises(ValueError, match=f"^decision: expected .*{message}"):
        decisions.check_decision(decision, n_outputs)


def test_labels_follow_the_decision():
    assert decisions.check_labels([0, 2], 2, "argmax", 3).tolist() == [0, 2]
    assert decisions.check_labels([-1, 1], 2, GroupMax([1, 1, -1]), 3).tolist() == [-1, 1]
    for decision, bad in (("argmax", [0, 3]), ("argmax", [-1, 0]), (GroupSum([1, -1]), [0, 1])):
        with pytest.raises(ValueError, match=r"^y: expected (class|.* of the two groups for Gr)"):
            decisions.check_labels(bad, 2, decision, 3)
    with pytest.raises(ValueError, match=r"^y: expected real numbers of shape"):
        decisions.check_labels([1, 1, 1], 2, "sign", 1)


def test_e30_targets_by_hand():
    assert decisions.targets(-1, "sign", 1).tolist() == [[[-1.0]]]
    assert decisions.targets(-1, GroupSum([1, -1]), 2).tolist() == [[[-1.0, 1.0]]]
    assert decisions.targets(1, GroupMax([1, -1, 1]), 3).tolist() == [
        [[1.0, -1.0, 0.0], [0.0, -1.0, 1.0]]
    ]


def test_a_network_decides_as_its_outputs_do():
    net = TwoLayerReLU(np.eye(2), None, np.eye(2))
    x = [[2.0, 1.0], [0.0, 1.0], [-1.0, -1.0]]
    assert net.predict(x, "argmax").tolist() == [0, 1, 0]
    assert net.predict(x, GroupMax([-1, 1])).tolist() == [-1, 1, 0]
    with pytest.raises(ValueError, match="decision: expected K = 1 output"):
        net.predict(x, "sign")
