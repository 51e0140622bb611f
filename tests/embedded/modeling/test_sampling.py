"""Pair sampling for training and testing."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from maskrcnn_benchmark.modeling.roi_heads.relation_head.sampling import RelationSampling
from maskrcnn_benchmark.structures.bounding_box import BoxList

from maskrcnn_benchmark_hml.errors import HMLError

from ...host.ignored_run import check


def sampler(**changes) -> RelationSampling:
    settings = {
        "fg_thres": 0.5,
        "require_overlap": False,
        "num_sample_per_gt_rel": 4,
        "batch_size_per_image": 16,
        "positive_fraction": 0.25,
        "use_gt_box": True,
        "test_overlap": False,
    }
    return RelationSampling(**{**settings, **changes})


def test_every_row_is_right_and_the_quota_is_kept(make_targets):
    for seed in range(20):
        targets = make_targets([9, 3, 6, 2], seed=seed)
        _, labels, pairs, binarys = sampler().gtbox_relsample(targets, targets)
        for target, label, pair, binary in zip(targets, labels, pairs, binarys):
            relation = target.get_field("relation")
            assert torch.equal(label, relation[pair[:, 0], pair[:, 1]])
            assert (pair[:, 0] != pair[:, 1]).all() and len({tuple(p) for p in pair.tolist()}) == len(pair)
            annotated, size = int((relation > 0).sum()), len(target)
            positives = min(annotated, 4)
            assert int((label > 0).sum()) == positives and (label[:positives] > 0).all()
            assert len(label) == min(16, positives + size * (size - 1) - annotated)
            assert torch.equal(binary, ((relation > 0) | (relation > 0).t()).long())


def test_every_candidate_is_drawn_equally_often(make_targets):
    targets = make_targets([6, 6], seed=3)
    relation = targets[0].get_field("relation")
    counts: Counter = Counter()
    draws = 1500
    for _ in range(draws):
        _, labels, pairs, _ = sampler(batch_size_per_image=8).gtbox_relsample(targets, targets)
        counts.update(tuple(p) for p in pairs[0].tolist())
    annotated = {tuple(p) for p in (relation > 0).nonzero().tolist()}
    background = {(i, j) for i in range(6) for j in range(6) if i != j} - annotated
    assert len(annotated) > 2
    for group, taken in ((annotated, 2), (background, 6)):
        expected = draws * taken / len(group)
        assert all(abs(counts[p] - expected) < 6 * expected**0.5 for p in group)


def test_negative_entries_are_background_and_lonely_boxes_give_a_placeholder(make_targets):
    targets = make_targets([3, 1])
    targets[0].add_field("relation", torch.full((3, 3), -1), is_triplet=True)
    _, labels, pairs, _ = sampler().gtbox_relsample(targets, targets)
    assert labels[0].tolist() == [0] * 6
    assert pairs[1].tolist() == [[0, 0]] and labels[1].tolist() == [0]


def test_proposals_must_be_the_annotated_boxes(make_targets):
    with pytest.raises(HMLError, match="one proposal per annotated box"):
        sampler().gtbox_relsample(make_targets([3]), make_targets([4]))


def test_test_pairs_are_all_ordered_pairs_row_by_row(make_targets):
    boxes = make_targets([3, 1])
    device = torch.device("cpu")
    pairs = sampler().prepare_test_pairs(device, boxes)
    assert pairs[0].tolist() == [[0, 1], [0, 2], [1, 0], [1, 2], [2, 0], [2, 1]]
    assert pairs[1].tolist() == [[0, 0]]
    apart = BoxList([[0, 0, 9, 9], [5, 5, 20, 20], [40, 40, 50, 50]], (96, 64))
    found = sampler(use_gt_box=False, test_overlap=True).prepare_test_pairs(device, [apart])
    assert found[0].tolist() == [[0, 1], [1, 0]]


def detections(target: BoxList) -> BoxList:
    """Each annotated box twice, once shifted by a pixel, and one box of background."""
    boxes = torch.cat((target.bbox, target.bbox + 1, torch.tensor([[0.0, 0.0, 5.0, 5.0]])))
    found = BoxList(boxes, target.size)
    label = target.get_field("labels")
    found.add_field("labels", torch.cat((label, label, torch.zeros(1, dtype=torch.int64))))
    return found


def by_definition(target: BoxList, found: BoxList) -> tuple[set, set, set]:
    """Triplets that stand for a relation, background pairs and related pairs, by loops."""
    from maskrcnn_benchmark.structures.boxlist_ops import boxlist_iou

    iou, size = boxlist_iou(target, found), len(found)
    same = target.get_field("labels")[:, None] == found.get_field("labels")
    match = same & (iou > 0.5)
    triplets, related = set(), set()
    for s, o in (target.get_field("relation") > 0).nonzero().tolist():
        for i in range(size):
            for j in range(size):
                if match[s, i] and match[o, j]:
                    related |= {(i, j), (j, i)}
                    if i != j:
                        triplets.add((i, j, int(target.get_field("relation")[s, o])))
    positive = found.get_field("labels") > 0
    stands = {t[:2] for t in triplets}
    background = {
        (i, j) for i in range(size) for j in range(size) if i != j and positive[i] and positive[j]
    } - stands  # fmt: skip
    return triplets, background, related


def test_detected_pairs_are_those_of_the_definition(make_targets):
    for seed in range(5):
        (target,) = make_targets([5], seed=seed)
        found = detections(target)
        triplets, background, related = by_definition(target, found)
        wide = sampler(num_sample_per_gt_rel=99, batch_size_per_image=999, positive_fraction=0.9, use_gt_box=False)
        _, (label,), (pair,), (binary,) = wide.detect_relsample([found], [target])
        rows = [(*p, label_) for p, label_ in zip(pair.tolist(), label.tolist())]
        assert {r for r in rows if r[2]} == triplets and len(triplets) > 0
        assert {r[:2] for r in rows if not r[2]} == background
        assert {tuple(p) for p in binary.nonzero().tolist()} == related

        tight = sampler(num_sample_per_gt_rel=1, batch_size_per_image=12, use_gt_box=False)
        _, (label,), (pair,), _ = tight.detect_relsample([found], [target])
        rows = [(*p, label_) for p, label_ in zip(pair.tolist(), label.tolist())]
        assert int((label > 0).sum()) == min(3, int((target.get_field("relation") > 0).sum())) and len(rows) == 12
        assert {r for r in rows if r[2]} <= triplets and {r[:2] for r in rows if not r[2]} <= background


def test_detected_pairs_prefer_overlap(make_targets):
    target = BoxList([[0, 0, 19, 19], [40, 20, 59, 39]], (96, 64))
    target.add_field("labels", torch.tensor([1, 2]))
    target.add_field("relation", torch.tensor([[0, 3], [0, 0]]), is_triplet=True)
    found = BoxList([[0, 0, 19, 19], [0, 0, 19, 11], [40, 20, 59, 39]], (96, 64))  # IoU 1, 0.6, 1
    found.add_field("labels", torch.tensor([1, 1, 2]))
    one = sampler(num_sample_per_gt_rel=1, use_gt_box=False)
    first = [int(one.detect_relsample([found], [target])[2][0][0, 0]) for _ in range(800)]
    assert abs(first.count(0) / 800 - 1 / 1.6) < 0.07


def test_no_detection_gives_a_placeholder(make_targets):
    (target,) = make_targets([3])
    found = BoxList([[0, 0, 5, 5]], target.size)
    found.add_field("labels", torch.tensor([0]))
    _, (label,), (pair,), _ = sampler(use_gt_box=False).detect_relsample([found], [target])
    assert pair.tolist() == [[0, 0]] and label.tolist() == [0]


@pytest.mark.parametrize("method", ["gtbox_relsample", "detect_relsample"])
def test_ignored_pairs_take_no_place(method):
    check(method)
