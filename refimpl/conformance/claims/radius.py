# ruff: noqa: D401 - a claim's docstring states the property
"""Claims on the robust radius (E19, E22, E29, E31) and on robust accuracy."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from refimpl import ClusterDistribution, TwoLayerReLU, strategies
from refimpl._arrays import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.case import Case
from refimpl.conformance.claims.attacks import brackets
from refimpl.conformance.claims.registry import claim

SOLVER = 1e-9  # relative tolerance of the exact radius, both of the oracle's and of a candidate's


def contain_radius(mine: Probe, truth: Probe, case: Case) -> None:
    """Compare those of the candidate's bounds that there are."""
    for part, got in enumerate(mine.radius_bounds(**case)):
        if got is not None:
            _sound(mine, truth, case, part, got)


def bounds_of(mine: Probe, case: Case, *parts: int) -> list[Array]:
    """Return those of the candidate's lower (0) and upper (1) bounds, which are to be there."""
    bounds = mine.radius_bounds(**case)
    if any(bounds[part] is None for part in parts):
        raise NotImplementedError
    return [bounds[part] for part in parts]


def _sound(mine: Probe, truth: Probe, case: Case, part: int, got: Array) -> None:
    """Compare a bound of the candidate with the exact radius, moved against the candidate."""
    # A lower bound is held against the network that errs towards robust, an upper one against
    # the other.
    side = 1 - 2 * part
    radius = truth.radius_bounds(**case)[1]
    exact = np.minimum(radius, tolerances.FAR)
    moved = _moved(truth, case, exact, mine.unit, side)
    settled = np.abs(moved - exact) <= tolerances.VOID * exact
    discard_if(not settled.any())
    beyond = np.maximum(side * (np.minimum(got, tolerances.FAR) - moved), 0)
    beyond = np.where(settled, beyond, 0)
    what = ("lower bound above the radius", "upper bound below the radius")[part]
    slack = (tolerances.norm(case.x.shape[1], mine.unit) + SOLVER) * moved
    # Off by more than is measured: a radius that is inf is not said to be FAR.
    far = (beyond > slack) & (np.maximum(radius, got) >= tolerances.FAR)
    mine.demand(what, ~far, radius, got)
    mine.within(what, beyond, slack, radius, got)


def _radii(truth: Probe, case: Case) -> Array:
    """Bounds of the exact radii, at most FAR."""
    return np.minimum(truth.radius_bounds(**case), tolerances.FAR)


