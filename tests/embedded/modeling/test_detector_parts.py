"""Anchors, offsets, matching, detections and late suppression, against plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matching import BELOW, BETWEEN, Matcher, matched_rows, sample_balanced
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import PostProcessor
from maskrcnn_benchmark.modeling.roi_heads.relation_head.late_nms import late_nms
from maskrcnn_benchmark.modeling.rpn.anchor_generator import Anchors, cell_anchors
from maskrcnn_benchmark.modeling.rpn.inference import ProposalSelector
from maskrcnn_benchmark.modeling.rpn.loss import RPNLossComputation
from maskrcnn_benchmark.structures.bounding_box import BoxList

from maskrcnn_benchmark_hml.errors import HMLError


def some_boxes(count: int, side: float = 60.0) -> torch.Tensor:
    corner = torch.rand(count, 2) * side * 0.6
    return torch.cat((corner, corner + torch.rand(count, 2) * side * 0.4 + 2), 1)


def iou(a, b) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(width, 0) * max(height, 0)
    areas = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
    return float(shared / (sum(areas) - shared))


def test_anchors_of_a_cell_are_the_published_ones():
    assert cell_anchors(16, 128, (0.5, 1.0, 2.0)).tolist() == [
        [-84.0, -40.0, 99.0, 55.0], [-56.0, -56.0, 71.0, 71.0], [-36.0, -80.0, 51.0, 95.0]
    ]  # fmt: skip


def test_the_grid_steps_by_the_stride_whatever_the_size_of_the_map():
    grid = Anchors((32, 64), (1.0,), (4, 8))
    fine, coarse = grid([torch.zeros(1, 1, 3, 5), torch.zeros(1, 1, 2, 2)])
    assert fine.shape == (15, 4) and coarse.shape == (4, 4)
    assert torch.equal(fine[6] - fine[0], torch.tensor([4.0, 4.0, 4.0, 4.0]))  # one row down, one column right
    assert torch.equal(coarse[1] - coarse[0], torch.tensor([8.0, 0.0, 8.0, 0.0]))
    with pytest.raises(HMLError, match="2 levels but the backbone gives 1"):
        grid([torch.zeros(1, 1, 3, 5)])


def test_offsets_by_the_formula_and_back():
    coder = BoxCoder((10.0, 10.0, 5.0, 5.0))
    boxes, goals = some_boxes(20), some_boxes(20)
    offsets = coder.encode(goals, boxes)
    b, g = boxes[0].tolist(), goals[0].tolist()
    width, height = b[2] - b[0] + 1, b[3] - b[1] + 1
    expected = [
        10 * ((g[0] + (g[2] - g[0] + 1) / 2) - (b[0] + width / 2)) / width,
        10 * ((g[1] + (g[3] - g[1] + 1) / 2) - (b[1] + height / 2)) / height,
        5 * math.log((g[2] - g[0] + 1) / width),
        5 * math.log((g[3] - g[1] + 1) / height),
    ]
    torch.testing.assert_close(offsets[0], torch.tensor(expected), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(coder.decode(offsets, boxes), goals, atol=1e-4, rtol=1e-4)
    per_class = coder.decode(offsets.repeat(1, 3), boxes).view(20, 3, 4)
    torch.testing.assert_close(per_class[:, 2], goals, atol=1e-4, rtol=1e-4)


def test_matching_has_three_outcomes_and_takes_empty_lists():
    size = (100, 100)
    target = BoxList([[0, 0, 9, 9], [50, 50, 59, 59]], size)
    boxes = BoxList([[0, 0, 9, 9], [0, 0, 9, 19], [80, 80, 90, 90], [50, 50, 59, 79]], size)
    assert Matcher(0.7, 0.4)(target, boxes).tolist() == [0, BETWEEN, BELOW, BELOW]
    assert Matcher(0.7, 0.4, every_target=True)(target, boxes).tolist() == [0, BETWEEN, BELOW, 1]
    nothing = BoxList(torch.zeros(0, 4), size)
    assert Matcher(0.7, 0.4)(nothing, boxes).tolist() == [BELOW] * 4
    assert len(Matcher(0.7, 0.4)(target, nothing)) == 0
    rows = matched_rows(torch.tensor([[5, 6], [7, 8]]), torch.tensor([1, BELOW, 0]))
    assert rows.tolist() == [[7, 8], [0, 0], [5, 6]]
    assert matched_rows(torch.zeros(0, 2), torch.tensor([BELOW])).tolist() == [[0.0, 0.0]]


def test_balanced_sampling_fills_up_with_negatives():
    labels = torch.tensor([1] * 10 + [0] * 30 + [-1] * 5)
    (positive,), (negative,) = sample_balanced([labels], 16, 0.25)
    assert int(positive.sum()) == 4 and int(negative.sum()) == 12
    assert (labels[positive] == 1).all() and (labels[negative] == 0).all()


def test_anchor_targets_ignore_what_leaves_the_image():
    boxes = torch.tensor([[2.0, 2, 11, 11], [-5.0, 2, 4, 11], [20.0, 20, 29, 29], [4.0, 4, 13, 13]])
    target = BoxList([[2, 2, 11, 11]], (40, 40))
    coder, matcher = BoxCoder((1.0, 1.0, 1.0, 1.0)), Matcher(0.7, 0.3, every_target=True)
    for straddle, outside in ((0, -1), (-1, 0)):
        labels, offsets = RPNLossComputation(matcher, coder, 256, 0.5, straddle).targets_of(boxes, target)
        assert labels.tolist() == [1, outside, 0, -1]
        assert offsets.abs().max() < 1e-6
    labels, _ = RPNLossComputation(matcher, coder, 256, 0.5, 0).targets_of(boxes, BoxList(torch.zeros(0, 4), (40, 40)))
    assert labels.tolist() == [0, -1, 0, 0]


def test_proposals_never_run_out():
    select = ProposalSelector(50, 20, 10, 0.7, 1000.0, True, BoxCoder((1.0, 1.0, 1.0, 1.0)))
    anchors = [some_boxes(40), some_boxes(12)]
    objectness = torch.cat((torch.full((1, 52), -5.0), torch.full((1, 52), 5.0)))
    found = select(anchors, objectness, torch.zeros(2, 52, 4), [(64, 64), (64, 64)])
    assert all(len(p) >= 1 for p in found)  # too small all of them, and the batch's best are in the second image


@pytest.fixture
def processor() -> PostProcessor:
    return PostProcessor(0.05, 0.5, 300, False, 0, BoxCoder((10.0, 10.0, 5.0, 5.0)), False)


def slow_survivors(scores, places, threshold, overlap):
    kept = set()
    for cls in range(1, scores.shape[1]):
        order = sorted(
            (i for i in range(len(scores)) if scores[i, cls] > threshold), key=lambda i: -float(scores[i, cls])
        )
        chosen = []
        for i in order:
            if all(iou(places[i, cls].tolist(), places[j, cls].tolist()) <= overlap for j in chosen):
                chosen.append(i)
        kept |= {(i, cls) for i in chosen}
    return kept


def test_class_wise_suppression_equals_the_loop(processor):
    scores = (torch.randn(60, 6) * 2).softmax(1)
    places = torch.stack([some_boxes(60) for _ in range(6)], 1)
    rows, labels = processor.choose(scores, places)
    expected = slow_survivors(scores, places, 0.05, 0.5)
    assert set(zip(rows.tolist(), labels.tolist())) == expected
    assert list(zip(labels.tolist(), rows.tolist())) == sorted((c, i) for i, c in expected)

    processor.nms_filter_duplicates = True
    rows, labels = processor.choose(scores, places)
    best = {i: max((c for r, c in expected if r == i), key=lambda c: float(scores[i, c])) for i, _ in expected}
    assert rows.tolist() == sorted(best) and labels.tolist() == [best[i] for i in sorted(best)]

    processor.detections_per_img = 7
    fewer, _ = processor.choose(scores, places)
    strongest = sorted(best, key=lambda i: -float(scores[i, best[i]]))[:7]
    assert fewer.tolist() == sorted(strongest)


def test_detections_are_filled_up_to_the_fewest_needed(processor):
    scores = torch.tensor([[0.97, 0.02, 0.01], [0.95, 0.01, 0.04], [0.96, 0.03, 0.01]])
    places = some_boxes(9).view(3, 3, 4)
    assert len(processor.choose(scores, places)[0]) == 0
    rows, labels = processor.choose(scores, places, at_least=2)
    assert rows.tolist() == [1, 2] and labels.tolist() == [2, 1]
    scores[0] = torch.tensor([0.1, 0.8, 0.1])
    rows, labels = processor.choose(scores[:, :], places, at_least=2)
    assert rows.tolist()[0] == 0 and len(rows) >= 2


def slow_late_nms(boxes, logits, threshold):
    left = logits.softmax(1).double()
    left[:, 0] = 0
    labels = [0] * len(left)
    free = set(range(len(left)))
    while free:
        box, cls = max(((i, c) for i in free for c in range(left.shape[1])), key=lambda ic: float(left[ic]))
        labels[box] = cls
        free.discard(box)
        for other in free:
            if iou(boxes[box, cls].tolist(), boxes[other, cls].tolist()) >= threshold:
                left[other, cls] = 0
    return labels


def test_late_suppression_equals_the_loop():
    for threshold in (0.1, 0.5):
        boxes = torch.stack([some_boxes(15, side=30.0) for _ in range(8)], 1)
        logits = torch.randn(15, 8) * 2
        assert late_nms(boxes, logits, threshold).tolist() == slow_late_nms(boxes, logits, threshold)
    same_place = some_boxes(1).expand(3, 4, 4)
    assert sorted(late_nms(same_place, torch.zeros(3, 4), 0.5).tolist()) == [1, 2, 3]
