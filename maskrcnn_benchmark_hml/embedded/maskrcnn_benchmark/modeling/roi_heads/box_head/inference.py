"""From class logits and offsets to detections."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from maskrcnn_benchmark.modeling.box_coder import BoxCoder, with_ends
from maskrcnn_benchmark.structures.bounding_box import BoxList
from torch import Tensor
from torchvision.ops import batched_nms, clip_boxes_to_image
from yacs.config import CfgNode


@dataclass
class PostProcessor:
    """Detections by class-wise suppression.

    Attributes:
        score_thresh: least probability of a detection.
        nms: IoU above which a box yields to a better one of its class.
        post_nms_per_cls_topn: most detections of a class.
        nms_filter_duplicates: each proposal gives its best class only.
        detections_per_img: most detections of an image (more if the last are tied); <= 0: any number.
        box_coder: of the offsets.
        cls_agnostic_bbox_reg: one set of offsets serves all classes.
    """

    score_thresh: float
    nms: float
    post_nms_per_cls_topn: int
    nms_filter_duplicates: bool
    detections_per_img: int
    box_coder: BoxCoder
    cls_agnostic_bbox_reg: bool

    @torch.no_grad()
    def __call__(
        self,
        x: tuple[Tensor, Tensor, Tensor],
        boxes: Sequence[BoxList],
        relation_mode: bool = False,
        at_least: int = 0,
    ) -> tuple[Tensor, list[BoxList]]:
        """Detections per image, in the order of the proposals (with duplicates: by class, then by proposal).

        Args:
            x: features (N, D), class logits (N, C) and offsets (N, 4 C) of all proposals in a row.
            boxes: proposals of each image.
            relation_mode: also hand on the proposals' fields ``labels``, ``attributes`` and ``predict_logits``, and add
                ``boxes_per_cls`` (n, C, 4), the box under each class.
            at_least: if fewer survive, the proposals with the largest probability of any object fill up. A relation
                head needs a box to work on.

        Returns:
            Features of the detections (n, D), and BoxLists with the fields ``pred_scores``, ``pred_labels``.
        """
        features, logits, offsets = x
        counts = [len(b) for b in boxes]
        probabilities = logits.float().softmax(-1)
        if self.cls_agnostic_bbox_reg:
            offsets = offsets[:, -4:]
        moved = self.box_coder.decode(offsets.float(), torch.cat([b.bbox for b in boxes]))
        moved = moved.view(len(moved), -1, 4).expand(-1, probabilities.shape[1], -1)
        kept_features, results = [], []
        parts = zip(boxes, probabilities.split(counts), moved.split(counts), features.split(counts))
        for proposal, scores, places, feature in parts:
            width, height = proposal.size
            places = clip_boxes_to_image(places, (height - 1, width - 1))
            rows, labels = self.choose(scores, places, at_least)
            detected = BoxList(places[rows, labels], proposal.size, "xyxy")
            detected.add_field("pred_scores", scores[rows, labels])
            detected.add_field("pred_labels", labels)
            if relation_mode:
                for field in ("labels", "attributes", "predict_logits"):
                    if proposal.has_field(field):
                        detected.add_field(field, proposal.get_field(field)[rows])
                detected.add_field("boxes_per_cls", places[rows])
            results.append(detected)
            kept_features.append(feature[rows])
        return torch.cat(kept_features), results

    def choose(self, scores: Tensor, places: Tensor, at_least: int = 0) -> tuple[Tensor, Tensor]:
        """Rows (proposals) and classes of one image's detections.

        Args:
            scores: (N, C) probabilities, background first.
            places: (N, C, 4) box of each proposal under each class.
        """
        survives = self._survivors(scores, places)
        if self.nms_filter_duplicates:
            best, label = scores.masked_fill(~survives, 0).max(1)
            rows = best.nonzero().squeeze(1)
            labels = label[rows]
        else:
            labels, rows = survives.t().nonzero().unbind(1)
        if len(rows) > self.detections_per_img > 0:
            found = scores[rows, labels]
            keep = found >= found.topk(self.detections_per_img).values[-1]
            rows, labels = rows[keep], labels[keep]
        if len(rows) < at_least:
            best, label = scores[:, 1:].max(1)
            more = best.index_fill(0, rows, -1.0).argsort(descending=True, stable=True)
            more = more[: min(at_least, len(scores)) - len(rows)]
            rows, labels = torch.cat((rows, more)), torch.cat((labels, label[more] + 1))
        return rows, labels

    def _survivors(self, scores: Tensor, places: Tensor) -> Tensor:
        """(N, C) bool: above the threshold and not suppressed within its class; the background never."""
        above = scores > self.score_thresh
        above[:, 0] = False
        labels, rows = above.t().nonzero().unbind(1)  # by class, then by proposal
        # In float64 the offsets that keep the classes apart in one call do not blur the coordinates.
        keep = batched_nms(
            with_ends(places[rows, labels]).double(), scores[rows, labels].double(), labels, self.nms
        ).sort().values  # fmt: skip
        labels, rows = labels[keep], rows[keep]
        count = torch.bincount(labels, minlength=scores.shape[1])
        rank = torch.arange(len(labels), device=labels.device) - (count.cumsum(0) - count)[labels]
        within = rank < self.post_nms_per_cls_topn if self.post_nms_per_cls_topn > 0 else rank >= 0
        survives = torch.zeros_like(above)
        survives[rows[within], labels[within]] = True
        return survives


def make_roi_box_post_processor(cfg: CfgNode) -> PostProcessor:
    """The post-processor with ``MODEL.ROI_HEADS``' numbers."""
    heads = cfg.MODEL.ROI_HEADS
    return PostProcessor(
        score_thresh=heads.SCORE_THRESH,
        nms=heads.NMS,
        post_nms_per_cls_topn=heads.POST_NMS_PER_CLS_TOPN,
        nms_filter_duplicates=heads.NMS_FILTER_DUPLICATES,
        detections_per_img=heads.DETECTIONS_PER_IMG,
        box_coder=BoxCoder(heads.BBOX_REG_WEIGHTS),
        cls_agnostic_bbox_reg=cfg.MODEL.CLS_AGNOSTIC_BBOX_REG,
    )
