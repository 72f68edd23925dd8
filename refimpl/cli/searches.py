"""Searches for radii that Ctrl-C, or the end of a worker, ends without the loss of what is done."""

from __future__ import annotations

import math
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from refimpl._progress import Progress
    from refimpl.radius.answer import Answer, Samples

UNFINISHED = -1  # nodes of a sample whose search did not end


class Searches(Executor):
    """Executor for `robust_radius` that gives each sample a search of its own.

    Ctrl-C ends the searches and not the call, and so does a worker that ends: what is left is
    `UNFINISHED`, with bounds 0 and inf.

    Parameters
    ----------
    executor : Executor, optional
        Runs them; none of it is this process.
    counter : Progress
        Counts samples.
    """

    def __init__(self, executor: Executor | None, counter: Progress) -> None:
        self.executor, self.counter = executor, counter
        self.interrupted = self.broken = False

    def map(self, fn: Any, *iterables: Any, **_: Any) -> Any:
        """Answer for lists of samples, list by list."""
        from refimpl.radius.answer import Answer

        (tasks,) = iterables
        samples = [task.take([i]) for task in tasks for i in range(len(task.x))]
        nothing = np.full(samples[0].x.shape[1] if samples else 0, np.nan)
        answers = [Answer(0.0, math.inf, nothing, UNFINISHED, None)] * len(samples)
        self.counter.advance(self.counter.total - len(samples))
        try:
            if self.executor is None:
                self._search_here(fn, samples, answers)
            else:
                self._search_elsewhere(self.executor, fn, samples, answers)
        except KeyboardInterrupt:
            self.interrupted = True
        except BrokenExecutor:
            self.broken = True
        each = iter(answers)
        return [list(islice(each, len(task.x))) for task in tasks]

    def _search_here(self, fn: Any, samples: list[Samples], answers: list[Answer]) -> None:
        heard = partial(fn, listener=self.counter.tell_search)
        for i, sample in enumerate(samples):
            answers[i : i + 1] = heard(sample)
            self.counter.advance()

    def _search_elsewhere(
        self, executor: Executor, fn: Any, samples: list[Samples], answers: list[Answer]
    ) -> None:
        done: SimpleQueue[Future[list[Answer]]] = SimpleQueue()
        index = {executor.submit(fn, sample): i for i, sample in enumerate(samples)}
        for future in index:
            future.add_done_callback(done.put)
        left = len(index)
        while left:
            try:
                future = done.get(timeout=1)
            except Empty:
                self.counter.advance(0)  # which may be time to say how far it is
                continue
            answers[index[future] : index[future] + 1] = future.result()
            self.counter.advance()
            left -= 1
