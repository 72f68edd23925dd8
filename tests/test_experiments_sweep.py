"""Sweeps: the same results whatever runs them, resumed, interrupted, refused where not theirs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import refimpl
from refimpl import GroupMax, GroupSum, cli, robust_radius, theory
from refimpl.experiments import sweep as sweeps
from refimpl.experiments import sweep_point, synthetic
from refimpl.experiments.sweep import points, read, sweep
from refimpl.setting import Setting

BASE = {"n": [24], "m": [1], "test": [6], "step": [0.02], "steps": [20]}
GRID = {**BASE, "k": [2, 4], "d": [40, 80], "seed": [0, 1]}
WORDS = ["--n", "24", "--m", "1", "--test", "6", "--step", "0.02", "--steps", "20"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[2])}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The sweep run without an executor: its file and its outcomes."""
    path = tmp_path_factory.mktemp("sweep") / "sweep.jsonl"
    return path, sweep(GRID, path)


def _plain(outcomes):
    return [(each.point, each.result, each.error) for each in outcomes]


def test_every_point_of_the_grid_is_measured_in_its_order(alone):
    _, outcomes = alone
    assert [(each.point.k, each.point.d, each.point.seed) for each in outcomes] == [
        (k, d, seed) for k in (2, 4) for d in (40, 80) for seed in (0, 1)
    ]
    assert all(each.error is None for each in outcomes)


def test_radii_are_those_of_the_trained_networks(alone):
    outcome = alone[1][-1]
    problem, rng = outcome.point.problem()
    dist, train, test = problem.dist, problem.train, problem.test
    comparison = synthetic.train(outcome.point, problem, rng, progress=False)
    decisions = {
        "averaging": (comparison.binary, "sign"),
        "group_max": (comparison.multiclass, GroupMax(dist.labels)),
        "group_sum": (comparison.multiclass, GroupSum(dist.labels)),
    }
    for kind, (net, decision) in decisions.items():
        radii = robust_radius(net, test.x, test.y, decision=decision).upper
        found = outcome.result["trained"][kind]
        assert found["max"] == pytest.approx(radii.max(), rel=1e-9)
        assert found["mean"] == pytest.approx(radii.mean(), rel=1e-9)
    f = comparison.binary.outputs(train.x)[:, 0]
    share = 1 / (1 + np.exp(train.y * f))
    assert outcome.result["averaging"]["balance"] == pytest.approx(share.max() / share.min())
    loss = np.logaddexp(0, -train.y * f).mean()
    assert loss < np.log(2)  # the sample that was drawn again is the one that was trained on


class Shuffled(ThreadPoolExecutor):
    """Finishes points in the opposite order."""

    def map(self, *_):
        raise NotImplementedError

    def submit(self, work, point):
        delay = 0.05 * (8 - len(points(GRID)) + points(GRID)[::-1].index(point))
        return super().submit(lambda: (time.sleep(delay), work(point))[1])


def test_results_are_the_same_bits_whatever_runs_them_in_whatever_order(alone, tmp_path):
    with Shuffled(8) as executor:
        outcomes = sweep(GRID, tmp_path / "s.jsonl", executor=executor)
    assert _plain(outcomes) == _plain(alone[1])
    lines = (tmp_path / "s.jsonl").read_bytes().splitlines()
    assert sorted(lines) == sorted(alone[0].read_bytes().splitlines())


def test_a_second_run_takes_up_where_the_first_stopped(alone, tmp_path, monkeypatch):
    path = tmp_path / "s.jsonl"
    lines = alone[0].read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]) + lines[4][:50])  # cut off in the middle of a line
    seen = []
    measure = sweep_point.measure
    monkeypatch.setattr(sweep_point, "measure", lambda p: (seen.append(p), measure(p))[1])
    assert _plain(sweep(GRID, path)) == _plain(alone[1])
    assert len(seen) == 8 - 3
    assert _plain(sweep(GRID, path)) == _plain(alone[1])
    assert len(seen) == 8 - 3


def test_a_failed_point_is_recorded_and_the_rest_goes_on(tmp_path, monkeypatch):
    measure = sweep_point.measure

    def failing(point):
        if point.d == 40:
            raise RuntimeError("no such luck")
        return measure(point)

    monkeypatch.setattr(sweep_point, "measure", failing)
    grid = {**BASE, "k": [2, 4], "d": [40, 80]}
    outcomes = sweep(grid, tmp_path / "s.jsonl")
    assert [each.error for each in outcomes] == ["RuntimeError: no such luck", None] * 2
    monkeypatch.undo()
    again = sweep(grid, tmp_path / "s.jsonl")
    assert _plain(again) == _plain(outcomes)


class _Raising:
    """An executor whose futures hold an error."""

    def __init__(self, error):
        self.error = error

    def submit(self, *_):
        future = Future()
        future.set_exception(self.error)
        return future


