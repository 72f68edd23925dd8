# ruff: noqa: D401 - a check's docstring states the property
"""Claims on the robust radius (E19, E22, E29, E31) and on robust accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from refimpl import ClusterDistribution, TwoLayerReLU, strategies
from refimpl._validation import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.checks_attacks import brackets
from refimpl.conformance.claims import claim

Case = dict[str, Any]
SOLVER = 1e-9  # relative tolerance of the exact radius, both of the oracle's and of a candidate's


def _contain_radius(mine: Probe, truth: Probe, case: Case) -> None:
    """Compare those of the candidate's bounds that there are."""
    for part, got in enumerate(mine.radius_bounds(*case.values())):
        if got is not None:
            _sound(mine, truth, case, part, got)


def _one_bound(mine: Probe, truth: Probe, case: Case, part: int) -> None:
    """Compare one of the candidate's bounds, which is to be there."""
    got = mine.radius_bounds(*case.values())[part]
    if got is None:
        raise NotImplementedError
    _sound(mine, truth, case, part, got)


def _sound(mine: Probe, truth: Probe, case: Case, part: int, got: Array) -> None:
    """Compare a bound of the candidate with the exact radius, moved against the candidate."""
    # A lower bound is held against the network that errs towards robust, an upper one against
    # the other.
    side = 1 - 2 * part
    exact = _radii(truth, case)[1]
    moved = np.array([_moved(truth, case, i, r, mine.unit, side) for i, r in enumerate(exact)])
    settled = np.abs(moved - exact) <= tolerances.VOID * exact
    discard_if(not settled.any())
    beyond = np.maximum(side * (np.minimum(got, tolerances.FAR) - moved), 0)[settled]
    what = ("lower bound above the radius", "upper bound below the radius")[part]
    slack = (tolerances.norm(case["x"].shape[1], mine.unit) + SOLVER) * moved[settled]
    mine.within(what, beyond, slack, exact[settled], got[settled])


def _radii(truth: Probe, case: Case) -> Array:
    """Bounds of the exact radii, at most FAR."""
    return np.minimum(truth.radius_bounds(*case.values()), tolerances.FAR)


