"""The pictures that ``TEST.CUSTUM_PATH`` names: a folder, one picture, or a JSON list of files."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import HMLError
from ..files import read_json
from .pictures import ENDINGS

WITHOUT_BOXES = (
    "TEST.CUSTUM_EVAL predicts on pictures alone, which only SGDet can, and these settings are those of PredCls or "
    "SGCls; to give boxes use hml predict OUTPUT_DIR PICTURES --boxes FILE (docs/predict.md), or test a run of SGDet"
)


def own_pictures(path: str) -> tuple[list[str], list[str]]:
    """The pictures, and the other files and folders in a folder of pictures.

    A folder's pictures are sorted by name; a list's keep their order.

    Raises:
        HMLError: the path does not exist, is no list of existing files, or has no picture.
    """
    others: list[str] = []
    if os.path.isdir(path):
        entries = sorted(Path(path).iterdir())
        files = [str(entry) for entry in entries if entry.suffix.lower() in ENDINGS and not entry.is_dir()]
        others = sorted({str(entry) for entry in entries} - set(files))
    elif not os.path.exists(path):
        raise HMLError(f"TEST.CUSTUM_PATH is {path}, which does not exist; name a folder of pictures, a picture, or a "
                       "JSON list of pictures")  # fmt: skip
    elif Path(path).suffix.lower() in ENDINGS:
        files = [path]
    else:
        files = read_json(path)
        if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
            raise HMLError(f'TEST.CUSTUM_PATH {path} holds no list of pictures; it must be ["a.jpg", "b.jpg"]')
        missing = [file for file in files if not os.path.isfile(file)]
        if missing:
            raise HMLError(f"TEST.CUSTUM_PATH {path} lists {missing[0]}, which does not exist here ({len(missing)} of "
                           f"{len(files)} are missing); paths start from the current folder")  # fmt: skip
    if not files:
        raise HMLError(f"TEST.CUSTUM_PATH {path} has no picture ({', '.join(ENDINGS)}); "
                       "name a folder of pictures or a JSON list")  # fmt: skip
    return files, others
