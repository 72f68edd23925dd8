"""The closed-form attack is nearly the best there is, sample by sample.

Status: measured; the bound is derived from the alignment that `averaging` guarantees.

t*/r >= 1 always, as the radius is a minimum. Where the nearest flip lies on <w, x'> = const with w
= mean w+ - mean w-, the distance is f/||w|| and the step along u is f/<w, u>: their ratio is
1/cos(w, u), u the averaged features. So it is at most one over the alignment's bound, for all
clusters together, where no nearer piece exists: for balanced classes in the regime of (E23). It is
1 for the idealised network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proofs_numeric.averaging import bound
from proofs_numeric.evidence import (
    RADIUS,
    Check,
    Evidence,
    Run,
    Size,
    binary,
    closed_form_steps,
    cluster_sizes,
    radii,
)


def prove(size: Size) -> Evidence:
    """Judge the binary networks of all seeds."""
    return judge([binary(size, seed) for seed in size.seeds], size)


def judge(runs: Sequence[Run], size: Size) -> Evidence:
    """Divide t* by the exact radius at every sample that is classified right."""
    ratios, bounds = [], []
    for run in runs:
        exact = radii(run, "sign")
        right = exact > 0
        ratios.append(closed_form_steps(run)[right] / exact[right])
        bounds.append(1 / bound(cluster_sizes(run.problem.train, size.k), size))
    every = np.concatenate(ratios)
    checks = [
        Check.at_most("closed-form step over exact radius, largest", every.max(), min(bounds)),
        Check.at_least("closed-form step over exact radius, smallest", every.min(), 1 - RADIUS),
        Check.reported("closed-form step over exact radius, median", float(np.median(every))),
    ]
    return Evidence(
        "near-optimal-attack",
        "the closed-form step is close to the exact radius, per sample",
        "measured",
        checks,
        {"ratios": [each.tolist() for each in ratios], "bounds": bounds},
    )
