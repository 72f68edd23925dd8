"""The image experiments on made-up digits and, where it is there, on MNIST."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import refimpl
from refimpl import TwoLayerReLU, cli, datasets, robust_radius
from refimpl.experiments import figures, image_figures, images, seeds, tasks
from refimpl.experiments.robustness import THREATS, Robustness
from refimpl.radius import RobustRadius
from refimpl.setting import ImageSettings
from tests import dataset_files, drawn_figures

SMALL = ["--epochs", "2", "--batch", "50", "--radii", "4", "--pgd-steps", "2", "--seeds", "2"]
SMALL += [
    "--other-radii",
    "3",
    "--max-nodes",
    "50",
    "--seed",
    "5",
    "--two-step",
    "0.5",
    "--ten-step",
    "0.5",
]


def made_up_mnist(folder):
    """Write 300 + 60 images as MNIST's four files: digit j is two bright columns, with noise."""
    rng = np.random.default_rng(0)
    templates = np.zeros((10, 28, 28), dtype=np.int64)
    for digit in range(10):
        templates[digit, :, 2 * digit : 2 * digit + 2] = 200
    arrays = []
    for n in (300, 60):
        labels = np.arange(n) % 10
        noisy = templates[labels] + rng.integers(0, 20, (n, 28, 28))
        arrays += [noisy.astype(np.uint8), labels.astype(np.uint8)]
    for name, array in zip(dataset_files.IDX_NAMES, arrays, strict=True):
        (folder / name).write_bytes(dataset_files.idx_bytes(array))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with made-up MNIST."""
    where = tmp_path_factory.mktemp("mnist")
    made_up_mnist(where)
    return where


@pytest.mark.slow
def test_mnist_from_the_command_line(folder, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(out)]
    assert cli.main([*words, *SMALL, "--train", "200", "--jobs", "2"]) == 0
    captured = capsys.readouterr()
    assert f"written to {out}" in captured.out
    summary = json.loads((out / "summary.json").read_text())
    said = "MNIST, 300 of 60000 training images and 60 of 10000 test images, not verified"
    assert captured.out.startswith(f"data: {said}\n")
    assert summary["data"] == said
    assert summary["refimpl_version"] == refimpl.__version__
    assert "robust radius, l2 in [0, 1] " in captured.out
    assert "robust accuracy, l_inf in [0, 1]: median over seeds" in captured.out
    assert "Of the first 3 samples." in captured.out
    assert summary["settings"]["train"] == 200
    assert summary["settings"]["test"] == 60
    assert summary["settings"]["other_radii"] == 3
    assert (summary["settings"]["h"], summary["settings"]["hidden"]) == (3, 30)
    assert [entry["seed"] for entry in summary["seeds"]] == [5, 6]
    assert summary["over_seeds"]["two_class"]["clean_accuracy"]["median"] == 1.0
    for entry in summary["seeds"]:
        assert entry["ten_class"]["group_accuracy"] > 0.8  # a class may start with dead neurons
        curves = entry["robust_accuracy"]
        assert len(curves["epsilons"]) >= 20
        for name in ("two_class", "ten_class_group_max", "ten_class_group_sum"):
            curve, radius = curves[name], entry["radius"][name]
            assert curve.keys() == {"pgd", "closed_form", "exact", "exact_upper", "box"}
            # four samples: shares are quarters
            assert {4 * share % 1 for share in curve["exact"]} == {0.0}
            assert (np.array(curve["pgd"]) >= curve["exact"]).all()
            _judge_threats(entry, name)
            assert curve["box"] == _named(entry, "l2_box", name)[0]["exact_upper"]
            assert radius["median_box"] == _named(entry, "l2_box", name)[1]["median"]
            assert radius["share_exact"] == 1 - radius["bounded"] / 4
    assert {path.name for path in out.iterdir()} == {
        "summary.json",
        "cosines.png",
        "robustness.png",
        "robustness-l2_box.png",
        "robustness-linf_box.png",
        "strip.png",
    }


def _named(entry, threat, name):
    of = entry["threats"][threat]
    return of["robust_accuracy"][name], of["radius"][name]


def _judge_threats(entry, name):
    """PGD is above the truth, a radius in l_inf below that in l2, and gains are ratios of medians.

    Each median is one of three radii: that of the few samples.
    """
    assert entry["threats"].keys() == {"l2_box", "linf_box"}
    medians = {}
    for threat in entry["threats"]:
        curve, radius = _named(entry, threat, name)
        assert curve.keys() == {"pgd", "exact", "exact_upper"}
        assert (np.array(curve["pgd"]) >= curve["exact"]).all()
        assert {round(3 * share, 9) % 1 for share in curve["exact"]} == {0.0}
        medians[threat] = radius["median"]
        if name != "two_class":
            two = _named(entry, threat, "two_class")[1]["median"]
            assert entry["gain"][threat][name] == (radius["median"] / two if two else None)
    assert medians["linf_box"] <= medians["l2_box"] * (1 + 1e-8)


def test_data_that_are_not_mnists_are_refused_unless_asked(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert cli.main(["reproduce", "mnist", "--data", str(folder), "--out", str(out)]) == 2
    assert not out.exists()
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "expected the 60000 items of train-images-idx3-ubyte, got 300" in err


def test_quick_takes_fewer_samples_and_yields_to_explicit_settings(folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(seeds, "run", lambda task, settings, *_, **__: seen.append(settings))
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(tmp_path)]
    assert cli.main([*words, "--quick"]) == 0
    assert cli.main([*words, "--quick", "--radii", "7"]) == 0
    assert cli.main(words) == 0
    quick, seven, full = seen
    assert full == ImageSettings()
    assert quick.train < 60_000
    assert quick.radii < full.radii == 500
    assert quick.seeds < full.seeds == 3
    assert (seven.radii, seven.epochs) == (7, quick.epochs)


def test_training_needs_samples_of_every_class(folder, tmp_path, capsys):
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(tmp_path)]
    assert cli.main([*words, *SMALL, "--train", "5"]) == 2
    assert "train: expected samples of all 10 classes, got none of class" in capsys.readouterr().err


def test_the_two_networks_are_equally_wide_and_take_raw_rows(folder):
    task = replace(tasks.mnist(folder, verify=False), centre=True)
    settings = ImageSettings(epochs=2, batch=50, h=2, two_step=0.5, ten_step=0.5)
    x, classes = task.train
    comparison = images.train(task, task.train, settings, np.random.default_rng(0), progress=False)
    assert comparison.binary.n_hidden == comparison.multiclass.n_hidden == 20
    assert comparison.summary(x, classes)["two_class"]["clean_accuracy"] > 0.9
    np.testing.assert_allclose(comparison.features.mean(axis=0), 0, atol=1e-12)  # equal counts


@pytest.mark.slow
def test_radii_of_the_same_samples_whatever_the_seed_of_a_network(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "available", lambda: False)
    task = tasks.mnist(folder, verify=False)
    settings = ImageSettings(epochs=1, radii=3, pgd_steps=1, max_nodes=20, seeds=2, ten_step=0.5)
    settings = replace(settings, other_radii=2)
    summary = seeds.run(task, settings, tmp_path, progress=False)
    first, second = summary["seeds"]
    assert first["robust_accuracy"]["epsilons"] == second["robust_accuracy"]["epsilons"]
    assert first["radius"] != second["radius"]
    again = seeds.run(task, settings, tmp_path, progress=False)
    assert again == summary
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]


@pytest.mark.slow
def test_saved_networks_take_the_saved_samples(folder, tmp_path, capsys):
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--seeds", "2", "--save"]
    words += ["--epochs", "1", "--radii", "3", "--other-radii", "1", "--pgd-steps", "1"]
    words += ["--out", str(tmp_path)]
    assert cli.main(words) == 0
    with np.load(tmp_path / "samples.npz") as kept:
        x, y, cluster = kept["x"], kept["y"], kept["cluster"]
    np.testing.assert_array_equal(y, datasets.odd_even(cluster))
    for seed in (0, 1):
        folder = tmp_path / f"seed-{seed}"
        assert len(list(folder.iterdir())) == 11
        with np.load(folder / "radii-linf_box-two_class.npz") as kept:
            assert "steps" not in kept
            inside = x[:1] + np.nan_to_num(kept["perturbation"])
            assert ((inside >= 0) & (inside <= 1)).all()
        with np.load(folder / "radii-two_class.npz") as kept:
            net = TwoLayerReLU.load(folder / "two_class.npz")
            found = robust_radius(net, x, y, max_nodes=1000)
            # Two searches, each within 1e-9; their threads, and with them the bits, may differ.
            np.testing.assert_allclose(kept["lower"], found.lower, rtol=4e-9)
    capsys.readouterr()


@pytest.mark.slow
def test_ctrl_c_keeps_the_seeds_that_are_finished(folder, tmp_path, monkeypatch, capsys):
    train, calls = images.train, []

    def once(*args, **options):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return train(*args, **options)

    monkeypatch.setattr(seeds, "train", once)
    monkeypatch.setattr(figures, "available", lambda: False)
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(tmp_path)]
    assert cli.main([*words, *SMALL]) == 130
    err = capsys.readouterr().err.splitlines()
    kept = f"refimpl: 1 of 2 seeds in {tmp_path / 'summary.json'}"
    assert err[-2:] == [kept, "refimpl: interrupted"]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["interrupted"]
    assert [entry["seed"] for entry in summary["seeds"]] == [5]
    assert summary["over_seeds"]["radius"]["two_class"]["bounded"]["max"] <= 4


@pytest.mark.parametrize("where", ["train", "measure"])
def test_ctrl_c_before_a_seed_is_finished_writes_nothing(
    folder, tmp_path, monkeypatch, capsys, where
):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    target = (seeds, "train") if where == "train" else (seeds.Comparison, "robustness")
    monkeypatch.setattr(*target, interrupted)
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(tmp_path)]
    assert cli.main([*words, *SMALL]) == 130
    assert capsys.readouterr().err.endswith("refimpl: nothing written\nrefimpl: interrupted\n")
    assert list(tmp_path.iterdir()) == []


def test_over_seeds_by_hand():
    entries = [{"a": {"b": 3}, "c": [0.5, 1]}, {"a": {"b": 1}, "c": [1, 0]}, {"a": {"b": None}}]
    entries[2]["c"] = [0.75, 0]
    assert seeds.over_seeds(entries) == {
        "a": {"b": {"min": 1, "median": 3, "max": None}},
        "c": {"min": [0.5, 0], "median": [0.75, 0], "max": [1, 1]},
    }


@pytest.mark.slow
def test_with_one_seed_every_number_is_printed_once(folder, tmp_path, capsys):
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(tmp_path)]
    words += [*SMALL, "--train", "100", "--seeds", "1", "--radii", "2", "--other-radii", "1"]
    assert cli.main(words) == 0
    out = capsys.readouterr().out
    assert "clean accuracy                                   one seed\n" in out
    assert (
        re.search(r"\([-+.%\w ]+ to [-+.%\w ]+\)", out.replace("(smallest to largest)", "")) is None
    )
    assert "Of the first sample. PGD" in out


def test_the_median_over_two_seeds_is_their_mean():
    over = seeds.over_seeds(
        [{"a": 1.0, "b": 2, "c": [0.0, 1.0]}, {"a": 3.0, "b": None, "c": [1, 1]}]
    )
    assert over["a"] == {"min": 1.0, "median": 2.0, "max": 3.0}
    assert over["b"] == {"min": 2.0, "median": None, "max": None}
    assert over["c"]["median"] == [0.5, 1.0]


ROWS = np.ones((2, 1)), np.array([0, 1])
TASK = tasks.Task(ROWS, ROWS, np.array([1, -1]), ("a", "b"), unit="pixels", name="Digits")
PGD = figures.STYLES["pgd"]["label"]


def _robustness(upper, perturbation, status="exact"):
    upper, n = np.array(upper), len(upper)
    lower = upper if status == "exact" else upper / 2
    radius = RobustRadius(lower, upper, perturbation, np.array([status] * n), np.zeros(n), None)
    return Robustness(radius, 2 * upper, np.array([0.0, 3.0]), np.array([1.0, 0.5]))


def _figures(monkeypatch):
    seen = []
    for module in (figures, image_figures):
        monkeypatch.setattr(module, "save", lambda figure, path: seen.append(figure))
    return seen


@pytest.mark.parametrize("status", ["exact", "bounded"])
def test_curves_are_medians_with_bands_from_the_lowest_to_the_highest_seed(monkeypatch, status):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = _figures(monkeypatch)
    names = ("averaging", "group_max", "group_sum")
    radii = ([1.0, 1.0], [1.0, 2.0], [2.0, 2.0])
    none = np.zeros((2, 1))
    runs = [{name: _robustness(each, none, status) for name in names} for each in radii]
    image_figures.draw_curves("unused", runs, task=TASK)
    first, second, *_ = seen[0].axes
    assert len(first.lines) == 3
    grid, accuracy = first.lines[0].get_data()
    at = np.searchsorted(grid, 1.0 if status == "exact" else 0.5)  # one seed of three falls to 0
    assert accuracy[at] == 50
    edges = first.collections[0].get_paths()[0].vertices
    assert {edge for x, edge in edges if x == grid[at]} == {0, 100}
    labels = {line.get_label() for line in second.lines}
    bounds = {"exact"} if status == "exact" else {"lower bound", "upper bound"}
    assert labels == bounds | {"closed-form attack", PGD}
    assert second.get_title().endswith("half the samples flip within 1")
    bands = [band for band in second.collections if band.get_label().startswith("95 %")]
    assert len(bands) == 1
    assert bands[0].get_paths()[0].vertices[:, 1].max() == 100


def test_curves_say_their_norm_and_their_box(monkeypatch):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = _figures(monkeypatch)
    each = replace(_robustness([1.0], np.zeros((1, 1))), steps=None)
    run = dict.fromkeys(("averaging", "group_max", "group_sum"), each)
    for threat in ("l2", "linf_box"):
        image_figures.draw_curves("unused", [run], task=TASK, threat=THREATS[threat])
    free, boxed = seen
    assert free.get_suptitle() == "Digits: 1 test sample"
    assert boxed.get_suptitle() == "Digits, within [0, 1]: 1 test sample"
    assert free.axes[0].get_title() == "Exact robust accuracy\n(one seed)"
    assert r"$\ell_2$ distance" in free.axes[-1].get_xlabel()
    assert r"$\ell_\infty$ distance" in boxed.axes[-1].get_xlabel()
    assert "closed-form attack" not in {line.get_label() for line in boxed.axes[1].lines}


def test_axes_go_on_until_nearly_all_samples_that_flip_have_flipped(monkeypatch):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = _figures(monkeypatch)
    names = ("averaging", "group_max", "group_sum")
    near, far, never = (_robustness([each], np.zeros((1, 1))) for each in (1.0, 7.0, np.inf))
    for middle, last in ((far, 7.0), (never, 3.0)):  # PGD was tried up to 3
        run = dict(zip(names, (near, middle, near), strict=True))
        image_figures.draw_curves("unused", [run], task=TASK)
        assert max(line.get_xdata()[-1] for line in seen[-1].axes[2].lines) == last


def test_one_classifier_with_bounds_does_not_hide_that_others_are_exact(monkeypatch):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = _figures(monkeypatch)
    exact, bounded = (_robustness([2.0], np.zeros((1, 1)), s) for s in ("exact", "bounded"))
    run = {"averaging": exact, "group_max": bounded, "group_sum": exact}
    image_figures.draw_curves("unused", [run], task=TASK)
    first, *panels = seen[0].axes
    assert first.get_title() == "Proven robust accuracy, 2 of 3\nradii exact (one seed)"
    labels = [{line.get_label() for line in ax.lines} & {"exact", "upper bound"} for ax in panels]
    assert labels == [{"exact"}, {"upper bound"}, {"exact"}]


@pytest.mark.parametrize(
    ("seeds_radii", "half"),
    [
        (([1, 2, 4, 5], [9, 9, 9, 9]), "5"),  # shares 7/8 from 1 on, 3/4, 5/8 and 1/2 from 5 on
        (([1, 2, 5, 5], [3, 4, 6, 6]), "4"),
        (([1, 1], [2, 2], [3, 3]), "2"),
        (([np.inf, np.inf], [1, np.inf]), "inf"),
    ],
)
def test_the_half_in_a_title_is_where_the_curve_below_it_falls_to_a_half(
    monkeypatch, seeds_radii, half
):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = _figures(monkeypatch)
    names = ("averaging", "group_max", "group_sum")
    runs = []
    for radii in seeds_radii:
        each = _robustness(np.array(radii, dtype=float), np.zeros((len(radii), 1)))
        runs.append(dict.fromkeys(names, replace(each, epsilons=np.array([0.0, 10.0]))))
    image_figures.draw_curves("unused", runs, task=TASK)
    ax = seen[0].axes[1]
    assert ax.get_title().endswith(f"half the samples flip within {half}")
    (line,) = [line for line in ax.lines if line.get_label() == "exact"]
    fallen = [x for x, percent in zip(*line.get_data(), strict=True) if percent <= 50]
    assert f"{min(fallen, default=np.inf):g}" == half


@pytest.mark.parametrize(
    ("shape", "status", "sign"), [((2, 2), "exact", "="), ((1, 1, 3), "bounded", r"\leq")]
)
def test_a_strip_shows_images_their_nearest_adversarial_ones_and_differences(
    monkeypatch, shape, status, sign
):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = _figures(monkeypatch)
    d = int(np.prod(shape))
    x, classes = np.full((4, d), 0.5), np.array([1, 1, 0, 0])
    delta = np.zeros((4, d))
    delta[1:, 0] = [0.25, -0.5, 0.125]
    measured = {
        name: _robustness(np.abs(delta[:, 0]), delta, status) for name in ("averaging", "group_max")
    }
    task = tasks.Task((x, classes), (x, classes), np.array([1, -1]), ("a", "b"), "u")
    task = replace(task, image_shape=shape)
    image_figures.draw_strip("unused", task, x, classes, measured)
    panels = np.array([ax for ax in seen[0].axes if ax.images]).reshape(5, -1)
    # sample 0 has radius 0; of the others, the first of each class come first
    assert [ax.get_title() for ax in panels[0]] == ["a", "b", "a"]
    for panel, i in zip(panels[1], (2, 1, 3), strict=True):
        shown = panel.images[0].get_array().reshape(-1)
        np.testing.assert_array_equal(shown, (x + delta)[i])
        assert panel.get_title() == f"$r {sign} {abs(delta[i, 0]):.4g}$"
    difference = panels[2][0].images[0].get_array().reshape(-1)
    np.testing.assert_array_equal(difference, delta[2] if len(shape) == 2 else delta[2] + 0.5)
    said = {ax.get_ylabel().split("\n")[-1] for ax in panels[[1, 3], 0]}
    assert said == {"adversarial" if status == "exact" else "found"}
    assert ("a nearer one may exist" in seen[0].get_suptitle()) == (status == "bounded")
    assert drawn_figures.is_whole(seen[0])


def test_a_strip_of_one_image_is_as_wide_as_its_title(monkeypatch):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    seen = _figures(monkeypatch)
    x, delta = np.full((1, 12), 0.5), np.full((1, 12), 0.25)
    each = _robustness([1.0], delta, "bounded")
    task = replace(TASK, image_shape=(2, 2, 3), name="CIFAR-10")
    measured = {"averaging": each, "group_max": each}
    image_figures.draw_strip("unused", task, x, np.array([0]), measured)
    assert drawn_figures.is_whole(seen[0])


def test_a_strip_without_any_sample_that_both_get_right_is_not_drawn(monkeypatch):
    seen = _figures(monkeypatch)
    x, classes, zero = np.ones((2, 4)), np.array([0, 1]), _robustness([0.0, 0.0], np.zeros((2, 4)))
    task = tasks.Task((x, classes), (x, classes), np.array([1, -1]), ("a", "b"), "u")
    task = replace(task, image_shape=(2, 2))
    names = ("averaging", "group_max")
    image_figures.draw_strip("unused", task, x, classes, dict.fromkeys(names, zero))
    assert seen == []


@pytest.mark.slow
def test_mnist_itself_reaches_the_accuracy_of_such_networks(data_directory, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "available", lambda: False)
    settings = ImageSettings(radii=50, other_radii=10, seeds=1)
    summary = seeds.run(tasks.mnist(data_directory), settings, tmp_path, progress=False)
    two, ten = summary["seeds"][0]["two_class"], summary["seeds"][0]["ten_class"]
    assert 0.96 <= two["clean_accuracy"] < ten["group_accuracy"]
    # The rest takes more nodes than the setting grants.
    for radius in summary["seeds"][0]["radius"].values():
        assert radius["share_exact"] >= 0.9
    for found in summary["seeds"][0]["threats"].values():
        for radius in found["radius"].values():
            assert radius["share_exact"] >= 0.9
