"""All problems by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from refimpl import _validation as check
from refimpl.truth import drawn, images
from refimpl.truth.problem import Problem, Setting, described

_DRAWN: tuple[Callable[[], Setting], ...] = (
    drawn.averaging,
    drawn.group_sum,
    drawn.group_max,
    drawn.saturated,
    drawn.flat,
    drawn.slivers,
    drawn.kink,
    drawn.corner,
    drawn.mixed,
    drawn.mixed_linf,
    drawn.mixed_classes,
)
_IMAGES: dict[Callable[[], Setting], Callable[[], bool]] = {
    images.mnist_l2: images.has_mnist,
    images.mnist_linf: images.has_mnist,
    images.published: images.has_published,
}


def names() -> list[str]:
    """Names of the problems that can be made here, in the order of the suite.

    >>> names()[:3]
    ['averaging', 'group_sum', 'group_max']
    """
    return list(_makers())


def absent() -> list[str]:
    """Names of the problems whose data is not in the folder that ``REFIMPL_DATA`` names."""
    return [make.__name__ for make, there in _IMAGES.items() if not there()]


def known(name: str) -> str:
    """Return the name of a problem that can be made here; see `problem`."""
    if name in absent():
        got = f"{name!r}, without the data that it reads"
        check.fail("problem", f"the folder of its data in {images.FOLDER}", got)
    if name not in _makers():
        check.fail("problem", f"one of {', '.join(names())}", repr(name))
    return name


@cache
def problem(name: str) -> Problem:
    """Make the problem of that name.

    Raises
    ------
    ValueError
        No such problem, or one whose data is not there.

    Examples
    --------
    >>> bool(problem("corner").radii.upper.max() <= 10**0.5)
    True
    """
    return described(_makers()[known(name)])


def _makers() -> dict[str, Callable[[], Setting]]:
    there = [make for make, exists in _IMAGES.items() if exists()]
    return {make.__name__: make for make in (*_DRAWN, *there)}
