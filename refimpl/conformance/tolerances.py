"""Every bound on rounding that the claims allow, each derived; none was tuned until a check passed.

`unit` is the sum of the unit roundoffs of both sides: of the candidate's dtype, and of float64.
gamma(n) = n unit/(1 - n unit) bounds the error of a dot product of n terms, summed in any order or
in blocks, relative to the sum of the terms' sizes (Higham, *Accuracy and Stability of Numerical
Algorithms*, 2nd ed., section 3.1). The analysis runs along with the computation at the input at
hand: each quantity carries a bound of its own error, entry by entry, so that the bound is unit
roundoff times condition times size.

Where |z| is not above its own error, a neuron may be on for one side and off for the other; its
whole contribution is then part of the bound. Where a bound is of the size of the quantity itself it
is void, and the input is discarded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, ndtri

from refimpl._arrays import Array
from refimpl.conformance.adapter import discard_if
from refimpl.conformance.case import Case
from refimpl.network import TwoLayerReLU

FAR = 1e3  # distances beyond it count as infinite: rounding grows with the distance
VOID = 1 / 16  # a bound above this share of the quantity's natural size decides nothing


def gamma(n: int, unit: float) -> float:
    """Relative error of a dot product of n terms."""
    return n * unit / (1 - n * unit)


def exact(net: TwoLayerReLU, x: Array) -> bool:
    """Whether z and F are free of rounding, in any order of summation, even in float32.

    All entries are multiples of 1/8 and at most 8 in size: the products of two are multiples of
    1/64 and those of three of 1/512, and sums below 2^14 fit 24 bits with d, M <= 8 and small A.
    """
    arrays = (net.W, net.bias, net.A, net.c, x)
    if any(np.abs(a).max() > 8 or (8 * a != np.round(8 * a)).any() for a in arrays):
        return False
    size = (np.abs(x) @ np.abs(net.W).T + np.abs(net.bias)) @ np.abs(net.A).T + np.abs(net.c)
    return bool(size.max() < 2**14)


def preactivations(
    net: TwoLayerReLU, x: Array, unit: float, W_error: Any = 0.0, b_error: Any = 0.0
) -> tuple[Array, Array]:
    """z (n,M) and its error: d products and the bias, plus what the weights are off by."""
    z = net.preactivations(x)
    if exact(net, x) and not np.any(W_error):
        return z, np.zeros_like(z)
    size = np.abs(x) @ np.abs(net.W).T + np.abs(net.bias)
    carried = np.abs(x) @ np.broadcast_to(W_error, net.W.shape).T + b_error
    return z, gamma(net.dim + 2, unit) * (size + carried) + carried


def outputs(net: TwoLayerReLU, z: Array, z_error: Array, unit: float) -> tuple[Array, Array]:
    """F (n,K) and its error: ReLU is 1-Lipschitz, then M products and c."""
    hidden, size = np.maximum(z, 0), np.maximum(z + z_error, 0)
    carried = z_error @ np.abs(net.A).T
    rounding = gamma(net.n_hidden + 2, unit) * (size @ np.abs(net.A).T + np.abs(net.c))
    return hidden @ net.A.T + net.c, carried + rounding


def output_error(net: TwoLayerReLU, x: Array, unit: float) -> Array:
    """Error (n,K) of F at rows x."""
    return outputs(net, *preactivations(net, x, unit), unit)[1]


def misclassified(case: Case, unit: float) -> NDArray[np.bool_]:
    """Which samples (n,) a scalar network classifies wrongly, by more than rounding."""
    margin = case.y * case.net.outputs(case.x)[:, 0]
    return margin < -output_error(case.net, case.x, unit)[:, 0]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Loss and gradients at one point of a descent, the bounds of their errors, and sizes."""

    loss_error: float
    G: Array
    G_error: Array
    dW: Array  # noqa: N815 - the mathematics
    dW_error: Array  # noqa: N815
    db: Array
    db_error: Array
    void: bool


