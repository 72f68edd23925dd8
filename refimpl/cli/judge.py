"""Hold an attack against the truth: problems whose exact radii are known.

  refimpl judge mine:attack
  refimpl judge mine:attack --problem flat --problem slivers
  refimpl judge refimpl.truth.ours:pgd --budget
  refimpl judge --list

mine:attack is attack(net, x, y, *, norm, box, epsilon) in mine.py here, which
returns adversarial points x_adv (n,d), float64; net is a refimpl.TwoLayerReLU,
box (lo, hi) or None, and epsilon None. Where it has arguments named decision
and rng, it is given these too. With --budget it is run for several budgets
epsilon. Without an attack refimpl.minimum_norm_attack is judged.

The table says how many samples are flipped, how far above the exact radius, and
how many points of robust accuracy the attack leaves above the truth; below it
stand rows that break a rule, and likely causes. --out gets judge.json and
judge.png.

Exit status: 0 if every sample of every problem is flipped within 5 % of the
truth in the median and in robust accuracy, and no rule is broken; else 1; 2 if
the attack cannot be imported; 130 after Ctrl-C, with the verdicts there are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from refimpl._files import output_directory, write_json
from refimpl.cli import options
from refimpl.cli.check import imported
from refimpl.datasets.locate import ENVIRONMENT

if TYPE_CHECKING:
    from refimpl.truth import Verdict


def add_parser(subparsers: Any) -> None:
    """Add ``judge``."""
    text = "hold an attack against exact radii"
    parser = options.add_command(subparsers, "judge", text, __doc__)
    text = "a callable (default: refimpl.minimum_norm_attack)"
    parser.add_argument("attack", nargs="?", metavar="PACKAGE.MODULE:ATTACK", help=text)
    parser.add_argument("--list", action="store_true", help="print the problems and judge nothing")
    text = "judge on this problem only; repeatable (default: all)"
    parser.add_argument("--problem", action="append", metavar="NAME", help=text)
    text = "run the attack for several budgets epsilon, and take its nearest points"
    parser.add_argument("--budget", action="store_true", help=text)
    text = "seed for attacks that take rng (default: 0)"
    parser.add_argument("--seed", type=int, default=0, metavar="N", help=text)
    options.add_out(parser, "judge")
    options.add_json(parser, "the verdicts, in place of judge.json in --out")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """List the problems, or judge and fail if the attack does."""
    from refimpl.truth import judge

    if args.list:
        return _list()
    with options.json_results(args.json) as write:
        attack = _attack(args.attack)
        chosen = list(dict.fromkeys(args.problem)) if args.problem else None
        asked: dict[str, Any] = {"budget": args.budget, "rng": args.seed}
        verdicts: list[Verdict] = []
        try:
            judge(attack, chosen, **asked, progress=True, finished=verdicts)
        except KeyboardInterrupt:
            if verdicts:
                _report(args, verdicts, write)
                names = ", ".join(each.problem.name for each in verdicts)
                print(f"Interrupted: judged on {names} alone.")
            raise
        _report(args, verdicts, write)
    return int(any(each.complaint or each.complaints or each.failed for each in verdicts))


def _report(
    args: argparse.Namespace, verdicts: list[Verdict], write: Callable[[Any], None]
) -> None:
    """Print the verdicts, write them, and draw them."""
    from refimpl.truth import absent, report

    print("\n".join([*report.lines(verdicts, [] if args.problem else absent()), ""]))
    found = report.as_json(verdicts)
    if args.json is None:
        path = output_directory(args.out) / "judge.json"
        write_json(path, found)
        print(f"written to {path}")
    else:
        write(found)
    _draw(args, verdicts)


def _list() -> int:
    from refimpl.truth import absent, names, problem

    for name in names():
        print(f"{name:<14} {problem(name).summary}")
    for name in absent():
        print(f"{name:<14} (${ENVIRONMENT} names no folder with its data)")
    return 0


def _attack(name: str | None) -> Any:
    found = imported(name or "refimpl.truth.ours:minimum_norm", "ATTACK", "mine:attack")
    if not callable(found):
        kind = type(found).__name__
        raise ValueError(f"{name}: expected a callable, got an object of type {kind}")
    return found


def _draw(args: argparse.Namespace, verdicts: Any) -> None:
    from refimpl.experiments import figures
    from refimpl.truth import figure

    if figures.available():
        path = output_directory(args.out) / "judge.png"
        figure.draw(path, {args.attack or "minimum_norm_attack": verdicts})
        print(f"written to {path}")
