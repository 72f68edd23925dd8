"""Exact radii of MNIST networks against general mixed-integer solvers, SCIP and HiGHS."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mixed_integer
import numpy as np
import pytest
from mnist_networks import parity, train
from tolerances import SCIP

from refimpl import TwoLayerReLU, robust_radius

pytest.importorskip("pyscipopt", reason="needs SCIP: the extra crosscheck")

pytestmark = pytest.mark.slow

Samples = tuple[TwoLayerReLU, Any, Any]


@pytest.fixture(scope="module")
def samples(data_directory: Path) -> Samples:
    """A network with 30 hidden neurons, and six test images that it decides rightly."""
    (x_train, y_train), (x, y) = parity(data_directory)
    net = train(x_train, y_train, 30, epochs=3)
    right = np.flatnonzero(net.predict(x[:20], "sign") == y[:20])[:6]
    return net, x[right], y[right]


# In l2 in the box SCIP takes 2 s for some images, and minutes for others.
@pytest.mark.parametrize(
    ("solve", "norm", "box", "images"),
    [
        (mixed_integer.scip, 2, None, [0, 1, 2, 3, 4, 5]),
        (mixed_integer.scip, 2, (0, 1), [1, 3]),
        (mixed_integer.scip, math.inf, (0, 1), [0]),
        (mixed_integer.highs, math.inf, (0, 1), [0]),
    ],
)
def test_e29_radii_of_mnist_networks_lie_between_the_bounds_of_a_solver(
    samples: Samples, solve: Any, norm: float, box: Any, images: list[int]
) -> None:
    net, (x, y) = samples[0], (part[images] for part in samples[1:])
    found = robust_radius(net, x, y, norm=norm, box=box)
    assert (found.status == "exact").all()
    options = {"norm": norm} if solve is mixed_integer.scip else {}
    for row, label, radius in zip(x, y, found.upper, strict=True):
        lower, upper = solve(net, row, int(label), box=box or mixed_integer.EVERYWHERE, **options)
        assert lower * (1 - SCIP) <= radius <= upper * (1 + SCIP)
        assert upper - lower <= SCIP * upper
