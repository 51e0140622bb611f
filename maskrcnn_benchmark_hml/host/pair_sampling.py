"""The policy ``only`` in the host's pair sampler: ignored pairs are not sampled and take no place of those that are.

The host's sampler is asked for all pairs that it could return, by raising its two sizes for the length of the call;
then the stage's rows are drawn from these by the sizes as set. So the host's own matching, labels and binary matrices
(in which an ignored pair is still related) stay as they are.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..training.data import draw_stage_rows
from . import hook_points

_log = logging.getLogger("maskrcnn_benchmark.hml")
_ALL = 1 << 40


def leave_out_ignored(processor: Any, labels: Sequence[int]) -> None:
    """Wrap the samplers of a relation head's ``samp_processor``.

    Args:
        labels: the stage's classes; pairs with other labels but background are ignored.
    """
    sized = all(hasattr(processor, name) for name in hook_points.SAMPLER_SIZES)
    if not sized:
        _log.warning("HML: the pair sampler has no %s; under the label policy 'only' ignored pairs therefore reduce "
                     "the number of sampled pairs", " and ".join(hook_points.SAMPLER_SIZES))
    for name in hook_points.SAMPLERS:
        sample = getattr(processor, name, None)
        if sample is not None:
            setattr(processor, name, _stage_sampler(processor, sample, labels, sized))


def _stage_sampler(processor: Any, sample: Callable, labels: Sequence[int], sized: bool) -> Callable:
    @functools.wraps(sample)
    def sampler(*args, **kwargs):
        if not sized:
            return draw_stage_rows(sample(*args, **kwargs), labels)
        with _unlimited(processor) as (total, fraction):
            sampled = sample(*args, **kwargs)
        return draw_stage_rows(sampled, labels, int(total * fraction), total)

    return sampler


@contextlib.contextmanager
def _unlimited(processor: Any) -> Iterator[tuple[int, float]]:
    """The sampler's sizes, which are large enough for all pairs inside the block."""
    sizes = tuple(getattr(processor, name) for name in hook_points.SAMPLER_SIZES)
    for name, value in zip(hook_points.SAMPLER_SIZES, (_ALL, 0.5)):
        setattr(processor, name, value)
    try:
        yield sizes
    finally:
        for name, value in zip(hook_points.SAMPLER_SIZES, sizes):
            setattr(processor, name, value)
