"""Find the exact robust radius of your network at each of your samples.

  refimpl radius network.npz data.npz --jobs 2 --certificates proofs.npz
  refimpl radius network.npz images.npz --norm inf --box 0,1

The radius is the distance to the nearest point that is decided wrongly, in the
l_p norm of --norm, and among the points of --box if there is one. Every
sample gets bounds lower <= radius <= upper and a status: exact (they meet),
unreachable (nothing is decided wrongly, both are infinite), or bounded (a limit
or rounding came first; the bounds hold nevertheless). Results are printed, and
written into --out as radius.json, histogram.png and curve.png. The median of an
even number of samples is the mean of the two in the middle; p10 and p90 are
interpolated likewise, as by numpy.quantile.

Exit status: 0, also if radii are bounded; 130 after Ctrl-C, with the samples
that were finished written.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import IntArray
from refimpl._files import check_writable, output_directory, write_json
from refimpl._progress import Progress
from refimpl._workers import processes
from refimpl.cli import options
from refimpl.cli.searches import UNFINISHED, Searches
from refimpl.decisions import Decision, GroupMax, GroupSum, check_labels

if TYPE_CHECKING:
    from refimpl.network import TwoLayerReLU
    from refimpl.radius import RobustRadius

_N_RADII = 11
_FIGURES = ("histogram.png", "curve.png")
_CTRL_C, _WORKER = "interrupted", "a worker ended"
_STATUSES = {"": 0, _CTRL_C: 130, _WORKER: 2}


class _Question(NamedTuple):
    """What radii are asked for: of a network, at samples, and what counts as adversarial."""

    net: TwoLayerReLU
    x: Any
    y: Any
    keywords: dict[str, Any]  # decision, ties, norm and box


def add_parser(subparsers: Any) -> None:
    """Add ``radius``."""
    parser = options.add_command(
        subparsers, "radius", "exact robust radii of your network", __doc__
    )
    options.add_inputs(parser)
    options.add_decision(parser)
    options.add_norm(parser)
    text = "relative gap at which the bounds count as one (default: 1e-9)"
    parser.add_argument("--tol", type=float, default=1e-9, help=text)
    options.add_limits(parser)
    options.add_jobs(parser)
    options.add_out(parser, "radius")
    options.add_json(parser, "each sample's results, in place of radius.json in --out")
    text = "write a proof of every lower bound there, for refimpl verify"
    parser.add_argument("--certificates", type=options.output_file, metavar="FILE", help=text)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Find radii, and write those that are finished even after Ctrl-C."""
    from refimpl.network import TwoLayerReLU

    default = args.out / "radius.json" if args.json is None else None
    outputs = {"--certificates": args.certificates, "--json": args.json, "--out": default}
    options.check_distinct([args.network, args.data], outputs)
    net = TwoLayerReLU.load(args.network)
    decision = options.decision(args, net.n_outputs)
    x, y = _checked_samples(args.data, net, decision, args.box)
    keywords = {"decision": decision, "ties": args.ties, "norm": args.norm, "box": args.box}
    question = _Question(net, x, y, keywords)
    check.integer("--jobs", args.jobs, minimum=1)
    limits = options.limits(args)
    if args.certificates is not None:
        check_writable(args.certificates)
    for path in (default, *(args.out / name for name in _FIGURES)):
        if path is not None and path.exists():
            check_writable(path)
    with options.json_results(args.json) as write:
        result, ended = _find(args, question, limits)
        finished = np.flatnonzero(result.nodes != UNFINISHED)
        if ended:
            many = f"{len(finished)} of {len(x)} samples finished"
            print(f"refimpl: {ended}, {many}", file=sys.stderr)
        if len(finished):
            _publish(args, question, result, finished, write)
    return _STATUSES[ended]


def _checked_samples(
    path: Path, net: TwoLayerReLU, decision: Decision, box: Any
) -> tuple[Any, Any]:
    """Read samples that fit the network and the box, and labels that fit the decision."""
    x, y = options.read_samples(path)
    with check.about(path):
        x = check.real_array("x", x, ("n", net.dim))
        check.check_box(box, x)
        return x, check_labels(y, len(x), decision, net.n_outputs)


def _find(
    args: argparse.Namespace, question: _Question, limits: dict[str, Any]
) -> tuple[RobustRadius, str]:
    """Find the radii, and say what ended the searches, if some are `UNFINISHED`."""
    from refimpl.radius import robust_radius

    net, x, y, keywords = question
    asked = keywords | limits
    with processes(args.jobs) as executor, Progress("radius", len(x)) as counter:
        searches = Searches(executor, counter)
        result = robust_radius(
            *(net, x, y),
            **asked,
            tol=args.tol,
            certificates=args.certificates is not None,
            executor=searches,
        )
    return result, _WORKER if searches.broken else _CTRL_C if searches.interrupted else ""


