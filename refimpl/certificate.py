"""Independent check of a certificate that the robust radius of one sample exceeds R (E33).

The adversarial set is a union over targets of {delta : g_i(delta) <= 0 for all i}, with
g_i = sum_k D_ik F_k(x + delta) (E30). A certificate is a binary tree of splits z_r >= 0 | z_r <= 0
for each target, and multipliers at each leaf. This module knows nothing of the solver: it derives
the targets itself, reads W, b, A, c, x as the exact rational numbers that float64 holds, and shows
for every leaf that its part of the ball ||delta|| <= R holds no adversarial point.

Why a leaf is proved
--------------------
Let w >= 0, v = D^T w and gamma = A^T v, so that sum_i w_i g_i = <v, c> + sum_r gamma_r ReLU(z_r),
where z(delta) = W (x + delta) + b. On the leaf and within the ball

- gamma_r >= 0: gamma_r ReLU(z_r) >= tau_r gamma_r z_r for every tau_r in [0,1];
- gamma_r < 0: gamma_r ReLU(z_r) >= gamma_r (slope_r z_r + offset_r), where the line lies above
  ReLU(z_r): z_r itself where z_r >= 0, 0 where z_r <= 0, by the path or by lo_r <= z_r <= up_r with
  [lo_r, up_r] containing z_r(0) -+ R ||w_r||; else the chord slope_r (z_r - lo_r),
  slope_r >= up_r / (up_r - lo_r);
- 0 >= -nu_r z_r where the path has z_r >= 0, and 0 >= nu_r z_r where it has z_r <= 0.

The sum is l(delta) = l0 + <l1, delta> <= sum_i w_i g_i with l1 = W^T q. Where l0 > R ||l1||, l > 0
on the ball: some g_i > 0 at each point of the leaf, or the leaf does not meet the ball.

- ties="adversarial": no adversarial point has ||delta|| <= R, and the set is closed, so r > R.
- ties="robust": l0 >= R ||l1|| with sum_i w_i > 0 is enough too, since sum_i w_i g_i < 0 at every
  strictly adversarial point. None has ||delta|| <= R, which is r >= R: the set is open, and R = r
  can pass.
- R = inf: l1 = 0 exactly and l0 > 0 (strict: l0 >= 0), without bounds and chords, except for
  neurons with w_r = 0. No adversarial point exists.

Exact mode
----------
Floats are integers times powers of two: W x and W W^T are sums of products of integers, the rest is
`fractions.Fraction`. Only ||w_r|| and the chord's slope are rounded, both up, by at most 2^-64.

Float mode
----------
A leaf is tried in float64 first, and proved if l0 - R ||l1|| > 4 eps S as computed. What this
cannot decide is left to exact mode: both modes accept the same certificates. With u = 2^-53 and

    eps = n u,  n = 2 ceil(sqrt(d)) + 5 M + 4 K + 3 I + 32,
    size_r = sum_j |W_rj x_j| + |b_r| + R ||w_r||,    |z_r| <= size_r on the ball,
    S = sum_k |v_k c_k| + sum_r (B_r + nu_r) size_r,  B_r = sum_k |v_k A_kr|,

l as computed is off by less than 4 eps S everywhere on the ball. To first order in u, a sum of m
products, in any order, has an error of at most m u times the sum of their absolute values, and dots
over d are sums of sums, with 2 ceil(sqrt(d)) for m. The errors are

1. v and gamma, sums of I and of K terms. An error e of gamma_r, even one that flips its sign, moves
   l by at most |e| size_r on the ball: (I + K) u S;
2. q = gamma f - nu, two roundings that act like 1: 2 u S;
3. slope, rounded up, and offset: 6 u S;
4. l0, a sum of K + 2 M products with absolute values of at most 2 S in all: 2 (K + 2 M + 2) u S;
5. v in <v, c>: I u S, and z in <q, z>: (2 ceil(sqrt(d)) + 2) u S;
6. l1 = W^T q, componentwise M u sum_r |q_r W_rj|, and its norm, which is rounded up by 2 eps:
   times R, M u S.

Together less than eps S; the factor of 4 covers terms of higher order and the roundings of S, of
the norm and of the last subtraction. The bounds lo and up are widened by 2 eps size, more than
z and ||w_r|| are off by. Underflow puts a product off by at most 2^-1075: 2^-960, which is added to
every size and magnitude and under every root, pays for it. Overflow gives inf or NaN and proves
nothing: up / (up - lo), which overflow would turn into 0, is computed as 1 / (1 - lo / up), where 0
means that up, by which the line is then off, is below 2^-1000 size.

Some of this is margin. Rounding slope and the norms up, and lo and up apart, makes every line lie
above ReLU as computed; without it l would be off by another 3 u S, (ceil(sqrt(d)) + 3) u S and
(2 ceil(sqrt(d)) + 4) u S, which the factor of 4 would cover too. It would also cover n without 3 I,
as I <= K, or without 32. And l0 cannot be inf where S is finite, unless l > 0 indeed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from refimpl import _validation as check
from refimpl._validation import Array, IntArray
from refimpl.decisions import TIES, Decision, GroupMax, GroupSum, check_decision, check_labels
from refimpl.network import TwoLayerReLU

Numbers = np.ndarray[Any, Any]  # float64, or objects: int and Fraction

_UNIT = 2.0**-53
_FLOOR = 2.0**-960  # added to every magnitude: pays for underflow
_LEAVES_AT_ONCE = 256  # keeps W^T q of a large tree small
_fractions: Callable[[Numbers], Numbers] = np.frompyfunc(Fraction, 1, 1)


@dataclass(frozen=True, eq=False)
class Certificate:
    """Proof that the robust radius of one sample exceeds a number (E33).

    Parameters
    ----------
    splits : (nodes,) int64 array
        The trees of all targets one after the other, in preorder. An inner node is the index of a
        neuron that its path has not split yet; after it come the whole subtree with that neuron on
        (z_r >= 0) and the whole subtree with it off (z_r <= 0). A leaf is -1.
    weights : (leaves,I) array
        w >= 0 over the I constraints of the leaf's target. Leaves stand in order of appearance.
    tau : (leaves,M) array
        In [0,1]: the slope of the line below ReLU(z_r) where gamma_r >= 0.
    nu : (leaves,M) array
        At least 0: multipliers of the path's signs; 0 for neurons off the path.

    Notes
    -----
    Targets stand in this order. sign and group_sum: one, with one constraint. argmax: the classes
    t != y, ascending, with the one constraint F_y - F_t. group_max: the classes t of the other
    group, ascending, with constraints F_i - F_t, i ascending over the own group.

    Nothing is checked here: `verify_certificate` does.
    """

    splits: IntArray
    weights: Array
    tau: Array
    nu: Array


class CertificateError(ValueError):
    """The certificate is malformed, or a leaf of it does not prove what it has to."""


class _Leaves(NamedTuple):
    """n leaves: D (n,I,K) of their targets, phase (n,M) 1 on, -1 off, 0 free, and multipliers."""

    rows: Numbers
    phase: Numbers
    weights: Numbers
    tau: Numbers
    nu: Numbers

    def take(self, index: Any) -> _Leaves:
        return _Leaves(*(array[index] for array in self))


class _Sample(NamedTuple):
    """Numbers of one sample: ReLU(z_r) <= slope_r z_r + offset_r on the ball where `bounded`."""

    A: Numbers
    c: Numbers
    z: Numbers
    slope: Numbers
    offset: Numbers
    bounded: Numbers


class _ExactNetwork(NamedTuple):
    """Integers W 2^shift and their Gram matrix: worked out once for each network."""

    W: Numbers
    shift: int
    gram: Numbers


_EXACT_NETWORKS: WeakKeyDictionary[TwoLayerReLU, _ExactNetwork] = WeakKeyDictionary()


def verify_certificate(
    net: TwoLayerReLU,
    x: Any,
    y: Any,
    certificate: Certificate,
    *,
    radius: float,
    decision: Decision = "sign",
    ties: str = "adversarial",
    exact: bool = False,
) -> None:
    """Prove that no adversarial point x + delta has ||delta|| <= radius, or raise.

    The network is read in real arithmetic: W, b, A, c and x are the rational numbers that their
    float64 values stand for.

    Parameters
    ----------
    net : TwoLayerReLU
    x : (d,) or (1,d) array
        One sample.
    y : int
        Its label, -1 or +1; a class for argmax.
    certificate : Certificate
    radius : float
        R > 0, inf included. ``ties="adversarial"`` proves r > R (for R = inf: r = inf);
        ``ties="robust"`` proves r >= R.
    decision : {"sign", "argmax"}, GroupMax or GroupSum
    ties : {"adversarial", "robust"}
    exact : bool
        True: rational arithmetic throughout. False: float64 with a proven error bound, and rational
        arithmetic only for the leaves that this cannot decide. The verdict is the same.

    Raises
    ------
    CertificateError
        A leaf is not proved: the message names its target, its row in `weights` and its path. Or
        the certificate is malformed, or the radius is not positive (radius 0 needs no proof).
    ValueError
        The other arguments are not what they should be. `CertificateError` is a `ValueError` too.

    Notes
    -----
    Source: E33, derived; the proof stands at the head of this module.

    Examples
    --------
    f(x) = ReLU(x) - ReLU(-x) = x has the radius 2 at x = 2. Within it -x stays below 0, so that
    the one leaf needs no split: l = 2 + delta.

    >>> net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])
    >>> leaf = Certificate(np.array([-1]), np.ones((1, 1)), np.ones((1, 2)), np.zeros((1, 2)))
    >>> verify_certificate(net, [2.0], 1, leaf, radius=1.999)
    >>> verify_certificate(net, [2.0], 1, leaf, radius=2.0)
    Traceback (most recent call last):
    ...
    refimpl.certificate.CertificateError: target 0, leaf 0, path []: not proved for radius 2.0
    """
    check.instance("net", net, TwoLayerReLU)
    decision = check_decision(decision, net.n_outputs)
    check.choice("ties", ties, TIES)
    shape = (net.dim,) if np.ndim(x) == 1 else (1, net.dim)
    x = check.real_array("x", x, shape).reshape(-1)
    y = int(check_labels(np.ravel(y), 1, decision, net.n_outputs)[0])
    everywhere = np.ndim(radius) == 0 and radius == math.inf
    R = math.inf if everywhere else float(_form("radius", radius, ()))
    if R <= 0:
        raise CertificateError(f"radius: expected a positive number or inf, got {R}")
    targets = _targets(y, decision, net.n_outputs)
    owner, leaves = _read(certificate, targets, net.n_hidden)
    proved = np.zeros(len(owner), dtype=bool)
    if not exact and math.isfinite(R):
        for start in range(0, len(owner), _LEAVES_AT_ONCE):
            part = slice(start, start + _LEAVES_AT_ONCE)
            proved[part] = _proved_in_floats(leaves.take(part), net, x, R)
    if not proved.all():
        sample, exact_net = _rational_sample(net, x, R)
        for i in np.flatnonzero(~proved):
            if not _proved(leaves.take([i]), sample, exact_net, R, strict=ties == "robust"):
                raise CertificateError(f"{_name(owner, leaves, i)}: not proved for radius {R}")


def _targets(y: int, decision: Decision, n_outputs: int) -> Numbers:
    """D (L,I,K) with g_i = sum_k D_ik F_k, derived here and not taken from what the solver uses."""
    if isinstance(decision, GroupSum):
        return (y * decision.labels).reshape(1, 1, -1)
    if decision == "sign":
        return np.array([[[y]]])
    classes = range(n_outputs)
    group = decision.labels if isinstance(decision, GroupMax) else classes
    D = [
        [[(k == i) - (k == t) for k in classes] for i in classes if group[i] == y]
        for t in classes
        if group[t] != y
    ]
    return np.array(D)  # (E30)


def _read(certificate: Certificate, targets: Numbers, M: int) -> tuple[list[int], _Leaves]:
    """Target of each leaf, and the leaves, with every requirement on their form checked."""
    if not isinstance(certificate, Certificate):
        got = type(certificate).__name__
        raise CertificateError(f"certificate: expected a Certificate, got {got}")
    owner, phase = _walk(_form("splits", certificate.splits, ("nodes",)), len(targets), M)
    n = len(owner)
    weights = _form("weights", certificate.weights, (n, targets.shape[1]))
    tau = _form("tau", certificate.tau, (n, M))
    nu = _form("nu", certificate.nu, (n, M))
    leaves = _Leaves(targets[owner], phase, weights, tau, nu)
    for good, rule in (
        (weights >= 0, "weights: expected numbers of at least 0"),
        ((tau >= 0) & (tau <= 1), "tau: expected numbers in [0, 1]"),
        ((nu >= 0) & ((phase != 0) | (nu == 0)), "nu: expected at least 0, and 0 off the path"),
    ):
        if not good.all():
            raise CertificateError(f"{_name(owner, leaves, np.argmin(good.all(axis=1)))}: {rule}")
    return owner, leaves


def _form(name: str, value: Any, shape: tuple[int | str, ...]) -> Array:
    """Finite float64 array of the given shape; as a part of a certificate it has its own error."""
    try:
        return check.real_array(name, value, shape)
    except ValueError as error:
        raise CertificateError(str(error)) from None


def _name(owner: list[int], leaves: _Leaves, i: Any) -> str:
    phase = leaves.phase[i]
    path = ", ".join(f"{r} {'on' if phase[r] > 0 else 'off'}" for r in np.flatnonzero(phase))
    return f"target {owner[i]}, leaf {i}, path [{path}]"


def _walk(splits: Array, n_targets: int, M: int) -> tuple[list[int], Numbers]:
    """Walk the trees in preorder: target of each leaf, and phases (leaves,M)."""
    owner, phases = [], []
    pending = [(target, np.zeros(M, dtype=np.int8)) for target in reversed(range(n_targets))]
    for position, r in enumerate(splits.tolist()):
        if not pending:
            raise CertificateError(f"splits: the trees end before node {position}")
        target, phase = pending.pop()
        if r == -1:
            owner.append(target)
            phases.append(phase)
            continue
        if r not in range(M) or phase[int(r)] != 0:
            expected = f"-1 or a neuron in 0..{M - 1} that its path has not split"
            raise CertificateError(f"splits: expected {expected}, got {r:g} at node {position}")
        on, off = phase.copy(), phase
        on[int(r)], off[int(r)] = 1, -1
        pending += [(target, off), (target, on)]
    if pending:
        raise CertificateError(f"splits: the tree of target {pending[-1][0]} is not complete")
    return owner, np.array(phases)


def _minorant(leaves: _Leaves, sample: _Sample) -> tuple[Numbers, Numbers, Numbers]:
    """Return l0 (n,), q (n,M) with l1 = W^T q, and whether all lines it needs exist (n,).

    The one formula of both arithmetics: the arrays hold floats or fractions.
    """
    free = leaves.phase == 0
    v = (leaves.weights[:, None] @ leaves.rows)[:, 0]
    gamma = v @ sample.A
    line = np.where(free, sample.slope, np.maximum(leaves.phase, 0))
    q = gamma * np.where(gamma >= 0, leaves.tau, line) - leaves.phase * leaves.nu  # (E33)
    chords = (np.minimum(gamma, 0) * np.where(free, sample.offset, 0)).sum(axis=1)
    usable = ((gamma >= 0) | ~free | sample.bounded).all(axis=1)
    return v @ sample.c + chords + q @ sample.z, q, usable  # (E33)


def _proved_in_floats(leaves: _Leaves, net: TwoLayerReLU, x: Array, R: float) -> Numbers:
    """Which leaves (n,) float64 proves, by the error bound at the head of this module."""
    n_constraints = leaves.weights.shape[1]
    n = 2 * _root(net.dim) + 5 * net.n_hidden + 4 * net.n_outputs + 3 * n_constraints + 32
    eps = n * _UNIT
    with np.errstate(all="ignore"):  # overflow fails every comparison
        z = _dots(net.W, x) + net.bias
        reach = R * _norms(net.W, eps)
        size = np.abs(net.W) @ np.abs(x) + np.abs(net.bias) + reach + _FLOOR
        lo, up = z - (reach + 2 * eps * size), z + (reach + 2 * eps * size)
        chord = (1 + 6 * _UNIT) / (1 - lo / up)  # up / (up - lo), never up / inf
        slope = np.where(lo >= 0, 1.0, np.where(up <= 0, 0.0, chord))
        offset = np.where((lo < 0) & (up > 0), -slope * lo, 0.0)
        l0, q, _ = _minorant(leaves, _Sample(net.A, net.c, z, slope, offset, np.array(True)))
        v = np.abs(leaves.weights[:, None] @ leaves.rows)[:, 0]
        magnitudes = v @ np.abs(net.A) + leaves.nu + _FLOOR
        S = v @ np.abs(net.c) + magnitudes @ size + _FLOOR
        gap = l0 - R * _norms(q @ net.W, eps)
        proved: Numbers = np.isfinite(l0) & (gap > 4 * eps * S)  # (E33)
        return proved


def _root(d: int) -> int:
    return math.isqrt(d - 1) + 1


def _dots(rows: Array, x: Array) -> Array:
    """<row, x> for each row, as a sum of about sqrt(d) sums of about sqrt(d) products."""
    d = rows.shape[-1]
    return np.add.reduceat(rows * x, np.arange(0, d, _root(d)), axis=-1).sum(axis=-1)


def _norms(rows: Array, eps: float) -> Array:
    """Upper bounds of ||row||."""
    return np.sqrt(_dots(rows, rows) + rows.shape[-1] * _FLOOR) * (1 + 2 * eps)


def _proved(
    leaf: _Leaves, sample: _Sample, exact_net: _ExactNetwork, R: float, *, strict: bool
) -> bool:
    """Whether exact arithmetic proves the one leaf that `leaf` holds."""
    counts = (array.astype(object) for array in leaf[:2])
    (l0,), (q,), (usable,) = _minorant(_Leaves(*counts, *map(_fractions, leaf[2:])), sample)
    scale = math.lcm(*(number.denominator for number in q))
    scaled = np.array([int(number * scale) for number in q], dtype=object)
    square = scaled @ exact_net.gram @ scaled  # (scale 2^shift ||l1||)^2, an integer
    if not usable or (square and math.isinf(R)):
        return False
    drop = Fraction(R if square else 0) ** 2 * Fraction(square, (scale << exact_net.shift) ** 2)
    if l0 > 0 and l0**2 > drop:  # (E33)
        return True
    return bool(strict and leaf.weights.any() and l0 >= 0 and l0**2 >= drop)  # (E33)


def _rational_sample(net: TwoLayerReLU, x: Array, R: float) -> tuple[_Sample, _ExactNetwork]:
    """Fractions of one sample: z = W x + b, and the lines above ReLU on the ball; and W W^T."""
    if (exact_net := _EXACT_NETWORKS.get(net)) is None:
        W, shift = _integers(net.W)
        exact_net = _EXACT_NETWORKS[net] = _ExactNetwork(W, shift, W @ W.T)
    squares = np.diag(exact_net.gram)
    integers, shift = _integers(x)
    z = _over(exact_net.W @ integers, exact_net.shift + shift) + _fractions(net.bias)
    roots = [math.isqrt((square << 128) - 1) + 1 if square else 0 for square in squares]
    reach = Fraction(R if math.isfinite(R) else 0) * _over(roots, exact_net.shift + 64)
    lines = [_line(lo, up) for lo, up in zip(z - reach, z + reach, strict=True)]
    slope, offset = np.array(lines, dtype=object).T
    bounded = (squares == 0) | math.isfinite(R)
    return _Sample(_fractions(net.A), _fractions(net.c), z, slope, offset, bounded), exact_net


def _line(lo: Fraction, up: Fraction) -> tuple[Fraction, Fraction]:
    """Slope and offset of a line above ReLU on [lo, up], the slope a multiple of 2^-64."""
    if lo >= 0:
        return Fraction(1), Fraction(0)
    if up <= 0:
        return Fraction(0), Fraction(0)
    slope = Fraction(math.ceil(up / (up - lo) * 2**64), 2**64)
    return slope, -slope * lo


def _integers(array: Array) -> tuple[Numbers, int]:
    """Integers (of any size) and a shift >= 0 with array = integers / 2^shift exactly."""
    mantissa, exponent = np.frexp(array)
    shift = max(0, 53 - int(exponent.min()))
    integers = (mantissa * 2.0**53).astype(np.int64).astype(object)
    return integers << (exponent - 53 + shift).astype(object), shift


def _over(integers: Any, shift: int) -> Numbers:
    """Fractions integers / 2^shift."""
    result: Numbers = np.array([Fraction(integer, 1 << shift) for integer in integers])
    return result
