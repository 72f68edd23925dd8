"""What a certificate is, and the rows of one that is well-formed (E33)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl.decisions import Decision, GroupMax, GroupSum

Numbers = np.ndarray[Any, Any]  # float64, or objects: int and Fraction

LEAF, STEP = -1, -2


class Cuts(NamedTuple):
    """Bounds of z_r that narrowing steps prove, as equally long arrays sorted by `row`.

    Parameters
    ----------
    row : (cuts,) int64 array
        The step's row among those of `Certificate.weights`.
    neuron : (cuts,) int64 array
        r.
    side : (cuts,) int64 array
        +1: z_r <= bound at every adversarial point of the step's subtree; -1: z_r >= bound.
    bound : (cuts,) array
    mu : (cuts,) array
        At least 0: mu times the minorant of the row is at least side (z_r - bound) on the region.
    """

    row: IntArray
    neuron: IntArray
    side: IntArray
    bound: Array
    mu: Array

    def take(self, index: Any) -> Cuts:
        """Take some of the cuts."""
        columns: tuple[Any, ...] = tuple(column[index] for column in self)
        return Cuts(*columns)


@dataclass(frozen=True, eq=False)
class Certificate:
    """Proof that the robust radius of one sample exceeds a number R (E33, E35, E41, E42).

    Parameters
    ----------
    splits : (nodes,) int64 array
        The trees of all targets one after the other, in preorder. An inner node is the index of a
        neuron that its path has not split yet; after it come the whole subtree with that neuron on
        (z_r >= 0) and the whole subtree with it off (z_r <= 0). A leaf is -1. A narrowing step is
        -2, a node with one child: its subtree follows at once.
    weights : (rows,I) array
        w >= 0 over the I constraints of the row's target. Leaves and narrowing steps have one row
        each, in order of appearance.
    tau : (rows,M) array
        In [0,1]: the slope of the line below ReLU(z_r) where gamma_r >= 0.
    nu : (rows,M) array
        At least 0: multipliers of the path's signs; 0 for neurons off the path.
    kappa : (rows,M) array or None
        At least 0. Where it is positive, kappa_r = 1 / (4 s_r), the parabola
        (z_r + s_r)^2 / (4 s_r) stands above ReLU(z_r) in place of a line, if gamma_r < 0 and the
        sign of z_r is not known. It is ignored elsewhere. None: all 0.
    ball : (rows,) array or None
        lambda >= 0, the multiplier of ||delta||^2 - R^2: positive where a parabola stands, and
        ignored elsewhere. None: all 0.
    cuts : Cuts or None
        What narrowing steps prove. None: nothing.

    Notes
    -----
    Targets stand in this order. sign and group_sum: one, with one constraint. argmax: the classes
    t != y, ascending, with the one constraint F_y - F_t. group_max: the classes t of the other
    group, ascending, with constraints F_i - F_t, i ascending over the own group.

    Nothing is checked here: `verify_certificate` does.
    """

    splits: IntArray
    weights: Array
    tau: Array
    nu: Array
    kappa: Array | None = None
    ball: Array | None = None
    cuts: Cuts | None = None


class CertificateError(ValueError):
    """The certificate is malformed, or a row of it does not prove what it has to."""


class Rows(NamedTuple):
    """n leaves or steps: D (n,I,K) of their targets, what is known of z (n,M), and multipliers.

    phase (n,M) is 1 on, -1 off, 0 free; lo and up (n,M) are the cuts above, inf where there is
    none.
    """

    D: Numbers
    phase: Numbers
    lo: Numbers
    up: Numbers
    weights: Numbers
    tau: Numbers
    nu: Numbers
    kappa: Numbers
    ball: Numbers


@dataclass(frozen=True, eq=False)
class Reading:
    """A well-formed certificate. Rows share their arrays of cuts: memory follows the input."""

    owner: list[int]
    is_step: Numbers
    arrays: dict[str, Numbers]
    lo: list[Array]
    up: list[Array]
    cuts: Cuts

    def __len__(self) -> int:
        return len(self.owner)

    def rows(self, index: Sequence[int] | Numbers) -> Rows:
        """Take the rows of these indices."""
        index = np.asarray(index)
        lo, up = (np.array([each[i] for i in index]) for each in (self.lo, self.up))
        return Rows(lo=lo, up=up, **{name: array[index] for name, array in self.arrays.items()})

    def cuts_of(self, index: Sequence[int] | Numbers) -> Cuts:
        """Take the cuts of these ascending rows; `row` then counts among them."""
        index = np.asarray(index)
        there = np.isin(self.cuts.row, index)
        cuts = self.cuts.take(there)
        return cuts._replace(row=np.searchsorted(index, cuts.row))

    def name(self, i: Any) -> str:
        """Target, row and path, for messages."""
        phase = self.arrays["phase"][i]
        path = ", ".join(f"{r} {'on' if phase[r] > 0 else 'off'}" for r in np.flatnonzero(phase))
        kind = "narrowing step" if self.is_step[i] else "leaf"
        return f"target {self.owner[i]}, {kind} {i}, path [{path}]"


def targets(y: int, decision: Decision, n_outputs: int) -> Numbers:
    """D (L,I,K) with g_i = sum_k D_ik F_k, derived here and not taken from what the solver uses."""
    if isinstance(decision, GroupSum):
        return (y * decision.labels).reshape(1, 1, -1)
    if decision == "sign":
        return np.array([[[y]]])
    classes = range(n_outputs)
    group = decision.labels if isinstance(decision, GroupMax) else classes
    D = [
        [[(k == i) - (k == t) for k in classes] for i in classes if group[i] == y]
        for t in classes
        if group[t] != y
    ]
    return np.array(D)  # (E30)


def read(certificate: Certificate, D: Numbers, M: int) -> Reading:
    """Read a certificate, and check every requirement on its form."""
    if not isinstance(certificate, Certificate):
        got = type(certificate).__name__
        raise CertificateError(f"certificate: expected a Certificate, got {got}")
    splits = form("splits", certificate.splits, ("nodes",))
    cuts = _cuts(certificate.cuts, M)
    rows = int(((splits == LEAF) | (splits == STEP)).sum())
    # The walk needs M bytes for each row: the certificate has to have as many rows as it.
    weights = form("weights", certificate.weights, ("rows", D.shape[1]))
    walk = _walk(splits, len(D), M, cuts, limit=len(weights))
    arrays = {
        "weights": form("weights", weights, (rows, D.shape[1])),
        "tau": form("tau", certificate.tau, (rows, M)),
        "nu": form("nu", certificate.nu, (rows, M)),
        "kappa": _optional("kappa", certificate.kappa, (rows, M)),
        "ball": _optional("ball", certificate.ball, (rows,)),
    }
    arrays |= {"D": D[walk.owner], "phase": np.array(walk.phase)}
    reading = Reading(walk.owner, np.array(walk.is_step), arrays, walk.lo, walk.up, cuts)
    _check_numbers(reading)
    return reading


def form(name: str, value: Any, shape: tuple[int | str, ...]) -> Array:
    """Finite float64 array of the given shape; as a part of a certificate it has its own error."""
    try:
        return check.real_array(name, value, shape)
    except ValueError as error:
        raise CertificateError(str(error)) from None


def _optional(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Like `form`, with zeros for None, which take no memory."""
    return np.broadcast_to(0.0, shape) if value is None else form(name, value, shape)


