# ruff: noqa: D401 - a claim's docstring states the property
"""Claims on the closed-form attack (E26), the smallest step (E27) and projected descent."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from refimpl import TwoLayerReLU, strategies
from refimpl._arrays import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.case import Case
from refimpl.conformance.claims.registry import claim

ATTACK: dict[str, Any] = {"epsilon": 2.05, "steps": 40, "step_size": 0.25}  # that is to flip


@claim("E26-closed-form", "closed_form_attack", cases.attacks() | cases.large_attacks())
def closed_form(mine: Probe, truth: Probe, case: Case) -> None:
    """x' = x - epsilon y v/||v||, v = v+ - v-, v_s the sum of the features of class s.

    Usual causes: towards the own class, means in place of sums, the samples' mean for the features.
    """
    bound = tolerances.closed_form(case, mine.unit)
    mine.agree("x'", mine.closed_form_attack(**case), truth.closed_form_attack(**case), bound)


@claim("E26-length", "closed_form_attack", cases.attacks())
def length(mine: Probe, truth: Probe, case: Case) -> None:
    """The perturbation has length epsilon in l2, no more and no less. Needs no oracle.

    A direction that is not normalised, or normalised in another norm, makes budgets meaningless.
    """
    bound = tolerances.closed_form(case, mine.unit)
    moved = np.linalg.norm(mine.closed_form_attack(**case) - case.x, axis=1)
    mine.agree("||x' - x||", moved, case.epsilon, np.linalg.norm(bound, axis=1))


@claim("E26-no-budget", "closed_form_attack", cases.attacks())
def no_budget(mine: Probe, truth: Probe, case: Case) -> None:
    """epsilon = 0 returns x itself.

    Clean accuracy is the first point of every robustness curve.
    """
    discard_if(not (case.labels @ case.features).any())
    got = mine.closed_form_attack(**case.replace(epsilon=0.0))
    mine.demand("x' at epsilon = 0", got == case.x, case.x, got)


@claim("E27-smallest-step", "smallest_step", cases.rays())
def smallest_step(mine: Probe, truth: Probe, case: Case) -> None:
    """The first t >= 0 with y f(x + t u) <= 0 along the unit direction u; inf if there is none.

    Later crossings, bisection that skips a pair of them, and steps in units of the direction's own
    length show here.
    """
    within_brackets(mine, truth, case)


def within_brackets(mine: Probe, truth: Probe, case: Case) -> None:
    """Compare steps with those of the networks that are moved by their errors, both ways."""
    decided = False
    for i, (t, row) in enumerate(zip(mine.smallest_step(**case), case.each(), strict=True)):
        early, late = brackets(truth, row, mine.unit)
        if late - early > tolerances.VOID * late:
            continue
        decided = True
        slack = (late - early) / 2 + tolerances.norm(case.x.shape[1], mine.unit) * late
        middle = (early + late) / 2
        error = abs(min(t, tolerances.FAR) - middle)
        if error > slack and max(t, middle) >= tolerances.FAR:  # more than is measured
            mine.demand(f"t of sample {i}", False, truth.smallest_step(**row)[0], t)
        mine.within(f"t of sample {i}", error, slack, middle, t)
    discard_if(not decided)


def brackets(truth: Probe, case: Case, unit: float) -> tuple[float, float]:
    """Between what steps t an implementation may find the case's one sample, both at most FAR."""
    u = np.abs(case.direction[0]) / np.linalg.norm(case.direction[0], ord=case.get("norm", 2))

    def step(of: Case) -> float:
        return float(min(truth.smallest_step(**of)[0], tolerances.FAR))

    far = np.abs(case.x[0]) + (2 * step(case) + 1) * u
    early, late = (step(tolerances.shifted(case, far, unit, side)) for side in (-1, 1))
    return early, late


@claim("E27-misclassified", "smallest_step", cases.rays(correct=False))
def step_misclassified(mine: Probe, truth: Probe, case: Case) -> None:
    """A sample that is misclassified to begin with has t = 0.

    Else it counts as robust at some budgets, and robust accuracy exceeds clean accuracy.
    """
    wrong = tolerances.misclassified(case, mine.unit)
    discard_if(not wrong.any())
    got = mine.smallest_step(**case)
    mine.demand("t of a misclassified sample", ~wrong | (got == 0), 0, got)


