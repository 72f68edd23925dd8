"""Gradient descent on the hidden layer, with weights or with coefficients (E13, E14)."""

from __future__ import annotations

import math
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import repeat

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _repr
from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl.gradients import check_targets, hidden_gradient
from refimpl.network import TwoLayerReLU

Rows = slice | IntArray
ALL = slice(None)
_BLOCK = 1024  # rows of x at a time in a loss over all rows


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """What gradient descent ends with.

    network: after the last step; losses (steps+1,): from initial to final; coefficients (n,M): C
    in W = W(0) + C^T x, where C_{i,r} is the multiple of sample i that neuron r has taken up.
    """

    network: TwoLayerReLU
    losses: Array
    coefficients: Array

    def __repr__(self) -> str:
        first, last = float(self.losses[0]), float(self.losses[-1])
        steps = len(self.losses) - 1
        return _repr.sizes(
            self, network=self.network, steps=steps, initial_loss=first, final_loss=last
        )


class Snapshot:
    """One step of gradient descent: calling it builds the network of that step.

    coefficients (n,M): C of that step, as in `Trajectory`, so that `decompose` takes a snapshot
    too. Whether asked for at once or long after, both are those of the step.
    """

    def __init__(self, build: Callable[[], TwoLayerReLU], C: Array) -> None:
        self._build, self._C = build, C

    def __call__(self) -> TwoLayerReLU:
        """Build the network."""
        return self._build()

    @property
    def coefficients(self) -> Array:
        """Copy C."""
        return self._C.copy()


