"""Gradient descent on samples that an attack moves afresh before every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl.attacks import budgets, closed_form_attack, row_norms
from refimpl.decisions import Decision
from refimpl.gradients import check_targets
from refimpl.network import TwoLayerReLU
from refimpl.pgd import pgd_attack
from refimpl.radius import robust_radius
from refimpl.training import Snapshot, Trajectory, gradient_descent

Attack = Callable[[TwoLayerReLU, Array, IntArray, Array], ArrayLike]
ATTACKS = ("exact", "pgd", "closed_form")


@dataclass(frozen=True, eq=False, repr=False)
class AdversarialTrajectory(Trajectory):
    """What adversarial training ends with, W = W(0) + C^T x + shift.

    network, losses and coefficients C (n,M) as in `Trajectory`, the losses over moved samples.
    shift (M,d): the sum over the steps of (C(t+1) - C(t))^T (x'(t) - x), which is what the weights
    have taken up of the perturbations. `decompose` splits C^T x, and leaves the shift out.
    """

    shift: Array


def adversarial_training(
    net: TwoLayerReLU,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: ArrayLike,
    learning_rate: float,
    steps: int,
    attack: str | Attack = "exact",
    features: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    pgd_steps: int = 10,
    max_nodes: int = 1000,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, float, Callable[[], TwoLayerReLU]], object] | None = None,
) -> AdversarialTrajectory:
    """Train W and b, not A and c, by full-batch gradient descent on attacked samples.

    W(t+1) = W(t) - learning_rate dL/dW and likewise b, where L is the mean loss over the samples
    x'(t) that the attack makes of x for the network at step t. The derivative takes x'(t) as given.

    Parameters
    ----------
    net : TwoLayerReLU
        W(0) and b(0); without biases none are trained.
    x : (n,d) array
    targets : (n,) array
        K = 1: labels in {-1, +1}, and attacks are on the sign; K > 1: class integers, on argmax.
    epsilon : float or (n,) array, at least 0
        Budget in l2, one for all samples or one for each.
    learning_rate : float, above 0
    steps : int, at least 0
    attack : "exact", "pgd", "closed_form" or callable
        - "exact": towards the nearest adversarial point, and there at the most:
          x' = x + min(1, epsilon/||delta||) delta, ||delta|| the exact robust radius. A sample that
          is misclassified, or that nothing can flip, stays.
        - "pgd": the iterate of smallest margin of `pgd_attack`, one start.
        - "closed_form": epsilon against the averaged features, whatever the network (E26).
        - ``attack(net, x, targets, epsilon)`` with the validated arrays, epsilon (n,), returns x'
          (n,d). Its budget is its own affair.
    features, labels : (k,d) and (k,) arrays
        Required with "closed_form", and read there only; with K > 1 outputs there are k = K.
    pgd_steps : int, at least 1
        Of "pgd".
    max_nodes : int, at least 1
        Of "exact", as in `robust_radius`. A sample not settled by then goes towards the nearest
        adversarial point that was found.
    rng : int or numpy.random.Generator
        Required with "pgd", and not read without.
    callback : callable, optional
        As in `gradient_descent`, with the loss over the moved samples.

    Returns
    -------
    AdversarialTrajectory
        A `Trajectory`; losses (steps+1,) are over moved samples, so that they may rise.

    Raises
    ------
    ValueError
        Arguments that do not fit the network or each other.
    FloatingPointError
        A loss or a preactivation is not finite; the message tells the step.

    Notes
    -----
    Source: customary (the minimum over W of the maximum over the ball, by alternating steps); what
    it does to averaged features was asked by the paper's reviewers. epsilon = 0 is gradient
    descent.

    Examples
    --------
    f = 4 ReLU(w x) - 1, w = 1, is 7 at the sample x = 2. The nearest tie, x' = 1/4, is within the
    budget 2. There f = 0 and dL/df = -1/2: w grows by 1/2 * 4 * 1/4.

    >>> net = TwoLayerReLU([[1.0]], None, [[4.0]], [-1.0])
    >>> path = adversarial_training(net, [[2.0]], [1], epsilon=2, learning_rate=1.0, steps=1)
    >>> path.network.W.round(9).tolist(), path.coefficients.round(9).tolist()
    ([[1.5]], [[2.0]])
    >>> path.shift.round(9).tolist()  # 1.5 = 1 + 2 * 2 - 3.5
    [[-3.5]]
    """
    check.instance("net", net, TwoLayerReLU)
    x = check.real_array("x", x, ("n", net.dim))
    y = check_targets(targets, len(x), net.n_outputs)
    epsilon = budgets(epsilon, len(x))
    steps = check.integer("steps", steps, minimum=0)
    if callable(attack):
        move: Attack = partial(_of_the_user, attack)
    else:
        move = _attack(attack, net.n_outputs, features, labels, pgd_steps, max_nodes, rng)
    losses, C = np.empty(steps + 1), np.zeros((len(x), net.n_hidden))
    shift = np.zeros_like(net.W)
    for step in range(steps + 1):
        moved = check.real_array("attack(...)", move(net, x, y, epsilon), x.shape)
        one = _step(net, moved, y, learning_rate, step, last=step == steps)
        losses[step] = one.losses[0]
        if callback is not None:
            callback(step, float(losses[step]), Snapshot(partial(_same, net), C.copy()))
        C += one.coefficients
        shift += one.coefficients.T @ (moved - x)
        net = one.network
    return AdversarialTrajectory(net, losses, C, shift)


def _step(
    net: TwoLayerReLU, x: Array, y: IntArray, learning_rate: float, step: int, *, last: bool
) -> Trajectory:
    """Take one step of gradient descent, or after the last one evaluate the loss alone."""
    try:
        return gradient_descent(
            net, x, y, learning_rate=learning_rate, steps=0 if last else 1, method="primal"
        )
    except FloatingPointError:
        raise FloatingPointError(
            f"training left the range of float64 at step {step} or after it: "
            "try a smaller learning_rate, or scale x down"
        ) from None


def _of_the_user(
    attack: Attack, net: TwoLayerReLU, x: Array, y: IntArray, epsilon: Array
) -> ArrayLike:
    """Call an attack that may work in place."""
    return attack(net, x.copy(), y.copy(), epsilon.copy())


def _same(net: TwoLayerReLU) -> TwoLayerReLU:
    return net


def _attack(
    name: str,
    n_outputs: int,
    features: ArrayLike | None,
    labels: ArrayLike | None,
    pgd_steps: int,
    max_nodes: int,
    rng: int | np.random.Generator | None,
) -> Attack:
    """Attack of this name; its arguments are checked here, before the first step."""
    decision: Decision = "sign" if n_outputs == 1 else "argmax"
    name = check.choice("attack", name, ATTACKS)
    if name == "closed_form":
        return partial(_closed_form, *_features_and_labels(features, labels, n_outputs))
    if name == "pgd":
        steps = check.integer("pgd_steps", pgd_steps, minimum=1)
        return partial(_pgd, {"steps": steps, "decision": decision, "rng": check.generator(rng)})
    nodes = check.integer("max_nodes", max_nodes, minimum=1)
    return partial(_nearest, {"max_nodes": nodes, "decision": decision})


def _features_and_labels(
    features: ArrayLike | None, labels: ArrayLike | None, n_outputs: int
) -> tuple[Array, IntArray]:
    if features is None or labels is None:
        check.fail("features", "features and labels with attack='closed_form'", None)
    centres = check.real_array("features", features, ("k", "d"))
    signs = check.signs("labels", labels, len(centres))
    if n_outputs not in (1, len(signs)):
        check.fail("labels", f"one for each of K = {n_outputs} outputs", f"{len(signs)} labels")
    return centres, signs


def _closed_form(
    features: Array, labels: IntArray, net: TwoLayerReLU, x: Array, y: IntArray, epsilon: Array
) -> Array:
    signs = y if net.n_outputs == 1 else labels[y]
    return closed_form_attack(x, signs, features, labels, epsilon=epsilon)


def _pgd(
    options: dict[str, Any], net: TwoLayerReLU, x: Array, y: IntArray, epsilon: Array
) -> Array:
    return pgd_attack(net, x, y, epsilon=epsilon, **options)


def _nearest(
    options: dict[str, Any], net: TwoLayerReLU, x: Array, y: IntArray, epsilon: Array
) -> Array:
    """x + min(1, epsilon / ||delta||) delta; delta is NaN where no adversarial point is known."""
    nearest = robust_radius(net, x, y, **options)
    delta = np.nan_to_num(nearest.perturbation)
    norm = row_norms(delta)
    share = np.divide(epsilon, norm, out=np.ones_like(norm), where=norm > epsilon)
    return x + share[:, None] * delta
