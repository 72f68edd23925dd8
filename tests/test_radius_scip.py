"""Exact radii of MNIST networks against SCIP, a general mixed-integer solver."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mnist_networks import parity, train
from tolerances import SCIP

from refimpl import robust_radius

pytest.importorskip("pyscipopt", reason="needs SCIP: the extra crosscheck")

pytestmark = pytest.mark.slow


def test_e29_radii_of_mnist_networks_lie_between_the_bounds_of_scip(data_directory: Path) -> None:
    import scip_radius

    (x_train, y_train), (x, y) = parity(data_directory)
    net = train(x_train, y_train, 30, epochs=3)
    right = np.flatnonzero(net.predict(x[:20], "sign") == y[:20])[:6]
    found = robust_radius(net, x[right], y[right])
    assert (found.status == "exact").all()
    for i, radius in zip(right, found.upper, strict=True):
        lower, upper = scip_radius.solve(net, x[i], int(y[i]))
        assert lower * (1 - SCIP) <= radius <= upper * (1 + SCIP)
        assert upper - lower <= SCIP * upper
