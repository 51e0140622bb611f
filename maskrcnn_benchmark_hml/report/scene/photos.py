"""Opens the photo that belongs to a graph."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

_NEAR = 0.03
"""Largest difference of the sides' ratio, of the ratio itself."""


def open_photo(
    file: Path | None, size: tuple[int, int], *, turned: bool, folder: Path | None = None
) -> tuple[Image.Image | None, str]:
    """The photo (RGB), and why there is none ("" if there is).

    Args:
        file: as the results name it. folder: where a file of that name is looked for first.
        size: (width, height) that the boxes refer to.
        turned: whether they refer to the picture as its EXIF rotation displays it.
    """
    if file is None:
        return None, "the results do not name the pictures"
    places = [file] if folder is None else [folder / file.name, file]
    place = next((one for one in places if one.is_file()), None)
    if place is None:
        return None, f"{places[0]} does not exist"
    try:
        with Image.open(place) as image:
            upright = ImageOps.exif_transpose(image) if turned else image
            photo = upright.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return None, f"{place} cannot be read ({error})"
    if abs(photo.width * size[1] - photo.height * size[0]) > _NEAR * photo.height * size[0] + max(*size, *photo.size):
        return None, f"{place} has {photo.width} x {photo.height} pixels, the results are of {size[0]} x {size[1]}"
    return photo, ""
