"""The file summary.json: written whole, or, after Ctrl-C, with what there is by then."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import refimpl
from refimpl._arrays import Array
from refimpl._files import write_json
from refimpl.experiments.comparison import JSON_NAMES
from refimpl.experiments.robustness import Robustness


@contextmanager
def summary_file(path: Path, kept: Callable[[Mapping[str, Any]], str]) -> Iterator[dict[str, Any]]:
    """Yield a dict that is written at the end; after Ctrl-C, or if a worker ends, as it is then.

    `kept` says what that is, and nothing is written where it says nothing.
    """
    summary: dict[str, Any] = {"refimpl_version": refimpl.__version__}
    try:
        yield summary
    except (KeyboardInterrupt, BrokenExecutor):
        said = kept(summary)
        if said:
            write_json(path, {**summary, "interrupted": True})
        print(f"refimpl: {f'{said} in {path}' if said else 'nothing written'}", file=sys.stderr)
        raise
    write_json(path, summary)


def robustness_summary(
    measured: Mapping[str, Robustness], laws: Mapping[str, Array]
) -> dict[str, dict[str, Any]]:
    """Entries ``robust_accuracy`` and ``radius``; `laws`, where known, at the same epsilons."""
    epsilons = next(iter(measured.values())).epsilons.tolist()
    known = {name: {"law": law.tolist()} for name, law in laws.items()}
    curves = {
        JSON_NAMES[name]: {**each.curves(), **known.get(name, {})}
        for name, each in measured.items()
    }
    return {
        "robust_accuracy": {"epsilons": epsilons, **curves},
        "radius": {JSON_NAMES[name]: each.summary() for name, each in measured.items()},
    }
