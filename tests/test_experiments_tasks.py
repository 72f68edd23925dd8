"""MNIST, CIFAR-10 and files of features as tasks, made up and, where they are there, real."""

from __future__ import annotations

import json

import numpy as np
import pytest

from refimpl import ClusterDistribution, cli
from refimpl.datasets import first_half, odd_even
from refimpl.experiments import tasks
from tests import dataset_files
from tests.test_experiments_images import SMALL, made_up_mnist


def test_mnist_is_rows_of_pixels_and_parity(tmp_path):
    made_up_mnist(tmp_path)
    task = tasks.mnist(tmp_path, verify=False)
    x, classes = task.train
    assert x.shape == (300, 784)
    assert (x.min(), x.max() <= 1) == (0.0, True)
    np.testing.assert_array_equal(task.labels[classes], odd_even(classes))


@pytest.fixture(scope="module")
def cifar_folder(tmp_path_factory):
    """Six batches of 40 images in which class j is a brighter stripe, with noise."""
    where = tmp_path_factory.mktemp("cifar10")
    rng = np.random.default_rng(0)
    contents = {}
    for name in dataset_files.BATCH_NAMES:
        labels = np.arange(40) % 10
        images = rng.integers(0, 20, (40, 3, 32, 32))
        for image, label in zip(images, labels, strict=True):
            image[:, :, 3 * label : 3 * label + 3] += 200
        rows = images.reshape(40, -1).astype(np.uint8)
        contents[name] = dataset_files.python2_pickle(rows, labels.tolist())
    dataset_files.write_files(where / "cifar-10-batches-py", contents)
    return where


def test_cifar10_is_rows_of_pixels_in_the_order_of_images(cifar_folder):
    task = tasks.cifar10(cifar_folder, verify=False)
    x, classes = task.train
    assert (x.shape, task.test[0].shape) == ((200, 3072), (40, 3072))
    np.testing.assert_array_equal(task.labels[classes], first_half(classes))
    image = x[3].reshape(task.image_shape)  # class 3: columns 9 to 11 are bright in all colours
    assert (image[:, 9:12] > 0.5).all()
    assert (np.delete(image, [9, 10, 11], axis=1) < 0.5).all()


