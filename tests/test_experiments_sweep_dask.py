"""A sweep on a real Dask cluster, and a scheduler that is not there."""

from __future__ import annotations

import sys
import time

import pytest

from refimpl import cli
from refimpl.experiments.sweep import read, sweep

distributed = pytest.importorskip("distributed", reason="sweeps on a cluster need the extra dask")

GRID = {"n": [24], "m": [1], "test": [6], "step": [0.02], "steps": [20], "k": [2], "d": [40, 80]}
WORDS = ["--n", "24", "--m", "1", "--test", "6", "--step", "0.02", "--steps", "20"]
WORDS += ["--k", "2", "--d", "40,80"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_dask_gives_the_same_bits(tmp_path):
    alone = sweep(GRID, tmp_path / "alone.jsonl")
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        there = sweep(GRID, tmp_path / "there.jsonl", executor=client.get_executor())
        out = tmp_path / "out"
        address = cluster.scheduler_address
        assert cli.main(["sweep", *WORDS, "--dask", address, "--out", str(out)]) == 0
    for outcomes in (there, read(out / "sweep.jsonl")):
        assert [each.result for each in outcomes] == [each.result for each in alone]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_a_scheduler_that_does_not_answer_is_said_within_seconds(tmp_path, capsys, address):
    start = time.monotonic()
    assert cli.main(["sweep", *WORDS, "--dask", address, "--out", str(tmp_path / "o")]) == 2
    assert time.monotonic() - start < 30
    assert f"no scheduler answers at {address}" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_without_dask_the_command_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert cli.main(["sweep", *WORDS, "--dask", "tcp://x:1", "--out", str(tmp_path / "o")]) == 2
    assert "pip install '.[dask]'" in capsys.readouterr().err
