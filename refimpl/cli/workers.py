"""Processes for the subcommands that have ``--jobs``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Executor


@contextmanager
def processes(jobs: int, *, finish: bool = False) -> Iterator[Executor | None]:
    """Give a pool of single-threaded processes, or None for one job.

    At Ctrl-C a worker ends at once and without a traceback, or, with `finish`, once it is done with
    what it has in hand.
    """
    if jobs == 1:
        yield None
        return
    import multiprocessing
    import signal
    from concurrent.futures import ProcessPoolExecutor

    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.environ.update(threads)  # read by the workers when they import NumPy
    pool = ProcessPoolExecutor(
        jobs,
        multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN if finish else signal.SIG_DFL),
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
