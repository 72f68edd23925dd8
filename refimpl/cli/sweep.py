"""``refimpl sweep``: both networks and their exact radii over a grid."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from refimpl import _validation as check
from refimpl.cli import options
from refimpl.cli.workers import processes

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from refimpl.experiments.sweep import Outcome

_SECONDS = 5  # that a scheduler has to answer

AXES: dict[str, tuple[Callable[[str], Any], str]] = {
    "k": (int, "clusters"),
    "d": (int, "input dimension"),
    "n": (int, "training samples"),
    "m": (int, "neurons of each sign in the 2-class network"),
    "positive": (int, "clusters with label +1 (default: half)"),
    "cosine": (float, "cosine of each two features"),
    "noise": (float, "standard deviation of the noise"),
    "sigma": (float, "standard deviation of the initial weights"),
    "step": (float, "learning rate"),
    "steps": (int, "gradient descent steps"),
    "test": (int, "test samples, whose exact radii are found"),
    "seed": (int, "seeds of all random numbers"),
}


def add_parser(subparsers: Any) -> None:
    """Add ``sweep``."""
    parser = subparsers.add_parser(
        "sweep",
        help="train both networks and find exact radii over a grid",
        description="Every axis takes values separated by commas, as in --k 4,6,10; all "
        "combinations are measured. The same command again takes up where it stopped.",
    )
    for name, (kind, text) in AXES.items():
        parser.add_argument(f"--{name}", type=_values(kind), metavar="LIST", help=text)
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    parser.add_argument(
        "--dask", metavar="ADDRESS", help="run on the Dask cluster of this scheduler"
    )
    options.add_out(parser, "sweep")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure what is missing, and print all; fail if a point did."""
    from refimpl._files import output_directory
    from refimpl.experiments.sweep import points, sweep

    grid = {name: getattr(args, name) for name in AXES if getattr(args, name) is not None}
    points(grid)  # a bad grid is refused before a cluster is asked
    with _executor(args) as executor:
        path = output_directory(args.out) / "sweep.jsonl"
        try:
            outcomes = sweep(grid, path, executor=executor, progress=True)
        except BrokenExecutor as error:
            raise ChildProcessError(f"a worker ended ({error}); {path} has what was done") from None
    _print(outcomes, [name for name, values in grid.items() if len(values) > 1])
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        print(f"failed: {outcome.point}: {outcome.error}")
    print(f"\n{len(outcomes) - len(failed)} of {len(outcomes)} points measured, written to {path}")
    return 1 if failed else 0


def _values(kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def read(text: str) -> list[Any]:
        try:
            return [kind(part) for part in text.split(",")]
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a list as 1,2, got {text!r}") from None

    return read


@contextmanager
def _executor(args: argparse.Namespace) -> Iterator[Executor | None]:
    if args.dask is None:
        jobs = check.integer("--jobs", args.jobs, minimum=1)
        with processes(jobs, finish=True) as executor:
            yield executor
        return
    with _dask_client(args.dask) as client:
        yield client.get_executor()


def _dask_client(address: str) -> Any:
    """Connect to a running scheduler within seconds, or raise `OSError` or `ImportError`."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError("--dask needs Dask: pip install 'refimpl[dask]'") from None
    try:
        return Client(address, timeout=_SECONDS)  # type: ignore[no-untyped-call]  # Dask has no types
    except (OSError, ValueError, ImportError) as error:
        raise ConnectionError(f"--dask: no scheduler answers at {address} ({error})") from None


def _print(outcomes: list[Outcome], varied: list[str]) -> None:
    """One row a point: the fields that vary, and the median radii."""
    from refimpl.experiments.report import number, table
    from refimpl.experiments.sweep_point import KINDS

    rows = [[" ".join(varied) or "point", *(f"median r, {kind}" for kind in KINDS), "alignment"]]
    for outcome in outcomes:
        if outcome.result is not None:
            where = " ".join(f"{getattr(outcome.point, name):g}" for name in varied) or "paper's"
            medians = [number(outcome.result["trained"][kind]["median"]) for kind in KINDS]
            rows.append([where, *medians, number(outcome.result["averaging"]["alignment"])])
    print(table(rows))
