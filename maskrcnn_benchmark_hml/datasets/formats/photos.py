"""The pictures of a foreign data set: found by the name that the annotation gives, measured, put into the folder."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

from PIL import ImageOps

from ...errors import HMLError
from ..pictures import ENDINGS, SIDEWAYS, TURNED, open_picture, orientation, walk_once


class PhotoFolder:
    """A folder with pictures, its subfolders included."""

    def __init__(self, folder: Path | str) -> None:
        """List the folder; HMLError: it is none."""
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise HMLError(f"there is no picture folder {folder}; --photos names the folder with the pictures")
        self._paths: set[str] = set()
        self._by: tuple[dict[str, list[str]], dict[str, list[str]]] = ({}, {})
        for path in sorted(_pictures(self.folder)):
            self._paths.add(path)
            name = PurePosixPath(path).name
            for index, key in zip(self._by, (name, os.path.splitext(name)[0])):
                index.setdefault(key, []).append(path)

    def find(self, *names: str) -> Path | None:
        """The picture of the first of these names that there is; None without one.

        A name may begin with folders. A picture at that very place counts first, then one of the same file name in any
        subfolder, then one with another ending.

        Raises:
            HMLError: two pictures fit equally well.
        """
        for name in names:
            if _plain(name) in self._paths:
                return self.folder / _plain(name)
        for name in names:
            parts = PurePosixPath(_plain(name))
            found = self._by[0].get(parts.name) or self._by[1].get(parts.name) or self._by[1].get(parts.stem)
            if found:
                return self.folder / self._nearest(name, found)
        return None

    def _nearest(self, name: str, found: list[str]) -> str:
        """Of several pictures of one file name the one whose folders fit."""
        wanted = PurePosixPath(_plain(name)).parts[::-1]

        def same(path: str) -> int:
            pairs = zip(wanted[1:], PurePosixPath(path).parts[-2::-1])
            return next((i for i, (a, b) in enumerate(pairs) if a != b), len(wanted) - 1)

        ranked = sorted(found, key=same, reverse=True)
        if len(ranked) > 1 and same(ranked[0]) == same(ranked[1]):
            raise HMLError(
                f"two pictures in {self.folder} fit {name}: {ranked[0]} and {ranked[1]}; remove or rename one"
            )
        return ranked[0]


def _plain(name: str) -> str:
    return str(PurePosixPath(name.replace("\\", "/"))).lstrip("/")


def _pictures(folder: Path) -> list[str]:
    """Paths of all pictures below a folder, relative to it; links to folders are followed once."""
    found = []
    for above, _, files, _ in walk_once(folder):
        inside = Path(os.path.relpath(above, folder)).as_posix()
        prefix = "" if inside == "." else f"{inside}/"
        found += [f"{prefix}{name}" for name in files if os.path.splitext(name)[1].lower() in ENDINGS]
    return found


def measure_photo(path: Path, stated: tuple[int, int] | None, turned: bool) -> tuple[tuple[int, int], bool]:
    """The size that a picture's boxes refer to, and whether its pixels must be turned by its EXIF orientation for it.

    The stated size decides between the stored and the turned picture; where both have it, ``turned`` does.

    Args:
        stated: width and height by the annotation; None if it gives none.
        turned: whether the tools that made the annotation show pictures turned, as browsers do.

    Raises:
        HMLError: the picture cannot be read, or has another size than the annotation says.
    """
    with open_picture(path, load=False) as picture:
        size, way = picture.size, orientation(picture)
    shown = size[::-1] if way in SIDEWAYS else size
    turn = way in TURNED and (turned if stated is None or size == shown else stated == shown)
    measured = shown if turn else size
    if stated is not None and measured != stated:
        exchanged = ", the same with width and height exchanged" if measured == stated[::-1] else ""
        raise HMLError(
            f"the picture {path} is {measured[0]}x{measured[1]}, but its annotation says {stated[0]}x{stated[1]}"
            f"{exchanged}; give the pictures that were annotated"
        )
    return measured, turn


def take_photo(photo: Path, target: Path, *, turn: bool = False, decode: bool = False) -> None:
    """Link the picture where the file system allows, else copy it; other formats than JPEG are encoded again.

    Args:
        turn: store it turned by its EXIF orientation. decode: a JPEG must also be readable to its end.
    """
    with open_picture(photo, load=decode) as picture:
        if picture.format == "JPEG" and not turn:
            link_photo(photo, target)
            return
    with open_picture(photo) as picture:
        (ImageOps.exif_transpose(picture) if turn else picture).convert("RGB").save(target, "JPEG", quality=95)


def link_photo(photo: Path, target: Path) -> None:
    """Link the file where the file system allows, else copy it; missing folders are made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(photo.resolve(), target)
    except OSError:
        shutil.copyfile(photo, target)
