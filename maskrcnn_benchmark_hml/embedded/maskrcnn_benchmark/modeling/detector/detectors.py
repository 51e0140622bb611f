"""Builds the model that a config describes."""

from __future__ import annotations

from maskrcnn_benchmark.modeling.detector.generalized_rcnn import GeneralizedRCNN
from maskrcnn_benchmark.modeling.utils import lookup
from torch import nn
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

META_ARCHITECTURES = {"GeneralizedRCNN": GeneralizedRCNN}
UNSUPPORTED = ("ATTRIBUTE_ON", "MASK_ON", "KEYPOINT_ON", "RETINANET_ON", "RPN_ONLY")


def build_detection_model(cfg: CfgNode) -> nn.Module:
    """The model on the CPU, in training mode.

    Raises:
        HMLError: an unknown name or an option that the embedded benchmark does not have.
    """
    for option in UNSUPPORTED:
        if cfg.MODEL[option]:
            raise HMLError(f"MODEL.{option} is True, but the bundled benchmark does not have it; set it to False")
    return lookup(META_ARCHITECTURES, cfg.MODEL.META_ARCHITECTURE, "MODEL.META_ARCHITECTURE")(cfg)
