"""``refimpl data``: fetch MNIST and CIFAR-10, and say what a folder holds."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> None:
    """Add ``data verify`` and ``data fetch``."""
    parser = subparsers.add_parser("data", help="fetch data sets, and check those that are there")
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    verify = actions.add_parser("verify", help="say what a folder holds, and whether it is whole")
    verify.add_argument(
        "directory", nargs="?", metavar="DIR", help="folder (default: $REFIMPL_DATA)"
    )
    verify.set_defaults(run=run_verify)
    fetch = actions.add_parser("fetch", help="download a data set, the only use of the network")
    fetch.add_argument("name", choices=("mnist", "cifar10"))
    fetch.add_argument("directory", type=Path, metavar="DIR")
    fetch.set_defaults(run=run_fetch)


def run_verify(args: argparse.Namespace) -> int:
    """Print the findings, and fail unless there are some and all are whole."""
    from refimpl.datasets import verify_directory
    from refimpl.datasets.locate import data_directory

    directory = data_directory(args.directory)
    if not directory.is_dir():
        raise NotADirectoryError(f"{directory}: expected a folder of data")
    findings = verify_directory(directory)
    for finding in findings:
        print(finding)
    if not findings:
        print("neither MNIST nor CIFAR-10 is there")
    return 0 if findings and all(finding.whole for finding in findings) else 1


def run_fetch(args: argparse.Namespace) -> int:
    """Download and print the files."""
    from refimpl.datasets import fetch

    for path in fetch(args.name, args.directory):
        print(path)
    return 0
