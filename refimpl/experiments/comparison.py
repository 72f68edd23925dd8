"""A 2-class network against one trained on the finer classes, on the same samples.

Everything that the experiments share once data are there and networks are trained: accuracies,
cosines with the features (the paper's Figure 2) and robustness (its Figure 3).
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.attacks import closed_form_direction
from refimpl.decisions import GroupMax, GroupSum
from refimpl.decomposition import cosine_matrix
from refimpl.experiments.robustness import Classifier, Robustness, measure
from refimpl.network import TwoLayerReLU

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
        epsilons: Array,
        pgd_steps: int,
        max_nodes: int,
        rng: np.random.Generator,
        progress: bool,
        box: bool = False,
        executor: Executor | None = None,
    ) -> dict[str, Robustness]:
        """Measure the three classifiers at the same samples, which lie in [0, 1] if `box`."""
        y = self.labels[cluster]
        direction = closed_form_direction(y, self.features, self.labels)
        return {
            name: measure(
                classifier,
                x,
                y,
                direction=direction,
                epsilons=epsilons,
                pgd_steps=pgd_steps,
                max_nodes=max_nodes,
                rng=rng,
                progress=TITLES[name] if progress else None,
                box=box,
                executor=executor,
            )
            for name, classifier in self.classifiers().items()
        }


def _grouped(W: Array, size: int) -> Array:
    return W.reshape(-1, size, W.shape[1]).mean(axis=1)


def _spread(values: Array) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }
