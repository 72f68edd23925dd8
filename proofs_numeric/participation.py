"""How many features a trained neuron averages: all of its class's, or one, by its labels.

Status: derived; the counts are measured. The paper's reviewers asked for them.

lambda_rj (E15) is what neuron r has taken up of feature j. The participation of its parts, (sum
lambda)^2 / sum lambda^2, is 1 where one feature is all and k_own where the class's features count
alike. Only positive parts count: features with a negative one push the neuron away.

Bounds. In the binary network the parts of one neuron are within R of each other (`averaging`), so
that the count is at least 4 R/(1 + R)^2 k_own (Kantorovich), and at most k_own, as the parts of the
other class are never positive (E16). In a multi-class network trained on the clusters
softmax - onehot is negative for the own cluster alone, so that only its part rises: the count is
exactly 1 for every neuron that has taken up anything.

On real data nothing bounds it. `python -m proofs_numeric.real_data` measures it there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from proofs_numeric.evidence import (
    BALANCE,
    RADIUS,
    Check,
    Evidence,
    Run,
    Size,
    binary,
    cluster_sizes,
    features_averaged,
    multiclass,
)
from refimpl._arrays import Array


def prove(size: Size) -> Evidence:
    """Count in the binary and the multi-class networks of all seeds."""
    return judge(
        [binary(size, seed) for seed in size.seeds], [multiclass(size, seed) for seed in size.seeds]
    )


def judge(two: Sequence[Run], many: Sequence[Run]) -> Evidence:
    """Hold the counts against their bounds, and report them by seed."""
    counts = [features_averaged(run) for run in two]
    single = [features_averaged(run) for run in many]
    most = [own_features(run) for run in two]
    least = [least_participation(run) for run in two]
    over = [float((c / b).min()) for c, b in zip(counts, least, strict=True)]
    under = [float((c / b).max()) for c, b in zip(counts, most, strict=True)]
    checks = [
        Check.at_least("2 classes: count over its lower bound, smallest", np.min(over), 1.0),
        Check.at_most("2 classes: count over k_own, largest", np.max(under), 1 + RADIUS),
        Check.at_most(
            "k classes: |count - 1|, largest",
            np.max([np.abs(c - 1).max() for c in single], initial=0.0),
            0.0,
        ),
        *(
            Check.reported(f"2 classes: features averaged, median, seed {i}", np.median(c))
            for i, c in enumerate(counts)
        ),
    ]
    return Evidence(
        "participation",
        "a neuron averages all features of its class, or one where clusters have labels",
        "derived; counts measured",
        checks,
        {"two": [c.tolist() for c in counts], "many": [c.tolist() for c in single]},
    )


def own_features(run: Run) -> Array:
    """Count (M,) the features of each neuron's sign."""
    labels, signs = run.problem.dist.labels, np.sign(run.net.A[0])
    return (signs[:, None] == labels).sum(axis=1).astype(np.float64)


def least_participation(run: Run) -> Array:
    """Least count (M,) of a neuron of the binary network while the loss is balanced."""
    labels, signs = run.problem.dist.labels, np.sign(run.net.A[0])
    counts = cluster_sizes(run.problem.train, len(labels))
    least = np.empty(len(signs))
    for side in (1, -1):
        own = counts[labels == side]
        R = BALANCE * own.max() / own.min()
        least[signs == side] = 4 * R * len(own) / (1 + R) ** 2
    return least
