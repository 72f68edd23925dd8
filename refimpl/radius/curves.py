"""Robust accuracy from radii, and how far an attack is above the truth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv

from refimpl import _validation as check
from refimpl import decisions
from refimpl._arrays import Array, IntArray
from refimpl.attacks import row_norms
from refimpl.decisions import Decision, check_decision, check_labels
from refimpl.network import TwoLayerReLU
from refimpl.radius.geometry import Flags
from refimpl.radius.solve import RobustRadius


@dataclass(frozen=True, eq=False)
class AttackGap:
    """An attack beside the exact radii of n samples.

    flips (n,): whether x_adv is adversarial, and in the box; norm (n,): ||x_adv - x||; ratio (n,):
    norm / lower, at least the truth's 1 where the radius is exact and the attack flips; inf where
    it does not, 1 where the sample was adversarial from the start and the attack left it alone.
    """

    flips: Flags
    norm: Array
    ratio: Array


def robust_accuracy(
    radii: Any, epsilons: Any, *, confidence: float | None = None
) -> tuple[Array, Array]:
    """Share of samples with r > epsilon: a lower and an upper curve, neither of which can rise.

    Parameters
    ----------
    radii : RobustRadius, pair (lower, upper) of (n,) arrays, or one (n,) array
        At least 0, inf allowed; 0 for what is misclassified.
    epsilons : (e,) array
        Radii at least 0, in any order.
    confidence : float in (0, 1), optional
        Such as 0.95: bands of what n independent samples say of the distribution.

    Returns
    -------
    lower, upper : (e,) arrays
        Shares of samples with lower > epsilon, and with upper > epsilon. With a confidence, the
        lower end of Clopper and Pearson's interval for the first and the upper end for the second:
        at each epsilon alone they hold the share of the distribution with that probability, or
        a larger one.

    Raises
    ------
    ValueError
        Shapes that differ, NaN, negative numbers, a lower above its upper, or a confidence that is
        not between 0 and 1.

    Notes
    -----
    Source: E29; C. J. Clopper and E. S. Pearson, Biometrika 26 (1934), 404-413.

    Examples
    --------
    >>> lower, upper = robust_accuracy([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.5])
    >>> lower.tolist()
    [0.75, 0.5, 0.25]
    """
    lower, upper = _bounds(radii)
    epsilons = check.real_array("epsilons", epsilons, ("e",))
    if (epsilons < 0).any():
        check.fail("epsilons", "numbers of at least 0", epsilons.min())
    counts = [np.sum(bound > epsilons[:, None], axis=1) for bound in (lower, upper)]
    n = len(lower)
    if confidence is None:
        return counts[0] / n, counts[1] / n  # (E29)
    level = check.real("confidence", confidence, positive=True)
    if level >= 1:
        check.fail("confidence", "a number between 0 and 1", level)
    return _lower_end(counts[0], n, level), 1 - _lower_end(n - counts[1], n, level)


def _lower_end(counts: IntArray, n: int, confidence: float) -> Array:
    """Share p at which as many successes of n, or more, have the probability (1 - confidence)/2."""
    some = np.maximum(counts, 1)
    ends = betaincinv(some, n - some + 1, (1 - confidence) / 2)
    return np.where(counts > 0, ends, 0.0).astype(np.float64)


def _bounds(radii: Any) -> tuple[Array, Array]:
    """Lower and upper bounds (n,) of any of the three forms."""
    if isinstance(radii, RobustRadius):
        radii = (radii.lower, radii.upper)
    is_pair = isinstance(radii, tuple) and len(radii) == 2 and np.ndim(radii[0]) == 1
    lower, upper = (
        check.extended_array("radii", value, ("n",))
        for value in (radii if is_pair else (radii, radii))
    )
    if lower.shape != upper.shape:
        check.fail("radii", "as many lower as upper bounds", f"{len(lower)} and {len(upper)}")
    if (lower > upper).any():
        i = int(np.argmax(lower > upper))
        check.fail("radii", "no lower bound above its upper", f"{lower[i]} above {upper[i]}")
    if (lower < 0).any():
        check.fail("radii", "numbers of at least 0", lower.min())
    return lower, upper


def attack_gap(
    radii: Any,
    net: TwoLayerReLU,
    x: Any,
    y: Any,
    x_adv: Any,
    *,
    decision: Decision = "sign",
    norm: float | None = None,
    box: Any = None,
) -> AttackGap:
    """How far an attack is above the truth, sample by sample.

    Parameters
    ----------
    radii : RobustRadius, pair (lower, upper) of (n,) arrays, or one (n,) array
    net : TwoLayerReLU
    x, x_adv : (n,d) arrays
        The samples and what the attack made of them.
    y : (n,) array
    decision : {"sign", "argmax"}, GroupMax or GroupSum
    norm : 1, 2 or numpy.inf, optional
        Of the lengths: by default that of the radii, where they are a `RobustRadius`, else 2.
    box : pair (lo, hi), optional
        Numbers or (d,) arrays, infinities allowed; by default that of the radii, if any. A point
        outside the box does not flip.

    Returns
    -------
    AttackGap
        With default ties: x_adv flips where its decision margin is at most 0.

    Raises
    ------
    ValueError
        Bad shapes or values, as everywhere; a sample x outside the box; another norm or box than
        that of the radii.

    Examples
    --------
    >>> net = TwoLayerReLU([[1.0]], [0.0], [[1.0]], [-1.0])  # f(x) = ReLU(x) - 1, radius 1 at 2
    >>> gap = attack_gap([1.0], net, [[2.0]], [1], [[0.5]])
    >>> gap.flips.tolist(), gap.norm.tolist(), gap.ratio.tolist()
    ([True], [1.5], [1.5])
    """
    check.instance("net", net, TwoLayerReLU)
    decision = check_decision(decision, net.n_outputs)
    x = check.real_array("x", x, ("n", net.dim))
    x_adv = check.real_array("x_adv", x_adv, x.shape)
    y = check_labels(y, len(x), decision, net.n_outputs)
    lower, _ = _bounds(radii)
    if len(lower) != len(x):
        check.fail("radii", f"{len(x)} radii", len(lower))
    norm, limits = _region(radii, norm, box, x)
    lengths = row_norms(x_adv - x, norm)
    with np.errstate(over="ignore", invalid="ignore"):
        outputs = net.outputs(x_adv)
    check.representable("x_adv", "outputs", outputs)
    flips = decisions.adversarial(outputs, y, decision, "adversarial")
    if limits is not None:
        flips &= ((limits[0] <= x_adv) & (x_adv <= limits[1])).all(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(lengths == lower, 1.0, lengths / lower)
    return AttackGap(flips, lengths, np.where(flips, ratio, np.inf))


def _region(
    radii: Any, norm: float | None, box: Any, x: Array
) -> tuple[float, tuple[Array, Array] | None]:
    """Return norm and box: those of the radii where these know them, or those given."""
    norm = None if norm is None else check.check_norm(norm)
    limits = check.check_box(box, x)
    if not isinstance(radii, RobustRadius) or radii.norm is None:
        return norm or 2.0, limits
    if norm not in (None, radii.norm):
        check.fail("norm", f"{radii.norm:g}, that of the radii", norm)
    if limits is not None and not np.array_equal(limits, radii.box or ()):
        check.fail("box", "the box of the radii", "another")
    return radii.norm, check.check_box(radii.box, x)
