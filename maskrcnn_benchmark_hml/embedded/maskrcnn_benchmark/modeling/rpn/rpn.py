"""The source of the boxes that the heads work on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor, nn
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList
    from maskrcnn_benchmark.structures.image_list import ImageList


class GivenBoxes(nn.Module):
    """The annotated boxes as proposals: in PredCls and SGCls they are part of the input, so nothing is proposed."""

    def forward(
        self, images: ImageList, features: Sequence[Tensor], targets: Sequence[BoxList] | None = None
    ) -> tuple[list[BoxList], dict[str, Tensor]]:
        """Proposals with the fields ``labels`` and, if annotated, ``attributes``; and no losses.

        Raises:
            HMLError: no targets were passed.
        """
        if targets is None:
            raise HMLError("PredCls and SGCls take the annotated boxes as input; pass the targets in testing too")
        return [target.copy_with_fields(["labels", "attributes"], skip_missing=True) for target in targets], {}


def build_rpn(cfg: CfgNode, in_channels: int) -> nn.Module:
    """A module ``f(images, features, targets) -> (proposals, losses)``.

    Raises:
        HMLError: the config asks for detected boxes (SGDet).
    """
    if not cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX:
        raise HMLError(
            "MODEL.ROI_RELATION_HEAD.USE_GT_BOX is False (SGDet), but the embedded benchmark has no detector yet; "
            "set it to True, or pass a benchmark checkout with --sgb"
        )
    return GivenBoxes()
