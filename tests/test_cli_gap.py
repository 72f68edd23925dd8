"""`refimpl gap`: what it says of samples that are misclassified, stuck or known by bounds only."""

from __future__ import annotations

import json

import numpy as np
import pytest

from refimpl import TwoLayerReLU, cli

NET = TwoLayerReLU([[1, 0], [0, 1]], None, [[1, -1]])


@pytest.fixture
def gap(tmp_path, capsys):
    """Run the command on samples with label 1 and points; exit status, lines, and their errors."""

    def run(x, x_adv, *words, net=NET):
        net.save(tmp_path / "net.npz")
        np.savez(tmp_path / "data.npz", x=x, y=[1] * len(x))
        np.savez(tmp_path / "adv.npz", x_adv=x_adv)
        files = [str(tmp_path / f"{name}.npz") for name in ("net", "data", "adv")]
        status = cli.main(["gap", *files, *words])
        captured = capsys.readouterr()
        return status, captured.out.splitlines(), captured.err

    return run


def test_misclassified_samples_are_named_and_have_no_part_in_ratios(gap):
    """In l_inf the radius of (3, 1) is 1, and (1, 3) is misclassified."""
    status, lines, _ = gap([[1, 3], [3, 1]], [[1, 4], [1, 3]], "--norm", "inf")
    assert status == 0
    assert lines[:2] == [
        "flips: 2 of 2 samples",
        "norm over exact radius: median 2.000, largest 2.000; 1 is the optimum "
        "(samples that were right and flip: 1 of 2)",
    ]
    assert lines[3:] == ["misclassified (radius 0): 1 of 2 samples (0)"]


def test_robust_accuracy_above_the_truth_is_that_of_right_samples_and_no_rounding(gap):
    """Points at the radius, but for rounding, and one misclassified sample that moved."""
    x_adv = [[1, 4], [2 - 1e-12, 2 + 1e-12]]
    _, lines, _ = gap([[1, 3], [3, 1]], x_adv, "--norm", "inf")
    assert lines[2].startswith("robust accuracy above the truth: 0.0 % at radius ")


@pytest.mark.parametrize("x", [[[1, 3]], [[3, 1]]], ids=["misclassified", "stuck"])
def test_without_a_point_to_compare_it_says_so(gap, x):
    status, lines, _ = gap(x, x, "--norm", "inf")
    assert status == 0
    said = "norm over exact radius: of no point, since none flips a sample that was right"
    assert lines[1] == said


def test_limits_leave_bounds_and_are_checked_before_the_work(gap, tmp_path):
    rng = np.random.default_rng(1)
    net = TwoLayerReLU(rng.standard_normal((40, 9)), None, rng.standard_normal((1, 40)))
    x = rng.standard_normal((30, 9))
    x = x[net.predict(x, "sign") == 1]
    words = ["--norm", "inf", "--json", str(tmp_path / "g.json")]
    status, lines, _ = gap(x, -x, *words, "--max-nodes", "1", net=net)
    assert status == 0
    rows = json.loads((tmp_path / "g.json").read_text())
    bounded = sum(row["upper"] is None or row["lower"] < (1 - 1e-9) * row["upper"] for row in rows)
    assert bounded > 0
    said = f"radii known by bounds only: {bounded} of {len(x)}, and ratios there are to the lower"
    assert lines[-1].startswith(said)
    for option in ("--max-nodes", "--time-limit"):
        status, lines, err = gap(x, -x, option, "0", net=net)
        assert (status, lines) == (2, [])
        assert err.startswith(f"refimpl: error: {option}: expected ")
