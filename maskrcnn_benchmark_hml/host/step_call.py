"""One training forward of a relation head: what its predictor was given and gave, and how another head repeats it.

What a predictor's call looks like stands here alone: the names of its arguments and the place of its logits. A fork
whose predictor returns more, or elsewhere, is a change in this file.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import HMLError
from .hook_points import argument, as_rows, uses_union

PAIRS, PAIRS_POSITION = "rel_pair_idxs", 1
LOGITS_POSITION = 1


@dataclass
class StepCall:
    """What HML notes during one training forward.

    Attributes:
        features: the FPN levels that the relation head was given.
        args, kwargs: the arguments of its predictor.
        own_logits: relation logits that the predictor gave to its own criterion (SHA-GCL).
        new_loss: l_new of this forward, as it was given to the host.
        added_losses: loss terms to add to those of the host.
    """

    features: Any = None
    args: tuple = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    own_logits: Tensor | None = None
    new_loss: Tensor | None = None
    added_losses: dict[str, Tensor] = field(default_factory=dict)

    def pair_count(self, predictor: nn.Module) -> int:
        """Sampled pairs of all images."""
        pairs = argument(predictor.forward, PAIRS, PAIRS_POSITION, self.args, self.kwargs)
        return sum(len(rows) for rows in pairs)

    def relation_logits(self, predictor: nn.Module, output: Any) -> Tensor:
        """The student's relation logits (N, C), from its predictor's output or else from its criterion.

        Raises:
            HMLError: there are none.
        """
        given = output[LOGITS_POSITION]
        if given is not None:
            return as_rows(given)
        if self.own_logits is None:
            raise HMLError(
                f"{type(predictor).__name__} gives no relation logits in training and has no single relation loss "
                "that l_new could take the place of; choose another relation predictor"
            )
        return self.own_logits


def answer(head: Any, call: StepCall) -> Tensor:
    """Relation logits (N, C) of another relation head for the same call, with features of its own extractors.

    The head's own ``forward`` is not called: it would sample pairs again, and other ones.
    """
    bound = inspect.signature(head.predictor.forward).bind(*call.args, **call.kwargs)
    given = bound.arguments
    proposals, pairs = next(iter(given.values())), given[PAIRS]  # GPSNet: inst_proposals
    roi = head.box_feature_extractor(call.features, proposals)
    if hasattr(head, "att_feature_extractor"):
        roi = torch.cat((roi, head.att_feature_extractor(call.features, proposals)), dim=-1)
    given["roi_features"] = roi
    if uses_union(head):
        given["union_features"] = head.union_feature_extractor(call.features, proposals, pairs)
    return as_rows(head.predictor(*bound.args, **bound.kwargs)[LOGITS_POSITION])
