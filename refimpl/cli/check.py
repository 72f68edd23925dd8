"""``refimpl check``: an implementation against every claim; without argument refimpl itself."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from refimpl._files import write_json


def add_parser(subparsers: Any) -> None:
    """Add ``check``."""
    parser = subparsers.add_parser("check", help="check an implementation, and name what is wrong")
    parser.add_argument(
        "adapter",
        nargs="?",
        metavar="PACKAGE.MODULE:ADAPTER",
        help="a subclass of refimpl.conformance.Adapter; default: refimpl itself",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--seed", type=int, default=0, help="seed of the inputs (default: 0)")
    parser.add_argument(
        "--examples", type=int, metavar="N", help="inputs for each claim, at most (default: 40)"
    )
    parser.add_argument(
        "--claim", action="append", metavar="NAME", help="only this one; repeatable"
    )
    parser.add_argument("--dtype", choices=("float32", "float64"), help="default: the adapter's")
    parser.add_argument("--subnormals", action="store_true", help="numbers below the normal too")
    parser.add_argument("--tight", action="store_true", help="bounds of the radius are to meet")
    parser.add_argument(
        "--power", action="store_true", help="run the checks on wrong implementations instead"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, print, and fail if a claim fails."""
    if args.power:
        return _power(args)
    import refimpl
    from refimpl.conformance import check, explain, report

    adapter = load(args.adapter)
    options = {} if args.examples is None else {"examples": args.examples}
    results = check(
        adapter,
        seed=args.seed,
        only=args.claim,
        subnormals=args.subnormals,
        tight=args.tight,
        dtype=args.dtype,
        progress=True,
        **options,
    )
    dtype = args.dtype or adapter.dtype
    print(f"{adapter.name} ({dtype}) against refimpl {refimpl.__version__}, seed {args.seed}\n")
    print(report.table(results))
    failed = [result for result in results if result.status == "failed"]
    for result in failed:
        print(f"\n{explain(result, adapter)}")
    print(f"\n{report.summary(results)}; repeat with --seed {args.seed}")
    if failed:
        print(f"Begin with {failed[0].claim}: an earlier failure often explains later ones.")
    if args.json is not None:
        write_json(args.json, report.as_json(results, adapter, args.seed))
    return 1 if failed else 0


def load(name: str | None) -> Any:
    """Import an adapter, with the current directory on the import path."""
    from refimpl.conformance import Reference

    if name is None:
        return Reference()
    module, separator, attribute = name.partition(":")
    if not (module and separator and attribute):
        raise ValueError(f"adapter: expected PACKAGE.MODULE:ADAPTER, got {name!r}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(import_module(module), attribute)
        return found() if isinstance(found, type) else found
    except Exception as error:  # whatever the user's module raises
        reason = f"{type(error).__name__}: {error}"
        raise ValueError(f"adapter: expected {name} to import, got {reason}") from error


def _power(args: argparse.Namespace) -> int:
    from refimpl.conformance import claims, report
    from refimpl.conformance.power import missed, power

    options = {} if args.examples is None else {"examples": args.examples}
    caught = power(seed=args.seed, progress=True, **options)
    for line in report.matrix(caught, list(claims())):
        print(line)
    if args.json is not None:
        write_json(args.json, {name: sorted(by) for name, by in caught.items()})
    lapses = missed(caught)
    print(f"\n{len(caught)} defects, {len(claims())} claims, seed {args.seed}: ", end="")
    print("every defect is caught by the claims it breaks" if not lapses else "; ".join(lapses))
    return 1 if lapses else 0