def _moved(truth: Probe, case: Case, exact: Array, unit: float, side: int) -> Array:
    """Radii for the network that errs to one side, at each sample within twice its radius."""
    moved = [
        _radii(truth, tolerances.shifted(row, np.abs(row.x[0]) + 2 * radius + 1, unit, side))
        for row, radius in zip(case.each(), exact, strict=True)
    ]
    return np.array([bounds[(1 + side) // 2, 0] for bounds in moved])


@claim("E29-radius-lower", "radius_bounds", cases.problems())
def lower(mine: Probe, truth: Probe, case: Case) -> None:
    """The lower bound is at most the exact robust radius.

    A lower bound that is too large certifies robustness that is not there: the worst error of all.
    """
    _sound(mine, truth, case, 0, *bounds_of(mine, case, 0))


@claim("E29-radius-upper", "radius_bounds", cases.problems())
def upper(mine: Probe, truth: Probe, case: Case) -> None:
    """The upper bound is at least the exact robust radius.

    No attack can beat the exact radius: one that seems to has a wrong norm or a wrong margin.
    """
    _sound(mine, truth, case, 1, *bounds_of(mine, case, 1))


@claim("E29-misclassified", "radius_bounds", cases.problems(correct=False))
def misclassified(mine: Probe, truth: Probe, case: Case) -> None:
    """A misclassified sample has radius 0.

    |f|/||w|| is positive on both sides: errors then count as robust.
    """
    wrong = tolerances.misclassified(case, mine.unit)
    discard_if(not wrong.any())
    (lower,) = bounds_of(mine, case, 0)
    holds = ~wrong | (lower <= 0)
    mine.demand("lower bound of a misclassified sample", holds, "at most 0", lower)


@claim("E29-tie", "radius_bounds", cases.ties(1))
def tie(mine: Probe, truth: Probe, case: Case) -> None:
    """A sample with f = 0 exactly has radius 0: a tie is adversarial.

    Dead networks are tied everywhere; counted as robust, they are the most robust of all.
    """
    y = np.where(np.arange(len(case.x)) % 2, -1, 1)
    (lower,) = bounds_of(mine, case.replace(y=y), 0)
    mine.demand("lower bound at f = 0", lower == 0, 0, lower)


@claim("E29-oddities", "radius_bounds", cases.oddities())
def oddities(mine: Probe, truth: Probe, case: Case) -> None:
    """Bounds contain the radius at ties and kinks, out of scale, and where it is infinite.

    Whoever drops what is parallel, equal or zero, or tests for zero with a tolerance, fails here.
    """
    contain_radius(mine, truth, case)


@claim("E29-unreachable", "radius_bounds", cases.problems())
def unreachable(mine: Probe, truth: Probe, case: Case) -> None:
    """Where nothing is adversarial at any distance, the upper bound is inf, no large number.

    A finite bound claims a point that does not exist; medians and curves take it for one.
    """
    (upper,) = bounds_of(mine, cases.unreachable(case), 1)
    mine.demand("upper bound where nothing is adversarial", np.isposinf(upper), np.inf, upper)


@claim("E29-ordered", "radius_bounds", cases.problems())
def ordered(mine: Probe, truth: Probe, case: Case) -> None:
    """lower <= upper, both at least 0. Needs no oracle.

    Bounds that cross are both in doubt.
    """
    lower, upper = mine.radius_bounds(**case)
    for what, bound in (("lower bound", lower), ("upper bound", upper)):
        if bound is not None:
            mine.demand(what, bound >= 0, "at least 0", bound)
    if lower is None or upper is None:
        raise NotImplementedError
    slack = 1e-9 + tolerances.norm(case.x.shape[1], mine.unit)
    finite = np.isfinite(upper)
    holds = ~finite | np.isfinite(lower)
    mine.demand("lower bound where the upper one is finite", holds, "finite", lower)
    beyond = np.maximum(lower[finite] - upper[finite], 0)
    mine.within("lower above upper", beyond, slack * upper[finite], upper, lower)


@claim("E32-tight", "radius_bounds", cases.problems(max_hidden=9), option="tight")
def tight(mine: Probe, truth: Probe, case: Case) -> None:
    """The bounds meet within 1e-6 of the radius, as those of an exact method do.

    A gap is honest, but a robust accuracy between two curves that are apart decides little.
    """
    lower, upper = bounds_of(mine, case, 0, 1)
    exact = _radii(truth, case)
    settled = exact[1] - exact[0] <= 1e-8 * exact[1]
    discard_if(not settled.any())
    low, up = (np.minimum(bound, tolerances.FAR) for bound in (lower, upper))
    gap, slack = np.where(settled, np.maximum(up - low, 0), 0), 1e-6 * up
    far = (gap > slack) & (upper >= tolerances.FAR)
    mine.demand("upper bound", ~far, lower, upper)
    mine.within("gap of the bounds", gap, slack, lower, upper)


@claim("E32-tight-many-neurons", "radius_bounds", cases.searches(), option="tight")
def tight_many(mine: Probe, truth: Probe, case: Case) -> None:
    """The bounds meet on networks of nine neurons in general position.

    A method that gives up early is exact on small tests only.
    """
    tight(mine, truth, case)


@claim("E32-tight-oddities", "radius_bounds", cases.oddities(), option="tight")
def tight_oddities(mine: Probe, truth: Probe, case: Case) -> None:
    """The bounds meet at ties and kinks, out of scale, and where nothing can be reached.

    There rounding decides whether a point is adversarial, or a part of the space empty.
    """
    tight(mine, truth, case)


@st.composite
def _detours(draw: st.DrawFn) -> Case:
    """f = p ReLU(z1) - ReLU(z2) - ReLU(z3) where switching neurons on the way is shorter.

    At z = (a, -s, -t) with orthonormal weights; for small s and t two neurons switch.
    """
    a, s, t = (draw(st.sampled_from(it)) for it in ((3.0, 2.0, 4.0), (0.0, 0.25), (0.25, 4.0, 5.0)))
    order = list(draw(st.permutations(range(3))))
    net = TwoLayerReLU(np.eye(3)[order], None, np.array([[3.0, -1.0, -1.0]])[:, order])
    return Case.of(net, x=np.array([[a, -s, -t]]), y=np.array([1]))


@claim("E31-switching-neurons", "radius_bounds", _detours())
def switching(mine: Probe, truth: Probe, case: Case) -> None:
    """Negative neurons that are off may turn on, and those that are on may turn off, on the way.

    The distance to one hyperplane, of all neurons or of those that are active at x, is no radius:
    4.221 against 2.846 in the example of E31.
    """
    contain_radius(mine, truth, case)


@claim("E31-many-neurons", "radius_bounds", cases.searches())
def many(mine: Probe, truth: Probe, case: Case) -> None:
    """With nine neurons in general position the bounds still contain the exact radius.

    What leaves out linear regions, or prunes too early, passes small tests and fails here.
    """
    contain_radius(mine, truth, case)


@st.composite
def _averaging(draw: st.DrawFn) -> Case:
    k, d = draw(st.sampled_from([(2, 2), (2, 5), (4, 6), (5, 12)]))
    labels = draw(strategies.partitions(k))
    dist = ClusterDistribution.orthogonal(k, d, labels=labels, rng=draw(strategies.seeds()))
    net = TwoLayerReLU.feature_averaging(dist)
    return Case.of(net, x=dist.features, y=dist.labels)


@claim("E19-averaging-at-centres", "radius_bounds", _averaging())
def averaging(mine: Probe, truth: Probe, case: Case) -> None:
    """f_FA has the radius sqrt(d/k) at every centre, for every partition: bounds contain it.

    The paper's central number, in closed form. Needs no oracle.
    """
    k, d = case.x.shape
    contains(mine, case, np.full(k, np.sqrt(d / k)))


@claim("E22-averaging-anywhere", "radius_bounds", _averaging())
def averaging_anywhere(mine: Probe, truth: Probe, case: Case) -> None:
    """f_FA at any x: min(p/sqrt(k_own), (p - q)/sqrt(k)), p and q the two sides. Needs no oracle.

    Here the nearest adversarial point lies on a kink for some x and beyond it for others.
    """
    k, d = case.x.shape
    shift = np.cos(np.arange(k * d)).reshape(k, d) / 2
    case = case.replace(x=case.x + shift).rounded(mine.dtype)
    own = np.where(case.y > 0, 0, 1)
    z = case.x @ case.W.T / np.sqrt(d)
    p, q = z[np.arange(k), own], z[np.arange(k), 1 - own]
    same = (case.y[:, None] == case.y).sum(axis=1)
    discard_if((p <= np.maximum(q, 0) + 0.1).any())
    contains(mine, case, np.minimum(p / np.sqrt(same), (p - q) / np.sqrt(k)))  # (E22)


def contains(mine: Probe, case: Case, radius: Array) -> None:
    """Bounds contain a closed form, which holds for features that are orthogonal up to rounding."""
    k, d = case.x.shape
    lower, upper = mine.radius_bounds(**case)
    # The features are orthogonal and of norm sqrt(d) up to a few roundings, which turns and scales
    # v by as much; the margin and its slope each have d terms.
    slack = (SOLVER + 16 * tolerances.gamma(k * d + 8, mine.unit)) * (radius + np.sqrt(d))
    for bound, side in ((lower, 1), (upper, -1)):
        if bound is not None:
            beyond = np.maximum(side * (bound - radius), 0)
            mine.within("bound beyond the radius", beyond, slack, radius, bound)


@claim("E29-rescaled-input", "radius_bounds", cases.problems())
def rescaled(mine: Probe, truth: Probe, case: Case) -> None:
    """(x, W) -> (4 x, W/4) makes every radius 4 times as large: bounds overlap. Needs no oracle.

    An absolute tolerance, a largest radius or a grid of epsilons breaks it.
    """
    large = mine.radius_bounds(**case.replace(x=4 * case.x, W=case.W / 4))
    scaled = [None if bound is None else bound / 4 for bound in large]
    small = mine.radius_bounds(**case)
    exact = _radii(truth, case)[1]
    late, early = (_moved(truth, case, exact, mine.unit, side) for side in (1, -1))
    width = late - early
    settled = width <= tolerances.VOID * exact
    discard_if(not settled.any())
    for (lower, _), (_, upper) in ((small, scaled), (scaled, small)):
        if lower is None or upper is None:
            raise NotImplementedError
        beyond = np.minimum(lower, tolerances.FAR) - np.minimum(upper, tolerances.FAR)
        slack = (width + 2 * SOLVER * exact)[settled]
        mine.within("lower above upper", np.maximum(beyond, 0)[settled], slack, upper, lower)


@claim("E27-not-below-radius", "smallest_step radius_bounds", cases.rays())
def not_below(mine: Probe, truth: Probe, case: Case) -> None:
    """No step along a ray is shorter than the candidate's own lower bound. Needs no oracle.

    One of the two is wrong then: either a certificate or an attack that claims too much.
    """
    (lower,) = bounds_of(mine, case, 0)
    for t, bound, row in zip(mine.smallest_step(**case), lower, case.each(), strict=True):
        early, late = brackets(truth, row, mine.unit)
        if late - early <= tolerances.VOID * late:
            slack = late - early + (SOLVER + tolerances.norm(case.x.shape[1], mine.unit)) * late
            beyond = max(min(bound, tolerances.FAR) - t, 0.0)
            mine.within("lower bound above a step", beyond, slack, t, bound)


@claim("E29-robust-accuracy", "robust_accuracy", cases.curves())
def robust_accuracy(mine: Probe, truth: Probe, case: Case) -> None:
    """The share of all samples with radius > epsilon, for each epsilon; misclassified ones have 0.

    Misclassified samples left out of the denominator, or counted as robust, show here.
    """
    expected = [sum(r > e for r in case.radius) / len(case.radius) for e in case.epsilons]
    mine.agree("robust accuracy", mine.robust_accuracy(**case), expected, 2 * mine.unit)


@claim("E29-robust-near-the-radius", "robust_accuracy", cases.near_curves())
def near(mine: Probe, truth: Probe, case: Case) -> None:
    """A radius above epsilon by a relative 1e-6 is robust, one below it is not.

    A tolerance in the comparison moves every curve by its size.
    """
    robust_accuracy(mine, truth, case)


@claim("E29-robust-at-the-radius", "robust_accuracy", cases.curves())
def at_the_radius(mine: Probe, truth: Probe, case: Case) -> None:
    """At epsilon equal to its radius a sample is not robust: radius > epsilon, strictly.

    With >= misclassified samples are robust at epsilon 0, and clean accuracy is 100 %.
    """
    r = case.radius[np.isfinite(case.radius)][:1]
    discard_if(not r.size)
    got = mine.robust_accuracy(r, r)
    mine.demand("robust accuracy at its only radius", got == 0, 0.0, got)


@claim("E29-curve-never-rises", "robust_accuracy", cases.curves())
def curve(mine: Probe, truth: Probe, case: Case) -> None:
    """Robust accuracy never rises with epsilon, stays in [0, 1], and keeps the order of epsilons.

    Needs no oracle. Curves that wobble upwards were measured with an attack, not with a radius.
    """
    order = np.argsort(case.epsilons, kind="stable")
    got = mine.robust_accuracy(**case)
    mine.demand("share", (got >= 0) & (got <= 1), "in [0, 1]", got)
    steps = np.diff(got[order])
    mine.demand("change to the next larger epsilon", steps <= 0, "at most 0", steps)