def test_an_error_of_the_executor_is_the_points_but_a_broken_executor_ends_the_sweep(tmp_path):
    grid = {**BASE, "d": [40], "k": [2]}
    lost = sweep(grid, tmp_path / "a.jsonl", executor=_Raising(MemoryError("worker")))
    assert lost[0].error == "MemoryError: worker"
    with pytest.raises(BrokenExecutor):
        sweep(grid, tmp_path / "b.jsonl", executor=_Raising(BrokenExecutor("gone")))
    assert read(tmp_path / "b.jsonl") == []


def test_the_command_says_that_another_grid_takes_another_folder(tmp_path, capsys):
    small = ["--k", "2", "--d", "40", "--n", "20", "--m", "1", "--test", "4", "--steps", "5"]
    words = ["sweep", *small, "--step", "0.02", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    assert cli.main([*words, "--seed", "1"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.endswith("got those of another grid (--out takes another folder)")


def test_results_of_another_grid_or_version_are_refused(alone, tmp_path, monkeypatch):
    path = tmp_path / "s.jsonl"
    path.write_bytes(alone[0].read_bytes())
    with pytest.raises(ValueError, match=r"s\.jsonl: expected results of this grid, or no file"):
        sweep({**GRID, "seed": [0]}, path)
    monkeypatch.setattr(refimpl, "__version__", "99")
    with pytest.raises(ValueError, match="with version 99, or no file, got"):
        sweep(GRID, path)
    assert path.read_bytes() == alone[0].read_bytes()


@pytest.mark.parametrize("content", [b"hello\n", b"[1]\n", b"{}\n", b'{"a": 1}', b"\xff\xfe\n"])
def test_another_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "s.jsonl"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="expected the results of a sweep"):
        sweep(GRID, path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("line", [b'{"point": {"k', b"[1]", b"", b"\xff", b'{"result": 1}'])
def test_a_line_that_is_corrupt_is_refused_by_its_number(alone, tmp_path, line):
    path = tmp_path / "s.jsonl"
    first, second, *rest = alone[0].read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([first, second, line + b"\n", *rest]))
    with pytest.raises(ValueError, match=r"s\.jsonl: expected the results of a sweep, got line 3"):
        read(path)


def test_a_line_without_a_point_is_refused(alone, tmp_path):
    path = tmp_path / "s.jsonl"
    path.write_bytes(alone[0].read_bytes() + b'{"result": 1}\n')
    with pytest.raises(ValueError, match=r"line \d+ without point"):
        read(path)


@pytest.mark.parametrize("point", [b"1", b'{"dimension": 3}', b'{"k": 1}'])
def test_a_point_that_is_no_setting_is_refused(alone, tmp_path, point):
    path = tmp_path / "s.jsonl"
    path.write_bytes(alone[0].read_bytes() + b'{"point": ' + point + b', "result": {}}\n')
    with pytest.raises(
        ValueError, match=r"s\.jsonl: expected the results of a sweep, got (set|k:)"
    ):
        read(path)


def test_an_empty_file_is_as_good_as_none(tmp_path):
    path = tmp_path / "s.jsonl"
    path.touch()
    assert len(sweep({**BASE, "d": [40], "k": [2]}, path)) == 1


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"dimension": [3]}, "grid: expected values of k, d, n"),
        ([3], "grid: expected values of k, d, n"),
        ({"d": 40}, "grid: d: expected a list of values"),
        ({"d": "40"}, "grid: d: expected a list of values"),
        ({"d": [1.5]}, "grid: d: expected an integer"),
        ({"noise": ["a"]}, "grid: noise: expected"),
        ({"d": []}, "grid: expected at least one point"),
        ([], "grid: expected at least one point"),
        ({"k": [4], "d": [40, 3]}, "grid: d: expected an integer of at least 4, the number k of"),
        ({"k": [10, 1]}, "grid: k: expected an integer of at least 2, got 1"),
        ({"k": [4], "positive": [1, 4]}, "grid: positive: expected a number from 1 to 3, for k 4"),
        ({"k": [5], "cosine": [-0.25, -0.3]}, "grid: cosine: expected a number from -1/4 to"),
        ({"cosine": [1.0]}, "grid: cosine: expected a number from -1/9 to below 1, for k 10"),
        ({"n": [0]}, "grid: n: expected an integer of at least 1"),
        ({"noise": [0.0]}, "grid: noise: expected a positive number"),
    ],
)
def test_bad_grids_are_refused(tmp_path, grid, message):
    with pytest.raises(ValueError, match=message):
        sweep(grid, tmp_path / "s.jsonl")
    assert not list(tmp_path.iterdir())


def test_several_grids_are_the_union_of_their_points():
    union = points([{"d": [40], "seed": [0, 1]}, {"d": [40, 80]}])
    assert [(point.d, point.seed) for point in union] == [(40, 0), (40, 1), (80, 0)]
    assert points({"noise": [1], "positive": [np.int64(3), None]})[0] == Setting(positive=3)


def test_laws_are_compared_with_orthogonal_features_only():
    point = Setting(
        k=4, d=60, n=24, m=1, test=6, learning_rate=0.02, steps=5, cosine=0.3, positive=1
    )
    result = sweep_point.measure(point)
    assert result["trained"]["averaging"]["law_median"] is None
    assert point.partition() == (1, -1, -1, -1)


