"""Exact l2 robust radii: the fast path, then a search for each sample left (E29 to E32)."""

from __future__ import annotations

import math
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from refimpl import _repr
from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl._progress import Progress
from refimpl.certificate import Certificate
from refimpl.decisions import TIES, Decision, check_decision, check_labels
from refimpl.network import TwoLayerReLU
from refimpl.radius import fast
from refimpl.radius.answer import Answer, Samples, answers
from refimpl.radius.geometry import (
    ROOT_FLOOR,
    TINY,
    Flags,
    Geometry,
    Target,
    in_range,
    targets_of,
)
from refimpl.radius.points import Question
from refimpl.radius.region import Space
from refimpl.radius.state import Options
from refimpl.radius.tree import certificates_of_pieces

STATUSES = ("exact", "unreachable", "bounded")
_TASK = 4  # samples in an executor's task
_ROWS = 1024  # samples that the fast path takes at a time


@dataclass(frozen=True, eq=False, repr=False)
class RobustRadius:
    """Robust radii of n samples, distances in input space in the norm that was asked for.

    lower <= r <= upper, both (n,). status (n,) is ``"exact"`` where upper - lower <= tol * upper,
    ``"unreachable"`` where no adversarial point exists (both inf), else ``"bounded"``. The
    network's own outputs find x + perturbation (n,d) adversarial, and `upper` is its norm rounded
    up; where none was found, upper is inf and the perturbation NaN. `nodes` (n,) counts the nodes
    that branching made, 0 where it was not needed. `certificates` has a `Certificate` for each
    sample, None where lower is 0 or where floats cannot hold a proof (as may be for inf); it is
    None itself where they were not asked for. `norm` and `box`, a pair of (d,) arrays or None, are
    those that were asked for.
    """

    lower: Array
    upper: Array
    perturbation: Array
    status: np.ndarray[Any, Any]
    nodes: IntArray
    certificates: tuple[Certificate | None, ...] | None
    norm: float | None = None  # unknown, where somebody else made it
    box: tuple[Array, Array] | None = None

    def __repr__(self) -> str:
        counts = {name: int((self.status == name).sum()) for name in STATUSES}
        return _repr.sizes(self, n=len(self.status), **counts)


