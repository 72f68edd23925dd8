"""Pixels have a range: upper bounds of the robust radius within the box [0, 1].

The exact radius is that of all of R^d, so within the box it is a lower bound. An adversarial point
in the box gives an upper one.
"""

from __future__ import annotations

import numpy as np

from refimpl._validation import Array, IntArray
from refimpl.experiments.classifier import Classifier
from refimpl.smallest_step import smallest_step

SCALES = np.geomspace(1, 16, 49)


class InBox:
    """The nearest adversarial points in [0, 1]^d among those that it was offered.

    Parameters
    ----------
    classifier : Classifier
    x : (n,d) array in [0, 1]
    y : (n,) array
    """

    def __init__(self, classifier: Classifier, x: Array, y: IntArray) -> None:
        self.classifier, self.x, self.y = classifier, x, y
        self.point = x.copy()
        self.norm = np.where(classifier.correct(x, y), np.inf, 0.0)

    def offer(self, x_adv: Array) -> None:
        """Clip points (n,d) to the box, and keep those that still flip and are nearer."""
        inside = np.clip(x_adv, 0, 1)
        norm = np.linalg.norm(inside - self.x, axis=1)
        nearer = ~self.classifier.correct(inside, self.y) & (norm < self.norm)
        self.point[nearer], self.norm[nearer] = inside[nearer], norm[nearer]

    def offer_multiples(self, delta: Array) -> None:
        """Offer x + s delta for s from 1 to 16: clipping takes away from a perturbation (n,d)."""
        for scale in SCALES:
            self.offer(self.x + scale * delta)

    def upper(self) -> Array:
        """Upper bounds (n,): the first flip on the way to the points kept, which lies in the box.

        inf without a point, 0 for what is misclassified.
        """
        upper = self.norm.copy()
        moved = (upper > 0) & (upper < np.inf)
        if moved.any():
            x, y, point = self.x[moved], self.y[moved], self.point[moved]
            decision = self.classifier.decision
            steps = smallest_step(self.classifier.net, x, y, point - x, decision=decision)  # (E27)
            upper[moved] = np.minimum(upper[moved], steps)
        return upper
