"""The synthetic experiment at a small size: what it writes, says and finds."""

from __future__ import annotations

import io
import json
import math
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace

import numpy as np
import pytest

from refimpl import (
    ClusterDistribution,
    GroupMax,
    TwoLayerReLU,
    cli,
    decompose,
    robust_radius,
    theory,
)
from refimpl.experiments import figures, saved, synthetic
from refimpl.experiments.comparison import JSON_NAMES, TITLES, Comparison
from refimpl.experiments.robustness import Robustness
from refimpl.radius import RobustRadius
from refimpl.setting import SyntheticSettings
from tests import drawn_figures, tolerances

SMALL = SyntheticSettings(k=4, d=200, n=80, m=2, test=20, learning_rate=0.01, steps=60, pgd_steps=5)
SMALL = replace(SMALL, other_radii=3)
CLASSIFIERS = ("two_class", "ten_class_group_max", "ten_class_group_sum")


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    """One run: the folder, what it returned, and what it printed."""
    out = tmp_path_factory.mktemp("out") / "made" / "for it"
    said, complained = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(complained):
        summary = synthetic.run(SMALL, out, progress=False)
    assert complained.getvalue() == ""
    return out, summary, said.getvalue()


@pytest.fixture(scope="module")
def small(small_run):
    """The folder, and what the run returned."""
    return small_run[:2]


def test_summary_json_holds_what_was_returned_and_the_settings(small):
    out, summary = small
    assert json.loads((out / "summary.json").read_text()) == summary
    assert summary["settings"]["k"] == 4
    assert summary["settings"]["labels"] == [1, 1, -1, -1]
    assert {path.name for path in out.iterdir()} == {
        "summary.json",
        "coefficients.png",
        "cosines.png",
        "robustness.png",
    }


def test_the_networks_find_the_features_of_the_paper(small):
    _, summary = small
    two, ten = summary["two_class"], summary["ten_class"]
    assert two["clean_accuracy"] == ten["clean_accuracy"] == ten["group_accuracy"] == 1.0
    for cosines in (two["cosine_own"], two["cosine_other"], ten["cosine_diagonal"]):
        assert cosines["min"] <= cosines["median"] <= cosines["max"]
    assert abs(two["cosine_own"]["median"] - 1 / math.sqrt(2)) < 0.1
    assert two["cosine_other"]["max"] < 0.1
    assert ten["cosine_diagonal"]["min"] > 0.9
    assert ten["cosine_off_diagonal"]["max"] < 0.1


def test_coefficients_along_training_are_those_of_the_trained_networks(small):
    _, summary = small
    grown = summary["coefficients"]
    assert grown["steps"][0] == 0
    assert grown["steps"][-1] == SMALL.steps
    problem, rng = SMALL.problem()
    for name, start in (("two_class", SMALL.binary(rng)), ("ten_class", SMALL.multiclass(rng))):
        parts = decompose(SMALL.train(start, problem.train), problem.train, problem.dist)
        # of the labels 1, 1, -1, -1: neurons r of the 2-class network have them by halves
        own = np.kron(np.eye(2), np.ones((2, 2))) if name == "two_class" else np.eye(4)
        for part, values in (
            ("own", parts.feature[own > 0]),
            ("other", parts.feature[own == 0]),
            ("noise", parts.noise),
        ):
            edges = {"min": values.min(), "median": np.median(values), "max": values.max()}
            assert {edge: grown[name][part][edge][-1] for edge in edges} == edges
            assert all(grown[name][part][edge][0] == 0 for edge in edges)
            assert all(len(grown[name][part][edge]) == len(grown["steps"]) for edge in edges)
        assert grown[name]["own"]["min"][-1] > 5 * abs(grown[name]["other"]["min"][-1])


