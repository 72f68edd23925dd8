"""Other frameworks through the checks: what they pass, and what the checks find in them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from refimpl.conformance import Probe, check
from refimpl.conformance.adapter import METHODS

# Deviations of the frameworks themselves, not of the adapters.
KNOWN = {
    "TorchSoftplus": dict.fromkeys(
        ("E8-logistic-tail", "E15-feature-coefficients", "E15-noise-coefficients"),
        "softplus is linear beyond 20",
    ),
    "Sklearn": {"E4-predict-sign-tie": "a tie of two classes goes to the first"},
}


@pytest.mark.slow
def test_the_adapter_of_pytorch_has_every_method() -> None:
    pytest.importorskip("torch", reason="the adapter needs torch")
    probe = Probe(import_module("adapters.torch_autograd").Torch())
    assert [method for method in METHODS if not probe.has(method)] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "framework", "name", "at_least", "examples"),
    [
        ("torch_autograd", "torch", "Torch", 112, 4),
        ("torch_autograd", "torch", "TorchSingle", 111, 4),
        ("torch_autograd", "torch", "TorchSoftplus", 109, 12),
        ("jax_grad", "jax", "Jax", 25, 2),  # JAX compiles anew for every shape
        ("jax_grad", "jax", "JaxSingle", 25, 2),
        ("sklearn_mlp", "sklearn", "Sklearn", 8, 12),
        ("loops", "math", "Loops", 35, 2),
    ],
)
def test_frameworks(module: str, framework: str, name: str, at_least: int, examples: int) -> None:
    pytest.importorskip(framework, reason=f"the adapter needs {framework}")
    adapter: Any = getattr(import_module(f"adapters.{module}"), name)
    results = check(adapter, examples=examples, expected_failures=KNOWN.get(name))
    assert [result.claim for result in results if result.status == "failed"] == []
    assert sum(result.status == "passed" for result in results) >= at_least
