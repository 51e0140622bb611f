"""Files and folders."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from .comm import is_main_process


def mkdir(path: str | Path) -> None:
    """Make the folder and its parents unless they exist."""
    os.makedirs(path, exist_ok=True)


@contextmanager
def replaced_file(path: str | Path) -> Iterator[Path]:
    """A path beside ``path`` to write to; it takes the place of ``path`` on leaving, in one step.

    Whatever interrupts the writing, ``path`` holds the old content or the new one, never a part.
    """
    path = Path(path)
    aside = path.with_name(path.name + ".part")
    try:
        yield aside
        with open(aside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def save_config(cfg: CfgNode, path: str | Path) -> None:
    """Write the whole configuration as YAML (main process only)."""
    if is_main_process():
        with replaced_file(path) as aside:
            aside.write_text(cfg.dump(), encoding="utf-8")


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
        with replaced_file(Path(output_dir) / "labels.json") as aside:
            aside.write_text(json.dumps(labels, indent=2), encoding="utf-8")
