"""``refimpl verify``: check certificates of robust radii, without the solver that made them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from refimpl.cli import options


def add_parser(subparsers: Any) -> None:
    """Add ``verify``."""
    parser = subparsers.add_parser(
        "verify", help="check certificates, without the solver that made them"
    )
    parser.add_argument("network", type=Path, metavar="NETWORK.npz")
    parser.add_argument("data", type=Path, metavar="DATA.npz", help="arrays x and y")
    parser.add_argument("certificates", type=Path, metavar="CERTIFICATES")
    parser.add_argument("--exact", action="store_true", help="rational arithmetic throughout")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify each certificate, and fail if one does not prove its radius."""
    from refimpl import CertificateError, TwoLayerReLU, load_certificates, verify_certificate
    from refimpl._progress import track

    net = TwoLayerReLU.load(args.network)
    x, y = options.read_samples(args.data)
    file = load_certificates(args.certificates)
    file.check_inputs(net, x, y)
    claimed = {i: each for i, each in enumerate(file.certificates) if each is not None}
    failures = 0
    for i, certificate in track(claimed.items(), "verify", len(claimed)):
        try:
            verify_certificate(
                net,
                x[i],
                y[i],
                certificate,
                radius=float(file.radius[i]),
                decision=file.decision,
                ties=file.ties,
                exact=args.exact,
            )
        except CertificateError as error:
            failures += 1
            print(f"sample {i}: radius {file.radius[i]:.6g} not proved: {error}")
    print(f"{len(claimed) - failures} of {len(claimed)} certificates proved")
    if silent := len(x) - len(claimed):
        print(f"{silent} of {len(x)} samples have none: nothing is claimed of them")
    return 1 if failures else 0
