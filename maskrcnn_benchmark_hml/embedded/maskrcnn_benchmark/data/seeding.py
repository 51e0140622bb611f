"""Randomness of one sample as a function of (seed, iteration, image), in whichever process it is drawn.

The batch sampler hands out ``SeededIndex`` instead of plain integers, and the dataset draws flips, sizes and duplicate
predicates inside ``drawn_from(index.seed)``. A resumed run therefore sees the very samples of an uninterrupted one, and
the number of workers does not matter.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


class SeededIndex(int):
    """An index into a dataset that also carries the seed for drawing that sample."""

    seed: int

    def __new__(cls, index: int, seed: int) -> SeededIndex:
        result = super().__new__(cls, index)
        result.seed = seed
        return result

    def __getnewargs__(self) -> tuple[int, int]:
        return int(self), self.seed


def derived_seed(*parts: int) -> int:
    """A number in [0, 2**32) from, say, (seed, epoch) or (seed, iteration, image).

    32 bits, because torch's CPU generator ignores the bits above.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little")


@contextmanager
def drawn_from(seed: int | None) -> Iterator[None]:
    """Seeds Python's, numpy's and torch's generators inside the block, puts them back after it; None: does nothing."""
    if seed is None:
        yield
        return
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
