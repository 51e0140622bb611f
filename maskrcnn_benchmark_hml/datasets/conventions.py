"""Whether boxes look like what the format asks for, and which other convention would fit them.

The format wants centre, width and height with the longer side of the picture at 1024. Boxes in pixels, corners, or
fractions are numbers too: nothing fails, and every recall is near 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .layout import BOX_SCALE

_FEWEST = 10
"""Fewer boxes than this say nothing."""
_CLIPPED, _TINY, _IN_CORNER = 0.2, 0.5, 0.98
"""Shares of the boxes above which something is wrong."""
_FITS = 0.95
"""Share of the boxes that another convention must hold inside their pictures to be named."""
_SLACK = BOX_SCALE // 100
_TINY_SIDE = 2.0

AS_STORED = "centre, width and height"
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    AS_STORED: lambda boxes: np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1),
    "corners x1, y1, x2, y2": lambda boxes: boxes,
    "x1, y1, width and height": lambda boxes: np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
}
SCALE_1024, PIXELS, FRACTIONS = f"at scale {BOX_SCALE}", "in pixels", "as fractions of the picture"


class Boxes:
    """The boxes of a file that belong to an image, and the sizes of their pictures.

    Args:
        boxes: (n, 4) as stored. image: (n,) the image of each. width, height: (images,) in pixels.
    """

    def __init__(self, boxes: np.ndarray, image: np.ndarray, width: np.ndarray, height: np.ndarray) -> None:
        used = image >= 0
        self.boxes = np.asarray(boxes, dtype=np.float64)[used]
        self.size = np.stack([width, height], axis=1).astype(np.float64)[image[used]]
        self.longer = self.size.max(axis=1, initial=1.0)
        self.limits = self.size * (BOX_SCALE / self.longer)[:, None]

    def faults(self, layout: str = AS_STORED, scale: str = SCALE_1024) -> list[str]:
        """What is implausible if the boxes are read in this way."""
        low, high, inside = self._read(layout, scale)
        tiny = (high - low).min(axis=1) < _TINY_SIDE
        # At scale 1024 boxes spread over a square of 1024; boxes in pixels stay in the upper left of it.
        cornered = (high <= self.size + _SLACK).all(axis=1) & (self.longer < 0.9 * BOX_SCALE)
        allowed = _CLIPPED if (layout, scale) == (AS_STORED, SCALE_1024) else 1 - _FITS
        shares = (
            (1 - inside.mean(), allowed, "reach beyond their pictures"),
            (tiny.mean(), _TINY, f"are less than {_TINY_SIDE:.0f} of {BOX_SCALE} wide or high"),
            (cornered.mean() if scale == SCALE_1024 else 0.0, _IN_CORNER, "lie in the upper left corner"),
        )  # fmt: skip
        return [f"{share:.0%} {what}" for share, limit, what in shares if share > limit]

    def fitting(self) -> str:
        """The other convention that fits these boxes best, in words; "" if none does."""
        others = [(layout, scale) for scale in (PIXELS, SCALE_1024, FRACTIONS) for layout in LAYOUTS
                  if (layout, scale) != (AS_STORED, SCALE_1024) and not self.faults(layout, scale)]
        return " ".join(max(others, key=lambda other: self._fit(*other))) if others else ""

    def _fit(self, layout: str, scale: str) -> float:
        """Larger, the more boxes are inside their pictures and the nearer the outermost come to the edge."""
        _, high, inside = self._read(layout, scale)
        return float(inside.mean() + np.quantile((high / self.limits).max(axis=1), 0.95))

    def _read(self, layout: str, scale: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Both corners at scale 1024, and which boxes are inside their pictures."""
        corners = LAYOUTS[layout](self.boxes) * self._factor(scale)
        low, high = corners[:, :2], corners[:, 2:]
        return low, high, ((low >= -_SLACK) & (high <= self.limits + _SLACK) & (high > low)).all(axis=1)

    def _factor(self, scale: str) -> np.ndarray | float:
        if scale == PIXELS:
            return (BOX_SCALE / self.longer)[:, None]
        return np.concatenate([self.limits, self.limits], axis=1) if scale == FRACTIONS else 1.0


def convention_warnings(boxes: Boxes) -> list[str]:
    """A sentence if the boxes as a whole look wrong, and which convention would fit; else nothing."""
    if len(boxes.boxes) < _FEWEST:
        return []
    faults = boxes.faults()
    if not faults:
        return []
    fitting = boxes.fitting()
    remedy = f"they would fit as {fitting}: convert them" if fitting else "look at some of them in their pictures"
    return [
        f"of the boxes, read as {AS_STORED} {SCALE_1024}, {' and '.join(faults)}; {remedy} (write_vg takes corners "
        "in pixels)"
    ]


def convention_hint(boxes: Boxes) -> str:
    """For the sentence about one wrong box: the convention that would fit all of them; "" if there is none."""
    fitting = boxes.fitting() if len(boxes.boxes) >= _FEWEST else ""
    return f"; all boxes would fit as {fitting}" if fitting else ""
