"""Losses of a training step."""

from __future__ import annotations

import torch
from maskrcnn_benchmark.utils.comm import reduce_dict


def reduce_loss_dict(loss_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Mean of each loss over all processes, detached, for logging; the same keys are needed everywhere."""
    return reduce_dict(loss_dict)
