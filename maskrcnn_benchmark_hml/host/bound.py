"""What a run's folder is bound to: everything that determines the result, files by their content.

docs/on-your-sgb.md, "Resume", lists it. Not bound, because reading them takes too long: the pictures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from ..config import settings
from ..config_keys import CHANGEABLE
from ..errors import HMLError
from ..files import content_digest, sampled_digest
from ..method.tree import PredicateTree
from ..method.vectors import find_vectors
from . import settings as host_settings
from .extend import EXTEND_HINT
from .fine_tune import start_file

#: Host settings that may change between start and resume without changing the result.
_FREE = ("MODEL.DEVICE", "SOLVER.CHECKPOINT_PERIOD", "SOLVER.PRINT_GRAD_FREQ", "SOLVER.PRE_VAL")
_BOUND = ("MODEL", "SOLVER", "INPUT", "DTYPE", host_settings.BY_DATASET)
_LOADER = ("SIZE_DIVISIBILITY", "ASPECT_RATIO_GROUPING")
#: HML settings that may change: the digest stands for the tree's file, the adjustment comes after training.
_HML_FREE = ("HML.EXTEND", "HML.ACCEPT_CHANGED", "HML.KEEP_STATES", "HML.TENSORBOARD", "HML.TREE.FILE", "HML.TEST.TAU",
             "HML.TEST.PRIOR")
TRAINING_DATA = "DATASETS.TRAIN.DIGEST"

#: Setting -> what a refusal says about going on with its new value.
HINTS = {**EXTEND_HINT, **{name: f"to go on with the new value, add HML.ACCEPT_CHANGED {name}" for name in CHANGEABLE}}


def bound_settings(cfg: CfgNode, tree: PredicateTree, digests: Mapping[str, str]) -> dict[str, Any]:
    """Name -> value of all that a run is bound to; ``digests`` are those of :func:`file_digests` and of the data."""
    bound = {k: v for k, v in _flatten({key: cfg[key] for key in _BOUND if key in cfg}, "").items() if k not in _FREE}
    bound.update(settings(cfg))
    for name in _HML_FREE:
        bound.pop(name)
    bound["DATASETS.TRAIN"] = host_settings.training_sets(cfg)
    bound["DATASETS.VAL"] = host_settings.validation_sets(cfg)
    bound.update({f"DATALOADER.{name}": cfg.DATALOADER[name] for name in _LOADER if name in cfg.DATALOADER})
    bound["WORLD_SIZE"] = int(os.environ.get("WORLD_SIZE", 1))
    bound["predicate tree"] = tree.digest
    # The file may have gone or changed since: later stages would then start without its detector.
    bound["relation head in MODEL.WEIGHT"] = bool(start_file(cfg))
    return {**bound, **digests}


def file_digests(cfg: CfgNode, recorded: Mapping[str, Any]) -> dict[str, str]:
    """Digests of the files that a stage starts from: detector, relation model, word vectors.

    Args:
        recorded: the folder's bound settings. They stand in for a file that has gone since: a resumed stage needs none.
    """
    files = {
        "MODEL.PRETRAINED_DETECTOR_CKPT.DIGEST": cfg.MODEL.get("PRETRAINED_DETECTOR_CKPT", ""),
        "MODEL.WEIGHT.DIGEST": start_file(cfg),
        "GLOVE_DIR.DIGEST": _word_vectors(cfg),
    }
    found = {name: Path(path) for name, path in files.items() if path and Path(path).is_file()}
    digests = {name: sampled_digest(path) if name.startswith("GLOVE") else content_digest(path, sampled_digest)
               for name, path in found.items()}
    return {name: digests.get(name, recorded.get(name, "")) for name in files}


def _word_vectors(cfg: CfgNode) -> str:
    """The file that GLOVE_DIR stands for, "" if there is none; a predictor that needs it says so itself."""
    folder, dim = cfg.get("GLOVE_DIR", ""), cfg.MODEL.ROI_RELATION_HEAD.get("EMBED_DIM", 0)
    try:
        return str(find_vectors(folder, "glove.6B", dim)) if folder and dim else ""
    except HMLError:
        return ""


def _flatten(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = list(value) if isinstance(value, (tuple, list)) else value
    return flat
