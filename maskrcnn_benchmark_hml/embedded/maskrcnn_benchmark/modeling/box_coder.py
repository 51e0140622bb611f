"""Box offsets, by torchvision's coder, for boxes that include their last pixel."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from maskrcnn_benchmark.structures.bounding_box import TO_REMOVE
from torch import Tensor
from torchvision.models.detection import _utils as det_utils


def with_ends(boxes: Tensor) -> Tensor:
    """(..., 4) boxes that end *at* their last pixel -> boxes that end *after* it, as torchvision reads them."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] + TO_REMOVE), -1)


class BoxCoder(det_utils.BoxCoder):
    """Offsets (dx, dy, dw, dh) of Girshick et al., R-CNN (CVPR 2014), eq. 1-4 and 6-9, times ``weights``.

    dw and dh are cut at log(1000 / 16) when decoding.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        super().__init__(tuple(float(w) for w in weights))

    def encode(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        """(N, 4) true boxes and (N, 4) proposals -> (N, 4) offsets that move the latter onto the former."""
        return self.encode_single(with_ends(reference_boxes), with_ends(proposals))

    def decode(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """(N, 4 k) offsets and (N, 4) boxes -> (N, 4 k) moved boxes."""
        moved = self.decode_single(rel_codes, with_ends(boxes).to(rel_codes.dtype))
        return (moved.reshape(len(rel_codes), -1, 4) - moved.new_tensor([0, 0, TO_REMOVE, TO_REMOVE])).flatten(1)
