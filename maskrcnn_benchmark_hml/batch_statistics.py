"""Fine-tuning keeps the statistics of batch normalisation: small batches would wear off those of a long training."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def keep_batch_statistics(head: nn.Module) -> None:
    """Let the batch normalisation in ``head`` normalise by its running statistics and leave them; weights still train.

    For one forward: ``head.train()`` undoes it.
    """
    for module in head.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
