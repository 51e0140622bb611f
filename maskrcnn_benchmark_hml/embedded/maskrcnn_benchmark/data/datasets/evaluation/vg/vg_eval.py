"""Evaluation of one split: boxes and relations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from maskrcnn_benchmark.structures.bounding_box import BoxList
from torch import Tensor
from tqdm import tqdm

from maskrcnn_benchmark_hml.metrics.matches import SplitMatches
from maskrcnn_benchmark_hml.metrics.matching import Objects
from maskrcnn_benchmark_hml.metrics.recall import ImageRanks, RecallTable, rank_image
from maskrcnn_benchmark_hml.metrics.summary import at_k, log_lines, metrics

from .detection import mean_average_precision
from .output import write_predictions, write_results
from .zero_shot import seen_triplets

_RULE = "=" * 100 + "\n"


def evaluation_mode(cfg: Any) -> str:
    """predcls, sgcls or sgdet, as the relation head is given boxes and labels."""
    head = cfg.MODEL.ROI_RELATION_HEAD
    if not head.USE_GT_BOX:
        return "sgdet"
    return "predcls" if head.USE_GT_OBJECT_LABEL else "sgcls"


def boxes_are_given(cfg: Any) -> bool:
    """Whether boxes and labels are the annotation itself, so that evaluating them measures nothing (PredCls)."""
    return bool(cfg.MODEL.RELATION_ON) and evaluation_mode(cfg) == "predcls"


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
        output_folder: gets metrics.json, metrics.csv, eval_results.pytorch, visual_info.json, and with relations
            result_dict.pytorch and matches.npz; None: no files.
        iou_types: ``bbox`` and/or ``relations``.

    Returns:
        R@100 with ``relations``; else mAP@0.5; -1 for neither.
    """
    if output_folder:
        truths = [dataset.get_groundtruth(i, evaluation=True) for i in range(len(predictions))]
        predictions = [p.resize(truth.size) for p, truth in zip(predictions, truths)]
        write_predictions(output_folder, truths, predictions, dataset)
    evaluation = SplitEvaluation(cfg, dataset, iou_types)
    for number, prediction in enumerate(tqdm(predictions, "metrics", disable=None)):
        evaluation.add(number, prediction)
    return evaluation.finish(output_folder, logger)


