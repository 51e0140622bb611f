"""The host's training split as its own training loader has it, and its edit for one stage.

The dataset object is edited, never constructed: constructors differ between forks, these attributes do not.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from yacs.config import CfgNode

from ..datasets.visible import PER_IMAGE
from ..training.data import StageData, label_counts, stage_view
from ..training.stages import Stage
from . import hook_points
from . import settings as host_settings


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
    for name in PER_IMAGE:
        column = getattr(dataset, name, None)
        if column is not None and len(column) == data.images_before:
            setattr(dataset, name, [column[i] for i in keep])
    dataset.relationships = relations
    if hasattr(dataset, "idx_list"):
        dataset.idx_list = list(range(len(keep)))
    if hasattr(dataset, "id_to_img_map"):
        dataset.id_to_img_map = dict(enumerate(range(len(keep))))
    return data


def orientation_groups(dataset, enabled: bool) -> list[int]:
    """1 for portrait or square images, 0 for landscape ones (ASPECT_RATIO_GROUPING); all 0 if disabled."""
    if not enabled:
        return [0] * len(dataset)
    infos = (dataset.get_img_info(i) for i in range(len(dataset)))
    return [int(info["height"] >= info["width"]) for info in infos]
