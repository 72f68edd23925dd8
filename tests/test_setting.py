"""The paper's setting: its defaults, what it refuses, and what it makes."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from refimpl.setting import Setting, checked, options


def test_the_defaults_are_the_papers():
    assert Setting().as_json() == {
        **{"k": 10, "d": 3072, "n": 1000, "m": 5, "positive": None, "cosine": 0.0, "noise": 1.0},
        **{"sigma": 1e-5, "step": 0.001, "steps": 100, "test": 200, "seed": 0},
    }
    assert list(Setting().as_json()) == list(options(Setting))


def test_every_field_says_what_it_is():
    assert all(each.metadata["help"] for each in fields(Setting))


def test_equal_settings_are_equal_whatever_the_types_of_their_values():
    one = Setting(k=np.int64(4), noise=1, sigma=np.float64(0.5))
    assert one == Setting(k=4, noise=1.0, sigma=0.5)
    assert [type(value) for value in (one.k, one.noise, one.sigma)] == [int, float, float]


def test_json_is_read_as_it_was_written():
    setting = Setting(k=4, d=50, positive=1, learning_rate=0.5, seed=3)
    assert setting.as_json()["step"] == 0.5
    assert Setting.from_json(setting.as_json()) == setting


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"k": 1}, "k: expected an integer of at least 2, got 1"),
        ({"k": 50, "d": 40}, "d: expected an integer of at least 50, the number k of clusters"),
        ({"n": 0}, "n: expected an integer of at least 1, got 0"),
        ({"steps": 0}, "steps: expected an integer of at least 1, got 0"),
        ({"m": 1.5}, "m: expected an integer"),
        ({"seed": -1}, "seed: expected an integer of at least 0"),
        ({"positive": 0}, "positive: expected a number from 1 to 9, for k 10, got 0"),
        ({"k": 4, "positive": 4}, "positive: expected a number from 1 to 3, for k 4, got 4"),
        ({"k": 5, "cosine": -0.3}, "cosine: expected a number from -1/4 to below 1, for k 5"),
        ({"cosine": 1.0}, "cosine: expected a number from -1/9 to below 1, for k 10, got 1.0"),
        ({"noise": 0.0}, "noise: expected a positive number"),
        ({"sigma": np.nan}, "sigma: expected finite numbers"),
        ({"learning_rate": 0.0}, "learning_rate: expected a positive number"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        Setting(**values)


def test_none_is_a_value_where_it_is_the_default_only():
    assert checked(options(Setting)["positive"], None) is None
    with pytest.raises(ValueError, match="k: expected an integer"):
        Setting(k=None)


def test_what_is_drawn_has_the_sizes_that_are_asked_for_and_the_same_seed_draws_the_same():
    setting = Setting(k=4, d=30, n=12, m=2, test=5, positive=1, cosine=0.5, noise=0.1, seed=7)
    problem, rng = setting.problem()
    assert problem.dist.labels.tolist() == [1, -1, -1, -1]
    gram = problem.dist.features @ problem.dist.features.T / 30
    np.testing.assert_allclose(gram, 0.5 + 0.5 * np.eye(4), atol=1e-12)
    assert (problem.train.x.shape, problem.test.x.shape) == ((12, 30), (5, 30))
    assert problem.dist.noise_std == 0.1
    again, _ = setting.problem()
    np.testing.assert_array_equal(problem.train.x, again.train.x)
    binary, multiclass = setting.binary(rng), setting.multiclass(rng, h=3)
    assert (binary.n_hidden, binary.n_outputs) == (4, 1)
    assert (multiclass.n_hidden, multiclass.n_outputs) == (12, 4)


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_training_takes_the_labels_or_the_clusters(kind):
    setting = Setting(k=3, d=30, n=30, m=2, learning_rate=0.05, steps=40)
    problem, rng = setting.problem()
    seen = []
    path = setting.train(getattr(setting, kind)(rng), problem.train, lambda t, *_: seen.append(t))
    assert seen == list(range(41))
    truth = problem.train.y if kind == "binary" else problem.train.cluster
    decision = "sign" if kind == "binary" else "argmax"
    assert (path.network.predict(problem.train.x, decision) == truth).mean() > 0.9