def _publish(
    args: argparse.Namespace,
    question: _Question,
    result: RobustRadius,
    finished: IntArray,
    write: Callable[[Any], None],
) -> None:
    """Print, and write the files, certificates first: they cost the most."""
    from refimpl import save_certificates
    from refimpl.experiments import figures
    from refimpl.experiments.robustness import Threat

    net, x, y, keywords = question
    written = [p for p in (args.certificates, args.json) if p not in (None, options.STDOUT)]
    if args.certificates is not None:  # an unfinished sample has None, and a lower bound of 0
        proofs, about = result.certificates or (), {"net": net, "x": x, "y": y, **keywords}
        save_certificates(args.certificates, proofs, radius=result.lower, **about)
    if args.json is None:
        written.append(output_directory(args.out) / "radius.json")
        write = partial(write_json, written[-1])
    decision, result = keywords["decision"], _taken(result, finished)
    wrong = options.misclassified(net, x[finished], y[finished], decision, args.ties)
    summary = _summary(args, decision, len(x), result)
    summary["misclassified"] = finished[wrong].tolist()
    write({**summary, "samples": _samples(y, result, finished)})
    _print(args, summary)
    if figures.available():
        threat = Threat(args.norm, args.box)
        figures.draw_radii(output_directory(args.out), result, threat)
        written += [args.out / name for name in _FIGURES]
    for path in written:
        print(f"written to {path}")


def _taken(result: RobustRadius, index: IntArray) -> RobustRadius:
    """Results of some samples; their certificates are written already."""
    names = ("lower", "upper", "perturbation", "status", "nodes")
    some: dict[str, Any] = {name: getattr(result, name)[index] for name in names}
    return replace(result, **some, certificates=None)


def _summary(
    args: argparse.Namespace, decision: Decision, n: int, result: RobustRadius
) -> dict[str, Any]:
    from refimpl.experiments.robustness import finite, interpolated_quantiles
    from refimpl.radius import robust_accuracy

    reached = result.upper[np.isfinite(result.upper)]
    epsilons = np.linspace(0, reached.max(initial=0.0) or 1.0, _N_RADII)
    lower, upper = robust_accuracy(result, epsilons)
    grouped = isinstance(decision, (GroupMax, GroupSum))
    return {
        "network": str(args.network),
        "data": str(args.data),
        "decision": args.decision if grouped else decision,
        "labels": args.labels,
        "ties": args.ties,
        "norm": "inf" if args.norm == math.inf else int(args.norm),
        "box": None if args.box is None else [finite(side) for side in args.box],
        "tol": args.tol,
        "n_samples": n,
        "n_finished": len(result.lower),
        "statuses": dict(Counter(result.status.tolist())),
        "lower": interpolated_quantiles(result.lower),
        "upper": interpolated_quantiles(result.upper),
        "robust_accuracy": {
            "epsilons": epsilons.tolist(),
            "lower": lower.tolist(),
            "upper": upper.tolist(),
        },
    }


def _samples(y: Any, result: RobustRadius, finished: IntArray) -> list[dict[str, Any]]:
    """One entry a sample; null is an infinite bound."""
    from refimpl.experiments.robustness import finite

    bounds = (map(finite, bound.tolist()) for bound in (result.lower, result.upper))
    others = (each.tolist() for each in (result.status, result.nodes))
    rows = zip(finished.tolist(), y[finished].tolist(), *bounds, *others, strict=True)
    names = ("index", "y", "lower", "upper", "status", "nodes")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _print(args: argparse.Namespace, summary: dict[str, Any]) -> None:
    from refimpl.experiments.report import number, percent, table

    statuses = ", ".join(f"{count} {name}" for name, count in sorted(summary["statuses"].items()))
    print(f"{summary['n_finished']} of {summary['n_samples']} samples: {statuses}\n")
    names = list(summary["lower"])
    rows = [
        [f"{side} bound", *(number(summary[side][name]) for name in names)]
        for side in ("lower", "upper")
    ]
    name = options.norm_and_box(args.norm, args.box)
    print(table([[f"robust radius, {name}", *names], *rows]), end="\n\n")
    curve = summary["robust_accuracy"]
    shares = zip(curve["epsilons"], curve["lower"], curve["upper"], strict=True)
    body = [[number(e), percent(low), percent(high)] for e, low, high in shares]
    print(table([["epsilon", "robust accuracy: lower bound", "upper bound"], *body]), end="\n\n")
    wrong = summary["misclassified"]
    print(options.named("misclassified (radius 0)", wrong, summary["n_finished"]))
