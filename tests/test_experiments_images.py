"""The image experiments on made-up digits and, where it is there, on MNIST."""

from __future__ import annotations

import json

import numpy as np
import pytest

from refimpl import cli
from refimpl.datasets import odd_even
from refimpl.experiments import figures, images, mnist
from tests import dataset_files

SMALL = ["--m", "3", "--h", "3", "--epochs", "2", "--batch", "50", "--radii", "4"]
SMALL += [
    "--pgd-steps",
    "2",
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


def test_mnist_from_the_command_line(folder, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(out)]
    assert cli.main([*words, *SMALL, "--train", "200"]) == 0
    captured = capsys.readouterr()
    assert f"written to {out}" in captured.out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["train"] == 200
    assert summary["settings"]["test"] == 60
    assert summary["two_class"]["clean_accuracy"] == 1.0
    assert summary["ten_class"]["group_accuracy"] > 0.8  # a class may start with dead neurons
    curves = summary["robust_accuracy"]
    assert len(curves["epsilons"]) >= 20
    for name in ("two_class", "ten_class_group_max", "ten_class_group_sum"):
        assert curves[name].keys() == {"pgd", "closed_form", "exact", "exact_upper"}
        # four samples: shares are quarters
        assert {4 * share % 1 for share in curves[name]["exact"]} == {0.0}
        assert (np.array(curves[name]["pgd"]) >= curves[name]["exact"]).all()
        assert 4 * summary["radius"][name]["share_exact"] % 1 == 0
    assert {path.name for path in out.iterdir()} == {
        "summary.json",
        "cosines.png",
        "robustness.png",
    }


def test_data_that_are_not_mnists_are_refused_unless_asked(folder, tmp_path, capsys):
    words = ["reproduce", "mnist", "--data", str(folder), "--out", str(tmp_path)]
    assert cli.main(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "expected the 60000 items of train-images-idx3-ubyte, got 300" in err


def test_quick_takes_fewer_samples_and_yields_to_explicit_settings(folder, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(images, "run", lambda load, settings, out: seen.append(settings))
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(tmp_path)]
    assert cli.main([*words, "--quick"]) == 0
    assert cli.main([*words, "--quick", "--radii", "7"]) == 0
    assert cli.main(words) == 0
    quick, seven, full = seen
    assert full == images.Settings()
    assert quick.train < 60_000
    assert quick.radii < full.radii
    assert (seven.radii, seven.epochs) == (7, quick.epochs)


def test_a_task_is_rows_of_pixels_and_parity(folder):
    task = mnist.load(folder, verify=False)
    x, classes = task.train
    assert x.shape == (300, 784)
    assert (x.min(), x.max() <= 1) == (0.0, True)
    np.testing.assert_array_equal(task.labels[classes], odd_even(classes))


def test_training_needs_samples_of_every_class(folder, tmp_path, capsys):
    words = ["reproduce", "mnist", "--data", str(folder), "--no-verify", "--out", str(tmp_path)]
    assert cli.main([*words, *SMALL, "--train", "5"]) == 2
    assert "train: expected samples of all 10 classes, got none of class" in capsys.readouterr().err


@pytest.mark.slow
def test_mnist_itself_reaches_the_accuracy_of_such_networks(data_directory, tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "available", lambda: False)
    settings = images.Settings(radii=50)
    summary = images.run(lambda: mnist.load(data_directory), settings, tmp_path, progress=False)
    two, ten = summary["two_class"], summary["ten_class"]
    assert 0.96 <= two["clean_accuracy"] <= ten["group_accuracy"]
    for radius in summary["radius"].values():
        assert radius["share_exact"] >= 0.95  # the rest takes more nodes than the setting grants
