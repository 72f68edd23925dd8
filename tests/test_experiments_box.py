"""Adversarial points among pixels, which have a range."""

from __future__ import annotations

import numpy as np

from refimpl import TwoLayerReLU
from refimpl.experiments.box import InBox
from refimpl.experiments.classifier import Classifier

# f(x) = ReLU(2 x_1 + 2 x_2 - 1): without a range r = (2 x_1 + 2 x_2 - 1) / sqrt(8).
NET = TwoLayerReLU([[2.0, 2.0]], [-1.0], [[1.0]])
X = np.array([[0.1, 0.9], [0.5, 0.5], [0.0, 0.25]])
Y = np.array([1, 1, 1])


def _in_box():
    return InBox(Classifier(NET, "sign"), X, Y)


def test_nothing_offered_is_inf_and_what_is_misclassified_is_0():
    assert _in_box().upper().tolist() == [np.inf, np.inf, 0.0]


def test_multiples_of_the_exact_perturbation_reach_the_nearest_point_in_the_box():
    # In the box x_1 >= 0, so that the nearest point of x_1 + x_2 = 1/2 to (0.1, 0.9) is (0, 1/2).
    in_box = _in_box()
    delta = np.array([[-0.25, -0.25], [-0.25, -0.25], [0.0, 0.0]])
    in_box.offer_multiples(delta)
    np.testing.assert_allclose(in_box.upper()[0], np.hypot(0.1, 0.4), rtol=0.01)
    np.testing.assert_allclose(in_box.upper()[1], np.hypot(0.25, 0.25), rtol=1e-15)
    assert (in_box.point >= 0).all()


def test_the_nearest_offer_is_kept_and_shortened_to_its_first_flip():
    in_box = _in_box()
    in_box.offer(np.array([[0.1, 0.0]] * 3))  # flips at x_2 = 0.4 on the way
    in_box.offer(np.array([[-3.0, 0.9]] * 3))  # clipped to (0, 0.9), which does not flip
    in_box.offer(np.array([[-9.0, -9.0]] * 3))  # flips at (0, 0), which is farther
    np.testing.assert_allclose(in_box.upper(), [0.5, 0.5 / 0.9 * np.hypot(0.4, 0.5), 0], rtol=1e-14)
