"""What a dataset folder holds: file names, vocabulary, one image's record, and how a folder is made whole.

The format itself is described in :mod:`maskrcnn_benchmark_hml.datasets.format`.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HMLError
from ..files import aside_of, check_place, one_at_a_time, remove_left_over

if TYPE_CHECKING:  # `hml demo --help` imports this module and must stay fast
    import numpy as np

H5_NAME = "VG-SGG-with-attri.h5"
DICTS_NAME = "VG-SGG-dicts-with-attri.json"
IMAGES_NAME = "image_data.json"
PHOTOS_NAME = "VG_100K"

BOX_SCALE = 1024
"""Boxes are stored as if the longer side of the picture had this many pixels."""

BACKGROUND = "__background__"
"""The name of class 0, in front of the vocabulary's names."""

TRAIN, VALIDATION, TEST = 0, 1, 2
"""Values of the array ``split``; where none is VALIDATION, the first of the training split validate."""

MAX_ATTRIBUTES = 10
"""Columns of the array ``attributes``: attribute indices of an object, 0 = none."""

UNREADABLE_VG_IMAGES = frozenset({1592, 1722, 4616, 4617})
"""Visual Genome's four broken pictures: listed in its image_data.json, absent from the h5 file."""


def check_folder(folder: Path | str) -> Path:
    """The dataset folder as a path; HMLError if there is none."""
    if not Path(folder).is_dir():
        raise HMLError(f"there is no dataset folder {folder}; hml data --help says how to make one")
    return Path(folder)


def check_file(path: Path | str) -> Path:
    """A file of a dataset folder as a path; HMLError if there is none."""
    path = Path(path)
    if not path.is_file():
        folder = check_folder(path.parent)
        raise HMLError(
            f"{folder} has no {path.name}; a dataset folder (--data or HML_DATA) needs {H5_NAME}, {DICTS_NAME}, "
            f"{IMAGES_NAME} and {PHOTOS_NAME}"
        )
    return path


@dataclass(frozen=True)
class Vocabulary:
    """Names in dataset order, without the background: ``objects[0]`` has index 1, and so on."""

    objects: tuple[str, ...]
    predicates: tuple[str, ...]
    attributes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for kind in ("objects", "predicates", "attributes"):
            names = getattr(self, kind)
            unnamed = next((name for name in names if not isinstance(name, str) or not name.strip()), None)
            if unnamed is not None:
                raise HMLError(f"the vocabulary's {kind} have the name {unnamed!r}; a name is a text that is not empty")
            if BACKGROUND in names:
                raise HMLError(f"the vocabulary's {kind} have the name {BACKGROUND!r}, which is class 0 by itself; "
                               "leave it out and count the others from 1")  # fmt: skip
            repeated = next((name for i, name in enumerate(names) if name in names[:i]), None)
            if repeated is not None:
                raise HMLError(f"the vocabulary's {kind} name {repeated!r} twice; names must be unique")

    def object_index(self, name: str) -> int:
        """Index (1-based, 0 is the background) of an object class."""
        return self.objects.index(name) + 1

    def predicate_index(self, name: str) -> int:
        """Index (1-based, 0 is the background) of a predicate."""
        return self.predicates.index(name) + 1


@dataclass
class ImageRecord:
    """One image with its annotation.

    Args:
        image_id: the picture is ``VG_100K/<image_id>.jpg``.
        width, height: of the picture in pixels.
        split: ``TRAIN`` (0), ``VALIDATION`` (1) or ``TEST`` (2).
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the picture.
        labels: (n,) object classes, 1-based.
        relations: (r, 3) subject, object (rows of ``boxes``) and predicate (1-based).
        attributes: per object up to ten attribute indices, 1-based; empty = none.
        extra: further fields for the image's entry in image_data.json.
    """

    image_id: int
    width: int
    height: int
    split: int
    boxes: np.ndarray
    labels: np.ndarray
    relations: np.ndarray
    attributes: list[tuple[int, ...]] = field(default_factory=list)
    extra: dict = field(default_factory=dict)

    def photo_name(self) -> str:
        """File name of the picture inside ``VG_100K``."""
        return f"{self.image_id}.jpg"


def require_free(out: Path, force: bool) -> None:
    """Refuse a target that already holds something.

    Raises:
        HMLError: ``out`` is a file, or a folder with content while ``force`` is off; with it, a folder whose content
            is not a dataset (so that a slip of the hand cannot delete anything else).
    """
    if out.is_file():
        raise HMLError(f"{out} is a file; name a folder for the dataset")
    check_place(out, "the dataset's folder")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if not force:
        raise HMLError(f"{out} is not empty; choose another folder or add --force to replace it")
    if not (out / H5_NAME).is_file():
        raise HMLError(
            f"{out} is not a dataset folder (it has no {H5_NAME}), so --force will not replace it; name another"
        )


@contextmanager
def new_dataset_folder(out: Path | str, force: bool = False) -> Iterator[Path]:
    """Give a folder beside ``out`` to fill; it takes the name ``out`` only when the block ends without an error.

    An interruption therefore leaves either the old content of ``out`` or nothing there, never half a dataset.

    Raises:
        HMLError: see :func:`require_free`.
    """
    out = Path(os.path.abspath(out))
    require_free(out, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    with _sole_maker(out):
        remove_left_over(out)
        aside = aside_of(out)
        aside.mkdir()
        try:
            yield aside
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise
        previous = out.parent / f".{out.name}.replaced-{os.getpid()}"
        if out.exists():
            os.replace(out, previous)
        os.replace(aside, out)
        shutil.rmtree(previous, ignore_errors=True)


@contextmanager
def _sole_maker(out: Path) -> Iterator[None]:
    """HMLError if another process makes the dataset folder ``out`` now; where files cannot be locked, nothing."""
    lock = out.parent / f".{out.name}.lock"
    with ExitStack() as held:
        try:
            held.enter_context(one_at_a_time(lock, f"another process is making {out}; wait for it or end it"))
        except OSError as error:
            if error.errno != errno.ENOLCK:
                raise
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