def evaluate(
    net: TwoLayerReLU, x: Array, y: Any, unit: float, W_error: Any = 0.0, b_error: Any = 0.0
) -> Evaluation:
    """Bound the errors of E8 to E11.

    The probability p that a row gives to the wrong side is expit(l), l = -y f or, for a class t,
    F_t - log sum_{s != t} exp(F_s). l is off by 2 max|dF|, and by (4 B + 2 K + 16) unit with
    B = max|F| from the shift by the maximum, the exponentials, their sum and the logarithm
    (Blanchard, Higham and Higham, *Accurately computing the log-sum-exp and softmax functions*,
    2021). So p is between expit(l - e) and expit(l + e), plus (K + 8) unit where it is 1 minus
    a quotient near 1. Where a softmax is an exponential of F - log-sum-exp it is off by its own
    size times the error of the exponent, also for the own class, where dL/dF is softmax - 1.
    The loss -log(1 - p), whose derivative is p, is off by e expit(l + e) and, as a difference of a
    log-sum-exp and an output, by (4 B + 2 K + 16) unit.
    """
    z, z_error = preactivations(net, x, unit, W_error, b_error)
    F, F_error = outputs(net, z, z_error, unit)
    n, K = F.shape
    functions = (4 * np.abs(F).max(axis=1, keepdims=True) + 2 * K + 16) * unit
    e = 2 * F_error.max(axis=1, keepdims=True) + functions
    logits, sign = _logits(F, y)
    own = np.take_along_axis(logits, y[:, None], 1) if K > 1 else -sign * logits
    loss_error = (e * expit(e - own) + functions).mean() + gamma(n, unit) * np.logaddexp(
        0, -own
    ).mean()

    D = sign * expit(sign * logits) / n
    D_error = (expit(logits + e) - expit(logits - e) + (K + 8) * unit) / n
    D_error += (expit(logits) if K > 1 else np.abs(D) * n) * functions / n
    size = np.abs(D) @ np.abs(net.A)
    G = (D @ net.A) * (z > 0)
    G_error = (D_error @ np.abs(net.A) + gamma(K + 4, unit) * size) * (z + z_error > 0)
    G_error += (
        (np.abs(D @ net.A) + D_error @ np.abs(net.A)) * (np.abs(z) <= z_error) * (z_error > 0)
    )
    ax, total = np.abs(x), np.abs(G) + G_error
    dW_error = G_error.T @ ax + gamma(n + 1, unit) * (total.T @ ax)
    db_error = G_error.sum(axis=0) + gamma(n + 1, unit) * total.sum(axis=0)
    # The sum over samples of |dL/dF A| is at most max|A|.
    void = bool(db_error.max() > VOID * np.abs(net.A).max())
    return Evaluation(
        float(loss_error), G, G_error, G.T @ x, dW_error, G.sum(axis=0), db_error, void
    )


