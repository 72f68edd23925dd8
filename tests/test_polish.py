"""The pieces that are polished: all in one are as near as one sample after the other."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import TwoLayerReLU, polish, robust_radius
from refimpl.decisions import check_decision
from refimpl.minimum_norm import _FEW_WALKS, _WALKS, _searches
from refimpl.polish import nearest
from refimpl.radius.points import Question
from refimpl.radius.region import Space
from refimpl.walks import Walks


def random(seed, n_hidden, d, outputs):
    rng = np.random.default_rng(seed)
    W, A = rng.standard_normal((n_hidden, d)), rng.standard_normal((outputs, n_hidden))
    return TwoLayerReLU(W, rng.standard_normal(n_hidden), A), rng.uniform(-1, 1, (20, d))


@pytest.mark.parametrize("box", [None, (-1.0, 1.0)])
@pytest.mark.parametrize(
    ("n_hidden", "d", "outputs"),
    [(12, 8, 1), pytest.param(20, 12, 3, marks=pytest.mark.slow), (30, 4, 1)],
)
def test_it_is_as_near_as_the_search_of_each_sample(n_hidden, d, outputs, box):
    net, x = random(n_hidden, n_hidden, d, outputs)
    decision = check_decision("sign" if outputs == 1 else "argmax", outputs)
    y, z = net.predict(x, decision), net.preactivations(x)
    sides = None if box is None else (np.full(d, box[0]), np.full(d, box[1]))
    walks = Walks(Space.of(net, 2, sides), net, decision, x, y, z)
    with np.errstate(all="ignore"):
        found = nearest(walks, walks.around(*_FEW_WALKS, np.random.default_rng(0)))
        pieces = walks.around(*_WALKS, np.random.default_rng(0))
        question = Question(net, decision, "adversarial")
        slow = _searches(question, walks, pieces, np.arange(len(x)), y)
    ours = np.full(len(x), np.inf)
    ours[found.pieces.sample] = found.distance
    theirs = np.array([each.ball.length(each.points[-1].v) for each in slow])
    assert (ours <= theirs * (1 + 1e-8)).mean() >= 0.9
    radii = robust_radius(net, x, y, decision=decision, box=box)
    assert (ours >= radii.lower * (1 - 1e-9)).all()
    assert np.median(ours / radii.upper) <= 1 + 1e-9


def test_a_sample_has_one_result_and_those_without_have_none():
    net = TwoLayerReLU([[1.0]], None, [[1.0]], [-1.0])  # f = ReLU(z) - 1
    x = np.array([[3.0], [2.0]])
    y = np.ones(2, np.int64)
    walks = Walks(Space.of(net, 2, None), net, "sign", x, y, net.preactivations(x))
    found = nearest(walks, walks.around(*_FEW_WALKS, np.random.default_rng(0)))
    order = np.argsort(found.pieces.sample)
    assert found.pieces.sample[order].tolist() == [0, 1]
    np.testing.assert_allclose(found.distance[order], [2.0, 1.0], rtol=1e-12)
    never = TwoLayerReLU([[1.0]], None, [[1.0]], [1.0])
    walks = Walks(Space.of(never, 2, None), never, "sign", x, y, never.preactivations(x))
    found = nearest(walks, walks.around(*_FEW_WALKS, np.random.default_rng(0)))
    assert len(found.distance) == 0


def test_more_rounds_are_never_farther(monkeypatch):
    net, x = random(30, 60, 5, 1)
    y = net.predict(x, "sign")
    walks = Walks(Space.of(net, 2, None), net, "sign", x, y, net.preactivations(x))
    pieces = walks.around(*_FEW_WALKS, np.random.default_rng(0))
    distances = []
    for counts in ((1,), polish._COUNTS):
        monkeypatch.setattr(polish, "_COUNTS", counts)
        found = nearest(walks, pieces)
        distances.append(np.full(len(x), np.inf))
        distances[-1][found.pieces.sample] = found.distance
    assert (distances[1] <= distances[0]).all()
    assert (distances[1] < distances[0]).any()