@claim("E27-tie", "smallest_step", cases.ties(1))
def step_tie(mine: Probe, truth: Probe, case: Case) -> None:
    """A sample with f = 0 exactly has t = 0: a tie is adversarial.

    Dead networks are tied everywhere; counted as robust, they are the most robust of all.
    """
    y = np.where(np.arange(len(case.x)) % 2, -1, 1)
    got = mine.smallest_step(**case, y=y, direction=np.ones_like(case.x))
    mine.demand("t at f = 0", got == 0, 0, got)


@st.composite
def _hinges(draw: st.DrawFn) -> Case:
    """f = |a (x - p)|, which touches 0 at p and nowhere else, in exact numbers."""
    a, p, t = (draw(st.integers(1, 16)) / 4 for _ in range(3))
    net = TwoLayerReLU(np.array([[a], [-a]]), np.array([-a * p, a * p]), np.ones((1, 2)))
    samples = {"x": np.array([[p + t]]), "y": np.array([1]), "direction": np.array([[-1.0]])}
    return Case.of(net, **samples)


@claim("E27-touching", "smallest_step", _hinges())
def touching(mine: Probe, truth: Probe, case: Case) -> None:
    """Where f touches 0 and turns back, the touching point is adversarial, by default ties.

    A search for changes of sign walks past it.
    """
    expected = case.x[0] + case.b[0] / case.W[0]
    bound = tolerances.norm(1, mine.unit) * expected
    mine.agree("t", mine.smallest_step(**case), expected, bound)


@claim("E27-unreachable", "smallest_step", cases.rays())
def unreachable(mine: Probe, truth: Probe, case: Case) -> None:
    """A network that never changes its decision gives inf, not a large number and not NaN.

    Medians over samples depend on it.
    """
    case = cases.unreachable(case)
    got = mine.smallest_step(**case)
    mine.demand("t", np.isposinf(got), np.inf, got)


@claim("E27-direction-length", "smallest_step", cases.rays())
def direction_length(mine: Probe, truth: Probe, case: Case) -> None:
    """t is a length: a direction 4 times as long gives the same t.

    A t in units of the direction is a radius in units of nothing.
    """
    within_brackets(mine, truth, case.replace(direction=4 * case.direction))


@claim("PGD-projection", "project", cases.balls())
def projection(mine: Probe, truth: Probe, case: Case) -> None:
    """Row by row, the point of the l2 ball that is nearest to delta.

    Components clipped one by one, the norm of the whole batch, or rows always scaled to the sphere:
    attacks are then weaker than their budget, and the network looks robust.
    """
    bound = tolerances.norm(case.delta.shape[1], mine.unit) * np.abs(case.delta)
    mine.agree("projection", mine.project(**case), truth.project(**case), bound)


@claim("PGD-projection-near", "project", cases.shells())
def projection_near(mine: Probe, truth: Probe, case: Case) -> None:
    """A point that is hardly outside, by a relative 5e-7, is moved onto the ball.

    With a tolerance the budget is what the tolerance says. In float32 nothing shows.
    """
    projection(mine, truth, case)


@claim("PGD-projection-inside", "project", cases.balls())
def projection_inside(mine: Probe, truth: Probe, case: Case) -> None:
    """Points well inside the ball do not move at all, 0 included.

    A row of zeros divided by its norm is NaN, and an attack from the sample itself dies there.
    """
    norms = np.linalg.norm(case.delta, axis=1)
    inside = norms <= 0.999 * case.epsilon
    discard_if(not inside.any())
    got = mine.project(**case)
    mine.demand("inner point", ~inside[:, None] | (got == case.delta), case.delta, got)


@claim("PGD-projection-twice", "project", cases.balls())
def projection_twice(mine: Probe, truth: Probe, case: Case) -> None:
    """Projecting twice is projecting once, and lands in the ball. Needs no oracle.

    A projection that overshoots drifts, step by step, and the last step is beyond the budget.
    """
    once = mine.project(**case)
    unit = tolerances.norm(once.shape[1], mine.unit)
    beyond = np.maximum(np.linalg.norm(once, axis=1) - case.epsilon, 0)
    mine.within("distance beyond the ball", beyond, unit * case.epsilon)
    mine.agree("second projection", mine.project(once, case.epsilon), once, unit * np.abs(once))


