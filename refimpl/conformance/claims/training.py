# ruff: noqa: D401 - a claim's docstring states the property
"""Claims on gradient descent (E13) and on the decomposition of its weights (E14 to E16)."""

from __future__ import annotations

import numpy as np

from refimpl._arrays import Array
from refimpl.conformance import cases, tolerances
from refimpl.conformance.adapter import Probe
from refimpl.conformance.case import Case
from refimpl.conformance.claims.registry import claim


def _trained(mine: Probe, truth: Probe, case: Case, parts: tuple[int, ...]) -> None:
    """Compare W, b, A and the losses after training, as far as `parts` asks."""
    bounds = tolerances.descent(case, mine.unit)
    got, expected = (side.train(**case) for side in (mine, truth))
    for part in parts:
        what, bound = (("W", bounds.W), ("b", bounds.b), ("A", 0), ("losses", bounds.losses))[part]
        mine.agree(what, got[part], expected[part], bound)


def _stepped(mine: Probe, truth: Probe, case: Case, parts: str) -> None:
    """Compare those of W and b that are asked for after one step."""
    bounds = tolerances.descent(case.replace(steps=1), mine.unit)
    got, expected = (side.step(**case) for side in (mine, truth))
    for name in parts:
        part = "Wb".index(name)
        mine.agree(name, got[part], expected[part], getattr(bounds, name))


@claim("E13-step-weights", "step", cases.steps())
def step_weights(mine: Probe, truth: Probe, case: Case) -> None:
    """One full-batch step: W - learning_rate dL/dW.

    Ascent, momentum, weight decay and the learning rate of another parametrisation show here.
    """
    _stepped(mine, truth, case, "W")


@claim("E13-step-biases", "step", cases.steps())
def step_biases(mine: Probe, truth: Probe, case: Case) -> None:
    """One full-batch step: b - learning_rate dL/db.

    Biases that stay at their start, or take a gradient at the new weights, show here.
    """
    _stepped(mine, truth, case, "b")


@claim("E13-step-at-kinks", "step", cases.steps(kinks="on"))
def step_at_kinks(mine: Probe, truth: Probe, case: Case) -> None:
    """One step from where neurons are at exactly z = 0: ReLU'(0) = 0.

    Training from zero weights, or on samples at 0, starts here.
    """
    _stepped(mine, truth, case, "Wb")


@claim("E13-step-follows-gradient", "step parameter_gradients", cases.steps())
def step_follows(mine: Probe, truth: Probe, case: Case) -> None:
    """The step is the candidate's own gradient times -learning_rate. Needs no oracle.

    Where it fails and the gradients are right, the update rule is at fault.
    """
    bounds = tolerances.descent(case.replace(steps=1), mine.unit)
    gradients = mine.parameter_gradients(**case)
    for name, got, g in zip("Wb", mine.step(**case), gradients, strict=True):
        expected = case[name] - case.learning_rate * g
        mine.agree(name, got, expected, 2 * getattr(bounds, name))


@claim("E13-train-weights", "train", cases.training())
def train_weights(mine: Probe, truth: Probe, case: Case) -> None:
    """W and b after `steps` steps of full-batch gradient descent.

    One step more or less, and W updated before the gradient of b is taken, show here.
    """
    _trained(mine, truth, case, (0, 1))


@claim("E13-train-losses", "train", cases.training())
def train_losses(mine: Probe, truth: Probe, case: Case) -> None:
    """losses has steps + 1 entries, the loss at W(0), ..., W(steps).

    A curve that starts after the first step cannot be laid over another one.
    """
    _trained(mine, truth, case, (3,))


@claim("E13-own-losses", "train loss", cases.training())
def own_losses(mine: Probe, truth: Probe, case: Case) -> None:
    """The last of the losses is the candidate's own loss of the network that is returned.

    Needs no oracle. Else the curve and the network belong to different steps.
    """
    bound = 2 * tolerances.descent(case, mine.unit).losses[-1]
    W, b, A, losses = mine.train(**case)
    mine.agree("losses[-1]", losses[-1], mine.loss(**case.replace(W=W, b=b, A=A)), bound)


