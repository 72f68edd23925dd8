"""Averaging does not help against l_inf either: every l_inf radius is r_2 over sqrt(2 d / pi).

Status: derived.

One linear piece with gradient v and margin f has the radii f / ||v||_2 and f / ||v||_1. A network's
adversarial set is a union of polyhedra. The radius of a polyhedron in a norm is the largest that a
nonnegative combination of its constraints proves: again f over the dual norm of some v, and v is a
combination of the rows of W. So if for a scale s and all v in the row space

    (1 - eps) s ||v||_2 <= ||v||_1 <= (1 + eps) s ||v||_2,

then |r_2 / (s r_inf) - 1| <= eps for every sample, every decision, trained or not.

Scale. Features, noise and initial weights have no preferred axes, and gradient descent turns with
them (the claim `symmetry`). So the row space of M trained neurons is a uniformly random subspace of
dimension M at most. Write v = G a with a standard normal G (d,M) and ||a|| = 1. The d entries of v
are standard normals: ||v||_1 is about d sqrt(2/pi), ||v||_2 about sqrt(d), hence s = sqrt(2 d/pi).

Bound. To leading order in 1/sqrt(d), ||v||_1 / (s ||v||_2) - 1 is sqrt(pi/2) times the mean over
the entries g of v of |g| - sqrt(2/pi) (1 + g^2)/2. This is a Gaussian process in a, by the central
limit theorem, of variance (pi/2) (1 - 3/pi) / d. Its derivative in any direction has the variance
(pi/2) E (sign g - sqrt(2/pi) g)^2 / d = (pi/2) (1 - 2/pi) / d. By the inequalities of Sudakov and
Fernique, and of Borell, its largest value over the sphere is at most

    eps = (sqrt(pi/2 - 1) sqrt(M) + sqrt(pi/2 - 3/2) g_max) / sqrt(d),

but for a false alarm. So the l_inf radius of averaging at a centre is about sqrt(pi/(2 k)), that of
group max sqrt(pi)/2, and group max is better by the factor sqrt(k/2), as in l2. The medians in l2
are held to 5 % by `non-robust` and `optimal-robustness`, which bounds the factor here.

It is the random directions that matter. With features sqrt(d) e_j on the axes the l2 radii are the
same, but ||v||_1 of averaging is k sqrt(d), of group max 2 sqrt(d), of group sum (1 + k_opp)
sqrt(d), at a margin of d. There averaging loses a factor of k/2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from proofs_numeric import non_robust, optimal_robustness
from proofs_numeric.evidence import (
    RADIUS,
    Check,
    Evidence,
    Run,
    Size,
    binary,
    largest_normal,
    multiclass,
    problem,
)
from refimpl import ClusterDistribution, GroupMax, GroupSum, TwoLayerReLU, robust_radius
from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision
from refimpl.theory import KINDS

SAMPLES = 20
"""Test samples of each seed, but for `Size.full`."""


def prove(size: Size) -> Evidence:
    """Judge both networks of all seeds, on 20 test samples each, or on all with `size.full`."""
    runs = [(binary(size, seed), multiclass(size, seed)) for seed in size.seeds]
    labels = problem(size, size.seeds[0]).dist.labels
    axes = ClusterDistribution(math.sqrt(size.d) * np.eye(size.k, size.d), labels)
    return judge(runs, axes, size.test if size.full else SAMPLES)


def judge(runs: Sequence[tuple[Run, Run]], axes: ClusterDistribution, samples: int) -> Evidence:
    """Exact radii in l2 and l_inf of three classifiers, and those of features along the axes."""
    k, d = axes.features.shape
    found = {kind: [_trained(kind, *pair, samples) for pair in runs] for kind in KINDS}
    neurons = max(run.net.n_hidden for pair in runs for run in pair)
    eps = distortion(neurons, d, spaces=2 * len(runs))
    medians = {kind: np.median(radii, axis=2) for kind, radii in found.items()}  # (seeds, 2)
    gain = medians["group_max"][:, 1] / medians["averaging"][:, 1]
    checks = [
        *(
            Check.at_most(
                f"{kind}: |r_2 / (sqrt(2d/pi) r_inf) - 1|, largest",
                np.max([_error(two, inf, d) for two, inf in radii]),  # keeps a NaN
                eps,
            )
            for kind, radii in found.items()
        ),
        Check.at_least("median in l_inf, group max over averaging", gain.min(), least_gain(k, eps)),
        Check.at_most("features on the axes: l_inf radii, formulas", _axes_error(axes), RADIUS),
        *(
            Check.reported(f"median in l_inf, {kind}", np.median(each[:, 1]))
            for kind, each in medians.items()
        ),
        *(
            Check.reported(f"  {kind} on the axes, at a centre", on_axes(kind, k // 2, k, d))
            for kind in KINDS
        ),
    ]
    return Evidence(
        "linf",
        "averaging does not help against l_inf: all radii are about r_2 / sqrt(2 d / pi)",
        "derived",
        checks,
        {"medians in l2, l_inf": {kind: each.tolist() for kind, each in medians.items()}},
    )


def distortion(neurons: int, d: int, *, spaces: int = 1) -> float:
    """Bound eps of | ||v||_1 / (sqrt(2 d / pi) ||v||_2) - 1 | over that many random row spaces.

    For M = 4, d = 100 it is (sqrt(0.5708) * 2 + sqrt(0.0708) * 6.109) / 10.

    >>> round(distortion(4, 100), 3)
    0.314
    """
    mean = math.sqrt(math.pi / 2 - 1) * math.sqrt(neurons)
    chance = math.sqrt(math.pi / 2 - 3 / 2) * largest_normal(2 * spaces)  # above and below
    return (mean + chance) / math.sqrt(d)


def least_gain(k: int, eps: float) -> float:
    """Lower bound of the medians' ratio, sqrt(k/2) but for 5 % of both in l2, and eps of both.

    >>> round(least_gain(8, 0.0), 3)
    1.81
    """
    l2 = (1 - optimal_robustness.MEDIAN) / (1 + non_robust.MEDIAN)
    return math.sqrt(k / 2) * l2 * (1 - eps) / (1 + eps)


def on_axes(kind: str, opposite: int, k: int, d: int) -> float:
    """l_inf radius at the centre sqrt(d) e_j of an idealised network: d over ||v||_1.

    >>> [on_axes(kind, 2, 4, 64) for kind in KINDS]
    [2.0, 4.0, 2.6666666666666665]
    """
    entries = {"averaging": k, "group_max": 2, "group_sum": 1 + opposite}
    return math.sqrt(d) / entries[kind]


def both_radii(net: TwoLayerReLU, x: Array, y: IntArray, decision: Decision) -> Array:
    """Exact radii (2,n) in l2 and l_inf; NaN, which no check holds for, where one is not exact."""
    found = [robust_radius(net, x, y, decision=decision, norm=norm) for norm in (2, np.inf)]
    return np.array([np.where(each.status == "exact", each.upper, np.nan) for each in found])


def _trained(kind: str, two: Run, many: Run, samples: int) -> Array:
    run = two if kind == "averaging" else many
    test = run.problem.test
    decision = _decision(kind, run.problem.dist)
    return both_radii(run.net, test.x[:samples], test.y[:samples], decision)


def _decision(kind: str, dist: ClusterDistribution) -> Decision:
    if kind == "averaging":
        return "sign"
    return GroupMax(dist.labels) if kind == "group_max" else GroupSum(dist.labels)


def _error(two: Array, inf: Array, d: int) -> float:
    """Largest |r_2 / (s r_inf) - 1|; a sample that is misclassified has no radius in any norm."""
    right = two != 0
    return float(np.abs(two[right] / (math.sqrt(2 * d / math.pi) * inf[right]) - 1).max())


def _axes_error(axes: ClusterDistribution) -> float:
    """Largest relative error of `on_axes` at the centres, all three classifiers."""
    k, d = axes.features.shape
    errors = []
    for kind in KINDS:
        ideal = "feature_averaging" if kind == "averaging" else "feature_decoupling"
        net = getattr(TwoLayerReLU, ideal)(axes)
        radii = both_radii(net, axes.features, axes.labels, _decision(kind, axes))[1]
        opposite = [int((axes.labels != label).sum()) for label in axes.labels]
        derived = np.array([on_axes(kind, each, k, d) for each in opposite])
        errors.append(np.abs(radii / derived - 1).max())
    return float(np.max(errors))
