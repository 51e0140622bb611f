"""Both backbones: shapes, frozen randomness."""

from __future__ import annotations

import torch
from maskrcnn_benchmark.modeling.backbone import build_backbone
from torchvision.ops.misc import FrozenBatchNorm2d


def test_the_tiny_pyramid_is_the_same_everywhere_and_draws_nothing(make_cfg, images):
    state = torch.get_rng_state()
    first = build_backbone(make_cfg())
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    second = build_backbone(make_cfg())
    maps = first(images)
    assert [tuple(m.shape) for m in maps] == [(2, 8, 16, 24), (2, 8, 8, 12)]
    assert all(torch.equal(a, b) for a, b in zip(maps, second(images)))
    assert all(0.05 < m.std() < 20 for m in maps)


def test_the_tiny_pyramid_takes_either_range_of_pixels(make_cfg, images):
    wide = build_backbone(make_cfg())
    narrow = build_backbone(make_cfg({"INPUT.TO_BGR255": False}))
    for a, b in zip(wide(images), narrow(images / 255)):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_resnext_101_32x8d_fpn_has_five_levels(make_cfg):
    changes = {
        "MODEL.BACKBONE.CONV_BODY": "R-101-FPN",
        "MODEL.RESNETS.NUM_GROUPS": 32,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 256,
    }
    with torch.device("meta"):  # shapes without 90 million numbers
        backbone = build_backbone(make_cfg(changes))
        maps = backbone(torch.empty(1, 3, 128, 192))
    assert backbone.out_channels == 256
    assert [tuple(m.shape[1:]) for m in maps] == [
        (256, 32, 48), (256, 16, 24), (256, 8, 12), (256, 4, 6), (256, 2, 3)
    ]  # fmt: skip
    assert not [m for m in backbone.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert sum(isinstance(m, FrozenBatchNorm2d) for m in backbone.modules()) == 104
    assert sum(p.numel() for p in backbone.body.parameters()) == 88_791_336 - 2048 * 1000 - 1000 - 2 * 101_440
