"""Operations on one or two ``BoxList``: overlap, union, suppression, concatenation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import nms

from .bounding_box import TO_REMOVE, BoxList


def boxlist_nms(
    boxlist: BoxList, nms_thresh: float, max_proposals: int = -1, score_field: str = "scores"
) -> tuple[BoxList, Tensor]:
    """Greedy non-maximum suppression.

    Args:
        nms_thresh: a box goes when its IoU with a better one exceeds this; <= 0 keeps every box.
        max_proposals: keep at most this many; -1: no limit.

    Returns:
        The kept boxes and their indices, both in the order of ``boxlist`` (not of the scores), as compiled
        detectors of this family return them; with ``max_proposals`` the first of that order.
    """
    if nms_thresh <= 0:
        return boxlist, torch.arange(len(boxlist), device=boxlist.bbox.device)
    corners = boxlist.convert("xyxy").bbox
    # torchvision's boxes end where the last pixel ends, ours at its coordinate.
    ends = torch.cat((corners[:, :2], corners[:, 2:] + TO_REMOVE), dim=1)
    keep = nms(ends, boxlist.get_field(score_field).float(), nms_thresh).sort().values
    if max_proposals > 0:
        keep = keep[:max_proposals]
    return boxlist[keep], keep


def remove_small_boxes(boxlist: BoxList, min_size: float) -> BoxList:
    """The boxes with both sides >= ``min_size`` pixels."""
    sides = boxlist.convert("xywh").bbox[:, 2:]
    return boxlist[(sides >= min_size).all(dim=1).nonzero().squeeze(1)]


def boxlist_iou(boxlist1: BoxList, boxlist2: BoxList) -> Tensor:
    """(N, M) intersection over union of every pair, boxes inclusive; both lists of the same image size."""
    if tuple(boxlist1.size) != tuple(boxlist2.size):
        raise ValueError(f"boxes of two image sizes, {boxlist1.size} and {boxlist2.size}; resize one first")
    one, two = boxlist1.convert("xyxy"), boxlist2.convert("xyxy")
    low = torch.maximum(one.bbox[:, None, :2], two.bbox[:, :2])
    high = torch.minimum(one.bbox[:, None, 2:], two.bbox[:, 2:])
    width, height = (high - low + TO_REMOVE).clamp(min=0).unbind(dim=2)
    shared = width * height
    return shared / (one.area()[:, None] + two.area() - shared)


def boxlist_union(boxlist1: BoxList, boxlist2: BoxList) -> BoxList:
    """(N, 4) row by row, the smallest box around both."""
    one, two = _paired(boxlist1, boxlist2)
    low = torch.minimum(one[:, :2], two[:, :2])
    high = torch.maximum(one[:, 2:], two[:, 2:])
    return BoxList(torch.cat((low, high), dim=1), boxlist1.size, "xyxy")


def boxlist_intersection(boxlist1: BoxList, boxlist2: BoxList) -> BoxList:
    """(N, 4) row by row, the shared box; all zeros where it has no positive width and height."""
    one, two = _paired(boxlist1, boxlist2)
    low = torch.maximum(one[:, :2], two[:, :2])
    high = torch.minimum(one[:, 2:], two[:, 2:])
    proper = (low < high).all(dim=1, keepdim=True)
    return BoxList(torch.cat((low, high), dim=1) * proper, boxlist1.size, "xyxy")


def _paired(boxlist1: BoxList, boxlist2: BoxList) -> tuple[Tensor, Tensor]:
    if len(boxlist1) != len(boxlist2) or tuple(boxlist1.size) != tuple(boxlist2.size):
        raise ValueError(f"{boxlist1} and {boxlist2} cannot be paired row by row; give equal lengths and image sizes")
    return boxlist1.convert("xyxy").bbox, boxlist2.convert("xyxy").bbox


def cat_boxlist(bboxes: Sequence[BoxList]) -> BoxList:
    """One list of all boxes of the same image. A triplet field becomes block-diagonal: lists are not related."""
    first = bboxes[0]
    for other in bboxes[1:]:
        same = tuple(other.size) == tuple(first.size) and other.mode == first.mode
        if not same or set(other.fields()) != set(first.fields()):
            raise ValueError(f"{first} and {other} cannot be joined; give equal image sizes, modes and fields")
    result = BoxList(torch.cat([b.bbox for b in bboxes]), first.size, first.mode)
    for field in first.fields():
        values = [b.get_field(field) for b in bboxes]
        if field in first.triplet_extra_fields:
            result.add_field(field, torch.block_diag(*values), is_triplet=True)
        else:
            result.add_field(field, torch.cat(values))
    return result
