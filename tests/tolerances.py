"""Every tolerance of the tests, each with its derivation. None was tuned until a test passed.

u is the unit roundoff of float64, 2^-53. gamma(n) = n u / (1 - n u) bounds the relative error of a sum
or dot product of n terms against the sum of the terms' absolute values (Higham, *Accuracy and Stability
of Numerical Algorithms*, 2nd ed., section 3.1).
"""

from __future__ import annotations

U = 2.0**-53


def gamma(n: int) -> float:
    """Relative error bound of a float64 dot product of length n, in any order of summation."""
    return n * U / (1 - n * U)
