"""Files of certificates, with what they certify and the network and samples they are about.

Format, versions 1 and 2
------------------------
A plain .npz archive (zip of .npy) without pickle or compression. Integers are int64, hashes uint8,
radii and multipliers float64, all little-endian. For n samples and M hidden neurons it holds
exactly

- ``format_version`` (): 1, or 2 if any certificate has parabolas or narrowing steps, or where the
  radii are not l2 radii without a box.
- ``decision`` (): text, ``sign``, ``argmax``, ``group_max`` or ``group_sum``; ``labels`` (K,): the
  groups -1 or +1 of the latter two, else empty.
- ``ties`` (): text, ``adversarial`` or ``robust``.
- ``network`` (32,): hash of W (M,d), b (M,), A (K,M), c (K,), named so and in this order, float64,
  zeros for a b or c that the network does not have.
- ``samples`` (n,32): for each sample the hash of x (d,) float64 and y () int64, named so.
- ``radius`` (n,): the certified radius R > 0, inf included; 0 for a sample without a certificate,
  of which nothing is certified.
- ``nodes``, ``leaves``, ``constraints`` (n,): how large each certificate is, 0 without one;
  narrowing steps count as leaves, since both have a row of multipliers.
- ``splits`` (sum of nodes,), ``weights`` (sum of leaves times constraints,), ``tau`` and ``nu``
  (sum of leaves, M): the certificates one after the other, weights (leaves,constraints) row by row.
  `refimpl.certificate.Certificate` says what they mean, and what order targets and leaves have.
- version 2 only: ``kappa`` (sum of leaves, M) and ``ball`` (sum of leaves,); ``cuts`` (n,), how
  many each certificate has, 0 included; ``cut_row``, ``cut_neuron``, ``cut_side`` int64,
  ``cut_bound`` and ``cut_mu`` (sum of cuts,). Rows count from 0 in each certificate.
- version 2, all three or none: ``norm`` (), the p of l_p as float64, 1, 2 or inf; ``box_lo`` and
  ``box_hi`` (d,), limits of x + delta, -inf and inf where there are none. Without them radii are
  l2 radii without a box, and with 2 and no limit at all they stand for the same.
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
from itertools import accumulate
from typing import Any

import numpy as np

from refimpl import _repr
from refimpl import _validation as check
from refimpl._arrays import Array
from refimpl._files import read_npz, write_npz
from refimpl.certificate import Certificate, Cuts
from refimpl.decisions import TIES, Decision, GroupMax, GroupSum, check_decision, check_labels
from refimpl.network import TwoLayerReLU

FORMAT_VERSION = 2  # the newest

_FORM: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "format_version": ("<i8", ()),
    "decision": ("<U", ()),
    "labels": ("<i8", ("K",)),
    "ties": ("<U", ()),
    "network": ("|u1", (32,)),
    "radius": ("<f8", ("n",)),
    "samples": ("|u1", ("n", 32)),
    "nodes": ("<i8", ("n",)),
    "leaves": ("<i8", ("n",)),
    "constraints": ("<i8", ("n",)),
    "splits": ("<i8", ("all nodes",)),
    "weights": ("<f8", ("all weights",)),
    "tau": ("<f8", ("all leaves", "M")),
    "nu": ("<f8", ("all leaves", "M")),
}
_CUTS = {f"cut_{name}": "<f8" if name in ("bound", "mu") else "<i8" for name in Cuts._fields}
_FORM_2 = _FORM | {
    "kappa": ("<f8", ("all leaves", "M")),
    "ball": ("<f8", ("all leaves",)),
    "cuts": ("<i8", ("n",)),
    **{name: (dtype, ("all cuts",)) for name, dtype in _CUTS.items()},
}
_FORMS = {1: _FORM, FORMAT_VERSION: _FORM_2}
_REGION: dict[str, tuple[str, tuple[int | str, ...]]] = {
    "norm": ("<f8", ()),
    "box_lo": ("<f8", ("d",)),
    "box_hi": ("<f8", ("d",)),
}
_SIZES = ("nodes", "leaves", "constraints")
_GROUPED: dict[str, Any] = {"group_max": GroupMax, "group_sum": GroupSum}

AnyArray = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False, repr=False)
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
    norm : {1, 2, inf}
        Radii are l_p radii with this p.
    box : (lo, hi) or None
        Limits (d,) of the points that count as adversarial.

    Notes
    -----
    Source: E33, derived; the format stands at the head of this module.

    Examples
    --------
    f(x) = ReLU(x) - ReLU(-x) = x has the radius 2 at x = 2. `load_certificates` makes objects like
    this one, `check_inputs` sees whom they belong to, and `refimpl.verify_certificate` proves.

    >>> from tempfile import TemporaryDirectory
    >>> net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])
    >>> leaf = Certificate(np.array([-1]), np.ones((1, 1)), np.ones((1, 2)), np.zeros((1, 2)))
    >>> with TemporaryDirectory() as folder:
    ...     path = f"{folder}/proofs.npz"
    ...     save_certificates(path, [leaf], radius=[1.5], net=net, x=[[2.0]], y=[1])
    ...     file = load_certificates(path)
    >>> file, file.radius.tolist()
    (CertificateFile(n=1, certificates=1, decision='sign', ties='adversarial'), [1.5])
    >>> file.check_inputs(net, [[2.0]], [1])
    >>> file.check_inputs(net, [[3.0]], [1])
    Traceback (most recent call last):
    ...
    ValueError: x[0], y[0]: expected the sample that certificate is about, got another one
    """

    certificates: tuple[Certificate | None, ...]
    radius: Array
    decision: Decision
    ties: str
    network: AnyArray
    samples: AnyArray
    norm: float = 2.0
    box: tuple[Array, Array] | None = None

    def __repr__(self) -> str:
        given = sum(each is not None for each in self.certificates)
        return _repr.sizes(
            self,
            n=len(self.certificates),
            certificates=given,
            decision=self.decision,
            ties=self.ties,
            **({} if self.norm == 2 else {"norm": self.norm}),
            **({} if self.box is None else {"box": True}),
        )

    def check_inputs(self, net: TwoLayerReLU, x: Any, y: Any) -> None:
        """Raise `ValueError` unless the certificates are about this network and these samples.

        This only names what does not belong together: `refimpl.verify_certificate` proves.

        Parameters
        ----------
        net : TwoLayerReLU
        x : (n,d) array
        y : (n,) array

        Raises
        ------
        ValueError
            Another network, other samples or labels, a decision that the network cannot make, or
            a box that does not hold the samples.
        """
        if not np.array_equal(self.network, _network_hash(net)):
            check.fail("net", "the network that the certificates are about", "another one")
        samples = _sample_hashes(net, x, y, self.decision)
        if len(samples) != len(self.samples):
            check.fail("x", f"the {len(self.samples)} samples of the file", f"{len(samples)}")
        for i in np.flatnonzero((samples != self.samples).any(axis=1)):
            check.fail(f"x[{i}], y[{i}]", "the sample that certificate is about", "another one")
        check.check_box(self.box, check.real_array("x", x, ("n", net.dim)))


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
    norm: float = 2,
    box: Any = None,
) -> None:
    """Write certificates to exactly `path`, whole or not at all. They are not verified here.

    Parameters
    ----------
    path : str or path
    certificates : sequence of n Certificate or None
        None where nothing is certified.
    radius : (n,) array
        What each certificate proves, inf included: `RobustRadius.lower`. Written as 0 without one,
        since then nothing is proved.
    net : TwoLayerReLU
    x : (n,d) array
    y : (n,) array
        Network, samples and labels that the certificates are about; the file holds their hashes.
    decision : {"sign", "argmax"}, GroupMax or GroupSum
    ties : {"adversarial", "robust"}
    norm : {1, 2, numpy.inf}
        What the radii are measured in.
    box : (lo, hi), optional
        Limits of x + delta, numbers or (d,) arrays, which may be infinite.

    Raises
    ------
    ValueError
        Arguments that do not fit each other; a certificate whose shapes or splits no certificate
        can have, or with numbers that are not real or that float64 does not hold; a radius that is
        not positive where there is a certificate.
    OSError
        The directory is missing or not writable.

    Notes
    -----
    Source: E33, derived; the format stands at the head of this module.

    Examples
    --------
    f(x) = x at x = 2, where its radius is 2, and at x = -1, which it misclassifies.

    >>> from tempfile import TemporaryDirectory
    >>> from refimpl import robust_radius
    >>> net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])
    >>> x, y = [[2.0], [-1.0]], [1, 1]
    >>> result = robust_radius(net, x, y, certificates=True)
    >>> with TemporaryDirectory() as folder:
    ...     path = f"{folder}/proofs.npz"
    ...     save_certificates(path, result.certificates, radius=result.lower, net=net, x=x, y=y)
    ...     file = load_certificates(path)
    >>> file.radius.round(6).tolist(), file.certificates[1]
    ([2.0, 0.0], None)
    """
    samples = _sample_hashes(net, x, y, decision)
    certificates = _well_formed(certificates, len(samples), net.n_hidden)
    given = [each for each in certificates if each is not None]
    none = np.empty((0, net.n_hidden))
    sizes = np.array([_sizes(each) for each in certificates])
    radii = check.extended_array("radius", radius, (len(samples),))
    region = _region(norm, box, check.real_array("x", x, ("n", net.dim)))
    version = 2 if region else max((_version(each) for each in given), default=1)
    values: dict[str, Any] = {
        "format_version": version,
        "decision": decision if isinstance(decision, str) else _group_name(decision),
        "labels": [] if isinstance(decision, str) else decision.labels,
        "ties": check.choice("ties", ties, TIES),
        "network": _network_hash(net),
        "samples": samples,
        "radius": np.where(sizes[:, 0] > 0, radii, 0.0),
        "nodes": sizes[:, 0],
        "leaves": sizes[:, 1],
        "constraints": sizes[:, 2],
        "splits": np.concatenate([none[:, 0], *(each.splits for each in given)]),
        "weights": np.concatenate([none[:, 0], *(each.weights.ravel() for each in given)]),
        "tau": np.concatenate([none, *(each.tau for each in given)]),
        "nu": np.concatenate([none, *(each.nu for each in given)]),
        **(_newer(certificates, net.n_hidden) if version > 1 else {}),
        **region,
    }
    form = _FORMS[version] | _REGION
    arrays = {name: np.asarray(values[name]).astype(form[name][0]) for name in sorted(values)}
    _check_sizes(arrays)
    write_npz(path, **arrays, digest=_hash(arrays.items()))