def _linear(seed: int, scale: float = 1.0, bias: float = 0.0, **settings: float) -> Case:
    """f(x) = <w, x>, ||w|| = 1.5, as four neurons, at 16 samples of both classes, radii 0.5 to 2.

    Outputs are `scale` times as large, and `bias` is added in every neuron.
    """
    rng, n, d = np.random.default_rng(seed), 16, 5
    u, v = np.linalg.qr(rng.standard_normal((d, 2)))[0].T
    w = 0.9 * u + 1.2 * v
    y = np.where(np.arange(n) % 2, 1, -1)
    x = rng.standard_normal((n, d))
    x += ((y * rng.uniform(0.5, 2, n) - x @ w / 1.5) / 1.5)[:, None] * w
    A = scale * np.array([[0.9, -0.9, 1.2, -1.2]])
    net = TwoLayerReLU(np.stack([u, -u, v, -v]), np.full(4, bias), A)
    return Case.of(net, x=x, y=y, **ATTACK | {"seed": seed} | settings)


def demand_flips(mine: Probe, case: Case) -> None:
    """Demand that the attack flips every sample of the case."""
    margins = _margins(mine, case)
    mine.demand(
        "margin y f(x') of a sample that does not flip,", margins <= 0, "at most 0", margins
    )


def _margins(mine: Probe, case: Case) -> Array:
    """y f(x') after the attack, at most 0 where it flips the sample."""
    return np.asarray(case.y * case.net.outputs(mine.pgd_attack(**case))[:, 0])


def seeds() -> st.SearchStrategy[Case]:
    """Seeds, from which a claim makes what it attacks."""
    return st.builds(Case, seed=strategies.seeds().map(lambda seed: seed % 2**31))


@claim("PGD-budget", "pgd_attack", cases.problems(correct=False))
def budget(mine: Probe, truth: Probe, case: Case) -> None:
    """The adversarial point stays within epsilon of the sample, in l2.

    Beyond its budget an attack makes every network look worse than it is.
    """
    within_budgets(mine, case, 0.0, 0.5, 3.0)


def within_budgets(mine: Probe, case: Case, *epsilons: float) -> None:
    """Demand the budgets in the case's norm, and the box where it has one, up to rounding."""
    for epsilon in epsilons:
        moved = mine.pgd_attack(**case, epsilon=epsilon, steps=5, step_size=0.7, seed=1)
        size = np.linalg.norm(moved - case.x, axis=1, ord=case.get("norm", 2))
        reach = np.linalg.norm(case.x, axis=1) + epsilon
        slack = 2 * tolerances.norm(moved.shape[1], mine.unit) * reach
        mine.within(f"distance beyond {epsilon}", np.maximum(size - epsilon, 0), slack)
        if "box" in case:
            lo, hi = case.box
            beyond = np.maximum(np.maximum(lo - moved, moved - hi), 0)
            mine.within("distance outside the box", beyond, 4 * mine.unit * reach[:, None])


def _steep_and_flat(seed: int) -> Case:
    """f(x) = 2^20 z for z > 0 and z for z < 0, z = <u, x>: one half of the samples on each side.

    Their radii are 1.5 to 2.
    """
    rng, n, d = np.random.default_rng(seed), 16, 5
    u = np.linalg.qr(rng.standard_normal((d, 1)))[0][:, 0]
    y = np.where(np.arange(n) % 2, 1, -1)
    x = rng.standard_normal((n, d))
    x += np.outer(y * rng.uniform(1.5, 2, n) - x @ u, u)
    net = TwoLayerReLU(np.stack([u, -u]), np.zeros(2), np.array([[2.0**20, -1.0]]))
    return Case.of(net, x=x, y=y, **ATTACK, seed=seed)


@claim("PGD-row-by-row", "pgd_attack", seeds())
def row_by_row(mine: Probe, truth: Probe, case: Case) -> None:
    """A sample that flips alone flips in a batch as well. Needs no oracle.

    A gradient that is normalised over the batch, and not row by row, leaves nothing for samples
    where it is small beside that of others: they look robust, and results change with the batch.
    """
    case = _steep_and_flat(case.seed)
    left = _margins(mine, case) > 0
    for i in np.flatnonzero(left):
        row = case.rows(slice(i, i + 1))
        # Three seeds, so that no lucky start counts as a flip.
        left[i] = all(_margins(mine, row.replace(seed=case.seed + j))[0] <= 0 for j in range(3))
    if left.any():
        margins = _margins(mine, case)
        what = "margin y f(x') in a batch, of a sample that flips alone,"
        mine.demand(what, ~left | (margins <= 0), "at most 0", margins)


