"""PyTorch, gradients by autograd: an adapter that has every method."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy, relu

from refimpl.conformance import Adapter


def walk(z: Any, slope: Any, a: Any, c: Any) -> Any:
    """Return the first t >= 0 where g(t) = sum_r a_r ReLU(z_r + t slope_r) + c <= 0, g(0) > 0.

    Between the kinks t_r = -z_r / slope_r it is affine. slope_r (t - t_r) is exactly 0 at each of
    them, which z_r + t slope_r need not be.
    """
    kinks = -z / slope
    bends = kinks.isfinite() & (kinks > 0)
    ends = torch.unique(kinks[bends])  # sorted
    nodes = torch.cat([torch.zeros(1, dtype=z.dtype), ends])
    still = z + nodes[:, None] * torch.where(slope == 0, 0.0, slope)
    turning = slope * (nodes[:, None] - torch.where(bends, kinks, 0.0))
    g = relu(torch.where(bends, turning, still)) @ a + c
    below = torch.nonzero(g <= 0)
    if len(below):
        i = int(below[0])
        if i == 0:
            return 0.0
        return nodes[i - 1] + (nodes[i] - nodes[i - 1]) * g[i - 1] / (g[i - 1] - g[i])
    # Beyond the last kink the neurons with slope > 0 are on, and those with slope 0 as ever.
    fall, size = -a @ relu(slope), a.abs() @ relu(slope)
    rounding = len(a) * torch.finfo(z.dtype).eps * size
    return nodes[-1] + g[-1] / fall if fall > rounding else torch.inf


class Torch(Adapter):
    """Everything that PyTorch users write by hand, on the CPU."""

    name = "torch"
    dtype = "float64"
    to_native = staticmethod(torch.from_numpy)

    def to_numpy(self, value: Any) -> Any:
        return torch.as_tensor(value).detach().numpy()

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        rng = torch.Generator().manual_seed(seed)
        cluster = torch.randint(len(labels), (n,), generator=rng)
        noise = torch.randn((n, features.shape[1]), generator=rng, dtype=features.dtype)
        return features[cluster] + noise_std * noise, labels[cluster], cluster

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return relu(x @ W.T + b) @ A.T + c

    def predict(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        F = self.outputs(W, b, A, c, x)
        return torch.sign(F[:, 0]) if len(A) == 1 else F.argmax(dim=1)

    def loss(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        return self._loss(self.outputs(W, b, A, c, x), targets)

    def _loss(self, F: Any, targets: Any) -> Any:
        if F.shape[1] > 1:
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

    def decompose(self, *arguments: Any) -> Any:
        W, b, A, c, x, cluster, features, targets, learning_rate, steps = arguments
        C = torch.zeros((len(x), len(W)), dtype=x.dtype)
        for _ in range(steps):
            z = (x @ W.T + b).requires_grad_()
            loss = self._loss(relu(z) @ A.T + c, targets)
            C -= learning_rate * torch.autograd.grad(loss, z)[0]
            W, b = self.step(W, b, A, c, x, targets, learning_rate)
        sums = torch.zeros((len(features), len(W)), dtype=x.dtype).index_add(0, cluster, C)
        xi = x - features[cluster]
        return sums.T * (features**2).sum(dim=1), C.T * (xi**2).sum(dim=1)

    def closed_form_attack(self, x: Any, y: Any, features: Any, labels: Any, epsilon: float) -> Any:
        v = labels.to(x.dtype) @ features
        return x - epsilon * y[:, None] * v / torch.linalg.vector_norm(v)

    def smallest_step(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        W, b, A, c, x, direction = (arguments[i].double() for i in (0, 1, 2, 3, 4, 6))
        y = arguments[5]
        u = direction / torch.linalg.vector_norm(direction, norm, dim=1, keepdim=True)
        rows = zip(x @ W.T + b, u @ W.T, y, strict=True)
        margins = y * self.outputs(W, b, A, c, x)[:, 0]
        walks = (walk(z, slope, label * A[0], label * c[0]) for z, slope, label in rows)
        steps = torch.stack([torch.as_tensor(step, dtype=torch.float64) for step in walks])
        if box is not None:
            ends = torch.where(u > 0, box[1].double() - x, x - box[0].double()) / u.abs()
            end = torch.where(u != 0, ends, torch.inf).amin(dim=1)
            steps = torch.where(steps > end, torch.inf, steps)
        return torch.where(margins <= 0, 0.0, steps)

    def project(self, delta: Any, epsilon: float, norm: float = 2) -> Any:
        if norm == torch.inf:
            return delta.clamp(-epsilon, epsilon)
        norm = torch.linalg.vector_norm(delta, dim=1, keepdim=True)
        return torch.where(norm > epsilon, delta * (epsilon / norm), delta)

    def pgd_attack(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        W, b, A, c, x, y, epsilon, steps, step_size, seed = arguments

        def margin(delta: Any) -> Any:
            return y * self.outputs(W, b, A, c, x + delta)[:, 0]

        def inside(delta: Any) -> Any:
            """Scale to the ball and clip to the box, which holds x: in both, if not the nearest."""
            delta = self.project(delta, epsilon, norm)
            return delta if box is None else (x + delta).clamp(box[0], box[1]) - x

        rng = torch.Generator().manual_seed(seed)
        delta = inside(epsilon * torch.randn(x.shape, generator=rng, dtype=x.dtype))
        best = delta
        for _ in range(steps):
            delta = delta.requires_grad_()
            g = torch.autograd.grad(margin(delta).sum(), delta)[0]  # each row has its own
            size = torch.linalg.vector_norm(g, dim=1, keepdim=True)
            direction = g.sign() if norm == torch.inf else torch.where(size > 0, g / size, 0.0)
            delta = inside(delta.detach() - step_size * direction)
            best = torch.where((margin(delta) < margin(best))[:, None], delta, best)
        return x + best

    def radius_bounds(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        """|f| over a Lipschitz constant, and the step along the gradient.

        A slope in l_p is a gradient in the dual norm, 1/p + 1/q = 1; a box brings nothing nearer.
        """
        W, b, A, c, x = (array.double() for array in arguments[:5])
        y, dual = arguments[5], {1: torch.inf, 2: 2, torch.inf: 1}[norm]
        margins = y * self.outputs(W, b, A, c, x)[:, 0]
        lipschitz = (A[0].abs() * torch.linalg.vector_norm(W, dual, dim=1)).sum()
        lower = torch.where(margins > 0, margins / lipschitz, 0.0)
        direction = self.input_gradient(W, b, A, c, x, -y[:, None].double())
        moves = torch.linalg.vector_norm(direction, dim=1) > 0
        direction = torch.where(moves[:, None], direction, 1.0)
        found = self.smallest_step(W, b, A, c, x, y, direction, norm=norm, box=box)
        return lower, torch.where(moves | (margins <= 0), found, torch.inf)

    def robust_accuracy(self, radius: Any, epsilons: Any) -> Any:
        return (radius > epsilons[:, None]).to(radius.dtype).mean(dim=1)

    def cosine_matrix(self, features: Any, W: Any) -> Any:
        return torch.cosine_similarity(features[:, None], W[None], dim=2, eps=0)


class TorchSingle(Torch):
    """The same in float32."""

    name = "torch, float32"
    dtype = torch.float32


class TorchSoftplus(Torch):
    """With the framework's own softplus, which is linear beyond 20."""

    name = "torch, softplus"

    def _loss(self, F: Any, targets: Any) -> Any:
        if F.shape[1] > 1:
            return super()._loss(F, targets)
        return torch.nn.functional.softplus(-targets * F[:, 0]).mean()
