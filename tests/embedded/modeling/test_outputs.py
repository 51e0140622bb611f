"""Losses and the ranking of triplets."""

from __future__ import annotations

import torch
from maskrcnn_benchmark.modeling.roi_heads.relation_head.inference import PostProcessor
from maskrcnn_benchmark.modeling.roi_heads.relation_head.loss import RelationLossComputation
from torch.nn import functional as F


def test_losses_are_cross_entropies_over_the_batch(make_targets):
    boxes = make_targets([3, 2])
    labels = [torch.tensor([1, 0]), torch.tensor([4])]
    relation, objects = [torch.randn(2, 11), torch.randn(1, 11)], [torch.randn(3, 21), torch.randn(2, 21)]
    for smoothing, amount in ((False, 0.0), (True, 0.01)):
        loss_rel, loss_obj = RelationLossComputation(smoothing)(boxes, labels, relation, objects)
        for loss, logits, target in (
            (loss_rel, relation, labels),
            (loss_obj, objects, [b.get_field("labels") for b in boxes]),
        ):
            logits, target = torch.cat(logits).log_softmax(1), torch.cat(target)
            soft = F.one_hot(target, logits.shape[1]) * (1 - amount) + amount / logits.shape[1]
            torch.testing.assert_close(loss, -(soft * logits).sum(1).mean())


def test_triplets_are_ranked_by_the_product_of_scores(make_targets):
    boxes = make_targets([4, 2])
    pairs = [torch.tensor([[0, 1], [1, 0], [2, 3], [3, 2], [0, 3]]), torch.tensor([[0, 1], [1, 0]])]
    relation, objects = [torch.randn(5, 11), torch.zeros(2, 11)], [torch.randn(4, 21), torch.zeros(2, 21)]
    results = PostProcessor()((relation, objects), pairs, boxes)
    probability, object_ = relation[0].softmax(1), objects[0].softmax(1)[:, 1:].max(1).values
    score = [float(probability[i, 1:].max() * object_[s] * object_[o]) for i, (s, o) in enumerate(pairs[0].tolist())]
    order = sorted(range(5), key=lambda i: -score[i])
    found = results[0]
    assert torch.equal(found.get_field("rel_pair_idxs"), pairs[0][order])
    assert torch.equal(found.get_field("pred_rel_labels"), probability[order][:, 1:].argmax(1) + 1)
    torch.testing.assert_close(found.get_field("pred_rel_scores"), probability[order])
    torch.testing.assert_close(found.get_field("pred_scores"), object_)
    # ties keep the order of the pairs, and background never wins
    assert torch.equal(results[1].get_field("rel_pair_idxs"), pairs[1])
    assert results[1].get_field("pred_rel_labels").tolist() == [1, 1]
