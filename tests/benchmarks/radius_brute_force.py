"""Checks `robust_radius` on many random small networks against an enumeration of all patterns.

Every kind of `brute_force.KINDS` in turn, every decision, both ties; M to 6, sometimes to 10. With
--regions instead the problems of `region_brute_force`, in l1, l2 and l_inf in turn, most of them in
a box. Prints each disagreement with the seed that makes it, each sample with 0 < r < inf that is
left bounded, the counts of statuses, and CPU times. Run as
``python tests/benchmarks/radius_brute_force.py [cases] [seed] [--regions]``; exit status 1 if any
disagree.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import brute_force
import region_brute_force
from tolerances import RADIUS, radius_slack

from refimpl import TwoLayerReLU, robust_radius

# Sizes of every 50th case: more branching neurons than have all their pieces bounded.
MORE = {"max_dim": 6, "min_hidden": 8, "max_hidden": 10, "max_outputs": 4}
NORMS = (1, 2, math.inf)


class Case(NamedTuple):
    """One sample x (1,d) with its question, the truth as a function, and its tolerances."""

    kind: str
    net: TwoLayerReLU
    x: Any
    y: int
    options: dict[str, Any]
    truth: Callable[[], float]
    relative: float
    slack: float


def plain(rng: np.random.Generator, index: int) -> Case:
    """l2 without a box."""
    kind = brute_force.KINDS[index % len(brute_force.KINDS)]
    net, decision, x, y = brute_force.random_problem(rng, kind, **(MORE if index % 50 == 0 else {}))
    ties, label = str(rng.choice(["adversarial", "robust"])), int(y[0])
    return Case(
        *(kind, net, x, label, {"decision": decision, "ties": ties}),
        *(lambda: brute_force.radius(net, x[0], label, decision, ties), RADIUS),
        float(radius_slack(net, x)[0]),
    )


def region(rng: np.random.Generator, index: int) -> Case:
    """Any norm, and a box."""
    net, x, y, decision, box = region_brute_force.random_problem(rng)
    norm, ties = NORMS[index % len(NORMS)], str(rng.choice(["adversarial", "robust"]))
    close = region_brute_force.CLOSE
    return Case(
        *(f"l{norm} {'in a box' if box else ''}", net, x[None], y),
        {"decision": decision, "ties": ties, "norm": norm, "box": box},
        lambda: region_brute_force.radius(net, x, y, decision, ties, norm, box),
        *(close, close),
    )


def truth_class(truth: float) -> str:
    return "inf" if truth == math.inf else "positive" if truth > 0 else "0"


def main() -> int:
    parser = argparse.ArgumentParser(description="Check robust_radius against enumerations.")
    parser.add_argument("cases", type=int, nargs="?", default=10_000)
    parser.add_argument("seed", type=int, nargs="?", default=0)
    parser.add_argument("--regions", action="store_true", help="all norms, and boxes")
    args = parser.parse_args()
    counts: Counter[tuple[str, ...]] = Counter()
    wrong = 0
    ours = theirs = 0.0
    for index in range(args.cases):
        rng = np.random.default_rng([args.seed, index])
        case = (region if args.regions else plain)(rng, index)
        start = time.process_time()
        found = robust_radius(case.net, case.x, [case.y], **case.options)
        middle = time.process_time()
        truth = case.truth()
        ours, theirs = ours + middle - start, theirs + time.process_time() - middle
        lower, upper, status = float(found.lower[0]), float(found.upper[0]), str(found.status[0])
        agrees = lower <= truth * (1 + case.relative) + case.slack
        agrees &= truth <= upper * (1 + case.relative) + case.slack
        agrees &= status != "unreachable" or truth == math.inf
        agrees &= status != "exact" or upper - lower <= RADIUS * upper < math.inf
        wrong += not agrees
        counts[case.kind, case.options["ties"], truth_class(truth), status] += 1
        if not agrees or (status == "bounded" and 0 < truth < math.inf):
            what = "bounded" if agrees else "WRONG"
            print(f"{what}: seed [{args.seed}, {index}], {case.kind}, {case.options}: "
                  f"{lower:.17g} {upper:.17g}, truth {truth:.17g}")  # fmt: skip
    for key, count in sorted(counts.items()):
        print(f"{count:6d}  {'  '.join(key)}")
    print(f"{args.cases} cases, {wrong} wrong; {ours:.1f} s against {theirs:.1f} s of enumeration")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
