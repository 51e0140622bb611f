"""The host's training split as its own training loader has it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

import numpy as np
import torch
from yacs.config import CfgNode

from ..training.data import label_counts
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
        return label_counts(hook_points.training_dataset(own), host_settings.class_count(cfg))
