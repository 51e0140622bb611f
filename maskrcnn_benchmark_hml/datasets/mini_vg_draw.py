"""Draw mini-VG's objects: one simple shape per kind of thing, a colour per class, and a cue for the relation."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

from PIL import Image, ImageDraw

from .mini_vg_grammar import POOLS

Box = tuple[float, float, float, float]
Colour = tuple[int, int, int]

_SHAPE_OF_POOL = (
    ("human", "human"), ("animal", "animal"), ("cycle", "cycle"), ("vehicle", "vehicle"), ("street", "ground"),
    ("nature", "ground"), ("furniture", "furniture"), ("building", "building"), ("plant", "plant"), ("pole", "pole"),
    ("clothing", "garment"), ("text", "panel"), ("fixture", "panel"), ("device", "panel"), ("cloth", "garment"),
    ("building part", "panel"), ("material", "panel"),
)  # fmt: skip
_COLOUR_ATTRIBUTES = {
    "white": (240, 240, 240), "black": (25, 25, 25), "blue": (50, 80, 210), "green": (50, 150, 60),
    "red": (205, 45, 45), "brown": (125, 80, 40), "yellow": (230, 210, 60), "orange": (235, 140, 40),
    "grey": (135, 135, 135), "pink": (240, 150, 180), "purple": (130, 60, 160),
}  # fmt: skip


@dataclass(frozen=True)
class Item:
    """One object to draw: class name, box x1, y1, x2, y2 in pixels, colour and cue."""

    name: str
    box: Box
    colour: Colour
    cue: str = ""


def shape_of(name: str) -> str:
    """Kind of drawing for an object class."""
    return next((shape for pool, shape in _SHAPE_OF_POOL if name in POOLS[pool]), "blob")


def class_colour(index: int, jitter: float) -> Colour:
    """The colour of class ``index``; ``jitter`` in -1..1 makes it lighter or darker."""
    hue = (index * 0.61803) % 1.0
    r, g, b = colorsys.hsv_to_rgb(hue, 0.45 + 0.4 * (index % 3) / 2, min(1.0, 0.72 + 0.16 * jitter))
    return int(r * 255), int(g * 255), int(b * 255)


def colour_name(colour: Colour) -> str:
    """The attribute that comes closest to ``colour``."""
    return min(_COLOUR_ATTRIBUTES, key=lambda name: sum((a - b) ** 2 for a, b in zip(_COLOUR_ATTRIBUTES[name], colour)))


def draw_scene(size: tuple[int, int], background: tuple[Colour, Colour], items: list[Item]) -> Image.Image:
    """A picture: a two-tone background, then the items from back to front."""
    picture = Image.new("RGB", size, background[0])
    draw = ImageDraw.Draw(picture, "RGBA")
    draw.rectangle((0, int(size[1] * 0.6), size[0], size[1]), fill=background[1])
    for item in items:
        _DRAW[shape_of(item.name)](draw, item) if item.cue not in _OVERLAYS else _OVERLAYS[item.cue](draw, item)
        _fasten(draw, item)
    return picture


def _at(item: Item, *points: float) -> tuple[float, ...]:
    """Points given in units of the item's box, in pixels."""
    x1, y1, x2, y2 = item.box
    return tuple(x1 + p * (x2 - x1) if i % 2 == 0 else y1 + p * (y2 - y1) for i, p in enumerate(points))


def _dark(colour: Colour) -> Colour:
    return colour[0] // 2, colour[1] // 2, colour[2] // 2


def _light(colour: Colour) -> Colour:
    return 128 + colour[0] // 2, 128 + colour[1] // 2, 128 + colour[2] // 2


def _human(draw: ImageDraw.ImageDraw, item: Item) -> None:
    skin, cloth = (225, 180, 150), item.colour
    if item.cue == "lie":
        draw.ellipse(_at(item, 0, 0.1, 0.2, 0.9), fill=skin)
        draw.rectangle(_at(item, 0.2, 0.15, 0.6, 0.85), fill=cloth)
        draw.rectangle(_at(item, 0.6, 0.25, 1, 0.75), fill=_dark(cloth))
        return
    draw.ellipse(_at(item, 0.3, 0, 0.7, 0.22), fill=skin)
    draw.rectangle(_at(item, 0.22, 0.22, 0.78, 0.6), fill=cloth)
    legs = {
        "sit": ((0.22, 0.58, 1.0, 0.72), (0.8, 0.6, 1.0, 1.0)),
        "ride": ((0.0, 0.58, 0.3, 0.9), (0.7, 0.58, 1.0, 0.9)),
        "walk": ((0.0, 0.6, 0.3, 1.0), (0.7, 0.6, 1.0, 1.0)),
    }.get(item.cue, ((0.28, 0.6, 0.47, 1.0), (0.53, 0.6, 0.72, 1.0)))
    for leg in legs:
        draw.rectangle(_at(item, *leg), fill=_dark(cloth))
    if item.cue == "look":
        draw.ellipse(_at(item, 0.42, 0.04, 0.62, 0.16), fill=(255, 255, 255), outline=(0, 0, 0))


def _animal(draw: ImageDraw.ImageDraw, item: Item) -> None:
    if item.cue == "lie":
        draw.ellipse(_at(item, 0.1, 0.2, 1, 1), fill=item.colour)
        draw.ellipse(_at(item, 0, 0.3, 0.3, 0.9), fill=_dark(item.colour))
        return
    if item.cue == "fly":
        draw.polygon(_at(item, 0, 0, 0.5, 0.6, 1, 0, 0.6, 1, 0.4, 1), fill=item.colour)
        return
    draw.ellipse(_at(item, 0.15, 0.2, 1, 0.72), fill=item.colour)
    draw.ellipse(_at(item, 0, 0, 0.34, 0.45), fill=_dark(item.colour))
    for x in (0.1, 0.85) if item.cue == "walk" else (0.25, 0.75):
        draw.rectangle(_at(item, x, 0.6, x + 0.13, 1), fill=_dark(item.colour))


