# ruff: noqa: D401 - a check's docstring states the property
"""Claims on the closed-form attack (E26), the smallest step (E27) and projected descent."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from refimpl import strategies
from refimpl._validation import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe, discard_if
from refimpl.conformance.claims import claim

Case = dict[str, Any]


@claim("E26-closed-form", "closed_form_attack", cases.attacks() | cases.large_attacks())
def check_closed_form(mine: Probe, truth: Probe, **case: Any) -> None:
    """x' = x - epsilon y v/||v||, v = v+ - v-, v_s the sum of the features of class s.

    Usual causes: towards the own class, means in place of sums, the samples' mean for the features.
    """
    x, _, features, labels, epsilon = case.values()
    bound = tolerances.closed_form(x, features, labels, epsilon, mine.unit)
    got, expected = (side.closed_form_attack(*case.values()) for side in (mine, truth))
    mine.agree("x'", got, expected, bound)


@claim("E26-length", "closed_form_attack", cases.attacks())
def check_length(mine: Probe, truth: Probe, **case: Any) -> None:
    """The perturbation has length epsilon in l2, no more and no less. Needs no oracle.

    A direction that is not normalised, or normalised in another norm, makes budgets meaningless.
    """
    x, _, features, labels, epsilon = case.values()
    bound = tolerances.closed_form(x, features, labels, epsilon, mine.unit)
    moved = np.linalg.norm(mine.closed_form_attack(*case.values()) - x, axis=1)
    mine.agree("||x' - x||", moved, epsilon, np.linalg.norm(bound, axis=1))


@claim("E26-no-budget", "closed_form_attack", cases.attacks())
def check_no_budget(mine: Probe, truth: Probe, **case: Any) -> None:
    """epsilon = 0 returns x itself.

    Clean accuracy is the first point of every robustness curve.
    """
    discard_if(not (case["labels"] @ case["features"]).any())
    got = mine.closed_form_attack(*(case | {"epsilon": 0.0}).values())
    mine.demand("x' is x", got == case["x"], case["x"], got)


@claim("E27-smallest-step", "smallest_step", cases.rays())
def check_smallest_step(mine: Probe, truth: Probe, **case: Any) -> None:
    """The first t >= 0 with y f(x + t u) <= 0 along the unit direction u; inf if there is none.

    Later crossings, bisection that skips a pair of them, and steps in units of the direction's own
    length show here.
    """
    got = mine.smallest_step(*case.values())
    _within_brackets(mine, truth, case, got)


def _within_brackets(mine: Probe, truth: Probe, case: Case, got: Array) -> None:
    """Compare steps with those of the networks that are moved by their errors, both ways."""
    decided = False
    for i, t in enumerate(np.minimum(got, tolerances.FAR)):
        early, late = brackets(truth, case, i, mine.unit)
        if late - early > tolerances.VOID * late:
            continue
        decided = True
        slack = (late - early) / 2 + tolerances.norm(case["x"].shape[1], mine.unit) * late
        mine.agree(f"t of sample {i}", t, (early + late) / 2, slack)
    discard_if(not decided)


def brackets(truth: Probe, case: Case, i: int, unit: float) -> tuple[float, float]:
    """Between what steps t an implementation may find sample i's, both at most FAR."""
    net = cases.network(*list(case.values())[:4])
    rows = {name: case[name][i : i + 1] for name in ("x", "y", "direction")}
    u = np.abs(rows["direction"][0]) / np.linalg.norm(rows["direction"][0])

    def step(of: Any) -> float:
        found = truth.smallest_step(*cases.parameters(of).values(), *rows.values())
        return float(min(found[0], tolerances.FAR))

    far = np.abs(rows["x"][0]) + (2 * step(net) + 1) * u
    early, late = (
        step(tolerances.shifted(net, far, int(rows["y"][0]), unit, side)) for side in (-1, 1)
    )
    return early, late


