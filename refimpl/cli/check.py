"""Check an implementation against every claim, and name what is wrong.

  refimpl check mine:Mine --json results.json
  refimpl check mine:Mine --claim E12-input-gradient --examples 1000
  refimpl check mine:Mine --exclude PGD-best-iterate --exclude PGD-scale
  refimpl check --list

mine:Mine is the class Mine in mine.py here, a subclass of
refimpl.conformance.Adapter with the methods that you have; help() of Adapter
lists them. What it lacks counts as not implemented, which is no failure.
Without an adapter refimpl itself is checked. Inputs are drawn by Hypothesis,
the extra check.

Exit status: 0 if no claim fails, 1 if one does; 2 if the adapter is none, or
answers no claim; 130 after Ctrl-C, with the claims that were finished.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from refimpl import _validation
from refimpl.cli import options

if TYPE_CHECKING:
    from refimpl.conformance import Adapter, Result

Write = Callable[[Any], None]


def add_parser(subparsers: Any) -> None:
    """Add ``check``."""
    text = "check an implementation, and name what is wrong"
    parser = options.add_command(subparsers, "check", text, __doc__)
    text = "an adapter class, or an instance of one (default: refimpl itself)"
    parser.add_argument("adapter", nargs="?", metavar="PACKAGE.MODULE:ADAPTER", help=text)
    parser.add_argument("--list", action="store_true", help="print the claims and check nothing")
    options.add_json(parser, "write the results there too")
    text = "seed of the inputs (default: 0)"
    parser.add_argument("--seed", type=int, default=0, metavar="N", help=text)
    text = "inputs for each claim, at most (default: 40)"
    parser.add_argument("--examples", type=int, metavar="N", help=text)
    text = "check only this claim; repeatable (default: all)"
    parser.add_argument("--claim", action="append", metavar="NAME", help=text)
    text = "leave this claim out; conventions names all that are marked so; repeatable"
    parser.add_argument("--exclude", action="append", default=[], metavar="NAME", help=text)
    text = "precision of the inputs and of the bounds on rounding (default: the adapter's own)"
    parser.add_argument("--dtype", choices=("float32", "float64"), help=text)
    text = (
        "check E4-outputs-subnormal too: outputs below the smallest normal number of the dtype, "
        "which some processors flush to zero"
    )
    parser.add_argument("--subnormals", action="store_true", help=text)
    text = (
        "check E32-tight too: the lower and upper bounds of your radius_bounds meet, as those of "
        "an exact method do"
    )
    parser.add_argument("--tight", action="store_true", help=text)
    text = "run the claims on implementations that are wrong on purpose, and see each one caught"
    parser.add_argument("--power", action="store_true", help=text)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the claims, or check and fail if a claim fails."""
    if args.list:
        return _list()
    with options.json_results(args.json) as write:
        return _power(args, write) if args.power else _check(args, write)


@contextmanager
def _heard_interrupts() -> Iterator[None]:
    """Repeat Ctrl-C until it is heard.

    Hypothesis has a callback of the garbage collector, where Python drops every exception, and
    prints it: this one comes again, and need not be printed.
    """
    if not hasattr(signal, "setitimer") or threading.current_thread() != threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> NoReturn:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        raise KeyboardInterrupt

    hook = sys.unraisablehook

    def drop(it: Any) -> None:
        if not issubclass(it.exc_type, KeyboardInterrupt):
            hook(it)

    sys.unraisablehook = drop
    old = {it: signal.signal(it, interrupt) for it in (signal.SIGINT, signal.SIGALRM)}
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        for it, handler in old.items():
            signal.signal(it, handler)


def _list() -> int:
    from refimpl.conformance import claims

    for claim in claims().values():
        mark = "convention: " * claim.convention
        print(f"{claim.name:<33} {claim.equation} | {mark}{claim.statement}")
    return 0


def _check(args: argparse.Namespace, write: Write) -> int:
    from refimpl.conformance import check, claims, report
    from refimpl.conformance.runner import CONVENTIONS

    for name in args.claim or ():
        if name not in claims():
            raise ValueError(f"--claim: expected a name from refimpl check --list, got {name!r}")
    for name in args.exclude:
        if name not in (*claims(), CONVENTIONS):
            expected = f"{CONVENTIONS}, or a name from refimpl check --list"
            raise ValueError(f"--exclude: expected {expected}, got {name!r}")
    adapter = load(args.adapter)
    results: list[Result] = []
    try:
        with _heard_interrupts():
            check(
                adapter,
                seed=args.seed,
                only=args.claim,
                exclude=args.exclude,
                subnormals=args.subnormals,
                tight=args.tight,
                dtype=args.dtype,
                progress=True,
                finished=results,
                **_examples(args),
            )
    except KeyboardInterrupt:
        if results:
            _report(args, adapter, results)
            print(f"Interrupted after {results[-1].claim}: later claims were not checked.")
            write(report.as_json(results, adapter, args.seed) | {"interrupted": True})
        raise
    _report(args, adapter, results)
    write(report.as_json(results, adapter, args.seed))
    if all(result.status == "not_implemented" for result in results):
        name, got = args.adapter or adapter.name, report.summary(results)
        raise ValueError(f"{name}: expected at least one claim that can be checked, got {got}")
    return int(any(result.status == "failed" for result in results))


