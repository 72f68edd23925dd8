"""Devices for wide networks, each forced on where networks are small enough to enumerate."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import brute_force
import numpy as np
import pytest
from effort import least, share
from test_radius_brute_force import assert_agrees
from tolerances import radius_slack

from refimpl import GroupMax, TwoLayerReLU, robust_radius, verify_certificate
from refimpl.radius import chords, curved, narrowing, problem, search
from refimpl.radius.ball import Ball
from refimpl.radius.geometry import Geometry, targets_of
from refimpl.radius.leaf import Multipliers
from refimpl.radius.state import Options
from refimpl.radius.tree import Node

TIES = pytest.mark.parametrize("ties", ["adversarial", "robust"])
DEVICES = ("parabolas at the root", "parabolas in nodes", "small problems", "narrowing", "none")


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Force one device on, or all of them off."""
    name = str(request.param)
    monkeypatch.setattr(search, "_FEW", 0 if name.startswith(("parabolas", "small")) else 10**6)
    monkeypatch.setattr(search, "_MANY", 0 if name == "parabolas in nodes" else 10**6)
    monkeypatch.setattr(problem, "_SMALLER", 2.0 if name == "small problems" else 0.0)
    monkeypatch.setattr(chords, "_PAYS", 1.0 if name == "narrowing" else 0.0)
    if name == "small problems":
        monkeypatch.setattr(curved, "_ROUNDS", 1)
    return name


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


@pytest.mark.parametrize("device", DEVICES[:-1], indirect=True)
def test_each_device_is_at_work_where_it_is_forced(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = dict.fromkeys(("bound", "reduce", "step"), 0)

    def counted(module: Any, name: str) -> None:
        original = getattr(module, name)

        def call(*arguments: Any, **options: Any) -> Any:
            counts[name] += 1
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    counted(curved, "bound")
    counted(search, "reduce")
    counted(narrowing, "step")
    for (net, decision, x, y), _ in problems(40, 0):
        robust_radius(net, x, y, decision=decision)
    assert counts["bound"] > 0 or device == "narrowing"
    assert (counts["reduce"] > 0) == (device == "small problems")
    assert counts["step"] > 0 or device != "narrowing"


def wide_problem(seed: int) -> tuple[search.Search, Any]:
    """A search of a random network with 24 neurons in 6 dimensions, its first incumbent found."""
    rng = np.random.default_rng(seed)
    net = TwoLayerReLU(rng.normal(size=(24, 6)), rng.normal(size=24), rng.normal(size=(1, 24)))
    x = rng.normal(size=6)
    y = 1 if net.outputs(x[None])[0, 0] > 0 else -1
    z = net.preactivations(x[None])[0]
    size = np.abs(net.W) @ np.abs(x) + np.abs(net.bias)
    options = Options("adversarial", 1e-9, 1000, 1e9, np.inf, True)
    ball = Ball(Geometry.of(net), z, size, 0.0)
    space = search.Search(ball, targets_of(net, y, "sign"), 1.0, options, lambda *_: None)
    space.ball.resize(20.0)
    space.incumbent.start(np.zeros(24))
    return space, rng


@pytest.mark.thorough
@pytest.mark.parametrize("forced", ["affine", "ellipsoid"])
def test_e41_e42_intervals_hold_every_adversarial_point_of_the_ball(forced: str) -> None:
    """Points within the ball where g <= 0, found by sampling, stay in the narrowed intervals."""
    met = narrowed = 0
    for seed in range(share(40)):
        space, rng = wide_problem(seed)
        if not space.incumbent.points:
            continue
        ball, problem = space.ball, space.incumbent.problems[0]
        ball.resize(1.2 * ball.radius)  # so that there are points to be held
        space.incumbent.accept = lambda _: False
        w, zeros, signs = np.ones(1), np.zeros(24), np.zeros(24, np.int64)
        node = Node(
            *(problem, signs, *ball.intervals(), 0.0, Multipliers(w, zeros, zeros), problem.planes)
        )
        if forced == "affine":
            found = chords.bound(space.state, problem, *chords.columns([node]))[0].end
        else:
            found = curved.bound(space.state, node, w)
        narrowed += int((found.lo > ball.intervals()[0]).any())
        c = rng.normal(size=(20_000, ball.geometry.U.shape[1]))
        c *= ball.radius * rng.random((len(c), 1)) ** (1 / 6) / np.linalg.norm(c, axis=1)[:, None]
        z = ball.z + c @ ball.geometry.U.T
        z = z[(problem.target.values(z) <= 0).all(axis=1)]
        met += len(z)
        if found.lower < ball.radius:
            assert (z >= found.lo).all()
            assert (z <= found.up).all()
        else:
            assert len(z) == 0
    assert met > least(1000)
    assert narrowed > least(10)


@pytest.mark.slow
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


def test_a_network_is_factorised_once_and_forgotten_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    factorised, original = [], np.linalg.qr

    def counted(matrix: Any) -> Any:
        factorised.append(matrix.shape)
        return original(matrix)

    monkeypatch.setattr(np.linalg, "qr", counted)
    net, x = TwoLayerReLU([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], None, [[1.0, -1.0]]), [3.0, 1.0, 0.0]
    for _ in range(2):
        assert robust_radius(net, [x], [1]).upper == pytest.approx(2**0.5)
    assert factorised == [(3, 2)]
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


@TIES
def test_parabolas_bound_targets_of_several_constraints(
    ties: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups of two classes, where parabolas are forced on: each target has two constraints."""
    original, weights = curved.bound, []

    def bound(state: Any, node: Node, w: Any) -> Node:
        weights.append(w)
        return original(state, node, w)

    monkeypatch.setattr(search, "_FEW", 0)
    monkeypatch.setattr(search.Search, "all_pieces", lambda *_: None)
    monkeypatch.setattr(curved, "bound", bound)
    decision = GroupMax([1, 1, -1, -1])
    for seed in (2, 6, 11, 14):  # others need no parabola
        rng = np.random.default_rng([5, seed])
        net = TwoLayerReLU(*(rng.standard_normal(shape) for shape in ((8, 4), 8, (4, 8), 4)))
        x = 2 * rng.standard_normal((1, 4))
        y = net.predict(x, decision)
        found = robust_radius(net, x, y, decision=decision, ties=ties, certificates=True)
        truth = brute_force.radius(net, x[0], int(y[0]), decision, ties)
        assert_agrees(found, [truth], radius_slack(net, x))
        assert found.status.tolist() == ["exact"]
        assert found.certificates is not None
        options: Any = {"radius": found.lower[0], "decision": decision, "ties": ties}
        verify_certificate(net, x[0], y[0], found.certificates[0], **options)
    assert any(len(w) == 2 and (w > 0).all() for w in weights)


def test_small_problems_are_left_alone_where_a_limit_ends_the_search() -> None:
    """Their neurons are not the network's: bounds in rationals are for whole problems alone."""
    rng = np.random.default_rng(6)
    W, b = rng.normal(size=(65, 10)), rng.normal(size=65)
    net = TwoLayerReLU(W, b, rng.choice([-1.0, 1.0], (1, 65)))
    x = rng.normal(size=(1, 10))
    y = net.predict(x, "sign")
    truth = robust_radius(net, x, y)
    assert truth.status[0] == "exact"
    found = robust_radius(net, x, y, max_nodes=1)
    assert found.lower[0] <= truth.upper[0]
    assert truth.lower[0] <= found.upper[0]