def gradient_descent(
    net: TwoLayerReLU,
    x: ArrayLike,
    targets: ArrayLike,
    *,
    learning_rate: float,
    steps: int,
    method: str = "auto",
    batch_size: int | None = None,
    rng: int | np.random.Generator | None = None,
    callback: Callable[[int, float, Snapshot], object] | None = None,
) -> Trajectory:
    """Train W and b, not A and c, by gradient descent with a constant learning rate.

    W(t+1) = W(t) - learning_rate dL/dW,  b(t+1) = b(t) - learning_rate dL/db, where L is the mean
    loss over the rows of step t's batch: logistic for K = 1, cross-entropy for K > 1.

    Parameters
    ----------
    net : TwoLayerReLU
        W(0) and b(0); without biases none are trained.
    x : (n,d) array
    targets : (n,) array
        K = 1: labels in {-1, +1}; K > 1: class integers 0..K-1.
    learning_rate : float, above 0
    steps : int, at least 0
        Gradient steps, whatever the batches; 0 returns the network as it is.
    method : "primal", "gram" or "auto"
        Both methods have the same iterates up to rounding. With B rows in a batch

        - "primal" holds W(t), and a step costs 2 B d M multiply-adds;
        - "gram" holds C(t) and the Gram matrix x x^T, which takes 8 n^2 bytes and n^2 d / 2
          multiply-adds once; a step then costs B n M.

        "auto" takes the method with fewer multiply-adds in all. That is "gram" for n < 2 d only, so
        that the Gram matrix is never more than twice the size of x.
    batch_size : int from 1 to n, optional
        None: all rows in every step, the paper's setting. Else every epoch starts with one
        ``rng.permutation(n)`` and takes consecutive batches from it; the last batch of an epoch has
        the rows that are left, n mod batch_size where that is not 0.
    rng : int or numpy.random.Generator
        Required with batch_size; not read without.
    callback : callable, optional
        ``callback(step, losses[step], get_network)`` for step = 0..steps, at W(step) and b(step).
        ``get_network()`` builds that network, and ``get_network.coefficients`` is C (n,M) of that
        step, then or later: neither costs anything unless it is asked for. ``decompose`` takes
        ``get_network`` in place of a trajectory. What the callback raises passes.

    Returns
    -------
    Trajectory
        network; losses (steps+1,), entry t at W(t), b(t); coefficients (n,M).
        With batches the first and the last loss are over all rows, and those between are over the
        batch of their step, since a loss over all rows costs more than the step itself.

    Raises
    ------
    ValueError
        Arguments that do not fit the network or each other.
    FloatingPointError
        A loss or a preactivation is not finite; the message tells the step.

    Notes
    -----
    Source: E13 (paper, section 3.2), E14 (derived).

    Examples
    --------
    The output is 0, so dL/df = -1/2; x = 2 moves both weights by 2 * 1/2.

    >>> net = TwoLayerReLU([[1.0], [1.0]], None, [[1.0, -1.0]])
    >>> path = gradient_descent(net, [[2.0]], [1], learning_rate=1.0, steps=1)
    >>> path.coefficients.tolist(), path.network.W.tolist()
    ([[0.5, -0.5]], [[2.0], [0.0]])

    The same coefficients, step by step.

    >>> def show(step, loss, get_network):
    ...     print(step, get_network.coefficients.tolist(), get_network().W.tolist())
    >>> path = gradient_descent(net, [[2.0]], [1], learning_rate=1.0, steps=1, callback=show)
    0 [[0.0, 0.0]] [[1.0], [1.0]]
    1 [[0.5, -0.5]] [[2.0], [0.0]]
    """
    check.instance("net", net, TwoLayerReLU)
    x = check.real_array("x", x, ("n", net.dim))
    y = check_targets(targets, len(x), net.n_outputs)
    eta = check.real("learning_rate", learning_rate, positive=True)
    steps = check.integer("steps", steps, minimum=0)
    method = check.choice("method", method, ("primal", "gram", "auto"))
    batches = _batches(len(x), batch_size, rng)
    if method == "auto":
        method = _cheaper_method(net, len(x), steps, batch_size or len(x))
    with _without_warnings():
        iterate = (_Gram if method == "gram" else _Primal)(net, x)
    losses = np.empty(steps + 1)
    for step in range(steps + 1):
        if step < steps or batch_size is None:
            rows = next(batches)
            loss, hidden = _evaluate(iterate, rows, y, step)
        if step in (0, steps) and batch_size is not None:
            loss = _mean_loss(iterate, y, step)
        losses[step] = loss
        if callback is not None:
            callback(step, loss, iterate.snapshot())
        if step < steps:
            with _without_warnings():
                iterate.move(rows, -eta * hidden)
    # Snapshots share their C, of which the caller gets a copy.
    C = iterate.C if callback is None else iterate.C.copy()
    return Trajectory(iterate.snapshot()(), losses, C)


def _batches(
    n: int, batch_size: int | None, rng: int | np.random.Generator | None
) -> Iterator[Rows]:
    """Rows of every step without end; the arguments are checked here, before the first one."""
    if batch_size is None:
        return repeat(ALL)
    size = check.integer("batch_size", batch_size, minimum=1)
    if size > n:
        check.fail("batch_size", f"at most n = {n} rows", size)
    return _shuffled(n, size, check.generator(rng))


def _shuffled(n: int, size: int, rng: np.random.Generator) -> Iterator[Rows]:
    while True:
        order = rng.permutation(n)
        for start in range(0, n, size):
            yield order[start : start + size]


def _cheaper_method(net: TwoLayerReLU, n: int, steps: int, batch: int) -> str:
    """Name the method with fewer multiply-adds; Q is symmetric, so one half is computed.

    >>> net = TwoLayerReLU.binary(3072, 5, rng=0)
    >>> _cheaper_method(net, 1000, 100, 1000), _cheaper_method(net, 1000, 1, 1000)
    ('gram', 'primal')
    """
    work = batch * net.n_hidden * steps
    return "gram" if n * n * net.dim / 2 + n * work < 2 * net.dim * work else "primal"