def _report(args: argparse.Namespace, adapter: Adapter, results: list[Result]) -> None:
    """Print the table, and each failure."""
    import refimpl
    from refimpl.conformance import explain, report

    dtype = args.dtype or adapter.dtype
    print(f"{adapter.name} ({dtype}) against refimpl {refimpl.__version__}, seed {args.seed}\n")
    print("\n".join([report.table(results), *report.strays(adapter)]))
    failed = [result for result in results if result.status == "failed"]
    for result in failed:
        print(f"\n{explain(result, adapter)}")
    print(f"\n{report.summary(results)}; repeat with {_again(args)}")
    if failed:
        print(f"Begin with {failed[0].claim}: an earlier failure often explains later ones.")


def _again(args: argparse.Namespace) -> str:
    """Options with which the same inputs are drawn again."""
    given = {"--seed": args.seed, "--examples": args.examples, "--dtype": args.dtype}
    return " ".join(f"{name} {value}" for name, value in given.items() if value is not None)


def load(name: str | None) -> Any:
    """Import an adapter."""
    from refimpl.conformance import Adapter, Reference

    if name is None:
        return Reference()
    found = imported(name, "ADAPTER", "mine:Mine")
    with _of_the_user(name, "ADAPTER"):
        is_class = isinstance(found, type) and issubclass(found, Adapter)
        adapter = found() if is_class else found
    if not isinstance(adapter, Adapter):
        expected = "a subclass of refimpl.conformance.Adapter, or an instance of one"
        raise ValueError(
            f"{name}: expected {expected}, got an object of type {type(found).__name__}"
        )
    return adapter


def imported(name: str, what: str, example: str) -> Any:
    """Import what PACKAGE.MODULE:NAME says, with the current directory on the import path."""
    module, separator, attribute = name.partition(":")
    a_path = module.startswith(".") or module.endswith(".py") or "/" in module or "\\" in module
    if not (module and separator and attribute) or a_path:
        got = ", got a path" if a_path else ""
        raise ValueError(f"{name}: expected PACKAGE.MODULE:{what}, as in {example}{got}")
    if "" not in sys.path:
        sys.path.insert(0, "")
    with _of_the_user(name, what):
        return getattr(importlib.import_module(module), attribute)


@contextmanager
def _of_the_user(name: str, what: str) -> Iterator[None]:
    """Name in a `ValueError` what the user's module or class raises, whatever it is, and where."""
    try:
        yield
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}{_place(error)}"
        raise ValueError(f"{name}: expected an {what.lower()} to import, got {reason}") from error


def _place(error: BaseException) -> str:
    """File and line where an error was raised, the user's own if there is one; none of ours."""
    frames = [
        it
        for it in traceback.extract_tb(error.__traceback__)
        if it.filename not in (__file__, importlib.__file__) and it.filename[0] != "<"
    ]
    own = [it for it in frames if "-packages" not in it.filename]  # site-packages, dist-packages
    places = [f" ({it.filename}, line {it.lineno})" for it in own or frames]
    return places[-1] if places else ""


def _examples(args: argparse.Namespace) -> dict[str, Any]:
    if args.examples is None:
        return {}
    return {"examples": _validation.integer("--examples", args.examples, minimum=1)}


def _power(args: argparse.Namespace, write: Write) -> int:
    from refimpl.conformance import claims, report
    from refimpl.conformance.power import missed, power

    if args.adapter or args.claim or args.exclude or args.dtype or args.subnormals or args.tight:
        raise ValueError("--power: expected only --seed, --examples and --json besides")
    caught: dict[str, set[str]] = {}
    try:
        with _heard_interrupts():
            power(seed=args.seed, progress=True, finished=caught, **_examples(args))
    finally:  # what was finished, even after Ctrl-C
        if caught:
            print("\n".join(report.matrix(caught, list(claims()))))
            write({name: sorted(by) for name, by in caught.items()})
    lapses = missed(caught)
    print(f"\n{len(caught)} defects, {len(claims())} claims, seed {args.seed}: ", end="")
    print("every defect is caught by the claims it breaks" if not lapses else "; ".join(lapses))
    return 1 if lapses else 0
