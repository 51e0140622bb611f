"""The batches of a stage: a function of (seed, stage, iteration), so that a run can be resumed anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..errors import HMLError
from .seeding import derive_seed, seeded


class SeededItems(Dataset):
    """Serves ``dataset[index]`` for items ``(index, seed)`` with the generators seeded, whatever the worker count."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: tuple[int, int]):
        index, seed = item
        with seeded(seed):
            return self.dataset[index]

    def __getattr__(self, name: str):
        if name == "dataset":  # unpickling in a worker asks before __init__ has run
            raise AttributeError(name)
        return getattr(self.dataset, name)


class StageBatches(Sampler):
    """Batches of one stage as a pure function of (seed, stage, iteration): resumable anywhere, equal for any ranks.

    Each epoch is a fresh permutation; images are grouped by orientation if asked, and a group's leftover is carried
    into the next epoch. A rank takes every ``world``-th item of the global batch. Yields lists of ``(index, seed)``.

    Args:
        groups: group id per image.
        batch: global batch size, divisible by ``world``.
        iterations: total length; ``len()`` returns it, as the hosts' loops expect.
        start: first iteration to yield (0-based).
        stopped: asked at the start; True yields nothing (the stage had already ended early).
    """

    def __init__(
        self, groups: Sequence[int], batch: int, iterations: int, start: int, seed: tuple[int, int], rank: int = 0,
        world: int = 1, stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        if batch % world:
            raise HMLError(f"SOLVER.IMS_PER_BATCH {batch} is not divisible by the number of processes {world}")
        self.groups = np.asarray(groups)
        self.batch, self.iterations, self.start = batch, iterations, start
        self.seed, self.rank, self.world, self.stopped = seed, rank, world, stopped

    def __len__(self) -> int:
        return self.iterations

    def _batches(self) -> Iterator[list[int]]:
        waiting: dict[int, list[int]] = {}
        epoch = 0
        while True:
            order = np.random.default_rng(derive_seed(*self.seed, 1, epoch)).permutation(len(self.groups))
            for index in order.tolist():
                bucket = waiting.setdefault(int(self.groups[index]), [])
                bucket.append(index)
                if len(bucket) == self.batch:
                    yield bucket
                    waiting[int(self.groups[index])] = []
            epoch += 1

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        if self.stopped():
            return
        for iteration, batch in enumerate(self._batches()):
            if iteration >= self.iterations:
                return
            if iteration >= self.start:
                items = [(index, derive_seed(*self.seed, 2, iteration, at)) for at, index in enumerate(batch)]
                yield items[self.rank :: self.world]


def stage_loader(loader: DataLoader, batches: StageBatches) -> DataLoader:
    """The host's training loader with our batches and seeded items; workers, collation and pinning stay the host's."""
    workers = {}
    if loader.num_workers:
        workers = {"prefetch_factor": loader.prefetch_factor, "persistent_workers": loader.persistent_workers,
                   "multiprocessing_context": loader.multiprocessing_context}
    return DataLoader(
        SeededItems(loader.dataset), batch_sampler=batches, collate_fn=loader.collate_fn,
        num_workers=loader.num_workers, pin_memory=loader.pin_memory, timeout=loader.timeout,
        worker_init_fn=loader.worker_init_fn, generator=torch.Generator(), **workers,
    )
