"""A dataset's pictures: which file belongs to an image id, and how it is opened. The one place that knows endings."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import HMLError
from ..files import why_unreadable

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")
"""Endings of pictures that are read, in small letters; of two pictures of one image the first in this order counts."""

_ORIENTATION_TAG = 0x0112
TURNED, SIDEWAYS = frozenset(range(2, 9)), frozenset(range(5, 9))
"""Values of a picture's EXIF orientation that mean: mirrored or turned; and of these, width and height exchanged."""
NOT_TURNED = (
    "which annotation tools apply and the benchmarks do not; if the boxes were drawn on the turned picture,"
    " save it turned and without that tag"
)


def locate_pictures(folder: str | Path, image_ids: Iterable[int], listed_in: str) -> list[str]:
    """Path of every image's picture, ``<folder>/<image_id>`` with any of ``ENDINGS`` in small or capital letters.

    Args:
        listed_in: the file that lists the images, for the error.

    Raises:
        HMLError: the folder cannot be read, or a picture is missing; the first is named, and with it a file of that
            id with an ending that is not read.
    """
    ids = [str(image_id) for image_id in image_ids]
    names = _names(folder)
    missing = [image_id for image_id in ids if image_id not in names]
    if not missing:
        return [os.path.join(folder, names[image_id]) for image_id in ids]
    name = f"{os.path.basename(os.path.normpath(folder))}/{missing[0]}.jpg"
    counted = f"{len(missing)} of {len(ids)} are"
    other = instead_of(folder, missing[0])
    if other is not None:
        raise HMLError(
            f"the picture {name} is missing ({counted}); {folder} has {other} instead, which is not read: convert "
            f"such files to one of {', '.join(ENDINGS)}"
        )
    raise HMLError(
        f"the picture {name} is missing from {folder} ({counted}; its ending may also be {', '.join(ENDINGS[1:])}); "
        "usual causes: an incomplete download, Visual Genome's two picture folders VG_100K and VG_100K_2 not merged "
        f"into one, or a wrong {listed_in}"
    )


def instead_of(folder: str | Path, image_id: int | str) -> str | None:
    """Name of a file of this image id whose ending is not read, e.g. ``12.heic``."""
    return next((entry for entry in sorted(os.listdir(folder)) if Path(entry).stem == str(image_id)), None)


def only_jpg(folder: str | Path) -> bool:
    """Whether every picture in the folder is called ``<image_id>.jpg``."""
    return all(name.endswith(".jpg") for name in _names(folder).values())


def present_ids(folder: str | Path) -> set[int]:
    """The image ids that have a picture in the folder."""
    return {int(stem) for stem in _names(folder) if stem.isdigit()}


def _names(folder: str | Path) -> dict[str, str]:
    try:
        return _listed(str(folder), os.stat(folder).st_mtime_ns)
    except FileNotFoundError as error:
        raise HMLError(
            f"there is no picture folder {folder}; put or link the pictures there, or name the dataset's folder "
            "(hml run --data DIR)"
        ) from error
    except OSError as error:
        raise HMLError(
            f"the picture folder {folder} cannot be read ({error.strerror}); correct its permissions"
        ) from error


@functools.lru_cache(maxsize=8)
def _listed(folder: str, stamp: int) -> dict[str, str]:
    """stem -> file name of the pictures in a folder."""
    found: dict[str, tuple[int, str]] = {}
    for entry in os.scandir(folder):
        stem, ending = os.path.splitext(entry.name)
        if ending.lower() in ENDINGS:
            # .jpg before .JPG before .jpeg and so on, in whatever order the folder lists them.
            rank = (2 * ENDINGS.index(ending.lower()) + (ending != ending.lower()), entry.name)
            found[stem] = min(rank, found.get(stem, rank))
    return {stem: name for stem, (_, name) in found.items()}


def _eight_bits(picture: Image.Image, path: str | Path) -> Image.Image:
    """A picture of 16 bits a pixel with its upper 8 bits; PIL's ``convert`` would cut it off at 255, to white.

    Raises:
        HMLError: 32 bits a pixel, whose range is not known.
    """
    if picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format == "PNG"):
        made = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).astype(np.uint8))
        made.format, made.info = picture.format, picture.info
        return made
    if picture.mode in ("I", "F"):
        raise HMLError(f"the picture {path} has 32 bits a pixel, whose range is not known; save it with 8 bits")
    return picture


def orientation(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it cannot be read, as viewers show such a picture."""
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1  # getexif would decode the whole picture to look behind it
    try:
        value = picture.getexif().get(_ORIENTATION_TAG, 1)
    except (SyntaxError, ValueError, OSError, struct.error):
        return 1
    return value if value in TURNED else 1


def walk_once(folder: str | Path) -> Iterator[tuple[str, list[str], list[str], bool]]:
    """``os.walk`` in sorted order, through links to folders too; nothing below a folder is visited twice.

    Yields:
        A folder, the names of its folders (to be cleared by whoever does not want them) and of its files, and whether
        it was visited before, by another way; then both lists are empty.

    Raises:
        HMLError: a folder cannot be read.
    """
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise HMLError(f"the folder {error.filename} cannot be read ({error.strerror}); correct its permissions")

    for base, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(base)
        again = real in seen
        seen.add(real)
        if again:
            folders.clear()
        folders.sort()
        yield base, folders, [] if again else sorted(files), again


def open_picture(path: str | Path, load: bool = True) -> Image.Image:
    """The picture, decoded to 8 bits a channel unless ``load`` is off; its content tells its format, not its ending.

    Raises:
        HMLError: it cannot be read; no permission, cut short, and no picture at all are told apart.
    """
    try:
        picture = Image.open(path)
        if load:
            picture.load()
    except Image.DecompressionBombError as error:
        raise HMLError(f"the picture {path} has more pixels than PIL reads ({error}); make it smaller") from error
    # PIL raises SyntaxError and ValueError for some broken files, OSError for the others.
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise HMLError(f"the picture {why_unreadable(path, error, 'a picture')}") from error
    return _eight_bits(picture, path) if load else picture
