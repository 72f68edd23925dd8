"""``refimpl radius``: exact robust radii of a network in a file at samples in a file."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refimpl import _validation as check
from refimpl._files import output_directory, write_json
from refimpl._progress import Progress
from refimpl.cli import options
from refimpl.cli.workers import processes
from refimpl.decisions import Decision, GroupMax, GroupSum, check_labels

if TYPE_CHECKING:
    from refimpl.network import TwoLayerReLU
    from refimpl.radius import RobustRadius

_CHUNK = 16  # samples for each worker that are lost if the command is interrupted
_N_RADII = 11


def add_parser(subparsers: Any) -> None:
    """Add ``radius``."""
    parser = subparsers.add_parser("radius", help="exact robust radii of your network")
    parser.add_argument("network", type=Path, metavar="NETWORK.npz", help="W, b, A, c")
    parser.add_argument("data", type=Path, metavar="DATA.npz", help="arrays x and y")
    options.add_decision(parser)
    parser.add_argument("--tol", type=float, default=1e-9, help="relative gap (default: 1e-9)")
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", help="for a sample")
    parser.add_argument("--max-nodes", type=int, default=100_000, help="for a sample")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default: 1)")
    options.add_out(parser, "radius")
    text = "results of each sample (default: radius.json in the folder of --out)"
    parser.add_argument("--json", type=Path, metavar="FILE", help=text)
    parser.add_argument(
        "--certificates", type=Path, metavar="FILE", help="write certificates for refimpl verify"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Find radii chunk by chunk, and write those that are finished even after Ctrl-C."""
    from refimpl.network import TwoLayerReLU

    net = TwoLayerReLU.load(args.network)
    x, y = options.read_samples(args.data)
    decision = options.decision(args, net.n_outputs)
    x = check.real_array(f"{args.data}: x", x, ("n", net.dim))
    y = check_labels(y, len(x), decision, net.n_outputs)
    out = output_directory(args.out)
    for path in (args.json, args.certificates):
        if path is not None:
            options.check_writable(path)
    finished: list[RobustRadius] = []
    interrupted = False
    try:
        _find(args, net, x, y, decision, finished)
    except KeyboardInterrupt:
        interrupted = True
    if finished:
        _publish(args, net, x, y, decision, _joined(finished), out)
    return 130 if interrupted else 0


def _find(
    args: argparse.Namespace,
    net: TwoLayerReLU,
    x: Any,
    y: Any,
    decision: Decision,
    finished: list[RobustRadius],
) -> None:
    """Append the results of one chunk of samples after the other."""
    from refimpl.radius import robust_radius

    jobs = check.integer("--jobs", args.jobs, minimum=1)
    size = _CHUNK * jobs
    with processes(jobs) as executor, Progress("radius", len(x)) as counter:
        for start in range(0, len(x), size):
            part = slice(start, start + size)
            result = robust_radius(
                net,
                x[part],
                y[part],
                decision=decision,
                ties=args.ties,
                tol=args.tol,
                max_nodes=args.max_nodes,
                time_limit=args.time_limit,
                certificates=args.certificates is not None,
                executor=executor,
            )
            finished.append(result)
            counter.advance(len(result.lower))


def _joined(parts: list[RobustRadius]) -> RobustRadius:
    from refimpl.radius import RobustRadius

    names = ("lower", "upper", "perturbation", "status", "nodes")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    certificates = [one for part in parts for one in part.certificates or ()]
    return RobustRadius(**arrays, certificates=tuple(certificates) or None)


