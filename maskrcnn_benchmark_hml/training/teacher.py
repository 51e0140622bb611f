"""The previous stage's relation head, frozen, replayed on the student's own boxes, pairs and features (CR, eq. 5)."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ..errors import HMLError


class Teacher:
    """A frozen copy of a relation head that answers on exactly the pairs the student was given.

    It lives outside the student's module tree (hosts match checkpoint keys by suffix and would fill it), and its own
    ``forward`` is never called: that would sample pairs again, and other ones.

    Args:
        head: the student's relation head, freshly built and without our hooks; it is copied.
        weights: ``state_dict`` of the previous stage's head.
        with_union: whether the predictor is given union features.
    """

    def __init__(self, head: nn.Module, weights: Mapping[str, torch.Tensor], with_union: bool = True) -> None:
        self.head = copy.deepcopy(head)
        try:
            self.head.load_state_dict(weights, strict=True)
        except RuntimeError as error:
            raise HMLError(
                f"the previous stage's relation head does not fit this model ({str(error).splitlines()[1].strip()}); "
                "train both stages with the same model settings"
            ) from error
        self.head.requires_grad_(False)
        self.head.eval()
        self.with_union = with_union
        self._signature = inspect.signature(self.head.predictor.forward)

    @torch.no_grad()
    def relation_logits(self, features: Any, call_args: tuple, call_kwargs: Mapping[str, Any]) -> torch.Tensor:
        """Relation logits (N_n, C) for the predictor call ``call_args, call_kwargs`` that the student just made.

        Args:
            features: the FPN levels that the student's head was given.
            call_args, call_kwargs: the arguments of the student's ``predictor`` call.
        """
        bound = self._signature.bind(*call_args, **call_kwargs)
        given = bound.arguments
        proposals, pairs = next(iter(given.values())), given["rel_pair_idxs"]  # GPSNet: inst_proposals
        device = features[0].device
        if next(self.head.parameters()).device != device:
            self.head.to(device)
        given["roi_features"] = self._roi_features(features, proposals)
        if self.with_union:
            given["union_features"] = self.head.union_feature_extractor(features, proposals, pairs)
        logits = self.head.predictor(*bound.args, **bound.kwargs)[1]
        return torch.cat(list(logits)) if isinstance(logits, (list, tuple)) else logits

    def _roi_features(self, features: Any, proposals: Any) -> torch.Tensor:
        roi = self.head.box_feature_extractor(features, proposals)
        if hasattr(self.head, "att_feature_extractor"):
            roi = torch.cat((roi, self.head.att_feature_extractor(features, proposals)), dim=-1)
        return roi