class _Iterate(ABC):
    """Parameters after t steps. Both methods hold b(t) and C(t).

    Snapshots share these arrays. Steps change them in place, but leave them to the last snapshot
    and go on with copies, if somebody kept it.
    """

    moving: tuple[str, ...] = ("b", "C")

    def __init__(self, net: TwoLayerReLU, x: Array) -> None:
        self.net, self.x = net, x
        self.b = net.bias.copy()
        self.C = np.zeros((len(x), net.n_hidden))
        self._last: Callable[[], Snapshot | None] = lambda: None

    @abstractmethod
    def preactivations(self, rows: Rows) -> Array:
        """Z(t) of these rows."""

    def move(self, rows: Rows, change: Array) -> None:
        """Add change = -learning_rate G to the coefficients of these rows."""
        if self._last() is not None:
            for name in self.moving:
                setattr(self, name, getattr(self, name).copy())
        self.C[rows] += change  # (E14)
        if self.net.b is not None:
            self.b += change.sum(axis=0)  # (E13)

    @abstractmethod
    def build(self) -> Callable[[], TwoLayerReLU]:
        """Return what builds the network of the arrays as they are now."""

    def snapshot(self) -> Snapshot:
        """Remember the parameters as they are now; the network is built when it is asked for."""
        snapshot = Snapshot(self.build(), self.C)
        self._last = weakref.ref(snapshot)
        return snapshot

    def _network(self, W: Array, b: Array) -> TwoLayerReLU:
        return TwoLayerReLU(W, None if self.net.b is None else b, self.net.A, self.net.c)


class _Primal(_Iterate):
    """Holds W(t) beside C(t)."""

    moving = ("b", "C", "W")

    def __init__(self, net: TwoLayerReLU, x: Array) -> None:
        super().__init__(net, x)
        self.W = net.W.copy()

    def preactivations(self, rows: Rows) -> Array:
        return self.x[rows] @ self.W.T + self.b

    def move(self, rows: Rows, change: Array) -> None:
        super().move(rows, change)
        self.W += change.T @ self.x[rows]  # (E13)

    def build(self) -> Callable[[], TwoLayerReLU]:
        return partial(self._network, self.W, self.b)


class _Gram(_Iterate):
    """Holds the Gram matrix Q = x x^T. W(t) = W(0) + C(t)^T x is formed when it is asked for."""

    def __init__(self, net: TwoLayerReLU, x: Array) -> None:
        super().__init__(net, x)
        self.initial = x @ net.W.T
        self.Q = x @ x.T

    def preactivations(self, rows: Rows) -> Array:
        return self.initial[rows] + self.Q[rows] @ self.C + self.b  # (E14)

    def build(self) -> Callable[[], TwoLayerReLU]:
        return partial(self._from_coefficients, self.C, self.b)

    def _from_coefficients(self, C: Array, b: Array) -> TwoLayerReLU:
        return self._network(self.net.W + C.T @ self.x, b)  # (E14)


def _mean_loss(iterate: _Iterate, y: IntArray, step: int) -> float:
    """Loss over all rows, a block at a time: the arrays of a block are all the memory it takes."""
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(y), _BLOCK)]
    sums = [_evaluate(iterate, rows, y, step)[0] * len(y[rows]) for rows in blocks]
    return math.fsum(sums) / len(y)


def _without_warnings() -> np.errstate:
    """Silence NumPy on overflow, which `_evaluate` turns into an error."""
    return np.errstate(over="ignore", invalid="ignore")


def _evaluate(iterate: _Iterate, rows: Rows, y: IntArray, step: int) -> tuple[float, Array]:
    """Loss and G (rows,M) over these rows."""
    with _without_warnings():
        z = iterate.preactivations(rows)
        loss, hidden = hidden_gradient(iterate.net, z, y[rows])
    # A finite loss alone is not enough: an infinite output on the right side has loss 0.
    if not (math.isfinite(loss) and np.isfinite(z).all()):
        raise FloatingPointError(
            f"training left the range of float64 at step {step} (loss {loss:g}): "
            "try a smaller learning_rate, or scale x down"
        )
    return loss, hidden
