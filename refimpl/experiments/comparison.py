"""A 2-class network against one trained on the finer classes, on the same samples.

Everything that the experiments share once data are there and networks are trained: accuracies,
cosines with the features (the paper's Figure 2) and robustness (its Figure 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.attacks import closed_form_direction
from refimpl.decisions import GroupMax, GroupSum
from refimpl.decomposition import cosine_matrix
from refimpl.experiments.robustness import EDGES, THREATS, Classifier, Robustness, Threat, measure
from refimpl.network import TwoLayerReLU
from refimpl.radius import RobustRadius, robust_radius

TITLES = {  # in print
    "averaging": "2-class network",
    "group_max": "multi-class network, group max",
    "group_sum": "multi-class network, group sum",
}
JSON_NAMES = {  # in summary.json
    "averaging": "two_class",
    "group_max": "ten_class_group_max",
    "group_sum": "ten_class_group_sum",
}


_N_RADII = 25
_PILOT = 50  # samples whose radii say where the curves end


@dataclass(frozen=True, eq=False)
class Comparison:
    """The two trained networks and what they were trained on.

    features (k,d) and labels (k,) in {-1, +1} of the classes; `binary` has K = 1 and is trained on
    the labels; `multiclass` has K = k, h neurons a class, and is trained on the classes.
    """

    features: Array
    labels: IntArray
    binary: TwoLayerReLU
    multiclass: TwoLayerReLU
    h: int

    def classifiers(self) -> dict[str, Classifier]:
        """Return the three that decide between -1 and +1, by name."""
        return {
            "averaging": Classifier(self.binary, "sign"),
            "group_max": Classifier(self.multiclass, GroupMax(self.labels)),
            "group_sum": Classifier(self.multiclass, GroupSum(self.labels)),
        }

    def cosines(self) -> tuple[Array, Array]:
        """Cosines (k,M/h) of features and equivalent weights, means over groups of h neurons.

        The 2-class network keeps its single neurons where h does not divide those of one sign.
        """
        two, ten = self.binary, self.multiclass
        group = self.h if two.n_hidden // 2 % self.h == 0 else 1
        return (
            cosine_matrix(self.features, _grouped(two.W, group)),
            cosine_matrix(self.features, _grouped(ten.W, self.h)),
        )

    def summary(self, x: Array, cluster: IntArray) -> dict[str, dict[str, Any]]:
        """Clean accuracies on samples x (n,d) of the classes `cluster` (n,), and cosines."""
        cosines, cosines_ten = self.cosines()
        signs = np.where(np.arange(cosines.shape[1]) < cosines.shape[1] // 2, 1, -1)
        own = self.labels[:, None] == signs
        same = np.eye(len(self.labels), dtype=np.bool_)
        y, named = self.labels[cluster], self.classifiers()
        fine = Classifier(self.multiclass, "argmax").correct(x, cluster)
        return {
            "two_class": {
                "clean_accuracy": float(named["averaging"].correct(x, y).mean()),
                "cosine_own": _spread(cosines[own]),
                "cosine_other": _spread(cosines[~own]),
            },
            "ten_class": {
                "clean_accuracy": float(fine.mean()),
                "group_accuracy": float(named["group_max"].correct(x, y).mean()),
                "cosine_diagonal": _spread(cosines_ten[same]),
                "cosine_off_diagonal": _spread(cosines_ten[~same]),
            },
        }

    def robustness(
        self,
        x: Array,
        cluster: IntArray,
        *,
        epsilons: Array | None,
        pgd_steps: int,
        max_nodes: int,
        rng: np.random.Generator,
        progress: bool,
        threat: Threat = THREATS["l2"],
        executor: Executor | None = None,
    ) -> dict[str, Robustness]:
        """Measure the three classifiers at the same samples.

        Where `epsilons` are None they go in round steps up to the radii of the first samples. The
        closed-form attack is one in l2 without a box, and tried there alone.
        """
        y, classifiers = self.labels[cluster], self.classifiers()
        radii = {
            name: robust_radius(
                *(each.net, x, y),
                decision=each.decision,
                max_nodes=max_nodes,
                executor=executor,
                progress=progress,
                **threat._asdict(),
            )
            for name, each in classifiers.items()
        }
        direction = None
        if threat == THREATS["l2"]:
            direction = closed_form_direction(y, self.features, self.labels)
        if epsilons is None:
            epsilons = _grid(list(radii.values()))
        return {
            name: measure(
                *(each, x, y, radii[name]),
                threat=threat,
                direction=direction,
                epsilons=epsilons,
                pgd_steps=pgd_steps,
                rng=rng,
                progress=TITLES[name] if progress else None,
            )
            for name, each in classifiers.items()
        }


def _grid(radii: Sequence[RobustRadius]) -> Array:
    """Go in steps of two digits to a tenth above the largest finite radius of the first samples."""
    uppers = np.concatenate([each.upper[:_PILOT] for each in radii])
    return round_steps(1.1 * float(uppers[uppers < np.inf].max(initial=0.0)) or 1.0)


def round_steps(last: float) -> Array:
    """25 radii in steps of two digits, up to about the last one.

    >>> round_steps(2.4)[:3].tolist()
    [0.0, 0.1, 0.2]
    """
    return float(f"{last / (_N_RADII - 1):.2g}") * np.arange(_N_RADII, dtype=np.float64)


def _grouped(W: Array, size: int) -> Array:
    return W.reshape(-1, size, W.shape[1]).mean(axis=1)


def _spread(values: Array) -> dict[str, float]:
    return {name: float(edge(values)) for name, edge in EDGES.items()}
