"""Small helpers of the model's parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from maskrcnn_benchmark_hml.errors import HMLError


def cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """``torch.cat`` that hands a single tensor back without copying it."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tuple(tensors), dim)


def lookup(registry: dict[str, Callable], name: str, key: str) -> Callable:
    """The registered builder of ``name``.

    Raises:
        HMLError: nothing is registered under that name; the message lists what is.
    """
    if name not in registry:
        raise HMLError(f"{key} is {name!r}, which is not known; use one of: {', '.join(sorted(registry))}")
    return registry[name]


def lengths_of(items: Sequence, device: torch.device) -> Tensor:
    """(B,) number of elements per image, int64."""
    return torch.tensor([len(item) for item in items], dtype=torch.int64, device=device)


def global_pair_index(pairs: Sequence[Tensor], num_objs: Sequence[int]) -> Tensor:
    """(P, 2) subject and object rows in the batch's concatenated objects.

    Args:
        pairs: per image (P_i, 2) indices within the image.
        num_objs: objects per image.
    """
    device = pairs[0].device
    counts = torch.tensor(list(num_objs), dtype=torch.int64, device=device)
    first = counts.cumsum(0) - counts
    return cat(pairs, 0) + first.repeat_interleave(lengths_of(pairs, device))[:, None]
