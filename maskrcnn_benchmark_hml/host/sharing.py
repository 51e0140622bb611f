"""RoI pooling is done once for student and teacher: it has no parameters, and both pool the same boxes.

Pooling takes a sixth of the teacher's time on SGB. Where a pooler ends in a trained layer (``reduce_channel``: all
pyramid levels side by side, then a convolution), its input is shared, which autograd keeps for the student anyway,
and the teacher's own layer runs on distinct boxes only: the pairs (a, b) and (b, a) have the same union box.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from . import hook_points

#: The layer runs on distinct boxes if that leaves out at least this share of them.
_WORTHWHILE = 0.25


def share_pooling(student: nn.Module, teacher: nn.Module) -> int:
    """Let the poolers of a frozen relation head take what the student's poolers of the same name have just pooled.

    A pooler that is called in another way (other boxes, other arguments, further trained layers) works as before.

    Returns:
        The number of poolers that can share.
    """
    count = 0
    for name, pooler in student.named_modules():
        if name.rpartition(".")[2] == hook_points.POOLER:
            trained = {parameter.partition(".")[0] for parameter, _ in pooler.named_parameters()}
            if trained <= {hook_points.REDUCE}:
                _share(pooler, teacher.get_submodule(name), bool(trained))
                count += 1
    return count


def _share(student: nn.Module, teacher: nn.Module, ends_in_layer: bool) -> None:
    last: dict[str, Any] = {}

    def note_input(layer: nn.Module, args: tuple) -> None:
        if layer.training:
            last["pooled"] = args[0]

    def note_output(layer: nn.Module, args: tuple, output: Tensor) -> None:
        if layer.training:
            last["output"] = output

    def after(pooler: nn.Module, args: tuple, output: Tensor) -> None:
        if not ends_in_layer:
            last["pooled"] = output
        elif last.pop("output", None) is not output:  # the layer was not called, or is not the last
            last.clear()
        if not pooler.training or len(args) != 2:
            last.clear()
        if last:
            last["rows"] = box_rows(args[1])

    original = teacher.forward

    def forward(features: Any, boxes: Sequence, *args, **kwargs) -> Tensor:
        pooled, rows = last.pop("pooled", None), last.pop("rows", None)
        if pooled is None or args or kwargs or not torch.equal(box_rows(boxes), rows):
            return original(features, boxes, *args, **kwargs)
        return on_distinct(getattr(teacher, hook_points.REDUCE), pooled, rows) if ends_in_layer else pooled.detach()

    if ends_in_layer:
        layer = getattr(student, hook_points.REDUCE)
        layer.register_forward_pre_hook(note_input)
        layer.register_forward_hook(note_output)
    student.register_forward_hook(after)
    teacher.forward = forward


def box_rows(boxes: Sequence) -> Tensor:
    """(N, 5): image and coordinates of each box of a batch."""
    return torch.cat([torch.cat((b.bbox.new_full((len(b), 1), i), b.bbox), 1) for i, b in enumerate(boxes)])


def on_distinct(layer: Callable[[Tensor], Tensor], pooled: Tensor, rows: Tensor) -> Tensor:
    """``layer(pooled)``, computed once for rows that come from the same box.

    Args:
        layer: acts on each row alone.
        pooled: (N, ...).
        rows: (N, 5), from :func:`box_rows`; equal rows mean equal ``pooled``.
    """
    _, place = torch.unique(rows, dim=0, return_inverse=True)
    distinct = int(place.max()) + 1 if len(place) else 0
    if distinct > (1 - _WORTHWHILE) * len(rows):
        return layer(pooled)
    some = place.new_empty(distinct).scatter_(0, place, torch.arange(len(rows), device=place.device))
    return layer(pooled[some])[place]
