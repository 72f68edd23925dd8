"""Robustness of one classifier at some samples: the truth, attacks, and attacks among pixels.

Pixels have a range. The exact radius is that of all of R^d, so within the box [0, 1]^d it is a
lower bound, and an adversarial point in the box gives an upper one.
"""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refimpl._progress import track
from refimpl._validation import Array, IntArray
from refimpl.decisions import Decision, margin
from refimpl.network import TwoLayerReLU
from refimpl.pgd import pgd_attack
from refimpl.radius import RobustRadius, robust_accuracy, robust_radius
from refimpl.smallest_step import smallest_step

QUANTILES = {"min": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "max": 1.0}
SCALES = np.geomspace(1, 16, 49)  # of a perturbation, from which clipping to the box takes away


@dataclass(frozen=True, eq=False)
class Classifier:
    """A network and how it decides between -1 and +1."""

    net: TwoLayerReLU
    decision: Decision

    def correct(self, x: Array, y: IntArray) -> NDArray[np.bool_]:
        """Whether each sample is decided right; a tie is wrong."""
        return margin(self.net.outputs(x), y, self.decision) > 0


@dataclass(frozen=True, eq=False)
class Robustness:
    """What `measure` found at n samples and e radii.

    radius: the exact radii; steps (n,): t* along the closed-form direction (E27); pgd (e,): share
    of samples that PGD leaves right at each of `epsilons` (e,); box (n,): upper bounds of the
    radius where x has a range, as pixels have (there the exact radius is a lower one).
    """

    radius: RobustRadius
    steps: Array
    epsilons: Array
    pgd: Array
    box: Array | None = None

    def exact(self, epsilons: Array) -> tuple[Array, Array]:
        """Bounds of the robust accuracy at each radius, the same where all samples are settled."""
        return robust_accuracy(self.radius, epsilons)

    def closed_form(self, epsilons: Array) -> Array:
        """Share of samples that no closed-form step of at most epsilon flips."""
        return robust_accuracy(self.steps, epsilons)[0]

    def curves(self) -> dict[str, list[float]]:
        """Robust accuracies at `epsilons`; exact and exact_upper differ where bounds do."""
        lower, upper = self.exact(self.epsilons)
        box = {} if self.box is None else {"box": robust_accuracy(self.box, self.epsilons)[0]}
        curves = {
            "pgd": self.pgd,
            "closed_form": self.closed_form(self.epsilons),
            "exact": lower,
            "exact_upper": upper,
            **box,
        }
        return {name: curve.tolist() for name, curve in curves.items()}

    def summary(self) -> dict[str, float | None]:
        """Quantiles of the radius, how many it is exact of, and how far attacks are above it.

        The quantiles are those of upper bounds, `median_lower` of lower ones; None: infinite. The
        gaps are the largest of share left right - share not shown fooled over `epsilons`.
        """
        settled = self.radius.status != "bounded"
        ratio = largest_ratio(self.steps, self.radius.upper)
        shown = self.exact(self.epsilons)[1]
        box = {} if self.box is None else {"median_box": quantiles(self.box)["median"]}
        return {
            **quantiles(self.radius.upper),
            "median_lower": quantiles(self.radius.lower)["median"],
            **box,
            "bounded": int((~settled).sum()),
            "share_exact": float(settled.mean()),
            "largest_closed_form_ratio": finite(ratio),
            "largest_closed_form_gap": float((self.closed_form(self.epsilons) - shown).max()),
            "largest_pgd_gap": float((self.pgd - shown).max()),
        }


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


def measure(
    classifier: Classifier,
    x: Array,
    y: IntArray,
    *,
    direction: Array,
    epsilons: Array,
    pgd_steps: int,
    max_nodes: int,
    rng: np.random.Generator,
    progress: str | None,
    box: bool = False,
    executor: Executor | None = None,
) -> Robustness:
    """Exact radii, closed-form steps, and PGD at every radius anew.

    `progress` is the label of the counters on standard error, None for none; `box` says that x
    lies in [0, 1]^d and that attacks there are asked for too.
    """
    net, decision = classifier.net, classifier.decision
    shown = progress is not None
    radius = robust_radius(
        net, x, y, decision=decision, max_nodes=max_nodes, executor=executor, progress=shown
    )
    steps = smallest_step(net, x, y, direction, decision=decision)
    in_box = InBox(classifier, x, y) if box else None
    pgd = np.empty(len(epsilons))
    counted = track(epsilons, f"PGD, {progress}", len(epsilons), enabled=shown)
    for i, e in enumerate(counted):
        x_adv = pgd_attack(net, x, y, epsilon=e, steps=pgd_steps, decision=decision, rng=rng)
        pgd[i] = classifier.correct(x_adv, y).mean()
        if in_box:
            in_box.offer(x_adv)
    if in_box:
        in_box.offer_multiples(np.nan_to_num(radius.perturbation))
    return Robustness(radius, steps, epsilons, pgd, in_box.upper() if in_box else None)


def largest_ratio(steps: Array, radii: Array) -> float:
    """Largest t* / r over the samples with a positive finite r; nan without any.

    >>> largest_ratio(np.array([2.0, 3.0, 0.0]), np.array([2.0, 2.0, 0.0]))
    1.5
    """
    counted = (radii > 0) & (radii < np.inf)
    return float((steps[counted] / radii[counted]).max()) if counted.any() else np.nan


def quantiles(values: Array) -> dict[str, float | None]:
    """Minimum, 10 %, median, 90 % and maximum, each a value that occurs; None: infinite.

    >>> quantiles(np.array([3.0, 1.0, np.inf]))
    {'min': 1.0, 'p10': 1.0, 'median': 3.0, 'p90': None, 'max': None}
    """
    return {
        name: finite(float(np.quantile(values, q, method="inverted_cdf")))
        for name, q in QUANTILES.items()
    }


def finite(value: float) -> float | None:
    """Return the value, or None for what JSON cannot say."""
    return value if np.isfinite(value) else None
