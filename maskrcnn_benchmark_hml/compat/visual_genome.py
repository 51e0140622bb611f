"""The host's VGDataset for dataset folders that are not Visual Genome, and a sentence for each file it cannot read."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.format import validation_size
from ..datasets.layout import TRAIN, VALIDATION
from ..datasets.pictures import locate_pictures, only_jpg, open_picture
from ..datasets.reader import listed_images, unsigned_arrays, unsigned_sentence
from ..datasets.visible import PER_IMAGE, images_with_boxes, leave_out_images, no_overlap
from ..errors import HMLError
from ..files import open_h5, read_json, why_unreadable

logger = logging.getLogger("maskrcnn_benchmark_hml.compat")

HOST_VALIDATION_SIZE = 5000
HOST_IMAGE_COUNT = 108073

# How many images the annotation file that is being loaded covers; None outside a VGDataset's constructor.
_covered: contextvars.ContextVar[int | None] = contextvars.ContextVar("images_in_h5", default=None)


class _Pictures:
    """Stands in for ``PIL.Image`` in the host's module: a picture that cannot be decoded is a sentence."""

    open = staticmethod(open_picture)

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


class _Json:
    """Stands in for ``json`` in the host's module: reads a byte-order mark and UTF-16, and says what cannot be read."""

    def __getattr__(self, name: str) -> Any:
        return getattr(json, name)

    @staticmethod
    def load(file: Any, **kwargs: Any) -> Any:
        path = getattr(file, "name", None)
        return read_json(path) if isinstance(path, str) and not kwargs else json.load(file, **kwargs)


def list_images(img_dir: str, image_file: str, *args: Any, **kwargs: Any) -> tuple[list[str], list[dict]]:
    """Picture paths and their image_data.json entries, in the order of the annotation file.

    Replaces the host's ``load_image_filenames``, whose ``assert len(fns) == 108073`` fails for three causes in real
    life and for every other dataset. Visual Genome's four unreadable pictures are left out exactly when the annotation
    file leaves them out.

    Raises:
        HMLError: pictures missing (VG comes in two folders that must be merged), or an image_data.json that does not
            belong to the annotation file.
    """
    entries = read_json(image_file)
    expected = _covered.get()
    entries = listed_images(entries, -1 if expected is None else expected)
    if expected is not None and len(entries) != expected:
        raise HMLError(
            f"{image_file} lists {len(entries)} images but the annotation file covers {expected}; use the "
            "image_data.json that came with that annotation file"
        )
    return locate_pictures(img_dir, [entry["image_id"] for entry in entries], image_file), entries


@contextlib.contextmanager
def _covering(count: int | None) -> Iterator[None]:
    token = _covered.set(count)
    try:
        yield
    finally:
        _covered.reset(token)


def read_facts(roidb_file: str) -> tuple[np.ndarray, int]:
    """The array ``split`` of an annotation file and the number of its images that validate."""
    if not os.path.isfile(roidb_file):
        folder = Path(roidb_file).parent
        raise HMLError(f"the annotation file {roidb_file} does not exist; put it into {folder} or give --data DIR")
    with open_h5(roidb_file) as file:
        for name in ("split", "img_to_first_rel"):
            if name not in file:
                raise HMLError(
                    f"{roidb_file} has no array {name!r}; it is not a scene-graph file in Visual Genome's format"
                )
        unsigned = unsigned_arrays(file)
        if unsigned:
            raise HMLError(unsigned_sentence(roidb_file, unsigned, Path(roidb_file).parent))
        split, related = file["split"][:], file["img_to_first_rel"][:] >= 0
        stored = file.attrs.get("num_val_images")
    stored = None if stored is None else int(stored)
    return split, validation_size(int(((split == TRAIN) & related).sum()), stored)


def _require_openable(*paths: str) -> None:
    """HMLError for the first file that cannot be opened; the host would end with a traceback."""
    for path in paths:
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            raise HMLError(why_unreadable(path, error, "a JSON file")) from error


