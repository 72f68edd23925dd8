"""Verify certificates of robust radii, without the solver that made them.

  refimpl radius network.npz data.npz --certificates proofs.npz
  refimpl verify network.npz data.npz proofs.npz --exact

A certificate proves that nothing within its radius, the lower bound of refimpl
radius, is decided wrongly. NETWORK.npz and DATA.npz are those that radius was
given; the decision, how ties count, the norm and the box stand in CERTIFICATES.

Exit status: 0 if every certificate proves its radius, 1 if one does not, 2 if
they are about another network or other samples.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refimpl.cli import options

if TYPE_CHECKING:
    from refimpl.certificate_files import CertificateFile


def add_parser(subparsers: Any) -> None:
    """Add ``verify``."""
    text = "check certificates, without the solver that made them"
    parser = options.add_command(subparsers, "verify", text, __doc__)
    options.add_inputs(parser)
    text = "the file that refimpl radius --certificates wrote"
    parser.add_argument("certificates", type=Path, metavar="CERTIFICATES", help=text)
    text = "rational arithmetic throughout (default: only where rounding could decide)"
    parser.add_argument("--exact", action="store_true", help=text)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify each certificate, and fail if one does not prove its radius."""
    from refimpl import CertificateError, TwoLayerReLU, load_certificates, verify_certificate
    from refimpl._progress import track

    net = TwoLayerReLU.load(args.network)
    x, y = options.read_samples(args.data)
    file = load_certificates(args.certificates)
    try:
        file.check_inputs(net, x, y)
    except ValueError as error:
        name = str(error).partition(":")[0]
        file_of = {"net": args.network, "decision": args.certificates}
        message = str(error).removeprefix("net: ")
        raise ValueError(f"{file_of.get(name, args.data)}: {message}") from None
    claimed = {i: each for i, each in enumerate(file.certificates) if each is not None}
    about = {name: getattr(file, name) for name in ("decision", "ties", "norm", "box")}
    proved = []
    for i, certificate in track(claimed.items(), "verify", len(claimed)):
        try:
            asked = about | {"radius": float(file.radius[i]), "exact": args.exact}
            verify_certificate(net, x[i], y[i], certificate, **asked)
            proved.append(float(file.radius[i]))
        except CertificateError as error:
            print(f"sample {i}: radius {file.radius[i]:.6g} not proved: {error}")
    how = _how(file, args.exact)
    print(f"{len(proved)} of {len(claimed)} certificates proved ({how})")
    if proved:
        print(f"radii proved: {min(proved):.6g} to {max(proved):.6g}")
    wrong = options.misclassified(net, x, y, file.decision, file.ties)
    _explain({*range(len(x))} - claimed.keys(), wrong, len(x))
    return 0 if len(proved) == len(claimed) else 1


def _how(file: CertificateFile, exact: bool) -> str:
    """Say what the proofs are about, and in which arithmetic they were checked."""
    decision = file.decision
    if not isinstance(decision, str):
        decision = f"{type(decision).__name__}({decision.labels.tolist()})"
    floats = "floats with derived error bounds, rational where these cannot decide"
    arithmetic = "rational arithmetic throughout" if exact else floats
    return f"decision {decision}, ties {file.ties}{_where(file)}; {arithmetic}"


def _where(file: CertificateFile) -> str:
    """Name norm and box, where radii are not l2 radii without a box."""
    if file.norm == 2 and file.box is None:
        return ""
    norm = f", l{file.norm:g}"
    if file.box is None:
        return norm
    (lo, *other), (hi, *another) = (sorted({*side.tolist()}) for side in file.box)
    ends = ", ".join(repr(end).removesuffix(".0") for end in (lo, hi))
    return f"{norm} in {'a box' if other or another else f'[{ends}]'}"


def _explain(silent: set[int], misclassified: list[int], n: int) -> None:
    """Say why samples have no certificate."""
    wrong = sorted(silent.intersection(misclassified))
    if wrong:
        what = "no certificate, since misclassified (radius 0, nothing to prove)"
        print(options.named(what, wrong, n))
    if others := sorted(silent.difference(wrong)):
        why = "no bound above 0, or none that floats can prove"
        what = f"no certificate: nothing is proved ({why})"
        print(options.named(what, others, n))
