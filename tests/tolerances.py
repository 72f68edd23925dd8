"""Every tolerance of the tests, each with its derivation. None was tuned until a test passed.

u is the unit roundoff of float64, 2^-53. gamma(n) = n u / (1 - n u) bounds the relative error of a
sum or dot product of n terms against the sum of the terms' absolute values (Higham, *Accuracy and
Stability of Numerical Algorithms*, 2nd ed., section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from refimpl import TwoLayerReLU
from refimpl._arrays import Array
from refimpl.training import Trajectory

U = 2.0**-53


def gamma(n: int) -> float:
    """Relative error bound of a float64 dot product of length n, in any order of summation."""
    return n * U / (1 - n * U)


def logistic_error(f: float) -> float:
    """Relative error of log(1 + exp(-m)) and of sigmoid(-m), m = +-f exact.

    exp and log1p are within 4 ulps in the libraries that NumPy uses, and the sum, quotient and mean
    add a few roundings; no step magnifies a relative error (m itself is exact): 16 u in all.
    """
    return 16 * U


def cross_entropy_error(F: Iterable[float]) -> float:
    """Relative error of the loss and of every entry of its derivative for one row of outputs F.

    A difference D_t of outputs of size at most B, its shift by the maximum and the logarithm of the
    sum have absolute errors of (2 + 2 + 1) u 2B in the exponent, and the derivative is a quotient
    of two such terms: 20 B u; the functions, sums of K terms and quotients add (16 + 2K) u.
    """
    sizes = [abs(f) for f in F]
    return (20 * max(sizes) + 16 + 2 * len(sizes)) * U


# t* of the smallest step on dyadic problems: the outputs at the nodes are exact; subtraction,
# quotient, product and sum round once each, of terms >= 0, so the error is relative to t*.
CROSSING = 4 * U

# Relative resolution at which the two sides of t* are looked at, on networks with entries of size
# 1, d = 4, M = 12: room for outputs off by gamma(d + M + 2) times sums of 1e6 times the slope.
RAY = 1e6 * gamma(18)


# Smallest steps of networks of tenths, relative to 1 + t*: d <= 2, M <= 5 neurons, K <= 3 outputs,
# entries up to 0.4. The outputs at t are sums of terms of absolute sum at most 3 (1 + t), off by
# gamma(2 + 5 + 3 + 3) of that at either end of a piece; a slope is a multiple of 0.01 but for
# rounding, so that the crossing is off by at most 100 times both, and its own three roundings.
STEP_OF_TENTHS = 100 * 2 * 3 * gamma(16)


def descent(net: TwoLayerReLU, x: Array, learning_rate: float, steps: int) -> float:
    """Bound of the difference of W, b, C or a loss between two float64 runs of gradient descent.

    Any order of summation, weights or coefficients, rotated coordinates. With rows of norm at most
    s, the largest output weight a and the largest row sum o >= 1 of |A| (c is taken as at most 1
    in size): |C| <= c := 2 steps eta a / n, as dL/dF_i has 1-norm at most 2/n; |z| <= z0 + n (s^2
    + 1) c. A change of every z by e changes G by at most a o e / n, since softmax and sigmoid are
    1-Lipschitz from the maximum to the sum norm, and so the next z by eta (s^2 + 1) a o e: the
    growth of a step. A step rounds z, the output and G, in all like a change of z by 3 gamma |z|,
    gamma counting the terms of all its sums, twice in rotated coordinates. The two runs err in
    opposite directions: the factor 2. It holds as long as no z is so near 0 that the runs disagree
    on its sign, which Gaussian data does with a probability of the order of the bound itself.
    """
    n, d = x.shape
    row = max(1.0, float(np.linalg.norm(x, axis=1).max()))
    a = float(np.abs(net.A).max())
    o = max(1.0, float(np.abs(net.A).sum(axis=1).max()))
    unit = gamma(4 * (n + d) + net.n_hidden + net.n_outputs + 50)
    c = 2 * steps * learning_rate * a / n
    weights = float(np.linalg.norm(net.W, axis=1).max() + np.abs(net.bias).max())
    size = row * weights + n * (row**2 + 1) * c + 1
    growth = (1 + learning_rate * (row**2 + 1) * a * o) ** steps
    z_error = (steps + 1) * growth * 3 * unit * size
    c_error = steps * learning_rate * a / n * (o * z_error + 2 * unit) + unit * c
    w_error = n * row * (c_error + unit * c) + unit * weights
    return 2 * max(w_error, 2 * o * z_error)


def reconstruction(path: Trajectory, x: Array, features: Array, learning_rate: float) -> float:
    """Bound of |W - W(0) - sum_j lambda mu_j/|mu_j|^2 - sum_i sigma xi_i/|xi_i|^2| in float64.

    |C| <= c = 2 steps eta max|A| / n. W is a running sum of `steps` products over n rows, every
    lambda and sigma n terms times a square of d terms, the sum has k + n terms of at most n c
    max|mu| and n c max|xi|, |xi| <= |x| + |mu| in maximum norm; each weight's own size is rounded
    `steps` times.
    """
    steps, n = len(path.losses) - 1, len(x)
    c = 2 * steps * learning_rate * float(np.abs(path.network.A).max()) / n
    terms = n * c * 2 * float(np.abs(x).max() + np.abs(features).max())
    unit = gamma(steps + 2 * n + 2 * x.shape[1] + len(features) + 20)
    return unit * (steps + 1) * (float(np.abs(path.network.W).max()) + 2 * terms)


def output_error(net: TwoLayerReLU, x: Array) -> Array:
    """Absolute error (n,K) of float64 outputs A ReLU(W x + b) + c at rows x (n,d).

    gamma(d + 1) on the preactivations, then ReLU, which is 1-Lipschitz, then gamma(M + 1), each
    relative to the sums of absolute values: gamma(d + M + 2) in all (Higham, lemma 3.3).
    """
    size = np.abs(x) @ np.abs(net.W).T + np.abs(net.bias)
    return gamma(net.dim + net.n_hidden + 2) * (size @ np.abs(net.A).T + np.abs(net.c))


def input_gradient_error(net: TwoLayerReLU, v: Array) -> Array:
    """Absolute error (d,) or (n,d) of W^T (H * A^T v): dot products of length K, then M."""
    return gamma(net.n_outputs + net.n_hidden) * (np.abs(v) @ np.abs(net.A) @ np.abs(net.W))


def uniform_distance(n: int) -> float:
    """Bound of sup |empirical - true distribution function|, n draws, exceeded once in 1e9.

    P(sup > e) <= 2 exp(-2 n e^2), the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart.
    """
    return math.sqrt(math.log(2e9) / (2 * n))


def loss_error(net: TwoLayerReLU, x: Array, loss: float) -> float:
    """Absolute error of the mean loss at rows x (n,d).

    Both losses are 2-Lipschitz in the maximum norm of F, |softmax - onehot|_1 <= 2; the relative
    error of the loss functions and of the mean comes on top.
    """
    of_functions = max(cross_entropy_error(row) for row in net.outputs(x)) + gamma(len(x))
    return 2 * float(output_error(net, x).max()) + of_functions * loss


def parameter_gradient_error(net: TwoLayerReLU, x: Array) -> tuple[Array, Array]:
    """Absolute errors of dL/dW (M,d) and dL/db (M,).

    |dL/dF| <= 1/n, and its error is at most that of F (softmax is 1-Lipschitz in the maximum norm)
    plus that of the loss functions; then dot products of length K and n, and the division by n.
    """
    F = net.outputs(x)
    of_outputs = output_error(net, x).max(axis=1) + [cross_entropy_error(row) for row in F]
    error = (of_outputs + gamma(net.n_outputs + len(x) + 2)) / len(x)
    sensitivity = np.abs(net.A).sum(axis=0)[:, None]
    return sensitivity * (error @ np.abs(x)), sensitivity[:, 0] * error.sum()


TAYLOR_SLOPE = 0.01
"""Distance from 2 of log2(R(h) / R(h/2)), R = h^2 L''/2 + h^3 L'''/6 + ..., for h = 2^-12.

The slope is 2 + h L'''/(6 ln 2 L'') + ...: |L'''| < 100 |L''| gives 24 h < 0.006. Rounding of L
(1e-16 against R of about 1e-8) is smaller still.
"""


def increments(x: Array, steps: int) -> float:
    """Relative excess of the increments of C, lambda and sigma over their bounds.

    Each G has a few roundings, a lambda and a sigma n + d + 2; a difference of two values that are
    at most `steps` bounds in size rounds each of them by its unit.
    """
    return 2 * (steps + 1) * gamma(sum(x.shape) + 40)


QUADRATURE = 1e-12
"""Absolute error of the laws of E23 to E25.

16-point Gauss-Legendre on panels no longer than one standard deviation of a normal density leaves
(1/2)^33 / 32! f^(32) < 1e-20; the tails beyond 9 standard deviations hold 3e-19; special
functions of arguments up to thousands round to 1e-13, and weights of at most 1 are summed.
"""

ADAPTIVE = 1e-10
"""Absolute error of the adaptive quadratures and of SciPy's bivariate normal, asked for 1e-13."""

RADIUS = 1e-8
"""Relative difference of two exact radii: the solver's own tolerance of 1e-9, upper - lower against
upper, and the same again for the rounding of an enumeration whose proved gap is 1e-10.
"""


def radius_slack(net: TwoLayerReLU, x: Array) -> Array:
    """Absolute error (n,) of a radius so near 0 that z itself has rounded.

    z_r is off by gamma(d + 1) (|w_r| |x| + |b_r|), which moves the point where it is 0 by this over
    ||w_r||; as many neurons as there are add up, and the outputs' rounding comes on top: a factor
    of 4 M K covers networks whose gradients cancel no more than fourfold.
    """
    norms = np.linalg.norm(net.W, axis=1)
    norms[norms == 0] = np.inf
    size = (np.abs(x) @ np.abs(net.W).T + np.abs(net.bias)) / norms
    return gamma(net.dim + 1) * 4 * net.n_hidden * net.n_outputs * size.max(axis=1)


FORMULA = 1e-12
"""Relative error of a radius in closed form at features that are orthogonal only up to rounding.

<mu_i, mu_j>/d is off by less than gamma(3d + k^2) for d = 60, below 3e-14; p - q and the sum over
k = 6 features magnify it by less than 30.
"""

SCIP = 1e-5
"""Relative difference of a radius from SCIP's, asked for a gap of 1e-6 of the square.

SCIP meets constraints up to 1e-6: y f, whose slope at images is of the order of 1, and squares
alike, for radii of about 1.
"""


def folded_error(net: TwoLayerReLU, x: Array) -> Array:
    """Absolute error (n,K) of outputs into which normalisations were folded, and of the original.

    Both round 10 times as often as a plain network, and means, gains and scales of sizes between
    1e-2 and 10 for an input, a neuron and an output cancel at most 1e3-fold each in W, b, A and c,
    of which two can meet: 1e7 in all.
    """
    size = output_error(net, np.maximum(np.abs(x), 1.0))
    return 1e7 * (size + output_error(net, np.ones_like(x)).max())


def moved_weights(net: TwoLayerReLU, x: Array, epsilon: float, steps: int, rate: float) -> float:
    """Error of W(0) + C^T x + shift against W after adversarial training.

    Both sum the same products of a coefficient's change and a sample, moved by epsilon at most:
    over n samples and T steps, one a subtraction x' - x more. The changes of a neuron's
    coefficients in a step are rate max|A| 2/n at most each, the derivative of cross-entropy being
    below 2/n in l1, which bounds the sum of all terms.
    """
    moved = np.abs(x).max() + 2 * epsilon
    terms = np.abs(net.W).max() + steps * rate * np.abs(net.A).max() * 2 * moved
    return gamma(2 * (len(x) + steps) + 4) * terms
