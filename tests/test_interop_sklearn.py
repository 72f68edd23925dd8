"""Estimators of scikit-learn: stand-ins that compute everywhere, itself where installed."""

from __future__ import annotations

import numpy as np
import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from tolerances import gamma, output_error

from refimpl import TwoLayerReLU, interop

COEFS = [np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0], [-6.0]])]
INTERCEPTS = [np.array([0.5, -0.5]), np.array([7.0])]


class MLPClassifier:
    """What interop reads of a fitted classifier, and the classifier itself in ten lines."""

    def __init__(self, **changes):
        self.activation, self.out_activation_, self.classes_ = "relu", "logistic", [0, 1]
        self.coefs_, self.intercepts_ = COEFS, INTERCEPTS
        vars(self).update(changes)

    def predict_proba(self, x):
        (V, B), (b, c) = self.coefs_, self.intercepts_
        F = np.maximum(x @ V + b, 0) @ B + c
        if self.out_activation_ == "logistic":
            F = 0.5 + 0.5 * np.tanh(F / 2)
        if self.out_activation_ == "softmax":
            F = np.exp(F - F.max(axis=1, keepdims=True))
            F /= F.sum(axis=1, keepdims=True)
        return np.hstack([1 - F, F]) if F.shape[1] == 1 else F

    def predict(self, x):
        return np.asarray(self.classes_)[self.predict_proba(x).argmax(axis=1)]


class Scaler:
    """A fitted scaler that does `function`; `kind` names its class."""

    def __new__(cls, kind, function, **attributes):
        body = {"transform": lambda self, x: function(x), **attributes}
        return type(kind, (), body)()


class Pipeline:
    def __init__(self, *steps):
        self.steps = [(f"step{i}", step) for i, step in enumerate(steps)]

    def transform(self, x):
        for _, step in self.steps:
            x = x if step in ("passthrough", None) else step.transform(x)
        return x

    def predict_proba(self, x):
        return self.steps[-1][1].predict_proba(Pipeline.transform(self._first(), x))

    def predict(self, x):
        return self.steps[-1][1].predict(Pipeline.transform(self._first(), x))

    def _first(self):
        return Pipeline(*[step for _, step in self.steps[:-1]])


def standard(mean, scale, *, with_mean=True, with_std=True):
    m = np.array(mean) if with_mean else 0.0
    s = np.array(scale) if with_std else 1.0
    return Scaler(
        "StandardScaler",
        lambda x: (x - m) / s,
        mean_=mean,
        scale_=scale,
        with_mean=with_mean,
        with_std=with_std,
    )


MIN_MAX = Scaler(
    "MinMaxScaler", lambda x: x * [0.5, 2.0] + [1.0, -3.0], scale_=[0.5, 2.0], min_=[1.0, -3.0]
)
MAX_ABS = Scaler("MaxAbsScaler", lambda x: x / [4.0, 0.5], scale_=[4.0, 0.5])
ROBUST = Scaler(
    "RobustScaler", lambda x: (x - [1.0, 2.0]) / [2.0, 4.0], center_=[1.0, 2.0], scale_=[2.0, 4.0]
)
UNCENTRED = Scaler("RobustScaler", lambda x: x / [2.0, 4.0], center_=None, scale_=[2.0, 4.0])


def test_a_stand_in_needs_no_labels():
    kept = [name for name in vars(MLPClassifier) if name not in ("predict", "__dict__")]
    kind = type("MLPClassifier", (), {name: vars(MLPClassifier)[name] for name in kept})
    assert interop.from_sklearn(kind()).n_outputs == 1


def test_weights_are_transposed():
    net = interop.from_sklearn(MLPClassifier())
    assert net.W.tolist() == [[1.0, 3.0], [2.0, 4.0]]
    assert (net.A.tolist(), net.b.tolist(), net.c.tolist()) == ([[5.0, -6.0]], [0.5, -0.5], [7.0])


def test_more_classes_have_an_output_each():
    coefs, intercepts = [COEFS[0], np.eye(2, 3)], [INTERCEPTS[0], np.arange(3.0)]
    model = MLPClassifier(
        coefs_=coefs, intercepts_=intercepts, classes_=[4, 5, 6], out_activation_="softmax"
    )
    assert interop.from_sklearn(model).A.tolist() == np.eye(2, 3).T.tolist()


