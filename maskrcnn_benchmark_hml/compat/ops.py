"""The compiled extension ``maskrcnn_benchmark._C``, over torchvision's operators, with the host's conventions.

The host's boxes include their last pixel: a box ``x1, y1, x2, y2`` is ``x2 - x1 + 1`` wide. RoI pooling follows the
Detectron rules (``aligned=False``). Gradients are computed by torchvision's own backward kernels, because the host
calls forward and backward separately from its ``autograd.Function``.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, Callable

import torch
import torchvision

from ..errors import HMLError

WITHOUT_EQUIVALENT = (
    "sigmoid_focalloss_forward",
    "sigmoid_focalloss_backward",
    "deform_conv_forward",
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "modulated_deform_conv_forward",
    "modulated_deform_conv_backward",
    "deform_psroi_pooling_forward",
    "deform_psroi_pooling_backward",
)


def nms(boxes: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    """Indices (in ascending order) of the inclusive boxes (N, 4) that non-maximum suppression keeps; N may be 0."""
    if boxes.numel() == 0:
        return torch.empty(0, dtype=torch.long, device=boxes.device)
    exclusive = torch.cat([boxes[:, :2], boxes[:, 2:] + 1], dim=1)
    return torchvision.ops.nms(exclusive, scores.to(exclusive.dtype), float(threshold)).sort().values


def roi_align_forward(
    features: torch.Tensor, rois: torch.Tensor, spatial_scale: float, height: int, width: int, sampling_ratio: int
) -> torch.Tensor:
    """RoIAlign of ``features`` (B, C, H, W) at ``rois`` (R, 5: image, x1, y1, x2, y2) -> (R, C, height, width)."""
    return torchvision.ops.roi_align(
        features, rois.to(features.dtype), (height, width), spatial_scale, sampling_ratio, aligned=False
    )


def roi_align_backward(
    grad: torch.Tensor,
    rois: torch.Tensor,
    spatial_scale: float,
    height: int,
    width: int,
    batch: int,
    channels: int,
    feature_height: int,
    feature_width: int,
    sampling_ratio: int,
) -> torch.Tensor:
    """Gradient of :func:`roi_align_forward` with respect to the features."""
    size = (height, width, batch, channels, feature_height, feature_width)
    kernel = torch.ops.torchvision._roi_align_backward
    return kernel(grad.contiguous(), rois.to(grad.dtype), spatial_scale, *size, sampling_ratio, False)


def roi_pool_forward(
    features: torch.Tensor, rois: torch.Tensor, spatial_scale: float, height: int, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Max RoI pooling -> values (R, C, height, width) and the index of each maximum, for the backward pass."""
    return torch.ops.torchvision.roi_pool(features, rois.to(features.dtype), spatial_scale, height, width)


def roi_pool_backward(
    grad: torch.Tensor,
    features: torch.Tensor,
    rois: torch.Tensor,
    argmax: torch.Tensor,
    spatial_scale: float,
    height: int,
    width: int,
    batch: int,
    channels: int,
    feature_height: int,
    feature_width: int,
) -> torch.Tensor:
    """Gradient of :func:`roi_pool_forward` with respect to the features."""
    size = (height, width, batch, channels, feature_height, feature_width)
    kernel = torch.ops.torchvision._roi_pool_backward
    return kernel(grad.contiguous(), rois.to(grad.dtype), argmax, spatial_scale, *size)


def _refuse(name: str) -> Callable[..., Any]:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise HMLError(
            f"maskrcnn_benchmark._C.{name} has no equivalent in torchvision; no relation config needs it: "
            "turn that layer off in the config, or build the benchmark's extension"
        )

    refused.__name__ = name
    return refused


def make_module(name: str = "maskrcnn_benchmark._C") -> ModuleType:
    """A module with every function of the compiled extension; those without an equivalent raise when called."""
    module = ModuleType(name, "maskrcnn_benchmark._C over torchvision.ops")
    for function in (nms, roi_align_forward, roi_align_backward, roi_pool_forward, roi_pool_backward):
        setattr(module, function.__name__, function)
    for missing in WITHOUT_EQUIVALENT:
        setattr(module, missing, _refuse(missing))
    return module
