"""Say how far adversarial points are above the exact radii.

  refimpl gap network.npz data.npz adversarial.npz --norm inf --box 0,1

ADVERSARIAL.npz has x_adv (n,d), what an attack made of the samples x of
DATA.npz. Exact radii are found, and the points are held against them: how many
flip the decision, within the box where there is one, and by how much those are
farther than the nearest adversarial points. Misclassified samples, whose radius
is 0, are named and left out of that.

Exit status: 0, also if points do not flip; 2 for bad input.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refimpl._files import read_npz
from refimpl._workers import processes
from refimpl.cli import options

if TYPE_CHECKING:
    from refimpl.radius import AttackGap, RobustRadius

_BOUNDED = "and ratios there are to the lower one"


def add_parser(subparsers: Any) -> None:
    """Add ``gap``."""
    text = "say how far adversarial points are above the exact radii"
    parser = options.add_command(subparsers, "gap", text, __doc__)
    options.add_inputs(parser)
    text = "x_adv (n,d), a point for each sample of DATA.npz"
    parser.add_argument("adversarial", type=Path, metavar="ADVERSARIAL.npz", help=text)
    options.add_decision(parser, ties=False)
    options.add_norm(parser)
    options.add_limits(parser)
    options.add_jobs(parser)
    options.add_json(parser, "each point's numbers")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Find the radii, and hold the points against them."""
    from refimpl.network import TwoLayerReLU
    from refimpl.radius import attack_gap, robust_radius

    inputs = [args.network, args.data, args.adversarial]
    options.check_distinct(inputs, {"--json": args.json})
    net = TwoLayerReLU.load(args.network)
    decision = options.decision(args, net.n_outputs)
    x, y = options.read_samples(args.data)
    x_adv = _points(args.adversarial)
    keywords = {"decision": decision, "norm": args.norm, "box": args.box}
    limits = options.limits(args)
    with options.json_results(args.json) as write:
        try:
            attack_gap(
                np.zeros(len(np.atleast_1d(x))), net, x, y, x_adv, **keywords
            )  # refuses bad input at once
        except ValueError as error:
            name = args.adversarial if str(error).startswith("x_adv") else args.data
            raise ValueError(f"{name}: {error}") from None
        with processes(args.jobs) as executor:
            searches: dict[str, Any] = {**limits, "executor": executor, "progress": True}
            radii = robust_radius(net, x, y, **keywords, **searches)
        gap = attack_gap(radii, net, x, y, x_adv, **keywords)
        wrong = options.misclassified(net, x, y, decision, "adversarial")
        print("\n".join(_lines(radii, gap, wrong)))
        write(_as_json(radii, gap))
    return 0


def _points(path: Path) -> Any:
    """Array x_adv of an .npz file; others in it are passed over."""
    arrays = read_npz(path)
    if "x_adv" not in arrays:
        got = ", ".join(sorted(arrays)) or "none"
        raise ValueError(f"{path}: expected an array x_adv, got {got}")
    return arrays["x_adv"]


def _lines(radii: RobustRadius, gap: AttackGap, wrong: list[int]) -> list[str]:
    """Report; of misclassified samples, whose radius is 0, there are no ratios."""
    from refimpl.experiments.report import percent
    from refimpl.truth.verdict import excess

    n, compared = len(gap.flips), gap.flips.copy()
    compared[wrong] = False
    reach = np.where(gap.flips, gap.norm, np.inf)
    reach[wrong] = 0.0
    grid = np.unique(np.append(radii.upper[np.isfinite(radii.upper)], 0.0))
    above, at = excess(reach, radii.upper, grid)
    bounded = int((radii.status == "bounded").sum())
    stuck = np.flatnonzero(~gap.flips).tolist()
    return [
        f"flips: {int(gap.flips.sum())} of {n} samples",
        _ratios(gap.ratio[compared], n),
        f"robust accuracy above the truth: {percent(above / 100)} at radius {at:.4g}, "
        "where it is most",
        *([options.named("not adversarial, or outside the box", stuck, n)] if stuck else []),
        *([options.named("misclassified (radius 0)", wrong, n)] if wrong else []),
        *([f"radii known by bounds only: {bounded} of {n}, {_BOUNDED}"] if bounded else []),
    ]


def _ratios(ratios: Any, n: int) -> str:
    """Sum up the ratios of points that flip samples which are classified rightly."""
    from refimpl.truth.report import ratio

    if len(ratios) == 0:
        return "norm over exact radius: of no point, since none flips a sample that was right"
    return (
        f"norm over exact radius: median {ratio(float(np.median(ratios)))}, "
        f"largest {ratio(float(ratios.max()))}; 1 is the optimum "
        f"(samples that were right and flip: {len(ratios)} of {n})"
    )


def _as_json(radii: RobustRadius, gap: AttackGap) -> Any:
    from refimpl.experiments.robustness import finite

    columns = zip(gap.flips, gap.norm, gap.ratio, radii.lower, radii.upper, strict=True)
    names = ("norm", "ratio", "lower", "upper")
    return [
        {"index": i, "flips": bool(flips)}
        | {name: finite(float(v)) for name, v in zip(names, values, strict=True)}
        for i, (flips, *values) in enumerate(columns)
    ]
