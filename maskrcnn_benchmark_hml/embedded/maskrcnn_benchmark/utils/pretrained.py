"""Weights from elsewhere: ImageNet networks of torchvision and published detectors.

Which file holds what:

=============================================  =====================================================================
name in the file                               name here
=============================================  =====================================================================
torchvision ``conv1.*``, ``bn1.*``             ``backbone.body.stem.conv1.*``, ``backbone.body.stem.bn1.*``
torchvision ``layer1.*`` .. ``layer4.*``       ``backbone.body.layer1.*`` .. ``backbone.body.layer4.*``
torchvision ``*.running_var``                  plus 1e-5, the constant that its normalisation adds and ours does not
torchvision ``fc.*``, ``*num_batches_tracked`` not used
detector ``backbone.*``, ``rpn.head.*``,       the same: ``backbone.body.stem``, ``backbone.body.layer1`` ..,
``roi_heads.box.*``                            ``backbone.fpn.fpn_inner1`` .., ``backbone.fpn.fpn_layer1`` ..
detector ``rpn.anchor_generator.*``            not loaded, but compared with ``MODEL.RPN``
=============================================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from maskrcnn_benchmark.utils.model_serialization import strip_wrapper
from torch import Tensor

from maskrcnn_benchmark_hml.errors import HMLError

IMAGENET_EPS = 1e-5
ANCHORS = "rpn.anchor_generator.cell_anchors."
NOT_IN_IMAGENET = ("backbone.fpn", "rpn", "roi_heads")


def from_imagenet(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the names of a torchvision residual network."""
    return "conv1.weight" in state and "layer4.0.conv1.weight" in state


def imagenet_body(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A torchvision residual network's weights under the names of our backbone."""
    body = {}
    for name, value in state.items():
        if name.startswith("fc.") or name.endswith("num_batches_tracked"):
            continue
        if name.endswith("running_var"):
            value = value + IMAGENET_EPS
        body[("backbone.body." if name.startswith("layer") else "backbone.body.stem.") + name] = value
    return body


def translated(state: Mapping[str, Tensor], anchors: Sequence[Tensor] = ()) -> dict[str, Tensor]:
    """A file's weights under our names.

    Args:
        anchors: per level the model's anchors of one cell, to compare with those of the file; none: not compared.

    Raises:
        HMLError: the detector was trained with other anchors.
    """
    state = strip_wrapper(state)
    if from_imagenet(state):
        return imagenet_body(state)
    theirs = [state[name] for name in sorted(state) if name.startswith(ANCHORS)]
    if theirs and len(anchors) and not _same(theirs, anchors):
        raise HMLError(
            "the detector in the checkpoint has other anchors than this configuration; set MODEL.RPN.ANCHOR_SIZES, "
            "ANCHOR_STRIDE and ASPECT_RATIOS to what it was trained with"
        )
    return {name: value for name, value in state.items() if not name.startswith(ANCHORS)}


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    pairs = [(a.float().cpu(), b.float().cpu()) for a, b in zip(one, other)]
    return len(one) == len(other) and all(a.shape == b.shape and torch.allclose(a, b, atol=1e-3) for a, b in pairs)
