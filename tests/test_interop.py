"""Networks from other frameworks: light stand-ins everywhere, the frameworks where installed."""

from __future__ import annotations

import numpy as np
import pytest
from tolerances import gamma, output_error

from refimpl import TwoLayerReLU, interop


def stand_in(kind, **attributes):
    """An object whose class is called `kind`, with these attributes."""
    return type(kind, (), attributes)()


class Tensor:
    """A tensor as far as interop looks: it must be detached and moved before NumPy sees it."""

    def __init__(self, values, dtype=np.float32, *, ready=False):
        self.values, self.dtype, self.ready = values, dtype, ready

    def detach(self):
        return self

    def cpu(self):
        return Tensor(self.values, self.dtype, ready=True)

    def numpy(self):
        if not self.ready or self.dtype == "bfloat16":
            raise TypeError("can't convert")
        return np.asarray(self.values, self.dtype)


def linear(weight, bias=None, dtype=np.float32):
    return stand_in(
        "Linear",
        weight=Tensor(weight, dtype),
        bias=None if bias is None else Tensor(bias, dtype),
    )


class Sequential(list):
    """Iterates over its layers, as the original does."""


RELU, DROPOUT = stand_in("ReLU"), stand_in("Dropout")
FLATTEN = stand_in("Flatten", start_dim=1, end_dim=-1)
FIRST, LAST = linear([[0.1, 2.0]], [0.5]), linear([[3.0]], [-1.0])


@pytest.mark.parametrize(
    "module",
    [
        Sequential([FIRST, RELU, LAST]),
        Sequential([FLATTEN, FIRST, RELU, DROPOUT, LAST, DROPOUT]),
        Sequential([Sequential([FLATTEN, FIRST]), Sequential([RELU, Sequential([LAST])])]),
    ],
    ids=["plain", "passed over", "nested"],
)
def test_torch_sequentials(module):
    net = interop.from_torch(module)
    assert net.W.tolist() == [[float(np.float32(0.1)), 2.0]]  # float32 values exactly
    assert (net.b.tolist(), net.A.tolist(), net.c.tolist()) == ([0.5], [[3.0]], [-1.0])


def test_torch_layers_without_biases():
    net = interop.from_torch(Sequential([linear([[1.0]]), RELU, linear([[2.0]])]))
    assert net.b is None
    assert net.c.tolist() == [0.0]


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (FIRST, "module: expected a Sequential of Linear, ReLU, Linear, got Linear"),
        (None, "module: expected a Sequential of Linear, ReLU, Linear, got NoneType"),
        (Sequential(), "module: expected Linear, ReLU, Linear, got nothing"),
        (Sequential([FIRST, RELU]), "module: expected Linear, ReLU, Linear, got Linear, ReLU"),
        (Sequential([RELU]), r"module\[0\]: expected Linear, got ReLU"),
        (Sequential([stand_in("Conv2d")]), r"module\[0\]: expected Linear, got Conv2d"),
        (Sequential([FIRST, stand_in("GELU")]), r"module\[1\]: expected ReLU, got GELU"),
        (Sequential([FIRST, LAST]), r"module\[1\]: expected ReLU, got Linear"),
        (
            Sequential([FIRST, RELU, LAST, RELU]),
            r"module\[3\]: expected no further layer, got ReLU",
        ),
        (
            Sequential([FIRST, Sequential([DROPOUT, stand_in("Tanh")])]),
            r"module\[1\]\[1\]: expected ReLU, got Tanh",
        ),
        (
            Sequential([stand_in("Flatten", start_dim=0, end_dim=-1)]),
            r"module\[0\]: expected Flatten of all but the first axis, got Flatten\(0, -1\)",
        ),
        (
            Sequential([linear([[1.0]], dtype="bfloat16"), RELU, LAST]),
            r"module\[0\]\.weight: expected float16, float32 or float64, got bfloat16",
        ),
        (
            Sequential([FIRST, RELU, linear([[1.0, 2.0]])]),
            r"W and A: expected shapes \(M, d\) and \(K, M\), got \(1, 2\) and \(1, 2\)",
        ),
        (Sequential([linear([[np.nan]]), RELU, LAST]), "W: expected finite numbers, got nan"),
    ],
)
def test_torch_layers_refused_by_name(module, message):
    with pytest.raises(ValueError, match=f"^{message}$|^{message} at"):
        interop.from_torch(module)


def classifier(**changes):
    attributes = {
        "activation": "relu",
        "out_activation_": "logistic",
        "coefs_": [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [-6.0]])],
        "intercepts_": [np.array([0.5, -0.5]), np.array([7.0])],
    }
    return stand_in("MLPClassifier", **(attributes | changes))


def scaler(mean, scale, *, with_mean=True, with_std=True):
    return stand_in(
        "StandardScaler", mean_=mean, scale_=scale, with_mean=with_mean, with_std=with_std
    )


def pipeline(*steps):
    return stand_in("Pipeline", steps=[(f"step{i}", step) for i, step in enumerate(steps)])


def test_sklearn_weights_are_transposed():
    net = interop.from_sklearn(classifier())
    assert net.W.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert (net.A.tolist(), net.b.tolist(), net.c.tolist()) == ([[5.0, -6.0]], [0.5, -0.5], [7.0])


