"""A small pyramid for the demo and the tests."""

from __future__ import annotations

from itertools import accumulate

import torch
from maskrcnn_benchmark.modeling import registry
from torch import Tensor, nn
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

SEED = 20220  # the weights are part of the definition, not of a run
FINEST_STRIDE = 4


class TinyFPN(nn.Module):
    """Orthogonal convolutions with ReLU and a feature pyramid: nothing to download, and below a relation head nothing
    to train. A detector trains it from these weights, all of it.

    Random filters keep colour, edges and position apart well enough for drawn scenes; they know nothing of photographs.
    The same numbers come out in every process and run.

    Args:
        levels: maps, strides 4, 8, ...
        channels: channels of every map.
        pixel_range: largest minus smallest pixel value (255 or 1); the first layer divides by a quarter of it, so that
            the maps are of order 1.
    """

    def __init__(self, levels: int, channels: int, pixel_range: float) -> None:
        super().__init__()
        self.out_channels = channels
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(SEED)
            stem = nn.Sequential(_down(3, channels, kernel=5), _down(channels, channels))
            self.body = nn.ModuleList([stem, *(_down(channels, channels) for _ in range(levels - 1))])
            self.fpn = FeaturePyramidNetwork([channels] * levels, channels)
            for layer in self.fpn.modules():
                if isinstance(layer, nn.Conv2d):
                    nn.init.orthogonal_(layer.weight)
                    nn.init.zeros_(layer.bias)
            with torch.no_grad():
                stem[0][0].weight.mul_(4.0 / pixel_range)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = list(accumulate(self.body, lambda x, stage: stage(x), initial=images))[1:]
        return tuple(self.fpn({str(i): m for i, m in enumerate(maps)}).values())


def _down(channels_in: int, channels_out: int, kernel: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels_out, kernel, stride=2, padding=kernel // 2)
    nn.init.orthogonal_(conv.weight, gain=2**0.5)
    nn.init.zeros_(conv.bias)
    return nn.Sequential(conv, nn.ReLU(inplace=True))


@registry.BACKBONES.register("HML-TINY-FPN")
def build_tiny_fpn(cfg: CfgNode) -> TinyFPN:
    """As many levels as ``MODEL.ROI_BOX_HEAD.POOLER_SCALES`` has, ``MODEL.RESNETS.BACKBONE_OUT_CHANNELS`` wide.

    Raises:
        HMLError: the scales are not 1/4, 1/8, ...
    """
    scales = tuple(cfg.MODEL.ROI_BOX_HEAD.POOLER_SCALES)
    expected = tuple(1.0 / (FINEST_STRIDE * 2**i) for i in range(len(scales)))
    if scales != expected or not scales:
        raise HMLError(
            f"MODEL.ROI_BOX_HEAD.POOLER_SCALES is {scales}, but HML-TINY-FPN has strides 4, 8, 16, ...; "
            "use (0.25,), (0.25, 0.125) and so on"
        )
    return TinyFPN(len(scales), cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS, 255.0 if cfg.INPUT.TO_BGR255 else 1.0)
