"""Robustness of one classifier at some samples: the truth beside attacks, in a norm and a box."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from refimpl._arrays import Array, IntArray
from refimpl._progress import track
from refimpl.decisions import Decision, margin
from refimpl.network import TwoLayerReLU
from refimpl.pgd import pgd_attack
from refimpl.radius import RobustRadius, robust_accuracy
from refimpl.smallest_step import smallest_step

EDGES: dict[str, Callable[..., Any]] = {"min": np.min, "median": np.median, "max": np.max}
QUANTILES = {"min": 0.0, "p10": 0.1, "median": 0.5, "p90": 0.9, "max": 1.0}


class Threat(NamedTuple):
    """What perturbations there may be: their norm, and the range of what is perturbed."""

    norm: float = 2
    box: tuple[float, float] | None = None

    def __str__(self) -> str:
        within = "" if self.box is None else f" in [{self.box[0]:g}, {self.box[1]:g}]"
        return f"{'l_inf' if self.norm == np.inf else f'l{self.norm:g}'}{within}"


THREATS = {  # by their names in summary.json
    "l2": Threat(),
    "linf": Threat(np.inf),
    "l2_box": Threat(2, (0, 1)),
    "linf_box": Threat(np.inf, (0, 1)),
}


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

    radius: the exact radii; steps (n,): t* along the closed-form direction (E27), None where none
    was asked for; pgd (e,): share of samples that PGD leaves right at each of `epsilons` (e,).
    """

    radius: RobustRadius
    steps: Array | None
    epsilons: Array
    pgd: Array

    def exact(self, epsilons: Array) -> tuple[Array, Array]:
        """Bounds of the robust accuracy at each radius, the same where all samples are settled."""
        return robust_accuracy(self.radius, epsilons)

    def attacks(self) -> dict[str, Array]:
        """Robust accuracies at `epsilons` as attacks say; a closed-form step is at most epsilon."""
        if self.steps is None:
            return {"pgd": self.pgd}
        return {"pgd": self.pgd, "closed_form": robust_accuracy(self.steps, self.epsilons)[0]}

    def curves(self) -> dict[str, list[float]]:
        """Robust accuracies at `epsilons`; exact and exact_upper differ where bounds do."""
        lower, upper = self.exact(self.epsilons)
        curves = {**self.attacks(), "exact": lower, "exact_upper": upper}
        return {name: curve.tolist() for name, curve in curves.items()}

    def summary(self) -> dict[str, Any]:
        """Quantiles of the radius, how many it is exact of, and how far attacks are above it.

        The quantiles are those of upper bounds, `median_lower` of lower ones; None: infinite. The
        gaps are the largest of share left right - share not shown fooled over `epsilons`.
        """
        settled = self.radius.status != "bounded"
        shown = self.exact(self.epsilons)[1]
        gaps: dict[str, float | None] = {
            f"largest_{name}_gap": float((left - shown).max())
            for name, left in self.attacks().items()
        }
        if self.steps is not None:
            ratio = largest_ratio(self.steps, self.radius.upper)
            gaps["largest_closed_form_ratio"] = finite(ratio)
        return {
            **quantiles(self.radius.upper),
            "median_lower": quantiles(self.radius.lower)["median"],
            "bounded": int((~settled).sum()),
            "share_exact": float(settled.mean()),
            **gaps,
        }


def measure(
    classifier: Classifier,
    x: Array,
    y: IntArray,
    radius: RobustRadius,
    *,
    threat: Threat,
    direction: Array | None,
    epsilons: Array,
    pgd_steps: int,
    rng: np.random.Generator,
    progress: str | None,
) -> Robustness:
    """Attack where the radii are known: closed-form steps, and PGD at every radius anew.

    Without a `direction` there are no closed-form steps. `progress` is the label of the counter on
    standard error, None for none.
    """
    decision, limits = classifier.decision, threat._asdict()
    steps = None
    if direction is not None:
        steps = smallest_step(classifier.net, x, y, direction, decision=decision, **limits)
    pgd = np.empty(len(epsilons))
    shown = progress is not None
    for i, e in enumerate(track(epsilons, f"PGD, {progress}", len(epsilons), enabled=shown)):
        x_adv = pgd_attack(
            classifier.net, x, y, epsilon=e, steps=pgd_steps, decision=decision, rng=rng, **limits
        )
        pgd[i] = classifier.correct(x_adv, y).mean()
    return Robustness(radius, steps, epsilons, pgd)


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


def interpolated_quantiles(values: Array) -> dict[str, float | None]:
    """Return the same as `numpy.quantile` and `numpy.median` have them, between two values.

    Between a finite value and an infinite one it is infinite.

    >>> interpolated_quantiles(np.array([3.0, 1.0, np.inf, np.inf]))
    {'min': 1.0, 'p10': 1.6, 'median': None, 'p90': None, 'max': None}
    >>> interpolated_quantiles(np.array([3.0, 1.0, np.inf]))["median"]
    3.0
    """
    known = values[values < np.inf]
    below = np.minimum(values, known.max(initial=0.0))  # inf - inf is no number
    return {
        name: None
        if np.quantile(values, q, method="higher") == np.inf
        else float(np.quantile(below, q))
        for name, q in QUANTILES.items()
    }


def finite(value: float) -> float | None:
    """Return the value, or None for what JSON cannot say."""
    return value if np.isfinite(value) else None