def load_certificates(path: str | os.PathLike[str]) -> CertificateFile:
    """Read certificates that `save_certificates` wrote. They are not verified here.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    CertificateFile

    Raises
    ------
    ValueError
        The file is no such archive, was truncated or altered, has another format version, or holds
        what no certificates can be; the message names the path.
    OSError
        It is missing or unreadable.

    Notes
    -----
    Source: E33, derived; the format stands at the head of this module.

    Examples
    --------
    What a file says is proved by `refimpl.verify_certificate`, which needs no more than the file,
    the network and the samples.

    >>> from tempfile import TemporaryDirectory
    >>> from refimpl import verify_certificate
    >>> net = TwoLayerReLU([[1.0], [-1.0]], None, [[1.0, -1.0]])
    >>> leaf = Certificate(np.array([-1]), np.ones((1, 1)), np.ones((1, 2)), np.zeros((1, 2)))
    >>> with TemporaryDirectory() as folder:
    ...     path = f"{folder}/proofs.npz"
    ...     save_certificates(path, [leaf], radius=[1.5], net=net, x=[[2.0]], y=[1])
    ...     file = load_certificates(path)
    >>> verify_certificate(net, [2.0], 1, file.certificates[0], radius=file.radius[0])
    """
    arrays = read_npz(path, stored=True)
    try:
        version = arrays.get("format_version", np.array(1))
        if version.dtype.kind not in "iu" or version.tolist() not in tuple(_FORMS):
            check.fail("format_version", " or ".join(map(str, _FORMS)), version)
        region = _REGION if version > 1 and _REGION.keys() & arrays.keys() else {}
        names = {*_FORMS[int(version)], *region, "digest"}
        if arrays.keys() != names:
            check.fail("arrays", ", ".join(sorted(names)), ", ".join(sorted(arrays)))
        digest = arrays.pop("digest")
        if not np.array_equal(digest, _hash(sorted(arrays.items()))):
            check.fail("digest", "the hash of the other arrays", "another: the file was altered")
        return _decode(arrays)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _decode(arrays: dict[str, AnyArray]) -> CertificateFile:
    """Cut the arrays of a file into certificates."""
    _check_form(arrays)
    _check_sizes(arrays)
    # As Python's integers: those of a bad file can be so large that int64 overflows.
    nodes, leaves, constraints = (arrays[name].tolist() for name in _SIZES)
    products = [rows * columns for rows, columns in zip(leaves, constraints, strict=True)]
    pieces = zip(
        _cut("splits", arrays["splits"], nodes),
        _cut("weights", arrays["weights"], products),
        _cut("tau", arrays["tau"], leaves),
        _cut("nu", arrays["nu"], leaves),
        _decode_newer(arrays, leaves),
        strict=True,
    )
    return CertificateFile(
        tuple(
            Certificate(splits, weights.reshape(len(tau), -1), tau, nu, *newer)
            if len(splits)
            else None
            for splits, weights, tau, nu, newer in pieces
        ),
        radius=arrays["radius"],
        decision=_decision(str(arrays["decision"]), arrays["labels"]),
        ties=check.choice("ties", str(arrays["ties"]), TIES),
        network=arrays["network"],
        samples=arrays["samples"],
        **_decode_region(arrays),
    )