@claim("E27-misclassified", "smallest_step", cases.rays(correct=False))
def check_step_misclassified(mine: Probe, truth: Probe, **case: Any) -> None:
    """A sample that is misclassified to begin with has t = 0.

    Else it counts as robust at some budgets, and robust accuracy exceeds clean accuracy.
    """
    net = cases.network(*list(case.values())[:4])
    margin = case["y"] * net.outputs(case["x"])[:, 0]
    wrong = margin < -tolerances.output_error(net, case["x"], mine.unit)[:, 0]
    discard_if(not wrong.any())
    got = mine.smallest_step(*case.values())
    mine.demand("t is 0", got[wrong] == 0, 0, got)


@claim("E27-tie", "smallest_step", cases.ties(1))
def check_step_tie(mine: Probe, truth: Probe, **case: Any) -> None:
    """A sample with f = 0 exactly has t = 0: a tie is adversarial.

    Dead networks are tied everywhere; counted as robust, they are the most robust of all.
    """
    y = np.where(np.arange(len(case["x"])) % 2, -1, 1)
    got = mine.smallest_step(*case.values(), y, np.ones_like(case["x"]))
    mine.demand("t is 0", got == 0, 0, got)


@st.composite
def _hinges(draw: st.DrawFn) -> Case:
    """f = |a (x - p)|, which touches 0 at p and nowhere else, in exact numbers."""
    a, p, t = (draw(st.integers(1, 16)) / 4 for _ in range(3))
    net = {"W": np.array([[a], [-a]]), "b": np.array([-a * p, a * p]), "A": np.ones((1, 2))}
    samples = {"x": np.array([[p + t]]), "y": np.array([1]), "direction": np.array([[-1.0]])}
    return net | {"c": np.zeros(1)} | samples


@claim("E27-touching", "smallest_step", _hinges())
def check_touching(mine: Probe, truth: Probe, **case: Any) -> None:
    """Where f touches 0 and turns back, the touching point is adversarial, by default ties.

    A search for changes of sign walks past it.
    """
    expected = case["x"][0] + case["b"][0] / case["W"][0]
    bound = tolerances.norm(1, mine.unit) * expected
    mine.agree("t", mine.smallest_step(*case.values()), expected, bound)


@claim("E27-unreachable", "smallest_step", cases.rays())
def check_unreachable(mine: Probe, truth: Probe, **case: Any) -> None:
    """A network that never changes its decision gives inf, not a large number and not NaN.

    Medians over samples depend on it.
    """
    case["A"], case["c"] = np.abs(case["A"]) * case["y"][0], np.full(1, float(case["y"][0]))
    case["y"] = np.full_like(case["y"], case["y"][0])
    got = mine.smallest_step(*case.values())
    mine.demand("t is inf", np.isposinf(got), np.inf, got)


@claim("E27-direction-length", "smallest_step", cases.rays())
def check_direction_length(mine: Probe, truth: Probe, **case: Any) -> None:
    """t is a length: a direction 4 times as long gives the same t.

    A t in units of the direction is a radius in units of nothing.
    """
    case["direction"] = 4 * case["direction"]
    _within_brackets(mine, truth, case, mine.smallest_step(*case.values()))


@claim("PGD-projection", "project", cases.balls())
def check_projection(mine: Probe, truth: Probe, **case: Any) -> None:
    """Row by row, the point of the l2 ball that is nearest to delta.

    Components clipped one by one, the norm of the whole batch, or rows always scaled to the sphere:
    attacks are then weaker than their budget, and the network looks robust.
    """
    bound = tolerances.norm(case["delta"].shape[1], mine.unit) * np.abs(case["delta"])
    got, expected = (side.project(*case.values()) for side in (mine, truth))
    mine.agree("projection", got, expected, bound)


