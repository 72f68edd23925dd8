"""Hand-derived gradients of the loss and of the outputs (E11, E12)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl.losses import loss_and_derivative
from refimpl.network import TwoLayerReLU, relu_derivative


@dataclass(frozen=True, eq=False)
class Gradients:
    """dL/dW (M,d) and dL/db (M,), the latter None for a network without biases."""

    W: Array
    b: Array | None


def loss_and_gradients(
    net: TwoLayerReLU, x: ArrayLike, targets: ArrayLike
) -> tuple[float, Gradients]:
    """Mean loss over the rows of x and its gradient in the hidden layer.

    K = 1: L = (1/n) sum_i log(1 + exp(-y_i f(x_i))).
    K > 1: L = -(1/n) sum_i log softmax(F(x_i))_{y_i}.

    Parameters
    ----------
    net : TwoLayerReLU
    x : (n,d) array
    targets : (n,) array
        K = 1: labels in {-1, +1}; K > 1: class integers 0..K-1.

    Returns
    -------
    loss : float
    gradients : Gradients
        W (M,d), b (M,) or None. A and c are not trained.

    Raises
    ------
    ValueError
        Shapes, values or targets that do not fit the network.

    Notes
    -----
    Source: E8 to E11. A neuron at exactly z = 0 contributes nothing, ReLU'(0) = 0.

    Examples
    --------
    >>> net = TwoLayerReLU([[1.0, 0.0]], [0.0], [[2.0]])
    >>> loss, grad = loss_and_gradients(net, [[0.5, 3.0]], [1])
    >>> p = 1 / (1 + np.exp(1.0))  # sigmoid(-f), f = 1
    >>> np.allclose(grad.W, [[-2 * p * 0.5, -2 * p * 3.0]]), np.allclose(grad.b, -2 * p)
    (True, True)
    """
    check.instance("net", net, TwoLayerReLU)
    x = check.real_array("x", x, ("n", net.dim))
    y = check_targets(targets, len(x), net.n_outputs)
    z = net.preactivations(x)
    loss, hidden = hidden_gradient(net, z, y)
    check.representable("x", "the loss", np.array(loss))
    bias = None if net.b is None else hidden.sum(axis=0)
    with np.errstate(all="ignore"):
        W = hidden.T @ x  # (E11)
    check.representable("x", "the gradient", W)
    return loss, Gradients(W, bias)


def hidden_gradient(net: TwoLayerReLU, z: Array, y: IntArray) -> tuple[float, Array]:
    """Loss and G = (dL/dF A) * 1[Z > 0] (n,M), from preactivations Z = z (n,M).

    Of the network A and c alone are read: z may be that of other W and b, as it is in training.
    """
    loss, derivative = loss_and_derivative(net.readout(z), y)
    return loss, (derivative @ net.A) * relu_derivative(z)  # (E11)


def input_gradient(net: TwoLayerReLU, x: ArrayLike, cotangent: ArrayLike) -> Array:
    """Gradient of <v, F(x)> with respect to x, row by row.

    Parameters
    ----------
    net : TwoLayerReLU
    x : (n,d) array
    cotangent : (K,) or (n,K) array
        v, one for all rows or one for each.

    Returns
    -------
    (n,d) array
        W^T (1[W x + b > 0] * A^T v).

    Raises
    ------
    ValueError
        Bad shapes or values, or a gradient that overflows.

    Notes
    -----
    Source: E12.

    Examples
    --------
    >>> net = TwoLayerReLU([[1.0, 2.0], [3.0, 4.0]], [0.0, -100.0], [[5.0, 6.0]])
    >>> input_gradient(net, [[1.0, 1.0]], [1.0]).tolist()
    [[5.0, 10.0]]
    """
    check.instance("net", net, TwoLayerReLU)
    x = check.real_array("x", x, ("n", net.dim))
    v = check.per_row("cotangent", cotangent, len(x), (net.n_outputs,))
    with np.errstate(over="ignore", invalid="ignore"):
        gradient = (relu_derivative(net.preactivations(x)) * (v @ net.A)) @ net.W  # (E12)
    check.representable("cotangent", "the gradient", gradient)
    return gradient


def check_targets(targets: ArrayLike, n: int, n_outputs: int) -> IntArray:
    """Training labels (n,): in {-1, +1} for K = 1, class integers for K > 1."""
    if n_outputs == 1:
        return check.signs("targets", targets, n)
    return check.classes("targets", targets, n, n_outputs)
