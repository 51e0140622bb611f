"""Batches by iteration number instead of by epoch."""

from __future__ import annotations

from collections.abc import Iterator

from torch.utils.data import BatchSampler

from ..seeding import SeededIndex, derived_seed


class IterationBasedBatchSampler(BatchSampler):
    """The batches of iterations ``start_iter`` .. ``num_iterations - 1``, epoch after epoch.

    Iteration i always has the same images with the same random draws, wherever the run starts: the wrapped sampler's
    order depends on the epoch alone, and each index carries a seed made of (seed, iteration, image).

    Args:
        batch_sampler: yields the *global* batches of one epoch, the same number of them in every epoch; its
            ``sampler`` may have ``set_epoch``.
        seed: of the random draws.
        rank, num_replicas: this process takes its share of each global batch. A batch that does not divide evenly
            is filled up from its own front, so that no process is left without an image.
    """

    def __init__(
        self,
        batch_sampler: BatchSampler,
        num_iterations: int,
        start_iter: int = 0,
        seed: int = 0,
        rank: int = 0,
        num_replicas: int = 1,
    ) -> None:
        self.batch_sampler = batch_sampler
        self.num_iterations = num_iterations
        self.start_iter = start_iter
        self.seed = seed
        self.rank = rank
        self.num_replicas = num_replicas

    def _share(self, batch: list[int]) -> list[int]:
        each = -(-len(batch) // self.num_replicas)
        start = self.rank * each
        return [batch[i % len(batch)] for i in range(start, start + each)]

    def __iter__(self) -> Iterator[list[SeededIndex]]:
        iteration = self.start_iter
        epoch, skip = divmod(iteration, len(self.batch_sampler))
        while iteration < self.num_iterations:
            if hasattr(self.batch_sampler.sampler, "set_epoch"):
                self.batch_sampler.sampler.set_epoch(epoch)
            for number, batch in enumerate(self.batch_sampler):
                if number < skip:
                    continue
                if iteration >= self.num_iterations:
                    return
                yield [SeededIndex(i, derived_seed(self.seed, iteration, i)) for i in self._share(batch)]
                iteration += 1
            epoch, skip = epoch + 1, 0

    def __len__(self) -> int:
        return self.num_iterations