def robust_radius(
    net: TwoLayerReLU,
    x: Any,
    y: Any,
    *,
    decision: Decision = "sign",
    ties: str = "adversarial",
    norm: float = 2,
    box: Any = None,
    tol: float = 1e-9,
    max_nodes: int = 100_000,
    time_limit: float | None = None,
    stop_at: float | None = None,
    certificates: bool = False,
    executor: Executor | None = None,
    progress: bool = False,
) -> RobustRadius:
    """Exact robust radii, with proven bounds: how near to x there is an adversarial point.

    r(x) = inf{||delta||_p : lo <= x + delta <= hi, x + delta is adversarial}. The set of
    adversarial points is a union of convex polyhedra, one for each target and each set of active
    neurons that enter negatively. A fast path bounds all of them at once; where that does not
    settle a sample, branch and bound over the neurons' phases does.

    Parameters
    ----------
    net : TwoLayerReLU
        Any network F(x) = A ReLU(W x + b) + c. The work of a sample can double with each branching
        neuron whose kink lies within its radius: see Notes.
    x : (n,d) array
    y : (n,) array
        Class integers for argmax, labels in {-1, +1} for the other decisions.
    decision : {"sign", "argmax"}, GroupMax or GroupSum
    ties : {"adversarial", "robust"}
        Whether a tie counts as adversarial (the default), or only what is strictly wrong.
    norm : {1, 2, numpy.inf}
        The p of ||delta||_p, as in `numpy.linalg.norm`.
    box : (lo, hi), optional
        Limits of x + delta, numbers or (d,) arrays, infinite ones allowed: (0, 1) for images.
        Where lo equals hi a pixel is fixed.
    tol : float in [0, 1)
        Relative gap upper - lower <= tol * upper at which a sample is done.
    max_nodes : int, at least 1
        Nodes of branch and bound for a sample, after which it is left `bounded`.
    time_limit : float, optional
        Seconds that branching may take for a sample. Results then depend on the machine.
    stop_at : float, optional
        An epsilon: a sample is done once lower > epsilon, or a point well within epsilon is known.
    certificates : bool
        Also return a certificate (E33) that each sample's r exceeds its `lower`, which
        `verify_certificate` checks.
    executor : concurrent.futures.Executor, optional
        Runs the searches: a process pool, Dask's ``client.get_executor()``, ``mpi4py.futures``.
        Its ``map`` is called with a function and a list. The results are the same, in the same
        order.
    progress : bool
        Count samples on standard error, and tell nodes and gap of the one at work where the
        search runs in this process.

    Returns
    -------
    RobustRadius
        A misclassified sample has radius 0 and a perturbation of 0.

    Raises
    ------
    ValueError
        Bad shapes or values, a decision that does not fit the network, labels that do not fit the
        decision, another norm, samples outside the box.

    Notes
    -----
    Source: E29 to E32, E37 to E39, derived. Bounds hold in real arithmetic for the float64 weights
    given: rounding errors are bounded and taken off `lower`. Where r is so far below ||x|| that
    they exceed tol * r, a sample stays `bounded`. Beyond sizes of 1e45, and where products of
    weights underflow, nothing is bounded (0 and inf).

    `upper` is the norm of a point that is adversarial as the network's outputs are computed. In
    real arithmetic it may miss that by their rounding errors, and `upper` be below r: by less than
    an ulp of x where a step of one ulp changes the outputs by more than these. A sample that is
    misclassified as they are computed has radius 0. `lower` exceeds neither r nor `upper`.

    Width: a node costs O(M p) for p = min(M, d), and the search can need 2^m nodes, m the number
    of branching neurons (of negative output weight) whose hyperplanes are within the radius. That
    is few in the paper's setting, at any width. Where many are, as in networks of hundreds of
    neurons that were trained for other ends, set `time_limit` or `max_nodes`, and read the bounds.

    Examples
    --------
    f(x) = x_1 - x_2 where both are positive, so that the nearest tie of (3, 1) is (2, 2).

    >>> net = TwoLayerReLU([[1, 0], [0, 1]], None, [[1, -1]])
    >>> result = robust_radius(net, [[3, 1], [1, 3]], [1, 1])
    >>> result
    RobustRadius(n=2, exact=2, unreachable=0, bounded=0)
    >>> np.round(result.upper, 6).tolist(), result.status.tolist()
    ([1.414214, 0.0], ['exact', 'exact'])
    >>> np.round(result.perturbation[0], 6).tolist()
    [-1.0, 1.0]
    """
    check.instance("net", net, TwoLayerReLU)
    decision = check_decision(decision, net.n_outputs)
    x = np.ascontiguousarray(check.real_array("x", x, ("n", net.dim)))  # one order of summation
    y = check_labels(y, len(x), decision, net.n_outputs)
    question = Question(net, decision, check.choice("ties", ties, TIES))
    space = Space.of(net, check.check_norm(norm), check.check_box(box, x))
    if executor is not None and not hasattr(executor, "map"):
        check.fail("executor", "an Executor, such as a process pool", type(executor).__name__)
    seconds = math.inf if time_limit is None else check.real("time_limit", time_limit, minimum=0)
    options = Options(
        ties,
        _below_one("tol", tol),
        check.integer("max_nodes", max_nodes, minimum=1),
        seconds,
        math.inf if stop_at is None else check.real("stop_at", stop_at, minimum=0),
        bool(certificates),
    )
    draft = _Draft(question, space, options, x, y)
    with Progress("radius", len(x), enabled=progress) as counter:
        hard = draft.settle()
        draft.perturb(hard)
        counter.advance(len(x) - len(hard))
        tasks = [hard[i : i + _TASK] for i in range(0, len(hard), _TASK)]
        samples = [draft.samples.take(task) for task in tasks]  # Dask and others want a list
        work = partial(answers, question, space, draft.targets, options)
        heard = partial(work, listener=counter.tell_search)
        results = map(heard, samples) if executor is None else executor.map(work, samples)
        for task, found in zip(tasks, results, strict=True):
            draft.record(task, found)
            counter.advance(len(task))
    return draft.finish()


def _below_one(name: str, value: Any) -> float:
    number = check.real(name, value, minimum=0)
    return number if number < 1 else check.fail(name, "a number below 1", number)