def test_neurons_that_vanished_have_no_cosine():
    W = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert sweep_point._cosines(np.eye(2), W).tolist() == [[0.0, 0.6], [0.0, 0.8]]
    assert sweep_point._cosines(np.eye(2), W[:1]).tolist() == [[0.0], [0.0]]


def _sweep(cwd, *words):
    command = [sys.executable, "-m", "refimpl", "sweep", *WORDS, *words]
    return subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_sweeps_with_processes_as_without(alone, tmp_path):
    words = ["--k", "2,4", "--d", "40,80", "--seed", "0,1", "--jobs", "2", "--out", "o"]
    process = _sweep(tmp_path, *words)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split()[:3] == ["k", "d", "seed"]
    assert "8 of 8 points measured" in process.stdout
    assert _plain(read(tmp_path / "o" / "sweep.jsonl")) == _plain(alone[1])


def test_the_command_says_what_failed_and_refuses_other_results(tmp_path, capsys, monkeypatch):
    measure = sweep_point.measure
    monkeypatch.setattr(sweep_point, "measure", lambda p: measure(p) if p.d > 40 else {}["d"])
    words = ["sweep", *WORDS, "--k", "4", "--out", str(tmp_path)]
    assert cli.main([*words, "--d", "40,50"]) == 1
    captured = capsys.readouterr()
    assert (
        "\nfailed: k 4, d 40, n 24, m 1, step 0.02, steps 20, test 6: KeyError: 'd'\n"
        in captured.out
    )
    assert "1 of 2 points measured" in captured.out
    assert cli.main([*words, "--d", "40"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert cli.main([*words, "--d", "x"]) == 2


BAD = {
    "more clusters than dimensions": (
        ["--k", "4,100", "--d", "80,3072"],
        "--d: expected an integer of at least 100, the number k of clusters, got 80",
    ),
    "no positive": (["--positive", "5,0"], "--positive: expected a number from 1 to 9, for k 10"),
    "all positive": (["--k", "6", "--positive", "6"], "--positive: expected a number from 1 to 5"),
    "cosine": (["--cosine", "-0.1,1"], "--cosine: expected a number from -1/9 to below 1"),
    "nan": (["--noise", "nan"], "--noise: expected finite numbers"),
    "negative": (["--seed", "-1"], "--seed: expected an integer of at least 0, got -1"),
    "no neurons": (["--m", "0"], "--m: expected an integer of at least 1, got 0"),
    "no noise": (["--noise", "0"], "--noise: expected a positive number, got 0"),
    "half a neuron": (["--m", "1.5"], "--m: expected a list as 1,2, got '1.5'"),
    "an end too much": (["--d", "40,"], "--d: expected a list as 1,2, got '40,'"),
    "no jobs": (["--jobs", "0"], "--jobs: expected an integer of at least 1"),
    "out is a file": (
        ["--out", "a.txt"],
        "--out: a.txt: expected a directory, but a.txt is a file",
    ),
    "out in a file": (["--out", "a.txt/b"], "--out: a.txt/b: expected a directory, but a.txt is a"),
    "words": (["40"], "unrecognized arguments: 40"),
}


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_writes_nothing(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").touch()
    assert cli.main(["sweep", *WORDS, *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_a_single_point_is_the_papers_only_if_it_is(tmp_path, capsys, monkeypatch):
    result = {"trained": {kind: {"median": 1.0} for kind in theory.KINDS}}
    result["averaging"] = {"alignment": 0.5}
    monkeypatch.setattr(sweep_point, "measure", lambda point: result)
    assert cli.main(["sweep", "--out", str(tmp_path / "a")]) == 0
    assert "\nthe paper's  " in capsys.readouterr().out
    words = ["--d", "100", "--positive", "3", "--noise", "1", "--out", str(tmp_path / "b")]
    assert cli.main(["sweep", *words]) == 0
    assert "\nd 100, positive 3  " in capsys.readouterr().out


def test_the_command_says_that_a_worker_ended(tmp_path, capsys, monkeypatch):
    def broken(*_, **__):
        raise BrokenExecutor("gone")

    monkeypatch.setattr(sweeps, "sweep", broken)
    assert cli.main(["sweep", *WORDS, "--out", str(tmp_path)]) == 2
    assert "a worker ended (gone)" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_sweep_keeps_its_lines_and_goes_on(tmp_path, jobs):
    words = ["--d", "40", "--k", "2", "--seed", ",".join(map(str, range(3000))), "--out", "o"]
    words += ["--jobs", jobs]
    command = [sys.executable, "-m", "refimpl", "sweep", *WORDS, *words]
    path = tmp_path / "o" / "sweep.jsonl"
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + 60
        while not (path.exists() and path.read_bytes().count(b"\n") > 3):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the workers too
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "refimpl: interrupted"
    assert "Traceback" not in errors
    lines = path.read_bytes().splitlines()
    assert 3 < len(lines) < 3000
    assert all(json.loads(line) for line in lines)
    header = json.loads(lines[0])
    assert header["version"] == refimpl.__version__
    assert len(read(path)) == len(lines) - 1
    assert sweeps._resume(path, header) == {each.point for each in read(path)}
