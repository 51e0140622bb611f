"""ResNet and ResNeXt with a feature pyramid, from torchvision."""

from __future__ import annotations

from maskrcnn_benchmark.modeling import registry
from torch import Tensor
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from torchvision.ops.misc import FrozenBatchNorm2d
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError

BLOCKS = {"R-50-FPN": (3, 4, 6, 3), "R-101-FPN": (3, 4, 23, 3), "R-152-FPN": (3, 8, 36, 3)}


class ResNetFPN(BackboneWithFPN):
    """Maps P2 to P6 (strides 4, 8, 16, 32, 64), each with ``out_channels`` channels; batch norm is frozen."""

    def __init__(self, blocks: tuple[int, ...], groups: int, width_per_group: int, out_channels: int) -> None:
        # With frozen batch norm nothing holds back the sum over 33 residual branches, so they start at zero: the
        # maps stay finite until trained weights are loaded.
        body = ResNet(
            Bottleneck,
            list(blocks),
            groups=groups,
            width_per_group=width_per_group,
            norm_layer=FrozenBatchNorm2d,
            zero_init_residual=True,
        )
        stages = {f"layer{i}": str(i - 1) for i in range(1, 5)}
        super().__init__(body, stages, [256, 512, 1024, 2048], out_channels, extra_blocks=LastLevelMaxPool())

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(super().forward(images).values())


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
    return ResNetFPN(
        BLOCKS[cfg.MODEL.BACKBONE.CONV_BODY],
        resnets.NUM_GROUPS,
        resnets.WIDTH_PER_GROUP,
        resnets.BACKBONE_OUT_CHANNELS,
    )
