"""Every process's share of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import torch
from maskrcnn_benchmark.utils.comm import get_rank, get_world_size
from torch.utils.data import Sampler

from ..seeding import derived_seed


class DistributedSampler(Sampler):
    """A consecutive share of the dataset for one process; the shares have equal lengths.

    The end is filled up with images from the front, so ``num_replicas * len(self) >= len(dataset)``.

    Args:
        num_replicas, rank: how many processes and which this is; default: those of the process group.
        shuffle: permute the dataset by (seed, epoch) before sharing it out.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        self.dataset = dataset
        self.num_replicas = get_world_size() if num_replicas is None else num_replicas
        self.rank = get_rank() if rank is None else rank
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0
        self.num_samples = -(-len(dataset) // self.num_replicas)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, self.epoch))
            order = torch.randperm(size, generator=generator)
        else:
            order = torch.arange(size)
        start = self.rank * self.num_samples
        return iter(order[torch.arange(start, start + self.num_samples) % size].tolist())

    def __len__(self) -> int:
        return self.num_samples
