"""Sizes of text, and the font files to draw it with: DejaVu Sans, which matplotlib brings, and installed fonts."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import groupby

from PIL import ImageFont

from ..drawing import font_manager
from ..fonts import families_for, has_glyph

#: A PNG has so many pixels per unit of a drawing. Text is measured in the size in which a PNG shows it.
PIXELS = 2
#: Height of a line of text, and of its baseline below the top, per unit of font size; those of DejaVu Sans.
LINE, BASELINE = 1.2, 0.94
LONGEST = 32
"""Longer names are cut to so many characters."""
_USUAL = "DejaVu Sans"


def shortened(text: str, longest: int = LONGEST) -> str:
    """One line of at most ``longest`` characters; what is cut off is replaced by an ellipsis."""
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def width_of(text: str, size: float, bold: bool = False) -> float:
    """Width of a line of text; ``size`` and the result in units of the drawing."""
    return sum(font.getlength(part) for part, font in font_runs(text, size, bold)) / PIXELS


def font_runs(text: str, size: float, bold: bool = False) -> Iterator[tuple[str, ImageFont.FreeTypeFont]]:
    """The parts of a text with the font of each, in pixels of a PNG."""
    for family, characters in groupby(text, lambda character: _family(character)):
        yield "".join(characters), _font(family, round(size * PIXELS), bold)


@functools.cache
def _family(character: str) -> str:
    """The usual font if it has the character or no font has, else an installed one that has it."""
    if character.isspace() or has_glyph(_USUAL, character):
        return _USUAL
    families, _ = families_for(frozenset(character))
    return next((family for family in families if has_glyph(family, character)), _USUAL)


@functools.lru_cache(maxsize=64)
def _font(family: str, size: int, bold: bool) -> ImageFont.FreeTypeFont:
    properties = font_manager.FontProperties(family=[family], weight="bold" if bold else "normal")
    return ImageFont.truetype(font_manager.findfont(properties), size)