def _say_what_becomes_of_split_1(dataset: Any, split: np.ndarray, roidb_file: str) -> None:
    """One line, at the start of a run, when the file marks images for validation and the host does not use them."""
    marked = int((split == VALIDATION).sum())
    used = getattr(dataset, "split_mask", None)
    if not marked or used is None or len(used) != len(split) or (split[used] == VALIDATION).any():
        return  # no such image, a fork that numbers its images otherwise, or one that validates on them (IETrans)
    logger.warning(
        "%d images of %s have split 1 (validation): this benchmark does not use them; it validates on the first %d "
        "training images with relations; set their split to 0 to train on them",
        marked, roidb_file, int(np.count_nonzero(used)),
    )  # fmt: skip


def _leave_out_images(dataset: Any, least: int) -> None:
    """Training images with fewer boxes inside their pictures, which the host's batch normalisation may not take."""
    if all(len(getattr(dataset, name, ())) == len(getattr(dataset, "gt_boxes", ())) for name in PER_IMAGE):
        leave_out_images(dataset, images_with_boxes(dataset.gt_boxes, dataset.img_info, least), least, logger)


def _own_listing(original: Any) -> Any:
    """A fork's own listing, where every picture is called ``<id>.jpg`` as it expects; else ours."""

    @functools.wraps(original)
    def listing(img_dir: str, image_file: str, *args: Any, **kwargs: Any) -> Any:
        chosen = original if only_jpg(img_dir) else list_images
        return chosen(img_dir, image_file, *args, **kwargs)

    return listing


def _demands_all_of_vg(function: Any) -> bool:
    return HOST_IMAGE_COUNT in getattr(getattr(function, "__code__", None), "co_consts", ())


def dataset_other_than_vg(module: Any) -> None:
    """Cures ``assert len(fns) == 108073`` and the fixed validation split of 5,000 (visual_genome.py).

    Forks that have removed the assertion keep their own listing. A validation size that a caller chose (anything but
    5,000) stays; 5,000 becomes the dataset's own size, which is 5,000 for Visual Genome. Pictures may have any ending
    that ``datasets.pictures`` reads.
    """
    listing = getattr(module, "load_image_filenames", None)
    if _demands_all_of_vg(listing):
        module.load_image_filenames = list_images
    elif listing is not None and not hasattr(listing, "__wrapped__"):
        module.load_image_filenames = _own_listing(listing)
    if getattr(module, "json", None) is json:
        module.json = _Json()
    if isinstance(getattr(module, "Image", None), type(json)):
        module.Image = _Pictures(module.Image)
    cls = module.VGDataset
    original = cls.__init__
    if getattr(original, "hml_compat", False):
        return
    signature = inspect.signature(original)

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        call = signature.bind(self, *args, **kwargs)
        filtered = call.arguments.get("filter_non_overlap", False)  # the host's statistics leave it to the default
        call.apply_defaults()
        given = call.arguments
        if given.get("custom_eval") or "roidb_file" not in given:
            original(self, *args, **kwargs)
            return
        split, validation = read_facts(given["roidb_file"])
        _require_openable(*(given[key] for key in ("dict_file", "image_file") if given.get(key)))
        if given.get("num_val_im") == HOST_VALIDATION_SIZE:
            given["num_val_im"] = validation
        with _covering(len(split)):
            original(*call.args, **call.kwargs)
        if filtered and given.get("split") == "train" and not len(self.gt_boxes):
            raise HMLError(no_overlap(given["roidb_file"]))
        if given.get("split") == "train" and len(split) != HOST_IMAGE_COUNT:  # Visual Genome stays as the host has it
            _leave_out_images(self, 2 if given.get("filter_empty_rels", True) else 1)
        if given.get("split") == "val":
            _say_what_becomes_of_split_1(self, split, given["roidb_file"])

    init.hml_compat = True
    cls.__init__ = init
