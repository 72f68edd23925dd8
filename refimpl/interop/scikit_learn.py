"""Networks from scikit-learn. Estimators are duck-typed: it is not imported."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import softmax

from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl.interop.comparison import compared
from refimpl.interop.layers import Layer, Normalisation
from refimpl.network import TwoLayerReLU

_SCALERS = "StandardScaler, MinMaxScaler, MaxAbsScaler or RobustScaler"


def from_sklearn(estimator: Any) -> TwoLayerReLU:
    """Network of a fitted scikit-learn classifier with one hidden layer.

    Its outputs are the classifier's logits: F(x) before the logistic or softmax function. They are
    compared with the estimator's own ``predict_proba`` and ``predict`` at points of many scales.

    Parameters
    ----------
    estimator : MLPClassifier, or a Pipeline of scalers and it
        Fitted, with activation "relu" and exactly one hidden layer. Scalers (standard, min-max,
        max-abs, robust, "passthrough", pipelines of these) are folded into the network, which then
        takes raw inputs: radii are in raw units.

    Returns
    -------
    TwoLayerReLU
        Two classes: K = 1 for the decision "sign", where -1 stands for ``classes_[0]`` and +1 for
        ``classes_[1]``. More classes: K outputs for "argmax", class t being ``classes_[t]``.

    Raises
    ------
    ValueError
        Another estimator or step, a scaler that clips, not fitted, another activation or number of
        layers, a single class, multi-label targets; or the estimator computes something else than
        its weights say: the error has the point and the difference.

    Examples
    --------
    >>> from sklearn.neural_network import MLPClassifier  # doctest: +SKIP
    >>> model = MLPClassifier((20,)).fit(x, labels)  # doctest: +SKIP
    >>> net = refimpl.interop.from_sklearn(model)  # doctest: +SKIP
    >>> y = np.searchsorted(model.classes_, labels)  # classes of the network  # doctest: +SKIP
    >>> y = y if net.n_outputs > 1 else 2 * y - 1  # doctest: +SKIP
    """
    scalers, classifier = _steps(estimator)
    hidden, output = _layers(classifier)
    for scaler in reversed(scalers):
        hidden = hidden.after(_normalisation(scaler))
    return compared("estimator", hidden, output, _logits(estimator))


def _steps(estimator: Any) -> tuple[list[Any], Any]:
    """Scalers in their order, nested pipelines unpacked, and the last step."""
    if _kind(estimator) != "Pipeline":
        return [], estimator
    scalers = []
    *first, last = [step for _, step in estimator.steps]
    for step in first:
        inner, end = _steps(step)
        scalers += [it for it in (*inner, end) if it is not None and it != "passthrough"]
    inner, last = _steps(last)
    return scalers + inner, last


def _layers(classifier: Any) -> tuple[Layer, Layer]:
    if _kind(classifier) != "MLPClassifier":
        got = repr(classifier) if isinstance(classifier, str) else _kind(classifier)
        check.fail("estimator", "an MLPClassifier, or a Pipeline that ends in it", got)
    if not hasattr(classifier, "coefs_"):
        check.fail("estimator", "a fitted MLPClassifier", "one without coefs_")
    if classifier.activation != "relu":
        check.fail("estimator", "activation 'relu'", repr(classifier.activation))
    if len(classifier.coefs_) != 2:
        check.fail("estimator", "one hidden layer", len(classifier.coefs_) - 1)
    W, A = (np.asarray(coefficients).T for coefficients in classifier.coefs_)
    if classifier.out_activation_ == "logistic" and len(A) > 1:
        check.fail("estimator", "one label a sample", f"{len(A)} labels (multi-label targets)")
    if len(classifier.classes_) < 2:
        check.fail("estimator", "two classes or more", f"only {classifier.classes_[0]!r}")
    b, c = classifier.intercepts_
    return Layer.of("estimator: coefs_[0]", W, b), Layer.of("estimator: coefs_[1]", A, c)


def _normalisation(scaler: Any) -> Normalisation:
    """Return what a fitted scaler does to its inputs."""
    kind = _kind(scaler)
    if kind not in ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler"):
        check.fail("estimator", f"{_SCALERS} steps before the MLPClassifier", kind)
    if not hasattr(scaler, "scale_"):
        check.fail("estimator", f"a fitted {kind}", "one without scale_")
    if getattr(scaler, "clip", False):
        check.fail("estimator", f"a {kind} with clip=False", "clip=True, which is not affine")
    if kind == "MinMaxScaler":
        return Normalisation(gain=scaler.scale_, offset=scaler.min_)
    if kind == "StandardScaler":  # mean_ is there with_mean=False too
        mean = scaler.mean_ if scaler.with_mean else None
    else:
        mean = scaler.center_ if kind == "RobustScaler" else None
    return Normalisation(
        mean=0.0 if mean is None else mean,
        std=1.0 if scaler.scale_ is None else scaler.scale_,
    )


def _logits(estimator: Any) -> Callable[[Array], Array]:
    """Return the function x -> F(x) that the estimator computes before its last function.

    That last function saturates, and would hide much. A copy in which it is the identity gives F
    as its probabilities, in two columns, 1 - F and F, for two classes. Those of the estimator
    itself must be the logistic or softmax function of F at every point, and what it predicts the
    class of the largest of them.
    """
    twin = copy.deepcopy(estimator)
    last = _steps(twin)[1]
    binary = last.out_activation_ == "logistic"
    last.out_activation_ = "identity"

    def original(x: Array) -> Array:
        F = _probabilities(twin, x)[:, 1:] if binary else _probabilities(twin, x)
        logits = np.hstack([np.zeros_like(F), F]) if binary else F
        P = _probabilities(estimator, x)
        if P.shape != logits.shape or not np.abs(P - softmax(logits, axis=1)).max() <= _error(P):
            check.fail("estimator", "predict_proba to be the softmax of its outputs", "another")
        decides = hasattr(estimator, "predict")  # stand-ins may have probabilities alone
        if decides and not _most_probable(P, _quiet(estimator.predict, x), last.classes_):
            check.fail("estimator", "predict to give the most probable of classes_", "another")
        return F

    return original


def _error(P: Array) -> float:
    """Bound of the difference of two computations of a softmax P (n,K) from the same logits.

    exp(D), D <= 0, has an error of |D| u exp(D) <= u from the rounding of D and is within 4 ulps,
    the sum has K terms of at most 1 and is at least 1, the quotient rounds once; the logistic
    function as a softmax of (0, F), or its complement, adds two roundings: K + 10 for each side.
    """
    return 2 * (P.shape[1] + 10) * 2.0**-53


def _most_probable(P: Array, labels: Any, classes: Any) -> bool:
    """Whether each label is that class of which P (n,K) is largest, up to its rounding."""
    labels, classes = np.asarray(labels), np.asarray(classes)
    if labels.shape != (len(P),):
        return False
    largest = P.max(axis=1, keepdims=True) - P <= _error(P)
    return bool(((labels[:, None] == classes) & largest).any(axis=1).all())


def _probabilities(estimator: Any, x: Array) -> Array:
    return np.asarray(_quiet(estimator.predict_proba, x), np.float64)


def _quiet(method: Callable[[Array], Any], x: Array) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows have no names of features, which changes nothing
        return method(x)


def _kind(value: Any) -> str:
    return type(value).__name__