@pytest.mark.usefixtures("without_figures")
def test_saved_networks_samples_and_radii_are_those_of_the_run(small, tmp_path, capsys):
    _, summary = small
    assert synthetic.run(SMALL, tmp_path, progress=False, save=True) == summary
    assert {path.name for path in tmp_path.iterdir()} == {
        "summary.json",
        *("samples.npz", "train.npz", "two_class.npz", "ten_class.npz"),
        *(f"radii-{name}.npz" for name in CLASSIFIERS),
        *(f"radii-linf-{name}.npz" for name in CLASSIFIERS),
    }
    problem, _ = SMALL.problem()
    for name, sample in (("train", problem.train), ("samples", problem.test)):
        with np.load(tmp_path / f"{name}.npz") as kept:
            for part in ("x", "y", "cluster"):
                np.testing.assert_array_equal(kept[part], getattr(sample, part))
    for name, net, decision in (
        ("two_class", "two_class", "sign"),
        ("ten_class_group_max", "ten_class", GroupMax([1, 1, -1, -1])),
    ):
        loaded = TwoLayerReLU.load(tmp_path / f"{net}.npz")
        again = robust_radius(loaded, problem.test.x, problem.test.y, decision=decision)
        with np.load(tmp_path / f"radii-{name}.npz") as kept:
            np.testing.assert_array_equal(kept["lower"], again.lower)
            np.testing.assert_array_equal(kept["upper"], again.upper)
            np.testing.assert_array_equal(kept["perturbation"], again.perturbation)
            assert np.sort(kept["upper"])[9] == summary["radius"][name]["median"]
    assert "earlier run" not in capsys.readouterr().err
    (tmp_path / "strip.png").touch()
    saved.tell_of_older(tmp_path)
    error = capsys.readouterr().err
    assert "files of an earlier run" in error
    assert "radii-linf-two_class.npz, radii-ten_class_group_max.npz" in error
    assert "strip.png" in error
    files = [str(tmp_path / name) for name in ("two_class.npz", "samples.npz")]
    out = str(tmp_path / "radius")
    assert cli.main(["radius", *files, "--out", out]) == 0  # the files fit the command as they are


def test_curves_fall_and_no_attack_is_below_the_truth(small):
    _, summary = small
    curves = summary["robust_accuracy"]
    epsilons = np.array(curves["epsilons"])
    assert len(epsilons) >= 20
    assert epsilons[0] == 0
    for name in CLASSIFIERS:
        lines = {line: np.array(values) for line, values in curves[name].items()}
        assert lines.keys() == {"pgd", "closed_form", "exact", "exact_upper", "law"}
        assert all(len(values) == len(epsilons) for values in lines.values())
        for line in ("closed_form", "exact", "exact_upper", "law"):
            assert (np.diff(lines[line]) <= 0).all()
        assert lines["exact"][0] == 1.0
        assert lines["exact"][-1] == 0.0
        for attack in ("pgd", "closed_form"):
            assert (lines[attack] >= lines["exact"]).all()


def test_radii_are_settled_and_lie_in_order(small):
    _, summary = small
    for name in CLASSIFIERS:
        radius = summary["radius"][name]
        assert radius["share_exact"] == 1.0
        order = [radius[q] for q in ("min", "p10", "median", "p90", "max")]
        assert order == sorted(order)
        # t* is attained, so that it cannot be below the radius but by what tol = 1e-9 leaves
        assert radius["largest_closed_form_ratio"] >= 1 - 2e-9
    medians = [summary["radius"][name]["median"] for name in CLASSIFIERS]
    assert medians[0] < medians[2] < medians[1]  # averaging, group_sum, group_max


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures")
def test_the_same_seed_gives_the_same_summary_and_another_seed_another(small, tmp_path):
    _, summary = small
    again = synthetic.run(SMALL, tmp_path, progress=False)
    assert again == summary
    other = synthetic.run(replace(SMALL, seed=1), tmp_path, progress=False)
    assert other["radius"] != summary["radius"]


@pytest.mark.usefixtures("without_figures")
def test_other_sizes_partitions_and_noise_run_from_the_command_line(tmp_path, capsys):
    words = ["reproduce", "synthetic", "--k", "3", "--d", "30", "--n", "30", "--m", "2", "--h", "2"]
    words += ["--steps", "30", "--step", "0.02", "--noise", "0.5", "--test", "6", "--sigma", "1e-4"]
    words += ["--pgd-steps", "2", "--seed", "3", "--out", str(tmp_path / "a")]
    assert cli.main([*words, "--positive", "1"]) == 0
    out = capsys.readouterr().out
    assert "1 or 0.7071" in out  # 1/sqrt(k_own) of classes of one and of two clusters
    one = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert one["settings"]["labels"] == [1, -1, -1]
    words[words.index("--h") + 1] = "1"
    assert cli.main([*words, "--labels", "-1,1,-1"]) == 0
    two = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert two["settings"]["labels"] == [-1, 1, -1]


