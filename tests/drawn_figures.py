"""What a figure looks like once it is drawn."""

from __future__ import annotations

from typing import Any

_ROUNDING = 0.02  # inches, of text to pixels


def is_whole(figure: Any) -> bool:
    """Whether nothing of it, no title above all, is cut off at an edge."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure).draw()
    seen, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    across = seen.x0 >= -_ROUNDING and seen.x1 <= width + _ROUNDING
    return bool(across and seen.y0 >= -_ROUNDING and seen.y1 <= height + _ROUNDING)