def _check_numbers(reading: Reading) -> None:
    """Raise unless multipliers are in their range, and cuts belong to narrowing steps."""
    phase, weights, tau, nu, kappa, ball = (
        reading.arrays[name] for name in ("phase", "weights", "tau", "nu", "kappa", "ball")
    )
    for good, rule in (
        (weights >= 0, "weights: expected numbers of at least 0"),
        ((tau >= 0) & (tau <= 1), "tau: expected numbers in [0, 1]"),
        ((nu >= 0) & ((phase != 0) | (nu == 0)), "nu: expected at least 0, and 0 off the path"),
        (kappa >= 0, "kappa: expected numbers of at least 0"),
        (ball[:, None] >= 0, "ball: expected numbers of at least 0"),
    ):
        if not good.all():
            raise CertificateError(f"{reading.name(np.argmin(good.all(axis=1)))}: {rule}")
    rows = reading.cuts.row
    steps = np.flatnonzero(reading.is_step)
    for wrong in rows[~np.isin(rows, steps)]:
        raise CertificateError(f"cuts.row: expected the row of a narrowing step, got {wrong}")


def _cuts(cuts: Any, M: int) -> Cuts:
    """Well-formed cuts, integers as int64."""
    if cuts is None:
        none = np.zeros(0, dtype=np.int64)
        return Cuts(none, none, none, np.zeros(0), np.zeros(0))
    if not isinstance(cuts, tuple) or len(cuts) != len(Cuts._fields):
        raise CertificateError(f"cuts: expected Cuts or None, got {type(cuts).__name__}")
    n = len(cuts[0]) if np.ndim(cuts[0]) else "cuts"
    names = [f"cuts.{name}" for name in Cuts._fields]
    row, neuron, side, bound, mu = (
        form(name, value, (n,)) for name, value in zip(names, cuts, strict=True)
    )
    ascending = np.diff(row, prepend=0.0) >= 0
    is_index = (neuron >= 0) & (neuron < M) & (neuron == np.floor(neuron))
    for name, values, good, rule in (
        ("row", row, (row == np.floor(row)) & ascending, "integers of at least 0, ascending"),
        ("neuron", neuron, is_index, f"integers from 0 to {M - 1}"),
        ("side", side, np.abs(side) == 1, "-1 or 1"),
        ("mu", mu, mu >= 0, "numbers of at least 0"),
    ):
        if not good.all():
            got = f"{values[np.argmin(good)]:g}"
            raise CertificateError(f"cuts.{name}: expected {rule}, got {got}")
    return Cuts(row.astype(np.int64), neuron.astype(np.int64), side.astype(np.int64), bound, mu)


