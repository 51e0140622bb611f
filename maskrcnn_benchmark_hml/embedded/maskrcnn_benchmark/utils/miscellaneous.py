"""Files and folders."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from maskrcnn_benchmark_hml.files import write_json, write_text

from .comm import is_main_process


def mkdir(path: str | Path) -> None:
    """Make the folder and its parents unless they exist."""
    os.makedirs(path, exist_ok=True)


def save_config(cfg: CfgNode, path: str | Path) -> None:
    """Write the whole configuration as YAML (main process only)."""
    if is_main_process():
        write_text(path, cfg.dump(), "configuration")


def save_labels(dataset_list: Sequence[Any], output_dir: str | Path) -> None:
    """Write ``labels.json``, class number -> name, of the datasets that have ``categories`` (main process only)."""
    if not is_main_process():
        return
    labels: dict[Any, str] = {}
    for dataset in dataset_list:
        if hasattr(dataset, "categories"):
            labels.update(dataset.categories)
        else:
            logging.getLogger(__name__).warning("%s has no categories; not in labels.json", type(dataset).__name__)
    if labels:
        write_json(Path(output_dir) / "labels.json", labels, indent=2)
