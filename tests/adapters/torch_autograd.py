"""PyTorch, gradients by autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy, relu

from refimpl.conformance import Adapter


class Torch(Adapter):
    """Everything that PyTorch users write by hand, on the CPU."""

    name = "torch"
    dtype = "float64"
    to_native = staticmethod(torch.from_numpy)

    def to_numpy(self, value: Any) -> Any:
        return torch.as_tensor(value).detach().numpy()

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return relu(x @ W.T + b) @ A.T + c

    def predict(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        F = self.outputs(W, b, A, c, x)
        return torch.sign(F[:, 0]) if len(A) == 1 else F.argmax(dim=1)

    def loss(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        F = self.outputs(W, b, A, c, x)
        if len(A) > 1:
            return cross_entropy(F, targets)
        return torch.logaddexp(torch.zeros_like(F[:, 0]), -targets * F[:, 0]).mean()

    def parameter_gradients(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        W, b = W.clone().requires_grad_(), b.clone().requires_grad_()
        return torch.autograd.grad(self.loss(W, b, A, c, x, targets), (W, b))

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        x = x.clone().requires_grad_()
        return torch.autograd.grad(self.outputs(W, b, A, c, x), x, cotangent)[0]

    def step(
        self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: float
    ) -> Any:
        dW, db = self.parameter_gradients(W, b, A, c, x, targets)
        return W - learning_rate * dW, b - learning_rate * db

    def train(
        self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: float, steps: int
    ) -> Any:
        W, b = W.clone().requires_grad_(), b.clone().requires_grad_()
        optimiser = torch.optim.SGD([W, b], lr=learning_rate)
        losses = []
        for _ in range(steps):
            optimiser.zero_grad()
            loss = self.loss(W, b, A, c, x, targets)
            loss.backward()
            optimiser.step()
            losses.append(loss.detach())
        return W, b, A, torch.stack([*losses, self.loss(W, b, A, c, x, targets).detach()])

    def project(self, delta: Any, epsilon: float) -> Any:
        norm = torch.linalg.vector_norm(delta, dim=1, keepdim=True)
        return torch.where(norm > epsilon, delta * (epsilon / norm), delta)

    def cosine_matrix(self, features: Any, W: Any) -> Any:
        return torch.cosine_similarity(features[:, None], W[None], dim=2, eps=0)


class TorchSingle(Torch):
    """The same in float32."""

    name = "torch, float32"
    dtype = torch.float32


class TorchSoftplus(Torch):
    """With the framework's own softplus, which is linear beyond 20."""

    name = "torch, softplus"

    def loss(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        if len(A) > 1:
            return super().loss(W, b, A, c, x, targets)
        F = self.outputs(W, b, A, c, x)
        return torch.nn.functional.softplus(-targets * F[:, 0]).mean()