def _vehicle(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.rectangle(_at(item, 0.15, 0.05, 0.85, 0.5), fill=_light(item.colour))
    draw.rectangle(_at(item, 0, 0.4, 1, 0.82), fill=item.colour)
    for x in (0.12, 0.66):
        draw.ellipse(_at(item, x, 0.66, x + 0.22, 1), fill=(20, 20, 20))
    lamp = (40, 40, 60) if item.cue == "parked" else (255, 250, 150)
    draw.rectangle(_at(item, 0, 0.5, 0.1, 0.65), fill=lamp)


def _cycle(draw: ImageDraw.ImageDraw, item: Item) -> None:
    for x in (0, 0.56):
        draw.ellipse(_at(item, x, 0.4, x + 0.44, 1), outline=(20, 20, 20), width=2)
    draw.polygon(_at(item, 0.2, 0.7, 0.45, 0.25, 0.78, 0.7), fill=item.colour)
    draw.line(_at(item, 0.3, 0.02, 0.25, 0.6), fill=_dark(item.colour), width=2)


def _ground(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.rectangle(item.box, fill=item.colour)
    for y in (0.3, 0.55, 0.8):
        draw.line(_at(item, 0.05, y, 0.95, y), fill=_light(item.colour), width=1)


def _furniture(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.rectangle(_at(item, 0, 0.25, 1, 0.6), fill=item.colour, outline=_dark(item.colour))
    for x in (0.04, 0.84):
        draw.rectangle(_at(item, x, 0.6, x + 0.12, 1), fill=_dark(item.colour))
    draw.rectangle(_at(item, 0, 0, 0.1, 0.25), fill=_dark(item.colour))


def _building(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.rectangle(item.box, fill=item.colour, outline=_dark(item.colour))
    draw.polygon(_at(item, 0, 0.12, 0.5, 0, 1, 0.12), fill=_dark(item.colour))


def _plant(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.rectangle(_at(item, 0.42, 0.5, 0.58, 1), fill=(105, 70, 35))
    draw.ellipse(_at(item, 0, 0, 1, 0.65), fill=item.colour)
    draw.ellipse(_at(item, 0.2, 0.1, 0.6, 0.4), fill=_light(item.colour))


def _pole(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.rectangle(_at(item, 0.4, 0, 0.6, 1), fill=item.colour)
    for y in (0.05, 0.5, 0.9):
        draw.rectangle(_at(item, 0, y, 1, y + 0.05), fill=_dark(item.colour))


def _garment(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.polygon(_at(item, 0.15, 0, 0.85, 0, 1, 0.4, 0.85, 1, 0.15, 1, 0, 0.4), fill=item.colour, outline=(30, 30, 30))
    draw.line(_at(item, 0.5, 0, 0.5, 1), fill=_light(item.colour), width=1)


def _panel(draw: ImageDraw.ImageDraw, item: Item) -> None:
    outline = None if item.cue == "flat" else (15, 15, 15)
    draw.rectangle(item.box, fill=item.colour, outline=outline)
    for x in (0.2, 0.45, 0.7):
        draw.rectangle(_at(item, x, 0.3, x + 0.1, 0.7), fill=_light(item.colour))


def _blob(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.ellipse(item.box, fill=item.colour, outline=_dark(item.colour))
    draw.ellipse(_at(item, 0.3, 0.3, 0.6, 0.6), fill=_light(item.colour))


def _veil(draw: ImageDraw.ImageDraw, item: Item) -> None:
    draw.rectangle(item.box, fill=(*_light(item.colour), 70), outline=(*item.colour, 160))
    for i in range(24):
        x, y = (i * 0.381) % 0.9, (i * 0.236) % 0.9
        draw.ellipse(_at(item, x, y, x + 0.08, y + 0.08), fill=(*_light(item.colour), 230))


def _tiles(draw: ImageDraw.ImageDraw, item: Item) -> None:
    for i in range(5):
        draw.line(_at(item, i / 4, 0, i / 4, 1), fill=(*item.colour, 210), width=1)
        draw.line(_at(item, 0, i / 4, 1, i / 4), fill=(*item.colour, 210), width=1)


def _fasten(draw: ImageDraw.ImageDraw, item: Item) -> None:
    """What shows how a thing is fixed: bolts, a cord, leaves, a leaning stick."""
    if item.cue == "bolts":
        for x, y in ((0.05, 0.1), (0.8, 0.1), (0.05, 0.75), (0.8, 0.75)):
            draw.ellipse(_at(item, x, y, x + 0.15, y + 0.15), fill=(0, 0, 0))
    elif item.cue == "cord":
        draw.line(_at(item, 0.5, 0, 0.5, 0.5), fill=(0, 0, 0), width=2)
    elif item.cue == "leaves":
        for x in (0.1, 0.45, 0.8):
            draw.ellipse(_at(item, x, 0.75, x + 0.15, 1), fill=(40, 130, 50))
    elif item.cue == "lean":
        draw.line(_at(item, 0, 0, 1, 1), fill=(0, 0, 0), width=1)


_OVERLAYS = {"veil": _veil, "tiles": _tiles}
_DRAW = {
    "human": _human, "animal": _animal, "vehicle": _vehicle, "cycle": _cycle, "ground": _ground,
    "furniture": _furniture, "building": _building, "plant": _plant, "pole": _pole, "garment": _garment,
    "panel": _panel, "blob": _blob,
}  # fmt: skip