@claim("PGD-linear", "pgd_attack", seeds(), convention=True)
def linear(mine: Probe, truth: Probe, case: Case) -> None:
    """On f(x) = <w, x> every sample flips at 2.05, above all the radii |f|/||w|| of 0.5 to 2.

    Nothing is easier to attack: steps of the wrong sign, labels ignored, sign gradients.
    """
    demand_flips(mine, _linear(case.seed))


@claim("PGD-small-budget", "pgd_attack", seeds(), convention=True)
def small_budget(mine: Probe, truth: Probe, case: Case) -> None:
    """On f(x) = <w, x> with epsilon = 0.4, too small to flip, margins fall by epsilon ||w||.

    2 % are allowed for a start off the best direction. An attack that keeps the wrong iterate where
    it fails to flip gives margins and losses under attack that are too good.
    """
    case = _linear(case.seed, epsilon=0.4, step_size=0.1)
    moved = mine.pgd_attack(**case)
    fall = -case.y * (case.net.outputs(moved) - case.net.outputs(case.x))[:, 0]
    expected = 0.4 * 1.5
    wanted = f"at least 0.98 epsilon ||w|| = {0.98 * expected:.3g}"
    mine.demand("fall of the margin", fall >= 0.98 * expected, wanted, fall)


@claim("PGD-scale", "pgd_attack", seeds(), convention=True)
def scale(mine: Probe, truth: Probe, case: Case) -> None:
    """Outputs 2^-20 times as large are attacked as well. Needs no oracle.

    A gradient that is not normalised makes small outputs look robust.
    """
    demand_flips(mine, _linear(case.seed, scale=2.0**-20))


@claim("PGD-large-outputs", "pgd_attack", seeds(), convention=True)
def large_outputs(mine: Probe, truth: Probe, case: Case) -> None:
    """Outputs 2^12 times as large are attacked as well. Needs no oracle.

    At such margins the gradient of the logistic loss underflows to 0, and the attack stands still:
    gradient masking, the best known way to a robustness that is not there.
    """
    demand_flips(mine, _linear(case.seed, scale=2.0**12))


@claim("PGD-best-iterate", "pgd_attack", seeds(), convention=True)
def best_iterate(mine: Probe, truth: Probe, case: Case) -> None:
    """What comes back is adversarial if any iterate was, not only if the last one is.

    f(x) = |x - 1.1| - 0.1 is at most 0 on [1, 1.2]; steps of 0.15 jump to and fro over it, and half
    of the last iterates are outside.
    """
    net = TwoLayerReLU(
        np.array([[1.0], [-1.0]]), np.array([-1.1, 1.1]), np.ones((1, 2)), np.array([-0.1])
    )
    x = np.random.default_rng(case.seed).uniform(0, 0.8, (24, 1))
    attack = {"epsilon": 2.0, "steps": 40, "step_size": 0.15, "seed": case.seed}
    demand_flips(mine, Case.of(net, x=x, y=np.ones(24, np.int64), **attack))


@claim("PGD-no-gradient", "pgd_attack", seeds())
def no_gradient(mine: Probe, truth: Probe, case: Case) -> None:
    """Where all neurons are off the attack returns a point in the ball, not NaN.

    0/0 in the normalised gradient counts as "not flipped" in most code, and nobody notices.
    """
    case = _linear(case.seed, bias=-100.0)
    moved = mine.pgd_attack(**case)
    far = np.linalg.norm(moved - case.x, axis=1)
    mine.demand("||x' - x||", far <= 2.05 + 1e-3, "at most 2.05", far)


@claim("PGD-seed", "pgd_attack", seeds(), convention=True)
def seed(mine: Probe, truth: Probe, case: Case) -> None:
    """The same seed gives the same adversarial points.

    Else a robustness curve changes from run to run, and with it every comparison.
    """
    case = _linear(case.seed)
    first, again = (mine.pgd_attack(**case) for _ in range(2))
    mine.demand("x' of the same seed, once more,", first == again, first, again)
