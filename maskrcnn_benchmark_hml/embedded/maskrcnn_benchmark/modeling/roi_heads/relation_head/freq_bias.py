"""Prior of the predicate given the two object classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from yacs.config import CfgNode


class FrequencyBias(nn.Module):
    """Trained table of log p(predicate | subject class, object class), initialised from counts (Neural Motifs, sec. 3).

    Args:
        statistics: ``pred_dist`` (C, C, R), log frequencies of the training set.
    """

    def __init__(self, cfg: CfgNode, statistics: Mapping[str, Any]) -> None:
        super().__init__()
        table = statistics["pred_dist"].float()
        self.num_objs, _, self.num_rels = table.shape
        self.obj_baseline = nn.Embedding.from_pretrained(table.flatten(0, 1).clone(), freeze=False)

    def index_with_labels(self, labels: Tensor) -> Tensor:
        """(P, 2) subject and object class -> (P, R) logits."""
        return self.obj_baseline(labels[:, 0] * self.num_objs + labels[:, 1])

    def index_with_probability(self, pair_prob: Tensor) -> Tensor:
        """(P, C, 2) class probabilities of subject and object -> (P, R) expected logits."""
        subject, object_ = pair_prob.unbind(-1)
        table = self.obj_baseline.weight.view(self.num_objs, self.num_objs, self.num_rels)
        return torch.einsum("ps,po,sor->pr", subject, object_, table)

    def forward(self, labels: Tensor) -> Tensor:
        return self.index_with_labels(labels)
