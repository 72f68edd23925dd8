"""Options, inputs and results that several subcommands have."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refimpl import _validation as check
from refimpl import setting
from refimpl._files import check_directory, check_writable, json_text, read_npz, write_json
from refimpl.decisions import Decision, GroupMax, GroupSum, adversarial, check_decision

if TYPE_CHECKING:
    from refimpl.network import TwoLayerReLU

NETWORK = "F(x) = A ReLU(W x + b) + c: W (M,d), A (K,M) and, if there are any, b (M,) and c (K,)"
DATA = "x (n,d), a sample a row, and y (n,): classes 0..K-1 for argmax, else -1 or +1"
STDOUT = Path("-")
_SHOWN = 10  # samples of a list that are named

GROUPED: dict[str, Any] = {"group_max": GroupMax, "group_sum": GroupSum}


def add_command(subparsers: Any, name: str, text: str, doc: str | None) -> Any:
    """Add a subcommand: `text` in the list of all, a docstring for its own help."""
    raw, doc = argparse.RawDescriptionHelpFormatter, inspect.cleandoc(doc or "")
    return subparsers.add_parser(name, help=text, description=doc, formatter_class=raw)


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add NETWORK.npz and DATA.npz."""
    parser.add_argument("network", type=Path, metavar="NETWORK.npz", help=NETWORK)
    parser.add_argument("data", type=Path, metavar="DATA.npz", help=DATA)


def add_json(parser: argparse.ArgumentParser, text: str) -> None:
    """Add ``--json``."""
    text += "; - is standard output, and the report then goes to standard error"
    parser.add_argument("--json", type=_named_file, metavar="FILE", help=text)


@contextmanager
def json_results(path: Path | None) -> Iterator[Callable[[Any], None]]:
    """Give what writes results to the file of ``--json``, which is seen at once to be writable.

    Standard output is for the results alone where the file is ``-``, and None takes nothing.
    """
    if path is None:
        yield lambda results: None
    elif path == STDOUT:
        stdout = sys.stdout
        with redirect_stdout(sys.stderr):
            yield lambda results: print(json_text(results), end="", file=stdout)
    else:
        yield partial(write_json, check_writable(path))


def output_file(text: str) -> Path:
    """Type of an option that takes a file and cannot write to standard output."""
    if text == str(STDOUT):
        raise argparse.ArgumentTypeError("expected a file, got -")
    return _named_file(text)


def check_distinct(inputs: Iterable[Path], outputs: Mapping[str, Path | None]) -> None:
    """Refuse to write, by the option of that name, to a file that is read or written already.

    >>> check_distinct([Path("net.npz")], {"--json": Path("net.npz")})
    Traceback (most recent call last):
    ...
    ValueError: --json: expected a file that is not an input, got net.npz
    """
    taken = {path.resolve(): "a file that is not an input" for path in inputs}
    for name, path in outputs.items():
        if path is None or path == STDOUT:
            continue
        if expected := taken.get(path.resolve()):
            check.fail(name, expected, path)
        taken[path.resolve()] = f"another file than {name}"


