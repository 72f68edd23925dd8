"""The command ``refimpl``: one module for each subcommand, with `add_parser` and `run`.

The docstring of a module, or of the function that runs, is the help of its subcommand. The modules
import what they run when they run, so that ``refimpl --help`` is quick.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import refimpl
from refimpl.cli import data, options

_STATUSES = """Exit status: 0 success; 1 a claim or a check failed; 2 bad usage or input,
with one line on standard error; 130 after Ctrl-C, with what was finished written whole. refimpl
COMMAND --help says what a command takes, with an example."""

_CUT_SHORT = 141  # of a command whose reader ends before it, as a shell tells it
_TOLD = (ValueError, OSError, ArithmeticError, ImportError, MemoryError, BrokenExecutor)

COMMANDS = (
    *("reproduce", "radius", "verify", "judge", "gap"),
    *("data", "prove", "sweep", "check", "vectors"),
)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, and that takes no abbreviations."""

    def __init__(self, **options: object) -> None:
        super().__init__(**{**options, "allow_abbrev": False})  # type: ignore[arg-type]  # argparse's own options

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse unknown options here, so that the error names the subcommand that has them not."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return known, unknown

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
    status: int = _CUT_SHORT
    try:
        status = args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except _TOLD as error:
        print(f"refimpl: error: {' '.join(_message(error, args).split())}", file=sys.stderr)
        return 2
    return status


def _message(error: Exception, args: argparse.Namespace) -> str:
    """Say what is wrong in the user's words: files and options in place of numbers and arguments.

    >>> _message(ValueError("max_nodes: expected 1"), argparse.Namespace(max_nodes=0))
    '--max-nodes: expected 1'
    """
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    message = data.advised(error, args) or str(error) or type(error).__name__
    name, _, rest = message.partition(": ")
    if name == "directory":
        return f"{'--data' if 'data' in args else 'DIR'}: {rest}"
    files = {str(value) for value in vars(args).values() if isinstance(value, Path)}
    if name in files or getattr(args, name, None) is None:
        return message
    return f"{options.option_of(name)}: {rest}"


def _attached(argv: Sequence[str]) -> list[str]:
    """Write ``--labels -1,1`` as ``--labels=-1,1``, since argparse takes -1,1 for an option.

    The same for other options that take numbers below 0, as ``--box -10,10``.

    >>> _attached(["radius", "--labels", "-1,1", "--jobs", "2"])
    ['radius', '--labels=-1,1', '--jobs', '2']
    """
    result: list[str] = []
    for word in argv:
        if result and result[-1] in ("--labels", "--groups", "--cosine", "--box"):
            result[-1] += f"={word}"
        else:
            result.append(word)
    return result


@cache
def _parser() -> Parser:
    description = (refimpl.__doc__ or "").split("\n")[0]
    parser = Parser(prog="refimpl", description=description, epilog=_STATUSES)
    parser.add_argument("--version", action="version", version=f"refimpl {refimpl.__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        import_module(f"refimpl.cli.{name}").add_parser(subparsers)
    return parser
