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

import torch

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


def draw_stage_rows(
    sampled: tuple, labels: Sequence[int], positives: int | None = None, total: int | None = None
) -> tuple:
    """The stage's rows of what a host's relation sampler returned, without the ignored pairs (policy ``only``).

    Rows whose label is neither background nor one of the stage's go, from the labels (item 1), the pairs (item 2) and
    every further list with one row per pair. One row stays where an image would end empty; its class has weight 0.

    Args:
        sampled: ``(proposals, rel_labels, rel_pair_idxs, rel_binarys, ...)``, lists over images.
        labels: the stage's classes.
        positives, total: most rows per image with a label of the stage, and in all; a larger number is drawn from at
            random. None: all.
    """
    items = list(sampled)
    ours = torch.zeros(1 + max([0, *labels, *(int(t.max()) for t in items[1] if t.numel())]), dtype=torch.bool)
    ours[list(labels)] = True
    keeps = []
    for rel_labels in items[1]:
        keep = _at_most(ours.to(rel_labels.device)[rel_labels.long()], positives)
        keep |= _at_most(rel_labels == 0, None if total is None else total - int(keep.sum()))
        if rel_labels.numel() and not keep.any():
            keep[0] = True
        keeps.append(keep)
    rows = [len(t) for t in items[1]]
    for at, item in enumerate(items):
        per_pair = at in (1, 2) or (
            at > 3
            and isinstance(item, (list, tuple))
            and len(item) == len(rows)
            and all(torch.is_tensor(t) and t.dim() and len(t) == n for t, n in zip(item, rows))
        )
        if per_pair:
            items[at] = [t[keep] for t, keep in zip(item, keeps)]
    return tuple(items)


def _at_most(mask: torch.Tensor, number: int | None) -> torch.Tensor:
    """The mask with at most ``number`` entries True, drawn at random from torch's generator of its device."""
    place = mask.nonzero().flatten()
    if number is None or len(place) <= number:
        return mask
    drawn = torch.zeros_like(mask)
    drawn[place[torch.randperm(len(place), device=mask.device)[:number]]] = True
    return drawn
