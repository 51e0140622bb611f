"""Training pairs among detected boxes, for one image at a time."""

from __future__ import annotations

import torch
from torch import Tensor


def sample_detected_pairs(
    relation: Tensor, ious: Tensor, match: Tensor, possible: Tensor, *, per_relation: int, positives: int, total: int
) -> tuple[Tensor, Tensor]:
    """Pairs of detected boxes that stand for annotated relations, and background pairs (Neural Motifs, CVPR 2018).

    Every pair of distinct boxes (s, o) of which s matches a relation's subject and o its object can stand for that
    relation. If more than ``per_relation`` can, that many are drawn without replacement with probability proportional
    to IoU(s) IoU(o). Background is drawn from the possible pairs that stand for no relation.

    Args:
        relation: (T, T) predicate of each annotated pair; 0 or less: none.
        ious: (T, N) overlap of annotated and detected boxes.
        match: (T, N) bool, which detected box stands for which annotated one.
        possible: (N, N) bool, pairs that may be background.
        per_relation, positives, total: largest numbers of pairs per annotated relation, of annotated pairs in all,
            and of pairs in all.

    Returns:
        (P, 3) int64 subject, object, predicate (0 = background), annotated ones first; one row of zeros if there is no
        pair. And (N, N) int64, symmetric: 1 where two boxes match the two ends of some relation.
    """
    subject, object_ = torch.nonzero(relation > 0).unbind(1)
    stands = match[subject][:, :, None] & match[object_][:, None, :]  # (R, N, N)
    related = stands.any(0)
    binary = (related | related.t()).long()
    stands &= ~torch.eye(stands.shape[1], dtype=torch.bool, device=stands.device)
    row, first, second = torch.nonzero(stands).unbind(1)

    # Exponential race: of arrival times Exp(1)/w the k earliest are a draw without replacement, proportional to w.
    weight = ious[subject[row], first] * ious[object_[row], second]
    arrival = torch.empty_like(weight).exponential_() / weight
    order = arrival.argsort(stable=True)
    order = order[row[order].argsort(stable=True)]  # by relation, earliest first
    count = torch.bincount(row, minlength=len(subject))
    rank = torch.arange(len(order), device=order.device) - (count.cumsum(0) - count)[row[order]]
    kept = order[rank < per_relation]
    if len(kept) > positives:
        kept = kept[torch.randperm(len(kept), device=kept.device)[:positives]]
    label = relation[subject[row[kept]], object_[row[kept]]].long()
    annotated = torch.stack((first[kept], second[kept], label), 1)

    background = torch.nonzero(possible & ~stands.any(0))
    drawn = torch.randperm(len(background), device=background.device)[: max(total - len(annotated), 0)]
    background = torch.nn.functional.pad(background[drawn], (0, 1))
    triplets = torch.cat((annotated, background))
    return (triplets if len(triplets) else triplets.new_zeros(1, 3)), binary
