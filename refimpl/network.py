"""Two-layer ReLU networks (E4 to E7) and the idealised ones of the paper's Figure 1 (E17, E18)."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from refimpl import _repr, decisions
from refimpl import _validation as check
from refimpl._arrays import Array, IntArray
from refimpl._files import read_npz, write_npz
from refimpl.decisions import Decision
from refimpl.distribution import ClusterDistribution

FORMAT_VERSION = 1


def relu(z: Array) -> Array:
    """max(z, 0), elementwise."""
    return np.maximum(z, 0.0)


def relu_derivative(z: Array) -> Array:
    """1[z > 0] as float64: the one place that sets ReLU'(0) = 0.

    >>> relu_derivative(np.array([-1.0, 0.0, 2.0])).tolist()
    [0.0, 0.0, 1.0]
    """
    return (z > 0).astype(np.float64)


@dataclass(frozen=True, eq=False, repr=False, init=False)
class TwoLayerReLU:
    """F(x) = A ReLU(W x + b) + c, from R^d to R^K with M hidden neurons.

    Parameters
    ----------
    W : (M,d) array
        Hidden weights, a neuron a row.
    b : (M,) array or None
        Hidden biases. A network with None computes as with zeros, and never gets any in training.
    A : (K,M) array
        Output weights.
    c : (K,) array, optional
        Output biases, by default zeros.

    Raises
    ------
    ValueError
        Shapes that do not match, or entries that are not finite real numbers.

    Notes
    -----
    Source: E4; paper, section 3.2. Arrays are kept as read-only float64 copies.

    Examples
    --------
    >>> net = TwoLayerReLU(W=[[1, 0], [0, 1]], b=None, A=[[1, -1]])
    >>> net
    TwoLayerReLU(dim=2, n_hidden=2, n_outputs=1)
    >>> net.outputs([[3, 1], [-1, 2]]).tolist()
    [[2.0], [-2.0]]
    """

    W: Array
    b: Array | None
    A: Array
    c: Array

    def __init__(
        self, W: ArrayLike, b: ArrayLike | None, A: ArrayLike, c: ArrayLike | None = None
    ) -> None:
        W = check.real_array("W", W, ("M", "d"))
        A = check.real_array("A", A, ("K", "M"))
        if A.shape[1] != len(W):  # either may be transposed
            check.fail("W and A", "shapes (M, d) and (K, M)", f"{W.shape} and {A.shape}")
        b = None if b is None else check.real_array("b", b, (len(W),))
        c = np.zeros(len(A)) if c is None else check.real_array("c", c, (len(A),))
        for name, value in (("W", W), ("b", b), ("A", A), ("c", c)):
            object.__setattr__(self, name, None if value is None else check.frozen(value))

    def __reduce__(self) -> tuple[type, tuple[Array | None, ...]]:
        """Copy and unpickle by the constructor: copies are read-only, too."""
        return type(self), (self.W, self.b, self.A, self.c)

    def __repr__(self) -> str:
        return _repr.sizes(self, dim=self.dim, n_hidden=self.n_hidden, n_outputs=self.n_outputs)

    @classmethod
    def binary(
        cls,
        dim: int,
        m: int,
        *,
        sigma_w: float = 1e-5,
        sigma_b: float = 1e-5,
        rng: int | np.random.Generator,
    ) -> TwoLayerReLU:
        """Paper's binary network at small initialisation: K = 1, M = 2m, A = [1/m .., -1/m ..].

        Parameters
        ----------
        dim, m : int
            d, and the number of neurons of each sign.
        sigma_w, sigma_b : float, at least 0
            Standard deviations of the entries of W and of b.
        rng : int or numpy.random.Generator

        Notes
        -----
        Source: E5, E7; paper, section 3.2. W and b are trained, A is fixed.

        Examples
        --------
        >>> TwoLayerReLU.binary(3, 2, rng=0).A.tolist()
        [[0.5, 0.5, -0.5, -0.5]]
        """
        d = check.integer("dim", dim, minimum=1)
        m = check.integer("m", m, minimum=1)
        A = np.repeat([[1 / m, -1 / m]], m, axis=1)  # (E5)
        rng = check.generator(rng)
        W = _gaussian(rng, (2 * m, d), "sigma_w", sigma_w)
        return cls(W, _gaussian(rng, (2 * m,), "sigma_b", sigma_b), A)

    @classmethod
    def multiclass(
        cls,
        dim: int,
        n_classes: int,
        h: int = 1,
        *,
        sigma_w: float = 1e-5,
        rng: int | np.random.Generator,
    ) -> TwoLayerReLU:
        """Paper's multi-class network: F_j(x) = (1/h) sum_r ReLU(<w_{j,r}, x>), without biases.

        Parameters
        ----------
        dim, n_classes, h : int
            d, K >= 2, and the neurons of each class; class j owns rows j h .. j h + h - 1.
        sigma_w : float, at least 0
            Standard deviation of the entries of W.
        rng : int or numpy.random.Generator

        Notes
        -----
        Source: E6, E7; paper, section 3.2.

        Examples
        --------
        >>> TwoLayerReLU.multiclass(3, 2, 2, rng=0).A.tolist()
        [[0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5]]
        """
        d = check.integer("dim", dim, minimum=1)
        k = check.integer("n_classes", n_classes, minimum=2)
        h = check.integer("h", h, minimum=1)
        A = np.repeat(np.eye(k) / h, h, axis=1)  # (E6)
        return cls(_gaussian(check.generator(rng), (k * h, d), "sigma_w", sigma_w), None, A)

    @classmethod
    def feature_averaging(cls, dist: ClusterDistribution) -> TwoLayerReLU:
        """Idealised averaging: f(x) = ReLU(<v+, x>) - ReLU(<v-, x>), v_s = sum_{j in J_s} mu_j.

        Source: E17; paper, Figure 1.

        >>> dist = ClusterDistribution(np.eye(3), [1, 1, -1])
        >>> TwoLayerReLU.feature_averaging(dist).W.tolist()
        [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
        """
        return cls(dist.class_sums, None, np.array([[1.0, -1.0]]))  # (E17)

    @classmethod
    def feature_decoupling(cls, dist: ClusterDistribution, bias: float = 0.0) -> TwoLayerReLU:
        """Idealised decoupling: F_j(x) = ReLU(<mu_j, x> + bias).

        Read out by group_max or group_sum.

        Source: E18; paper, Figure 1.

        >>> dist = ClusterDistribution(np.eye(2), [1, -1])
        >>> TwoLayerReLU.feature_decoupling(dist, bias=-0.5).outputs([[2, 0]]).tolist()
        [[1.5, 0.0]]
        """
        k = dist.n_clusters
        return cls(dist.features, np.full(k, check.real("bias", bias)), np.eye(k))  # (E18)

    @property
    def dim(self) -> int:
        """Input dimension d."""
        return int(self.W.shape[1])

    @property
    def n_hidden(self) -> int:
        """Hidden neurons M."""
        return int(self.W.shape[0])

    @property
    def n_outputs(self) -> int:
        """Outputs K."""
        return int(self.A.shape[0])

    @property
    def bias(self) -> Array:
        """The hidden biases b, zeros where the network has none."""
        return np.zeros(self.n_hidden) if self.b is None else self.b

    def preactivations(self, x: ArrayLike) -> Array:
        """Z = X W^T + b of shape (n,M), for rows x (n,d)."""
        z = check.real_array("x", x, ("n", self.dim)) @ self.W.T
        return z if self.b is None else z + self.b

    def outputs(self, x: ArrayLike) -> Array:
        """F(x) = A ReLU(W x + b) + c of shape (n,K), for rows x (n,d)."""
        return self.readout(self.preactivations(x))

    def readout(self, z: Array) -> Array:
        """Return A ReLU(z) + c of shape (n,K), for preactivations z (n,M)."""
        return relu(z) @ self.A.T + self.c  # (E4)

    def predict(self, x: ArrayLike, decision: Decision) -> IntArray:
        """Decided labels (n,): 0 at a sign tie, the lowest index at an argmax tie.

        Whether a sample counts as correct follows `ties` where a function has it, never this.

        >>> TwoLayerReLU([[1.0]], None, [[1.0]]).predict([[2.0], [-1.0]], "sign").tolist()
        [1, 0]
        """
        decision = decisions.check_decision(decision, self.n_outputs)
        return decisions.predict(self.outputs(x), decision)

    def group_sum(self, labels: ArrayLike) -> TwoLayerReLU:
        """Scalar network sum_j labels_j F_j: A' = labels^T A, c' = labels^T c.

        Parameters
        ----------
        labels : (K,) array in {-1, +1}
            Both groups have a class.
        """
        rows = _group_row(labels, self.n_outputs)
        with np.errstate(over="ignore", invalid="ignore"):
            A, c = rows @ self.A, rows @ self.c
        check.representable("labels", "the group sums of A and c", np.append(A, c))
        return TwoLayerReLU(self.W, self.b, A, c)

    def fold_input(
        self, mean: Any, std: Any, *, shape: tuple[int, ...] | None = None
    ) -> TwoLayerReLU:
        """Network that takes raw inputs where this one takes (x - mean) / std: radii in raw units.

        Parameters
        ----------
        mean, std : float, or (d,) array, or (channels,) array where `shape` is given
            std > 0.
        shape : tuple of int, optional
            Of one image, channels first, such as (3, 32, 32): the rows x are its entries in C
            order, channel after channel. Each mean and std then holds for its whole channel.

        Returns
        -------
        TwoLayerReLU
            W' = W / std, b' = b - W' mean, with a bias even where this one has none.

        Examples
        --------
        >>> net = TwoLayerReLU([[1.0]], None, [[1.0]])
        >>> net.fold_input(mean=1.0, std=2.0).outputs([[5.0]]).tolist()
        [[2.0]]
        >>> net = TwoLayerReLU([[1.0, 1.0, 1.0, 1.0]], None, [[1.0]])
        >>> net.fold_input([0.0, 1.0], [1.0, 2.0], shape=(2, 1, 2)).W.tolist()
        [[1.0, 1.0, 0.5, 0.5]]
        """
        size = _channel_size(shape, self.dim)
        mean, std = (_each_input(n, v, self.dim, size) for n, v in (("mean", mean), ("std", std)))
        if not (std > 0).all():
            check.fail("std", "positive numbers", std.min())
        with np.errstate(over="ignore", invalid="ignore"):
            W = self.W / std
            bias = self.bias - W @ mean
        check.representable("std", "W / std", W)
        check.representable("mean", "b - W' mean", bias)
        return TwoLayerReLU(W, bias, self.A, self.c)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write W, b (if any), A, c and format_version as .npz to exactly `path`.

        The file appears whole or not at all.

        Raises
        ------
        OSError
            The directory is missing or not writable.
        """
        bias = {} if self.b is None else {"b": self.b}
        write_npz(path, format_version=FORMAT_VERSION, W=self.W, A=self.A, c=self.c, **bias)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TwoLayerReLU:
        """Read a network from .npz: W, A, optionally b, c and format_version. Never unpickles.

        A plain ``np.savez(path, W=W, b=b, A=A)`` works; float32 arrays are taken exactly.

        Raises
        ------
        ValueError
            The file is no such archive, lacks an array, has one of another name, or is newer.
        OSError
            It is missing or unreadable.
        """
        arrays = read_npz(path)
        version = arrays.pop("format_version", FORMAT_VERSION)
        if not np.array_equal(version, FORMAT_VERSION):
            check.fail(f"{path}: format_version", str(FORMAT_VERSION), version)
        if not {"W", "A"} <= arrays.keys() <= {"W", "b", "A", "c"}:
            names = ", ".join(sorted(arrays)) or "none"
            check.fail(str(path), "arrays W, A and optionally b, c", names)
        with check.about(path):
            return cls(arrays["W"], arrays.get("b"), arrays["A"], arrays.get("c"))


def _channel_size(shape: Any, dim: int) -> int:
    """Entries of one channel of images (channels, ...), 1 where no shape is given."""
    if shape is None:
        return 1
    sizes = [check.integer("shape", size, minimum=1) for size in np.atleast_1d(shape).tolist()]
    if not sizes or math.prod(sizes) != dim:
        check.fail("shape", f"(channels, ...) with d = {dim} entries", shape)
    return dim // sizes[0]


def _each_input(name: str, value: Any, dim: int, channel_size: int) -> Array:
    """Value of every input, from one number, one for each channel, or one for each input."""
    if check.dimensions(value) == 0:
        return np.full(dim, check.real(name, value))
    channels = dim // channel_size
    if check.dimensions(value) == 1 and len(value) == dim:
        channels, channel_size = dim, 1
    return np.repeat(check.real_array(name, value, (channels,)), channel_size)


def _group_row(labels: Any, n_outputs: int) -> Array:
    """Validate labels and return them as the (1,K) row that sums outputs by group."""
    decision = decisions.check_decision(decisions.GroupSum(labels), n_outputs)
    return decisions.targets(1, decision, n_outputs)[0]


def _gaussian(rng: np.random.Generator, shape: tuple[int, ...], name: str, sigma: float) -> Array:
    with np.errstate(over="ignore"):  # the network refuses what is not finite
        return check.real(name, sigma, minimum=0) * rng.standard_normal(shape)  # (E7)