def _publish(
    args: argparse.Namespace,
    net: TwoLayerReLU,
    x: Any,
    y: Any,
    decision: Decision,
    result: RobustRadius,
    out: Path,
) -> None:
    """Print, and write the files, certificates first: they cost the most."""
    if args.certificates is not None:
        _save_certificates(args.certificates, net, x, y, decision, args.ties, result)
    finite = result.upper[np.isfinite(result.upper)]
    epsilons = np.linspace(0, finite.max(initial=0.0) or 1.0, _N_RADII)
    summary = _summary(args, decision, len(x), result, epsilons)
    path = args.json or out / "radius.json"
    write_json(path, {**summary, "samples": _samples(y, result)})
    _print(summary)
    _draw(out, result, epsilons[-1])
    print(f"\nwritten to {path} and {out}")


def _save_certificates(
    path: Path, net: TwoLayerReLU, x: Any, y: Any, decision: Decision, ties: str, result: Any
) -> None:
    """Save what is there; samples that were not reached have no certificate."""
    from refimpl import save_certificates

    missing = len(x) - len(result.lower)
    certificates = [*result.certificates, *[None] * missing]
    radius = np.append(result.lower, np.zeros(missing))
    save_certificates(
        path, certificates, radius=radius, net=net, x=x, y=y, decision=decision, ties=ties
    )


def _summary(
    args: argparse.Namespace, decision: Decision, n: int, result: RobustRadius, epsilons: Any
) -> dict[str, Any]:
    from refimpl.experiments.robustness import quantiles
    from refimpl.radius import robust_accuracy

    lower, upper = robust_accuracy(result, epsilons)
    grouped = isinstance(decision, (GroupMax, GroupSum))
    return {
        "network": str(args.network),
        "data": str(args.data),
        "decision": args.decision if grouped else decision,
        "labels": args.labels,
        "ties": args.ties,
        "tol": args.tol,
        "n_samples": n,
        "n_finished": len(result.lower),
        "statuses": dict(Counter(result.status.tolist())),
        "lower": quantiles(result.lower),
        "upper": quantiles(result.upper),
        "robust_accuracy": {
            "epsilons": epsilons.tolist(),
            "lower": lower.tolist(),
            "upper": upper.tolist(),
        },
    }


def _samples(y: Any, result: RobustRadius) -> list[dict[str, Any]]:
    """One entry a sample; null is an infinite bound."""
    from refimpl.experiments.robustness import finite

    columns = zip(y, result.lower, result.upper, result.status, result.nodes, strict=False)
    return [
        {
            "index": i,
            "y": int(label),
            "lower": finite(float(lower)),
            "upper": finite(float(upper)),
            "status": str(status),
            "nodes": int(nodes),
        }
        for i, (label, lower, upper, status, nodes) in enumerate(columns)
    ]


def _print(summary: dict[str, Any]) -> None:
    from refimpl.experiments.report import number, percent, table

    statuses = ", ".join(f"{count} {name}" for name, count in sorted(summary["statuses"].items()))
    print(f"{summary['n_finished']} of {summary['n_samples']} samples: {statuses}\n")
    names = list(summary["lower"])
    rows = [[side, *(number(summary[side][name]) for name in names)] for side in ("lower", "upper")]
    print(table([["robust radius, l2", *names], *rows]), end="\n\n")
    curve = summary["robust_accuracy"]
    shares = zip(curve["epsilons"], curve["lower"], curve["upper"], strict=True)
    body = [[number(e), percent(low), percent(high)] for e, low, high in shares]
    print(table([["epsilon", "robust accuracy from", "to"], *body]))


def _draw(out: Path, result: RobustRadius, largest: float) -> None:
    from refimpl.experiments import figures
    from refimpl.experiments.report import percent
    from refimpl.radius import robust_accuracy

    if not figures.available():
        return
    settled = percent(float((result.status != "bounded").mean()))
    title = f"Radii of {len(result.lower)} samples, upper bounds; {settled} are exact"
    figures.draw_histogram(out / "histogram.png", result.upper, title=title, unit="input space")
    grid = np.linspace(0, largest, 400)
    panel = figures.Curves(title, figures.bounds(grid, *robust_accuracy(result, grid)))
    figures.draw_robustness(out / "curve.png", [panel], unit="input space")
