"""Pairs in chunks at test: N boxes have N (N - 1) pairs, and what is computed for each is not held for all at once.

Only within the relation head's own test forward: in training all pairs of a batch are sampled ones and stay together,
those that HML hands to a teacher (in eval mode) too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

#: Most pairs at once: those of 91 boxes.
PAIRS_AT_ONCE = 8192
_limit: ContextVar[int | None] = ContextVar("pairs_at_once", default=None)


@contextmanager
def pairs_in_chunks(of_test: bool) -> Iterator[None]:
    """While entered in a test, :func:`chunk_size` is the limit; otherwise nothing is cut."""
    token = _limit.set(PAIRS_AT_ONCE if of_test else None)
    try:
        yield
    finally:
        _limit.reset(token)


def chunk_size(pairs: int) -> int | None:
    """The most pairs at once if so many pairs are to be cut into chunks, else None."""
    limit = _limit.get()
    return limit if limit is not None and pairs > limit else None


def by_chunks(
    logits: Callable[[Tensor, Tensor | None], Tensor], pairs: Tensor, union_features: Tensor | None
) -> Tensor:
    """``logits(pairs, union_features)``, (P, R), for all pairs (P, 2) or chunk by chunk."""
    size = chunk_size(len(pairs))
    if size is None:
        return logits(pairs, union_features)
    parts = pairs.split(size)
    features = [None] * len(parts) if union_features is None else union_features.split(size)
    return torch.cat([logits(part, feature) for part, feature in zip(parts, features)])
