"""The host's training split as its own training loader has it, and its edit for one stage.

The dataset object is edited, never constructed: constructors differ between forks, these attributes do not.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from yacs.config import CfgNode

from ..datasets.visible import PER_IMAGE
from ..errors import HMLError
from ..training.data import StageData, label_counts, stage_view
from ..training.stages import Stage
from . import hook_points
from . import settings as host_settings

_log = logging.getLogger("maskrcnn_benchmark.hml")
#: ``split_mask`` has an entry for each image of all splits; the others are made again below.
_NOT_PER_IMAGE = ("split_mask", "idx_list", "id_to_img_map")


@contextlib.contextmanager
def aside(cfg: CfgNode, *options) -> Iterator[CfgNode]:
    """The config with an OUTPUT_DIR of our own, gone afterwards: building loaders writes into that folder."""
    with tempfile.TemporaryDirectory() as folder:
        own = cfg.clone()
        own.defrost()
        own.merge_from_list(["OUTPUT_DIR", folder, *options])
        own.freeze()
        yield own


def training_label_counts(cfg: CfgNode) -> np.ndarray:
    """Relations of the training split by predicate, int64 (C,), see ``training.data.label_counts``.

    Also for a test: it takes any number of processes, and counts no custom pictures.
    """
    world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
    pictures = ("TEST.CUSTUM_EVAL", False) if "CUSTUM_EVAL" in cfg.TEST else ()
    with aside(cfg, "SOLVER.IMS_PER_BATCH", world, *pictures) as own:
        return label_counts(hook_points.training_dataset(own).relationships, host_settings.class_count(cfg))


def data_digest(datasets: Sequence) -> str:
    """A digest of what datasets of the host say of their images, and how much it is: boxes, classes, attributes,
    relations, sizes and names of the files, after the host's own filters. 1.1 s for 108,073 images."""
    sha, images, relations = hashlib.sha256(), 0, 0
    for dataset in datasets:
        for name in PER_IMAGE:
            column = getattr(dataset, name, None)
            if isinstance(column, (list, tuple, np.ndarray)) and len(column):
                sha.update(f"{name} {len(column)}".encode())
                for part in _as_arrays(name, column):
                    sha.update(np.ascontiguousarray(part).tobytes())
        images += len(dataset)
        relations += sum(map(len, getattr(dataset, "relationships", ())))
    return f"{sha.hexdigest()[:16]}, {images} images, {relations} relations"


def check_same(dataset, digest: str) -> None:
    """HMLError if the training dataset, which is read anew for each stage, is not the one that the run began with.

    Args:
        dataset: of the host, not yet edited for the stage. digest: that of the run's start.
    """
    now = data_digest([dataset])
    if now != digest:
        raise HMLError(
            f"the files of DATASETS.TRAIN changed while this run trained (digest {digest} at its start, {now} now); "
            "put the former files back and give the same command again, which goes on from the last checkpoint"
        )


def _as_arrays(name: str, column: Sequence | np.ndarray) -> Iterator[np.ndarray]:
    if name == "filenames":
        yield np.frombuffer("\n".join(os.path.basename(str(path)) for path in column).encode(), np.uint8)
    elif name == "img_info":
        yield np.array([(info["width"], info["height"]) for info in column], np.float64)
    else:  # one type for all: hosts differ in it, and so do files of the same content
        rows = [np.asarray(row) for row in column]
        yield np.array([len(row) for row in rows], np.int64)
        yield np.concatenate([row.reshape(-1) for row in rows]).astype(np.float64)


def apply_stage(
    dataset, stage: Stage, num_classes: int, hml, pairs_per_image: int, positive_fraction: float
) -> StageData:
    """Edit a training dataset in place so that it is the stage's view, and count what it keeps.

    Raises:
        HMLError: no image is the stage's, or a predicate index is out of range.
    """
    boxes = [len(rows) for rows in dataset.gt_boxes]
    keep, relations, data = stage_view(
        dataset.relationships, boxes, stage, num_classes, hml, pairs_per_image, positive_fraction
    )
    further = []
    for name in per_image_lists(dataset, data.images_before):
        column = getattr(dataset, name)
        if name in PER_IMAGE:
            setattr(dataset, name, [column[i] for i in keep])
        else:
            kept = [column[i] for i in keep] if isinstance(column, (list, tuple)) else column[list(keep)]
            setattr(dataset, name, kept)
            further.append(name)
    if further:
        _log.info("HML: %s: the dataset's own lists with an entry for each image follow: %s", stage.title(),
                  ", ".join(further))
    dataset.relationships = relations
    if hasattr(dataset, "idx_list"):
        dataset.idx_list = list(range(len(keep)))
    if hasattr(dataset, "id_to_img_map"):
        dataset.id_to_img_map = dict(enumerate(range(len(keep))))
    return data


def per_image_lists(dataset, images: int) -> list[str]:
    """Attributes of a dataset with one entry for each of its images, those that only a fork has among them.

    A list of as many entries that means something else (names by class index, all images' splits) is known by name.
    """
    lists = {name: column for name, column in vars(dataset).items() if isinstance(column, (list, tuple))}
    arrays = {name: column for name, column in vars(dataset).items()
              if isinstance(column, (np.ndarray, torch.Tensor)) and column.ndim}
    found = [name for name, column in {**lists, **arrays}.items() if len(column) == images]
    return [name for name in found if name not in _NOT_PER_IMAGE and not name.startswith("ind_to_")]


def orientation_groups(dataset, enabled: bool) -> list[int]:
    """1 for portrait or square images, 0 for landscape ones (ASPECT_RATIO_GROUPING); all 0 if disabled."""
    if not enabled:
        return [0] * len(dataset)
    infos = (dataset.get_img_info(i) for i in range(len(dataset)))
    return [int(info["height"] >= info["width"]) for info in infos]
