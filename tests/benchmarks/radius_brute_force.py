"""Checks `robust_radius` on many random small networks against an enumeration of all patterns.

Every kind of `brute_force.KINDS` in turn, every decision, both ties; M to 6, sometimes to 10.
Prints each disagreement with the seed that makes it, each sample with 0 < r < inf that is left
bounded, the counts of statuses, and CPU times. Run as
``python tests/benchmarks/radius_brute_force.py [cases] [seed]``; exit status 1 if any disagree.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import brute_force
from tolerances import RADIUS, radius_slack

from refimpl import robust_radius

# Sizes of every 50th case: more branching neurons than have all their pieces bounded.
MORE = {"max_dim": 6, "min_hidden": 8, "max_hidden": 10, "max_outputs": 4}


def truth_class(truth: float) -> str:
    return "inf" if truth == math.inf else "positive" if truth > 0 else "0"


def main() -> int:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    counts: Counter[tuple[str, ...]] = Counter()
    wrong = 0
    ours = theirs = 0.0
    for index in range(cases):
        rng = np.random.default_rng([seed, index])
        kind = brute_force.KINDS[index % len(brute_force.KINDS)]
        more = MORE if index % 50 == 0 else {}
        net, decision, x, y = brute_force.random_problem(rng, kind, **more)
        ties = str(rng.choice(["adversarial", "robust"]))
        start = time.process_time()
        found = robust_radius(net, x, y, decision=decision, ties=ties)
        middle = time.process_time()
        truth = brute_force.radius(net, x[0], int(y[0]), decision, ties)
        ours, theirs = ours + middle - start, theirs + time.process_time() - middle
        lower, upper, status = float(found.lower[0]), float(found.upper[0]), str(found.status[0])
        slack = float(radius_slack(net, x)[0])
        agrees = lower <= truth * (1 + RADIUS) + slack and truth <= upper * (1 + RADIUS) + slack
        agrees &= status != "unreachable" or truth == math.inf
        agrees &= status != "exact" or upper - lower <= RADIUS * upper < math.inf
        wrong += not agrees
        counts[kind, ties, truth_class(truth), status] += 1
        if not agrees or (status == "bounded" and 0 < truth < math.inf):
            what = "bounded" if agrees else "WRONG"
            print(f"{what}: seed [{seed}, {index}], {kind}, {ties}, {decision}: "
                  f"{lower:.17g} {upper:.17g}, truth {truth:.17g}")  # fmt: skip
    for key, count in sorted(counts.items()):
        print(f"{count:6d}  {'  '.join(key)}")
    print(f"{cases} cases, {wrong} wrong; {ours:.1f} s against {theirs:.1f} s of enumeration")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