def add_out(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--out``, by default ./refimpl-<name>; either is seen at once to be writable."""
    default = f"refimpl-{name}"
    text = f"folder of the results (default: ./{default})"
    parser.add_argument("--out", type=_directory, default=default, metavar="DIR", help=text)


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs``, which `processes` checks."""
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")


def add_settings(parser: argparse.ArgumentParser, settings: Any, *, lists: bool = False) -> None:
    """Add the options of some settings, whose values are the defaults; None where not given.

    With `lists` each takes a list. The name of a field in files is an option as well.
    """
    for name, each in setting.options(settings).items():
        default = getattr(settings, each.name)
        kind = int if each.default is None else type(each.default)
        said = each.metadata["none"] if default is None else default
        parser.add_argument(
            *dict.fromkeys(map(option_of, (each.name, name))),
            type=comma_list(kind) if lists else kind,
            metavar="LIST" if lists else kind.__name__.upper(),
            help=f"{each.metadata['help']} (default: {said})",
        )


def given(args: argparse.Namespace, settings: Any) -> dict[str, Any]:
    """Collect the settings that were set on the command line, by the names of their fields."""
    names = (each.name for each in setting.options(settings).values())
    return {name: value for name in names if (value := getattr(args, name)) is not None}


def option_of(name: str) -> str:
    """Option of a field or an argument.

    >>> option_of("pgd_steps")
    '--pgd-steps'
    """
    return f"--{name.replace('_', '-')}"


def add_labels(parser: Any, text: str, name: str = "--labels") -> None:
    """Add ``--labels 1,1,-1``, or the same by another name."""
    kind = comma_list(int, "1,1,-1")
    parser.add_argument(name, type=kind, metavar="LIST", help=f"{text}, as in {name} 1,1,-1")


def add_decision(parser: argparse.ArgumentParser, *, ties: bool = True) -> None:
    """Add ``--decision``, ``--labels`` and, unless they are not asked for, ``--ties``."""
    parser.add_argument(
        "--decision",
        choices=("sign", "argmax", *GROUPED),
        help="how outputs decide (default: sign for one output, else argmax)",
    )
    add_labels(parser, "groups of the outputs for group_max and group_sum")
    if not ties:
        return
    parser.add_argument(
        "--ties",
        choices=("adversarial", "robust"),
        default="adversarial",
        help="whether a tie counts as adversarial (default: adversarial)",
    )


def add_norm(parser: argparse.ArgumentParser) -> None:
    """Add ``--norm`` and ``--box``."""
    parser.add_argument(
        "--norm",
        type=_norm,
        default=2,
        metavar="{1,2,inf}",
        help="the p of the l_p norm of perturbations (default: 2)",
    )
    text = "limits of every coordinate, as in --box 0,1 for images, or --box -10,10 (default: none)"
    parser.add_argument("--box", type=_box, metavar="LO,HI", help=text)


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add ``--time-limit`` and ``--max-nodes`` of the search for each radius."""
    text = (
        "seconds for each sample; where they run out, its status is bounded, with lower and upper "
        "bounds that hold, and depend on the machine (default: no limit)"
    )
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help=text)
    text = "the same limit in steps of the search, on every machine alike (default: 100000)"
    parser.add_argument("--max-nodes", type=int, default=100_000, metavar="N", help=text)


def limits(args: argparse.Namespace) -> dict[str, Any]:
    """Arguments of `robust_radius` that `add_limits` let the user name."""
    if args.time_limit is not None:
        check.real("--time-limit", args.time_limit, positive=True)
    nodes = check.integer("--max-nodes", args.max_nodes, minimum=1)
    return {"time_limit": args.time_limit, "max_nodes": nodes}


def norm_and_box(norm: float, box: tuple[float, float] | None) -> str:
    """Name a norm, and a box where there is one.

    >>> norm_and_box(float("inf"), (0.0, 1.0)), norm_and_box(2, None)
    ('linf in [0, 1]', 'l2')
    """
    return f"l{norm:g}" + ("" if box is None else f" in [{box[0]:g}, {box[1]:g}]")


def decision(args: argparse.Namespace, n_outputs: int) -> Decision:
    """Read the decision that `add_decision` let the user name."""
    name: str = args.decision or ("sign" if n_outputs == 1 else "argmax")
    if (args.labels is not None) != (name in GROUPED):
        check.fail("--labels", "a list for group_max and group_sum, and for no other", args.labels)
    if (name == "sign") != (n_outputs == 1) and name not in GROUPED:
        takes = "sign" if n_outputs == 1 else "argmax, or group_max or group_sum with --labels"
        check.fail("--decision", f"one that fits, {takes}", f"{name} for K = {n_outputs} outputs")
    return check_decision(GROUPED[name](args.labels) if name in GROUPED else name, n_outputs)


def read_samples(path: Path) -> tuple[Any, Any]:
    """Arrays x and y of an .npz file; others in it are passed over."""
    arrays = read_npz(path)
    if not {"x", "y"} <= arrays.keys():
        check.fail(str(path), "arrays x and y", ", ".join(sorted(arrays)) or "none")
    return arrays["x"], arrays["y"]


def named(what: str, samples: Sequence[int], n: int) -> str:
    """Say how many of n samples are what is said, and which.

    >>> named("misclassified", [4, 17], 20)
    'misclassified: 2 of 20 samples (4, 17)'
    """
    which = [*map(str, samples[:_SHOWN]), *["..."] * (len(samples) > _SHOWN)]
    return f"{what}: {len(samples)} of {n} samples" + (f" ({', '.join(which)})" if which else "")


def misclassified(net: TwoLayerReLU, x: Any, y: Any, decision: Decision, ties: str) -> list[int]:
    """Find the samples that are adversarial as they are: their radius is 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        return np.flatnonzero(adversarial(net.outputs(x), y, decision, ties)).tolist()


def _named_file(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("expected a file, got an empty name")
    return Path(text)


def _directory(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("expected a directory, got an empty name")
    try:
        return check_directory(text)
    except OSError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _norm(text: str) -> float:
    if text not in ("1", "2", "inf"):
        raise argparse.ArgumentTypeError(f"expected 1, 2 or inf, got {text!r}")
    return float(text)


def _box(text: str) -> tuple[float, float]:
    limits = comma_list(float, "0,1")(text)
    if len(limits) != 2 or not limits[0] <= limits[1]:
        raise argparse.ArgumentTypeError(f"expected LO,HI with LO <= HI, got {text!r}")
    return limits[0], limits[1]


def comma_list(kind: Callable[[str], Any], example: str = "1,2") -> Callable[[str], list[Any]]:
    """Type of an option that takes values separated by commas.

    >>> comma_list(float)("0,0.5")
    [0.0, 0.5]
    """

    def read(text: str) -> list[Any]:
        try:
            return [kind(part) for part in text.split(",")]
        except ValueError:
            message = f"expected a list as {example}, got {text!r}"
            raise argparse.ArgumentTypeError(message) from None

    return read
