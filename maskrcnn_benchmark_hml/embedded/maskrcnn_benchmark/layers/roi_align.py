"""RoIAlign at one pyramid level."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.ops import roi_align as torchvision_roi_align


def roi_align(
    features: Tensor, rois: Tensor, output_size: tuple[int, int], scale: float, sampling_ratio: int
) -> Tensor:
    """(B, C, H, W) features and (N, 5) rois -> (N, C, *output_size) in the features' type.

    Args:
        rois: image index, x1, y1, x2, y2 in pixels of the input image.
        scale: size of the feature map over the size of the image, e.g. 1/4.
        sampling_ratio: sample points per bin and axis; 0 lets the size of the box decide.
    """
    # Half precision would round the coordinates to several pixels, so the sampling runs in float32.
    pooled = torchvision_roi_align(features.float(), rois.float(), output_size, scale, sampling_ratio, aligned=False)
    return pooled.to(features.dtype)


class ROIAlign(nn.Module):
    """:func:`roi_align` with its settings bound."""

    def __init__(self, output_size: tuple[int, int], spatial_scale: float, sampling_ratio: int) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        return roi_align(features, rois, self.output_size, self.spatial_scale, self.sampling_ratio)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, scale={self.spatial_scale}, sampling_ratio={self.sampling_ratio}"
