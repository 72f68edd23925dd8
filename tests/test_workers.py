"""Processes that end with their parent; one BLAS thread where asked for, and the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from refimpl import _workers

LIBRARIES = _workers._libraries()
needs_openblas = pytest.mark.skipif(not LIBRARIES, reason="NumPy here bundles no OpenBLAS")


def _threads():
    return [get() for get, _ in LIBRARIES]


@pytest.fixture
def two_threads():
    before = _threads()
    _workers._set([2] * len(LIBRARIES))
    yield
    _workers._set(before)


@needs_openblas
@pytest.mark.usefixtures("two_threads")
def test_one_thread_inside_and_as_before_outside_even_after_an_error():
    before = _threads()
    with suppress(RuntimeError), _workers.one_thread(), _workers.one_thread():
        raise RuntimeError
    with _workers.one_thread():
        assert _threads() == [1] * len(LIBRARIES)
    assert _threads() == before


@needs_openblas
@pytest.mark.usefixtures("two_threads")
def test_the_last_of_several_python_threads_restores():
    before, entered, leave = _threads(), threading.Event(), threading.Event()

    def other():
        with _workers.one_thread():
            entered.set()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
    with _workers.one_thread():
        pass
    assert _threads() == [1] * len(LIBRARIES)
    leave.set()
    thread.join()
    assert _threads() == before


@needs_openblas
@pytest.mark.usefixtures("two_threads")
def test_products_have_the_bits_of_one_thread():
    x = np.random.default_rng(0).standard_normal((300, 768))
    with _workers.one_thread():
        inside = x @ x.T
    _workers._set([1] * len(LIBRARIES))
    np.testing.assert_array_equal(inside, x @ x.T)


def test_a_library_that_is_none_is_passed_over(tmp_path):
    path = tmp_path / "libopenblas.so"
    path.write_bytes(b"no library")
    assert _workers._functions(path) is None
    import _ctypes

    assert _workers._functions(_ctypes.__file__) is None  # a library, but no OpenBLAS


@pytest.mark.slow
def test_workers_end_with_a_parent_that_is_killed(tmp_path):
    code = (
        "import multiprocessing, time\n"
        "from refimpl._workers import processes\n"
        "if __name__ == '__main__':\n"
        "    with processes(2) as pool:\n"
        "        pool.submit(abs, 1).result()\n"
        "        print(*(each.pid for each in multiprocessing.active_children()), flush=True)\n"
        "        time.sleep(60)\n"
    )
    (tmp_path / "parent.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(_workers.__file__).parents[1])}
    command = [sys.executable, str(tmp_path / "parent.py")]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        workers = [int(word) for word in process.stdout.readline().split()]
        assert len(workers) == 2
        process.kill()
    deadline = time.monotonic() + 30
    while any(_runs(worker) for worker in workers):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _runs(pid):
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_a_thread_can_start_processes_and_leaving_ends_those_at_work():
    def start():
        with _workers.processes(2) as pool:
            assert pool.submit(abs, -1).result() == 1
            pool.submit(time.sleep, 600)
        return time.monotonic()

    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(start).result(timeout=60) > 0
