"""``hml data convert-gqa``: GQA's scene graphs to a dataset folder."""

from __future__ import annotations

from pathlib import Path

from ...errors import HMLError
from ..layout import TEST, TRAIN
from .gqa_source import read_graphs
from .names import given_names
from .raw import Found, RawImage
from .selection import Selection
from .source import Source, write_source
from .tally import Tally

TRAIN_NAME, TEST_NAME = "train_sceneGraphs.json", "val_sceneGraphs.json"


def convert_gqa(
    source: Path | str,
    target: Path | str,
    *,
    photos: Path | None = None,
    skip_missing: bool = False,
    objects: str = "200",
    predicates: str = "100",
    attributes: str = "200",
    keep_left_right: bool = False,
    force: bool = False,
) -> Tally:
    """Convert the scene graphs of training and validation; the latter are the test split (the real one has no graphs).

    Args:
        source: folder with the two files.
        target: dataset folder to create.
        photos, skip_missing, force: see :func:`.source.write_source`.
        objects, predicates, attributes: how many names, the most frequent ones of both files, or a file of names.
        keep_left_right: keep "to the left of" and "to the right of", which GQA's authors computed from the boxes.

    Raises:
        HMLError: a file is missing or wrong, or ``target`` is not free. Nothing is written then.
    """
    src = Path(source)
    if not src.is_dir():
        raise HMLError(f"{src} is not a folder; name the one that holds GQA's {TRAIN_NAME}")
    for name in (TRAIN_NAME, TEST_NAME):
        if not (src / name).is_file():
            raise HMLError(f"{src} has no {name}; GQA's scene graphs are {TRAIN_NAME} and {TEST_NAME}")
    wanted = {kind: given_names(given, kind) for kind, given in
              (("objects", objects), ("predicates", predicates), ("attributes", attributes))}  # fmt: skip
    found = Found()
    images: list[RawImage] = list(read_graphs(src / TRAIN_NAME, found, keep_left_right))
    training = len(images)
    known = {image.source_id for image in images}
    for image in read_graphs(src / TEST_NAME, found, keep_left_right):
        if image.source_id in known:
            raise HMLError(f"image {image.source_id} is in {TRAIN_NAME} and in {TEST_NAME}; remove it from one")
        images.append(image)
    found.tally.say(f"split: {TRAIN_NAME} is for training, {TEST_NAME} for testing")
    selection = Selection(images, found, **wanted)
    return write_source(
        Source(
            "GQA's scene graphs, converted", selection.vocabulary,
            selection.images(images, lambda place: TRAIN if place < training else TEST), found.tally, len(images),
        ),
        target, photos=photos, skip_missing=skip_missing, force=force,
    )  # fmt: skip