@pytest.mark.parametrize(
    ("step", "x", "scaled"),
    [
        (standard([1.0, 2.0], [2.0, 4.0]), [[3.0, 10.0]], [[1.0, 2.0]]),
        (standard([1.0, 2.0], [2.0, 4.0], with_mean=False), [[2.0, 8.0]], [[1.0, 2.0]]),
        (standard([1.0, 2.0], None, with_std=False), [[2.0, 4.0]], [[1.0, 2.0]]),
        (standard(None, None, with_mean=False, with_std=False), [[1.0, 2.0]], [[1.0, 2.0]]),
        (MIN_MAX, [[2.0, 3.0]], [[2.0, 3.0]]),
        (MAX_ABS, [[4.0, 1.0]], [[1.0, 2.0]]),
        (ROBUST, [[3.0, 10.0]], [[1.0, 2.0]]),
        (UNCENTRED, [[2.0, 8.0]], [[1.0, 2.0]]),
        ("passthrough", [[1.0, 2.0]], [[1.0, 2.0]]),
        (None, [[1.0, 2.0]], [[1.0, 2.0]]),
        # x = 9: (9 - 1) / 2 = 4, then 4 - 3 = 1.
        (Pipeline(standard([1, 1], [2, 2]), standard([3, 3], [1, 1])), [[9.0, 9.0]], [[1.0, 1.0]]),
        (Pipeline(MAX_ABS, Pipeline("passthrough", MIN_MAX)), [[8.0, 1.0]], [[2.0, 1.0]]),
    ],
)
def test_scalers_are_folded_in(step, x, scaled):
    folded = interop.from_sklearn(Pipeline(step, MLPClassifier()))
    plain = interop.from_sklearn(MLPClassifier())
    assert folded.outputs(x).tolist() == plain.outputs(scaled).tolist()


def test_the_classifier_may_end_a_nested_pipeline():
    nested = Pipeline(MAX_ABS, Pipeline(MIN_MAX, MLPClassifier()))
    flat = Pipeline(MAX_ABS, MIN_MAX, MLPClassifier())
    assert interop.from_sklearn(nested).W.tolist() == interop.from_sklearn(flat).W.tolist()


def stand_in(kind, **attributes):
    return type(kind, (), attributes)()


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (stand_in("MLPRegressor"), "an MLPClassifier, or a Pipeline that ends in it, got MLPReg"),
        (None, "an MLPClassifier, or a Pipeline that ends in it, got NoneType"),
        (Pipeline(MAX_ABS), "an MLPClassifier, or .*, got MaxAbsScaler"),
        (Pipeline(MAX_ABS, "passthrough"), "an MLPClassifier, or .*, got 'passthrough'"),
        (stand_in("MLPClassifier"), "a fitted MLPClassifier, got one without coefs_"),
        (MLPClassifier(activation="tanh"), "activation 'relu', got 'tanh'"),
        (MLPClassifier(coefs_=[0, 0, 0]), "one hidden layer, got 2"),
        (MLPClassifier(coefs_=[0]), "one hidden layer, got 0"),
        (MLPClassifier(classes_=[np.str_("cat")]), r"two classes or more, got only .*cat"),
        (
            MLPClassifier(coefs_=[np.eye(2), np.eye(2)]),
            r"one label a sample, got 2 labels \(multi-label targets\)",
        ),
        (Pipeline(stand_in("PCA"), MLPClassifier()), "StandardScaler, .* before .*, got PCA"),
        (
            Pipeline(stand_in("MaxAbsScaler"), MLPClassifier()),
            "a fitted MaxAbsScaler, got one with",
        ),
        (
            Pipeline(stand_in("MinMaxScaler", scale_=1, clip=True), MLPClassifier()),
            "a MinMaxScaler with clip=False, got clip=True",
        ),
    ],
)
def test_estimators_refused(estimator, message):
    with pytest.raises(ValueError, match=f"^estimator: expected {message}"):
        interop.from_sklearn(estimator)


class Flipped(MLPClassifier):
    """Its class says so; `change` is what it does to the right probabilities."""

    def predict_proba(self, x):
        return self.change(super().predict_proba(x))


class Deciding(MLPClassifier):
    """Its probabilities are right; `change` is what it does to the right labels."""

    def predict(self, x):
        return self.change(super().predict(x))


Flipped.__name__ = Deciding.__name__ = "MLPClassifier"


@pytest.mark.parametrize(
    "estimator",
    [
        Flipped(change=lambda p: p[:, ::-1]),
        Flipped(change=lambda p: np.sqrt(p)),
        Flipped(change=lambda p: p + np.nan),
        Flipped(change=lambda p: p[:, :1]),
        Deciding(change=lambda labels: 1 - labels),
        Deciding(change=lambda labels: labels[:, None]),
        Deciding(change=lambda labels: labels + 0.5),
        Deciding(change=lambda labels: np.where(labels == 1, "yes", "no")),
        Pipeline(MAX_ABS, Deciding(change=np.zeros_like)),
        Pipeline(Scaler("StandardScaler", np.tanh, mean_=0.0, scale_=1.0, with_mean=True)),
        Pipeline(Scaler("MaxAbsScaler", lambda x: np.clip(x / 2, -1e4, 1e4), scale_=2.0)),
        Pipeline(Scaler("MinMaxScaler", lambda x: x[:, ::-1], scale_=1.0, min_=0.0)),
    ],
)
def test_estimators_that_compute_something_else_are_refused(estimator):
    if isinstance(estimator, Pipeline) and len(estimator.steps) == 1:
        estimator.steps.append(("classifier", MLPClassifier()))
        for _, step in estimator.steps:
            step.with_std = True
    with pytest.raises(ValueError, match=r"^estimator: expected "):
        interop.from_sklearn(estimator)