def _region(norm: float, box: Any, x: Array) -> dict[str, Any]:
    """Make the arrays of a norm and a box, none for l2 without a box."""
    norm, box = check.check_norm(norm), check.check_box(box, x)
    if norm == 2 and box is None:
        return {}
    lo, hi = box or (np.full(x.shape[1], -np.inf), np.full(x.shape[1], np.inf))
    return {"norm": norm, "box_lo": lo, "box_hi": hi}


def _decode_region(arrays: dict[str, AnyArray]) -> dict[str, Any]:
    """Norm and box, none of them where the file has none."""
    if "norm" not in arrays:
        return {}
    box = arrays["box_lo"], arrays["box_hi"]
    endless = (box[0] == -np.inf).all() and (box[1] == np.inf).all()
    none = np.empty((0, len(box[0])))  # the samples are not in the file
    return {
        "norm": check.check_norm(arrays["norm"].item()),
        "box": None if endless else check.check_box(box, none),
    }


def _decode_newer(arrays: dict[str, AnyArray], leaves: list[int]) -> list[tuple[Any, ...]]:
    """kappa, ball and cuts of each certificate, None where it has none."""
    if "cuts" not in arrays:
        return [()] * len(leaves)
    counts = arrays["cuts"].tolist()
    for i, count in enumerate(counts):
        if count < 0 or (count > 0 and leaves[i] == 0):
            check.fail(f"cuts[{i}]", "at least 0, and 0 without a certificate", count)
    columns = [_cut(name, arrays[name], counts) for name in _CUTS]
    kappas, balls = (_cut(name, arrays[name], leaves) for name in ("kappa", "ball"))
    return [
        (
            kappa if kappa.any() else None,
            ball if ball.any() else None,
            Cuts(*cuts) if len(cuts[0]) else None,
        )
        for kappa, ball, *cuts in zip(kappas, balls, *columns, strict=True)
    ]