def test_the_tables_say_what_the_summary_says(small_run):
    folder, summary, out = small_run
    for kind, name in JSON_NAMES.items():
        assert f"robust accuracy, {TITLES[kind]}\n" in out
        assert f"{summary['radius'][name]['median']:.4g}" in out
    assert f"sqrt(d/k) = {math.sqrt(200 / 4):.4g}" in out
    assert f"sqrt(d/2) = {math.sqrt(200 / 2):.4g}" in out
    assert f"sqrt(d/(1+k_opp)) = {math.sqrt(200 / 3):.4g}" in out
    assert out.endswith(f"written to {folder}\n")
    assert f"exact robust radius, l_inf, first {SMALL.other_radii} samples" in out


def test_radii_in_l_inf_stand_beside_those_in_l2(small):
    _, summary = small
    linf = summary["threats"]["linf"]
    few = SMALL.other_radii
    for name in CLASSIFIERS:
        radius, curve = linf["radius"][name], linf["robust_accuracy"][name]
        assert radius["share_exact"] == 1.0
        # ||delta||_2 / sqrt(d) <= ||delta||_inf <= ||delta||_2, of the least of these samples
        assert radius["min"] >= summary["radius"][name]["min"] / math.sqrt(SMALL.d) * (1 - 1e-8)
        assert radius["max"] <= summary["radius"][name]["max"] * (1 + 1e-8)
        assert (np.array(curve["pgd"]) >= curve["exact"]).all()
        assert {round(few * share, 9) % 1 for share in curve["exact"]} == {0.0}
    medians = [linf["radius"][name]["median"] for name in CLASSIFIERS]
    assert medians[0] < medians[2] < medians[1]


def test_without_matplotlib_the_rest_runs_and_one_line_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(figures, "find_spec", lambda name: None)
    summary = synthetic.run(SMALL, tmp_path, progress=False)
    assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]
    assert summary["radius"]["two_class"]["share_exact"] == 1.0


def test_default_settings_are_the_papers():
    s = SyntheticSettings()
    assert (s.k, s.d, s.n, s.m, s.h) == (10, 3072, 1000, 5, 1)
    assert (s.learning_rate, s.steps, s.sigma, s.noise, s.test) == (0.001, 100, 1e-5, 1.0, 200)
    assert s.epsilons().tolist() == list(range(0, 48, 2))


def test_theory_of_a_distribution_by_hand():
    dist = ClusterDistribution.orthogonal(4, 36, labels=[1, -1, -1, -1], rng=0)
    assert synthetic.by_classifier(synthetic.centre, dist) == {
        "averaging": ("sqrt{d/k}", [3.0]),
        "group_max": ("sqrt{d/2}", [math.sqrt(18)]),
        "group_sum": ("sqrt{d/(1+k_{opp})}", [math.sqrt(18), 3.0]),
    }
    assert synthetic.averaged_cosines(dist) == [1.0, 1 / math.sqrt(3)]
    # With one cluster a class group_max is N(sqrt(d/2), 1), whose median is sqrt(18).
    two = ClusterDistribution.orthogonal(2, 36, rng=0)
    medians = synthetic.by_classifier(theory.median_radius, two)
    assert medians["group_max"] == pytest.approx(math.sqrt(18), abs=1e-8)


