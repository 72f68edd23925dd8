"""Short texts of objects that hold large arrays."""

from __future__ import annotations


def sizes(value: object, **numbers: object) -> str:
    """Class of an object and what is worth knowing of its arrays.

    >>> sizes([3, 4], n=2)
    'list(n=2)'
    """
    return f"{type(value).__name__}({', '.join(f'{n}={v!r}' for n, v in numbers.items())})"
