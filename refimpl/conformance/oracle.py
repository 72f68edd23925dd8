# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""refimpl itself behind the interface that every candidate has: the oracle of the claims."""

from __future__ import annotations

from typing import Any

import numpy as np

import refimpl
from refimpl.conformance.adapter import Adapter


class Reference(Adapter):
    """The package as an adapter; `package` may be a copy of it."""

    name = "refimpl"
    package: Any = refimpl

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        dist = self.package.ClusterDistribution(features, labels, noise_std)
        drawn = dist.sample(n, rng=seed)
        return drawn.x, drawn.y, drawn.cluster

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return self.package.TwoLayerReLU(W, b, A, c).outputs(x)

    def predict(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        decision = "sign" if len(A) == 1 else "argmax"
        return self.package.TwoLayerReLU(W, b, A, c).predict(x, decision)

    def _loss_and_gradients(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        net = self.package.TwoLayerReLU(W, b, A, c)
        return self.package.loss_and_gradients(net, x, targets)

    def loss(self, *arguments: Any) -> Any:
        return self._loss_and_gradients(*arguments)[0]

    def parameter_gradients(self, *arguments: Any) -> Any:
        gradients = self._loss_and_gradients(*arguments)[1]
        return gradients.W, gradients.b

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return self.package.input_gradient(self.package.TwoLayerReLU(W, b, A, c), x, cotangent)

    def _descend(self, *arguments: Any, steps: int) -> Any:
        *net, x, targets, learning_rate = arguments
        options = {"learning_rate": learning_rate, "steps": steps}
        return self.package.gradient_descent(self.package.TwoLayerReLU(*net), x, targets, **options)

    def step(self, *arguments: Any) -> Any:
        net = self._descend(*arguments, steps=1).network
        return net.W, net.b

    def train(self, *arguments: Any) -> Any:
        *others, steps = arguments
        path = self._descend(*others, steps=steps)
        return path.network.W, path.network.b, path.network.A, path.losses

    def decompose(self, *arguments: Any) -> Any:
        *net, x, cluster, features, targets, learning_rate, steps = arguments
        path = self._descend(*net, x, targets, learning_rate, steps=steps)
        labels = [1] + [-1] * (len(features) - 1)  # `decompose` does not read them
        dist = self.package.ClusterDistribution(features, labels)
        parts = self.package.decompose(path, self.package.Sample(x, targets, cluster), dist)
        return parts.feature, parts.noise

    def closed_form_attack(self, x: Any, y: Any, features: Any, labels: Any, epsilon: float) -> Any:
        return self.package.closed_form_attack(x, y, features, labels, epsilon=epsilon)

    def smallest_step(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        *net, x, y, direction = arguments
        options = {"norm": norm, "box": box}
        return self.package.smallest_step(
            self.package.TwoLayerReLU(*net), x, y, direction, **options
        )

    def project(self, delta: Any, epsilon: float, norm: float = 2, box: Any = None) -> Any:
        low, high = (-np.inf, np.inf) if box is None else box
        return self.package.pgd.project(delta, epsilon, norm, low, high)

    def pgd_attack(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        *net, x, y, epsilon, steps, step_size, seed = arguments
        options = {"epsilon": epsilon, "steps": steps, "step_size": step_size, "rng": seed}
        options |= {"norm": norm, "box": box}
        return self.package.pgd_attack(self.package.TwoLayerReLU(*net), x, y, **options)

    def radius_bounds(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        *net, x, y = arguments
        options = {"norm": norm, "box": box}
        radii = self.package.robust_radius(self.package.TwoLayerReLU(*net), x, y, **options)
        return radii.lower, radii.upper

    def robust_accuracy(self, radius: Any, epsilons: Any) -> Any:
        return self.package.robust_accuracy(radius, epsilons)[0]

    def cosine_matrix(self, features: Any, W: Any) -> Any:
        return self.package.cosine_matrix(features, W)
