"""The figures of the sweeps: what is fitted, what explains a shift, and that all of it is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest

import refimpl
from proofs_numeric import sweep_figures, sweeps
from proofs_numeric import sweep_results as results
from refimpl import ClusterDistribution, cosine_matrix
from refimpl.experiments.sweep import Outcome
from refimpl.setting import Setting
from refimpl.theory import KINDS


@pytest.fixture
def small(monkeypatch):
    """Grids of the same shape that take a moment."""
    base = {"n": [40], "m": [1], "test": [8], "step": [0.02], "steps": [20]}
    monkeypatch.setattr(results, "K", 4)
    monkeypatch.setattr(results, "D", 80)
    scaling = [
        {**base, "k": [4], "d": [40, 80], "seed": [0, 1]},
        {**base, "k": [2, 4], "d": [80], "seed": [0, 1]},
    ]
    monkeypatch.setattr(sweeps, "SCALING", scaling)
    axes = {"start": {"sigma": [1e-5]}, "data": {"noise": [1.0]}, "classes": {"positive": [1, 2]}}
    phases = {name: {**base, "k": [4], "d": [40], **grid} for name, grid in axes.items()}
    monkeypatch.setattr(sweeps, "PHASES", phases)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_sweeps_run_print_and_draw(tmp_path, capsys):
    assert sweeps.main(["--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("slope in log") for line in lines) == 6
    assert lines[-1] == f"python -m proofs_numeric.sweeps --out {tmp_path} --jobs 1"
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    for name in ("slopes", "laws", "phases"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_results_of_any_version_are_drawn_again_without_a_run(tmp_path, capsys, monkeypatch):
    assert sweeps.main(["--out", str(tmp_path)]) == 0
    first = capsys.readouterr().out
    monkeypatch.setattr(refimpl, "__version__", "99")
    monkeypatch.setattr(sweeps, "sweep", None)
    for path in tmp_path.glob("*.png"):
        path.unlink()
    assert sweeps.main(["--out", str(tmp_path), "--redraw"]) == 0
    assert capsys.readouterr().out == first
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    assert {path.stem for path in tmp_path.glob("*.png")} == {"slopes", "laws", "phases"}


def test_the_colours_of_phases_cover_what_is_written_in_the_cells():
    pytest.importorskip("matplotlib", reason="figures need the extra plot")
    radius = {"averaging": {"median": 1.0, "accuracy": 1.0}}
    phases = {}
    for name, (row, _) in sweep_figures._AXES.items():
        default = Setting().as_json()
        point = Setting.from_json({**default, row: 3 if row == "positive" else 0.1})
        result = {"trained": radius, "idealised": radius, "averaging": {"alignment": -0.36}}
        phases[name] = [Outcome(point, result, None)]
    figure = sweep_figures.draw_phases(phases)
    limits = [ax.images[0].get_clim() for ax in figure.axes if ax.images]
    assert limits == [(-0.36, 1.0)] * 3 + [(0.0, 1.0)] * 3
    assert "f_{FA}" not in figure.get_suptitle()


def _outcome(k, d, seed, power):
    found = {"median": float(d**0.5 * k**power), "law_median": float(d**0.5)}
    return Outcome(Setting(k=k, d=d, seed=seed), {"trained": dict.fromkeys(KINDS, found)}, None)


def test_slopes_are_those_of_the_power_laws_that_they_are_given():
    outcomes = [_outcome(10, d, seed, -0.1 * seed) for d in (384, 3072) for seed in (1, 2)]
    outcomes += [_outcome(k, 3072, seed, -0.1 * seed) for k in (4, 6) for seed in (1, 2)]
    rows = results.slopes(outcomes)
    along_k, along_d = rows["averaging", "k"], rows["averaging", "d"]
    assert along_d[:4] == pytest.approx([0.5] * 4)
    assert along_k.mean == pytest.approx(-0.15)
    # two values: half = t s / sqrt(2), s = 0.1 / sqrt(2), t of 1 degree of freedom tan(0.475 pi)
    assert along_k.high - along_k.mean == pytest.approx(math.tan(0.475 * math.pi) * 0.05)
    assert (along_k.centre, along_k.law) == pytest.approx((-0.5, 0.0))
    assert rows["group_max", "k"].centre == pytest.approx(0.0)
    assert rows["group_sum", "k"].centre < 0


def test_leaning_weights_have_the_cosines_that_are_asked_for():
    dist = ClusterDistribution.orthogonal(4, 50, rng=0)
    own = np.eye(4, dtype=np.bool_)
    W = results.leaning(dist, own, 0.9, -0.05, np.random.default_rng(0))
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(
        cosine_matrix(dist.features, W), np.where(own, 0.9, -0.05), atol=1e-12
    )


def test_a_failed_point_is_said():
    with pytest.raises(ArithmeticError, match="no luck"):
        results.result(Outcome(Setting(), None, "no luck"))
