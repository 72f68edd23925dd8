"""Measuring a classifier, and saying what came out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refimpl import TwoLayerReLU
from refimpl.experiments import report, robustness
from refimpl.experiments.robustness import Classifier, InBox, Robustness
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


def test_radii_within_a_box_have_a_curve_and_a_median():
    measured = replace(_measured([1.0, 1.0], [1.0, 1.0], [1.0, 0.0]), box=np.array([1.0, 2.0]))
    assert measured.curves()["box"] == [1.0, 0.5]
    assert measured.summary()["median_box"] == 1.0


def test_largest_ratio_without_any_positive_radius_is_unknown():
    assert np.isnan(robustness.largest_ratio(np.zeros(2), np.zeros(2)))


def test_measure_finds_radii_steps_and_pgd_of_a_line(capsys):
    # f(x) = x_1 on the whole line: r = |x_1|, and every attack along it needs as much.
    net = TwoLayerReLU([[1.0, 0.0], [-1.0, 0.0]], None, [[1.0, -1.0]])
    x, y = np.array([[1.0, 5.0], [-2.0, 0.0], [3.0, 0.0]]), np.array([1, -1, -1])
    measured = robustness.measure(
        Classifier(net, "sign"),
        x,
        y,
        direction=-y[:, None] * np.array([1.0, 0.0]),
        epsilons=np.array([0.0, 1.5, 2.5]),
        pgd_steps=20,
        max_nodes=1000,
        rng=np.random.default_rng(0),
        progress=None,
    )
    np.testing.assert_allclose(measured.radius.upper, [1, 2, 0], rtol=2e-9)  # tol, twice
    assert measured.steps.tolist() == [1, 2, 0]
    assert measured.pgd.tolist() == [2 / 3, 1 / 3, 0]
    assert capsys.readouterr().err == ""


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


# f(x) = ReLU(2 x_1 + 2 x_2 - 1): without a range r = (2 x_1 + 2 x_2 - 1) / sqrt(8).
NET = TwoLayerReLU([[2.0, 2.0]], [-1.0], [[1.0]])
X = np.array([[0.1, 0.9], [0.5, 0.5], [0.0, 0.25]])
Y = np.array([1, 1, 1])


def _in_box():
    return InBox(Classifier(NET, "sign"), X, Y)


def test_nothing_offered_is_inf_and_what_is_misclassified_is_0():
    assert _in_box().upper().tolist() == [np.inf, np.inf, 0.0]


def test_multiples_of_the_exact_perturbation_reach_the_nearest_point_in_the_box():
    # In the box x_1 >= 0, so that the nearest point of x_1 + x_2 = 1/2 to (0.1, 0.9) is (0, 1/2).
    in_box = _in_box()
    delta = np.array([[-0.25, -0.25], [-0.25, -0.25], [0.0, 0.0]])
    in_box.offer_multiples(delta)
    np.testing.assert_allclose(in_box.upper()[0], np.hypot(0.1, 0.4), rtol=0.01)
    np.testing.assert_allclose(in_box.upper()[1], np.hypot(0.25, 0.25), rtol=1e-15)
    assert (in_box.point >= 0).all()


def test_the_nearest_offer_is_kept_and_shortened_to_its_first_flip():
    in_box = _in_box()
    in_box.offer(np.array([[0.1, 0.0]] * 3))  # flips at x_2 = 0.4 on the way
    in_box.offer(np.array([[-3.0, 0.9]] * 3))  # clipped to (0, 0.9), which does not flip
    in_box.offer(np.array([[-9.0, -9.0]] * 3))  # flips at (0, 0), which is farther
    np.testing.assert_allclose(in_box.upper(), [0.5, 0.5 / 0.9 * np.hypot(0.4, 0.5), 0], rtol=1e-14)
