"""Certificates of hostile networks: does the checker ever prove more than the exact radius?

Weights up to 1e8 with their negatives beside them, margins near the rounding unit, samples of norm
1e6; and for three in ten ordinary weights, where parabolas prove more. The exact radius r comes
from rational arithmetic (`exact_radius`). Each network's certificate, as the multipliers of that
enumeration give it, and one with parabolas and narrowing steps (`parabolas`), as they are and with
numbers altered, are tried in both modes at radii R from far below r to just above. No R >= r may
pass (strict ties: no R > r).

    python tests/benchmarks/hostile_certificates.py [--networks 100000] [--jobs 2]

prints how many trials were proved and how many of those wrongly; the exit status is 1 if any was.
It takes one to three hours of one core; the result does not depend on the number of jobs. Ctrl-C
ends it, and what was tried until then is printed.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script: tests/ holds the helpers
sys.path.insert(0, str(Path(__file__).parents[2]))

import parabolas
from exact_radius import full_certificate, pieces, squared_radius

from refimpl import (
    Certificate,
    CertificateError,
    TwoLayerReLU,
    verify_certificate,
)
from refimpl._progress import track
from refimpl._workers import processes

BLOCK = 100  # networks handed to a process at a time
SLACKS = (-1e-3, -1e-9, -1e-14, 0.0, 1e-16, 1e-14, 1e-9)


class Tally(NamedTuple):
    """How many of the trials were proved, and how many of those the exact radius refutes."""

    trials: int
    proved: int
    refuted: int


def hostile_network(rng: np.random.Generator) -> tuple[TwoLayerReLU, np.ndarray[Any, Any], int]:
    """Network with M <= 4, d <= 2, a sample and a label, the margin often a few rounding units."""
    pairs, d = rng.integers(1, 3), rng.integers(1, 3)
    W = rng.normal(size=(pairs, d)) * 10.0 ** rng.integers(-8, 9, size=(pairs, 1))
    W = np.concatenate([W, -W * rng.choice([1, 1 + 2.0**-52, 1 / 3], size=(pairs, 1))])
    x = rng.normal(size=d) * 10.0 ** rng.choice([0, 6])
    b = rng.choice([0.0, 1.0], size=2 * pairs) * -(W @ x) * (1 + rng.choice([0, 2.0**-52, 1e-3]))
    A = rng.choice([-1.0, 1.0, 1e8, -1e8, 1 / 3], size=(1, 2 * pairs))
    value = (A @ np.maximum(W @ x + b, 0))[0]
    c = -value + rng.choice([1.0, -1.0]) * np.spacing(abs(value)) * rng.choice([1, 3, 1e3, 1e12])
    net = TwoLayerReLU(W, b, A, [c])
    return net, x, int(rng.choice([-1, 1]))


def plain_network(rng: np.random.Generator) -> tuple[TwoLayerReLU, np.ndarray[Any, Any], int]:
    """Network with M <= 4, d <= 2 and ordinary weights, where parabolas prove something."""
    M, d = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    W, b, A, x = (rng.normal(size=shape) for shape in ((M, d), M, (1, M), d))
    net = TwoLayerReLU(W, b, -np.abs(A), np.abs(A) @ np.maximum(W @ x + b, 0) + rng.random())
    return net, x, 1


def altered(certificate: Certificate, rng: np.random.Generator) -> Certificate:
    """The certificate with one array changed, in one number or in all."""
    cuts = certificate.cuts
    names = ["weights", "tau", "nu"]
    names += ["kappa", "ball"] if certificate.kappa is not None else []
    names += ["bound", "mu"] if cuts is not None and len(cuts.row) else []
    name = str(rng.choice(names))
    array = getattr(cuts if name in ("bound", "mu") else certificate, name).copy()
    where = rng.random(array.shape) < rng.choice([0.1, 1.0])
    array[where] *= rng.choice([0.0, 1 - 2.0**-53, 1 + 2.0**-52, 0.5, 1e8], size=where.sum())
    if cuts is not None and name in ("bound", "mu"):
        return replace(certificate, cuts=cuts._replace(**{name: array}))
    return replace(certificate, **{name: np.minimum(array, 1.0) if name == "tau" else array})


def curved(
    net: TwoLayerReLU, x: Any, y: int, R: float, rng: np.random.Generator
) -> Certificate | None:
    """What may prove nearly R with parabolas and narrowing steps, or None out of their range."""
    with np.errstate(all="ignore"):
        made = parabolas.certificate(
            net, x, y, R, seed=int(rng.integers(2**32)), max_rows=5, narrowings=2, steps=15
        )
    arrays = [made.nu, made.kappa, made.ball, *(made.cuts or ())]
    return made if all(np.isfinite(array).all() for array in arrays if array is not None) else None


def trial(rng: np.random.Generator) -> Tally:
    """One network under one rule for ties: four certificates, two radii, both modes."""
    net, x, y = (plain_network if rng.random() < 0.3 else hostile_network)(rng)
    ties = str(rng.choice(["adversarial", "robust"]))
    parts = pieces(net, x, y, ties=ties)
    squared = squared_radius(parts)
    honest = full_certificate(parts)
    verdicts = []
    for slack in rng.choice(SLACKS, size=2, replace=False):
        R = (1e6 if squared is None else math.sqrt(squared)) * (1 + slack)
        if R == 0:
            continue  # the radius 0 has no certificate
        excess = -1 if squared is None else Fraction(R) ** 2 - squared
        refuted = excess > 0 or (excess == 0 and ties == "adversarial")
        made = curved(net, x, y, R * (1 - 10.0 ** -rng.integers(1, 9)), rng)
        some = [honest] if made is None else [honest, made]
        for certificate in [*some, *(altered(one, rng) for one in some)]:
            for exact in (False, True):
                passed = passes(net, x, y, certificate, radius=R, ties=ties, exact=exact)
                verdicts.append((1, passed, passed and refuted))
    return Tally(*np.sum([(0, 0, 0), *verdicts], axis=0).tolist())


def passes(*args: Any, **options: Any) -> bool:
    """Whether `verify_certificate` accepts."""
    try:
        verify_certificate(*args, **options)
    except CertificateError:
        return False
    return True


def run(indices: Iterable[int], seed: int) -> Tally:
    """The sum over networks, each drawn from a generator of its own."""
    tallies = [trial(np.random.default_rng([seed, index])) for index in indices]
    return Tally(*(sum(column) for column in zip(*tallies, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes")
    args = parser.parse_args()
    blocks = [
        range(start, min(start + BLOCK, args.networks)) for start in range(0, args.networks, BLOCK)
    ]
    done: list[Tally] = []  # keeps what was there before Ctrl-C
    with suppress(KeyboardInterrupt), processes(args.jobs) as pool:
        tallies = pool.map(run, blocks, repeat(0)) if pool else map(run, blocks, repeat(0))
        done.extend(track(tallies, "blocks of networks", total=len(blocks)))
    networks = sum(map(len, blocks[: len(done)]))
    total = Tally(*np.sum([(0, 0, 0), *done], axis=0).tolist())
    print(
        f"{networks} networks: {total.trials} trials, {total.proved} proved, "
        f"{total.refuted} of them false"
    )
    return 1 if total.refuted else 0


if __name__ == "__main__":
    sys.exit(main())
