"""Boxes that are given with a picture, for PredCls and SGCls: checked against the picture and the run's classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import HMLError
from ..host.given_boxes import nearest_class
from .pictures import Picture

TOLERANCE = 1.0
"""Pixels by which a box may reach over the edge of its picture: rounding and inclusive corners. It is cut off."""


@dataclass(frozen=True)
class GivenBoxes:
    """The boxes of one picture.

    Attributes:
        boxes: (N, 4) float64 corners x1, y1, x2, y2 in pixels of the displayed picture, inside it, with an extent.
        labels: N class names; None where the task finds the classes (SGCls).
    """

    boxes: np.ndarray
    labels: tuple[str, ...] | None = None


@dataclass(frozen=True)
class StatedBox:
    """One box as a file states it.

    Attributes:
        said: how the file calls it, for errors: ``box 2 of a.jpg``.
        corners: x1, y1, x2, y2 in pixels; finite.
        name: its class; None if the file gives an index or nothing.
        index: number of its class in the run's vocabulary, 1 or more; None if the file gives a name or nothing.
    """

    said: str
    corners: tuple[float, float, float, float]
    name: str | None = None
    index: int | None = None


@dataclass(frozen=True)
class Matched:
    """Which boxes belong to which picture.

    Attributes:
        boxes: number of the picture -> its boxes.
        without: the pictures that have no entry.
        unused: the entries that belong to no picture.
    """

    boxes: dict[int, Sequence[StatedBox]]
    without: list[Picture]
    unused: list[str]


def match(stated: Mapping[str, Sequence[StatedBox]], pictures: Sequence[Picture], said: str) -> Matched:
    """Find each picture's boxes by its path as given, its path below the given folder, or its file name alone.

    Args:
        said: the file with the boxes, for errors.

    Raises:
        HMLError: an entry fits several pictures, several entries fit one, or no picture has boxes.
    """
    entries = {_plain(key): key for key in stated}
    taken: dict[str, Picture] = {}
    boxes: dict[int, Sequence[StatedBox]] = {}
    for forms in (_paths, lambda picture: [picture.path.name]):  # a name alone counts where no path fits
        left = set(entries.values()) - set(taken)
        for number, picture in enumerate(pictures):
            key = next((entries[form] for form in map(_plain, forms(picture)) if form in entries), None)
            if number in boxes or key is None or key not in left:
                continue
            if key in taken:
                raise HMLError(f"{said}: {key!r} fits the pictures {taken[key].name} and {picture.name}; name each by "
                               "its path")  # fmt: skip
            taken[key], boxes[number] = picture, stated[key]
    without = [picture for number, picture in enumerate(pictures) if number not in boxes]
    if not boxes:
        example = f", for example {next(iter(stated))!r}" if stated else ""
        raise HMLError(f"{said} has boxes for none of the {len(pictures)} pictures (the first is {pictures[0].name}; "
                       f"it names {len(stated)} pictures{example}); use the names of the files")  # fmt: skip
    return Matched(boxes, without, [key for key in stated if key not in taken])


def _paths(picture: Picture) -> list[str]:
    return [str(picture.path), picture.within, os.path.realpath(picture.path)]


def _plain(path: str) -> str:
    return os.path.normpath(path.replace("\\", "/"))


def check_places(stated: Iterable[StatedBox], width: int, height: int, turned_from: tuple[int, int] | None) -> None:
    """Refuse a box that has no extent or lies outside its picture.

    Args:
        width, height: of the displayed picture.
        turned_from: width and height before the EXIF rotation, if that exchanged them.

    Raises:
        HMLError: names the box, its corners and the picture's size.
    """
    for box in stated:
        x1, y1, x2, y2 = box.corners
        shown = f"{box.said} has the corners x1, y1, x2, y2 = {_list(box.corners)}"
        if x2 <= x1 or y2 <= y1:
            raise HMLError(f"{shown}, where x2 must be above x1 and y2 above y1; are they x, y, width, height? "
                           "Then give x, y, x + width, y + height")  # fmt: skip
        if not _inside(box.corners, width, height):
            hint = "boxes are in pixels of the picture, not fractions and not of a resized copy"
            if turned_from and _inside(box.corners, *turned_from):
                hint = "boxes are in pixels of the picture as it is displayed, after its EXIF rotation"
            elif max(x1, y1) >= 0 and x1 + x2 <= 0:
                hint = "boxes are corners, not centre and size"
            raise HMLError(f"{shown}, outside the picture of {width} x {height} pixels; {hint}")
        # Benchmarks cut boxes to the centre of the last pixel.
        if min(x2, width - 1) <= max(x1, 0) or min(y2, height - 1) <= max(y1, 0):
            raise HMLError(f"{shown}, which covers nothing of the picture of {width} x {height} pixels; correct it")


def _inside(corners: Sequence[float], width: int, height: int) -> bool:
    x1, y1, x2, y2 = corners
    return min(x1, y1) >= -TOLERANCE and x2 <= width + TOLERANCE and y2 <= height + TOLERANCE


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def class_names(stated: Iterable[StatedBox], names: Sequence[str], run: str) -> tuple[str, ...]:
    """The class of each box.

    Args:
        names: the run's object classes in index order, the background first. run: for errors.

    Raises:
        HMLError: a box has no class, or one that the run does not have.
    """
    return tuple(_class_name(box, names, run) for box in stated)


def _class_name(box: StatedBox, names: Sequence[str], run: str) -> str:
    if box.index is not None:
        if box.index < len(names):
            return names[box.index]
        raise HMLError(f"{box.said} has the index {box.index}, but {run} has the classes 1 to {len(names) - 1}; "
                       "correct it, or give a name")  # fmt: skip
    if box.name is None:
        raise HMLError(f"{box.said} has no class, which PredCls needs; add \"name\" (SGCls does without)")
    if box.name in names[1:]:
        return box.name
    raise HMLError(f"{box.said} is a {box.name!r}, which {run} does not know; {nearest_class(box.name, names[1:])}")


def given_boxes(stated: Sequence[StatedBox], labels: tuple[str, ...] | None, width: int, height: int) -> GivenBoxes:
    """The boxes as arrays, cut to the picture."""
    corners = np.array([box.corners for box in stated], dtype=np.float64).reshape(-1, 4)
    return GivenBoxes(corners.clip(0, (width, height, width, height)), labels)