def _check_form(arrays: dict[str, AnyArray]) -> None:
    """Raise `ValueError` unless types and shapes are those of the format."""
    known: dict[int | str, int] = {}
    form = _FORMS[int(arrays["format_version"])] | (_REGION if "norm" in arrays else {})
    for name, (dtype, dimensions) in form.items():
        array = arrays[name]
        if not array.dtype.str.startswith(dtype):
            check.fail(name, f"dtype {dtype}", array.dtype.str)
        expected = tuple(known.get(size, size) for size in dimensions)
        if array.ndim != len(expected) or any(
            isinstance(want, int) and want != got
            for want, got in zip(expected, array.shape, strict=True)
        ):
            check.fail(name, f"shape {expected}".replace("'", ""), f"shape {array.shape}")
        known |= dict(zip(dimensions, array.shape, strict=True))


def _check_sizes(arrays: dict[str, AnyArray]) -> None:
    """Raise `ValueError` unless sizes and radius are positive, or all 0 without a certificate."""
    certified = arrays["nodes"] > 0
    for name in (*_SIZES, "radius"):
        good = np.where(certified, arrays[name] > 0, arrays[name] == 0)
        for i in np.flatnonzero(~good):
            rule = "a positive number with a certificate, 0 without one"
            check.fail(f"{name}[{i}]", rule, arrays[name][i])


def _cut(name: str, array: AnyArray, lengths: list[int]) -> list[AnyArray]:
    """Pieces of an array of the given lengths, one after the other."""
    if sum(lengths) != len(array):
        check.fail(name, f"{sum(lengths)} rows", f"{len(array)}")
    ends = accumulate(lengths)
    return [array[end - length : end] for length, end in zip(lengths, ends, strict=True)]


def _decision(name: str, labels: AnyArray) -> Decision:
    check.choice("decision", name, ("sign", "argmax", *_GROUPED))
    if name not in _GROUPED and len(labels) > 0:
        check.fail("labels", f"none for {name}", f"{len(labels)}")
    return _GROUPED[name](labels) if name in _GROUPED else name


