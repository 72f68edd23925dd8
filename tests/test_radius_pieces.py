"""All pieces of a target at once, against each of them alone (E31, E38)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from refimpl import TwoLayerReLU, robust_radius
from refimpl.radius import pieces
from refimpl.radius.geometry import targets_of
from refimpl.radius.incumbent import Incumbent
from refimpl.radius.leaf import Multipliers
from refimpl.radius.nearest import nearest
from refimpl.radius.region import Space

SEEDS = range(8)


def problem(seed: int, branching: int = 7, d: int = 40) -> tuple[TwoLayerReLU, Any, int]:
    """Network with many branching neurons whose kinks are near, and a sample in its box."""
    rng = np.random.default_rng(seed)
    M = branching + 4
    W, b = rng.normal(size=(M, d)) / math.sqrt(d), 0.2 * rng.normal(size=M)
    A = np.abs(rng.normal(size=(1, M)))
    A[0, :branching] *= -1
    x = rng.random(d) * (rng.random(d) < 0.4)
    net = TwoLayerReLU(W, b, A)
    return TwoLayerReLU(W, b, A, -net.outputs(x[None])[0] + 0.3), x, 1


def seen(seed: int) -> tuple[Incumbent, TwoLayerReLU, Any]:
    """The nearest point that polishing finds, and the region that it leaves."""
    net, x, y = problem(seed)
    targets, space = targets_of(net, y, "sign"), Space.of(net, 2, (np.zeros(40), np.ones(40)))
    z, size = net.preactivations(x[None])[0], np.abs(net.W) @ x + np.abs(net.bias)
    region = space.around(x, z, size)
    region.resize(100.0)
    incumbent = Incumbent(region, targets, "adversarial", None)
    incumbent.start(np.zeros(40))
    return incumbent, net, x


def test_e31_bounds_of_pieces_stay_below_their_distances_in_the_box() -> None:
    rng, found = np.random.default_rng(0), 0
    for seed in SEEDS:
        incumbent, net, x = seen(seed)
        ball, target = incumbent.ball, incumbent.problems[0].target
        tau = rng.random(net.n_hidden)
        multipliers = Multipliers(np.ones(1), tau, np.zeros(net.n_hidden))
        neurons = pieces.unsettled(ball, target, multipliers)
        on = np.where(ball.stable == 0, rng.random(net.n_hidden) < 0.5, ball.stable > 0)
        family = pieces._Family(ball, target, multipliers, neurons, on)
        others = rng.random((20, len(neurons))) < 0.5
        bounds = family.bounds(on[neurons], others)
        own = family.bounds(others[0], others[:1])[0]
        for k, (piece, bound) in enumerate(zip(others, bounds, strict=True)):
            phase = on.copy()
            phase[neurons] = piece
            q = net.A[0] * np.where(net.A[0] > 0, tau, phase)
            v, level = -q @ net.W, float(q @ ball.z + net.c[0])
            length = np.linalg.norm(v)
            rows = v[None] / length, np.array([level / length])
            c = nearest(2, *rows, x, 1 - x)[1] if level > 0 else np.zeros(40)
            distance = math.inf if c is None else float(np.linalg.norm(c))
            assert bound <= min(distance, ball.radius) * (1 + 1e-9)
            if k == 0:  # from itself, a piece is bounded by its half-space's distance
                assert own == pytest.approx(min(distance, ball.radius), rel=1e-9, abs=1e-9)
            found += 0 < bound < ball.radius
    assert found > 0


def test_all_pieces_at_once_find_the_radius_of_branch_and_bound_in_fewer_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cases = [problem(seed, branching=9) for seed in SEEDS]
    here = [robust_radius(net, x[None], [y], box=(0, 1)) for net, x, y in cases]
    monkeypatch.setattr(pieces, "bound", lambda *_: None)
    there = [robust_radius(net, x[None], [y], box=(0, 1)) for net, x, y in cases]
    for one, other in zip(here, there, strict=True):
        assert one.status[0] == other.status[0]
        assert one.upper[0] == pytest.approx(other.upper[0], rel=1e-8)
    assert sum(one.nodes[0] for one in here) < sum(other.nodes[0] for other in there)
