"""Scene graph metrics."""

from __future__ import annotations

from typing import Any

from .vg_eval import SplitEvaluation, do_vg_evaluation

__all__ = ["SplitEvaluation", "do_vg_evaluation", "vg_evaluation"]


def vg_evaluation(
    cfg: Any, dataset: Any, predictions: Any, output_folder: str | None, logger: Any, iou_types: Any, **_: Any
) -> float:
    """``do_vg_evaluation``; further keyword arguments belong to other kinds of datasets."""
    return do_vg_evaluation(cfg, dataset, predictions, output_folder, logger, iou_types)
