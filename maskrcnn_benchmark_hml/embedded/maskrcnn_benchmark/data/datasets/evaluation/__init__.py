"""Evaluation of predictions by the kind of dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark_hml.errors import HMLError

from ..visual_genome import VGDataset
from .vg import SplitEvaluation, vg_evaluation


def evaluate(
    cfg: Any, dataset: Any, predictions: Sequence[Any], output_folder: str | None, logger: Any, **kwargs: Any
) -> float:
    """Evaluates ``predictions``, one ``BoxList`` per image of ``dataset`` in its order.

    Returns:
        R@100 when relations are evaluated, else mAP@0.5. See ``do_vg_evaluation``.
    """
    _check_kind(dataset)
    return vg_evaluation(
        cfg=cfg, dataset=dataset, predictions=predictions, output_folder=output_folder, logger=logger, **kwargs
    )


def start_evaluation(cfg: Any, dataset: Any, iou_types: Sequence[str]) -> SplitEvaluation:
    """An evaluation that is given one prediction after the other and need not keep them."""
    _check_kind(dataset)
    return SplitEvaluation(cfg, dataset, iou_types)


def _check_kind(dataset: Any) -> None:
    if not isinstance(dataset, VGDataset):
        raise HMLError(f"no evaluation for the dataset type {type(dataset).__name__}; use a VGDataset")
