"""Networks trained elsewhere, as `TwoLayerReLU`. Duck-typed: no other framework is imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl.network import TwoLayerReLU

_PASSED_OVER = ("Dropout", "Flatten")  # neither changes what F computes on rows x (n,d)


def from_sklearn(estimator: Any) -> TwoLayerReLU:
    """Network of a fitted scikit-learn classifier with one hidden layer.

    Its outputs are the classifier's logits: F(x) before the logistic or softmax function.

    Parameters
    ----------
    estimator : MLPClassifier, or a Pipeline of StandardScaler and it
        Fitted, with activation "relu" and exactly one hidden layer. The scaler is folded into the
        network (`TwoLayerReLU.fold_input`), which then takes raw inputs: radii are in raw units.

    Returns
    -------
    TwoLayerReLU
        Two classes: K = 1 for the decision "sign", where -1 stands for ``classes_[0]`` and +1 for
        ``classes_[1]``. More classes: K outputs for "argmax", class t being ``classes_[t]``.

    Raises
    ------
    ValueError
        Another estimator or step, not fitted, another activation or number of layers, or
        multi-label targets.

    Examples
    --------
    >>> class MLPClassifier:  # stands for the fitted estimator
    ...     activation, out_activation_ = "relu", "logistic"
    ...     coefs_ = [[[1.0, 2.0]], [[3.0], [-4.0]]]
    ...     intercepts_ = [[0.0, -1.0], [0.5]]
    >>> net = from_sklearn(MLPClassifier())
    >>> net.W.tolist(), net.outputs([[1.0]]).tolist()
    ([[1.0], [2.0]], [[-0.5]])
    """
    if _kind(estimator) == "Pipeline":
        *scalers, last = [step for _, step in estimator.steps]
        net = from_sklearn(last)
        for scaler in reversed(scalers):
            net = _fold_scaler(net, scaler)
        return net
    if _kind(estimator) != "MLPClassifier":
        check.fail("estimator", "an MLPClassifier, or a Pipeline that ends in it", _kind(estimator))
    if not hasattr(estimator, "coefs_"):
        check.fail("estimator", "a fitted MLPClassifier", "one without coefs_")
    if estimator.activation != "relu":
        check.fail("estimator", "activation 'relu'", repr(estimator.activation))
    if len(estimator.coefs_) != 2:
        check.fail("estimator", "one hidden layer", len(estimator.coefs_) - 1)
    W, A = (np.asarray(coefficients).T for coefficients in estimator.coefs_)
    if estimator.out_activation_ == "logistic" and len(A) > 1:
        check.fail("estimator", "one label a sample", f"{len(A)} labels (multi-label targets)")
    b, c = estimator.intercepts_
    return TwoLayerReLU(W, b, A, c)


def from_torch(module: Any) -> TwoLayerReLU:
    """Network of a PyTorch ``Sequential`` of Linear, ReLU, Linear.

    Parameters
    ----------
    module : torch.nn.Sequential
        Sequentials inside it are unpacked. Flatten (of all but the first axis) and Dropout are
        passed over: the network is the one that ``module.eval()`` computes. float32 parameters
        are taken exactly; outputs then differ from PyTorch's by the rounding of its float32 sums.

    Returns
    -------
    TwoLayerReLU
        b or c None where a Linear has no bias. The inputs are flattened rows.

    Raises
    ------
    ValueError
        Naming the first layer that does not fit, by index and type, and what was expected.

    Examples
    --------
    >>> from_torch([])
    Traceback (most recent call last):
    ValueError: module: expected a Sequential of Linear, ReLU, Linear, got list
    """
    if _kind(module) != "Sequential":
        check.fail("module", "a Sequential of Linear, ReLU, Linear", _kind(module))
    expected = ["Linear", "ReLU", "Linear"]
    found: list[tuple[str, Any]] = []
    for name, layer in _layers(module, "module"):
        wanted = expected[len(found)] if len(found) < 3 else "no further layer"
        if _kind(layer) != wanted:
            check.fail(name, wanted, _kind(layer))
        found.append((name, layer))
    if len(found) < 3:
        check.fail("module", "Linear, ReLU, Linear", ", ".join(expected[: len(found)]) or "nothing")
    (first, hidden), _, (last, output) = found
    W, b = _parameter(first, hidden, "weight"), _parameter(first, hidden, "bias")
    A, c = _parameter(last, output, "weight"), _parameter(last, output, "bias")
    return TwoLayerReLU(W, b, A, c)


def _fold_scaler(net: TwoLayerReLU, scaler: Any) -> TwoLayerReLU:
    if _kind(scaler) != "StandardScaler":
        check.fail("estimator", "StandardScaler steps before the MLPClassifier", _kind(scaler))
    if not hasattr(scaler, "scale_"):
        check.fail("estimator", "a fitted StandardScaler", "one without scale_")
    # with_mean=False still stores mean_, and with_std=False stores None.
    mean = scaler.mean_ if scaler.with_mean else 0.0
    std = scaler.scale_ if scaler.with_std else 1.0
    return net.fold_input(mean, std)


def _layers(module: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield the layers that compute, in order, each with a name such as ``module[1][0]``."""
    for index, layer in enumerate(module):
        label = f"{name}[{index}]"
        if _kind(layer) == "Sequential":
            yield from _layers(layer, label)
        elif _kind(layer) not in _PASSED_OVER:
            yield label, layer
        elif _kind(layer) == "Flatten" and (layer.start_dim, layer.end_dim) != (1, -1):
            got = f"Flatten({layer.start_dim}, {layer.end_dim})"
            check.fail(label, "Flatten of all but the first axis", got)


def _parameter(name: str, layer: Any, parameter: str) -> Any:
    """Return a layer's weight or bias as an array of its own precision, None if it has none."""
    tensor = getattr(layer, parameter)
    if tensor is None:
        return None
    try:
        return tensor.detach().cpu().numpy()
    except TypeError:  # NumPy has no such type
        check.fail(f"{name}.{parameter}", "float16, float32 or float64", tensor.dtype)


def _kind(value: Any) -> str:
    return type(value).__name__