@claim("E5-output-layer-fixed", "train", cases.training((1, 2)))
def output_layer(mine: Probe, truth: Probe, case: Case) -> None:
    """A comes back as it went in, to the last bit: only W and b are trained.

    A trained output layer is another model: the paper's coefficients and radii are not about it.
    """
    A = mine.train(**case)[2]
    mine.demand("A after training", case.A == A, case.A, A)


@claim("E13-no-steps", "train", cases.training((0, 0)))
def no_steps(mine: Probe, truth: Probe, case: Case) -> None:
    """0 steps return W and b as they are, and one loss.

    An unconditional first or last step shows here.
    """
    W, b, _, _ = mine.train(**case)
    mine.demand("W after 0 steps", case.W == W, case.W, W)
    mine.demand("b after 0 steps", case.b == b, case.b, b)


@claim("E13-train-clusters", "train", cases.settings() | cases.settings(multiclass=True))
def train_clusters(mine: Probe, truth: Probe, case: Case) -> None:
    """Training on the paper's data with its two networks, at small sizes.

    Errors that only add up over steps, or that small random networks hide, show here.
    """
    _trained(mine, truth, case, (0, 1, 3))


@claim("E13-train-paper", "train", cases.paper())
def train_paper(mine: Probe, truth: Probe, case: Case) -> None:
    """Three steps at the paper's sizes: d = 3072, n = 1000, k = 10.

    Sums over thousands of terms: accumulation in a lower precision than dtype says shows here.
    """
    _trained(mine, truth, case, (0, 1, 3))


def _decomposed(mine: Probe, truth: Probe, case: Case, part: int) -> None:
    bounds = tolerances.decomposition(case, mine.unit)
    got, expected = (side.decompose(**case)[part] for side in (mine, truth))
    mine.agree(("lambda", "sigma")[part], got, expected, bounds[part])


@claim("E15-feature-coefficients", "decompose", cases.decompositions())
def feature_coefficients(mine: Probe, truth: Probe, case: Case) -> None:
    """lambda_{r,j} = ||mu_j||^2 sum over cluster j of C_{i,r}, for any features.

    Projections of W onto mu_j agree for orthogonal features only, and mix in the noise.
    """
    _decomposed(mine, truth, case, 0)


@claim("E15-noise-coefficients", "decompose", cases.decompositions())
def noise_coefficients(mine: Probe, truth: Probe, case: Case) -> None:
    """sigma_{r,i} = ||xi_i||^2 C_{i,r}, xi_i = x_i - mu of its cluster.

    ||x_i||^2 in place of ||xi_i||^2 makes noise look learned.
    """
    _decomposed(mine, truth, case, 1)


@claim("E15-clusters", "decompose", cases.settings() | cases.settings(multiclass=True))
def decompose_clusters(mine: Probe, truth: Probe, case: Case) -> None:
    """lambda and sigma on the paper's data, of its two networks, at small sizes.

    With several outputs C is summed over them: each neuron belongs to its own class.
    """
    for part in (0, 1):
        _decomposed(mine, truth, case, part)


@claim("E15-centres", "decompose", cases.decompositions(at_centres=True))
def centres(mine: Probe, truth: Probe, case: Case) -> None:
    """A sample at its centre has sigma 0, and repeated samples share lambda.

    0/0 shows here as NaN, and so does a Gram matrix that is inverted although it is singular.
    """
    noise = mine.decompose(**case)[1]
    mine.demand("sigma at xi = 0", noise == 0, 0, noise)
    _decomposed(mine, truth, case, 0)


