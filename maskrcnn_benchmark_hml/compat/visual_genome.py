"""The host's VGDataset for dataset folders that are not Visual Genome, and readable errors for those that should be."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from ..datasets.format import validation_size
from ..datasets.layout import TRAIN, UNREADABLE_VG_IMAGES
from ..errors import HMLError

HOST_VALIDATION_SIZE = 5000
HOST_IMAGE_COUNT = 108073

# How many images the annotation file that is being loaded covers; None outside a VGDataset's constructor.
_covered: contextvars.ContextVar[int | None] = contextvars.ContextVar("images_in_h5", default=None)


@functools.lru_cache(maxsize=8)
def _file_names(folder: str, stamp: int) -> frozenset[str]:
    return frozenset(entry.name for entry in os.scandir(folder))


def list_images(img_dir: str, image_file: str, *args: Any, **kwargs: Any) -> tuple[list[str], list[dict]]:
    """Picture paths and their image_data.json entries, in the order of the annotation file.

    Replaces the host's ``load_image_filenames``, whose ``assert len(fns) == 108073`` fails for three causes in real
    life and for every other dataset. Visual Genome's four unreadable pictures are left out exactly when the annotation
    file leaves them out.

    Raises:
        HMLError: pictures missing (VG comes in two folders that must be merged), or an image_data.json that does not
            belong to the annotation file.
    """
    with open(image_file, encoding="utf-8") as file:
        entries = json.load(file)
    expected = _covered.get()
    if expected is None or len(entries) != expected:
        entries = [entry for entry in entries if entry["image_id"] not in UNREADABLE_VG_IMAGES]
    if expected is not None and len(entries) != expected:
        raise HMLError(
            f"{image_file} lists {len(entries)} images but the annotation file covers {expected}; use the "
            "image_data.json that came with that annotation file"
        )
    if not os.path.isdir(img_dir):
        raise HMLError(f"the picture folder {img_dir} does not exist; point the dataset's paths at it (--data DIR)")
    present = _file_names(str(img_dir), os.stat(img_dir).st_mtime_ns)
    names = [f"{entry['image_id']}.jpg" for entry in entries]
    missing = [name for name in names if name not in present]
    if missing:
        raise HMLError(
            f"{len(missing)} of {len(names)} pictures listed in {image_file} are missing from {img_dir} (first: "
            f"{missing[0]}); Visual Genome's two parts, VG_100K and VG_100K_2, belong in one folder"
        )
    return [os.path.join(img_dir, name) for name in names], entries


@contextlib.contextmanager
def _covering(count: int | None) -> Iterator[None]:
    token = _covered.set(count)
    try:
        yield
    finally:
        _covered.reset(token)


def _read_facts(roidb_file: str) -> tuple[int, int]:
    """Images covered by an annotation file and the number of them that validate."""
    if not os.path.isfile(roidb_file):
        folder = Path(roidb_file).parent
        raise HMLError(f"the annotation file {roidb_file} does not exist; put it into {folder} or give --data DIR")
    try:
        with h5py.File(roidb_file, "r") as file:
            split = file["split"][:]
            stored = file.attrs.get("num_val_images")
    except (OSError, KeyError) as error:
        raise HMLError(f"{roidb_file} cannot be read as VG annotations ({error}); fetch or build it again") from error
    stored = None if stored is None else int(stored)
    return len(split), validation_size(int((split == TRAIN).sum()), stored)


def _demands_all_of_vg(function: Any) -> bool:
    return HOST_IMAGE_COUNT in getattr(getattr(function, "__code__", None), "co_consts", ())


def dataset_other_than_vg(module: Any) -> None:
    """Cures ``assert len(fns) == 108073`` and the fixed validation split of 5,000 (visual_genome.py).

    Forks that have removed the assertion keep their own listing. A validation size that a caller chose (anything but
    5,000) stays; 5,000 becomes the dataset's own size, which is 5,000 for Visual Genome.
    """
    if _demands_all_of_vg(getattr(module, "load_image_filenames", None)):
        module.load_image_filenames = list_images
    cls = module.VGDataset
    original = cls.__init__
    if getattr(original, "hml_compat", False):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        call = signature.bind(self, *args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if given.get("custom_eval") or "roidb_file" not in given:
            original(self, *args, **kwargs)
            return
        count, validation = _read_facts(given["roidb_file"])
        if given.get("num_val_im") == HOST_VALIDATION_SIZE:
            given["num_val_im"] = validation
        with _covering(count):
            original(*call.args, **call.kwargs)

    init.hml_compat = True
    cls.__init__ = init
