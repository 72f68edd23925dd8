"""Train both of the paper's networks, and find their exact radii, over a grid.

  refimpl sweep --d 768,1536,3072 --seed 0,1,2 --jobs 2

Every axis takes values separated by commas; all combinations are measured, and
what is not given is the paper's. A table of median radii is printed;
sweep.jsonl in --out has all results, a line each as they come. The same command
again takes up where it stopped; another grid needs another --out.

Exit status: 0 if every point was measured, 1 if one failed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from refimpl._extras import install
from refimpl._workers import processes
from refimpl.cli import options
from refimpl.setting import Setting
from refimpl.setting import options as axes

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from refimpl.experiments.sweep import Outcome

_SECONDS = 5  # that a scheduler has to answer
_READ = """\
r: exact l2 radius; averaging: of the 2-class network; group_max, group_sum: of the multi-class
network, by largest output or sums of outputs; alignment: smallest cosine of a neuron of the 2-class
network with the sum of its class's features."""


def add_parser(subparsers: Any) -> None:
    """Add ``sweep``."""
    text = "train both networks and find exact radii over a grid"
    parser = options.add_command(subparsers, "sweep", text, __doc__)
    options.add_settings(parser, Setting(), lists=True)
    options.add_jobs(parser)
    text = "run on the Dask cluster of this scheduler, in place of --jobs"
    parser.add_argument("--dask", metavar="ADDRESS", help=text)
    options.add_out(parser, "sweep")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure what is missing, and print all; fail if a point did."""
    from refimpl._files import output_directory
    from refimpl.experiments.sweep import points, sweep

    given = options.given(args, Setting)
    grid = {name: given[each.name] for name, each in axes(Setting).items() if each.name in given}
    try:
        points(grid)  # a bad grid is refused before any work, and before a cluster is asked
    except ValueError as error:
        name, _, rest = str(error).removeprefix("grid: ").partition(": ")
        raise ValueError(f"{options.option_of(name)}: {rest}") from None
    with _executor(args) as executor:
        path = output_directory(args.out) / "sweep.jsonl"
        try:
            outcomes = sweep(grid, path, executor=executor, progress=True)
        except BrokenExecutor as error:
            raise ChildProcessError(f"a worker ended ({error}); {path} has what was done") from None
        except ValueError as error:  # a file of another grid, or none of ours
            raise ValueError(f"{error} (--out takes another folder)") from None
    _print(outcomes, [name for name, values in grid.items() if len(values) > 1])
    failed = [outcome for outcome in outcomes if outcome.error is not None]
    for outcome in failed:
        print(f"failed: {_settings(outcome.point)}: {outcome.error}")
    print(f"{len(outcomes) - len(failed)} of {len(outcomes)} points measured, written to {path}")
    return 1 if failed else 0


@contextmanager
def _executor(args: argparse.Namespace) -> Iterator[Executor | None]:
    if args.dask is None:
        with processes(args.jobs, finish=True) as executor:
            yield executor
        return
    with _dask_client(args.dask) as client:
        yield client.get_executor()


def _dask_client(address: str) -> Any:
    """Connect to a running scheduler within seconds, or raise `OSError` or `ImportError`."""
    try:
        from distributed import Client
    except ImportError:
        raise ImportError(f"--dask needs Dask: {install('dask')}") from None
    try:
        return Client(address, timeout=_SECONDS)  # type: ignore[no-untyped-call]  # Dask has no types
    except (OSError, ValueError, ImportError) as error:
        raise ConnectionError(f"--dask: no scheduler answers at {address} ({error})") from None


def _print(outcomes: list[Outcome], varied: list[str]) -> None:
    """One row a point: the fields that vary, or what sets a single point apart, and its radii."""
    from refimpl.experiments.report import number, table
    from refimpl.theory import KINDS

    rows = [[*(varied or ["point"]), *(f"median r, {kind}" for kind in KINDS), "alignment"]]
    for outcome in outcomes:
        if outcome.result is not None:
            values = outcome.point.as_json()
            where = [_number(values[name]) for name in varied]
            medians = [number(outcome.result["trained"][kind]["median"]) for kind in KINDS]
            alignment = number(outcome.result["averaging"]["alignment"])
            rows.append([*(where or [_settings(outcome.point)]), *medians, alignment])
    if len(rows) > 1:
        print(f"{table(rows)}\n{_READ}\n")


def _settings(point: Setting) -> str:
    """Say in what a point differs from the paper's.

    >>> _settings(Setting(d=100, noise=0.5)), _settings(Setting())
    ('d 100, noise 0.5', "the paper's")
    """
    papers = Setting().as_json()
    own = [f"{name} {_number(v)}" for name, v in point.as_json().items() if v != papers[name]]
    return ", ".join(own) or "the paper's"


def _number(value: float) -> str:
    """Write an integer in full, as a seed needs it.

    >>> _number(20240101), _number(0.5)
    ('20240101', '0.5')
    """
    return f"{value:d}" if isinstance(value, int) else f"{value:g}"
