"""Rows of several images side by side, and the same rows padded to one block per image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Padding:
    """Moves values between a row per object and a block per image.

    Args:
        counts: objects per image, N in all, n at most.

    Attributes:
        mask: (B, n) bool, which cells hold an object.
        image: (N,) image of each row.
    """

    def __init__(self, counts: Sequence[int], device: torch.device) -> None:
        self.counts = list(counts)
        self.size = max(self.counts)
        lengths = torch.tensor(self.counts, device=device)
        self.mask = torch.arange(self.size, device=device) < lengths[:, None]
        self.image, slot = self.mask.nonzero().unbind(1)
        self._cell = self.image * self.size + slot

    def pad(self, rows: Tensor) -> Tensor:
        """(N, ...) -> (B, n, ...), zero where there is no object."""
        cells = len(self.counts) * self.size
        if cells != len(rows):
            rows = rows.new_zeros(cells, *rows.shape[1:]).index_copy(0, self._cell, rows)
        return rows.view(len(self.counts), self.size, *rows.shape[1:])

    def unpad(self, blocks: Tensor) -> Tensor:
        """(B, n, ...) -> (N, ...)."""
        return blocks.flatten(0, 1).index_select(0, self._cell)

    def blocks(self, padded: Tensor) -> tuple[Tensor, ...]:
        """(B, n, n) -> per image (N_i, N_i)."""
        return tuple(block[:count, :count] for block, count in zip(padded, self.counts))
