# ruff: noqa: D102 - the methods are those of Adapter, and described there
"""A second implementation of everything, short and slow, written apart from refimpl's own.

It passes every claim in float64 and in float32. A defect is a subclass that overrides one step.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from refimpl.conformance.adapter import Adapter


class Plain(Adapter):
    """Plain NumPy, one method for each step so that a defect is one line."""

    name = "plain"

    def sample(self, features: Any, labels: Any, noise_std: float, n: int, seed: int) -> Any:
        rng = np.random.default_rng(seed)
        cluster = self.clusters(rng, labels, n)
        noise = noise_std * self.noise(rng, n, features.shape[1])
        return features[cluster] + noise, labels[cluster], cluster

    def clusters(self, rng: Any, labels: Any, n: int) -> Any:
        return rng.integers(len(labels), size=n)

    def noise(self, rng: Any, n: int, d: int) -> Any:
        return rng.standard_normal((n, d))

    def activation(self, z: Any) -> Any:
        return np.where(z > 0, z, 0)

    def derivative(self, z: Any) -> Any:
        return (z > 0).astype(z.dtype)

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        return self.activation(x @ W.T + b) @ A.T + c

    def predict(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        F = self.outputs(W, b, A, c, x)
        return self.sign(F[:, 0]) if len(A) == 1 else self.argmax(F)

    def sign(self, f: Any) -> Any:
        return np.sign(f)

    def argmax(self, F: Any) -> Any:
        return F.argmax(axis=1)

    def losses(self, F: Any, targets: Any) -> Any:
        """One loss for each row of F."""
        if F.shape[1] == 1:
            return self.softplus(-targets.astype(F.dtype) * F[:, 0])
        return self.log_sum_exp(F) - F[np.arange(len(F)), targets]

    def softplus(self, m: Any) -> Any:
        return np.maximum(m, 0) + np.log1p(np.exp(-np.abs(m)))

    def log_sum_exp(self, F: Any) -> Any:
        top = F.max(axis=1)
        return top + np.log(np.exp(F - top[:, None]).sum(axis=1))

    def loss(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        return self.losses(self.outputs(W, b, A, c, x), targets).mean()

    def output_derivative(self, F: Any, targets: Any) -> Any:
        """dL/dF (n,K)."""
        if F.shape[1] == 1:
            return self.logistic_derivative(F, targets[:, None].astype(F.dtype)) / len(F)
        onehot = np.arange(F.shape[1]) == targets[:, None]
        return self.multiclass_derivative(F, onehot.astype(F.dtype)) / len(F)

    def logistic_derivative(self, f: Any, y: Any) -> Any:
        return -y * self.sigmoid(-y * f)

    def multiclass_derivative(self, F: Any, onehot: Any) -> Any:
        return self.softmax(F) - onehot

    def sigmoid(self, m: Any) -> Any:
        small = np.exp(-np.abs(m))
        return np.where(m > 0, 1, small) / (1 + small)

    def softmax(self, F: Any) -> Any:
        powers = np.exp(F - F.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def hidden(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        """G (n,M)."""
        D = self.output_derivative(self.outputs(W, b, A, c, x), targets)
        return self.back(D, A) * self.derivative(x @ W.T + b)

    def back(self, D: Any, A: Any) -> Any:
        """dL/dH (n,M) from dL/dF."""
        return D @ A

    def parameter_gradients(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        G = self.hidden(W, b, A, c, x, targets)
        return G.T @ x, G.sum(axis=0)

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return (self.derivative(x @ W.T + b) * (cotangent @ A)) @ W

    def step(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: Any) -> Any:
        dW, db = self.parameter_gradients(W, b, A, c, x, targets)
        return W - learning_rate * dW, b - learning_rate * db

    def train(
        self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: float, steps: int
    ) -> Any:
        losses = [self.loss(W, b, A, c, x, targets)]
        for _ in range(steps):
            W, b, A = self.update(W, b, A, c, x, targets, learning_rate)
            losses.append(self.loss(W, b, A, c, x, targets))
        return W, b, A, np.array(losses)

    def update(self, W: Any, b: Any, A: Any, *rest: Any) -> Any:
        """All weights after a step; A is not trained."""
        return *self.step(W, b, A, *rest), A

    def coefficients(
        self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any, learning_rate: float, steps: int
    ) -> Any:
        """C (n,M)."""
        C = np.zeros((len(x), len(W)), x.dtype)
        for _ in range(steps):
            C -= learning_rate * self.hidden(W, b, A, c, x, targets)
            W, b = self.step(W, b, A, c, x, targets, learning_rate)
        return C

    def decompose(self, *arguments: Any) -> Any:
        W, b, A, c, x, cluster, features, targets, learning_rate, steps = arguments
        C = self.coefficients(W, b, A, c, x, targets, learning_rate, steps)
        sums = np.stack([C[cluster == j].sum(axis=0) for j in range(len(features))], axis=1)
        xi = x - features[cluster]
        return sums * (features**2).sum(axis=1), C.T * (xi**2).sum(axis=1)

    def direction(self, features: Any, labels: Any) -> Any:
        """v/||v||, v = v+ - v-."""
        v = features[labels > 0].sum(axis=0) - features[labels < 0].sum(axis=0)
        return v / np.linalg.norm(v) if v.any() else v

    def closed_form_attack(self, x: Any, y: Any, features: Any, labels: Any, epsilon: float) -> Any:
        return x - epsilon * y[:, None].astype(x.dtype) * self.direction(features, labels)

    def unit(self, direction: Any) -> Any:
        return direction / np.linalg.norm(direction)

    def limits(self, x: Any, box: Any) -> Any:
        """Return what the box leaves of perturbations of x: low <= delta <= high."""
        low, high = (-np.inf, np.inf) if box is None else box
        return low - x, high - x

    def size(self, delta: Any, norm: float) -> float:
        return float(np.linalg.norm(delta, ord=norm))

    def smallest_step(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        W, b, A, c, *rows = arguments
        steps = [
            self.length(self.walk(W, b, A, c, x, y, direction), x, direction, norm, box)
            for x, y, direction in zip(*rows, strict=True)
        ]
        return np.array(steps)

    def length(self, t: float, x: Any, direction: Any, norm: float, box: Any) -> float:
        """Length of t unit directions in the norm, inf if they leave the box."""
        u = direction.astype(float) / np.linalg.norm(direction.astype(float))
        return t * self.size(u, norm) if t <= self.exit(x, u, box) else np.inf

    def exit(self, x: Any, u: Any, box: Any) -> float:
        """Where the ray leaves the box."""
        low, high = self.limits(x.astype(float), box)
        ahead = np.where(u > 0, high, -low)[u != 0]
        return float((ahead / np.abs(u[u != 0])).min())

    def walk(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, direction: Any) -> float:
        """One sample's smallest step: between its kinks f is affine."""
        W, b, A, c, x = (array.astype(float) for array in (W, b, A, c, x))
        u = self.unit(direction.astype(float))
        z, s = W @ x + b, W @ u
        kinks = np.sort([-p / q for p, q in zip(z, s, strict=True) if q != 0 and p * q < 0])
        nodes = [0.0, *kinks]

        def f(t: float) -> float:
            near = np.abs(z + t * s) <= 1e-14 * (np.abs(z) + np.abs(t * s))
            hidden = np.where(near, 0.0, np.maximum(z + t * s, 0))
            return float(y * (A[0] @ hidden + c[0]))

        for start, end in itertools.pairwise(nodes):
            low, high = f(start), f(end)
            if low <= 0:
                return start
            if high <= 0:
                return start + (end - start) * low / (low - high)
        last = nodes[-1]
        if f(last) <= 0:
            return last
        slope = float(y * (A[0] @ np.where(z + (2 * last + 1) * s > 0, s, 0)))
        size = float(np.abs(A[0]) @ (np.abs(W) @ np.abs(u)))
        return last + f(last) / -slope if slope < -1e-13 * size else np.inf

    def project(self, delta: Any, epsilon: float, norm: float = 2, box: Any = None) -> Any:
        low, high = self.limits(np.zeros_like(delta), box)
        if norm == np.inf:
            return np.clip(delta, np.maximum(low, -epsilon), np.minimum(high, epsilon))
        if box is not None:
            return self.shrink(delta.astype(float), epsilon, low, high).astype(delta.dtype)
        size = np.linalg.norm(delta, axis=1, keepdims=True)
        return np.where(size > epsilon, delta * (epsilon / np.where(size > 0, size, 1)), delta)

    def shrink(self, delta: Any, epsilon: float, low: Any, high: Any) -> Any:
        """clip(s delta) with the largest s <= 1 that is in the ball, by bisection."""
        below, above = np.zeros((2, len(delta), 1))
        above += 1
        for _ in range(60):
            s = (below + above) / 2
            outside = np.linalg.norm(np.clip(s * delta, low, high), axis=1) > epsilon
            below, above = (np.where(outside[:, None], *it) for it in ((below, s), (s, above)))
        whole = np.clip(delta, low, high)
        inside = np.linalg.norm(whole, axis=1, keepdims=True) <= epsilon
        return np.where(inside, whole, np.clip(below * delta, low, high))

    def start(self, rng: Any, x: Any, epsilon: float, *region: Any) -> Any:
        """First perturbation."""
        drawn = (epsilon * rng.standard_normal(x.shape)).astype(x.dtype)
        return self.project(drawn, epsilon, *region)

    def ascent(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any) -> Any:
        """Return the unit direction in which the loss rises."""
        return self.normalised(-self.input_gradient(W, b, A, c, x, y[:, None].astype(x.dtype)))

    def normalised(self, g: Any) -> Any:
        norm = np.linalg.norm(g, axis=1, keepdims=True)
        return g / np.where(norm > 0, norm, 1)

    def steepest(self, direction: Any, norm: float) -> Any:
        """Of the vectors of norm 1 the one that rises most along the direction."""
        return np.sign(direction) if norm == np.inf else direction

    def pgd_attack(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        W, b, A, c, x, y, epsilon, steps, step_size, seed = arguments
        region = () if norm == 2 and box is None else (norm, self.limits(x, box))
        delta = self.start(np.random.default_rng(seed), x, epsilon, *region)
        best = delta
        for _ in range(steps):
            delta = delta + step_size * self.steepest(self.ascent(W, b, A, c, x + delta, y), norm)
            delta = self.project(delta, epsilon, *region)
            best = self.better(W, b, A, c, x, y, best, delta)
        return x + best

    def better(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, best: Any, delta: Any) -> Any:
        """Of two perturbations the one with the smaller margin."""
        old, new = (y * self.outputs(W, b, A, c, x + it)[:, 0] for it in (best, delta))
        return np.where((new < old)[:, None], delta, best)

    def radius_bounds(self, *arguments: Any, norm: float = 2, box: Any = None) -> Any:
        *net, x, y = arguments
        rows = zip(x, y, strict=True)
        radius = np.array([self.radius(*net, *row, norm, box) for row in rows])
        return self.slack(radius, -1), self.slack(radius, 1)

    def slack(self, radius: Any, side: int) -> Any:
        return radius * (1 + side * 1e-10)

    def radius(self, W: Any, b: Any, A: Any, c: Any, x: Any, y: Any, *region: Any) -> float:
        """Nearest point of all linear pieces: 2^M problems of least distance."""
        W, b, A, c, x = (array.astype(float) for array in (W, b, A, c, x))
        z, (norm, box) = W @ x + b, region
        if y * (A[0] @ np.maximum(z, 0) + c[0]) <= 0:
            return 0.0
        region = norm, *self.limits(x, box)
        return min(self.piece(W, z, A[0], c[0], y, on, *region) for on in self.patterns(z))

    def patterns(self, z: Any) -> Any:
        """Activation patterns to look at."""
        return itertools.product((0.0, 1.0), repeat=len(z))

    def piece(
        self, W: Any, z: Any, a: Any, c: float, y: Any, pattern: Any, norm: float, *limits: Any
    ) -> float:
        """Distance of {delta: this pattern, y f <= 0, in the box} from 0, inf if it is empty."""
        on = np.array(pattern)
        sign = 2 * on - 1
        E = np.vstack([sign[:, None] * W, -y * (a * on) @ W])
        h = np.append(-sign * z, y * (a @ (on * z) + c))
        size = np.linalg.norm(E, axis=1)
        if (h[size == 0] > 0).any():
            return np.inf
        E, h = E[size > 0] / size[size > 0, None], h[size > 0] / size[size > 0]
        scale = np.abs(h).max(initial=1e-300)
        low, high = (np.broadcast_to(it, len(W[0])) / scale for it in limits)
        delta = self.nearest(E, h / scale, norm, low, high)
        return np.inf if delta is None else scale * self.size(delta, norm)

    def nearest(self, E: Any, h: Any, norm: float, low: Any, high: Any) -> Any:
        """Return the point of E delta >= h, low <= delta <= high nearest to 0, None without any."""
        return (
            self.euclidean(*self.sides(E, h, low, high))
            if norm == 2
            else self.linear_program(E, h, norm, low, high)
        )

    def sides(self, E: Any, h: Any, low: Any, high: Any) -> Any:
        """E delta >= h with a row for each finite side of the box."""
        unit = np.eye(E.shape[1])
        below, above = np.isfinite(low), np.isfinite(high)
        return np.vstack([E, unit[below], -unit[above]]), np.hstack([h, low[below], -high[above]])

    def euclidean(self, E: Any, h: Any) -> Any:
        """Least distance by non-negative least squares.

        Lawson and Hanson, *Solving Least Squares Problems*, chapter 23.
        """
        from scipy.optimize import nnls

        rows = np.vstack([E.T, h])
        u, residual = nnls(rows, np.append(np.zeros(E.shape[1]), 1.0))
        if residual <= 1e-7:
            return None
        r = rows @ u - np.append(np.zeros(E.shape[1]), 1.0)
        delta = -r[:-1] / r[-1]
        # Where the set is empty up to rounding, the point is far from it.
        return delta if (E @ delta >= h - 1e-6).all() else None

    def linear_program(self, E: Any, h: Any, norm: float, low: Any, high: Any) -> Any:
        """Least sum, or largest, of u >= |delta|: one u for each entry in l1, one for all else."""
        from scipy.optimize import linprog

        d = E.shape[1]
        unit, u = np.eye(d), np.eye(d) if norm == 1 else np.ones((d, 1))
        rows = np.block([[-E, np.zeros((len(E), len(u[0])))], [unit, -u], [-unit, -u]])
        costs = np.append(np.zeros(d), np.ones(len(u[0])))
        bounds = [*zip(low, high, strict=True), *[(0, None)] * len(u[0])]
        found: Any = linprog(costs, rows, np.append(-h, np.zeros(2 * d)), bounds=bounds)
        return found.x[:d] if found.status == 0 else None

    def robust_accuracy(self, radius: Any, epsilons: Any) -> Any:
        return np.array([np.mean(self.robust(radius, epsilon)) for epsilon in epsilons])

    def robust(self, radius: Any, epsilon: float) -> Any:
        return radius > epsilon

    def cosine_matrix(self, features: Any, W: Any) -> Any:
        lengths = np.outer(np.linalg.norm(features, axis=1), np.linalg.norm(W, axis=1))
        return features @ W.T / lengths


class PlainSingle(Plain):
    """The same in float32, and the softmax as automatic differentiation of log-sum-exp has it."""

    name = "plain, float32"
    dtype = "float32"

    def softmax(self, F: Any) -> Any:
        return np.exp(F - self.log_sum_exp(F)[:, None])