@pytest.mark.parametrize(
    ("step", "x", "standardised"),
    [
        (scaler([1.0, 2.0], [2.0, 4.0]), [[3.0, 10.0]], [[1.0, 2.0]]),
        (scaler([1.0, 2.0], [2.0, 4.0], with_mean=False), [[2.0, 8.0]], [[1.0, 2.0]]),
        (scaler([1.0, 2.0], None, with_std=False), [[2.0, 4.0]], [[1.0, 2.0]]),
        (scaler(None, None, with_mean=False, with_std=False), [[1.0, 2.0]], [[1.0, 2.0]]),
    ],
    ids=["both", "scale only", "mean only", "neither"],
)
def test_sklearn_scalers_are_folded_in(step, x, standardised):
    folded = interop.from_sklearn(pipeline(step, classifier()))
    plain = interop.from_sklearn(classifier())
    assert folded.outputs(x).tolist() == plain.outputs(standardised).tolist()


def test_sklearn_scalers_apply_in_their_order():
    twice = pipeline(scaler([1.0, 1.0], [2.0, 2.0]), scaler([3.0, 3.0], [1.0, 1.0]), classifier())
    # x = 9: (9 - 1)/2 = 4, then 4 - 3 = 1.
    expected = interop.from_sklearn(classifier()).outputs([[1.0, 1.0]])
    assert interop.from_sklearn(twice).outputs([[9.0, 9.0]]).tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (stand_in("MLPRegressor"), "an MLPClassifier, or a Pipeline that ends in it, got MLPReg"),
        (None, "an MLPClassifier, or a Pipeline that ends in it, got NoneType"),
        (pipeline(scaler([0.0], [1.0])), "an MLPClassifier, or .*, got StandardScaler"),
        (stand_in("MLPClassifier"), "a fitted MLPClassifier, got one without coefs_"),
        (classifier(activation="tanh"), "activation 'relu', got 'tanh'"),
        (classifier(coefs_=[0, 0, 0]), "one hidden layer, got 2"),
        (classifier(coefs_=[0]), "one hidden layer, got 0"),
        (
            classifier(coefs_=[np.eye(2), np.eye(2)]),
            r"one label a sample, got 2 labels \(multi-label targets\)",
        ),
        (pipeline(stand_in("PCA"), classifier()), "StandardScaler steps before .*, got PCA"),
        (
            pipeline(stand_in("StandardScaler"), classifier()),
            "a fitted StandardScaler, got one without scale_",
        ),
    ],
)
def test_sklearn_estimators_refused(estimator, message):
    with pytest.raises(ValueError, match=f"^estimator: expected {message}"):
        interop.from_sklearn(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("scaled", [False, True])
def test_sklearn_itself_agrees(n_classes, scaled):
    pytest.importorskip("sklearn", reason="scikit-learn is the other side of this comparison")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(n_classes)
    x = rng.normal(loc=3.0, scale=[1.0, 5.0, 0.2], size=(60, 3))
    y = np.array(["a", "b", "c"])[np.digitize(x[:, 0], [2.5, 3.5][: n_classes - 1])]
    estimator = MLPClassifier((7,), solver="lbfgs", alpha=1.0, max_iter=2000, random_state=0)
    model = (make_pipeline(StandardScaler(), estimator) if scaled else estimator).fit(x, y)
    net = interop.from_sklearn(model)
    F = net.outputs(x)
    if n_classes == 2:
        F = np.hstack([np.zeros_like(F), F])
    # log p_t - log p_0 = F_t - F_0, where probabilities keep a relative error of a few u.
    P = np.log(model.predict_proba(x))
    resolved = (P > -20).all(axis=1)
    assert resolved.sum() > 20
    bound = 4 * output_error(net, x).max(axis=1, keepdims=True) + gamma(100) * np.exp(20)
    difference = np.abs((P - P[:, :1]) - (F - F[:, :1]))
    assert (difference[resolved] <= bound[resolved]).all()
    predicted = net.predict(x, "sign" if n_classes == 2 else "argmax")
    index = (predicted + 1) // 2 if n_classes == 2 else predicted
    assert (model.classes_[index] == model.predict(x)).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_itself_agrees(dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is the other side of this comparison")
    torch.manual_seed(0)
    nn = torch.nn
    module = nn.Sequential(
        nn.Flatten(),
        nn.Sequential(nn.Linear(6, 9), nn.ReLU(inplace=True)),
        nn.Dropout(0.5),
        nn.Linear(9, 4, bias=False),
    ).to(getattr(torch, dtype))
    net = interop.from_torch(module)
    np.testing.assert_array_equal(net.W, module[1][0].weight.detach().double().numpy())
    x = torch.randn(20, 2, 3, dtype=getattr(torch, dtype))
    rows = x.reshape(20, 6).double().numpy()
    theirs = module.eval()(x).detach().double().numpy()
    unit = np.finfo(dtype).eps / 2 / 2.0**-53  # their roundoff in ours
    assert (np.abs(net.outputs(rows) - theirs) <= 2 * unit * output_error(net, rows)).all()


@pytest.mark.slow
def test_torch_itself_names_a_layer_that_does_not_fit():
    torch = pytest.importorskip("torch", reason="PyTorch is the other side of this comparison")
    nn = torch.nn
    with pytest.raises(ValueError, match=r"^module\[1\]: expected ReLU, got Sigmoid$"):
        interop.from_torch(nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Linear(2, 1)))
    half = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)).to(torch.bfloat16)
    with pytest.raises(ValueError, match=r"^module\[0\]\.weight: expected .*, got torch\.bfloat16"):
        interop.from_torch(half)


def test_results_are_networks():
    assert isinstance(interop.from_sklearn(classifier()), TwoLayerReLU)
