"""Fine-tuning under HML: MODEL.WEIGHT with a relation head is what the first stage starts from.

Later stages start as HML.STAGES.INIT says, on the same detector: with MODEL.PRETRAINED_DETECTOR_CKPT the two feature
extractors of a fresh head are copies of its box head, as ever, else those of MODEL.WEIGHT.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from yacs.config import CfgNode

from ..compat.checkpoint_file import holds_relation_head, is_local, read_checkpoint, weight_names
from ..errors import HMLError
from ..finite import check_weights
from ..training.stages import Stage
from . import hook_points

_log = logging.getLogger("maskrcnn_benchmark.hml")


class Starting(Protocol):
    """What is read of the stage that is driven.

    Attributes:
        cfg, stage, head: the stage's config, the stage, the student's relation head.
        start_file: see :func:`start_file`.
    """

    cfg: Any
    stage: Stage
    head: Any
    start_file: str


def start_file(cfg: CfgNode) -> str:
    """MODEL.WEIGHT if it is a local file that holds a relation head, else "": then it is left to the host.

    SGB's configs name ImageNet weights of a catalog there, which its training does not read.

    Raises:
        HMLError: the file cannot be read.
    """
    entry = cfg.MODEL.WEIGHT
    if entry and is_local(entry) and Path(entry).is_file() and holds_relation_head(weight_names(entry)):
        return entry
    return ""


def check_start(cfg: CfgNode) -> None:
    """Refuse a start file that cannot be read or is not finite, before the run writes anything.

    Raises:
        HMLError: as said.
    """
    if file := start_file(cfg):
        check_weights(read_checkpoint(file)[0]["model"].items(), f"MODEL.WEIGHT {file}")
    elif cfg.MODEL.WEIGHT and is_local(cfg.MODEL.WEIGHT):
        what = "holds no relation head" if Path(cfg.MODEL.WEIGHT).is_file() else "does not exist here"
        _log.warning("HML: MODEL.WEIGHT %s %s and is left to the benchmark", cfg.MODEL.WEIGHT, what)


def without_start(cfg: CfgNode) -> CfgNode:
    """The same settings for a host that would itself load MODEL.WEIGHT, in every stage."""
    own = cfg.clone()
    own.defrost()
    own.MODEL.WEIGHT = ""
    own.freeze()
    return own


def start_stage(driver: Starting, load: Callable[..., Any]) -> None:
    """Put ``driver.start_file`` into the model that the host has just initialised, as far as this stage takes it.

    Args:
        load: the host's own ``DetectronCheckpointer.load``.

    Raises:
        HMLError: the file lacks a part of the relation head, which a host may leave random without a word.
    """
    file, head, model = driver.start_file, driver.head, driver.cfg.MODEL
    first = driver.stage.index == 1
    given = set(weight_names(file))
    lacking = [name for name in head.state_dict() if f"{hook_points.RELATION_HEAD}.{name}" not in given]
    if first and lacking and not model.get("PARTIAL_LOAD", False):
        raise HMLError(
            f"MODEL.WEIGHT {file} lacks {hook_points.RELATION_HEAD}.{lacking[0]} ({len(lacking)} tensors of the "
            "relation head in all): it has another relation head; use the settings that it was trained with, or leave "
            "MODEL.WEIGHT empty"
        )
    alone = not model.get("PRETRAINED_DETECTOR_CKPT", "") and driver.cfg.HML.STAGES.INIT == "fresh"
    kept = {} if first else {
        name: value.clone() for name, value in head.state_dict().items()
        if not (alone and name.startswith(hook_points.EXTRACTORS))
    }
    load(file, with_optim=False)
    head.load_state_dict({**head.state_dict(), **kept})  # whole: torch 2.1 sets batch counts that are absent to 0
    what = "the whole model" if first else "the detector and the feature extractors" if alone else "the detector"
    _log.info("HML: fine-tuning: %s loads %s from MODEL.WEIGHT %s", driver.stage.title(), what, file)
