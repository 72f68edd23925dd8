"""Progress of long work on standard error, so that standard output stays clean."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Progress:
    """A counter ``label 37/200`` that redraws on a terminal and speaks every 10 s elsewhere.

    >>> with Progress("radius", total=2, enabled=False) as progress:
    ...     progress.advance()
    """

    def __init__(self, label: str, total: int, *, enabled: bool = True) -> None:
        self.label, self.total, self.done = label, total, 0
        self.enabled = enabled
        self._terminal = sys.stderr.isatty()
        self._next = time.monotonic() + (0.2 if self._terminal else 10.0)
        self._shown = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown and self._terminal:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def advance(self, count: int = 1) -> None:
        """Count work as done, and say so if it is time."""
        self.done += count
        self._show("")

    def tell_search(self, nodes: int, gap: float) -> None:
        """Say, if it is time, how far the search is that the next item needs."""
        self._show(f" ({nodes} nodes, gap {gap:.1e})")

    def _show(self, detail: str) -> None:
        if self.enabled and time.monotonic() >= self._next:
            start, end = ("\r\x1b[K", "") if self._terminal else ("", "\n")
            sys.stderr.write(f"{start}{self.label} {self.done}/{self.total}{detail}{end}")
            sys.stderr.flush()
            self._shown = True
            self._next = time.monotonic() + (0.2 if self._terminal else 10.0)


def track(items: Iterable[T], label: str, total: int, *, enabled: bool = True) -> Iterator[T]:
    """Yield the items and count each as done when the next is asked for."""
    with Progress(label, total, enabled=enabled) as progress:
        for item in items:
            yield item
            progress.advance()