class SplitEvaluation:
    """Takes predictions image by image and keeps of each only what the metrics need.

    That is some hundred bytes per relation annotated and, where boxes are evaluated, six numbers per box; the scores of
    all pairs are let go. The predictions of the first ``TEST.SAVED_IMAGES`` images are kept whole. Several processes
    can evaluate a share each: ``part`` there, ``merge`` here.

    Args:
        iou_types: ``bbox`` and/or ``relations``.
    """

    def __init__(self, cfg: Any, dataset: Any, iou_types: Sequence[str]) -> None:
        self.cfg, self.dataset = cfg, dataset
        self.relations = "relations" in iou_types
        self.boxes = "bbox" in iou_types
        self.mode = evaluation_mode(cfg) if self.relations else "detection"
        self._seen: set[int] = set()
        self._ranks: dict[int, ImageRanks] = {}
        self._detections: dict[int, tuple[BoxList, BoxList]] = {}
        self._stored: dict[int, BoxList] = {}

    def add(self, number: int, prediction: BoxList) -> None:
        """The prediction for image ``number``, of any size; a second one replaces the first."""
        truth = self.dataset.get_groundtruth(number, evaluation=True)
        prediction = prediction.resize(truth.size)
        self._seen.add(number)
        if not self.cfg.TEST.SAVE_PREDICTIONS and number < self.cfg.TEST.SAVED_IMAGES:
            self._stored[number] = prediction
        if self.boxes and not boxes_are_given(self.cfg):
            # Clones: a slice would keep the whole tensor that it is cut from.
            pair = _only(truth, ("labels",)), _only(prediction, ("pred_labels", "pred_scores"))
            self._detections[number] = pair
        if self.relations:
            ranks = self._rank(truth, prediction)
            if ranks is not None:
                self._ranks[number] = ranks

    def _rank(self, truth: BoxList, prediction: BoxList) -> ImageRanks | None:
        """None: an image without an annotated or a predicted relation does not count."""
        relations, pairs = _array(truth, "relation_tuple"), _array(prediction, "rel_pair_idxs")
        if not len(relations) or not len(pairs):
            return None
        annotated = _objects(truth, "labels", None)
        # In PredCls the objects are the annotation's, whatever the prediction says about them.
        given = self.mode == "predcls"
        predicted = annotated if given else _objects(prediction, "pred_labels", "pred_scores")
        return rank_image(
            annotated, relations, predicted, pairs, _array(prediction, "pred_rel_scores"),
            iou_threshold=self.cfg.TEST.RELATION.IOU_THRESHOLD,
            given_pairs=self.mode != "sgdet",
        )  # fmt: skip

    def part(self) -> tuple[set[int], tuple[dict[int, Any], ...]]:
        """All that was kept, to be sent to the process that finishes."""
        return self._seen, (self._ranks, self._detections, self._stored)

    def merge(self, parts: Iterable[tuple[set[int], tuple[dict[int, Any], ...]]]) -> None:
        """Take over what other evaluations of the same split kept; images in several of them count once."""
        for seen, kept in parts:
            self._seen |= seen
            for own, others in zip((self._ranks, self._detections, self._stored), kept):
                own.update(others)

    def missing(self) -> list[int]:
        """Images of the dataset for which no prediction came, ascending."""
        return [number for number in range(len(self.dataset)) if number not in self._seen]

    def finish(self, output_folder: str | None, logger: Any) -> float:
        """Computes, logs and writes the metrics; what ``do_vg_evaluation`` returns."""
        text, value = "\n" + _RULE, -1.0
        content: dict[str, Any] = {"mode": self.mode, "images": len(self._seen)}
        result = matches = None
        if self.boxes:
            content.update(self._mean_average_precision())
            value = content["mAP@0.5"]
            text += f"Detection evaluation mAp={value:.4f}\n"
            text += f"COCO mAP (IoU 0.5 to 0.95) = {content['mAP']:.4f}\n" + _RULE
        if self.relations:
            names = self.dataset.ind_to_predicates
            classes = self.cfg.MODEL.ROI_RELATION_HEAD.NUM_CLASSES
            table = RecallTable(classes, seen_triplets(self.dataset), self._ranks)
            result = table.result_dict(self.mode)
            matches = SplitMatches.collect(self.mode, names, sorted(self._ranks), table.images)
            content.update(metrics(result, self.mode, names))
            text += log_lines(result, self.mode, names) + _RULE
            value = at_k(result, self.mode, "recall")[100]
        if output_folder:
            write_results(output_folder, content, result, matches)
            self._write_stored(output_folder)
        logger.info(text)
        return value

    def _write_stored(self, output_folder: str) -> None:
        """The predictions of the first ``TEST.SAVED_IMAGES`` images."""
        if self._stored:
            numbers = sorted(self._stored)
            truths = [self.dataset.get_groundtruth(number, evaluation=True) for number in numbers]
            write_predictions(output_folder, truths, [self._stored[number] for number in numbers], self.dataset)

    def _mean_average_precision(self) -> dict[str, float]:
        if boxes_are_given(self.cfg):
            return {"mAP@0.5": 1.0, "mAP": 1.0}
        pairs = [self._detections[number] for number in sorted(self._detections)]
        truths, predictions = [truth for truth, _ in pairs], [prediction for _, prediction in pairs]
        at_half, coco = mean_average_precision(truths, predictions, self.dataset.ind_to_classes)
        return {"mAP@0.5": at_half, "mAP": coco}


def _only(boxes: BoxList, names: Sequence[str]) -> BoxList:
    """A copy with these fields alone, on the CPU."""
    result = BoxList(boxes.bbox.detach().cpu().clone(), boxes.size, boxes.mode)
    for name in names:
        result.add_field(name, boxes.get_field(name).detach().cpu().clone())
    return result


def _objects(boxes: BoxList, labels: str, scores: str | None) -> Objects:
    corners = boxes.convert("xyxy").bbox.detach().cpu().numpy()
    return Objects(corners, _array(boxes, labels), np.ones(len(boxes)) if scores is None else _array(boxes, scores))


def _array(boxes: BoxList, field: str) -> np.ndarray:
    value: Tensor = boxes.get_field(field).detach().cpu()
    return (value if value.is_floating_point() else value.long()).numpy()