@pytest.mark.slow
def test_no_law_is_said_or_drawn_where_features_are_not_orthogonal(tmp_path, capsys, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "draw_robustness", lambda path, panels, **_: drawn.extend(panels))
    settings = replace(SMALL, cosine=0.3)
    summary = synthetic.run(settings, tmp_path, progress=False)
    out = capsys.readouterr().out
    assert "No law is known for features that are not orthogonal" in out
    assert not {"theory", "law,", "sqrt(d/k)"} & set(out.split())
    assert "\nmedian robust radius, l2        came out\n" in out
    assert summary["settings"]["cosine"] == 0.3
    for name in CLASSIFIERS:
        assert "law" not in summary["robust_accuracy"][name]
        assert summary["robust_accuracy"][name]["exact"][-1] == 0.0
    if figures.available():
        assert all("no law is known" in panel.title for panel in drawn)
        names = {"confidence", "exact", "closed_form", "pgd"}
        assert all(panel.curves.keys() == names for panel in drawn)


def test_titles_of_two_radii_at_a_centre_are_not_cut_off(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = []
    monkeypatch.setattr(figures, "save", lambda figure, path: seen.append(figure))
    dist = ClusterDistribution.orthogonal(3, 1000, labels=[1, -1, -1], rng=0)
    radius = np.array([25.0])
    found = RobustRadius(radius, radius, np.zeros((1, 1)), np.array(["exact"]), radius, None)
    each = Robustness(found, radius, np.array([0.0, 30.0]), np.array([1.0, 0.0]))
    panels = synthetic.robustness_panels(dict.fromkeys(TITLES, each), dist)
    assert "\n$\\sqrt{d/(1+k_{opp})}$ = 22.36 or 18.26" in panels[2].title
    figures.draw_robustness(tmp_path / "r.png", panels, unit="input space", title="t")
    assert drawn_figures.is_whole(seen[0])


@pytest.mark.usefixtures("without_figures")
def test_the_command_takes_the_options_of_a_sweep(tmp_path, capsys):
    words = ["--k", "2", "--d", "20", "--n", "20", "--m", "1", "--test", "4", "--steps", "5"]
    words += ["--cosine", "0.5", "--step", "0.02", "--sigma", "1e-4", "--noise", "0.5"]
    out = tmp_path / "o"
    assert cli.main(["reproduce", "synthetic", *words, "--positive", "1", "--out", str(out)]) == 0
    said = json.loads((out / "summary.json").read_text())["settings"]
    assert (said["cosine"], said["step"], said["noise"]) == (0.5, 0.02, 0.5)
    assert "cosine 0.5" in capsys.readouterr().out


def _idealised(dist, h):
    """Comparison of the idealised networks, each neuron h times, with unequal copies."""
    two = TwoLayerReLU.feature_averaging(dist)
    ten = TwoLayerReLU.feature_decoupling(dist)
    sizes = np.linspace(0.5, 1.5, h)
    W_two, W_ten = (np.kron(net.W, sizes[:, None]) for net in (two, ten))
    A_two, A_ten = (np.repeat(net.A, h, axis=1) / h for net in (two, ten))
    return Comparison(
        dist.features,
        dist.labels,
        TwoLayerReLU(W_two, None, A_two),
        TwoLayerReLU(W_ten, None, A_ten),
        h,
    )


@pytest.mark.parametrize("h", [1, 3])
def test_cosines_of_idealised_networks_by_hand(h):
    dist = ClusterDistribution.orthogonal(6, 10, labels=[1, -1, 1, -1, -1, -1], rng=0)
    two, ten = _idealised(dist, h).cosines()
    close = {"rtol": 0, "atol": tolerances.gamma(200)}
    expected = np.array([[2**-0.5, 0], [0, 0.5]])[[0, 1, 0, 1, 1, 1]]
    np.testing.assert_allclose(two, expected, **close)
    np.testing.assert_allclose(ten, np.eye(6), **close)


def test_neurons_stay_single_where_h_does_not_divide_them():
    dist = ClusterDistribution.orthogonal(2, 4, rng=0)
    rng = np.random.default_rng(0)
    two = TwoLayerReLU.binary(4, 5, sigma_w=1.0, rng=rng)
    ten = TwoLayerReLU.multiclass(4, 2, 3, sigma_w=1.0, rng=rng)
    cosines = Comparison(dist.features, dist.labels, two, ten, 3).cosines()
    assert [c.shape for c in cosines] == [(2, 10), (2, 2)]
