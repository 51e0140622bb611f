"""The user's pictures: which files they are, and each as an RGB picture as it is displayed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from ..datasets.pictures import ENDINGS, SIDEWAYS, TURNED, open_picture, orientation, walk_once
from ..errors import HMLError

RECORD = "hml_predict.json"
"""The file that marks a folder of results of ``hml predict``; no picture is looked for there."""
_SEQUENCES = ("GIF", "WEBP", "PNG", "TIFF")


@dataclass(frozen=True)
class Picture:
    """A picture file.

    Attributes:
        path: the file.
        name: the path as it was given; below a given folder, that folder and the way from it.
        within: the way from the given folder, or the file's name: what its results are called.
    """

    path: Path
    name: str
    within: str


@dataclass(frozen=True)
class Found:
    """What was found: the pictures in order, and the files and folders that were left out, each with its reason."""

    pictures: list[Picture]
    left_out: list[str]


@dataclass(frozen=True)
class Photo:
    """An opened picture.

    Attributes:
        image: RGB, 8 bits a channel, turned as its EXIF orientation says, transparent parts on white.
        note: what the user should know of how it was read; empty if nothing.
    """

    image: Image.Image
    note: str = ""


def find_pictures(given: Iterable[str | Path]) -> Found:
    """The pictures that files and folders name, in the order given; a folder's, with its folders', sorted by path.

    A file that is named itself is taken whatever its ending; in a folder the ending decides (``datasets.pictures``).
    A file that is named twice is taken once.

    Raises:
        HMLError: a path does not exist, a folder cannot be read, or there is no picture at all.
    """
    pictures: dict[str, Picture] = {}
    left_out: list[str] = []
    paths = [Path(path) for path in given]
    for path in paths:
        if path.is_dir():
            for file in _files(path, left_out):
                within = file.relative_to(path)
                if file.suffix.lower() in ENDINGS:
                    pictures.setdefault(os.path.realpath(file), Picture(file, str(file), within.as_posix()))
                else:
                    left_out.append(f"{file} (its ending is none of {' '.join(ENDINGS)})")
        elif path.is_file():
            pictures.setdefault(os.path.realpath(path), Picture(path, str(path), path.name))
        else:
            raise HMLError(f"there is no picture or folder {path}; correct the path")
    if not pictures:
        where = ", ".join(map(str, paths)) or "nothing"
        other = f"; left out: {left_out[0]}" if left_out else ""
        raise HMLError(f"{where} has no picture ({', '.join(ENDINGS)}){other}; name pictures, or a folder of them")
    return Found(list(pictures.values()), left_out)


def _files(folder: Path, left_out: list[str]) -> Iterator[Path]:
    """All files below a folder, sorted; links to folders are followed, each folder is visited once."""
    for base, folders, files, again in walk_once(folder):
        if again or RECORD in files:
            folders.clear()
            left_out.append(f"{base} ({'visited already' if again else 'results of hml predict'})")
        else:
            yield from (Path(base, name) for name in files)


def displayed_size(path: Path) -> tuple[int, int]:
    """Width and height of a picture as it is displayed, from the beginning of its file.

    Raises:
        HMLError: as :func:`open_photo`, except for faults that only decoding shows.
    """
    with open_picture(path, load=False) as picture:
        width, height = picture.size
        return (height, width) if orientation(picture) in SIDEWAYS else (width, height)


def stored_size(path: Path) -> tuple[int, int]:
    """Width and height before the EXIF rotation; HMLError as for :func:`displayed_size`."""
    with open_picture(path, load=False) as picture:
        return picture.size


def open_photo(path: Path) -> Photo:
    """The picture as it is displayed.

    Raises:
        HMLError: it cannot be read, or has more pixels than PIL reads.
    """
    with open_picture(path) as picture:
        note = ""
        frames = getattr(picture, "n_frames", 1) if picture.format in _SEQUENCES else 1
        if frames > 1:
            note = f"{path} holds {frames} pictures; the first is used"
        image = _rgb(ImageOps.exif_transpose(picture) if orientation(picture) in TURNED else picture)
        return Photo(image.copy() if image is picture else image, note)


def _rgb(picture: Image.Image) -> Image.Image:
    """In RGB; what is transparent lies on white, as viewers show it."""
    clear = picture.info.get("transparency")
    if isinstance(clear, int) and clear > 255:  # a grey value of the 16 bits that the picture had
        picture.info.pop("transparency")
        clear = None
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or clear is not None:
        see_through = picture.convert("RGBA")
        white = Image.new("RGBA", see_through.size, "white")
        return Image.alpha_composite(white, see_through).convert("RGB")
    return picture.convert("RGB")
