"""Coefficients reproduce the weights: (E14) and (E15).

Status: paper (the decomposition), derived (the coefficients).

An identity, so the bound is rounding alone. Weights are trained as weights (method "primal") and
never read by the coefficients, whose own recursion runs beside. W is a running sum of T steps,
each a product over n rows; lambda and sigma are sums over n rows times a square of d terms; a
coefficient is at most T eta max|A| / n in size. Every term is thus rounded at most T + 2n + 2d + k
+ 20 times, and their absolute values sum to |W(0)| + 2 n c (|x| + |mu|) in maximum norm, c that
largest coefficient.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from proofs_numeric.evidence import Check, Evidence, Run, Size, gamma, problem
from refimpl import TwoLayerReLU, decompose, gradient_descent


def prove(size: Size) -> Evidence:
    """Train both networks as weights, on half the samples, from weights large enough to be seen."""
    size = replace(size, n=size.n // 2, sigma=0.01)
    runs = []
    for seed in size.seeds[-2:]:
        drawn, rng = problem(size, seed), np.random.default_rng(seed)
        for net, targets in (
            (TwoLayerReLU.binary(size.d, size.m, sigma_w=0.01, rng=rng), drawn.train.y),
            (TwoLayerReLU.multiclass(size.d, size.k, sigma_w=0.01, rng=rng), drawn.train.cluster),
        ):
            path = gradient_descent(
                net,
                drawn.train.x,
                targets,
                learning_rate=size.learning_rate,
                steps=size.steps,
                method="primal",
            )
            runs.append(Run(drawn, net, path))
    return judge(runs, size.learning_rate)


def judge(runs: list[Run], learning_rate: float) -> Evidence:
    """Rebuild weights and preactivations of every run."""
    found = [_errors(run, learning_rate) for run in runs]
    worst = max(found, key=lambda e: max(*np.divide(e[:2], e[3]), e[2] / e[4]))
    weights, decomposed, preactivations, bound, of_z = worst
    checks = [
        Check.at_most("|W - W(0) - C^T X|, largest entry (E14)", weights, bound),
        Check.at_most("|W - W(0) - parts by lambda, sigma|, the same (E15)", decomposed, bound),
        Check.at_most("|Z - X W(0)^T - Q C - b|, the same (E14)", preactivations, of_z),
    ]
    return Evidence(
        "decomposition",
        "coefficients reproduce the weights (E14), (E15)",
        "paper; derived",
        checks,
        {"runs": len(runs), "largest_weight": float(np.abs(runs[0].net.W).max())},
    )


def _errors(run: Run, learning_rate: float) -> tuple[float, float, float, float, float]:
    """Largest errors of W from C, of W from lambda and sigma, of Z, and the bounds of W and Z."""
    sample, dist, C = run.problem.train, run.problem.dist, run.path.coefficients
    W, W0, x = run.net.W, run.initial.W, sample.x
    parts = decompose(run.path, sample, dist)
    noise = x - dist.features[sample.cluster]
    features = parts.feature / (dist.features**2).sum(axis=1) @ dist.features
    rebuilt = W0 + features + parts.noise / (noise**2).sum(axis=1) @ noise  # (E15)
    b = run.initial.bias + (0.0 if run.net.b is None else C.sum(axis=0))
    z = x @ W0.T + x @ x.T @ C + b  # (E14)
    (n, d), steps = x.shape, len(run.path.losses) - 1
    c = steps * learning_rate * np.abs(run.net.A).max() / n
    size = np.abs(W0).max() + 2 * n * c * (np.abs(x).max() + np.abs(dist.features).max())
    bound = float(gamma(steps + 2 * n + 2 * d + dist.n_clusters + 20) * size)
    # Z sums d such weights, or n entries of Q, times entries of x.
    of_z = 3 * np.abs(x).sum(axis=1).max() * bound
    return (
        float(np.abs(W - W0 - C.T @ x).max()),
        float(np.abs(W - rebuilt).max()),
        float(np.abs(run.net.preactivations(x) - z).max()),
        bound,
        float(of_z),
    )
