"""Measure the claims of the paper and of this package against derived bounds.

  refimpl prove
  refimpl prove averaging scaling --quick --json numbers.json
  refimpl prove adversarial-training --full

Without CLAIM all are measured, in about a minute. CLAIM is a name from the
first column of the table that is printed; a wrong one is answered with all of
them. A check holds if its figure is within its bound, and a claim if all its
checks do; rows without a bound only inform. Claims whose evidence is a curve
(adversarial-training, balance, readout, scaling) are drawn into --out.

Exit status: 0 if every claim holds, 1 if one does not.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from refimpl.cli import options


def add_parser(subparsers: Any) -> None:
    """Add ``prove``."""
    text = "measure every claim against a bound, and say whether it holds"
    parser = options.add_command(subparsers, "prove", text, __doc__)
    parser.add_argument("claims", nargs="*", metavar="CLAIM", help="only these (default: all)")
    options.add_json(parser, "write all figures, bounds and verdicts there")
    text = "500 training samples in place of 1000, 2 seeds in place of 3: half the time"
    parser.add_argument("--quick", action="store_true", help=text)
    text = "judge long evidence as a whole, where a reduced case is judged else: minutes"
    parser.add_argument("--full", action="store_true", help=text)
    options.add_out(parser, "prove")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print claim after claim, and fail if one does."""
    from proofs_numeric import CLAIMS, canonical, prove, report
    from proofs_numeric.evidence import PAPER, QUICK, Evidence
    from refimpl._progress import Progress
    from refimpl.experiments import figures

    size = replace(QUICK if args.quick else PAPER, full=args.full)
    claims = list(dict.fromkeys(map(canonical, args.claims))) or list(CLAIMS)
    draw = figures.available()
    results: list[Evidence] = []
    drawn: list[Path] = []
    with options.json_results(args.json) as write:
        print(report.line(*report.HEAD))
        try:
            with Progress("prove, claims", len(claims)) as progress:
                for claim in claims:
                    results.append(prove(claim, size))
                    print(report.rows(results[-1]), flush=True)
                    progress.advance()
        finally:  # what was finished, even after Ctrl-C
            if results:
                write([result.as_json() for result in results])
            drawn = _draw(results, args.out) if draw else []
        figures_drawn = f"; drawn: {', '.join(map(str, drawn))}" if drawn else ""
        print(f"\n{report.summary(results)}{figures_drawn}")
    return 1 if any(result.verdict == "fails" for result in results) else 0


def _draw(results: list[Any], out: Path) -> list[Path]:
    """Draw what is a curve, and return the files."""
    from proofs_numeric import drawing

    drawn = (drawing.draw(result.claim, result.numbers, out) for result in results)
    return [path for path in drawn if path is not None]