@claim("PGD-projection-near", "project", cases.shells())
def check_projection_near(mine: Probe, truth: Probe, **case: Any) -> None:
    """A point that is hardly outside, by a relative 5e-7, is moved onto the ball.

    With a tolerance the budget is what the tolerance says. In float32 nothing shows.
    """
    check_projection(mine, truth, **case)


@claim("PGD-projection-inside", "project", cases.balls())
def check_projection_inside(mine: Probe, truth: Probe, **case: Any) -> None:
    """Points well inside the ball do not move at all, 0 included.

    A row of zeros divided by its norm is NaN, and an attack from the sample itself dies there.
    """
    norms = np.linalg.norm(case["delta"], axis=1)
    inside = norms <= 0.999 * case["epsilon"]
    discard_if(not inside.any())
    got = mine.project(*case.values())
    mine.demand("inner points stay", (got == case["delta"])[inside], case["delta"], got)


@claim("PGD-projection-twice", "project", cases.balls())
def check_projection_twice(mine: Probe, truth: Probe, **case: Any) -> None:
    """Projecting twice is projecting once, and lands in the ball. Needs no oracle.

    A projection that overshoots drifts, step by step, and the last step is beyond the budget.
    """
    once = mine.project(*case.values())
    unit = tolerances.norm(once.shape[1], mine.unit)
    beyond = np.maximum(np.linalg.norm(once, axis=1) - case["epsilon"], 0)
    mine.within("distance beyond the ball", beyond, unit * case["epsilon"])
    mine.agree("second projection", mine.project(once, case["epsilon"]), once, unit * np.abs(once))


def _linear(seed: int, n: int = 16, d: int = 5) -> Case:
    """f(x) = <w, x>, ||w|| = 1.5, as four neurons, at samples of both classes, radii 0.5 to 2."""
    rng = np.random.default_rng(seed)
    u, v = np.linalg.qr(rng.standard_normal((d, 2)))[0].T
    A = np.array([[0.9, -0.9, 1.2, -1.2]])
    w = 0.9 * u + 1.2 * v
    y = np.where(np.arange(n) % 2, 1, -1)
    x = rng.standard_normal((n, d))
    x += ((y * rng.uniform(0.5, 2, n) - x @ w / 1.5) / 1.5)[:, None] * w
    net = {"W": np.stack([u, -u, v, -v]), "b": np.zeros(4), "A": A, "c": np.zeros(1)}
    return net | {"x": x, "y": y, "epsilon": 2.05, "steps": 40, "step_size": 0.25, "seed": seed}


def _adversarial(case: Case, moved: Array) -> Array:
    net = cases.network(*list(case.values())[:4])
    return case["y"] * net.outputs(moved)[:, 0] <= 0


def _demand_flips(mine: Probe, case: Case) -> None:
    """Demand that the attack flips every sample of the case."""
    moved = mine.pgd_attack(*case.values())
    mine.demand("every sample flips", _adversarial(case, moved), "y f <= 0", moved)


def _seeds() -> Any:
    return st.fixed_dictionaries({"seed": strategies.seeds().map(lambda seed: seed % 2**31)})


@claim("PGD-budget", "pgd_attack", cases.problems(correct=False))
def check_budget(mine: Probe, truth: Probe, **case: Any) -> None:
    """The adversarial point stays within epsilon of the sample, in l2.

    Beyond its budget an attack makes every network look worse than it is.
    """
    for epsilon in (0.0, 0.5, 3.0):
        moved = mine.pgd_attack(*case.values(), epsilon, 5, 0.7, 1)
        beyond = np.maximum(np.linalg.norm(moved - case["x"], axis=1) - epsilon, 0)
        unit = tolerances.norm(moved.shape[1], mine.unit)
        reach = np.linalg.norm(case["x"], axis=1) + epsilon
        mine.within(f"distance beyond {epsilon}", beyond, 2 * unit * reach)