def _logits(F: Array, y: Any) -> tuple[Array, Array]:
    """Log odds of each output against the others, and the sign of dL/dF there."""
    if F.shape[1] == 1:
        return F, -y[:, None].astype(float)
    own = np.arange(F.shape[1]) == y[:, None]
    others = [logsumexp(np.delete(F, t, axis=1), axis=1) for t in range(F.shape[1])]
    return F - np.stack(others, axis=1), np.where(own, -1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Descent:
    """Bounds of the errors of W, b and the losses after a descent; C (n,M) and its own."""

    W: Array
    b: Array
    losses: Array
    C: Array
    C_error: Array


def descent(case: Case, unit: float) -> Descent:
    """Bound the errors of E13 and E14 along the trajectory; discards where a step's bound is void.

    A step adds eta times the gradient's error, and rounds eta, the product and the difference. The
    weights' errors so far enter the next preactivations: nothing else couples the steps.
    """
    net, learning_rate = case.net, case.learning_rate
    W_error, b_error = np.zeros(net.W.shape), np.zeros(net.n_hidden)
    C, C_error = np.zeros((2, len(case.x), net.n_hidden))
    losses = np.empty(case.steps + 1)
    for step in range(case.steps + 1):
        here = evaluate(net, case.x, case.targets, unit, W_error, b_error)
        losses[step] = here.loss_error
        if step == case.steps:
            break
        discard_if(here.void)
        W, b = net.W - learning_rate * here.dW, net.bias - learning_rate * here.db
        C = C - learning_rate * here.G
        W_error = W_error + _moved(learning_rate, here.dW, here.dW_error, W, unit)
        b_error = b_error + _moved(learning_rate, here.db, here.db_error, b, unit)
        C_error = C_error + _moved(learning_rate, here.G, here.G_error, C, unit)
        net = TwoLayerReLU(W, b, net.A, net.c)
    return Descent(W_error, b_error, losses, C, C_error)


def _moved(learning_rate: float, gradient: Array, error: Array, moved: Array, unit: float) -> Array:
    return learning_rate * (error + 3 * unit * np.abs(gradient)) + 2 * unit * np.abs(moved)


def coefficients(case: Case, C: Array, C_error: Array, unit: float) -> tuple[Array, Array]:
    """Errors of lambda (M,k) and sigma (M,n) of E15, from C (n,M) and its error.

    lambda: n_j terms times a square of d terms. sigma: xi rounds with size |x| + |mu|, and its
    square is off by twice that times |xi|.
    """
    x, features = case.x, case.features
    member = np.eye(len(features))[case.cluster]
    n, d = x.shape
    total = np.abs(C) + C_error
    squares = np.square(features).sum(axis=1)
    of_feature = squares * (C_error.T @ member + gamma(n + d + 3, unit) * (total.T @ member))
    xi = x - features[case.cluster]
    xi_error = unit * (np.abs(x) + np.abs(features[case.cluster]))
    square_error = (2 * np.abs(xi) * xi_error + np.square(xi_error)).sum(axis=1)
    square_error += gamma(d + 3, unit) * np.square(xi).sum(axis=1)
    of_noise = np.square(xi).sum(axis=1) * C_error.T + square_error * total.T
    return of_feature, of_noise


def decomposition(case: Case, unit: float) -> tuple[Array, Array]:
    """Errors of lambda (M,k) and sigma (M,n) of E15 after a descent."""
    found = descent(case, unit)
    return coefficients(case, found.C, found.C_error, unit)


def input_gradient(case: Case, unit: float) -> Array:
    """Error (n,d) of W^T (H * A^T v): products of length K, then M, and neurons near a kink."""
    net = case.net
    z, z_error = preactivations(net, case.x, unit)
    size = np.abs(case.cotangent) @ np.abs(net.A)
    unsure = size * (np.abs(z) <= z_error) * (z_error > 0)
    discard_if((unsure.sum(axis=1) > VOID * size.sum(axis=1)).any())
    on = size * (z + z_error > 0)
    return (unsure + gamma(net.n_outputs + net.n_hidden + 2, unit) * on) @ np.abs(net.W)


def closed_form(case: Case, unit: float) -> Array:
    """Error (n,d) of x - eps y v/||v||: a sum of k features, a norm of d squares, two roundings.

    A change dv of v turns v/||v|| by at most 2 ||dv||/||v||.
    """
    v = case.labels @ case.features
    error = gamma(len(case.labels), unit) * np.abs(case.features).sum(axis=0)
    turn = 2 * float(np.linalg.norm(error)) / (float(np.linalg.norm(v)) or math.inf)
    discard_if(turn > VOID or not v.any())
    step = case.epsilon * (turn + gamma(len(v) + 6, unit))
    return 2 * unit * (np.abs(case.x) + case.epsilon) + step


def norm(d: int, unit: float) -> float:
    """Relative error of a norm of d entries, a quotient by it and a product or two."""
    return gamma(d + 6, unit)


def projection(case: Case, nearest: Array, unit: float) -> Array:
    """Error (n,d) of p = clip(s delta, low, high), the nearest point of an l2 ball and a box.

    ||p||^2 = epsilon^2, and s^2 D of it, D = ||delta||^2 over the free entries, is left by the
    clipped ones: s is off by gamma epsilon^2/(s D), and s delta by that times |delta|.
    """
    size = np.abs(case.delta)
    free = (nearest > case.box[0]) & (nearest < case.box[1]) & (size > 0)
    D = np.square(np.where(free, size, 0)).sum(axis=1, keepdims=True)
    s = np.where(free, np.abs(nearest) / np.where(size > 0, size, 1), 0).max(axis=1, keepdims=True)
    share = np.square(case.epsilon) / np.where(D > 0, s * D, np.inf)
    return norm(size.shape[1], unit) * size * (1 + share)


def shifted(case: Case, far: Array, unit: float, side: int) -> Case:
    """One sample, and a scalar network moved by its errors: towards robust (+1) or away (-1).

    What an implementation computes anywhere within |x'| <= far, entry by entry, are the outputs of
    a network with b off by gamma times |W| far + |b|, and A and c off by a relative gamma. y f is
    monotone in each of them, so that the first crossing of any implementation, along a ray or in
    any direction, lies between those of the two extremes. Zeros of A and c stay zeros: where a
    network is 0 because its neurons are off, so is every computed one. The room lo - x and hi - x
    that a box leaves is off by a relative unit, and less of it is towards robust.
    """
    net, y = case.net, int(case.y[0])
    helps = side * y * np.sign(net.A[0])
    size = np.abs(net.W) @ far + np.abs(net.bias)
    b = net.bias + helps * 2 * gamma(net.dim + 3, unit) * size
    A = net.A + side * y * 2 * gamma(net.n_hidden + 3, unit) * np.abs(net.A)
    moved = case.replace(b=b, A=A, c=net.c + side * y * 8 * unit * np.abs(net.c))
    if "box" in case:
        moved["box"] = case.x + (1 - side * 4 * unit) * (case.box - case.x)
    return moved


def cosine(d: int, unit: float) -> float:
    """Absolute error of a cosine: a dot product and two norms, each relative to 1 at most."""
    return gamma(3 * d + 8, unit)


def deviations(probability: float = 1e-9) -> float:
    """Bound, in standard deviations, what a sum of Gaussians exceeds with this probability.

    P(|g| > t) <= 2 exp(-t^2/2).
    """
    return math.sqrt(2 * math.log(2 / probability))


def uniform_distance(n: int, probability: float = 1e-9) -> float:
    """Bound of sup |empirical - true distribution function| for n draws.

    P(sup > e) <= 2 exp(-2 n e^2), the inequality of Dvoretzky, Kiefer, Wolfowitz and Massart.
    """
    return math.sqrt(math.log(2 / probability) / (2 * n))


def largest(n: int, probability: float = 1e-9) -> tuple[float, float]:
    """Between what the largest size of n Gaussians is: P(|g| > t)^n and n P(|g| > t) decide."""
    rare = -math.expm1(math.log(probability) / n), probability / n  # P(|g| > t) at the two ends
    return float(-ndtri(rare[0] / 2)), float(-ndtri(rare[1] / 2))


def chi_square(n: int, probability: float = 1e-9) -> float:
    """Bound of |chi^2_n/n - 1|: P(> 2 sqrt(t/n) + 2 t/n) <= 2 exp(-t), Laurent and Massart."""
    t = math.log(2 / probability)
    return 2 * math.sqrt(t / n) + 2 * t / n
