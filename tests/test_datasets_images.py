"""Layout and scale of images."""

from __future__ import annotations

import numpy as np
import pytest

from refimpl.datasets.images import arrange, check_options

IMAGES = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)


def test_hwc_moves_the_channel_last() -> None:
    moved = arrange(IMAGES, "hwc", scale=False)
    assert moved.shape == (2, 4, 5, 3)
    for n, c, h, w in np.ndindex(*IMAGES.shape):
        assert moved[n, h, w, c] == IMAGES[n, c, h, w]
    assert moved.flags.c_contiguous


def test_chw_and_flat_keep_the_order_of_the_file() -> None:
    assert arrange(IMAGES, "chw", scale=False).tolist() == IMAGES.tolist()
    assert arrange(IMAGES, "flat", scale=False).tolist() == [list(range(60)), list(range(60, 120))]


def test_scale_divides_by_255() -> None:
    all_bytes = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    scaled = arrange(all_bytes, "flat", scale=True)
    assert scaled.dtype == np.float64
    assert scaled[0].tolist() == [value / 255 for value in range(256)]


@pytest.mark.parametrize(("layout", "scale"), [("HWC", False), (None, False), ("hwc", 1)])
def test_bad_options(layout: object, scale: object) -> None:
    with pytest.raises(ValueError, match=r"^(layout|scale): expected "):
        check_options(layout, scale)