def _well_formed(certificates: Any, n: int, M: int) -> list[Certificate | None]:
    """Certificates of n samples, as exact float64 arrays whose shapes fit each other."""
    try:
        certificates = list(certificates)
    except TypeError:
        check.fail("certificates", "a sequence", type(certificates).__name__)
    if len(certificates) != n:
        check.fail("certificates", f"one for each of {n} samples", len(certificates))
    return [
        None if each is None else _arrays(f"certificates[{i}]", each, M)
        for i, each in enumerate(certificates)
    ]


def _arrays(name: str, certificate: Any, M: int) -> Certificate:
    if not isinstance(certificate, Certificate):
        check.fail(name, "a Certificate or None", type(certificate).__name__)
    splits = check.real_array(f"{name}.splits", certificate.splits, ("nodes",))
    for wrong in splits[~np.isin(splits, np.arange(-2, M))]:
        check.fail(f"{name}.splits", f"integers from -2 to {M - 1}", f"{wrong:g}")
    weights = check.real_array(f"{name}.weights", certificate.weights, ("leaves", "I"))
    tau, nu = (
        check.real_array(f"{name}.{part}", getattr(certificate, part), (len(weights), M))
        for part in ("tau", "nu")
    )
    kappa, ball = (
        None if value is None else check.real_array(f"{name}.{part}", value, shape)
        for part, value, shape in (
            ("kappa", certificate.kappa, (len(weights), M)),
            ("ball", certificate.ball, (len(weights),)),
        )
    )
    cuts = _cut_arrays(f"{name}.cuts", certificate.cuts)
    return Certificate(splits.astype(np.int64), weights, tau, nu, kappa, ball, cuts)


def _cut_arrays(name: str, cuts: Any) -> Cuts | None:
    if cuts is None:
        return None
    if not isinstance(cuts, tuple) or len(cuts) != len(Cuts._fields):
        check.fail(name, "Cuts or None", type(cuts).__name__)
    if np.shape(cuts[0]) == (0,):
        return None
    size: int | str = "cuts"
    arrays = []
    for field, value, dtype in zip(Cuts._fields, cuts, _CUTS.values(), strict=True):
        array = check.real_array(f"{name}.{field}", value, (size,))
        size = len(array)
        if dtype == "<i8" and (array != np.floor(array)).any():
            check.fail(f"{name}.{field}", "integers", f"{array[array != np.floor(array)][0]:g}")
        arrays.append(array.astype(dtype))
    return Cuts(*arrays)


def _version(certificate: Certificate) -> int:
    """Return the oldest version of the format that holds the certificate."""
    newer = (certificate.kappa, certificate.ball, certificate.cuts)
    return 2 if any(part is not None for part in newer) or (certificate.splits == -2).any() else 1


def _newer(certificates: list[Certificate | None], M: int) -> dict[str, AnyArray]:
    """Make the arrays that version 2 adds."""
    none = Cuts(*(np.empty(0, dtype) for dtype in _CUTS.values()))
    given = [each for each in certificates if each is not None]
    kappas = [np.zeros_like(each.nu) if each.kappa is None else each.kappa for each in given]
    balls = [np.zeros(len(each.nu)) if each.ball is None else each.ball for each in given]
    cuts = [each.cuts or none for each in given]
    counts = [
        0 if each is None or each.cuts is None else len(each.cuts.row) for each in certificates
    ]
    columns = (np.concatenate(column) for column in zip(none, *cuts, strict=True))
    return {
        "kappa": np.concatenate([np.empty((0, M)), *kappas]),
        "ball": np.concatenate([np.empty(0), *balls]),
        "cuts": np.array(counts),
        **dict(zip(_CUTS, columns, strict=True)),
    }


def _sizes(certificate: Certificate | None) -> tuple[int, int, int]:
    """Nodes, leaves and constraints."""
    return (
        (0, 0, 0) if certificate is None else (len(certificate.splits), *certificate.weights.shape)
    )


def _group_name(decision: GroupMax | GroupSum) -> str:
    return next(name for name, kind in _GROUPED.items() if type(decision) is kind)


def _network_hash(net: TwoLayerReLU) -> AnyArray:
    named = {"W": net.W, "b": net.bias, "A": net.A, "c": net.c}
    return _hash((name, array + 0.0) for name, array in named.items())


def _sample_hashes(net: TwoLayerReLU, x: Any, y: Any, decision: Decision) -> AnyArray:
    check_decision(decision, net.n_outputs)
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
