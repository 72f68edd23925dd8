"""Judge an attack by the exact radii of problems: how many samples it flips, and from how far."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl._progress import Progress
from refimpl.decisions import GroupMax, GroupSum
from refimpl.radius import attack_gap
from refimpl.radius.geometry import UNIT, Flags
from refimpl.truth.problem import Problem
from refimpl.truth.suite import known, names, problem

SLACK = 1e-6  # relative: what a norm may be above a radius, or below, and count as that radius
_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_MULTIPLES = (1.01, 1.25, 1.5, 2.0, 3.0)  # of the largest radius

Attack = Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Verdict:
    """What an attack makes of one problem with n samples.

    complaint: why none of its points count, or "". complaints: what is wrong with single rows, by
    index. moved (n,): whether the point is not the sample. flips (n,): points that count, which are
    adversarial, in the box and within the budget. norm (n,): the least norm of such a point, inf
    where there is none; ratio (n,): norm over the exact radius. excess: by how much the attack's
    robust accuracy is above the truth at the radius where that is most, in points of 100; at: that
    radius. seconds: processor time for each sample.
    """

    problem: Problem
    complaint: str
    complaints: dict[int, str]
    moved: Flags
    flips: Flags
    norm: Array
    ratio: Array
    excess: float
    at: float
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether a sample is not flipped, or the excess or the median ratio is above 5 %."""
        return not self.flips.all() or self.excess > 5 or float(np.median(self.ratio)) > 1.05


@dataclass(eq=False)
class _Record:
    """The best points of n samples so far."""

    problem: Problem
    complaint: str = ""
    complaints: dict[int, str] = field(default_factory=dict)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.norm = np.full(len(self.problem.x), np.inf)
        self.moved = np.zeros(len(self.norm), np.bool_)


def judge(
    attack: Attack,
    problems: Sequence[str] | None = None,
    *,
    budget: bool = False,
    rng: int = 0,
    progress: bool = False,
    finished: list[Verdict] | None = None,
) -> list[Verdict]:
    """Run an attack on problems, and compare its points with the nearest ones there are.

    Parameters
    ----------
    attack : callable
        ``attack(net, x, y, *, norm, box, epsilon)`` returns x_adv (n,d), float64. Where its
        signature has `decision` or `rng`, it is given these too; an attack without `decision` takes
        the sign of one output and the argmax of several.
    problems : sequence of str, optional
        Some of `names()`, by default all.
    budget : bool
        False: epsilon is None, and the attack looks for the nearest adversarial points. A row that
        it leaves at the sample says that it found none. True: the attack is run for several budgets
        epsilon, from the tenth percentile of the radii to three times their largest one, and the
        nearest of its adversarial points counts.
    rng : int
        Seed for attacks that take one.
    progress : bool
    finished : list, optional
        An empty list that is to take the verdicts: after Ctrl-C it has those that there are.

    Returns
    -------
    list of Verdict
        One for each problem. An attack that raises, or returns what are not points, gets a verdict
        that says so, and the others are run all the same.

    Raises
    ------
    ValueError
        The attack is not callable, the seed is negative, or a problem is not known.

    Notes
    -----
    Robust accuracies are compared at the exact radii, or, with budgets, at the budgets.

    Examples
    --------
    >>> def nothing(net, x, y, *, norm, box, epsilon):
    ...     return x
    >>> (verdict,) = judge(nothing, ["corner"])
    >>> int(verdict.flips.sum()), float(verdict.excess)
    (0, 100.0)
    """
    if not callable(attack):
        check.fail("attack", "a callable", type(attack).__name__)
    rng = check.integer("rng", rng, minimum=0)
    chosen = names() if problems is None else [known(name) for name in problems]
    verdicts: list[Verdict] = [] if finished is None else finished
    with Progress("judge", len(chosen), enabled=progress) as counter:
        for each in map(problem, chosen):
            verdicts.append(_verdict(attack, each, budget=budget, rng=rng))
            counter.advance()
    return verdicts


def budgets(each: Problem) -> Array:
    """Budgets (e,) at which attacks are run that take one."""
    radii = each.radii.upper[np.isfinite(each.radii.upper)]
    few, largest = np.quantile(radii, _QUANTILES), radii.max()
    return np.append(1.01 * few[:-1], np.multiply(_MULTIPLES, largest))