@pytest.mark.slow
def test_cifar10_from_the_command_line(cifar_folder, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    words = [
        "reproduce",
        "cifar10",
        "--data",
        str(cifar_folder),
        "--no-verify",
        "--out",
        str(tmp_path),
    ]
    assert cli.main([*words, *SMALL]) == 0
    assert "robust accuracy, 2-class network" in capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["settings"]["labels"] == [1] * 5 + [-1] * 5
    assert {path.name for path in tmp_path.iterdir()} == {
        *("summary.json", "cosines.png", "strip.png"),
        *("robustness.png", "robustness-l2_box.png", "robustness-linf_box.png"),
    }


def test_data_that_are_not_cifar10s_are_refused_and_nothing_is_written(
    cifar_folder, tmp_path, capsys
):
    out = tmp_path / "out"
    words = ["reproduce", "cifar10", "--data", str(cifar_folder), "--out", str(out)]
    assert cli.main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not out.exists()


@pytest.mark.slow
def test_cifar10_itself_gives_more_than_chance(data_directory, tmp_path, capsys):
    words = ["reproduce", "cifar10", "--no-verify", "--data", str(data_directory)]
    assert cli.main([*words, "--out", str(tmp_path), "--quick", "--radii", "10"]) == 0
    over = json.loads((tmp_path / "summary.json").read_text())["over_seeds"]
    assert over["two_class"]["clean_accuracy"]["min"] > 0.55
    assert over["ten_class"]["group_accuracy"]["min"] > 0.55


FEATURES_SMALL = [
    "--other-radii",
    "2",
    "--epochs",
    "4",
    "--batch",
    "20",
    "--radii",
    "8",
    "--pgd-steps",
    "2",
    "--seeds",
    "2",
]
K = 4


def _sample(n, seed=0):
    dist = ClusterDistribution.orthogonal(K, 30, noise_std=0.3, rng=0)
    sample = dist.sample(n, rng=seed)
    return sample.x, sample.cluster


@pytest.fixture
def file(tmp_path):
    """Features of four classes, orthogonal up to noise."""
    x, y = _sample(120)
    x_test, y_test = _sample(40, seed=1)
    path = tmp_path / "features.npz"
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
    return path


def test_features_from_the_command_line(file, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["reproduce", "features", str(file), "--groups", "-1,1,1,-1", "--out", str(out)]
    assert cli.main([*words, *FEATURES_SMALL, "--two-step", "0.3", "--ten-step", "0.3"]) == 0
    captured = capsys.readouterr()
    assert "in [0, 1]" not in captured.out  # features have no range
    summary = json.loads((out / "summary.json").read_text())
    assert summary["data"] == "features.npz, 120 training and 40 test samples"
    settings, over = summary["settings"], summary["over_seeds"]
    assert (settings["labels"], settings["train"], settings["test"]) == ([-1, 1, 1, -1], 120, 40)
    assert (settings["h"], settings["hidden"]) == (3, 12)
    assert [entry["seed"] for entry in summary["seeds"]] == [0, 1]
    assert over["two_class"]["clean_accuracy"]["min"] == 1.0
    # the curves end where the largest radii do: all is fooled there, little before the first
    for name in ("two_class", "ten_class_group_max"):
        curve = over["robust_accuracy"][name]["exact"]["median"]
        assert curve[0] >= 0.9
        assert curve[-1] <= 0.25
    assert not (out / "strip.png").exists()


def test_by_default_the_first_half_is_positive_and_a_fifth_of_the_rows_held_out(tmp_path):
    x, y = _sample(100)
    np.savez(tmp_path / "f.npz", x=x, y=y)
    task = tasks.features(tmp_path / "f.npz", None, seed=3)
    assert task.labels.tolist() == [1, 1, -1, -1]
    assert (len(task.train[0]), len(task.test[0])) == (80, 20)
    together = np.vstack([task.train[0], task.test[0]])
    np.testing.assert_array_equal(np.sort(together, axis=0), np.sort(x, axis=0))
    again = tasks.features(tmp_path / "f.npz", None, seed=3)
    np.testing.assert_array_equal(task.test[0], again.test[0])


X, Y = np.eye(4)[np.arange(8) % 4], np.arange(8) % 4
BAD = {
    "no x": ({"y": Y}, [], "expected arrays x, y and maybe x_test, y_test, got y"),
    "nothing": ({}, [], "got none"),
    "half a test": ({"x": X, "y": Y, "x_test": X}, [], "expected arrays x, y and maybe"),
    "x of one dimension": ({"x": Y, "y": Y}, [], "x: expected real numbers of shape (n, d)"),
    "y of another length": ({"x": X, "y": Y[:3]}, [], "y: expected real numbers of shape (8,)"),
    "a text": ({"x": X, "y": np.array(["a"] * 8)}, [], "y: expected an array of real numbers"),
    "halves": ({"x": X, "y": Y / 2}, [], "y: expected class integers"),
    "a class of 10^15": ({"x": X, "y": Y * 10**15}, [], "y: expected class integers from 0 to 7"),
    "a class of -1": (
        {"x": X, "y": Y % 2 * 2 - 1},
        [],
        "y: expected class integers from 0 to 1, got -1",
    ),
    "a class missing": ({"x": X, "y": np.where(Y == 1, 2, Y)}, [], "none of class 1"),
    "one class": ({"x": X, "y": 0 * Y}, [], "y: expected at least two classes, got 1"),
    "nan": ({"x": np.full((8, 4), np.nan), "y": Y}, [], "x: expected finite numbers"),
    "no rows to hold out": ({"x": X[:4], "y": Y[:4]}, [], "x: expected at least 5 rows"),
    "test of another width": (
        {"x": X, "y": Y, "x_test": X[:, :3], "y_test": Y},
        [],
        "x_test: expected real numbers of shape (n, 4)",
    ),
    "test of other classes": (
        {"x": X, "y": Y, "x_test": X, "y_test": Y + 1},
        [],
        "y_test: expected class integers from 0 to 3, got 4",
    ),
    "groups of one side": (
        {"x": X, "y": Y, "x_test": X, "y_test": Y},
        ["--groups", "1,1,1,1"],
        "classes in both",
    ),
    "few groups": (
        {"x": X, "y": Y},
        ["--groups", "1,-1"],
        "groups: expected 4 labels, one for each class, got 2",
    ),
    "a group of 2": ({"x": X, "y": Y}, ["--groups", "1,2,1,1"], "groups: expected labels in"),
    "text groups": ({"x": X, "y": Y}, ["--groups", "a,b"], "expected a list as 1,1,-1"),
    "a mean of zero": (
        {"x": X * (Y != 1)[:, None], "y": Y, "x_test": X, "y_test": Y},
        [],
        "class means as features: expected rows that are not zero, got zeros in row 1",
    ),
    "equal sums": (
        {"x": X[:, :1] ** 0, "y": Y, "x_test": X[:, :1], "y_test": Y},
        [],
        "class means as features: expected sums over the two classes that differ",
    ),
    "an overflow": (
        {"x": 1e200 * X, "y": Y, "x_test": X, "y_test": Y},
        [],
        "x: expected numbers whose squares float64 holds, got 1e+200",
    ),
    "an odd width": (
        {"x": X[:7, :], "y": Y[:7] % 3, "x_test": X, "y_test": Y % 3},
        ["--h", "3"],
        "h: expected an even number, for 3 classes, got 3",
    ),
}


@pytest.mark.parametrize(("arrays", "words", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_writes_nothing(arrays, words, message, tmp_path, capsys):
    file, out = tmp_path / "f.npz", tmp_path / "out"
    np.savez(file, **arrays)
    assert cli.main(["reproduce", "features", str(file), "--out", str(out), *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err
    assert not out.exists()


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize(
    ("n_test", "warned"), [(29, True), pytest.param(30, False, marks=pytest.mark.slow)]
)
def test_few_test_samples_are_warned_of_in_one_line(tmp_path, capsys, n_test, warned):
    x, y = _sample(60)
    x_test, y_test = _sample(n_test, seed=1)
    np.savez(tmp_path / "f.npz", x=x, y=y, x_test=x_test, y_test=y_test)
    words = ["reproduce", "features", str(tmp_path / "f.npz"), "--out", str(tmp_path / "out")]
    assert cli.main([*words, *FEATURES_SMALL, "--epochs", "1", "--seeds", "1", "--radii", "2"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert len(lines) == warned
    assert all(line.startswith("refimpl: warning: few test samples, 29:") for line in lines)


def test_a_file_that_is_missing_is_one_line(tmp_path, capsys):
    assert cli.main(["reproduce", "features", str(tmp_path / "none.npz")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
