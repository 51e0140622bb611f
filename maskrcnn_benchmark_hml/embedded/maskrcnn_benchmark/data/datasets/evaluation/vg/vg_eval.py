"""Evaluation of one split: boxes and relations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from maskrcnn_benchmark.structures.bounding_box import BoxList
from torch import Tensor
from tqdm import tqdm

from .detection import mean_average_precision
from .matching import Objects
from .output import at_k, log_lines, metrics, write_predictions, write_results
from .recall import RecallTable, rank_image
from .zero_shot import seen_triplets

_RULE = "=" * 100 + "\n"


def evaluation_mode(cfg: Any) -> str:
    """predcls, sgcls or sgdet, as the relation head is given boxes and labels."""
    head = cfg.MODEL.ROI_RELATION_HEAD
    if not head.USE_GT_BOX:
        return "sgdet"
    return "predcls" if head.USE_GT_OBJECT_LABEL else "sgcls"


def do_vg_evaluation(
    cfg: Any,
    dataset: Any,
    predictions: Sequence[BoxList],
    output_folder: str | None,
    logger: Any,
    iou_types: Sequence[str],
) -> float:
    """Evaluates predictions, logs the result and writes it.

    Args:
        predictions: one per image, with ``pred_labels``, ``pred_scores`` (n,), and for relations ``rel_pair_idxs``
            (p, 2) and ``pred_rel_scores`` (p, predicates), best pair first.
        output_folder: gets metrics.json, eval_results.pytorch, visual_info.json, and with relations
            result_dict.pytorch; None: no files.
        iou_types: ``bbox`` and/or ``relations``.

    Returns:
        R@100 with ``relations``; else mAP@0.5; -1 for neither.
    """
    mode = evaluation_mode(cfg) if "relations" in iou_types else "detection"
    truths = [dataset.get_groundtruth(i, evaluation=True) for i in range(len(predictions))]
    predictions = [p.resize(truth.size) for p, truth in zip(predictions, truths)]
    if output_folder:
        write_predictions(output_folder, truths, predictions, dataset)
    text, value = "\n" + _RULE, -1.0
    content: dict[str, Any] = {"mode": mode, "images": len(predictions)}
    result = None
    if "bbox" in iou_types:
        content.update(_detection(cfg, truths, predictions, dataset.ind_to_classes))
        value = content["mAP@0.5"]
        text += f"Detection evaluation mAp={value:.4f}\n"
        text += f"COCO mAP (IoU 0.5 to 0.95) = {content['mAP']:.4f}\n" + _RULE
    if "relations" in iou_types:
        result = relation_metrics(cfg, mode, dataset, truths, predictions)
        content.update(metrics(result, mode, dataset.ind_to_predicates))
        text += log_lines(result, mode, dataset.ind_to_predicates) + _RULE
        value = at_k(result, mode, "recall")[100]
    if output_folder:
        write_results(output_folder, result, content)
    logger.info(text)
    return value


def boxes_are_given(cfg: Any) -> bool:
    """Whether boxes and labels are the annotation itself, so that evaluating them measures nothing (PredCls)."""
    return bool(cfg.MODEL.RELATION_ON) and evaluation_mode(cfg) == "predcls"


def _detection(
    cfg: Any, truths: Sequence[BoxList], predictions: Sequence[BoxList], names: Sequence[str]
) -> dict[str, float]:
    if boxes_are_given(cfg):
        return {"mAP@0.5": 1.0, "mAP": 1.0}
    at_half, coco = mean_average_precision(truths, predictions, names)
    return {"mAP@0.5": at_half, "mAP": coco}


def relation_metrics(
    cfg: Any, mode: str, dataset: Any, truths: Sequence[BoxList], predictions: Sequence[BoxList]
) -> dict[str, Any]:
    """``RecallTable.result_dict`` of a split. Images without an annotated or a predicted relation do not count."""
    table = RecallTable(cfg.MODEL.ROI_RELATION_HEAD.NUM_CLASSES, seen_triplets(dataset))
    for truth, prediction in tqdm(zip(truths, predictions), "metrics", total=len(truths), disable=None):
        relations, pairs = _array(truth, "relation_tuple"), _array(prediction, "rel_pair_idxs")
        if not len(relations) or not len(pairs):
            continue
        annotated = _objects(truth, "labels", None)
        # In PredCls the objects are the annotation's, whatever the prediction says about them.
        predicted = annotated if mode == "predcls" else _objects(prediction, "pred_labels", "pred_scores")
        table.add(
            rank_image(
                annotated, relations, predicted, pairs, _array(prediction, "pred_rel_scores"),
                iou_threshold=cfg.TEST.RELATION.IOU_THRESHOLD,
                given_pairs=mode != "sgdet",
            )
        )  # fmt: skip
    return table.result_dict(mode)


def _objects(boxes: BoxList, labels: str, scores: str | None) -> Objects:
    corners = boxes.convert("xyxy").bbox.detach().cpu().numpy()
    return Objects(corners, _array(boxes, labels), np.ones(len(boxes)) if scores is None else _array(boxes, scores))


def _array(boxes: BoxList, field: str) -> np.ndarray:
    value: Tensor = boxes.get_field(field).detach().cpu()
    return (value if value.is_floating_point() else value.long()).numpy()
