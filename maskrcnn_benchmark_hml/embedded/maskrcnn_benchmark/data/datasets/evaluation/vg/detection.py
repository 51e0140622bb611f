"""Mean average precision of the boxes, by the COCO evaluation code."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence

import numpy as np
from maskrcnn_benchmark.structures.bounding_box import BoxList

from maskrcnn_benchmark_hml.errors import HMLError


def require_coco_code() -> None:
    """HMLError when pycocotools is missing."""
    if importlib.util.find_spec("pycocotools") is None:
        raise HMLError("evaluating boxes (SGCls, SGDet, the detector) needs pycocotools; pip install pycocotools")


def mean_average_precision(
    groundtruths: Sequence[BoxList], predictions: Sequence[BoxList], names: Sequence[str]
) -> tuple[float, float]:
    """mAP at IoU 0.5, and COCO's mean over IoU 0.5 .. 0.95; at most 100 boxes an image.

    Args:
        groundtruths: with field ``labels``. predictions: with ``pred_labels`` and ``pred_scores``.
        names: object classes, ``__background__`` first.
    """
    require_coco_code()
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations = []
    for image_id, truth in enumerate(groundtruths):
        boxes = truth.convert("xywh").bbox.tolist()
        for label, box in zip(truth.get_field("labels").tolist(), boxes):
            annotations.append(
                # Not 0: pycocotools takes the id 0 of a matched annotation for "no match".
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": label, "bbox": box,
                 "area": box[2] * box[3], "iscrowd": 0}
            )  # fmt: skip
    rows = []
    for image_id, prediction in enumerate(predictions):
        boxes = prediction.convert("xywh").bbox.detach().cpu().numpy()
        scores, labels = (prediction.get_field(f).detach().cpu().numpy() for f in ("pred_scores", "pred_labels"))
        rows.append(np.column_stack((np.full(len(boxes), image_id), boxes, scores, labels)))
    detections = np.concatenate(rows) if rows else np.zeros((0, 7))
    if not len(detections) or not annotations:
        return 0.0, 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        truth_set = COCO()
        truth_set.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(len(groundtruths))],
            "categories": [{"id": i, "name": name} for i, name in enumerate(names) if i > 0],
            "annotations": annotations,
        }
        truth_set.createIndex()
        coco = COCOeval(truth_set, truth_set.loadRes(detections), "bbox")
        coco.params.imgIds = list(range(len(groundtruths)))
        coco.evaluate()
        coco.accumulate()
        coco.summarize()
    return float(coco.stats[1]), float(coco.stats[0])
