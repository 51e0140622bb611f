"""Pictures without a detection stay out of the heads that cannot work on none; the host's own forward runs as it is.

Hooks on the heads leave these pictures out of what the next head is given. A host's box head refuses a picture without
a proposal, and its relation head one without a detection; the bundled benchmark takes the likeliest box instead.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from . import hook_points

_HEADS, _BOX = hook_points.RELATION_HEAD.split(".")[0], "box"
#: Positions of a head's arguments; forks rename and append some.
FEATURES, PROPOSALS, TARGETS = 0, 1, 2


class NothingFound(Exception):
    """No picture of the batch has a detection: raised within the model's forward to end it there."""


class FoundObjects:
    """Which pictures of a batch have objects.

    Args:
        model: the host's detector with a relation head.
        threshold: least score of a detection; below it are boxes that a host has filled up with.

    Attributes:
        kept: positions in the batch of the pictures that the last forward has a result for, in the result's order.
    """

    def __init__(self, model: nn.Module, threshold: float) -> None:
        self.heads = dict(getattr(model, _HEADS).named_children())
        self.threshold = threshold
        self.kept: list[int] = []

    @contextlib.contextmanager
    def watching(self, pictures: int) -> Iterator[None]:
        """While entered, one forward of a batch of so many pictures; NothingFound does not leave the block."""
        self.kept = list(range(pictures))
        box = self.heads[_BOX]
        handles = [box.register_forward_pre_hook(self._before_box, with_kwargs=True),
                   box.register_forward_hook(self._after_box)]
        handles += [head.register_forward_pre_hook(self._before_head, with_kwargs=True)
                    for name, head in self.heads.items() if name != _BOX]
        try:
            yield
        except NothingFound:
            self.kept = []
        finally:
            for handle in handles:
                handle.remove()

    def _keep(self, good: Sequence[bool]) -> list[int]:
        """Positions of the good ones in what the head has; they alone are kept."""
        places = [place for place, is_good in enumerate(good) if is_good]
        self.kept = [self.kept[place] for place in places]
        if not places:
            raise NothingFound
        return places

    def _before_box(self, head: nn.Module, args: tuple, kwargs: dict) -> Any:
        call = _Call(head, args, kwargs)
        proposals = call[PROPOSALS]
        if all(len(boxes) for boxes in proposals):
            return None
        places = self._keep([len(boxes) > 0 for boxes in proposals])
        call[PROPOSALS] = [proposals[place] for place in places]
        return call.of_pictures(places, len(proposals))

    def _after_box(self, head: nn.Module, args: tuple, output: tuple) -> Any:
        features, detections, *rest = output
        good = [self._has_object(boxes) for boxes in detections]
        if all(good):
            return None
        return (features, [detections[place] for place in self._keep(good)], *rest)

    def _has_object(self, boxes: Any) -> bool:
        return bool((boxes.get_field("pred_scores") > self.threshold).any())

    def _before_head(self, head: nn.Module, args: tuple, kwargs: dict) -> Any:
        call = _Call(head, args, kwargs)
        pictures = len(call[FEATURES][0])
        return None if len(self.kept) == pictures else call.of_pictures(self.kept, pictures)


class _Call:
    """The arguments of a call of a head by their position: feature maps, proposals, targets, what a fork appends."""

    def __init__(self, head: nn.Module, args: tuple, kwargs: dict) -> None:
        signature = inspect.signature(head.forward)
        self.names, self.call = list(signature.parameters), signature.bind(*args, **kwargs)

    def __getitem__(self, position: int) -> Any:
        return self.call.arguments[self.names[position]]

    def __setitem__(self, position: int, value: Any) -> None:
        self.call.arguments[self.names[position]] = value

    def of_pictures(self, places: Sequence[int], pictures: int) -> tuple[tuple, dict]:
        """The call for some pictures of the batch, as a hook returns it."""
        rows = torch.tensor(list(places), device=self[FEATURES][0].device)
        self[FEATURES] = [level[rows] for level in self[FEATURES]]
        targets = self.call.arguments.get(self.names[TARGETS])
        if targets is not None and len(targets) == pictures:
            self[TARGETS] = [targets[place] for place in places]
        return self.call.args, self.call.kwargs
