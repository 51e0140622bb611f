"""Drawing of scene graphs: ``draw_scene``."""

from .primitives import Drawing
from .scene import TOP, draw_scene

__all__ = ["TOP", "Drawing", "draw_scene"]