class _Draft:
    """Results in the making."""

    def __init__(
        self, question: Question, space: Space, options: Options, x: Array, y: IntArray
    ) -> None:
        net, self.question, self.space, self.options = question.net, question, space, options
        with np.errstate(all="ignore"):  # of samples that are out of range
            z = net.preactivations(x)
            wrong, fits = question.adversarial(net.readout(z), y), in_range(net, x)
            # Out of range a tie may be an underflow, and is taken for one in rationals alone.
            for i in np.flatnonzero(wrong & ~fits & ~question.adversarial(net.readout(z), y, TINY)):
                wrong[i] = question.truly_adversarial(x[i], int(y[i]))
            self.x_norm = np.sqrt(np.einsum("nd,nd->n", x, x))
            self.geometry = Geometry.of(net)
        self.samples = Samples(x, y, z, np.zeros_like(z))
        self.open = ~wrong & fits
        self.lost = ~wrong & ~self.open
        labels = np.unique(y[self.open]).tolist()
        self.targets = {label: targets_of(net, label, question.decision) for label in labels}
        self.lower, self.upper = np.zeros(len(x)), np.zeros(len(x))
        self.perturbation = np.empty(x.shape)
        self.nodes = np.zeros(len(x), np.int64)
        self.certificates: list[Certificate | None] = [None] * len(x)

    def settle(self) -> IntArray:
        """Run the fast path on all samples; indices of those that need a search."""
        hard = [np.zeros(0, np.int64)]
        for label in self.targets:
            index = np.flatnonzero(self.open & (self.samples.y == label))
            parts = (index[i : i + _ROWS] for i in range(0, len(index), _ROWS))
            hard += [self.settle_some(label, part) for part in parts]
        return np.sort(np.concatenate(hard))

    def settle_some(self, label: int, index: IntArray) -> IntArray:
        """Run the fast path on some samples of one label; indices of those that need a search."""
        targets = self.targets[label]
        _, _, z, start = self.samples
        bounds = fast.bound(self.geometry, targets, z[index], self.reach(index, 0.0))
        v, upper, good = self.meet(targets, index, bounds)
        start[index] = v
        settled = good & (upper - bounds.lower <= self.options.tol * upper) & bounds.complete
        settled &= self.within(index, v)
        done = index[settled]
        self.upper[done] = upper[settled]
        self.lower[done] = np.minimum(bounds.lower, upper)[settled]
        if self.options.certificates and len(done):  # else targets may have too many pieces
            rows = [row[settled] for row in bounds.rows]
            found = certificates_of_pieces(targets, rows, z[done])
            for i, certificate in zip(done, found, strict=True):
                self.certificates[i] = certificate
        return index[~settled]

    def within(self, index: IntArray, v: Array) -> Flags:
        """Tell where the points of weights v are the nearest ones of the space too."""
        if self.space.plain:
            return np.ones(len(index), np.bool_)
        if self.space.norm != 2 or self.space.box is None:
            return np.zeros(len(index), np.bool_)
        lo, hi = self.space.box
        ends = self.samples.x[index] + v @ self.question.net.W
        result: Flags = np.asarray(((lo <= ends) & (ends <= hi)).all(axis=1))
        return result

    def reach(self, index: IntArray, radius: Array | float) -> Array:
        """Bound |z_r| (n,M), and all that it is summed from, within ||delta|| <= radius."""
        return np.outer(self.x_norm[index] + radius, self.geometry.norms) + self.geometry.bias

    def meet(
        self, targets: list[Target], index: IntArray, bounds: fast.Bounds
    ) -> tuple[Array, Array, Flags]:
        """Weights v of points just beyond the fast path's, their norms, and where they are good.

        Good points are adversarial by more than the rounding error of evaluating the network
        there, in whatever order it sums, so that this need not be done.
        """
        U, norms = self.geometry.U, self.geometry.norms
        radius = np.where(np.isfinite(bounds.lower), bounds.lower, 0.0)
        noise = [t.noise(self.geometry, self.reach(index, radius)) for t in targets]
        guard = 2 * np.max([rows.max(axis=1) for rows in noise], axis=0)
        beyond = 1.25 * guard / np.where(bounds.margin > 0, bounds.margin, np.inf)
        v = bounds.v * (1 + beyond)[:, None]
        c = v @ U
        outputs = self.question.net.readout(self.samples.z[index] + c @ U.T)
        upper = np.sqrt(np.square(c).sum(axis=1)) * (1 + self.geometry.factor)
        upper += self.geometry.factor * (np.abs(v) @ norms) + ROOT_FLOOR
        return v, upper, self.question.adversarial(outputs, self.samples.y[index], guard)

    def perturb(self, hard: IntArray) -> None:
        """Write the perturbations of all samples but the hard ones."""
        v = self.samples.start.copy()
        v[hard] = 0.0
        np.matmul(v, self.question.net.W, out=self.perturbation)
        self.perturbation[self.lost], self.upper[self.lost] = np.nan, np.inf

    def record(self, index: IntArray, answers: list[Answer]) -> None:
        """Take the search's answers."""
        for i, answer in zip(index, answers, strict=True):
            self.lower[i], self.upper[i], self.perturbation[i] = answer[:3]
            self.nodes[i], self.certificates[i] = answer[3:]

    def finish(self) -> RobustRadius:
        """Name the statuses."""
        found = np.isfinite(self.upper)
        gap = np.where(found, self.upper, 0.0) - np.where(found, self.lower, 0.0)
        exact = found & (gap <= self.options.tol * np.where(found, self.upper, 0.0))
        met = np.where(exact, "exact", "bounded")
        status = np.where(np.isinf(self.lower), "unreachable", met)  # (E32)
        certificates = tuple(self.certificates) if self.options.certificates else None
        return RobustRadius(
            *(self.lower, self.upper, self.perturbation, status, self.nodes, certificates),
            *(self.space.norm, self.space.box),
        )
