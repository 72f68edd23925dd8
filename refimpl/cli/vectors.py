"""``refimpl vectors``: frozen inputs and outputs, for implementations that cannot call Python."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add ``vectors``."""
    parser = subparsers.add_parser(
        "vectors", help="write or check frozen inputs and outputs of every equation"
    )
    parser.add_argument("action", choices=("write", "check"))
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write the vectors, or compare them with what this package computes."""
    from refimpl.conformance.vectors import VERSION, check_vectors, write_vectors

    if args.action == "write":
        print(f"vectors version {VERSION} written to {write_vectors(args.directory)}")
        return 0
    differences = check_vectors(args.directory)
    for line in differences:
        print(line)
    print(f"{len(differences)} values differ" if differences else "all values agree")
    return 1 if differences else 0
