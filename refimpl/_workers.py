"""Processes, and BLAS with one thread: a result has the same bits wherever it is computed.

OpenBLAS splits a product among its threads, and how it is split shows in the last bits.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from refimpl import _validation as check

if TYPE_CHECKING:
    from concurrent.futures import Executor

_PREFIXES, _SUFFIXES = ("scipy_openblas_", "openblas_"), ("64_", "_64", "")
_lock = threading.Lock()
_inside = 0
_before: list[int] = []


@contextmanager
def processes(jobs: int, *, finish: bool = False) -> Iterator[Executor | None]:
    """Give a pool of single-threaded processes, or None for one job.

    Workers do not hear Ctrl-C, which a terminal sends to all. On leaving they end at once, or, with
    `finish`, when they are done with what they have in hand. None outlives this process.
    """
    if check.integer("jobs", jobs, minimum=1) == 1:
        yield None
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.environ.update(threads)  # read by the workers when they import NumPy
    others = {*multiprocessing.active_children()}
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, spawn, initializer=_start_worker)
    try:
        with _deaf():  # and so are children, from their first instruction on
            for _ in range(jobs):
                pool.submit(int)  # each starts one, as none is idle yet
        yield pool
    finally:
        for worker in [] if finish else {*multiprocessing.active_children()} - others:
            worker.terminate()
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Ignore Ctrl-C, and end with the parent, whose death alone would leave a worker waiting."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _deaf() -> Iterator[None]:
    """Ignore Ctrl-C for a moment; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler if before is None else before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Run OpenBLAS with one thread; on leaving, with as many as before.

    The setting is the process's, restored when the last of several threads leaves. Found are the
    libraries in the wheels of NumPy and SciPy; another BLAS keeps its threads, which its
    environment variable sets (OPENBLAS_NUM_THREADS, MKL_NUM_THREADS).
    """
    global _inside, _before  # as the setting of the libraries is
    with _lock:
        _inside += 1
        if _inside == 1:
            _before = [get() for get, _ in _libraries()]
            _set([1] * len(_before))
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _set(_before)


def _set(threads: list[int]) -> None:
    for (_, set_threads), count in zip(_libraries(), threads, strict=True):
        set_threads(count)


@cache
def _libraries() -> list[tuple[Callable[[], int], Callable[[int], Any]]]:
    """Functions that get and set the number of threads, for each OpenBLAS that is loaded."""
    found = []
    for package in (np, scipy):
        home = Path(package.__path__[0])
        for folder in (home.parent / f"{home.name}.libs", home / ".dylibs"):
            found += [_functions(path) for path in sorted(folder.glob("*openblas*"))]
    return [functions for functions in found if functions is not None]


def _functions(path: Path) -> tuple[Callable[[], int], Callable[[int], Any]] | None:
    try:
        library = ctypes.CDLL(str(path))
    except OSError:
        return None
    for prefix in _PREFIXES:
        for suffix in _SUFFIXES:
            names = [f"{prefix}{verb}_num_threads{suffix}" for verb in ("get", "set")]
            if all(hasattr(library, name) for name in names):
                return getattr(library, names[0]), getattr(library, names[1])
    return None
