"""The attacks of refimpl, in the form that `judge` takes."""

from __future__ import annotations

from typing import Any

from refimpl._validation import Array, IntArray
from refimpl.decisions import Decision
from refimpl.minimum_norm import minimum_norm_attack
from refimpl.network import TwoLayerReLU
from refimpl.pgd import pgd_attack


def pgd(
    net: TwoLayerReLU,
    x: Array,
    y: IntArray,
    *,
    norm: float,
    box: Any,
    epsilon: float,
    decision: Decision,
    rng: int,
) -> Array:
    """`pgd_attack` with 40 steps and 5 starts; it takes budgets."""
    options: dict[str, Any] = {"norm": norm, "box": box, "decision": decision, "rng": rng}
    return pgd_attack(net, x, y, epsilon=epsilon, restarts=5, **options)


def minimum_norm(
    net: TwoLayerReLU,
    x: Array,
    y: IntArray,
    *,
    norm: float,
    box: Any,
    epsilon: None,
    decision: Decision,
    rng: int,
) -> Array:
    """`minimum_norm_attack`."""
    return minimum_norm_attack(net, x, y, norm=norm, box=box, decision=decision, rng=rng)
