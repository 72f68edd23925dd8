"""Networks in exact rational arithmetic: the independent route of several tests."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal, localcontext
from fractions import Fraction

Vector = list[Fraction]
Matrix = list[Vector]


def vector(values: Sequence[float]) -> Vector:
    """The floats themselves, as fractions."""
    return [Fraction(float(value)) for value in values]


def matrix(rows: Sequence[Sequence[float]]) -> Matrix:
    """Rows of floats as fractions."""
    return [vector(row) for row in rows]


def dot(u: Vector, v: Vector) -> Fraction:
    """<u, v>."""
    return sum((p * q for p, q in zip(u, v, strict=True)), Fraction(0))


def outputs(W: Matrix, b: Vector, A: Matrix, c: Vector, x: Vector) -> Vector:
    """A ReLU(W x + b) + c for one input x (d,)."""
    hidden = [max(dot(w, x) + bias, Fraction(0)) for w, bias in zip(W, b, strict=True)]
    return [dot(row, hidden) + offset for row, offset in zip(A, c, strict=True)]


def loss(F: Vector, target: int) -> Fraction:
    """Logistic loss (K = 1, target -1 or +1) or cross-entropy (target a class), to 60 digits."""
    with localcontext(prec=60):
        scores = [Decimal(f.numerator) / Decimal(f.denominator) for f in F]
        if len(scores) == 1:
            return Fraction((1 + (-target * scores[0]).exp()).ln())
        return Fraction(sum(score.exp() for score in scores).ln() - scores[target])
