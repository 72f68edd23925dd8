"""The command ``refimpl``: one module for each subcommand, with `add_parser` and `run`.

Exit status: 0 success; 1 a claim or a check failed; 2 bad usage or input, with one line on standard
error; 130 after Ctrl-C. The modules import what they run when they run, so that ``refimpl --help``
is quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

import refimpl

COMMANDS = ("reproduce", "radius", "verify", "data", "prove", "sweep", "check", "vectors")


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and that takes no abbreviations."""

    def __init__(self, **options: object) -> None:
        super().__init__(**{**options, "allow_abbrev": False})  # type: ignore[arg-type]  # argparse's own options

    def error(self, message: str) -> NoReturn:
        """Leave with status 2 and one line."""
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())} (try {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    try:
        return _run(_parser().parse_args(_attached(sys.argv[1:] if argv is None else argv)))
    except SystemExit as leaving:  # argparse, after it has printed
        return leaving.code if isinstance(leaving.code, int) else 2
    except KeyboardInterrupt:
        print("refimpl: interrupted", file=sys.stderr)
        return 130


def _run(args: argparse.Namespace) -> int:
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ArithmeticError, ImportError, MemoryError) as error:
        message = str(error) or type(error).__name__
        print(f"refimpl: error: {' '.join(message.split())}", file=sys.stderr)
        return 2
    return status


def _attached(argv: Sequence[str]) -> list[str]:
    """Write ``--labels -1,1`` as ``--labels=-1,1``, since argparse takes -1,1 for an option.

    >>> _attached(["radius", "--labels", "-1,1", "--jobs", "2"])
    ['radius', '--labels=-1,1', '--jobs', '2']
    """
    result: list[str] = []
    for word in argv:
        if result and result[-1] in ("--labels", "--groups"):
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


def _parser() -> Parser:
    parser = Parser(prog="refimpl", description=(refimpl.__doc__ or "").split("\n")[0])
    parser.add_argument("--version", action="version", version=f"refimpl {refimpl.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"refimpl.cli.{name}").add_parser(subparsers)
    return parser
