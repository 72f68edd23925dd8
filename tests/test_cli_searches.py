"""What Ctrl-C leaves of `refimpl radius`: every sample whose search had ended, and nothing else."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from refimpl import TwoLayerReLU, cli, load_certificates
from refimpl._progress import Progress
from refimpl.cli.searches import UNFINISHED, Searches
from refimpl.radius import robust_radius, solve
from refimpl.radius.answer import answers

PACKAGE = str(Path(cli.__file__).parents[2])
ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": PACKAGE}
NET = TwoLayerReLU([[1, 0], [0, 1]], None, [[1, -1]])
X, Y = np.array([[3.0, 1.0], [1.0, 3.0], [5.0, 1.0], [7.0, 1.0]]), np.array([1, 1, 1, 1])
UPPER = [1.0, 0.0, 2.0, 3.0]  # (x_1 - x_2) / 2 in l_inf; the second is misclassified


def interrupt(monkeypatch: pytest.MonkeyPatch, which: float) -> None:
    """Press Ctrl-C in the search of the sample whose first coordinate is `which`."""

    def interrupted(question, space, targets, options, samples, listener=None):
        if samples.x[0, 0] == which:
            raise KeyboardInterrupt
        return answers(question, space, targets, options, samples, listener)

    monkeypatch.setattr(solve, "answers", interrupted)


def find(executor=None):
    """Radii by `Searches`, whether they were interrupted, and the samples counted."""
    with Progress("radius", len(X), enabled=False) as counter:
        searches = Searches(executor, counter)
        result = robust_radius(NET, X, Y, norm=math.inf, certificates=True, executor=searches)
    return result, searches.interrupted, counter.done


@pytest.mark.parametrize("threads", [0, 2])
def test_uninterrupted_results_are_those_of_robust_radius(threads):
    expected = robust_radius(NET, X, Y, norm=math.inf)
    assert expected.upper.round(6).tolist() == UPPER
    if threads:
        with ThreadPoolExecutor(threads) as executor:
            found, interrupted, counted = find(executor)
    else:
        found, interrupted, counted = find()
    assert (interrupted, counted) == (False, 4)
    assert found.upper.tolist() == expected.upper.tolist()
    assert found.nodes.tolist() == expected.nodes.tolist()
    assert found.perturbation.tolist() == expected.perturbation.tolist()


def test_after_ctrl_c_each_finished_sample_is_known(monkeypatch):
    interrupt(monkeypatch, which=7.0)
    found, interrupted, counted = find()
    assert (interrupted, counted) == (True, 3)
    assert (found.nodes == UNFINISHED).tolist() == [False, False, False, True]
    assert found.upper.round(6).tolist() == [*UPPER[:3], math.inf]
    assert found.lower[3] == 0
    assert found.certificates[2] is not None
    assert found.certificates[3] is None


class Dying(ThreadPoolExecutor):
    """Threads, of which the one that takes the third sample ends as a killed process does."""

    def submit(self, fn, *args, **options):
        future = super().submit(fn, *args, **options)
        if args and hasattr(args[0], "x") and args[0].x[0, 0] == 5.0:
            future.result()
            future = Future()
            future.set_exception(BrokenProcessPool("killed"))
        return future


def test_what_was_finished_before_a_worker_ended_is_written(tmp_path, monkeypatch, capsys):
    NET.save(tmp_path / "net.npz")
    np.savez(tmp_path / "data.npz", x=X, y=Y)

    @contextmanager
    def processes(jobs, **options):
        with Dying(1) as executor:
            yield executor

    monkeypatch.setattr("refimpl.cli.radius.processes", processes)
    words = ["radius", *(str(tmp_path / name) for name in ("net.npz", "data.npz"))]
    assert cli.main([*words, "--norm", "inf", "--out", str(tmp_path)]) == 2
    assert re.search(r"refimpl: a worker ended, \d of 4 samples finished", capsys.readouterr().err)
    found = json.loads((tmp_path / "radius.json").read_text())
    assert 2 <= len(found["samples"]) <= 3


def test_with_an_executor_the_samples_after_may_be_known_too(monkeypatch):
    interrupt(monkeypatch, which=5.0)
    with ThreadPoolExecutor(1) as executor:
        found, interrupted, _ = find(executor)
    assert interrupted
    assert (found.nodes == UNFINISHED).tolist() == [False, False, True, True]


@pytest.fixture
def words(tmp_path, monkeypatch):
    """Words of a command that searches for the samples above."""
    monkeypatch.setattr("refimpl.experiments.figures.available", lambda: False)
    NET.save(tmp_path / "net.npz")
    np.savez(tmp_path / "data.npz", x=X, y=Y)
    files = [str(tmp_path / name) for name in ("net.npz", "data.npz")]
    written = ["--out", str(tmp_path / "out"), "--certificates", str(tmp_path / "proofs")]
    return ["radius", *files, "--norm", "inf", *written]


def test_the_command_writes_what_was_finished(tmp_path, words, monkeypatch, capsys):
    interrupt(monkeypatch, which=5.0)
    assert cli.main(words) == 130
    out, err = capsys.readouterr()
    assert err == "refimpl: interrupted, 2 of 4 samples finished\n"
    assert out.startswith("2 of 4 samples: 2 exact\n")
    assert "misclassified (radius 0): 1 of 2 samples (1)\n" in out
    written = json.loads((tmp_path / "out" / "radius.json").read_text())
    assert (written["n_samples"], written["n_finished"], written["misclassified"]) == (4, 2, [1])
    assert [each["index"] for each in written["samples"]] == [0, 1]
    proofs = load_certificates(tmp_path / "proofs")
    assert [each is None for each in proofs.certificates] == [False, True, True, True]
    assert cli.main(["verify", *words[1:3], str(tmp_path / "proofs")]) == 0
    assert "1 of 1 certificates proved" in capsys.readouterr().out


def test_where_the_first_is_interrupted_later_misclassified_samples_keep_their_index(
    tmp_path, words, monkeypatch, capsys
):
    interrupt(monkeypatch, which=3.0)
    assert cli.main(words) == 130
    assert "interrupted, 1 of 4 samples finished" in capsys.readouterr().err
    written = json.loads((tmp_path / "out" / "radius.json").read_text())
    assert written["misclassified"] == [1]
    assert [(each["index"], each["upper"]) for each in written["samples"]] == [(1, 0.0)]


def test_where_nothing_was_finished_nothing_is_written(tmp_path, words, monkeypatch, capsys):
    np.savez(tmp_path / "data.npz", x=X[:1], y=Y[:1])
    interrupt(monkeypatch, which=3.0)
    assert cli.main(words) == 130
    assert capsys.readouterr() == ("", "refimpl: interrupted, 0 of 1 samples finished\n")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "proofs").exists()


@pytest.mark.slow
@pytest.mark.parametrize("group", [True, False], ids=["terminal", "parent alone"])
@pytest.mark.parametrize("early", [True, False], ids=["start", "search"])
def test_ctrl_c_ends_processes_at_once_and_without_a_word_of_theirs(tmp_path, group, early):
    """At a network whose last samples take far longer than anyone waits."""
    rng = np.random.default_rng(3)
    A = rng.standard_normal((3, 200))
    net = TwoLayerReLU(rng.standard_normal((200, 50)), rng.standard_normal(200), A)
    x = rng.standard_normal((4, 50)) * [[1], [10], [10], [10]]
    y = net.predict(x, "argmax")
    y[0] = (y[0] + 1) % 3  # misclassified: finished at once
    net.save(tmp_path / "net.npz")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    code = (
        "import multiprocessing.process as m, sys, refimpl.cli as c\n"
        "start = m.BaseProcess.start\n"
        "m.BaseProcess.start = lambda self: (start(self), print(self.pid, flush=True))\n"
        "sys.exit(c.main(sys.argv[1:]))\n"
    )
    words = ["radius", "net.npz", "data.npz", "--norm", "inf", "--jobs", "2", "--out", "out"]
    with subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        workers = [int(process.stdout.readline()) for _ in range(2)]
        time.sleep(0.5 if early else 5)
        (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    finished = r", [123] of 4 samples finished"
    assert re.fullmatch(f"refimpl: interrupted({finished}){'?' if early else ''}\n", err)
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
