"""Fetch MNIST and CIFAR-10, and check those that are there.

  refimpl data fetch mnist data/
  refimpl data verify data/

Without a folder commands that read data look where $REFIMPL_DATA says.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refimpl.cli import options

if TYPE_CHECKING:
    from refimpl.datasets.inspection import Finding

NAMES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def add_parser(subparsers: Any) -> None:
    """Add ``data verify`` and ``data fetch``."""
    text = "fetch data sets, and check those that are there"
    parser = options.add_command(subparsers, "data", text, __doc__)
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    text = "say what a folder holds, and whether it is whole"
    verify = options.add_command(actions, "verify", text, run_verify.__doc__)
    text = "folder of data (default: $REFIMPL_DATA)"
    verify.add_argument("directory", nargs="?", metavar="DIR", help=text)
    verify.set_defaults(run=run_verify)
    text = "download a data set, the only use of the network"
    fetch = options.add_command(actions, "fetch", text, run_fetch.__doc__)
    text = " or ".join(NAMES)
    fetch.add_argument("name", choices=tuple(NAMES), metavar="NAME", help=text)
    fetch.add_argument("directory", type=Path, metavar="DIR", help="folder to download into")
    fetch.set_defaults(run=run_fetch)


def advised(error: Exception, args: argparse.Namespace) -> str | None:
    """Say in a line what is wrong with data, and what helps; None for other errors."""
    from refimpl.datasets import DatasetMissingError
    from refimpl.datasets.errors import UnofficialDataError

    if isinstance(error, DatasetMissingError):
        expected = f"{error.path}: expected the files of {NAMES[error.name]}"
        return f"{expected}, got {error.got}; refimpl data fetch {error.name} DIR downloads them"
    if isinstance(error, UnofficialDataError) and not getattr(args, "no_verify", True):
        return f"{error}; --no-verify takes well-formed data that are not the published ones"
    return None


def run_verify(args: argparse.Namespace) -> int:
    """Say which files of MNIST and CIFAR-10 a folder holds, and whether each is whole.

    Whole is what is well formed and the official contents, as far as checksums are
    published. Looks where the loaders look: in DIR itself, in mnist/, MNIST/raw/,
    cifar-10-batches-py/ and cifar-10-batches-bin/, and at cifar-10-*.tar.gz.

      refimpl data verify data/

    Exit status: 0 if there is data and all of it is whole, else 1.
    """
    from refimpl.datasets import verify_directory
    from refimpl.datasets.locate import data_directory

    directory = data_directory(args.directory)
    if not (directory.is_dir() and os.access(directory, os.R_OK | os.X_OK)):
        raise NotADirectoryError(f"{directory}: expected a readable folder of data")
    findings = verify_directory(directory)
    for finding in findings:
        print(finding)
    print("; ".join(f"{name}: {_verdict(findings, title)}" for name, title in NAMES.items()))
    if findings and all(finding.whole for finding in findings):
        return 0
    print(
        "refimpl data fetch NAME DIR downloads what is not there, or not whole, to an empty folder"
    )
    return 1


def _verdict(findings: list[Finding], dataset: str) -> str:
    whole = [finding.whole for finding in findings if finding.dataset == dataset]
    if not whole:
        return "not there"
    return "whole" if all(whole) else f"not whole, {whole.count(False)} of {len(whole)} lines above"


def run_fetch(args: argparse.Namespace) -> int:
    """Download a data set from where it is published into DIR.

    The folder is made if it is missing. The data sets are mnist, 12 MB, and
    cifar10, 170 MB. Files that are there and whole are kept; what comes with
    another sha256 than the published one is refused. This is the only command that
    uses the network; it needs the extra fetch.

      refimpl data fetch mnist data/
      refimpl reproduce mnist --data data/
    """
    from refimpl.datasets import fetch

    for path in fetch(args.name, args.directory):
        print(path)
    return 0
