"""Exact linear algebra of the checker against fractions."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from refimpl.certificate import integers
from refimpl.certificate.integers import Bordered, LimitError, Limits


@examples(50)
@given(seed=st.integers(0, 2**32 - 1))
def test_products_are_those_of_python_s_integers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, inner, m = rng.integers(10, 40, 3)
    bits = int(rng.integers(1, 400))
    X, Y = (
        np.array([[int(v) * 2**bits + int(w) for v, w in row] for row in values], dtype=object)
        for values in (
            rng.integers(-(2**62), 2**62, (*shape, 2)) for shape in ((n, inner), (inner, m))
        )
    )
    assert np.array_equal(integers.product(X, Y), X @ Y)


def test_products_of_the_largest_digits_are_exact() -> None:
    for inner in (1, 2, 3, 64, 1000):
        X = np.full((70, inner), 2**52 - 1, dtype=object)
        assert np.array_equal(integers.product(X, X.T), X @ X.T)


@examples(50)
@given(seed=st.integers(0, 2**32 - 1))
def test_floats_are_integers_over_a_power_of_two(seed: int) -> None:
    rng = np.random.default_rng(seed)
    array = np.append(rng.normal(size=5) * 2.0 ** rng.integers(-1000, 1000, 5), [0.0, 5e-324])
    numbers, shift = integers.of_floats(array)
    assert [Fraction(n, 2**shift) for n in numbers] == [Fraction(value) for value in array]


def gram(rng: np.random.Generator, n: int) -> Any:
    """A positive definite matrix of small integers, or a singular one."""
    root = rng.integers(-3, 4, (n, n + int(rng.integers(-1, 2)))).astype(object)
    return root @ root.T


@examples(100)
@given(seed=st.integers(0, 2**32 - 1))
def test_e35_signs_of_schur_complements_are_exact(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(1, 6)), int(rng.integers(1, 4))
    block, sides = gram(rng, n), rng.integers(-4, 5, (m, n)).astype(object)
    scale, shift = (int(value) for value in rng.integers(0, 9, 2))
    complements = schur(block, scale, sides, shift)
    # At, just above and just below the value where the sign turns.
    steps = [Fraction(int(rng.integers(-1, 2)), 2 ** int(rng.choice([1, 60, 200]))) for _ in sides]
    if complements is None:
        matrices = Bordered(block, scale, sides, shift, steps)
        assert integers.schur_signs(matrices) is None
        assert integers.eliminate(matrices) is None
        return
    # beta has to be dyadic: scaled by the determinant's odd part, if need be.
    betas = [c + step for c, step in zip(complements, steps, strict=True)]
    odd = 1
    for beta in betas:
        denominator = beta.denominator
        odd = np.lcm(odd, denominator // (denominator & -denominator))
    sides, betas = sides * int(odd), [beta * int(odd) ** 2 for beta in betas]
    want = [(step > 0) - (step < 0) for step in steps]
    matrices = Bordered(block, scale, sides, shift, betas)
    assert integers.schur_signs(matrices) == want
    assert integers.eliminate(matrices) == want


def schur(block: Any, scale: int, sides: Any, shift: int) -> list[Fraction] | None:
    """h^T C^-1 h for each side h, or None where C is not positive definite."""
    n = len(block)
    rows = [[Fraction(int(v), 2**scale) for v in row] for row in block]
    right = [[Fraction(int(v), 2**shift) for v in side] for side in sides]
    rows = [row + [side[i] for side in right] for i, row in enumerate(rows)]
    for k in range(n):
        if rows[k][k] <= 0:
            return None
        for i in range(k + 1, n):
            factor = rows[i][k] / rows[k][k]
            rows[i] = [a - factor * b for a, b in zip(rows[i], rows[k], strict=True)]
    return [
        sum((rows[k][n + j] ** 2 / rows[k][k] for k in range(n)), Fraction(0))
        for j in range(len(sides))
    ]


@pytest.mark.parametrize("gap", [Fraction(1, 2**100), Fraction(0), Fraction(-1, 2**100)])
def test_e35_matrices_that_are_nearly_singular_are_decided_exactly(gap: Fraction) -> None:
    # C = [[1, 1], [1, 1 + gap]]: floats see a singular matrix.
    block = np.array([[1, 1], [1, 1]], dtype=object) * 2**100
    block[1, 1] += int(gap * 2**100)
    matrices = Bordered(block, 100, np.array([[0, 0]], dtype=object), 0, [Fraction(1)])
    assert integers.schur_signs(matrices) == ([1] if gap > 0 else None)


def test_elimination_is_refused_where_its_integers_would_be_too_long() -> None:
    # As above: entries of 101 bits, and det C = 2^-100 at 2^-200.
    block = np.array([[1, 1], [1, 1]], dtype=object) * 2**100
    block[1, 1] += 1
    matrices = Bordered(block, 100, np.array([[0, 0]], dtype=object), 0, [Fraction(1)])
    assert integers.schur_signs(matrices, Limits(bits=303)) == [1]
    with pytest.raises(LimitError):
        integers.schur_signs(matrices, Limits(bits=302))
