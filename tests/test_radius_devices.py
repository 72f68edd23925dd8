"""Devices for wide networks, each forced on where networks are small enough to enumerate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import brute_force
import numpy as np
import pytest
from test_radius_brute_force import assert_agrees
from tolerances import radius_slack

from refimpl import robust_radius, verify_certificate
from refimpl.radius import chords, curved, problem, search

TIES = pytest.mark.parametrize("ties", ["adversarial", "robust"])
DEVICES = ("parabolas at the root", "parabolas in nodes", "small problems", "narrowing", "none")


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Force one device on, or all of them off."""
    name = str(request.param)
    monkeypatch.setattr(search, "_FEW", 0 if name.startswith(("parabolas", "small")) else 10**6)
    monkeypatch.setattr(search, "_MANY", 0 if name == "parabolas in nodes" else 10**6)
    monkeypatch.setattr(problem, "_SMALLER", 2.0 if name == "small problems" else 0.0)
    monkeypatch.setattr(chords, "_PAYS", 1.0 if name == "narrowing" else 0.0)
    if name == "small problems":
        monkeypatch.setattr(curved, "_ROUNDS", 1)
    yield name


def problems(count: int, seed: int) -> Iterator[tuple[Any, str]]:
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        kind = brute_force.KINDS[i % len(brute_force.KINDS)]
        yield (
            brute_force.random_problem(
                rng, kind, max_dim=5, min_hidden=6, max_hidden=8, max_outputs=3
            ),
            kind,
        )


@TIES
def test_e29_radius_equals_the_enumeration_with_each_device(device: str, ties: str) -> None:
    bounded = 0
    for (net, decision, x, y), kind in problems(30, DEVICES.index(device)):
        truth = [
            brute_force.radius(net, row, int(label), decision, ties)
            for row, label in zip(x, y, strict=True)
        ]
        found = robust_radius(net, x, y, decision=decision, ties=ties, certificates=True)
        assert_agrees(found, truth, radius_slack(net, x))
        open_ = (found.status == "bounded") & (np.array(truth) > 0) & np.isfinite(truth)
        bounded += int(open_.sum()) if kind in ("real", "no bias") else 0
        assert found.certificates is not None
        for row, label, lower, proof in zip(x, y, found.lower, found.certificates, strict=True):
            assert proof is not None or lower in (0, np.inf)
            if proof is not None:
                options: Any = {"radius": lower, "decision": decision, "ties": ties}
                verify_certificate(net, row, label, proof, **options)
    assert bounded == 0