def trained(rng, n_classes, *steps, **options):
    pytest.importorskip("sklearn", reason="scikit-learn is the other side of this comparison")
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline

    x = rng.normal(loc=3.0, scale=[1.0, 5.0, 0.2], size=(60, 3))
    y = np.array(["a", "b", "c"])[np.digitize(x[:, 0], [2.5, 3.5][: n_classes - 1])]
    estimator = MLPClassifier((7,), solver="lbfgs", alpha=1.0, max_iter=200, random_state=0)
    return make_pipeline(*steps, estimator.set_params(**options)).fit(x, y), x


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*converge")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("scaled", [False, True])
def test_sklearn_itself_agrees(n_classes, scaled):
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    steps = [preprocessing.StandardScaler()] if scaled else []
    model, x = trained(np.random.default_rng(n_classes), n_classes, *steps)
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


@st.composite
def scalers(draw):
    """A chain of scikit-learn's scalers with random options, and whether one of them clips."""
    prep = pytest.importorskip("sklearn.preprocessing")
    from sklearn.pipeline import make_pipeline

    flags = st.booleans()
    clip = draw(st.sampled_from([False, False, False, True]))
    low, width = draw(st.floats(-3, 3)), draw(st.floats(0.1, 100))
    options = [
        prep.StandardScaler(with_mean=draw(flags), with_std=draw(flags)),
        prep.MinMaxScaler((low, low + width), clip=clip),
        prep.MaxAbsScaler(),
        prep.RobustScaler(
            with_centering=draw(flags), with_scaling=draw(flags), unit_variance=draw(flags)
        ),
        "passthrough",
    ]
    order = draw(st.lists(st.sampled_from(range(5)), max_size=3, unique=True))
    steps = [options[i] for i in order]
    if len(steps) > 1 and draw(flags):
        steps = [steps[0], make_pipeline(*steps[1:])]
    return steps, clip and 1 in order


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*converge")
@examples(200)
@given(scalers(), st.sampled_from([2, 3]), st.integers(0, 99))
def test_random_pipelines_of_sklearn_are_read_within_rounding_or_refused(chain, n_classes, seed):
    steps, clips = chain
    model, x = trained(np.random.default_rng(seed), n_classes, *steps, max_iter=3)
    if clips:
        with pytest.raises(ValueError, match=r"clip=True, which is not affine"):
            interop.from_sklearn(model)
        return
    net = interop.from_sklearn(model)
    assert isinstance(net, TwoLayerReLU)
    predicted = net.predict(x, "sign" if n_classes == 2 else "argmax")
    index = (predicted + 1) // 2 if n_classes == 2 else predicted
    assert (model.classes_[index] == model.predict(x)).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*converge")
def test_classes_of_sklearn_in_another_order_are_refused():
    model, _ = trained(np.random.default_rng(0), 3)
    model[-1].classes_ = model[-1].classes_[::-1]
    with pytest.raises(ValueError, match=r"^estimator: expected predict to give the most probabl"):
        interop.from_sklearn(model)


@pytest.mark.slow
def test_a_single_class_of_sklearn_is_refused():
    network = pytest.importorskip("sklearn.neural_network")
    x = np.random.default_rng(0).normal(size=(20, 3))
    model = network.MLPClassifier((4,), solver="lbfgs").fit(x, ["cat"] * 20)
    with pytest.raises(ValueError, match=r"^estimator: expected two classes or more, got only"):
        interop.from_sklearn(model)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*converge")
def test_estimators_fitted_in_float32_or_on_frames_are_read():
    network = pytest.importorskip("sklearn.neural_network")
    x = np.random.default_rng(0).normal(size=(40, 3))
    y = (x[:, 0] > 0).astype(int)
    model = network.MLPClassifier((4,), max_iter=20, random_state=0).fit(x.astype(np.float32), y)
    assert model.coefs_[0].dtype == np.float32
    assert interop.from_sklearn(model).W.tolist() == np.float64(model.coefs_[0]).T.tolist()
    pandas = pytest.importorskip("pandas", reason="scikit-learn warns about rows without names")
    framed = network.MLPClassifier((4,), max_iter=20).fit(pandas.DataFrame(x, columns=[*"abc"]), y)
    interop.from_sklearn(framed)
