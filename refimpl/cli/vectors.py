"""Write or check test vectors: inputs and outputs of the equations.

  refimpl vectors write vectors/
  refimpl vectors check vectors/

They serve implementations that refimpl check cannot call. A folder of vectors
holds manifest.json and .npz files of inputs and outputs; the manifest says
which equations are in which file, and how far yours may differ in float64 and
float32. help() of refimpl.conformance.vectors describes the format.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from refimpl.cli import options

WRITE = """Write manifest.json and the .npz files that it lists into DIR.

DIR is made if it is missing; files of these names are replaced.

  refimpl vectors write vectors/
"""
CHECK = """Compare the vectors in DIR with what this version of refimpl computes.

So one sees that a copy is whole and up to date: values, and tolerances to a
factor of 2. Your implementation is not run: compare its outputs with those in
the files.

  refimpl vectors check vectors/

Exit status: 0 if all values agree; 1 if some differ, each named on a line; 2 if
DIR is not whole: a file is missing or changed, or of another schema or version.
"""


def add_parser(subparsers: Any) -> None:
    """Add ``vectors write`` and ``vectors check``."""
    text = "write or check frozen inputs and outputs of the equations"
    parser = options.add_command(subparsers, "vectors", text, __doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    write = options.add_command(actions, "write", "write them into a folder", WRITE)
    write.add_argument("directory", type=Path, metavar="DIR", help="folder to write into")
    write.set_defaults(run=run_write)
    check = options.add_command(actions, "check", "compare a folder with this version", CHECK)
    check.add_argument("directory", type=Path, metavar="DIR", help="folder of vectors")
    check.set_defaults(run=run_check)


def run_write(args: argparse.Namespace) -> int:
    """Write the vectors."""
    from refimpl.conformance.vectors import VERSION, write_vectors

    print(f"vectors version {VERSION} written to {write_vectors(args.directory)}")
    return 0


def run_check(args: argparse.Namespace) -> int:
    """Compare the vectors with what this package computes, and fail if some differ."""
    from refimpl.conformance.vectors import check_vectors

    try:
        differences = check_vectors(args.directory)
    except ValueError as error:  # missing or changed files
        raise ValueError(f"{error}; refimpl vectors write DIR writes them anew") from None
    for line in differences:
        print(line)
    print(f"{len(differences)} values differ" if differences else "all values agree")
    return 1 if differences else 0
