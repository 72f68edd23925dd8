"""What parabolas would give in a box and in l_inf, on networks that Adam trained (E40).

For the target that the nearest adversarial point is in, at the root of branch and bound: the
largest R, as a share of the radius, that chords prove free of adversarial points, and that lines
for stable neurons and parabolas for all others prove, with multipliers of the box beside those of
the ball: linear ones of its sides alone (l2), and quadratic ones too (eta of E40). All are the
package's problem without narrowing and without branching. Run as

  REFIMPL_DATA=... python tests/benchmarks/box_parabolas.py DIRECTORY [images] [M ...]

with the directory of `wide_networks.py`. In l2 `refimpl` has the linear multipliers alone, and in
l_inf no parabolas: this is the measure of what it leaves out.
"""

from __future__ import annotations

import math
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))

import numpy as np  # the number of threads is read on import
from scipy.optimize import minimize

from refimpl import TwoLayerReLU, datasets, robust_radius
from refimpl.radius.geometry import targets_of
from refimpl.radius.problem import Problem
from refimpl.radius.region import Region, Space
from refimpl.radius.relaxation import relax

HALVINGS = 5
STEPS = 150  # of L-BFGS-B
Array = Any


class Quadratic(NamedTuple):
    """A lower bound Q of one constraint on the region; parabolas stand for the neurons N."""

    W: Array  # (N,d)
    z: Array  # (N,)
    weight: Array  # |gamma| (N,)
    own: Array  # gamma_r w_r (K,d) of free neurons with gamma > 0
    levels: Array  # gamma_r z_r (K,)
    v: Array  # the gradient of all that is certain (d,)
    level: float
    a: Array
    b: Array
    radius: float
    norm: float

    def unpack(self, t: Array) -> list[Array]:
        """Split parameters: s, tau, eta, lambda, side multipliers above and below."""
        d = len(self.v)
        return list(np.split(t, np.cumsum([len(self.z), len(self.levels), d, 1, d])))

    def value(self, t: Array) -> tuple[float, Array]:
        """-inf Q and its gradient; 1e6 where Q has no minimum."""
        s, tau, eta, lam, above, below = self.unpack(t)
        curve = lam[0] + eta
        gradient = self.v + tau @ self.own + eta * (self.a - self.b) + above - below
        D, c = self.weight / (4 * s), self.z + s
        gradient = gradient - 2 * (D * c) @ self.W
        if (curve <= 0).any():
            return 1e6, np.zeros_like(t)
        inner = np.diag(1 / D) - (self.W / curve) @ self.W.T
        try:
            L = np.linalg.cholesky(inner)
        except np.linalg.LinAlgError:
            return 1e6, np.zeros_like(t)
        u = gradient / curve  # (E40)
        x = np.linalg.solve(L.T, np.linalg.solve(L, self.W @ u))
        delta = -(u + (x @ self.W) / curve) / 2
        sides = (delta + self.a) * (delta - self.b)
        T = self.z + self.W @ delta
        own = self.levels + self.own @ delta
        ball = delta @ delta - self.radius**2 if self.norm == 2 else 0.0
        Q = self.level + self.v @ delta + tau @ own - D @ np.square(T + s) + lam[0] * ball
        Q += eta @ sides + above @ (delta - self.b) - below @ (delta + self.a)
        ds = -self.weight * (0.25 - np.square(T / s) / 4)
        slopes = (ds, own, sides, [ball], delta - self.b, -delta - self.a)
        return -float(Q), -np.concatenate(slopes)

    def proved(self, delta: Array, *, bends: bool) -> bool:
        """Whether some multipliers have inf Q > 0, climbing from those that fit a point.

        The box's quadratic multipliers eta are 0 without `bends`.
        """
        d, sizes = len(self.v), np.linalg.norm(self.W, axis=1)
        s = np.maximum(np.abs(self.z + self.W @ delta), 0.05 * sizes * np.linalg.norm(delta))
        root = np.sqrt(self.weight / (4 * s))[:, None] * self.W
        start = 1.1 * float(np.linalg.eigvalsh(root @ root.T)[-1]) if len(s) else 1.0
        lam, eta = (start, np.zeros(d)) if self.norm == 2 else (0.0, np.full(d, start))
        tau = (self.levels + self.own @ delta > 0) * 1.0
        t = np.concatenate((s, tau, eta, [lam], np.zeros(2 * d)))
        limits: list[Any] = [(1e-6, None)] * len(s) + [(0.0, 1.0)] * len(tau)
        limits += [(0.0, None if bends else 0.0)] * d
        limits += [(1e-9, None) if self.norm == 2 else (0.0, 0.0)] + [(0.0, None)] * (2 * d)
        options = {"maxiter": STEPS, "maxfun": 2 * STEPS}
        found: Any = minimize(
            self.value, t, jac=True, method="L-BFGS-B", bounds=limits, options=options
        )
        return bool(found.fun < 0)


