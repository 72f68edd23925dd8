"""The attacks of refimpl, in the form that `judge` takes."""

from __future__ import annotations

from typing import Any

import numpy as np

from refimpl import smallest_step
from refimpl._arrays import Array, IntArray
from refimpl.attacks import unit_rows
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


def closed_form(
    net: TwoLayerReLU, x: Array, y: IntArray, *, norm: float, box: Any, epsilon: None
) -> Array:
    """Smallest step against the average of all neurons of one output, in closed form.

    u = -y W^T a / ||W^T a||: for networks that average features, the direction of E26. In l_inf its
    signs. Samples stay where the ray leaves the box before it is adversarial.
    """
    v = net.A[0] @ net.W
    u = -y[:, None] * (v if norm == 2 else np.sign(v))
    step = smallest_step(net, x, y, u, norm=norm, box=box)
    far = step * (1 + 2.0**-40)  # a little beyond the tie, in floats
    ends = x + np.nan_to_num(far)[:, None] * unit_rows(u, norm)
    return np.where(np.isfinite(step)[:, None], ends, x)