@claim("E15-reconstruction", "decompose train", cases.settings())
def reconstruction(mine: Probe, truth: Probe, case: Case) -> None:
    """W - W(0) = sum_j lambda mu_j/||mu_j||^2 + sum_i sigma xi_i/||xi_i||^2. Needs no oracle.

    The candidate's own training and coefficients must fit each other, whatever the step.
    """
    feature, noise = mine.decompose(**case)
    W = mine.train(**case)[0]
    mu, xi = case.features, case.x - case.features[case.cluster]
    descent = tolerances.descent(case, mine.unit)
    errors = tolerances.coefficients(case, descent.C, descent.C_error, mine.unit)
    parts = [rows / np.square(rows).sum(axis=1, keepdims=True) for rows in (mu, xi)]
    expected = case.W + feature @ parts[0] + noise @ parts[1]
    bound = descent.W + errors[0] @ np.abs(parts[0]) + errors[1] @ np.abs(parts[1])
    size = np.abs(case.W) + np.abs(feature) @ np.abs(parts[0]) + np.abs(noise) @ np.abs(parts[1])
    rounding = tolerances.gamma(len(mu) + len(xi) + mu.shape[1] + 8, mine.unit) * size
    mine.agree("W", W, expected, 2 * bound + 2 * rounding)


def _increment(mine: Probe, case: Case) -> tuple[Array, Array, Array, Array]:
    """What the last step adds to lambda and sigma, and the error of the differences."""
    before = case.replace(steps=case.steps - 1)
    now, earlier = (mine.decompose(**it) for it in (case, before))
    errors = tolerances.decomposition(case, mine.unit)
    return now[0] - earlier[0], now[1] - earlier[1], 2 * errors[0], 2 * errors[1]


@claim("E16-monotone", "decompose", cases.settings())
def monotone(mine: Probe, truth: Probe, case: Case) -> None:
    """lambda and sigma of neurons of one sign grow on their own class and shrink on the other.

    Needs no oracle. A trajectory that breaks it does not follow the gradient of this loss.
    """
    feature, noise, feature_error, noise_error = _increment(mine, case)
    sign = np.sign(case.A[0])[:, None]
    label = np.zeros(len(case.features))
    label[case.cluster] = case.targets
    mine.within("lambda against its sign", np.maximum(-sign * label * feature, 0), feature_error)
    against = np.maximum(-sign * case.targets * noise, 0)
    mine.within("sigma against its sign", against, noise_error)


@claim("E16-increments", "decompose", cases.settings())
def increments(mine: Probe, truth: Probe, case: Case) -> None:
    """One step adds at most ||mu_j||^2 n_j eta/(n m) to lambda and ||xi_i||^2 eta/(n m) to sigma.

    Needs no oracle. A missing 1/n or 1/m, or a derivative of the loss above 1, breaks it.
    """
    feature, noise, feature_error, noise_error = _increment(mine, case)
    n = len(case.x)
    most = case.learning_rate * float(np.abs(case.A).max()) / n
    xi = case.x - case.features[case.cluster]
    count = np.bincount(case.cluster, minlength=len(case.features))
    unit = tolerances.gamma(n + xi.shape[1] + 8, mine.unit)
    for what, step, rows, counts, error in (
        ("lambda", feature, case.features, count, feature_error),
        ("sigma", noise, xi, 1, noise_error),
    ):
        limit = np.square(rows).sum(axis=1) * counts * most * (1 + unit)
        beyond = np.maximum(np.abs(step) - limit, 0)
        mine.within(f"growth of {what} beyond its limit", beyond, error)


@claim("Figure2-cosines", "cosine_matrix", cases.angles() | cases.large_angles())
def cosines(mine: Probe, truth: Probe, case: Case) -> None:
    """Entry (i, r) is the cosine of the angle between feature i and neuron r.

    Inner products, or cosines with the roles of the two swapped, make another Figure 2.
    """
    bound = tolerances.cosine(case.W.shape[1], mine.unit)
    mine.agree("cosines", mine.cosine_matrix(**case), truth.cosine_matrix(**case), bound)


@claim("Figure2-scale", "cosine_matrix", cases.angles())
def cosine_scale(mine: Probe, truth: Probe, case: Case) -> None:
    """Lengths do not matter: features times 8 and neurons times 1/1024 give the same cosines.

    Needs no oracle. An epsilon in the denominator hides neurons that are still small.
    """
    got = mine.cosine_matrix(8 * case.features, case.W / 1024)
    bound = 2 * tolerances.cosine(case.W.shape[1], mine.unit)
    mine.agree("cosines", got, mine.cosine_matrix(**case), bound)
