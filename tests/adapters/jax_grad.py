"""JAX, gradients by `jax.grad`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import log_softmax

from refimpl.conformance import Adapter

jax.config.update("jax_enable_x64", True)


def outputs(W: Any, b: Any, A: Any, c: Any, x: Any) -> Any:
    return jax.nn.relu(x @ W.T + b) @ A.T + c


def loss(W: Any, b: Any, A: Any, c: Any, x: Any, targets: Any) -> Any:
    F = outputs(W, b, A, c, x)
    if len(A) == 1:
        return jnp.logaddexp(0.0, -targets.astype(F.dtype) * F[:, 0]).mean()
    return -jnp.take_along_axis(log_softmax(F), targets[:, None], axis=1).mean()


class Jax(Adapter):
    """Networks, losses and gradients; without jit, since every input has its own shape."""

    name = "jax"
    to_native = staticmethod(jnp.asarray)
    outputs = staticmethod(outputs)
    loss = staticmethod(loss)

    def parameter_gradients(self, *arguments: Any) -> Any:
        return jax.grad(loss, argnums=(0, 1))(*arguments)

    def input_gradient(self, W: Any, b: Any, A: Any, c: Any, x: Any, cotangent: Any) -> Any:
        return jax.vjp(lambda x: outputs(W, b, A, c, x), x)[1](cotangent)[0]

    def step(self, W: Any, b: Any, *rest: Any) -> Any:
        *arguments, learning_rate = rest
        dW, db = self.parameter_gradients(W, b, *arguments)
        return W - learning_rate * dW, b - learning_rate * db


class JaxSingle(Jax):
    """The same in float32."""

    name = "jax, float32"
    dtype = jnp.float32
