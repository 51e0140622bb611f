"""Edges of matching and recall: the threshold itself, the last rank that counts, ties, no image, no prediction."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark_hml.metrics.matches import SplitMatches
from maskrcnn_benchmark_hml.metrics.matching import (
    NEVER,
    Matcher,
    Objects,
    constrained,
    pairwise_iou,
    triplet_key,
    unconstrained,
)
from maskrcnn_benchmark_hml.metrics.merged import merged_recall
from maskrcnn_benchmark_hml.metrics.recall import RecallTable, rank_image


def objects(boxes, classes) -> Objects:
    return Objects(np.float32(boxes), np.array(classes), np.ones(len(boxes), np.float32))


WHOLE, UPPER, LOWER, FAR = [0, 0, 9, 9], [0, 0, 9, 4], [0, 5, 9, 9], [10, 10, 19, 19]


def test_boxes_are_inclusive():
    expected = [[1, 0.5, 0.5, 0], [0.5, 1, 0, 0], [0.5, 0, 1, 0], [0, 0, 0, 1]]
    boxes = np.float32([WHOLE, UPPER, LOWER, FAR])
    assert pairwise_iou(boxes, boxes).tolist() == expected
    assert pairwise_iou(boxes[:1], np.float32([[6, 6, 10, 10], [9, 10, 9, 12]])).tolist() == [[
        float(np.float32(16) / np.float32(109)), 0]]


@pytest.mark.parametrize(("threshold", "found"), [(0.5, True), (0.51, False)])
@pytest.mark.parametrize("boxes", [[UPPER, FAR], [WHOLE, [10, 15, 19, 19]], [LOWER, [10, 10, 19, 14]]])
def test_both_boxes_reach_the_threshold_and_it_counts(boxes, threshold, found):
    relations = np.array([[0, 1, 3]])
    matcher = Matcher(objects([WHOLE, FAR], [1, 2]), relations, objects(boxes, [1, 2]), threshold)
    triplets = np.array([[1, 0, 3], [0, 1, 4], [0, 1, 3]])
    assert matcher.ranks(triplets).tolist() == [2 if found else NEVER]
    assert matcher.ranks(triplets, np.array([False, True, True])).tolist() == [1 if found else NEVER]
    matches = matcher.any_predicate(triplets)
    assert (matches.rank.tolist(), matches.predicate.tolist()) == (([1, 2], [4, 3]) if found else ([], []))
    assert matcher.first_with_predicate(matches).tolist() == [2 if found else NEVER]


@pytest.mark.parametrize("classes", [[1, 1], [2, 2], [2, 1]])
def test_both_classes_are_equal(classes):
    matcher = Matcher(objects([WHOLE, FAR], [1, 2]), np.array([[0, 1, 3]]), objects([WHOLE, FAR], classes), 0.5)
    assert matcher.ranks(np.array([[0, 1, 3]])).tolist() == [NEVER]
    assert matcher.any_predicate(np.array([[0, 1, 3]])).rank.tolist() == []


def test_the_hundredth_prediction_is_the_last_that_counts():
    there = objects([WHOLE, FAR], [1, 2])
    matcher = Matcher(there, np.array([[0, 1, 3], [1, 0, 3]]), there, 0.5)
    triplets = np.array([[0, 1, 4]] * 99 + [[0, 1, 3], [1, 0, 3]])
    assert matcher.ranks(triplets).tolist() == [99, NEVER]
    assert matcher.any_predicate(triplets).rank.tolist() == list(range(100))
    assert matcher.first_with_predicate(matcher.any_predicate(triplets)).tolist() == [99, NEVER]
    counted = np.array([False] * 99 + [True, True])
    assert matcher.ranks(triplets, counted).tolist() == [0, 1]


def test_the_first_of_several_matches_counts():
    annotated = objects([WHOLE, WHOLE, FAR], [1, 1, 2])
    matcher = Matcher(annotated, np.array([[0, 2, 3], [1, 2, 3]]), objects([WHOLE, FAR], [1, 2]), 0.5)
    triplets = np.array([[1, 0, 3], [0, 1, 3], [0, 1, 3]])
    assert matcher.ranks(triplets).tolist() == [1, 1]
    assert matcher.first_with_predicate(matcher.any_predicate(triplets)).tolist() == [1, 1]


def test_keys_hold_a_million_classes_and_predicates():
    classes = np.array([0, 1, 2**21 - 1], dtype=np.int32)
    keys = triplet_key(np.array([[2, 1, 5], [1, 2, 5], [1, 1, 2**21 - 1], [1, 2, 0]]), classes)
    assert keys.tolist() == [
        ((2**21 - 1) << 42) + (1 << 21) + 5, (1 << 42) + ((2**21 - 1) << 21) + 5, (1 << 42) + (1 << 21) + 2**21 - 1,
        (1 << 42) + ((2**21 - 1) << 21),
    ]  # fmt: skip


def test_a_pairs_best_predicate_is_none_but_background():
    scores = np.float32([[0.9, 0.1, 0.3], [0.0, 0.2, 0.2], [0.5, 0.0, 0.0]])
    triplets, best = constrained(np.array([[0, 1], [1, 0], [2, 1]]), scores)
    assert triplets.tolist() == [[0, 1, 2], [1, 0, 1], [2, 1, 1]]
    assert best.tolist() == scores[[0, 1, 2], [2, 1, 1]].tolist()


def full_sort(pairs, scores, objects):
    products = (objects[pairs[:, 0]] * objects[pairs[:, 1]])[:, None] * scores[:, 1:]
    order = np.argsort(-products.ravel())[:100]
    return np.column_stack((pairs[order // products.shape[1]], order % products.shape[1] + 1))


@pytest.mark.parametrize("count", [1, 2, 99, 100, 101, 150])
@pytest.mark.parametrize("kind", ["plain", "tied", "negative", "infinite", "equal rows"])
def test_the_best_combinations_are_those_of_a_sort_of_all(count, kind):
    random = np.random.default_rng(count)
    for _ in range(10):
        pairs = np.array([(s, o) for s in range(13) for o in range(13) if s != o])[:count]
        scores = random.random((count, 4)).astype(np.float32)
        objects = random.random(13).astype(np.float32)
        if kind == "tied":
            scores, objects = np.round(scores * 3) / 3, np.round(objects * 2) / 2
        elif kind == "negative":
            objects[random.integers(13, size=3)] *= -1
        elif kind == "infinite":
            scores[random.integers(count), 1 + random.integers(3)] = np.inf
        elif kind == "equal rows":
            scores[:, 1:] = scores[0, 1:]
        best = constrained(pairs, scores)[1]
        assert (unconstrained(pairs, scores, best, objects) == full_sort(pairs, scores, objects)).all()


# ---- a split ----


def image(predicates, ranks):
    """An image whose relation ``i`` of these predicates is found at ``ranks[i]``, with all else wrong before it."""
    n = len(predicates)
    truth = objects([[20 * i, 0, 20 * i + 9, 9] for i in range(2 * n)], range(1, 2 * n + 1))
    relations = np.array([[2 * i, 2 * i + 1, p] for i, p in enumerate(predicates)])
    pairs = np.array([[1, 0]] * 120)
    scores = np.tile(np.float32([0, 0.1, 0.2, 0.3]), (120, 1))
    for (s, o, p), rank in zip(relations, ranks):
        pairs[rank], scores[rank] = (s, o), 0
        scores[rank, p] = 0.5
    return rank_image(truth, relations, truth, pairs, scores, iou_threshold=0.5, given_pairs=True)


def test_a_relation_found_at_rank_k_is_not_found_at_k():
    table = RecallTable(4, np.zeros(0, np.int64))
    table.add(7, image([1, 1, 2], [19, 20, 49]))
    table.add(3, image([1], [99]))
    table.add(7, image([1, 2, 2], [19, 20, 50]))  # a second result for an image replaces the first
    result = table.result_dict("predcls")
    assert result["predcls_recall"] == {20: [0, 1 / 3], 50: [0, 2 / 3], 100: [1, 1]}
    assert result["predcls_zeroshot_recall"] == result["predcls_recall"]  # no triplet is seen in training
    assert result["predcls_mean_recall_list"] == {20: [0.5, 0, 0], 50: [0.5, 0.5, 0], 100: [1, 1, 0]}
    assert result["predcls_mean_recall"] == {20: 0.5 / 3, 50: 1 / 3, 100: 2 / 3}
    assert result["predcls_mean_recall_collect"][50] == [[0, 2 / 3], [0, 1], [0.5], []]
    assert result["predcls_accuracy_hit"] == {20: [1, 3], 50: [1, 3], 100: [1, 3]}  # among the annotated pairs alone
    assert result["predcls_accuracy_count"] == {k: [1.0, 3.0] for k in (20, 50, 100)}
    matches = SplitMatches.collect("predcls", ("", "on", "of", "in"), [3, 7], table.images)
    assert matches.image.tolist() == [3, 7, 7, 7] and matches.predicate.tolist() == [1, 1, 2, 2]
    assert matches.relation.tolist() == [0, 1, 2, 3] and matches.rank.tolist() == [99, 19, 20, 50]
    recall = merged_recall(matches, np.array([0, 1, 1, 3]))  # "of" is a fine predicate of "on"
    assert recall.plain == {20: {1: 0.5}, 50: {1: 0.5}, 100: {1: 1}} and recall.merged == recall.plain
    assert recall.overall == pytest.approx({20: 1 / 6, 50: 1 / 3, 100: 1})
    assert [getattr(matches, name).dtype for name in ("image", "predicate", "relation", "rank", "predicted")] == [
        np.int32, np.int16, np.int32, np.uint8, np.int16]  # fmt: skip


def test_merged_recall_counts_the_same_ranks():
    matches = SplitMatches.collect("predcls", ("", "on", "of", "in"), [0], [image([1, 1, 2], [20, 49, 50])])
    recall = merged_recall(matches, np.array([0, 1, 1, 3]))
    assert recall.plain == recall.merged == {20: {1: 0}, 50: {1: 1}, 100: {1: 1}}
    assert recall.overall == pytest.approx({20: 0, 50: 2 / 3, 100: 1})


def test_seen_triplets_are_no_zero_shot_ones():
    found = image([1, 2], [0, 60])
    table = RecallTable(4, found.key[:1])
    table.add(0, found)
    assert table.result_dict("predcls")["predcls_zeroshot_recall"] == {20: [0], 50: [0], 100: [1]}
    table = RecallTable(4, found.key)
    table.add(0, found)
    assert table.result_dict("predcls")["predcls_zeroshot_recall"] == {20: [], 50: [], 100: []}


def test_no_image_at_all():
    result = RecallTable(4, np.zeros(0, np.int64)).result_dict("sgdet")
    for name in ("recall", "recall_nogc", "zeroshot_recall", "ng_zeroshot_recall", "accuracy_hit", "accuracy_count"):
        assert result[f"sgdet_{name}"] == {20: [], 50: [], 100: []}, name
    assert result["sgdet_mean_recall"] == {20: 0, 50: 0, 100: 0}
    assert result["sgdet_mean_recall_collect"][20] == [[], [], [], []]
    matches = SplitMatches.collect("sgdet", ("", "on"), [], [])
    for name in ("image", "predicate", "relation", "rank", "predicted"):
        assert getattr(matches, name).shape == (0,), name


def test_more_boxes_are_found_than_annotated_and_the_other_way_round():
    few, many = objects([WHOLE, FAR], [1, 2]), objects([WHOLE, UPPER, FAR], [1, 1, 2])
    for truth, found, last in ((few, many, 2), (many, few, 1)):
        relations = np.array([[0, 1 if truth is few else 2, 3]])
        pairs, scores = np.array([[0, last], [last, 0]]), np.float32([[0, 0, 0, 1], [0, 0.5, 0, 0]])
        ranked = rank_image(truth, relations, found, pairs, scores, iou_threshold=0.5, given_pairs=True)
        assert ranked.constrained.tolist() == ranked.unconstrained.tolist() == [0]
        assert ranked.annotated_pairs is not None
        assert rank_image(
            truth, relations, found, pairs, scores, iou_threshold=0.5, given_pairs=False
        ).annotated_pairs is None
