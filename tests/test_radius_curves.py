"""Robust accuracy from radii, and attack gaps, against counts by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from refimpl import (
    GroupMax,
    RobustRadius,
    TwoLayerReLU,
    attack_gap,
    robust_accuracy,
    robust_radius,
)

INF = float("inf")


def radii(lower: Any, upper: Any) -> RobustRadius:
    n = len(lower)
    return RobustRadius(
        np.array(lower), np.array(upper), np.zeros((n, 1)), np.array(["bounded"] * n),
        np.zeros(n, np.int64), None,
    )  # fmt: skip


def test_e29_robust_accuracy_counts_radii_above_epsilon() -> None:
    found = radii([0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 2.0, INF])
    lower, upper = robust_accuracy(found, [0.0, 1.0, 2.0, 3.0])
    assert lower.tolist() == [0.75, 0.5, 0.25, 0.0]
    assert upper.tolist() == [0.75, 0.75, 0.25, 0.25]


def test_the_three_forms_of_radii_agree() -> None:
    found = radii([0.5, 1.5], [0.5, 1.5])
    expected = ([1.0, 0.5, 0.5], [1.0, 0.5, 0.5])
    for form in (found, (found.lower, found.upper), found.lower, [0.5, 1.5], (0.5, 1.5)):
        shares = robust_accuracy(form, [0.25, 0.5, 1.0])
        assert tuple(share.tolist() for share in shares) == expected


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 10)), min_size=1, max_size=20),
    st.lists(st.floats(0, 12), min_size=2, max_size=10),
)
def test_e29_curves_never_rise_and_enclose(pairs: list[Any], epsilons: list[float]) -> None:
    lower = np.array([min(pair) for pair in pairs])
    upper = np.array([max(pair) for pair in pairs])
    below, above = robust_accuracy((lower, upper), sorted(epsilons))
    assert (np.diff(below) <= 0).all()
    assert (np.diff(above) <= 0).all()
    assert (below <= above).all()
    by_hand = [sum(r > epsilon for r in lower) / len(lower) for epsilon in sorted(epsilons)]
    assert below.tolist() == by_hand


@pytest.mark.parametrize(
    ("form", "epsilons", "message"),
    [
        ([1.0, -1.0], [0.0], "radii: expected numbers of at least 0, got -1"),
        ([1.0, np.nan], [0.0], "radii: expected finite numbers, got nan"),
        ([1.0, -INF], [0.0], "radii: expected finite numbers, got -inf"),
        (([2.0], [1.0]), [0.0], "radii: expected no lower bound above its upper, got 2.0 above"),
        (([1.0], [1.0, 2.0]), [0.0], "radii: expected as many lower as upper bounds, got 1 and 2"),
        ([[1.0]], [0.0], "radii: expected real numbers of shape"),
        (["a"], [0.0], "radii: expected an array of real numbers"),
        ([1.0], [-1.0], "epsilons: expected numbers of at least 0, got -1"),
        ([1.0], [], "epsilons: expected real numbers of shape"),
        ([1.0], [INF], "epsilons: expected finite numbers, got inf"),
    ],
)
def test_robust_accuracy_refuses(form: Any, epsilons: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        robust_accuracy(form, epsilons)


SIGN = TwoLayerReLU([[1.0]], [0.0], [[1.0]], [-1.0])  # f(x) = ReLU(x) - 1


def test_attack_gap_by_hand() -> None:
    """Radius 1 at x = 2: an endpoint at 0.5 flips at 1.5 times it, one at 1.5 does not flip."""
    gap = attack_gap([1.0, 1.0, 1.0], SIGN, [[2.0]] * 3, [1] * 3, [[0.5], [1.5], [1.0]])
    assert gap.flips.tolist() == [True, False, True]
    assert gap.norm.tolist() == [1.5, 0.5, 1.0]
    assert gap.ratio.tolist() == [1.5, INF, 1.0]


def test_attack_gap_asks_in_the_norm_and_the_box_of_the_radii() -> None:
    net = TwoLayerReLU([[1, 0], [0, 1]], None, [[1, -1]])
    x, y, ends = [[3.0, 1.0]] * 2, [1, 1], [[2.0, 2.0], [0.0, 0.0]]  # (0, 0) is not in the box
    for norm, box in ((1, None), (np.inf, (1, 3)), (2, (1, 3))):
        radii = robust_radius(net, x, y, norm=norm, box=box)
        gap = attack_gap(radii, net, x, y, ends)
        assert gap.flips.tolist() == [True, box is None]
        assert gap.ratio[0] == pytest.approx(1.0, rel=1e-9)
        same = attack_gap(radii, net, x, y, ends, norm=norm, box=box)
        np.testing.assert_array_equal(gap.ratio, same.ratio)
        with pytest.raises(ValueError, match=r"norm: expected .*, that of the radii, got"):
            attack_gap(radii, net, x, y, ends, norm=3 - norm if norm < 3 else 1)
        with pytest.raises(ValueError, match="box: expected the box of the radii, got another"):
            attack_gap(radii, net, x, y, ends, box=(0, 3))


def test_attack_gap_refuses_points_whose_outputs_overflow() -> None:
    net = TwoLayerReLU([[1e200]], None, [[1e200]])
    with pytest.raises(ValueError, match=r"x_adv: .*outputs, got an overflow"):
        attack_gap([1.0], net, [[1e-300]], [1], [[1.0]])


def test_attack_gap_of_misclassified_samples_is_1_where_they_are_left_alone() -> None:
    gap = attack_gap([0.0, 0.0], SIGN, [[0.0]] * 2, [1] * 2, [[0.0], [-1.0]])
    assert gap.flips.all()
    assert gap.ratio.tolist() == [1.0, INF]


def test_attack_gap_takes_every_decision_and_a_result() -> None:
    net = TwoLayerReLU(np.eye(2), None, np.eye(2))
    x, y = np.array([[3.0, 1.0]]), [1]
    found = robust_radius(net, x, y, decision=GroupMax([1, -1]))
    gap = attack_gap(found, net, x, y, [[2.0, 2.0]], decision=GroupMax([1, -1]))
    assert gap.flips.all()
    assert gap.ratio[0] == pytest.approx(1.0, rel=1e-9)  # sqrt(2), up to the tolerance of `found`
    assert gap.ratio[0] >= 1.0


def test_attack_gap_measures_in_the_norm_and_counts_nothing_outside_the_box() -> None:
    line = TwoLayerReLU([[1.0, 0.0], [-1.0, 0.0]], None, [[1.0, -1.0]])  # f = x1, radius 1 at 1
    x, x_adv = [[1.0, 0.5]] * 3, [[-2.0, 4.5], [-0.25, 0.5], [0.0, 0.5]]
    for norm, lengths in ((1, [7.0, 1.25, 1.0]), (2, [5.0, 1.25, 1.0]), (INF, [4.0, 1.25, 1.0])):
        gap = attack_gap([1.0] * 3, line, x, [1] * 3, x_adv, norm=norm)
        assert (gap.flips.tolist(), gap.norm.tolist()) == ([True] * 3, lengths)
        for box, inside in (((0, 1), [False, False, True]), (([-0.25, -INF], INF), [False, 1, 1])):
            gap = attack_gap([1.0] * 3, line, x, [1] * 3, x_adv, norm=norm, box=box)
            assert gap.flips.tolist() == inside
            assert gap.norm.tolist() == lengths
            wanted = [size if ok else INF for size, ok in zip(lengths, inside, strict=True)]
            assert gap.ratio.tolist() == wanted


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"norm": 0}, "norm: expected"), ({"box": (1, 0)}, "box: exp"), ({"box": (0, 1)}, "x: expec")],
)
def test_attack_gap_refuses_norms_and_boxes(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        attack_gap([1.0], SIGN, [[2.0]], [1], [[0.5]], **arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0, 1.0], SIGN, [[2.0]], [1], [[0.5]]), "radii: expected 1 radii, got 2"),
        (([1.0], SIGN, [[2.0]], [1], [[0.5, 1.0]]), "x_adv: expected real numbers of shape"),
        (([1.0], SIGN, [[2.0]], [0], [[0.5]]), "y: expected labels in"),
        (([1.0], SIGN, [[2.0, 1.0]], [1], [[0.5, 1.0]]), "x: expected real numbers of shape"),
    ],
)
def test_attack_gap_refuses(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attack_gap(*arguments)


def test_confidence_bands_are_those_of_clopper_and_pearson() -> None:
    """The end p of k successes in n makes k or more of them as probable as one tail."""
    radii = ([0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 1.5, 2.0, 3.0, 5.0])
    epsilons = [0.0, 1.2, 2.5, 4.5, 9.0]
    low, high = robust_accuracy(radii, epsilons, confidence=0.9)
    for end, k in zip(low, [4, 3, 2, 0, 0], strict=True):
        assert stats.binom.sf(k - 1, 5, end) == pytest.approx(0.05 if k else 1.0, rel=1e-9)
    for end, k in zip(high, [4, 4, 2, 1, 0], strict=True):
        assert stats.binom.cdf(k, 5, end) == pytest.approx(0.05, rel=1e-9)
    assert low[-1] == 0.0
    assert robust_accuracy([1.0], [0.5], confidence=0.9)[1].tolist() == [1.0]
    # By hand: all of n robust, p^n = (1 - 0.95)/2; wider bands for more confidence.
    assert robust_accuracy([1.0] * 3, [0.5], confidence=0.95)[0][0] == pytest.approx(
        0.025 ** (1 / 3)
    )


@pytest.mark.parametrize("bad", [0, 1, -0.5, 95, np.nan, "0.95"])
def test_confidence_is_between_0_and_1(bad: Any) -> None:
    with pytest.raises(ValueError, match=r"^confidence: expected"):
        robust_accuracy([1.0], [0.5], confidence=bad)


def test_lengths_whose_squares_are_out_of_range():
    net = TwoLayerReLU([[1.0, 1.0]], None, [[1.0]])
    gap = attack_gap([0.0, 0.0], net, [[1, 1]] * 2, [1, 1], [[3e200, 4e200], [1, 1]])
    assert gap.norm.tolist() == [pytest.approx(5e200), 0.0]
