"""Verify a certificate: read it, try the fast arithmetic of the mode, then rationals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from refimpl import _validation as check
from refimpl.certificate import fixed, floats, rationals
from refimpl.certificate.form import Certificate, CertificateError, Reading, form, read, targets
from refimpl.certificate.integers import UNLIMITED, LimitError, Limits
from refimpl.certificate.region import Region
from refimpl.decisions import TIES, Decision, check_decision, check_labels
from refimpl.network import TwoLayerReLU

_LIMITS = Limits(order=60, bits=2**14)  # of what float mode hands on: seconds for a row


def verify_certificate(
    net: TwoLayerReLU,
    x: Any,
    y: Any,
    certificate: Certificate,
    *,
    radius: float,
    decision: Decision = "sign",
    ties: str = "adversarial",
    norm: float = 2,
    box: Any = None,
    exact: bool = False,
) -> None:
    """Prove that no adversarial point x + delta of the box has ||delta||_p <= radius, or raise.

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
        R > 0, inf included. ``ties="adversarial"`` proves r > R (for R = inf: r = inf, no
        adversarial point is in the box at all); ``ties="robust"`` proves r >= R.
    decision : {"sign", "argmax"}, GroupMax or GroupSum
    ties : {"adversarial", "robust"}
    norm : {1, 2, numpy.inf}
        The p of ||delta||_p.
    box : (lo, hi), optional
        Limits of x + delta, numbers or (d,) arrays, which may be infinite.
    exact : bool
        True: rational arithmetic, after integers that are rounded to the safe side. False: float64
        with a proven error bound, and rational arithmetic only for the rows that this cannot
        decide. Both prove; without parabolas their verdicts are the same. A row with parabolas that
        needs a matrix of an order above 60, or an elimination with integers of more than 2^14 bits,
        is refused where floats cannot decide it: the message says to pass ``exact=True``.

    Raises
    ------
    CertificateError
        A leaf or a narrowing step is not proved: the message names its target, its row in `weights`
        and its path. Or the certificate is malformed, or the radius is not positive (radius 0 needs
        no proof).
    ValueError
        The other arguments are not what they should be, or the sample lies outside its box.
        `CertificateError` is a `ValueError` too.

    Notes
    -----
    Source: E33, E35, E38, E41, E42, derived; the proof stands at the head of `refimpl.certificate`,
    the bound on rounding errors at that of `refimpl.certificate.floats`.

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
    refimpl.certificate.form.CertificateError: target 0, leaf 0, path []: not proved for radius 2.0

    In [0.5, inf) it never meets 0: no radius is too large.

    >>> verify_certificate(net, [2.0], 1, leaf, radius=math.inf, box=(0.5, math.inf))
    """
    check.instance("net", net, TwoLayerReLU)
    decision = check_decision(decision, net.n_outputs)
    check.choice("ties", ties, TIES)
    shape = (net.dim,) if check.dimensions(x) == 1 else (1, net.dim)
    x = check.real_array("x", x, shape).reshape(-1)
    y = int(check_labels(np.ravel(y), 1, decision, net.n_outputs)[0])
    everywhere = check.dimensions(radius) == 0 and radius == math.inf
    R = math.inf if everywhere else float(form("radius", radius, ()))
    region = Region(x, R, check.check_norm(norm), check.check_box(box, x[None]))
    if R <= 0:
        raise CertificateError(f"radius: expected a positive number or inf, got {R}")
    reading = read(certificate, targets(y, decision, net.n_outputs), net.n_hidden)
    _refuse(reading, region)
    proved = np.zeros(len(reading), dtype=bool)
    if not (everywhere and region.box is None):
        proved = (fixed if exact else floats).proved(reading, net, region)
    if proved.all():
        return
    sample = rationals.Sample(net, region)
    limits = UNLIMITED if exact else _LIMITS
    for i in np.flatnonzero(~proved):
        if not _proved_exactly(reading, i, sample, ties == "robust", limits):
            raise CertificateError(f"{reading.name(i)}: not proved for {region}")


def _refuse(reading: Reading, region: Region) -> None:
    """Raise if parabolas are to prove what needs no l2 ball, or steps what has no end at all."""
    everywhere = math.isinf(region.R)
    parabolas = {
        "kappa": reading.arrays["kappa"].any(axis=1),
        "ball": reading.arrays["ball"] > 0,
    }
    bad = parabolas if everywhere or region.norm != 2 else {}
    if everywhere and region.box is None:
        bad = bad | {"splits": reading.is_step}
    where = "the radius is inf" if everywhere else "the norm is not 2"
    for name, wrong in bad.items():
        for i in np.flatnonzero(wrong):
            rule = "no narrowing step" if name == "splits" else "no parabola or ball"
            raise CertificateError(f"{reading.name(i)}: {name}: expected {rule} where {where}")


def _proved_exactly(
    reading: Reading, i: Any, sample: rationals.Sample, strict: bool, limits: Limits
) -> bool:
    cuts = reading.cuts_of([i]) if reading.is_step[i] else None
    try:
        return rationals.proved(reading.rows([i]), cuts, sample, strict=strict, limits=limits)
    except LimitError:
        what = f"not proved for {sample.region.region} in floats"
        raise CertificateError(f"{reading.name(i)}: {what}: pass exact=True") from None
