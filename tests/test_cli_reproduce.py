"""The command ``refimpl reproduce``: its help, its defaults, and one line for bad input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refimpl import cli, setting
from refimpl.cli import reproduce

EXPERIMENTS = {
    "synthetic": setting.SyntheticSettings(),
    "mnist": setting.ImageSettings(),
    "cifar10": replace(setting.ImageSettings(), **reproduce.CIFAR10),
    "features": setting.ImageSettings(),
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help_has_an_example_and_every_default(name, capsys):
    assert cli.main(["reproduce", name, "--help"]) == 0
    text, _, options = " ".join(capsys.readouterr().out.split()).partition(" options: ")
    assert f" refimpl reproduce {name}" in text
    said = {words.split()[0]: words for words in options.split(" --")[1:]}
    none = {"h": "3, or 4 for an odd", "train": "all", "positive": "half"}
    for field, each in setting.options(EXPERIMENTS[name]).items():
        value = getattr(EXPERIMENTS[name], each.name)
        assert (
            f"(default: {none[field] if value is None else value}" in said[field.replace("_", "-")]
        )


def test_help_says_what_a_file_of_features_holds(capsys):
    assert cli.main(["reproduce", "features", "--help"]) == 0
    out = capsys.readouterr().out
    assert "\n  x               (n,d) real numbers" in out
    assert "\n  y               (n,) integers" in out
    assert "optional" in out


SYNTHETIC, MNIST = ["synthetic"], ["mnist"]
BAD = {
    "k of one": (["synthetic", "--k", "1"], "--k: expected an integer of at least 2, got 1"),
    "more clusters than dimensions": (
        ["synthetic", "--k", "50", "--d", "40"],
        "--d: expected an integer of at least 50, the number k of clusters, got 40",
    ),
    "nan": (["synthetic", "--noise", "nan"], "--noise: expected finite numbers, got nan"),
    "infinite": (
        ["synthetic", "--step", "inf"],
        "--learning-rate: expected finite numbers, got inf",
    ),
    "half a sample": (["synthetic", "--n", "1.5"], "--n: invalid int value: '1.5'"),
    "no seed": (["synthetic", "--seed"], "--seed: expected one argument"),
    "positive": (["synthetic", "--positive", "0"], "--positive: expected a number from 1 to 9"),
    "labels": (["synthetic", "--labels", "1,0"], "--labels: expected"),
    "labels and positive": (
        ["synthetic", "--k", "2", "--labels", "1,-1", "--positive", "1"],
        "error: --labels: expected either this or --positive, got both",
    ),
    "cosine": (
        ["synthetic", "--cosine", "1"],
        "--cosine: expected a number from -1/9 to below 1, for k 10, got 1.0",
    ),
    "labels for other clusters": (
        ["synthetic", "--k", "4", "--labels", "1,1,-1"],
        "--labels: expected 4 labels, one for each cluster, got 3",
    ),
    "h": (["mnist", "--h", "0"], "--h: expected an integer of at least 1, got 0"),
    "ten_step": (["mnist", "--ten-step", "-1"], "--ten-step: expected a positive number, got -1"),
    "jobs": (["mnist", "--jobs", "-2"], "--jobs: expected an integer of at least 1, got -2"),
    "no data": (["mnist"], "--data: expected a path, or $REFIMPL_DATA set"),
    "an empty name": (
        ["mnist", "--data", ""],
        "--data: expected a path, or $REFIMPL_DATA set, got ''",
    ),
    "no data of this": (["cifar10", "--data", "."], "CIFAR-10"),
    "data is a file": (["mnist", "--data", "a.txt"], "a.txt"),
    "features of text": (["features", "a.txt"], "a.txt: expected an .npz file"),
    "no such features": (["features", "none.npz"], "none.npz: No such file"),
    "groups": (
        ["features", "f.npz", "--groups", "1,-1,1"],
        "error: --groups: expected 2 labels, one for each class, got 3",
    ),
    "out is a file": (["synthetic", "--out", "a.txt"], "--out: a.txt: expected a directory"),
    "out in a file": (["synthetic", "--out", "a.txt/b"], "--out: a.txt/b: expected a directory"),
    "no out": (["synthetic", "--out", ""], "--out: expected a directory, got an empty name"),
    "groups of one side": (
        ["features", "f.npz", "--groups", "1,1"],
        "error: --groups: expected classes in both groups, got only +1",
    ),
    "samples over the input": (
        ["features", "samples.npz", "--save", "--out", "."],
        "error: --out: expected a file that is not an input, got samples.npz",
    ),
    "features out": (["features", "f.npz", "--out", "a.txt"], "--out: a.txt: expected a directory"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REFIMPL_DATA", raising=False)
    Path("a.txt").write_text("text\n")
    for name in ("f.npz", "samples.npz"):
        np.savez(name, x=np.eye(4)[np.arange(20) % 4], y=np.arange(20) % 2)
    there = sorted(tmp_path.iterdir())
    assert cli.main(["reproduce", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert sorted(tmp_path.iterdir()) == there


def test_initial_weights_that_overflow_are_one_line(tmp_path, capsys):
    words = ["--k", "2", "--d", "40", "--sigma", "1e308", "--out", str(tmp_path / "out")]
    assert cli.main(["reproduce", "synthetic", *words]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "W: expected finite numbers" in err
    assert list((tmp_path / "out").iterdir()) == []
