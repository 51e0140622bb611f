"""ResNet and ResNeXt with a feature pyramid, the residual network from torchvision.

Parameter names are those of published detectors of this family, so their checkpoints load and ours load there.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial

import torch
from maskrcnn_benchmark.layers import PointwiseConv2d
from maskrcnn_benchmark.modeling import registry
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.misc import FrozenBatchNorm2d
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

BLOCKS = {"R-50-FPN": (3, 4, 6, 3), "R-101-FPN": (3, 4, 23, 3), "R-152-FPN": (3, 8, 36, 3)}
STAGE_CHANNELS = (256, 512, 1024, 2048)


class Body(nn.Module):
    """torchvision's residual network without its classifier: maps of strides 4, 8, 16, 32. Batch norm is frozen."""

    def __init__(self, blocks: Sequence[int], groups: int, width_per_group: int) -> None:
        super().__init__()
        # With frozen batch norm nothing holds back the sum over 33 residual branches, so they start at zero: the
        # maps stay finite until trained weights are loaded.
        network = ResNet(
            Bottleneck,
            list(blocks),
            groups=groups,
            width_per_group=width_per_group,
            norm_layer=partial(FrozenBatchNorm2d, eps=0.0),  # published detectors' variances include it
            zero_init_residual=True,
        )
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
                layer.__class__ = PointwiseConv2d  # the same layer, computed faster
        stem = OrderedDict(conv1=network.conv1, bn1=network.bn1, relu=network.relu, maxpool=network.maxpool)
        self.stem = nn.Sequential(stem)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            network.layer1, network.layer2, network.layer3, network.layer4
        )  # fmt: skip

    def freeze(self, stages: int) -> None:
        """Stop the training of the stem (1) and of ``stages`` - 1 residual stages after it."""
        for part in list(self.children())[: max(stages, 0)]:
            part.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        if images.device.type == "cpu":
            images = images.contiguous(memory_format=torch.channels_last)
        maps = [self.stem(images)]
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps.append(stage(maps[-1]))
        return maps[1:]


class Pyramid(nn.Module):
    """Top-down pyramid (Lin et al., Feature Pyramid Networks, CVPR 2017): one map per stage and a coarser one."""

    def __init__(self, in_channels: Sequence[int], out_channels: int) -> None:
        super().__init__()
        self.levels = len(in_channels)
        for level, channels in enumerate(in_channels, 1):
            for name, conv in (
                (f"fpn_inner{level}", PointwiseConv2d(channels, out_channels, 1)),
                (f"fpn_layer{level}", nn.Conv2d(out_channels, out_channels, 3, padding=1)),
            ):
                nn.init.kaiming_uniform_(conv.weight, a=1)
                nn.init.zeros_(conv.bias)
                self.add_module(name, conv)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        above, pyramid = None, []
        for level in range(self.levels, 0, -1):
            merged = getattr(self, f"fpn_inner{level}")(maps[level - 1])
            if above is not None:
                merged = merged + F.interpolate(above, size=merged.shape[-2:], mode="nearest")
            above = merged
            # RoI pooling reads maps channel by channel, several times
            pyramid.insert(0, getattr(self, f"fpn_layer{level}")(merged).contiguous())
        return (*pyramid, F.max_pool2d(pyramid[-1], kernel_size=1, stride=2))


class ResNetFPN(nn.Module):
    """Maps P2 to P6 (strides 4, 8, 16, 32, 64), each with ``out_channels`` channels."""

    def __init__(self, blocks: Sequence[int], groups: int, width_per_group: int, out_channels: int) -> None:
        super().__init__()
        self.out_channels = out_channels
        self.body = Body(blocks, groups, width_per_group)
        self.fpn = Pyramid(STAGE_CHANNELS, out_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.fpn(self.body(images))


@registry.BACKBONES.register("R-50-FPN")
@registry.BACKBONES.register("R-101-FPN")
@registry.BACKBONES.register("R-152-FPN")
def build_resnet_fpn(cfg: CfgNode) -> ResNetFPN:
    """``MODEL.RESNETS`` with NUM_GROUPS 32 and WIDTH_PER_GROUP 8 on R-101-FPN is ResNeXt-101-32x8d-FPN.

    Raises:
        HMLError: an option that torchvision's network does not have.
    """
    resnets, fpn = cfg.MODEL.RESNETS, cfg.MODEL.FPN
    fixed = {
        "MODEL.RESNETS.STRIDE_IN_1X1": (resnets.STRIDE_IN_1X1, False),
        "MODEL.RESNETS.RES5_DILATION": (resnets.RES5_DILATION, 1),
        "MODEL.RESNETS.RES2_OUT_CHANNELS": (resnets.RES2_OUT_CHANNELS, 256),
        "MODEL.RESNETS.STEM_OUT_CHANNELS": (resnets.STEM_OUT_CHANNELS, 64),
        "MODEL.FPN.USE_GN": (fpn.USE_GN, False),
        "MODEL.FPN.USE_RELU": (fpn.USE_RELU, False),
    }
    for key, (value, required) in fixed.items():
        if value != required:
            raise HMLError(
                f"{key} is {value}, but {cfg.MODEL.BACKBONE.CONV_BODY} exists only with {required}; set that"
            )
    backbone = ResNetFPN(
        BLOCKS[cfg.MODEL.BACKBONE.CONV_BODY],
        resnets.NUM_GROUPS,
        resnets.WIDTH_PER_GROUP,
        resnets.BACKBONE_OUT_CHANNELS,
    )
    backbone.body.freeze(cfg.MODEL.BACKBONE.FREEZE_CONV_BODY_AT)
    return backbone
