"""What objects that hold large arrays print: sizes instead of entries."""

from __future__ import annotations


def sizes(value: object, **numbers: object) -> str:
    """Name of the object's class and the given numbers, for a ``__repr__``.

    >>> sizes([3, 4], n=2)
    'list(n=2)'
    """
    return f"{type(value).__name__}({', '.join(f'{n}={v!r}' for n, v in numbers.items())})"
