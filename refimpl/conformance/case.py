"""One input of a claim: the arguments of an adapter's methods, by name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from functools import cached_property, wraps
from typing import Any, ParamSpec

import numpy as np

from refimpl.network import TwoLayerReLU

P = ParamSpec("P")


class Case(dict[str, Any]):
    """Arguments by name, each an attribute too: ``case.x`` is ``case["x"]``.

    `recipe` is the call that makes a large case again; a small one has none and is written out.

    >>> case = Case(W=np.eye(2), b=np.zeros(2), A=np.ones((1, 2)), c=np.zeros(1), x=np.ones((1, 2)))
    >>> case.net.outputs(case.x).tolist()
    [[2.0]]
    """

    recipe = ""

    @classmethod
    def of(cls, net: TwoLayerReLU, **more: Any) -> Case:
        """Case with the parameters of a network, b = 0 where it has none, and more."""
        return cls(W=net.W, b=net.bias, A=net.A, c=net.c, **more)

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    @cached_property
    def net(self) -> TwoLayerReLU:
        """The oracle's own network with these parameters, for bounds."""
        return TwoLayerReLU(self.W, self.b, self.A, self.c)

    def replace(self, **changes: Any) -> Case:
        """Return a case with other or further arguments, and no recipe."""
        return Case(self | changes)

    def rows(self, which: Any) -> Case:
        """Return the case of some samples: of x, y and the direction these rows are left."""
        of_samples = ("x", "y", "direction")
        return self.replace(**{name: self[name][which] for name in of_samples if name in self})

    def each(self) -> Iterator[Case]:
        """Yield the case of each sample alone."""
        return (self.rows(slice(i, i + 1)) for i in range(len(self.x)))

    def rounded(self, dtype: Any) -> Case:
        """Return the case in numbers that the dtype holds, still as float64."""
        result = Case(self)
        result.recipe = self.recipe
        for name, value in self.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                result[name] = value.astype(dtype).astype(np.float64)
        return result


def recorded(make: Callable[P, Case]) -> Callable[P, Case]:
    """Let cases made by a function remember the call.

    >>> recorded(lambda d: Case(x=np.zeros((1, d))))(d=3).recipe
    '<lambda>(d=3)'
    """
    name, signature = getattr(make, "__name__", ""), inspect.signature(make)

    @wraps(make)
    def made(*args: P.args, **kwargs: P.kwargs) -> Case:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        words = (f"{key}={_literal(value)}" for key, value in call.arguments.items())
        case = make(*args, **kwargs)
        case.recipe = f"{name}({', '.join(words)})"
        return case

    return made


def _literal(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)
