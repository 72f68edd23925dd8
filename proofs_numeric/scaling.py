"""How radii scale: slopes of log median exact radius against log d and log k.

Status: orders: paper, abstract; slopes of group_sum and all constants: derived (E19 to E21).

Balanced partitions, trained networks. Slopes are least squares over the grid; those of the theory
are 1/2 in log d for all three, and in log k -1/2 (averaging), 0 (group_max) and -k/(2(k + 2))
locally for group_sum, taken as the least-squares slope of sqrt(d/(1 + k/2)) over the same grid.
Bounds: 0.05, for group_sum 0.1: trained neurons have cosines of -c with other features (the claim
`decoupling`), which every neuron of the other class has to make up for. This multiplies the radius
by about 1 + c k/2, and c falls slowly: 0.031 at d = 384, 0.017 at 3072 (k = 10, see `sweeps`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proofs_numeric.evidence import Check, Evidence, Size, binary, multiclass, radii, scaled
from refimpl import GroupMax, GroupSum, theory
from refimpl.theory import KINDS

CLUSTERS = (2, 4, 6, 10)
TOLERANCE = {"averaging": 0.05, "group_max": 0.05, "group_sum": 0.1}
Medians = dict[tuple[int, int], dict[str, float]]  # (k, d) -> kind -> median radius


def prove(size: Size) -> Evidence:
    """Train both networks along d at fixed k, and along k at fixed d."""
    k, d = size.k, size.d
    along_d = {(k, each): _medians(size, k, each) for each in (d // 4, d // 2, d)}
    along_k = {(each, d): _medians(size, each, d) for each in CLUSTERS}
    return judge(along_d, along_k)


def judge(along_d: Medians, along_k: Medians) -> Evidence:
    """Compare the six slopes with those of the theory."""
    checks, slopes = [], {}
    for axis, (name, grid) in enumerate((("k", along_k), ("d", along_d))):
        x = [point[axis] for point in grid]
        for kind in KINDS:
            measured = slope(x, [medians[kind] for medians in grid.values()])
            derived = slope(x, [centre(kind, *point) for point in grid])
            slopes[f"{kind}, log {name}"] = [measured, derived]
            checks.append(
                Check.at_most(
                    f"slope in log {name}, {kind}: |{measured:z.3f} - ({derived:z.3f})|",
                    abs(measured - derived),
                    TOLERANCE[kind],
                )
            )
    numbers = {
        "slopes": slopes,
        "medians": [
            {"k": k, "d": d, **medians} for (k, d), medians in {**along_d, **along_k}.items()
        ],
    }
    statement = "radii scale as sqrt(d), and with k as sqrt(d/k), sqrt(d/2), sqrt(d/(1 + k/2))"
    return Evidence("scaling", statement, "orders: paper; rest derived", checks, numbers)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of log y against log x.

    >>> round(slope([1, 2, 4], [3, 6, 12]), 12)
    1.0
    """
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _medians(size: Size, k: int, d: int) -> dict[str, float]:
    """Median exact radii over the seeds' test samples."""
    n = size.n * k // size.k  # as many for each cluster
    each = scaled(k, d, n, size.m, test=size.test, seeds=size.seeds)
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for seed in each.seeds:
        two, many = binary(each, seed), multiclass(each, seed)
        labels = two.problem.dist.labels
        found["averaging"].extend(radii(two, "sign"))
        found["group_max"].extend(radii(many, GroupMax(labels)))
        found["group_sum"].extend(radii(many, GroupSum(labels)))
    return {kind: float(np.median(values)) for kind, values in found.items()}


def centre(kind: str, k: int, d: int) -> float:
    """Radius of the idealised network at a centre, half of the clusters in each class."""
    return theory.centre_radius(kind, k_own=k - k // 2, k_opposite=k // 2, d=d)
