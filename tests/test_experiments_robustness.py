"""Measuring a classifier, and saying what came out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from refimpl import TwoLayerReLU, robust_radius
from refimpl.experiments import report, robustness
from refimpl.experiments.comparison import Comparison
from refimpl.experiments.robustness import THREATS, Classifier, Robustness
from refimpl.radius import RobustRadius


def _measured(upper, steps, pgd, status=None):
    upper = np.array(upper)
    n = len(upper)
    lower = np.where(np.isinf(upper), 0, upper)
    radius = RobustRadius(
        lower, upper, np.zeros((n, 1)), np.array(status or ["exact"] * n), np.zeros(n, int), None
    )
    return Robustness(radius, np.array(steps), np.array([0.0, 1.5]), np.array(pgd))


def test_curves_and_summary_by_hand():
    measured = _measured([0.0, 1.0, 2.0, 2.0], [0.0, 1.0, 2.0, 3.0], [0.75, 0.5])
    assert measured.curves() == {
        "pgd": [0.75, 0.5],
        "closed_form": [0.75, 0.5],
        "exact": [0.75, 0.5],
        "exact_upper": [0.75, 0.5],
    }
    assert measured.summary() == {
        "min": 0.0,
        "p10": 0.0,
        "median": 1.0,
        "p90": 2.0,
        "max": 2.0,
        "median_lower": 1.0,
        "bounded": 0,
        "share_exact": 1.0,
        "largest_closed_form_ratio": 1.5,
        "largest_closed_form_gap": 0.0,
        "largest_pgd_gap": 0.0,
    }


@pytest.mark.parametrize("n", [1, 2, 7, 10])
def test_interpolated_quantiles_are_those_of_numpy(n):
    values = np.random.default_rng(n).exponential(size=n)
    found = robustness.interpolated_quantiles(values)
    assert found["median"] == np.median(values)
    assert list(found.values()) == np.quantile(values, [0, 0.1, 0.5, 0.9, 1]).tolist()


def test_interpolated_quantiles_next_to_infinite_values():
    found = robustness.interpolated_quantiles(np.array([1.0, 2.0, 4.0, np.inf]))
    assert found == {"min": 1.0, "p10": 1.3, "median": 3.0, "p90": None, "max": None}
    assert set(robustness.interpolated_quantiles(np.full(2, np.inf)).values()) == {None}


def test_gaps_are_above_what_was_fooled_and_bounds_are_counted():
    # at 1.5 one of two is fooled for certain, and the other is not shown to be
    measured = _measured([1.0, np.inf], [np.inf, 2.0], [1.0, 0.75], ["exact", "bounded"])
    summary = measured.summary()
    assert (summary["largest_pgd_gap"], summary["largest_closed_form_gap"]) == (0.25, 0.5)
    assert (summary["bounded"], summary["median"], summary["median_lower"]) == (1, 1.0, 0.0)


def test_bounds_that_are_open_and_steps_that_never_flip_are_said_in_json_too():
    measured = _measured([1.0, np.inf], [np.inf, np.inf], [1.0, 1.0], ["exact", "bounded"])
    summary = measured.summary()
    assert (summary["max"], summary["largest_closed_form_ratio"]) == (None, None)
    assert summary["share_exact"] == 0.5
    assert measured.curves()["exact"] == [0.5, 0.0]
    assert measured.curves()["exact_upper"] == [1.0, 0.5]
    assert "inf" in report.radii({"averaging": measured})


def test_an_unreachable_sample_is_settled():
    measured = _measured([1.0, np.inf], [1.0, np.inf], [1.0, 0.5], ["exact", "unreachable"])
    assert measured.summary()["share_exact"] == 1.0


def test_without_closed_form_steps_nothing_is_said_of_them():
    measured = replace(_measured([1.0, 1.0], [1.0, 1.0], [1.0, 0.5]), steps=None)
    assert measured.curves().keys() == {"pgd", "exact", "exact_upper"}
    assert not [key for key in measured.summary() if "closed_form" in key]
    assert measured.summary()["largest_pgd_gap"] == 0.5


def test_threats_are_said_in_a_word():
    said = {name: str(threat) for name, threat in robustness.THREATS.items()}
    assert said == {
        **{"l2": "l2", "linf": "l_inf"},
        **{"l2_box": "l2 in [0, 1]", "linf_box": "l_inf in [0, 1]"},
    }


def test_largest_ratio_without_any_positive_radius_is_unknown():
    assert np.isnan(robustness.largest_ratio(np.zeros(2), np.zeros(2)))


def test_measure_finds_steps_and_pgd_of_a_line(capsys):
    # f(x) = x_1 on the whole line: r = |x_1|, and every attack along it needs as much.
    net = TwoLayerReLU([[1.0, 0.0], [-1.0, 0.0]], None, [[1.0, -1.0]])
    x, y = np.array([[1.0, 5.0], [-2.0, 0.0], [3.0, 0.0]]), np.array([1, -1, -1])
    radius = robust_radius(net, x, y)
    measured = robustness.measure(
        *(Classifier(net, "sign"), x, y, radius),
        threat=THREATS["l2"],
        direction=-y[:, None] * np.array([1.0, 0.0]),
        epsilons=np.array([0.0, 1.5, 2.5]),
        pgd_steps=20,
        rng=np.random.default_rng(0),
        progress=None,
    )
    assert measured.radius is radius
    np.testing.assert_allclose(measured.radius.upper, [1, 2, 0], rtol=2e-9)  # tol, twice
    assert measured.steps.tolist() == [1, 2, 0]
    assert measured.pgd.tolist() == [2 / 3, 1 / 3, 0]
    assert capsys.readouterr().err == ""


# f(x) = ReLU(2 x_1 + 2 x_2 - 1): x_1 + x_2 = 1/2 is where it first is 0, and 0 is a tie.
NET = TwoLayerReLU([[2.0, 2.0]], [-1.0], [[1.0]])
LINE = TwoLayerReLU([[1.0, 0.0], [-1.0, 0.0]], None, [[1.0, -1.0]])  # f = x_1
TEN = TwoLayerReLU(LINE.W, None, np.eye(2))  # the same of two outputs
FEATURES, LABELS = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.array([1, -1])
X = np.array([[0.1, 0.9], [0.5, 0.5]])
BY_HAND = {  # of (0.1, 0.9), that ends at x_1 = 0 in the box, and of (1/2, 1/2)
    "l2": (0.5 / np.sqrt(2), 0.5 / np.sqrt(2)),
    "linf": (0.25, 0.25),
    "l2_box": (np.hypot(0.1, 0.4), 0.5 / np.sqrt(2)),
    "linf_box": (0.4, 0.25),
}


@pytest.mark.parametrize("threat", THREATS)
def test_radii_and_pgd_are_those_of_the_norm_and_the_box(threat):
    comparison = Comparison(FEATURES, LABELS, NET, TEN, 1)
    radii = np.array(BY_HAND[threat])
    near, far = 0.99 * radii.min(), 1.1 * radii.max()
    measured = comparison.robustness(
        *(X, np.array([0, 0])),
        epsilons=np.array([near, far]),
        pgd_steps=100,
        max_nodes=100,
        rng=np.random.default_rng(0),
        progress=False,
        threat=THREATS[threat],
    )["averaging"]
    np.testing.assert_allclose(measured.radius.upper, radii, rtol=4e-9)
    assert measured.pgd.tolist() == [1, 0]
    assert (measured.steps is not None) == (threat == "l2")


def test_without_radii_of_curves_they_go_up_to_those_of_the_samples():
    comparison = Comparison(FEATURES, LABELS, LINE, TEN, 1)
    measured = comparison.robustness(
        *(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([0, 0])),
        epsilons=None,
        pgd_steps=1,
        max_nodes=100,
        rng=np.random.default_rng(0),
        progress=False,
    )
    for each in measured.values():
        np.testing.assert_allclose(each.epsilons, 0.092 * np.arange(25))  # 1.1 times 2, over 24


def _clipped(net, x, y, delta):
    """Upper bounds of l2 radii in [0, 1]: clipped multiples of a perturbation that still flip."""
    bounds = np.where(net.predict(x, "sign") == y, np.inf, 0.0)
    for scale in np.geomspace(1, 16, 49):
        inside = np.clip(x + scale * delta, 0, 1)
        flips = net.outputs(inside)[:, 0] * y <= 0
        bounds[flips] = np.minimum(bounds, np.linalg.norm(inside - x, axis=1))[flips]
    return bounds


def test_radii_in_the_box_lie_between_those_without_one_and_clipped_points():
    rng = np.random.default_rng(0)
    net = TwoLayerReLU(rng.normal(size=(6, 5)), rng.normal(size=6), rng.normal(size=(1, 6)))
    x = rng.uniform(size=(40, 5))
    y = np.where(net.outputs(x)[:, 0] > 0, 1, -1)
    free, boxed = robust_radius(net, x, y), robust_radius(net, x, y, box=(0, 1))
    clipped = _clipped(net, x, y, np.nan_to_num(free.perturbation))
    finite = np.isfinite(clipped)
    assert finite.sum() >= 10
    assert (free.lower <= boxed.upper).all()
    assert (boxed.lower <= clipped * (1 + 1e-12)).all()
    assert (clipped[finite] > 1.001 * boxed.upper[finite]).any()  # clipping is no exact answer


def test_correct_counts_a_tie_as_wrong():
    net = TwoLayerReLU([[1.0]], None, [[1.0]])
    correct = Classifier(net, "sign").correct(np.array([[1.0], [0.0]]), np.array([1, 1]))
    assert correct.tolist() == [True, False]


def test_tables_print_laws_and_gaps_where_they_are_known():
    measured = {"averaging": _measured([1.0, 2.0], [2.0, 2.0], [1.0, 0.5])}
    laws = {"averaging": np.array([1.0, 0.25])}
    assert report.robust_accuracies(measured, laws).splitlines()[1:4] == [
        "epsilon      law    exact  closed form  above      PGD  above",
        "0        100.0 %  100.0 %      100.0 %   +0.0  100.0 %   +0.0",
        "1.5       25.0 %   50.0 %      100.0 %  +50.0   50.0 %   +0.0",
    ]
    assert "law" not in report.robust_accuracies(measured, {}).splitlines()[1]


def test_rows_of_a_curve_that_repeat_their_neighbours_are_left_out():
    epsilons = np.arange(8.0)
    measured = replace(_measured([4.0], [4.0], [1.0]), epsilons=epsilons, pgd=1.0 * (epsilons < 5))
    rows = report.robust_accuracies({"averaging": measured}, {}).splitlines()[2:]
    assert [row.split()[0] for row in rows[:4]] == ["3", "4", "5", "exact:"]
    assert "t*/r:" in report.radii({"averaging": measured})


def test_settings_are_said_in_lines_that_break_between_them():
    labels = [1, -1] * 60
    said = report.settings_line({"k": 120, "labels": labels, "unit": "pixel units", "x": None})
    assert said.splitlines() == [
        "k 120,",
        f"labels {','.join(map(str, labels))},",
        "unit pixel units",
    ]


def test_the_table_of_l_inf_compares_with_averaging():
    named = {
        "averaging": _measured([1.0, 2.0], [1.0, 2.0], [1.0, 1.0]),
        "group_max": _measured([3.0, 6.0], [1.0, 2.0], [1.0, 1.0]),
        "group_sum": _measured([np.inf, np.inf], [1.0, 2.0], [1.0, 1.0]),
    }
    rows = report.linf(named, d=8).splitlines()
    assert [row.split()[-3:] for row in rows[1:4]] == [
        ["1", "1", "+50.0"],
        ["3", "3", "+0.0"],
        ["inf", "inf", "+0.0"],
    ]
    assert "sqrt(2d/pi) = 2.257" in rows[-1] or "sqrt(2d/pi) = 2.257" in rows[-2]
