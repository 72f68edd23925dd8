"""Python lists and loops, no NumPy: the slow and obvious way."""

from __future__ import annotations

import math
from typing import Any

from refimpl.conformance import Adapter


def dot(u: Any, v: Any) -> float:
    return math.fsum(p * q for p, q in zip(u, v, strict=True))


class Loops(Adapter):
    """One sample, one neuron, one coordinate at a time."""

    name = "loops"

    def to_native(self, array: Any) -> Any:
        return array.tolist()

    def outputs(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        hidden = [[max(dot(w, row) + r, 0.0) for w, r in zip(W, b, strict=True)] for row in x]
        return [[dot(a, h) + s for a, s in zip(A, c, strict=True)] for h in hidden]

    def predict(self, W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
        F = self.outputs(W, b, A, c, x)
        if len(A) == 1:
            return [(f[0] > 0) - (f[0] < 0) for f in F]
        return [f.index(max(f)) for f in F]

    def loss(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        total = 0.0
        for f, y in zip(self.outputs(W, b, A, c, x), targets, strict=True):
            gaps = [-y * f[0]] if len(A) == 1 else [g - f[y] for t, g in enumerate(f) if t != y]
            top = max(0.0, *gaps)
            total += top + math.log(math.exp(-top) + sum(math.exp(g - top) for g in gaps))
        return total / len(x)

    def derivative(self, f: Any, y: int, n: int) -> Any:
        if len(f) == 1:
            return [-y / (1 + math.exp(min(y * f[0], 700.0))) / n]
        powers = [math.exp(g - max(f)) for g in f]
        return [(p / sum(powers) - (t == y)) / n for t, p in enumerate(powers)]

    def parameter_gradients(self, W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
        dW, db = [[0.0] * len(w) for w in W], [0.0] * len(W)
        F = self.outputs(W, b, A, c, x)
        for row, f, y in zip(x, F, targets, strict=True):
            D = self.derivative(f, y, len(x))
            for r, w in enumerate(W):
                if dot(w, row) + b[r] > 0:
                    g = dot(D, [a[r] for a in A])
                    db[r] += g
                    for j, value in enumerate(row):
                        dW[r][j] += g * value
        return dW, db

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        result = []
        for row, v in zip(x, cotangent, strict=True):
            on = [dot(w, row) + r > 0 for w, r in zip(W, b, strict=True)]
            weights = [dot(v, [a[r] for a in A]) if on[r] else 0.0 for r in range(len(W))]
            result.append([dot(weights, [w[j] for w in W]) for j in range(len(row))])
        return result

    def project(self, delta: Any, epsilon: float) -> Any:
        scales = [min(1.0, epsilon / (math.hypot(*row) or math.inf)) for row in delta]
        return [
            [value * s if s < 1 else value for value in row]
            for row, s in zip(delta, scales, strict=True)
        ]

    def robust_accuracy(self, radius: Any, epsilons: Any) -> Any:
        return [sum(r > epsilon for r in radius) / len(radius) for epsilon in epsilons]

    def cosine_matrix(self, features: Any, W: Any) -> Any:
        return [[dot(m, w) / math.hypot(*m) / math.hypot(*w) for w in W] for m in features]
