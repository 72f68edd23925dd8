"""Texts of objects that hold large arrays: short, whatever they hold."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl import (
    Certificate,
    CertificateFile,
    ClusterDistribution,
    GroupMax,
    RobustRadius,
    TwoLayerReLU,
    gradient_descent,
)


def test_a_short_text_says_the_sizes() -> None:
    dist = ClusterDistribution.orthogonal(3, 400, rng=0)
    sample = dist.sample(500, rng=1)
    net = TwoLayerReLU.binary(400, 2, rng=2)
    end = gradient_descent(net, sample.x, sample.y, learning_rate=0.01, steps=2)
    first, last = end.losses[[0, 2]].tolist()
    network = "TwoLayerReLU(dim=400, n_hidden=4, n_outputs=1)"
    assert repr(net) == network
    assert repr(dist) == "ClusterDistribution(n_clusters=3, dim=400, noise_std=1.0)"
    assert repr(sample) == "Sample(n=500, dim=400)"
    assert repr(end) == (
        f"Trajectory(network={network}, steps=2, initial_loss={first}, final_loss={last})"
    )


@pytest.mark.parametrize(
    ("statuses", "counts"),
    [
        (["exact", "bounded", "exact"], "n=3, exact=2, unreachable=0, bounded=1"),
        (["unreachable"], "n=1, exact=0, unreachable=1, bounded=0"),
    ],
)
def test_radii_count_each_status(statuses: list[str], counts: str) -> None:
    n = len(statuses)
    zeros = np.zeros(n)
    radius = RobustRadius(zeros, zeros, np.zeros((n, 900)), np.array(statuses), zeros, None)
    assert repr(radius) == f"RobustRadius({counts})"


def test_a_file_counts_the_certificates_that_there_are() -> None:
    one = Certificate(np.array([-1]), np.ones((1, 1)), np.ones((1, 2)), np.zeros((1, 2)))
    hashes = np.zeros((2, 32), np.uint8)
    file = CertificateFile((one, None), np.ones(2), GroupMax([1, -1]), "robust", hashes[0], hashes)
    assert repr(file) == (
        "CertificateFile(n=2, certificates=1, "
        "decision=GroupMax(labels=array([ 1, -1])), ties='robust')"
    )