def _verdict(attack: Attack, each: Problem, *, budget: bool, rng: int) -> Verdict:
    record = _Record(each)
    epsilons: list[float | None] = [*budgets(each).tolist()] if budget else [None]
    for epsilon in epsilons:
        _run(attack, record, epsilon, rng)
    if record.complaint:  # of one run: none of the points is taken
        record.norm[:] = np.inf
    lower = each.radii.lower
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(record.norm == lower, 1.0, record.norm / lower)
    for i in np.flatnonzero(ratio < 1 - SLACK).tolist():
        record.complaints[i] = (
            f"nearer, {record.norm[i]:.9g}, than the proven radius {lower[i]:.9g}: refimpl is wrong"
        )
    upper = each.radii.upper
    grid = budgets(each) if budget else np.unique(upper[np.isfinite(upper)])
    most, at = excess(record.norm, upper, grid)
    return Verdict(
        problem=each,
        complaint=record.complaint,
        complaints=record.complaints,
        moved=record.moved,
        flips=np.isfinite(record.norm),
        norm=record.norm,
        ratio=ratio,
        excess=most,
        at=at,
        seconds=record.seconds / len(each.x),
    )


def excess(norm: Array, upper: Array, grid: Array) -> tuple[float, float]:
    """Points of 100 by which robust accuracy is above the truth, where they are most, and where.

    norm, upper (n,): norms of points, inf where there is none, and exact radii. grid (e,): radii.
    """
    reach = grid[:, None] * (1 + SLACK)
    above = (norm > reach).sum(axis=1) - (upper > reach).sum(axis=1)
    points = 100 * above / len(norm)
    best = int(points.argmax())
    return float(points[best]), float(grid[best])


def _run(attack: Attack, record: _Record, epsilon: float | None, rng: int) -> None:
    """Run the attack once, and take the points that count."""
    each = record.problem
    keywords = {"norm": each.setting.norm, "box": each.setting.box, "epsilon": epsilon}
    keywords |= _extras(attack, each, rng)
    if isinstance(each.setting.decision, (GroupMax, GroupSum)) and "decision" not in keywords:
        record.complaint = "not run: it takes no decision, and here groups of outputs decide"
        return
    started = time.process_time()
    try:
        returned = attack(each.net, each.x.copy(), each.y.copy(), **keywords)
    except (Exception, SystemExit) as error:  # whatever the user's attack raises
        record.complaint = f"raised {check.reason(error)}"
        return
    finally:
        record.seconds += time.process_time() - started
    record.complaint = record.complaint or _malformed(returned, each.x)
    if not record.complaint:
        _take(record, np.asarray(returned), epsilon)


def _extras(attack: Attack, each: Problem, rng: int) -> dict[str, Any]:
    """Return what else the attack's signature has of decision and rng."""
    offered = {"decision": each.setting.decision, "rng": rng}
    try:
        parameters = inspect.signature(attack).parameters
    except (TypeError, ValueError):  # a callable of another language
        return {}
    if any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        return offered
    return {name: value for name, value in offered.items() if name in parameters}


def _malformed(returned: Any, x: Array) -> str:
    """Say why what was returned are no points."""
    if not isinstance(returned, np.ndarray):
        return f"returned {type(returned).__name__}, expected a NumPy array"
    if returned.shape != x.shape:
        return f"returned shape {returned.shape}, expected {x.shape}"
    if returned.dtype != np.float64:
        return f"returned {returned.dtype}, expected float64"
    return ""


def _take(record: _Record, points: Array, epsilon: float | None) -> None:
    """Take the points that are adversarial and keep the rules; complain of the others."""
    each = record.problem
    norm, box = each.setting.norm, each.setting.box
    finite: Flags = np.all(np.isfinite(points), axis=1)
    points = np.where(finite[:, None], points, each.x)
    gap = attack_gap(each.radii, each.net, each.x, each.y, points, **each.options)
    moved: Flags = np.any(points != each.x, axis=1)
    record.moved |= moved | ~finite
    lo, hi = (-np.inf, np.inf) if box is None else box
    outside = np.maximum(lo - points, points - hi).max(axis=1)
    # A computed norm of d entries is off by at most d / 2 + 2 roundings.
    most = np.inf if epsilon is None else epsilon * (1 + (each.net.dim + 4) * UNIT)
    rules = {
        "NaN or infinite": ~finite,
        "outside the box, by {:.3g}": outside > 0,
        "beyond its budget, by {:.3g}": gap.norm > most,
        f"not adversarial, at a distance of {{:.3g}} in norm {norm:g}": (
            moved & ~gap.flips if epsilon is None else np.zeros(len(moved), np.bool_)
        ),
    }
    amounts = (outside, outside, gap.norm - most, gap.norm)
    wrong = np.zeros(len(moved), np.bool_)
    for (text, rows), amount in zip(rules.items(), amounts, strict=True):
        for i in np.flatnonzero(rows & ~wrong).tolist():
            record.complaints.setdefault(i, text.format(amount[i]))
        wrong |= rows
    taken = gap.flips & ~wrong
    record.norm[taken] = np.minimum(record.norm[taken], gap.norm[taken])
