"""What is measured on real features: predictions, counts, and adversarial training on them."""

from __future__ import annotations

import numpy as np
import pytest

from proofs_numeric import feature_sets, real_data
from refimpl import ClusterDistribution, theory
from refimpl.experiments.tasks import Task
from refimpl.setting import ImageSettings

DIST = ClusterDistribution.orthogonal(4, 400, rng=0)


def _task(dist=DIST, n=400, test=60):
    train, held_out = dist.sample(n, rng=1), dist.sample(test, rng=2)
    names = tuple(map(str, range(dist.n_clusters)))
    return Task(
        (train.x, train.cluster), (held_out.x, held_out.cluster), dist.labels, names, "units"
    )


def test_predictions_are_the_laws_on_orthogonal_centres():
    # as many rows of noise as make their covariance the identity, exactly
    noise = np.vstack([np.eye(400), -np.eye(400)]) * 20.0
    x = np.vstack([mu + noise for mu in DIST.features])
    classes = np.repeat(np.arange(4), 800)
    found = feature_sets.predict((x, classes), DIST.labels, np.random.default_rng(0))
    sizes = {"n_positive": 2, "n_negative": 2, "d": 400}
    for kind in ("averaging", "group_max"):
        # the median of 20,000 draws of standard deviation 1: 6 times sqrt(pi/2) / sqrt(20,000)
        law = theory.median_radius(kind, **sizes)
        assert found[kind] == pytest.approx(law, abs=6 * 1.2533 / 20_000**0.5)


def test_geometry_by_hand():
    x = np.array([[3.0, 1.0], [3.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    cosine, noise = feature_sets.geometry((x, np.array([0, 0, 1, 1])), 2)
    assert (cosine, noise) == (-1.0, 0.0)  # (3, 0) and (-1, 0), noise across the line
    along = np.array([[4.0, 0.0], [2.0, 0.0], [0.0, 0.0], [-2.0, 0.0]])
    assert feature_sets.geometry((along, np.array([0, 0, 1, 1])), 2)[1] == 0.5


def test_a_prediction_that_is_far_off_fails():
    exact = {"averaging": 1.0, "group_max": 1.5}
    row = feature_sets.Row("x", 0.0, 0.0, exact, {"averaging": 2.0, "group_max": 3.5})
    assert (row.gain, row.predicted_gain, row.verdict) == (1.5, 1.75, "holds")
    off = feature_sets.Row("x", 0.0, 0.0, exact, {"averaging": 2.0, "group_max": 3.7})
    assert off.verdict == "FAILS"


def test_the_prediction_holds_where_the_laws_do():
    settings = ImageSettings(
        radii=40, epochs=8, batch=400, two_step=0.05, ten_step=0.05, sigma=1e-4
    )
    row = feature_sets.measure("clusters", _task(), settings)
    assert row.gain > 1.1
    assert row.verdict == "holds"


def test_sets_have_one_width_and_no_mean():
    sets = feature_sets.feature_sets(_task(), _task(), 8, 0)
    assert list(sets) == ["pixels", "random", "deep", "deep, PCA"]
    for task in sets.values():
        assert task.train[0].shape == (400, 8)
        assert task.test[0].shape == (60, 8)
        np.testing.assert_allclose(task.train[0].mean(axis=0), 0, atol=1e-10)
    variances = sets["deep, PCA"].train[0].var(axis=0)
    assert np.all(np.diff(variances) <= 1e-9)


def test_neurons_average_all_classes_of_their_sign_in_clusters():
    counts = real_data.features_averaged(_task(), 0, epochs=2)
    assert counts.shape == (30,)
    assert 1.5 < np.nanmedian(counts) <= 2 + 1e-9


@pytest.mark.slow
def test_adversarial_training_is_measured(capsys):
    task = _task(ClusterDistribution.orthogonal(4, 40, rng=0), n=80, test=20)
    real_data._print_attacked(task, steps=3, radii=5)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["budget", "0", "0.5", "1", "1.5"]
    assert lines[1].split()[3] == "1.00"


@pytest.mark.slow
def test_commands_run_on_files(tmp_path, capsys, monkeypatch):
    task = _task(ClusterDistribution.orthogonal(4, 40, rng=0), n=80, test=40)
    path = tmp_path / "f.npz"
    (x, y), (x_test, y_test) = task.train, task.test
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)
    assert real_data.main(["--features", str(path), "--steps", "2", "--radii", "4"]) == 0
    assert capsys.readouterr().out.startswith("features: features averaged by a neuron")
    monkeypatch.setattr(feature_sets.tasks, "cifar10", lambda *_, **__: task)
    assert feature_sets.main([str(path), "--width", "8", "--radii", "6"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row[:10].strip() for row in rows] == [
        "features",
        "pixels",
        "random",
        "deep",
        "deep, PCA",
    ]
    with pytest.raises(SystemExit):
        real_data.main([])
