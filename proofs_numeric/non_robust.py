"""Feature averaging is not robust: the closed-form attack flips all at order sqrt(d/k).

Status: paper, abstract (the order). Min and Vidal, ICML 2024, have a bound from above; that the
radius at a centre is sqrt(d/k) is derived (E19).

Bounds. The median is held to 5 % of sqrt(d/k). For all samples: a network with w_s proportional to
sum_j n_j mu_j (coefficients alike, clusters of n_j samples) flips a sample of cluster j along the
averaged features at (n_j / mean n_j) sqrt(d/k) plus noise, as the output is lambda_j there and
falls at the mean's rate. The noise is standard normal by (E23), below g_max in all samples. A
fixed budget is then of order sqrt(d/k).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from proofs_numeric.evidence import (
    Check,
    Evidence,
    Run,
    Size,
    binary,
    closed_form_steps,
    cluster_sizes,
    largest_normal,
    radii,
)
from refimpl import closed_form_attack, theory
from refimpl.decisions import margin

MEDIAN = 0.05


def prove(size: Size) -> Evidence:
    """Judge the binary networks of all seeds."""
    return judge([binary(size, seed) for seed in size.seeds])


def judge(runs: Sequence[Run]) -> Evidence:
    """Attack in closed form, and find the exact radii."""
    k, d = runs[0].problem.dist.features.shape
    centre = theory.feature_averaging_radius(k, d)
    exact = [radii(run, "sign") for run in runs]
    steps = [closed_form_steps(run) for run in runs]
    medians = np.array([np.median(each) for each in exact])
    budgets = [_budget(run, centre) for run in runs]
    unflipped = sum(_unflipped(run, budget) for run, budget in zip(runs, budgets, strict=True))
    checks = [
        Check.at_most(
            "|median radius / sqrt(d/k) - 1|, largest over seeds",
            np.abs(medians / centre - 1).max(),
            MEDIAN,
        ),
        Check.at_most("samples that the closed-form attack leaves right", unflipped, 0),
        Check.at_most(
            "largest step that flips a sample, over sqrt(d/k)",
            np.max(steps) / centre,
            min(budgets) / centre,
        ),
        Check.reported("sqrt(d/k)", centre),
        Check.reported("median exact radius", float(np.median(medians))),
        Check.reported(
            "standard deviation of the radii; idealised 1 (E23)",
            float(np.mean([each.std() for each in exact])),
        ),
    ]
    numbers = {
        "radii": [each.tolist() for each in exact],
        "steps": [each.tolist() for each in steps],
        "budgets": budgets,
    }
    return Evidence(
        "non-robust",
        "the closed-form attack flips all samples at a radius of order sqrt(d/k)",
        "paper, abstract; constant derived",
        checks,
        numbers,
    )


def _budget(run: Run, centre: float) -> float:
    """Radius at which every sample is expected to be flipped."""
    sizes = cluster_sizes(run.problem.train, run.problem.dist.n_clusters)
    share = float(sizes.max() / sizes.mean())
    noise = run.problem.dist.noise_std * largest_normal(len(run.problem.test.x))
    return share * centre + noise if math.isfinite(share) else math.inf


def _unflipped(run: Run, epsilon: float) -> int:
    dist, test = run.problem.dist, run.problem.test
    x = closed_form_attack(test.x, test.y, dist.features, dist.labels, epsilon=epsilon)  # (E26)
    return int((margin(run.net.outputs(x), test.y, "sign") > 0).sum())