def shares(net: TwoLayerReLU, x: Array, y: int, norm: float) -> tuple[float, float, float]:
    """Shares of the radius that chords and parabolas prove at the root, these without eta and with.

    In l_inf parabolas need eta.
    """
    box = np.zeros(net.dim), np.ones(net.dim)
    found = robust_radius(net, x[None], [y], decision="argmax", norm=norm, box=(0, 1))
    radius, delta = float(found.upper[0]), found.perturbation[0]
    targets = targets_of(net, y, "argmax")
    index = int(np.argmin([t.values(net.preactivations((x + delta)[None])[0])[0] for t in targets]))
    size = np.abs(net.W) @ np.abs(x) + np.abs(net.bias)
    region = Space.of(net, norm, box).around(x, net.preactivations(x[None])[0], size)
    assert isinstance(region, Region)

    def chords(R: float) -> bool:
        region.resize(R)
        problem = Problem.of(0, targets[index], region)
        lines = region.nodes(
            np.zeros((1, len(region.z)), np.int64), region.lo[None], region.up[None]
        )
        least = relax(region, problem.target, lines, problem.pool, [problem.planes], math.inf)
        return bool(least.lower[0] >= R * (1 - 1e-9))

    def parabolas(R: float, *, bends: bool) -> bool:
        region.resize(R)
        return quadratic(net, region, targets[index]).proved(delta * R / radius, bends=bends)

    straight = largest(partial(parabolas, bends=False), radius) if norm == 2 else math.nan
    return largest(chords, radius), straight, largest(partial(parabolas, bends=True), radius)


def quadratic(net: TwoLayerReLU, region: Region, target: Any) -> Quadratic:
    """The problem of one target in a region, at its radius."""
    alpha, free = target.alpha[0], region.stable == 0
    curved, own = free & (alpha < 0), free & (alpha > 0)
    on = alpha * (region.stable > 0)
    return Quadratic(
        *(net.W[curved], region.z[curved], -alpha[curved]),
        *(alpha[own, None] * net.W[own], alpha[own] * region.z[own]),
        *(on @ net.W, float(on @ region.z + target.beta[0])),
        *(np.minimum(region.a, region.radius), np.minimum(region.b, region.radius)),
        *(region.radius, region.norm),
    )


def largest(proves: Any, radius: float) -> float:
    """Share of the radius up to which something is proved, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if proves(middle * radius) else (low, middle)
    return low


def main() -> None:
    directory, images = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10
    _, (x, y) = datasets.load_mnist(scale=True)
    x = x.reshape(len(x), -1)
    for M in map(int, sys.argv[3:] or (100, 128, 256)):
        net = TwoLayerReLU.load(directory / f"adam-{M}.npz")
        right = np.flatnonzero(net.predict(x[:200], "argmax") == y[:200])[:images]
        for norm in (2, math.inf):
            found = np.array([shares(net, x[i], int(y[i]), norm) for i in right])
            chords, straight, parabolas = np.median(found, axis=0)
            without = "" if norm != 2 else f"{straight:.2f} with parabolas without eta, "
            print(f"784-{M}-10, l{norm} in [0, 1], {images} images: the root proves "
                  f"{chords:.2f} of the radius with chords, {without}{parabolas:.2f} with "
                  f"parabolas (medians)", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
