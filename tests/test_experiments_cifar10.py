"""CIFAR-10's experiment on made-up images and, where they are there, on its own."""

from __future__ import annotations

import json

import numpy as np
import pytest

from refimpl import cli
from refimpl.datasets import first_half
from refimpl.experiments import cifar10
from tests import dataset_files
from tests.test_experiments_images import SMALL


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
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


def test_a_task_is_rows_of_pixels_in_the_order_of_images(folder):
    task = cifar10.load(folder, verify=False)
    x, classes = task.train
    assert (x.shape, task.test[0].shape) == ((200, 3072), (40, 3072))
    np.testing.assert_array_equal(task.labels[classes], first_half(classes))
    image = x[3].reshape(task.image_shape)  # class 3: columns 9 to 11 are bright in all colours
    assert (image[:, 9:12] > 0.5).all()
    assert (np.delete(image, [9, 10, 11], axis=1) < 0.5).all()


def test_cifar10_from_the_command_line(folder, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    words = ["reproduce", "cifar10", "--data", str(folder), "--no-verify", "--out", str(tmp_path)]
    assert cli.main([*words, *SMALL]) == 0
    assert "robust accuracy, 2-class network" in capsys.readouterr().out
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["settings"]["labels"] == [1] * 5 + [-1] * 5
    assert {path.name for path in tmp_path.iterdir()} == {
        *("summary.json", "cosines.png", "robustness.png", "strip.png")
    }


def test_data_that_are_not_cifar10s_are_refused_and_nothing_is_written(folder, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["reproduce", "cifar10", "--data", str(folder), "--out", str(out)]
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
