# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""refimpl itself behind the interface that every candidate has: the oracle of the checks."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from refimpl.conformance.adapter import Adapter


class Reference(Adapter):
    """The package as an adapter; `package` may name a copy of it."""

    name = "refimpl"
    package = "refimpl"

    def _get(self, name: str, module: str = "") -> Any:
        return getattr(import_module(self.package + module), name)

    def _net(self, W: Any, b: Any, A: Any, c: Any) -> Any:
        return self._get("TwoLayerReLU")(W, b, A, c)

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        dist = self._get("ClusterDistribution")(features, labels, noise_std)
        drawn = dist.sample(n, rng=seed)
        return drawn.x, drawn.y, drawn.cluster

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return self._net(W, b, A, c).outputs(x)

    def predict(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return self._net(W, b, A, c).predict(x, "sign" if len(A) == 1 else "argmax")

    def loss(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        return self._get("loss_and_gradients")(self._net(W, b, A, c), x, targets)[0]

    def parameter_gradients(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        gradients = self._get("loss_and_gradients")(self._net(W, b, A, c), x, targets)[1]
        return gradients.W, gradients.b

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return self._get("input_gradient")(self._net(W, b, A, c), x, cotangent)

    def _descend(self, net: Any, x: Any, targets: Any, learning_rate: float, steps: int) -> Any:
        return self._get("gradient_descent")(
            net, x, targets, learning_rate=learning_rate, steps=steps
        )

    def step(
        self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: float
    ) -> Any:
        net = self._descend(self._net(W, b, A, c), x, targets, learning_rate, 1).network
        return net.W, net.b

    def train(
        self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: float, steps: int
    ) -> Any:
        path = self._descend(self._net(W, b, A, c), x, targets, learning_rate, steps)
        return path.network.W, path.network.b, path.network.A, path.losses

    def decompose(
        self,
        W: Any,
        b: Any,
        A: Any,
        c: Any,
        x: Any,
        cluster: Any,
        features: Any,
        targets: Any,
        learning_rate: float,
        steps: int,
    ) -> Any:
        path = self._descend(self._net(W, b, A, c), x, targets, learning_rate, steps)
        labels = [1] + [-1] * (len(features) - 1)  # `decompose` does not read them
        dist = self._get("ClusterDistribution")(features, labels)
        sample = self._get("Sample")(x, targets, cluster)
        parts = self._get("decompose")(path, sample, dist)
        return parts.feature, parts.noise

    def closed_form_attack(self, x: Any, y: Any, features: Any, labels: Any, epsilon: float) -> Any:
        return self._get("closed_form_attack")(x, y, features, labels, epsilon=epsilon)

    def smallest_step(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> Any:
        return self._get("smallest_step")(self._net(W, b, A, c), x, y, direction)

    def project(self, delta: Any, epsilon: float) -> Any:
        return self._get("project", ".pgd")(delta, epsilon)

    def pgd_attack(
        self,
        W: Any,
        b: Any,
        A: Any,
        c: Any,
        x: Any,
        y: Any,
        epsilon: float,
        steps: int,
        step_size: float,
        seed: int,
    ) -> Any:
        return self._get("pgd_attack")(
            self._net(W, b, A, c),
            x,
            y,
            epsilon=epsilon,
            steps=steps,
            step_size=step_size,
            rng=seed,
        )

    def radius_bounds(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any) -> Any:
        radii = self._get("robust_radius")(self._net(W, b, A, c), x, y)
        return radii.lower, radii.upper

    def robust_accuracy(self, radius: Any, epsilons: Any) -> Any:
        return self._get("robust_accuracy")(radius, epsilons)[0]

    def cosine_matrix(self, features: Any, W: Any) -> Any:
        return self._get("cosine_matrix")(features, W)
