"""``refimpl prove``: the numerical evidence for the claims of the paper and of this package."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from refimpl.cli import options


def add_parser(subparsers: Any) -> None:
    """Add ``prove``."""
    parser = subparsers.add_parser(
        "prove", help="measure every claim against a bound, and say whether it holds"
    )
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="only these (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there too")
    parser.add_argument("--quick", action="store_true", help="fewer samples and seeds")
    options.add_out(parser, "prove")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print claim after claim, and fail if one does."""
    from proofs_numeric import CLAIMS, canonical, prove, report
    from proofs_numeric.evidence import PAPER, QUICK, Result
    from refimpl._files import output_directory
    from refimpl._progress import Progress
    from refimpl.experiments import figures

    claims = list(dict.fromkeys(map(canonical, args.claims))) or list(CLAIMS)
    out = output_directory(args.out)
    if args.json is not None:
        options.check_writable(args.json)
    draw = figures.available()
    results: list[Result] = []
    print(report.line(*report.HEAD))
    try:
        with Progress("prove, claims", len(claims)) as progress:
            for claim in claims:
                results.append(prove(claim, QUICK if args.quick else PAPER))
                print(report.rows(results[-1]), flush=True)
                progress.advance()
    finally:
        _write(results, args.json, out, draw=draw)
    print(f"\n{report.summary(results)}")
    return 1 if any(result.verdict == "fails" for result in results) else 0


def _write(results: list[Any], path: Path | None, out: Path, *, draw: bool) -> None:
    """Write what was finished, even after Ctrl-C."""
    from proofs_numeric import drawing
    from refimpl._files import write_json

    if path is not None:
        write_json(path, [result.as_json() for result in results])
    if draw:
        for result in results:
            drawing.draw(result.claim, result.numbers, out)