@claim("PGD-linear", "pgd_attack", _seeds())
def check_linear(mine: Probe, truth: Probe, seed: int) -> None:
    """On f(x) = <w, x> every sample flips at 2.05, above all the radii |f|/||w|| of 0.5 to 2.

    Nothing is easier to attack: steps of the wrong sign, labels ignored, sign gradients.
    """
    _demand_flips(mine, _linear(seed))


@claim("PGD-small-budget", "pgd_attack", _seeds())
def check_small_budget(mine: Probe, truth: Probe, seed: int) -> None:
    """On f(x) = <w, x> with epsilon = 0.4, too small to flip, margins fall by epsilon ||w||.

    2 % are allowed for a start off the best direction. An attack that keeps the wrong iterate where
    it fails to flip gives margins and losses under attack that are too good.
    """
    case = _linear(seed) | {"epsilon": 0.4, "step_size": 0.1}
    moved = mine.pgd_attack(*case.values())
    net = cases.network(*list(case.values())[:4])
    fall = -case["y"] * (net.outputs(moved) - net.outputs(case["x"]))[:, 0]
    expected = 0.4 * 1.5
    mine.demand("margins fall by epsilon ||w||", fall >= 0.98 * expected, expected, fall)


@claim("PGD-scale", "pgd_attack", _seeds())
def check_scale(mine: Probe, truth: Probe, seed: int) -> None:
    """Outputs 2^-20 times as large are attacked as well. Needs no oracle.

    A gradient that is not normalised makes small outputs look robust.
    """
    case = _linear(seed)
    case["A"] = case["A"] * 2.0**-20
    _demand_flips(mine, case)


@claim("PGD-large-outputs", "pgd_attack", _seeds())
def check_large_outputs(mine: Probe, truth: Probe, seed: int) -> None:
    """Outputs 2^12 times as large are attacked as well. Needs no oracle.

    At such margins the gradient of the logistic loss underflows to 0, and the attack stands still:
    gradient masking, the best known way to a robustness that is not there.
    """
    case = _linear(seed)
    case["A"] = case["A"] * 2.0**12
    _demand_flips(mine, case)


@claim("PGD-best-iterate", "pgd_attack", _seeds())
def check_best_iterate(mine: Probe, truth: Probe, seed: int) -> None:
    """What comes back is adversarial if any iterate was, not only if the last one is.

    f(x) = |x - 1.1| - 0.1 is at most 0 on [1, 1.2]; steps of 0.15 jump to and fro over it, and half
    of the last iterates are outside.
    """
    case = {
        "W": np.array([[1.0], [-1.0]]),
        "b": np.array([-1.1, 1.1]),
        "A": np.ones((1, 2)),
        "c": np.array([-0.1]),
        "x": np.random.default_rng(seed).uniform(0, 0.8, (24, 1)),
        "y": np.ones(24, np.int64),
    }
    moved = mine.pgd_attack(*case.values(), 2.0, 40, 0.15, seed)
    mine.demand("every sample flips", _adversarial(case, moved), "y f <= 0", moved)


@claim("PGD-no-gradient", "pgd_attack", _seeds())
def check_no_gradient(mine: Probe, truth: Probe, seed: int) -> None:
    """Where all neurons are off the attack returns a point in the ball, not NaN.

    0/0 in the normalised gradient counts as "not flipped" in most code, and nobody notices.
    """
    case = _linear(seed)
    case["b"] = np.full(4, -100.0)
    moved = mine.pgd_attack(*case.values())
    far = np.linalg.norm(moved - case["x"], axis=1)
    mine.demand("the point is in the ball", far <= 2.05 + 1e-3, "at most 2.05", far)


@claim("PGD-seed", "pgd_attack", _seeds())
def check_seed(mine: Probe, truth: Probe, seed: int) -> None:
    """The same seed gives the same adversarial points.

    Else a robustness curve changes from run to run, and with it every comparison.
    """
    case = _linear(seed)
    first, again = (mine.pgd_attack(*case.values()) for _ in range(2))
    mine.demand("one seed, one result", first == again, first, again)