def _moved(truth: Probe, case: Case, i: int, radius: float, unit: float, side: int) -> float:
    """Radius of sample i for the network that errs to one side, within twice the radius."""
    W, b, A, c, x, y = (value[i : i + 1] if name in "xy" else value for name, value in case.items())
    net = tolerances.shifted(
        cases.network(W, b, A, c), np.abs(x[0]) + 2 * radius + 1, int(y[0]), unit, side
    )
    bounds = _radii(truth, cases.parameters(net) | {"x": x, "y": y})
    return float(bounds[(1 + side) // 2, 0])


@claim("E29-radius-lower", "radius_bounds", cases.problems())
def check_lower(mine: Probe, truth: Probe, **case: Any) -> None:
    """The lower bound is at most the exact robust radius.

    A lower bound that is too large certifies robustness that is not there: the worst error of all.
    """
    _one_bound(mine, truth, case, 0)


@claim("E29-radius-upper", "radius_bounds", cases.problems())
def check_upper(mine: Probe, truth: Probe, **case: Any) -> None:
    """The upper bound is at least the exact robust radius.

    No attack can beat the exact radius: one that seems to has a wrong norm or a wrong margin.
    """
    _one_bound(mine, truth, case, 1)


@claim("E29-misclassified", "radius_bounds", cases.problems(correct=False))
def check_misclassified(mine: Probe, truth: Probe, **case: Any) -> None:
    """A misclassified sample has radius 0.

    |f|/||w|| is positive on both sides: errors then count as robust.
    """
    net = cases.network(*list(case.values())[:4])
    margin = case["y"] * net.outputs(case["x"])[:, 0]
    wrong = margin < -tolerances.output_error(net, case["x"], mine.unit)[:, 0]
    discard_if(not wrong.any())
    lower, _ = mine.radius_bounds(*case.values())
    if lower is None:
        raise NotImplementedError
    mine.demand("the lower bound is at most 0", lower[wrong] <= 0, 0, lower)


@claim("E29-tie", "radius_bounds", cases.ties(1))
def check_tie(mine: Probe, truth: Probe, **case: Any) -> None:
    """A sample with f = 0 exactly has radius 0: a tie is adversarial.

    Dead networks are tied everywhere; counted as robust, they are the most robust of all.
    """
    y = np.where(np.arange(len(case["x"])) % 2, -1, 1)
    lower, _ = mine.radius_bounds(*case.values(), y)
    if lower is None:
        raise NotImplementedError
    mine.demand("the lower bound is 0", lower == 0, 0, lower)


@claim("E29-oddities", "radius_bounds", cases.oddities())
def check_oddities(mine: Probe, truth: Probe, **case: Any) -> None:
    """Bounds contain the radius at ties and kinks, out of scale, and where it is infinite.

    Whoever drops what is parallel, equal or zero, or tests for zero with a tolerance, fails here.
    """
    _contain_radius(mine, truth, case)


@claim("E29-unreachable", "radius_bounds", cases.problems())
def check_unreachable(mine: Probe, truth: Probe, **case: Any) -> None:
    """Where nothing is adversarial at any distance, the upper bound is inf, no large number.

    A finite bound claims a point that does not exist; medians and curves take it for one.
    """
    case["y"] = np.full_like(case["y"], case["y"][0])
    case["A"], case["c"] = np.abs(case["A"]) * case["y"][0], np.full(1, float(case["y"][0]))
    upper = mine.radius_bounds(*case.values())[1]
    if upper is None:
        raise NotImplementedError
    mine.demand("the upper bound is inf", np.isposinf(upper), np.inf, upper)


@claim("E29-ordered", "radius_bounds", cases.problems())
def check_ordered(mine: Probe, truth: Probe, **case: Any) -> None:
    """lower <= upper, both at least 0. Needs no oracle.

    Bounds that cross are both in doubt.
    """
    lower, upper = mine.radius_bounds(*case.values())
    for bound in (lower, upper):
        mine.demand("bounds are at least 0", bound is None or bound >= 0, 0, bound)
    if lower is None or upper is None:
        raise NotImplementedError
    slack = 1e-9 + tolerances.norm(case["x"].shape[1], mine.unit)
    finite = np.isfinite(upper)
    mine.demand("lower is finite where upper is", np.isfinite(lower[finite]), upper, lower)
    beyond = np.maximum(lower[finite] - upper[finite], 0)
    mine.within("lower above upper", beyond, slack * upper[finite], upper, lower)


@claim("E32-tight", "radius_bounds", cases.problems(max_hidden=9), option="tight")
def check_tight(mine: Probe, truth: Probe, **case: Any) -> None:
    """The bounds meet within 1e-6 of the radius, as those of an exact method do.

    A gap is honest, but a robust accuracy between two curves that are apart decides little.
    """
    lower, upper = mine.radius_bounds(*case.values())
    if lower is None or upper is None:
        raise NotImplementedError
    exact = _radii(truth, case)
    settled = exact[1] - exact[0] <= 1e-8 * exact[1]
    discard_if(not settled.any())
    lower, upper = (np.minimum(bound, tolerances.FAR)[settled] for bound in (lower, upper))
    mine.within("gap of the bounds", np.maximum(upper - lower, 0), 1e-6 * upper, lower, upper)


@claim("E32-tight-many-neurons", "radius_bounds", cases.searches(), option="tight")
def check_tight_many(mine: Probe, truth: Probe, **case: Any) -> None:
    """The bounds meet on networks of nine neurons in general position.

    A method that gives up early is exact on small tests only.
    """
    check_tight(mine, truth, **case)


@claim("E32-tight-oddities", "radius_bounds", cases.oddities(), option="tight")
def check_tight_oddities(mine: Probe, truth: Probe, **case: Any) -> None:
    """The bounds meet at ties and kinks, out of scale, and where nothing can be reached.

    There rounding decides whether a point is adversarial, or a part of the space empty.
    """
    check_tight(mine, truth, **case)


@st.composite
def _detours(draw: st.DrawFn) -> Case:
    """f = p ReLU(z1) - ReLU(z2) - ReLU(z3) where switching neurons on the way is shorter.

    At z = (a, -s, -t) with orthonormal weights; for small s and t two neurons switch.
    """
    a, s, t = (draw(st.sampled_from(it)) for it in ((3.0, 2.0, 4.0), (0.0, 0.25), (0.25, 4.0, 5.0)))
    order = list(draw(st.permutations(range(3))))
    net = {"W": np.eye(3)[order], "b": np.zeros(3), "A": np.array([[3.0, -1.0, -1.0]])[:, order]}
    return net | {"c": np.zeros(1), "x": np.array([[a, -s, -t]]), "y": np.array([1])}


@claim("E31-switching-neurons", "radius_bounds", _detours())
def check_switching(mine: Probe, truth: Probe, **case: Any) -> None:
    """Negative neurons that are off may turn on, and those that are on may turn off, on the way.

    The distance to one hyperplane, of all neurons or of those that are active at x, is no radius:
    4.221 against 2.846 in the example of E31.
    """
    _contain_radius(mine, truth, case)


@claim("E31-many-neurons", "radius_bounds", cases.searches())
def check_many(mine: Probe, truth: Probe, **case: Any) -> None:
    """With nine neurons in general position the bounds still contain the exact radius.

    What leaves out linear regions, or prunes too early, passes small tests and fails here.
    """
    _contain_radius(mine, truth, case)


@st.composite
def _averaging(draw: st.DrawFn) -> Case:
    k, d = draw(st.sampled_from([(2, 2), (2, 5), (4, 6), (5, 12)]))
    labels = draw(strategies.partitions(k))
    dist = ClusterDistribution.orthogonal(k, d, labels=labels, rng=draw(strategies.seeds()))
    net = TwoLayerReLU.feature_averaging(dist)
    return cases.parameters(net) | {"x": dist.features, "y": dist.labels}


@claim("E19-averaging-at-centres", "radius_bounds", _averaging())
def check_averaging(mine: Probe, truth: Probe, **case: Any) -> None:
    """f_FA has the radius sqrt(d/k) at every centre, for every partition: bounds contain it.

    The paper's central number, in closed form. Needs no oracle.
    """
    k, d = case["x"].shape
    _contains(mine, case, np.full(k, np.sqrt(d / k)))


@claim("E22-averaging-anywhere", "radius_bounds", _averaging())
def check_averaging_anywhere(mine: Probe, truth: Probe, **case: Any) -> None:
    """f_FA at any x: min(p/sqrt(k_own), (p - q)/sqrt(k)), p and q the two sides. Needs no oracle.

    Here the nearest adversarial point lies on a kink for some x and beyond it for others.
    """
    k, d = case["x"].shape
    shift = np.cos(np.arange(k * d)).reshape(k, d) / 2
    case["x"] = (case["x"] + shift).astype(mine.dtype).astype(float)
    own = np.where(case["y"] > 0, 0, 1)
    z = case["x"] @ case["W"].T / np.sqrt(d)
    p, q = z[np.arange(k), own], z[np.arange(k), 1 - own]
    same = (case["y"][:, None] == case["y"]).sum(axis=1)
    discard_if((p <= np.maximum(q, 0) + 0.1).any())
    _contains(mine, case, np.minimum(p / np.sqrt(same), (p - q) / np.sqrt(k)))  # (E22)


def _contains(mine: Probe, case: Case, radius: Array) -> None:
    """Bounds contain a closed form, which holds for features that are orthogonal up to rounding."""
    k, d = case["x"].shape
    lower, upper = mine.radius_bounds(*case.values())
    # The features are orthogonal and of norm sqrt(d) up to a few roundings, which turns and scales
    # v by as much; the margin and its slope each have d terms.
    slack = (SOLVER + 16 * tolerances.gamma(k * d + 8, mine.unit)) * (radius + np.sqrt(d))
    for bound, side in ((lower, 1), (upper, -1)):
        if bound is not None:
            beyond = np.maximum(side * (bound - radius), 0)
            mine.within("bound beyond the radius", beyond, slack, radius, bound)


@claim("E29-rescaled-input", "radius_bounds", cases.problems())
def check_rescaled(mine: Probe, truth: Probe, **case: Any) -> None:
    """(x, W) -> (4 x, W/4) makes every radius 4 times as large: bounds overlap. Needs no oracle.

    An absolute tolerance, a largest radius or a grid of epsilons breaks it.
    """
    large = mine.radius_bounds(*(case | {"x": 4 * case["x"], "W": case["W"] / 4}).values())
    scaled = [None if bound is None else bound / 4 for bound in large]
    small = mine.radius_bounds(*case.values())
    exact = _radii(truth, case)[1]
    width = np.array([_width(truth, case, i, r, mine.unit) for i, r in enumerate(exact)])
    settled = width <= tolerances.VOID * exact
    discard_if(not settled.any())
    for (lower, _), (_, upper) in ((small, scaled), (scaled, small)):
        if lower is None or upper is None:
            raise NotImplementedError
        beyond = np.minimum(lower, tolerances.FAR) - np.minimum(upper, tolerances.FAR)
        slack = (width + 2 * SOLVER * exact)[settled]
        mine.within("lower above upper", np.maximum(beyond, 0)[settled], slack, upper, lower)


def _width(truth: Probe, case: Case, i: int, radius: float, unit: float) -> float:
    late, early = (_moved(truth, case, i, radius, unit, side) for side in (1, -1))
    return late - early


@claim("E27-not-below-radius", "smallest_step radius_bounds", cases.rays())
def check_not_below(mine: Probe, truth: Probe, **case: Any) -> None:
    """No step along a ray is shorter than the candidate's own lower bound. Needs no oracle.

    One of the two is wrong then: either a certificate or an attack that claims too much.
    """
    *problem, direction = case.values()
    lower = mine.radius_bounds(*problem)[0]
    if lower is None:
        raise NotImplementedError
    for i, t in enumerate(mine.smallest_step(*case.values())):
        early, late = brackets(truth, case, i, mine.unit)
        if late - early <= tolerances.VOID * late:
            slack = late - early + (SOLVER + tolerances.norm(direction.shape[1], mine.unit)) * late
            beyond = max(min(lower[i], tolerances.FAR) - t, 0.0)
            mine.within("lower bound above a step", beyond, slack, t, lower[i])


@claim("E29-robust-accuracy", "robust_accuracy", cases.curves())
def check_robust_accuracy(mine: Probe, truth: Probe, **case: Any) -> None:
    """The share of all samples with radius > epsilon, for each epsilon; misclassified ones have 0.

    Misclassified samples left out of the denominator, or counted as robust, show here.
    """
    radius, epsilons = case.values()
    expected = [sum(r > e for r in radius) / len(radius) for e in epsilons]
    mine.agree("robust accuracy", mine.robust_accuracy(*case.values()), expected, 2 * mine.unit)


@claim("E29-robust-near-the-radius", "robust_accuracy", cases.near_curves())
def check_near(mine: Probe, truth: Probe, **case: Any) -> None:
    """A radius above epsilon by a relative 1e-6 is robust, one below it is not.

    A tolerance in the comparison moves every curve by its size.
    """
    check_robust_accuracy(mine, truth, **case)


@claim("E29-robust-at-the-radius", "robust_accuracy", cases.curves())
def check_at_the_radius(mine: Probe, truth: Probe, **case: Any) -> None:
    """At epsilon equal to its radius a sample is not robust: radius > epsilon, strictly.

    With >= misclassified samples are robust at epsilon 0, and clean accuracy is 100 %.
    """
    r = case["radius"][np.isfinite(case["radius"])][:1]
    discard_if(not r.size)
    got = mine.robust_accuracy(r, r)
    mine.demand("not robust at its own radius", got == 0, 0.0, got)


@claim("E29-curve-never-rises", "robust_accuracy", cases.curves())
def check_curve(mine: Probe, truth: Probe, **case: Any) -> None:
    """Robust accuracy never rises with epsilon, stays in [0, 1], and keeps the order of epsilons.

    Needs no oracle. Curves that wobble upwards were measured with an attack, not with a radius.
    """
    order = np.argsort(case["epsilons"], kind="stable")
    got = mine.robust_accuracy(*case.values())
    mine.demand("shares are in [0, 1]", (got >= 0) & (got <= 1), "0 to 1", got)
    mine.demand("the curve never rises", np.diff(got[order]) <= 0, "a falling curve", got[order])
