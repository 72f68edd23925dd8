"""scikit-learn's MLPClassifier, whose trained networks are two-layer ReLU networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import LabelBinarizer

from refimpl.conformance import Adapter


def estimator(W: Any, b: Any, A: Any, c: Any) -> MLPClassifier:
    """Fit nothing: put the weights where `fit` would."""
    model = MLPClassifier(hidden_layer_sizes=(len(W),), activation="relu")
    model.n_layers_, model.n_outputs_ = 3, len(A)
    model.coefs_, model.intercepts_ = [W.T, A.T], [b, c]
    model.classes_ = np.arange(len(A)) if len(A) > 1 else np.array([-1, 1])
    model.out_activation_ = "softmax" if len(A) > 1 else "logistic"
    model._label_binarizer = LabelBinarizer().fit(model.classes_)
    return model


class Sklearn(Adapter):
    """Predictions, and outputs as log odds; its losses carry a penalty and are not ours."""

    name = "sklearn"

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        model = estimator(W, b, A, c)
        model.out_activation_ = "identity"
        return model._forward_pass_fast(x, check_input=False)

    def predict(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return estimator(W, b, A, c).predict(x)
