"""What the figures need of matplotlib. They import it from here: see ``matplotlib_import``; none uses pyplot."""

# ruff: noqa: E402  (matplotlib is imported once MPLBACKEND is out of its way)
from __future__ import annotations

from ..matplotlib_import import import_matplotlib

import_matplotlib()

from matplotlib import colormaps, font_manager, rc_context, rcParams
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Bbox

__all__ = [
    "Axes", "Bbox", "Figure", "FigureCanvasAgg", "Rectangle", "Text", "colormaps", "font_manager", "new_figure",
    "rcParams", "rc_context",
]  # fmt: skip


def new_figure(width: float, height: float) -> Figure:
    """An empty figure for files; width and height in inches, 110 pixels each."""
    figure = Figure(figsize=(width, height), dpi=110)
    FigureCanvasAgg(figure)
    return figure
