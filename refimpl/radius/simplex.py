"""Linear programs of few rows and many bounded columns, by the dual simplex method.

Source: the method of C. E. Lemke (1954) with the long steps of R. Fourer (1994): along a dual edge
the columns whose reduced costs change sign move to their other bounds, one after the other, for as
long as the dual objective rises. With k rows that takes about k steps, whatever the columns.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refimpl._arrays import Array, IntArray
from refimpl.radius.geometry import Flags

_FEASIBLE = 1e-12  # relative to the largest h: a basic variable may miss its bounds by that
_ZERO = 1e-11  # relative: entries of a tableau's row below it are 0 but for rounding


class Solved(NamedTuple):
    """Dual point u (k,) and primal point x (n,), None where u is a ray: there is no x."""

    u: Array
    x: Array | None


class Program:
    """min <cost, x> subject to A x >= h and lo <= x <= up, from a basis that is dual feasible.

    `basis` (k,) names columns, n + i for the slack of row i. A column of infinite bounds has to be
    among them.
    """

    def __init__(
        self, A: Array, h: Array, cost: Array, lo: Array, up: Array, basis: IntArray
    ) -> None:
        k, self.n = A.shape
        self.h, self.basis = h, basis.copy()
        self.columns = np.hstack((A, -np.eye(k)))
        self.cost = np.concatenate((cost, np.zeros(k)))
        self.lo = np.concatenate((lo, np.zeros(k)))
        self.up = np.concatenate((up, np.full(k, np.inf)))
        self.x = np.zeros(self.n + k)
        _, reduced = self.dual(self.inverse())
        self.x = np.where(reduced > 0, self.lo, np.where(reduced < 0, self.up, self.x))
        self.x[basis] = 0.0

    def inverse(self) -> Array:
        """Return the inverse of the basis."""
        return np.asarray(np.linalg.inv(self.columns[:, self.basis]), np.float64)

    def dual(self, inverse: Array) -> tuple[Array, Array]:
        """Return the dual point of the basis, and the reduced costs."""
        u = self.cost[self.basis] @ inverse
        reduced = self.cost - u @ self.columns
        reduced[self.basis] = 0.0
        return u, reduced

    def bound(self, lo: Array, up: Array) -> None:
        """Take other bounds of the columns, where they lie at them."""
        n = self.n
        at_lo, at_up = self.x[:n] == self.lo[:n], self.x[:n] == self.up[:n]
        self.x[:n] = np.where(at_lo, lo, np.where(at_up, up, self.x[:n]))
        self.lo[:n], self.up[:n] = lo, up
        self.x[self.basis] = 0.0

    def solve(self) -> Solved:
        """Step until every basic variable is within its bounds, or a limit is reached."""
        tolerance = _FEASIBLE * float(np.abs(self.h).max())
        for _ in range(50 + 10 * len(self.h)):
            inverse = self.inverse()
            u, reduced = self.dual(inverse)
            values = inverse @ (self.h - self.columns @ self.x)
            below = self.lo[self.basis] - values
            violation = np.maximum(below, values - self.up[self.basis])
            p = int(violation.argmax())
            if violation[p] <= tolerance:
                break
            sign = 1.0 if below[p] == violation[p] else -1.0
            if not self.step(p, sign, float(violation[p]), inverse[p], reduced):
                return Solved(-sign * inverse[p], None)
        x = self.x.copy()
        x[self.basis] = np.clip(values, self.lo[self.basis], self.up[self.basis])
        return Solved(u, x[: self.n])

    def step(self, p: int, sign: float, slope: float, row: Array, reduced: Array) -> bool:
        """Let basic variable p leave, at its lower bound if sign is 1; False on a ray."""
        alpha = sign * (row @ self.columns)
        alpha[self.basis] = 0.0
        moves: Flags = np.abs(alpha) > _ZERO * np.abs(alpha).max()
        end = np.where(alpha > 0, self.lo, self.up)
        moves &= self.x != end
        index = np.flatnonzero(moves)
        index = index[np.argsort(np.abs(reduced[index] / alpha[index]), kind="stable")]
        left = slope - np.cumsum(np.abs(alpha[index] * (end - self.x)[index]))
        last = int((left > _FEASIBLE * slope).sum())
        if last == len(index):
            return False
        self.x[index[:last]] = end[index[:last]]
        leaving = self.basis[p]
        self.x[leaving] = self.lo[leaving] if sign > 0 else self.up[leaving]
        self.basis[p] = index[last]
        self.x[index[last]] = 0.0
        return True
