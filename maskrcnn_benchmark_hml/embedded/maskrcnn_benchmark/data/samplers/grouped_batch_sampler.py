"""Batches whose images have similar shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch.utils.data import BatchSampler, Sampler


class GroupedBatchSampler(BatchSampler):
    """Batches of images of one group, as near to the order of ``sampler`` as that allows.

    A batch takes its place in the order from its first image.

    Args:
        sampler: yields dataset indices.
        group_ids: one integer per image of the dataset.
        drop_uneven: leave out the batches that stay smaller than ``batch_size``.
    """

    def __init__(self, sampler: Sampler, group_ids: Sequence[int], batch_size: int, drop_uneven: bool = False) -> None:
        self.sampler = sampler
        self.group_ids = [int(group) for group in group_ids]
        self.batch_size = batch_size
        self.drop_uneven = drop_uneven

    def _batches(self) -> list[list[int]]:
        batches: list[list[int]] = []
        filling: dict[int, list[int]] = {}
        for index in self.sampler:
            batch = filling.get(self.group_ids[index])
            if batch is None or len(batch) == self.batch_size:
                batch = filling[self.group_ids[index]] = []
                batches.append(batch)
            batch.append(index)
        if self.drop_uneven:
            batches = [batch for batch in batches if len(batch) == self.batch_size]
        return batches

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())

    def __len__(self) -> int:
        return len(self._batches())