class _Walk(NamedTuple):
    """What the path of each row says: its target, phases, and the cuts of the steps above it."""

    owner: list[int]
    phase: list[Numbers]
    lo: list[Array]
    up: list[Array]
    is_step: list[bool]


class _Node(NamedTuple):
    target: int
    phase: Numbers
    lo: Array
    up: Array

    def split(self, r: int) -> list[_Node]:
        """Children off and on."""
        on, off = self.phase.copy(), self.phase.copy()
        on[r], off[r] = 1, -1
        return [_Node(self.target, phase, self.lo, self.up) for phase in (off, on)]

    def narrow(self, cuts: Cuts, row: int) -> _Node:
        """Child of the narrowing step that has this row."""
        start, stop = np.searchsorted(cuts.row, [row, row + 1])
        if start == stop:
            return self
        cuts = cuts.take(slice(start, stop))
        lo, up, above = self.lo.copy(), self.up.copy(), cuts.side > 0
        np.maximum.at(lo, cuts.neuron[~above], cuts.bound[~above])
        np.minimum.at(up, cuts.neuron[above], cuts.bound[above])
        return _Node(self.target, self.phase, lo, up)


def _walk(splits: Array, n_targets: int, M: int, cuts: Cuts, limit: int) -> _Walk:
    """Walk the trees in preorder, up to the first row beyond the limit."""
    walk = _Walk([], [], [], [], [])
    root = np.zeros(M, dtype=np.int8), np.full(M, -np.inf), np.full(M, np.inf)
    pending = [_Node(target, *root) for target in reversed(range(n_targets))]
    for position, r in enumerate(splits.tolist()):
        if not pending:
            raise CertificateError(f"splits: the trees end before node {position}")
        node = pending.pop()
        if r in (LEAF, STEP):
            row = len(walk.owner)
            if row == limit:
                return walk
            columns: tuple[list[Any], ...] = walk
            for column, value in zip(columns, (*node, r == STEP), strict=True):
                column.append(value)
            pending += [node.narrow(cuts, row)] if r == STEP else []
        elif r in range(M) and node.phase[int(r)] == 0:
            pending += node.split(int(r))
        else:
            expected = f"-2, -1 or a neuron in 0..{M - 1} that its path has not split"
            raise CertificateError(f"splits: expected {expected}, got {r:g} at node {position}")
    if pending:
        raise CertificateError(f"splits: the tree of target {pending[-1].target} is not complete")
    return walk
