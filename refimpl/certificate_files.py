"""Files of certificates, with what they certify and the network and samples they are about.

Format, version 1
-----------------
A plain .npz archive (zip of .npy) without pickle. Integers are int64, hashes uint8, radii and
multipliers float64, all little-endian. For n samples and M hidden neurons it holds exactly

- ``format_version`` (): 1.
- ``decision`` (): text, ``sign``, ``argmax``, ``group_max`` or ``group_sum``; ``labels`` (K,): the
  groups -1 or +1 of the latter two, else empty.
- ``ties`` (): text, ``adversarial`` or ``robust``.
- ``network`` (32,): hash of W (M,d), b (M,), A (K,M), c (K,), named so and in this order, float64,
  zeros for a b or c that the network does not have.
- ``samples`` (n,32): for each sample the hash of x (d,) float64 and y () int64, named so.
- ``radius`` (n,): the certified radius R, inf included, 0 for a sample without a certificate.
- ``nodes``, ``leaves``, ``constraints`` (n,): how large each certificate is, 0 without one.
- ``splits`` (sum of nodes,), ``weights`` (sum of leaves times constraints,), ``tau`` and ``nu``
  (sum of leaves, M): the certificates one after the other, weights (leaves,constraints) row by row.
  `refimpl.certificate.Certificate` says what they mean, and what order targets and leaves have.
- ``digest`` (32,): hash of all the arrays above, sorted by name.

A hash is the SHA-256 over, array by array: the name; the shape as Python writes a tuple,
``(10, 3072)``, ``(10,)`` or ``()``; a newline, all in ASCII; and the entries row by row,
little-endian, text as UTF-32 padded with zeros. ``network`` and ``samples`` take -0.0 as 0.0.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl._files import read_npz, write_npz
from refimpl._validation import Array, IntArray
from refimpl.certificate import Certificate
from refimpl.decisions import TIES, Decision, GroupMax, GroupSum, check_decision, check_labels
from refimpl.network import TwoLayerReLU

FORMAT_VERSION = 1

_TYPES = {
    **dict.fromkeys(("decision", "ties"), "<U"),
    **dict.fromkeys(("network", "samples"), "|u1"),
    **dict.fromkeys(("format_version", "labels"), "<i8"),
    **dict.fromkeys(("nodes", "leaves", "constraints", "splits"), "<i8"),
    **dict.fromkeys(("radius", "weights", "tau", "nu"), "<f8"),
}
_GROUPED: dict[str, Any] = {"group_max": GroupMax, "group_sum": GroupSum}

AnyArray = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class CertificateFile:
    """The contents of a file: certificates[i] is to prove that sample i has a radius > radius[i].

    Parameters
    ----------
    certificates : tuple of n Certificate or None
    radius : (n,) array
        In (0, inf]; 0 where there is no certificate.
    decision : {"sign", "argmax"}, GroupMax or GroupSum
    ties : {"adversarial", "robust"}
    network : (32,) uint8 array
        Hash of the network that they are about.
    samples : (n,32) uint8 array
        Hash of each sample and its label.
    """

    certificates: tuple[Certificate | None, ...]
    radius: Array
    decision: Decision
    ties: str
    network: AnyArray
    samples: AnyArray

    def check_inputs(self, net: TwoLayerReLU, x: Any, y: Any) -> None:
        """Raise `ValueError` unless the certificates are about this network and these samples.

        This only names what does not belong together: `refimpl.verify_certificate` proves.

        Parameters
        ----------
        net : TwoLayerReLU
        x : (n,d) array
        y : (n,) array
        """
        if not np.array_equal(self.network, _network_hash(net)):
            check.fail("net", "the network that the certificates are about", "another one")
        samples = _sample_hashes(net, x, y, self.decision)
        if len(samples) != len(self.samples):
            check.fail("x", f"the {len(self.samples)} samples of the file", f"{len(samples)}")
        for i in np.flatnonzero((samples != self.samples).any(axis=1)):
            check.fail(f"x[{i}], y[{i}]", "the sample that certificate is about", "another one")


def save_certificates(
    path: str | os.PathLike[str],
    certificates: Sequence[Certificate | None],
    *,
    radius: Any,
    net: TwoLayerReLU,
    x: Any,
    y: Any,
    decision: Decision = "sign",
    ties: str = "adversarial",
) -> None:
    """Write certificates to exactly `path`, whole or not at all. They are not verified here.

    Parameters
    ----------
    path : str or path
    certificates : sequence of n Certificate or None
        None where nothing is certified.
    radius : (n,) array
        What each certificate proves, inf included: `RobustRadius.lower`. Written as 0 without one.
    net : TwoLayerReLU
    x : (n,d) array
    y : (n,) array
        Network, samples and labels that the certificates are about; the file holds their hashes.
    decision : {"sign", "argmax"}, GroupMax or GroupSum
    ties : {"adversarial", "robust"}

    Raises
    ------
    ValueError
        Arguments that do not fit each other.
    OSError
        The directory is missing or not writable.

    Notes
    -----
    Source: E33; the format stands at the head of this module.
    """
    decision = check_decision(decision, net.n_outputs)
    samples = _sample_hashes(net, x, y, decision)
    if len(certificates) != len(samples):
        check.fail("certificates", f"one for each of {len(samples)} samples", len(certificates))
    sizes = np.array([_sizes(each, net.n_hidden) for each in certificates])
    given = [each for each in certificates if each is not None]
    none = np.empty((0, net.n_hidden))
    values = {
        "format_version": FORMAT_VERSION,
        "decision": decision if isinstance(decision, str) else _group_name(decision),
        "labels": [] if isinstance(decision, str) else decision.labels,
        "ties": check.choice("ties", ties, TIES),
        "network": _network_hash(net),
        "samples": samples,
        "radius": _certified(radius, sizes[:, 0] > 0),
        "nodes": sizes[:, 0],
        "leaves": sizes[:, 1],
        "constraints": sizes[:, 2],
        "splits": np.concatenate([none[:, 0], *(each.splits for each in given)]),
        "weights": np.concatenate([none[:, 0], *(each.weights.ravel() for each in given)]),
        "tau": np.concatenate([none, *(each.tau for each in given)]),
        "nu": np.concatenate([none, *(each.nu for each in given)]),
    }
    arrays = {name: np.asarray(values[name]).astype(_TYPES[name]) for name in sorted(values)}
    write_npz(path, **arrays, digest=_hash(arrays.items()))


def load_certificates(path: str | os.PathLike[str]) -> CertificateFile:
    """Read certificates that `save_certificates` wrote. They are not verified here.

    Raises
    ------
    ValueError
        The file is no such archive, was truncated or altered, or has another format version; the
        message names the path.
    OSError
        It is missing or unreadable.

    Notes
    -----
    Source: E33; the format stands at the head of this module.
    """
    arrays = read_npz(path)
    try:
        version = arrays.get("format_version", FORMAT_VERSION)
        if not np.array_equal(version, FORMAT_VERSION):
            check.fail("format_version", f"{FORMAT_VERSION}", version)
        if arrays.keys() != {*_TYPES, "digest"}:
            check.fail("arrays", ", ".join(sorted({*_TYPES, "digest"})), ", ".join(sorted(arrays)))
        digest = arrays.pop("digest")
        if not np.array_equal(digest, _hash(sorted(arrays.items()))):
            check.fail("digest", "the hash of the other arrays", "another: the file was altered")
        return _decode(arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _decode(arrays: dict[str, AnyArray]) -> CertificateFile:
    """Cut the arrays of a file into certificates."""
    for name, dtype in _TYPES.items():
        if not arrays[name].dtype.str.startswith(dtype):
            check.fail(name, f"dtype {dtype}", arrays[name].dtype.str)
    n = arrays["radius"].size
    shapes = dict.fromkeys(("radius", "nodes", "leaves", "constraints"), (n,))
    for name, shape in {**shapes, "samples": (n, 32), "network": (32,)}.items():
        if arrays[name].shape != shape:
            check.fail(name, f"shape {shape}", f"shape {arrays[name].shape}")
    nodes, leaves, constraints = (arrays[name] for name in ("nodes", "leaves", "constraints"))
    pieces = zip(
        _cut("splits", arrays["splits"], nodes),
        _cut("weights", arrays["weights"], leaves * constraints),
        _cut("tau", arrays["tau"], leaves),
        _cut("nu", arrays["nu"], leaves),
        constraints,
        strict=True,
    )
    decision = check.choice("decision", str(arrays["decision"]), ("sign", "argmax", *_GROUPED))
    return CertificateFile(
        tuple(
            Certificate(splits, weights.reshape(-1, columns), tau, nu) if len(splits) else None
            for splits, weights, tau, nu, columns in pieces
        ),
        radius=arrays["radius"],
        decision=_GROUPED[decision](arrays["labels"]) if decision in _GROUPED else decision,
        ties=check.choice("ties", str(arrays["ties"]), TIES),
        network=arrays["network"],
        samples=arrays["samples"],
    )


def _cut(name: str, array: AnyArray, lengths: IntArray) -> list[AnyArray]:
    """Pieces of an array of the given lengths, one after the other."""
    if (lengths < 0).any() or array.ndim == 0 or lengths.sum() != len(array):
        check.fail(name, f"{lengths.sum()} rows", f"shape {array.shape}")
    return np.split(array, np.cumsum(lengths)[:-1])


def _sizes(certificate: Certificate | None, M: int) -> tuple[int, int, int]:
    """Nodes, leaves and constraints of a certificate whose arrays fit each other."""
    if certificate is None:
        return 0, 0, 0
    if np.ndim(certificate.splits) != 1 or np.ndim(certificate.weights) != 2:
        check.fail("certificates", "splits (nodes,) and weights (leaves,I)", "other shapes")
    leaves, constraints = certificate.weights.shape
    for name in ("tau", "nu"):
        shape = getattr(certificate, name).shape
        if shape != (leaves, M):
            check.fail("certificates", f"{name} of shape ({leaves}, {M})", f"shape {shape}")
    return len(certificate.splits), leaves, constraints


def _certified(radius: Any, given: AnyArray) -> Array:
    """Radii with 0 where there is no certificate; positive, inf included, elsewhere."""
    radius = np.asarray(radius, dtype=np.float64)
    if radius.shape != given.shape:
        check.fail("radius", f"shape {given.shape}", f"shape {radius.shape}")
    if not (radius[given] > 0).all():
        check.fail("radius", "positive numbers where there are certificates", radius[given].min())
    return np.where(given, radius, 0.0)


def _group_name(decision: GroupMax | GroupSum) -> str:
    return next(name for name, kind in _GROUPED.items() if type(decision) is kind)


def _network_hash(net: TwoLayerReLU) -> AnyArray:
    named = {"W": net.W, "b": net.bias, "A": net.A, "c": net.c}
    return _hash((name, array + 0.0) for name, array in named.items())


def _sample_hashes(net: TwoLayerReLU, x: Any, y: Any, decision: Decision) -> AnyArray:
    x = check.real_array("x", x, ("n", net.dim)) + 0.0
    y = check_labels(y, len(x), decision, net.n_outputs)
    return np.stack([_hash([("x", x[i]), ("y", y[i])]) for i in range(len(x))])


def _hash(named: Iterable[tuple[str, AnyArray]]) -> AnyArray:
    """SHA-256 of named arrays, as (32,) uint8."""
    sha = hashlib.sha256()
    for name, array in named:
        little = np.asarray(array, dtype=array.dtype.newbyteorder("<"))
        sha.update(f"{name}{little.shape}\n".encode() + little.tobytes())
    return np.frombuffer(sha.digest(), dtype=np.uint8)
