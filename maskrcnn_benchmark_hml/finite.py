"""Refuses weights and scores that are NaN or infinite: their test gives a recall near 0 that looks like a result."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from .errors import HMLError


def first_not_finite(named: Iterable[tuple[str, torch.Tensor]]) -> tuple[str, int, int]:
    """The first tensor with NaN or infinity.

    Returns:
        Its name ("" if there is none), how many such tensors there are, and how many were looked at.
    """
    pairs = [(name, t) for name, t in named if torch.is_tensor(t) and t.is_floating_point() and t.numel()]
    # One transfer from the device for all of them.
    flags = [torch.isfinite(t.detach()).all() for _, t in pairs]
    fine = torch.stack([flag.to(flags[0].device) for flag in flags]).tolist() if flags else []
    bad = [name for (name, _), ok in zip(pairs, fine) if not ok]
    return (bad[0] if bad else ""), len(bad), len(pairs)


def check_weights(named: Iterable[tuple[str, torch.Tensor]], source: str) -> None:
    """Refuse weights that are not finite.

    Args:
        named: names and tensors.
        source: what to call their owner in the message, a file for instance.

    Raises:
        HMLError: names the first tensor.
    """
    name, bad, total = first_not_finite(named)
    if name:
        raise HMLError(
            f"{source} holds NaN or infinite weights, first in {name} ({bad} of {total} tensors): its training "
            "went wrong; use an earlier checkpoint, or train again with a lower SOLVER.BASE_LR"
        )


def check_scores(fields: Mapping[str, Any], image: Any, model: torch.nn.Module) -> None:
    """Refuse one image's prediction whose scores are not finite.

    Args:
        fields: name -> value; tensors with ``score`` in their name are looked at.
        image: what to call the image in the message.
        model: asked for the first parameter that is not finite.

    Raises:
        HMLError: names the field, the image and that parameter.
    """
    name, _, _ = first_not_finite((name, value) for name, value in fields.items() if "score" in name)
    if name:
        cause, _, _ = first_not_finite(model.named_parameters())
        where = f"its weights are not finite either, first {cause}" if cause else "its weights are finite"
        raise HMLError(
            f"the model's {name} of image {image} are NaN or infinite ({where}): no result can be computed from them; "
            "use an earlier checkpoint, DTYPE float32, or train again with a lower SOLVER.BASE_LR"
        )
