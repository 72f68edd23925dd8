"""Options that several subcommands have."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from refimpl import _validation as check
from refimpl._files import read_npz
from refimpl.decisions import Decision, GroupMax, GroupSum, check_decision

GROUPED: dict[str, Any] = {"group_max": GroupMax, "group_sum": GroupSum}


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--out``, by default ./refimpl-<name>."""
    default = Path(f"refimpl-{name}")
    text = f"folder of the results (default: ./{default})"
    parser.add_argument("--out", type=Path, default=default, metavar="DIR", help=text)


def add_labels(parser: Any, text: str, name: str = "--labels") -> None:
    """Add ``--labels 1,1,-1``, or the same by another name."""
    parser.add_argument(name, type=_labels, metavar="LIST", help=f"{text}, as in {name} 1,1,-1")


def add_decision(parser: argparse.ArgumentParser) -> None:
    """Add ``--decision``, ``--labels`` and ``--ties``."""
    parser.add_argument(
        "--decision",
        choices=("sign", "argmax", *GROUPED),
        help="how outputs decide (default: sign for one output, else argmax)",
    )
    add_labels(parser, "groups of the outputs for group_max and group_sum")
    parser.add_argument(
        "--ties",
        choices=("adversarial", "robust"),
        default="adversarial",
        help="whether a tie counts as adversarial (default: adversarial)",
    )


def decision(args: argparse.Namespace, n_outputs: int) -> Decision:
    """Read the decision that `add_decision` let the user name."""
    name: str = args.decision or ("sign" if n_outputs == 1 else "argmax")
    if (args.labels is not None) != (name in GROUPED):
        check.fail("--labels", "a list for group_max and group_sum, and for no other", args.labels)
    return check_decision(GROUPED[name](args.labels) if name in GROUPED else name, n_outputs)


def first_positive(count: int, k: int) -> tuple[int, ...]:
    """Labels of k clusters of which the first `count` are +1.

    >>> first_positive(1, 3)
    (1, -1, -1)
    """
    if not 1 <= count < k:
        check.fail("--positive", f"a number from 1 to {k - 1}", count)
    return (1,) * count + (-1,) * (k - count)


def read_samples(path: Path) -> tuple[Any, Any]:
    """Arrays x and y of an .npz file; others in it are passed over."""
    arrays = read_npz(path)
    if not {"x", "y"} <= arrays.keys():
        check.fail(str(path), "arrays x and y", ", ".join(sorted(arrays)) or "none")
    return arrays["x"], arrays["y"]


def check_writable(path: Path) -> None:
    """Raise `OSError` now rather than after the work, if a file cannot be written there."""
    if path.is_dir():
        raise IsADirectoryError(f"{path}: expected a file, got a directory")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: expected a file in a writable directory")


def _labels(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a list as 1,1,-1, got {text!r}") from None
