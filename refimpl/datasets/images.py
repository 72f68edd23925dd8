"""Images in the layout and scale that the user wants."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from refimpl import _validation as check

LAYOUTS = ("hwc", "chw", "flat")


def check_options(layout: str, scale: bool) -> None:
    """Refuse an unknown layout, and a scale that is no bool."""
    check.choice("layout", layout, LAYOUTS)
    if not isinstance(scale, bool):
        check.fail("scale", "True or False", repr(scale))


def arrange(images: NDArray[np.uint8], layout: str, scale: bool) -> NDArray[Any]:
    """Images as users want them, from uint8 (n,h,w) or (n,c,h,w).

    hwc: (n,h,w) or (n,h,w,c); chw: as they are; flat: (n, h w) or (n, c h w), in the order in which
    they are. With scale: float64, x / 255.

    >>> red_then_blue = np.array([[[[255]], [[0]]]], dtype=np.uint8)  # one pixel, two channels
    >>> arrange(red_then_blue, "hwc", scale=True).tolist()
    [[[[1.0, 0.0]]]]
    """
    if layout == "flat":
        images = images.reshape(len(images), -1)
    elif layout == "hwc" and images.ndim == 4:
        images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
    return np.divide(images, 255, dtype=np.float64) if scale else images
