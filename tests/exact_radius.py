"""The robust radius of tiny networks by enumeration in rational arithmetic, and full certificates.

Every activation pattern of every target is a polyhedron {delta : a_j delta + k_j <= 0}. Its point
nearest to 0 is found by trying every set of active constraints for the optimality conditions of
Karush, Kuhn and Tucker; that there is none by trying every set for Farkas' lemma. The multipliers
that prove either are those of a certificate that splits every neuron.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product
from typing import Any, NamedTuple

import numpy as np
from exact import Matrix, Vector, dot, matrix, vector

from refimpl import GroupMax, GroupSum, TwoLayerReLU
from refimpl.certificate import Certificate


class Nearest(NamedTuple):
    """Squared distance of a polyhedron from 0 (None: empty) and multipliers that prove it."""

    squared: Fraction | None
    multipliers: Vector


def nearest(a: Matrix, k: Vector, strict: int = 0) -> Nearest:
    """Solve min ||delta||^2 subject to a_j delta + k_j <= 0, below 0 for the first `strict`."""
    rows = range(len(a))
    gram = [[dot(a[i], a[j]) for j in rows] for i in rows]
    found = None
    for active in (set_ for n in range(len(a[0]) + 2) for set_ in combinations(rows, n)):
        solution, null = _eliminate([[gram[i][j] for j in active] + [k[i]] for i in active])
        if null is not None:
            ray = _expand(null, active, len(a))
            if min(ray) < 0:
                ray = [-value for value in ray]
            level = dot(ray, k)
            if min(ray) >= 0 and (level > 0 or (level == 0 and any(ray[:strict]))):
                return Nearest(None, ray)
        elif solution is not None and found is None and min(solution, default=0) >= 0:
            multipliers = _expand(solution, active, len(a))
            delta = [-dot(multipliers, [row[j] for row in a]) for j in range(len(a[0]))]
            if all(dot(row, delta) + level <= 0 for row, level in zip(a, k, strict=True)):
                found = Nearest(dot(delta, delta), multipliers)
        if found is not None and not strict:
            return found
    assert found is not None, "a polyhedron has a nearest point, or Farkas' lemma shows it empty"
    return found


def _expand(values: Vector, active: tuple[int, ...], n: int) -> Vector:
    full = [Fraction(0)] * n
    for index, value in zip(active, values, strict=True):
        full[index] = value
    return full


def _eliminate(rows: Matrix) -> tuple[Vector | None, Vector | None]:
    """Solution of the square system [G | k] if G is regular, or the kernel of G if it is a line."""
    rows, n = [row[:] for row in rows], len(rows)
    pivots: list[int] = []
    for column in range(n):
        top = len(pivots)
        pivot = next((i for i in range(top, n) if rows[i][column] != 0), None)
        if pivot is None:
            continue
        rows[top], rows[pivot] = rows[pivot], rows[top]
        rows[top] = [value / rows[top][column] for value in rows[top]]
        for i in range(n):
            if i != top and rows[i][column] != 0:
                factor = rows[i][column]
                rows[i] = [p - factor * q for p, q in zip(rows[i], rows[top], strict=True)]
        pivots.append(column)
    if len(pivots) == n:
        return [row[-1] for row in rows], None
    if len(pivots) < n - 1:
        return None, None
    free = next(column for column in range(n) if column not in pivots)
    kernel = [Fraction(0)] * n
    kernel[free] = Fraction(1)
    for row, column in zip(rows, pivots, strict=False):
        kernel[column] = -row[free]
    return None, kernel


def constraint_rows(y: int, decision: Any, K: int) -> list[list[list[int]]]:
    """For each target the rows D with D F <= 0 for adversarial outputs F."""
    if decision == "sign":
        return [[[y]]]
    if isinstance(decision, GroupSum):
        return [[[y * int(label) for label in decision.labels]]]
    groups = decision.labels.tolist() if isinstance(decision, GroupMax) else list(range(K))
    targets = []
    for t in range(K):
        if groups[t] == y:
            continue
        rows = []
        for i in range(K):
            if groups[i] == y:
                row = [0] * K
                row[i], row[t] = 1, -1
                rows.append(row)
        targets.append(rows)
    return targets


def polyhedron(
    net: TwoLayerReLU, x: Any, rows: list[list[int]], phase: tuple[int, ...]
) -> tuple[Matrix, Vector]:
    """Rows a (J,d), k (J,) of the adversarial points of one target on one pattern (on is 1)."""
    W, A, c = matrix(net.W), matrix(net.A), vector(net.c)
    z = [dot(w, vector(x)) + b for w, b in zip(W, vector(net.bias), strict=True)]
    a, k = [], []
    for row in rows:
        D = [Fraction(value) for value in row]
        alpha = [
            dot(D, [output[r] for output in A]) if phase[r] > 0 else Fraction(0)
            for r in range(len(W))
        ]
        a.append([dot(alpha, [w[j] for w in W]) for j in range(len(W[0]))])
        k.append(dot(D, c) + dot(alpha, z))
    a += [[-sign * value for value in w] for sign, w in zip(phase, W, strict=True)]
    k += [-sign * value for sign, value in zip(phase, z, strict=True)]
    return a, k


def pieces(
    net: TwoLayerReLU, x: Any, y: int, decision: Any = "sign", ties: str = "adversarial"
) -> list[list[tuple[tuple[int, ...], Nearest]]]:
    """For each target and each activation pattern (on first) the nearest point of the piece."""
    result = []
    for rows in constraint_rows(y, decision, net.n_outputs):
        of_target = []
        for phase in product((1, -1), repeat=net.n_hidden):
            a, k = polyhedron(net, x, rows, phase)
            of_target.append((phase, nearest(a, k, len(rows) if ties == "robust" else 0)))
        result.append(of_target)
    return result


def squared_radius(parts: list[list[tuple[tuple[int, ...], Nearest]]]) -> Fraction | None:
    """r^2 of the pieces, None for inf."""
    squares = [near.squared for of_target in parts for _, near in of_target]
    return min((square for square in squares if square is not None), default=None)


def full_certificate(parts: list[list[tuple[tuple[int, ...], Nearest]]]) -> Certificate:
    """The certificate that splits every neuron of every target, from the multipliers."""
    M = len(parts[0][0][0])

    def tree(r: int) -> list[int]:
        return [-1] if r == M else [r, *tree(r + 1), *tree(r + 1)]

    leaves = [leaf for of_target in parts for leaf in of_target]
    multipliers = np.array([_floats(near.multipliers) for _, near in leaves])
    n_constraints = multipliers.shape[1] - M
    on = np.array([phase for phase, _ in leaves]) > 0
    return Certificate(
        splits=np.array(tree(0) * len(parts)),
        weights=multipliers[:, :n_constraints],
        tau=on.astype(float),
        nu=multipliers[:, n_constraints:],
    )


def _floats(values: Vector) -> list[float]:
    """Floats in proportion to the values; integers where they fit, so that no sum is rounded."""
    scale = np.lcm.reduce([value.denominator for value in values], dtype=object)
    largest = max(abs(value) for value in values) * scale
    if largest > 2**53:
        scale = 1 / max(abs(value) for value in values)
    return [float(value * scale) for value in values]
