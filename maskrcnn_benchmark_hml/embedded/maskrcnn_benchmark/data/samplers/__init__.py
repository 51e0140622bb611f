"""Which images come together, and in which order: a pure function of (seed, iteration)."""

from .distributed import DistributedSampler
from .grouped_batch_sampler import GroupedBatchSampler
from .iteration_based_batch_sampler import IterationBasedBatchSampler
from .shuffled import ShuffledSampler

__all__ = ["DistributedSampler", "GroupedBatchSampler", "IterationBasedBatchSampler", "ShuffledSampler"]
