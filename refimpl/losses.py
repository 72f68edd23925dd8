"""Losses of outputs F (n,K) and their derivatives dL/dF (E8 to E10)."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from refimpl._arrays import Array, IntArray


def logistic(f: Array, y: IntArray) -> tuple[float, Array]:
    """L = (1/n) sum_i log(1 + exp(-y_i f_i)) and dL/df (n,1), for f (n,1) and y (n,) in {-1,+1}.

    Stable for every finite f: no exponential of a positive number is formed.

    >>> loss, gradient = logistic(np.array([[0.0]]), np.array([1]))
    >>> round(loss, 6), gradient.tolist()
    (0.693147, [[-0.5]])
    """
    margin = y * f[:, 0]
    loss = np.logaddexp(0.0, -margin).mean()  # (E8)
    return float(loss), (-y / len(y) * expit(-margin))[:, None]  # (E9)


def cross_entropy(F: Array, y: IntArray) -> tuple[float, Array]:
    """L = -(1/n) sum_i log softmax(F_i)_{y_i} and dL/dF (n,K), for class integers y (n,).

    In differences D_t = F_t - F_y: L = log(1 + sum_{t != y} exp(D_t)), the logistic loss for K = 2,
    and as accurate where it is small.

    >>> loss, gradient = cross_entropy(np.array([[0.0, 0.0]]), np.array([1]))
    >>> round(loss, 6), gradient.tolist()
    (0.693147, [[0.5, -0.5]])
    """
    rows = np.arange(len(y))
    D = F - F[rows, y][:, None]
    D[rows, y] = -np.inf
    top = D.max(axis=1)
    others = top + np.log(np.exp(D - top[:, None]).sum(axis=1))  # log sum_{t != y} exp(D_t)
    loss = np.logaddexp(0.0, others)  # (E10)
    shift = np.maximum(top, 0.0)[:, None]
    gradient = np.exp(D - shift)
    gradient /= gradient.sum(axis=1, keepdims=True) + np.exp(-shift)
    gradient[rows, y] = -gradient.sum(axis=1)  # softmax_y - 1, without its cancellation
    return float(loss.mean()), gradient / len(y)


def loss_and_derivative(F: Array, y: IntArray) -> tuple[float, Array]:
    """Loss and dL/dF (n,K): logistic for K = 1, cross-entropy for K > 1."""
    return logistic(F, y) if F.shape[1] == 1 else cross_entropy(F, y)
