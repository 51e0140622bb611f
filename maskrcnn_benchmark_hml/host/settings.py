"""The few settings whose place differs between forks: one value, or one per dataset (SHA-GCL, DRM)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: SHA-GCL and DRM keep what depends on the dataset once per dataset, and choose in this node.
BY_DATASET = "GLOBAL_SETTING"


def class_count(cfg: Mapping[str, Any]) -> int:
    """Predicate classes of the model, the background included."""
    return cfg["MODEL"]["ROI_RELATION_HEAD"][_key(cfg, cfg["MODEL"]["ROI_RELATION_HEAD"], "NUM_CLASSES")]


def class_count_key(cfg: Mapping[str, Any]) -> str:
    """The full name of that setting."""
    return "MODEL.ROI_RELATION_HEAD." + _key(cfg, cfg["MODEL"]["ROI_RELATION_HEAD"], "NUM_CLASSES")


def object_count(cfg: Mapping[str, Any]) -> int:
    """Object classes of the model, the background included."""
    return cfg["MODEL"]["ROI_BOX_HEAD"][_key(cfg, cfg["MODEL"]["ROI_BOX_HEAD"], "NUM_CLASSES")]


def object_count_key(cfg: Mapping[str, Any]) -> str:
    """The full name of that setting."""
    return "MODEL.ROI_BOX_HEAD." + _key(cfg, cfg["MODEL"]["ROI_BOX_HEAD"], "NUM_CLASSES")


def training_sets(cfg: Mapping[str, Any]) -> list[str]:
    """Catalog names of the training split."""
    return list(cfg["DATASETS"][_key(cfg, cfg["DATASETS"], "TRAIN")])


def validation_sets(cfg: Mapping[str, Any]) -> list[str]:
    """Catalog names of the validation split."""
    return list(cfg["DATASETS"].get(_key(cfg, cfg["DATASETS"], "VAL"), ()))


def predictor_name(cfg: Mapping[str, Any]) -> str:
    """The relation predictor's name in the registry."""
    chosen = cfg.get(BY_DATASET, {}).get("RELATION_PREDICTOR")
    return chosen or cfg["MODEL"]["ROI_RELATION_HEAD"]["PREDICTOR"]


def _key(cfg: Mapping[str, Any], node: Mapping[str, Any], name: str) -> str:
    return name if name in node else f"{cfg[BY_DATASET]['DATASET_CHOICE']}_{name}"
