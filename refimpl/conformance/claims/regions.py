# ruff: noqa: D401 - a claim's docstring states the property
"""Claims on other norms than l2 and on boxes (E37), of radii, steps, projections and attacks.

They are asked of those methods that take a norm or a box.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from refimpl import TwoLayerReLU, strategies
from refimpl._arrays import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.case import Case
from refimpl.conformance.claims.attacks import (
    ATTACK,
    demand_flips,
    seeds,
    within_brackets,
    within_budgets,
)
from refimpl.conformance.claims.radius import bounds_of, contain_radius, contains
from refimpl.conformance.claims.registry import claim

LINF = (np.inf,)
OTHERS = (1, np.inf)


@claim("E37-radius-norm", "radius_bounds", cases.small_problems(OTHERS), takes="norm")
def radius_norm(mine: Probe, truth: Probe, case: Case) -> None:
    """In l1 and l_inf the bounds contain inf{||delta||_p : x + delta adversarial}.

    The two norms swapped, the l2 radius whatever the norm, or a slope in a norm that is not the
    dual one.
    """
    contain_radius(mine, truth, case)


@claim("E37-radius-box", "radius_bounds", cases.small_problems(box=True), takes="box")
def radius_box(mine: Probe, truth: Probe, case: Case) -> None:
    """In a box lo <= x + delta <= hi the bounds contain the l2 radius of what is in the box.

    The nearest point of all, clipped to the box, is none: clipped it need not be adversarial, and
    others are. Sides may be infinite or at the sample, and differ from coordinate to coordinate.
    """
    contain_radius(mine, truth, case)


@claim("E37-radius-norm-box", "radius_bounds", cases.small_problems(OTHERS, True), takes="norm box")
def radius_norm_box(mine: Probe, truth: Probe, case: Case) -> None:
    """The same in l1 and l_inf within a box, as for pixels and l_inf budgets.

    Usual causes: a norm or a box that gets lost on the way to one of several solvers.
    """
    contain_radius(mine, truth, case)


@claim("E37-unreachable-in-box", "radius_bounds", cases.small_problems(box=True), takes="box")
def unreachable_in_box(mine: Probe, truth: Probe, case: Case) -> None:
    """Where the box holds no adversarial point the upper bound is inf, whatever lies outside.

    The box is so small that f cannot change by its margin. Needs no oracle. The distance to a point
    outside, or to the furthest corner, is that of an image that cannot be.
    """
    net, margin = case.net, np.abs(case.net.outputs(case.x)[0, 0])
    slopes = np.abs(net.A[0]) @ np.abs(net.W)
    room = margin / (4 * slopes.sum()) if slopes.any() else 1.0
    box = np.clip(case.box, case.x - room, case.x + room)
    case = case.replace(box=np.sort([*box, case.x[0]], axis=0)[[0, 2]]).rounded(mine.dtype)
    change = slopes @ np.abs(case.box - case.x).max(axis=0)
    discard_if(change >= margin / 2)
    (upper,) = bounds_of(mine, case, 1)
    mine.demand("upper bound in the box", np.isposinf(upper), np.inf, upper)


def _plane(w: Array, x: Array, **more: Any) -> Case:
    """f(x) = <w, x> as two neurons, at samples that it classifies correctly."""
    net = TwoLayerReLU(np.stack([w, -w]), None, np.array([[1.0, -1.0]]))
    y = np.where(net.outputs(x)[:, 0] > 0, 1, -1)
    return Case.of(net, x=x, y=y, **more)


@st.composite
def _linear(draw: st.DrawFn) -> Case:
    """f(x) = <w, x> as two neurons, w Gaussian, two samples, and a norm."""
    rng = np.random.default_rng(draw(strategies.seeds()))
    w = rng.standard_normal(draw(st.sampled_from([3, 2, 5])))
    return _plane(w, rng.standard_normal((2, len(w))), norm=draw(st.sampled_from(OTHERS)))


@claim("E37-dual-norm", "radius_bounds", _linear(), takes="norm")
def dual_norm(mine: Probe, truth: Probe, case: Case) -> None:
    """On f(x) = <w, x> the radius in l_p is |f|/||w||_q, 1/p + 1/q = 1. Needs no oracle.

    ||w||_p in the denominator, or ||w||_2, is the most common slip of all.
    """
    w = case.W[0]
    radius = np.abs(case.x @ w) / np.linalg.norm(w, ord=np.inf if case.norm == 1 else 1)
    contains(mine, case, radius)


@claim("E27-step-norm", "smallest_step", cases.rays(norms=OTHERS), takes="norm")
def step_norm(mine: Probe, truth: Probe, case: Case) -> None:
    """The smallest step has its length in the norm: the point is x + t u, ||u||_p = 1.

    Steps in l2 beside budgets in l_inf compare what cannot be compared.
    """
    within_brackets(mine, truth, case)


@claim("E27-step-box", "smallest_step", cases.rays(box=True), takes="box")
def step_box(mine: Probe, truth: Probe, case: Case) -> None:
    """A step that leaves the box is none: t is inf if the ray leaves it first.

    A ray that is cut at the box, or not at all, flips at points that are no inputs.
    """
    within_brackets(mine, truth, case)


@claim("E27-step-norm-box", "smallest_step", cases.rays(norms=OTHERS, box=True), takes="norm box")
def step_norm_box(mine: Probe, truth: Probe, case: Case) -> None:
    """In l1 and l_inf, too, a step that leaves the box is none.

    Usual causes: a box that only the code for l2 reads, or an exit that is compared in l2.
    """
    within_brackets(mine, truth, case)


@claim("PGD-projection-linf", "project", cases.balls(norms=LINF), takes="norm")
def projection_linf(mine: Probe, truth: Probe, case: Case) -> None:
    """In l_inf the projection clips each component to [-epsilon, epsilon].

    Rows that are scaled, or cut in l2, waste the budget of every component but the largest.
    """
    bound = mine.unit * np.abs(case.delta)
    mine.agree("projection", mine.project(**case), truth.project(**case), bound)


@claim("PGD-projection-linf-box", "project", cases.balls(norms=LINF, box=True), takes="norm box")
def projection_linf_box(mine: Probe, truth: Probe, case: Case) -> None:
    """In l_inf within a box the projection clips each component to what ball and box leave of it.

    Pixels leave their range where the box is read in l2 alone.
    """
    projection_linf(mine, truth, case)


@claim("PGD-projection-box", "project", cases.balls(box=True), takes="box")
def projection_box(mine: Probe, truth: Probe, case: Case) -> None:
    """The nearest point that is in the l2 ball and in the box lo <= delta <= hi at once.

    Clipping to the box after the scaling to the ball gives a point of both, not the nearest one;
    the components that the box leaves free then waste budget.
    """
    bound = tolerances.projection(case, truth.project(**case), mine.unit)
    mine.agree("projection", mine.project(**case), truth.project(**case), bound)


@claim("PGD-budget-linf", "pgd_attack", cases.problems(correct=False), takes="norm")
def budget_linf(mine: Probe, truth: Probe, case: Case) -> None:
    """In l_inf no component of the adversarial point is further than epsilon from the sample.

    Beyond its budget an attack makes every network look worse than it is.
    """
    within_budgets(mine, case.replace(norm=np.inf), 0.5, 3.0)


@claim("PGD-in-box", "pgd_attack", cases.small_problems(box=True), takes="box")
def in_box(mine: Probe, truth: Probe, case: Case) -> None:
    """The adversarial point is in the box and in the l2 ball, both.

    A random start outside the box, or sides of the wrong pixel, and the image cannot be.
    """
    within_budgets(mine, case, 0.5, 3.0)


@claim("PGD-in-box-linf", "pgd_attack", cases.small_problems(LINF, True), takes="norm box")
def in_box_linf(mine: Probe, truth: Probe, case: Case) -> None:
    """The adversarial point is in the box and in the l_inf ball, both.

    The most common setting of all: pixels in [0, 1], and a budget for each.
    """
    within_budgets(mine, case, 0.5, 3.0)


@claim("PGD-linear-linf", "pgd_attack", seeds(), takes="norm", convention=True)
def linear_linf(mine: Probe, truth: Probe, case: Case) -> None:
    """On f(x) = <w, x> every sample flips in l_inf at 2.05: its radii |f|/||w||_1 are 0.5 to 2.

    Steps that follow the gradient, and not its sign, come to no corner of the ball.
    """
    rng, n, d = np.random.default_rng(case.seed), 16, 32
    w, radii = rng.standard_normal(d), rng.uniform(0.5, 2, n) * np.where(np.arange(n) % 2, 1, -1)
    x = rng.standard_normal((n, d))
    x += np.outer(radii * np.abs(w).sum() - x @ w, w) / (w @ w)
    demand_flips(mine, _plane(w, x, **ATTACK, norm=np.inf, seed=case.seed))


@claim("PGD-linear-box", "pgd_attack", seeds(), takes="box", convention=True)
def linear_box(mine: Probe, truth: Probe, case: Case) -> None:
    """On f(x) = <w, x> in a box samples flip that do so at 0.9 of what box and ball allow.

    One coordinate has most of the gradient, and a range of 1/4 either way. An attack that clips the
    adversarial point to the box once, at its end, has spent its budget on that coordinate.
    """
    rng, n, d = np.random.default_rng(case.seed), 16, 5
    first = int(rng.integers(d))
    w, room = np.where(np.arange(d) == first, 4.0, 1.0), 0.25
    fall = 4 * room + np.sqrt(2.05**2 - room**2) * np.sqrt(d - 1)  # what box and ball allow
    x = rng.standard_normal((n, d)) * (np.arange(d) != first)
    margins = np.where(np.arange(n) % 2, 0.9, -0.9) * fall * rng.uniform(0.9, 1, n)
    x += np.outer((margins - x @ w) / (d - 1), np.arange(d) != first)
    side = np.where(np.arange(d) == first, room, np.inf)
    box = np.stack([-side, side])
    demand_flips(mine, _plane(w, x, **ATTACK, box=box, seed=case.seed))


@claim("PGD-zero-gradient-linf", "pgd_attack", seeds(), takes="norm", convention=True)
def zero_gradient_linf(mine: Probe, truth: Probe, case: Case) -> None:
    """In l_inf a coordinate whose gradient is exactly 0 stays where it is: sign(0) = 0.

    f rises steeply where some |x_j| > 1/4, and does not depend on x_j below. Code that takes -1 or
    +1 for the sign of 0 leaves such valleys again and again.
    """
    d = 9
    off = 16 * np.ones(2 * (d - 1))
    W = np.vstack([np.eye(d)[:1], -np.eye(d)[:1], np.eye(d)[1:], -np.eye(d)[1:]])
    net = TwoLayerReLU(
        W, np.append([0.0, 0.0], np.full(2 * (d - 1), -0.25)), np.append([1.0, -1.0], off)[None]
    )
    x = np.zeros((16, d))
    x[:, 0] = np.random.default_rng(case.seed).uniform(0.5, 1.5, 16)
    attack = ATTACK | {"epsilon": 2.0, "seed": case.seed, "norm": np.inf}
    demand_flips(mine, Case.of(net, x=x, y=np.ones(16, np.int64), **attack))
