"""Boxes of one object are merged by the rules of VG150's script."""

from __future__ import annotations

import numpy as np
import pytest

from maskrcnn_benchmark_hml.datasets.formats.merging import INSIDE, OVERLAP, SAME, merge_boxes


def merged(boxes, names):
    group, corners, counts = merge_boxes(np.array(boxes, dtype=float).reshape(-1, 4), np.array(names, dtype=int))
    return group.tolist(), corners.tolist(), {reason: number for reason, number in counts.items() if number}


@pytest.mark.parametrize(("boxes", "names", "result"), [
    # Nearly the same box, other names: their mean. 100 x 100 and 100 x 96: 0.96 of the box around both.
    ([[0, 0, 100, 100], [0, 0, 100, 96]], [1, 2], ([0, 0], [[0, 0, 100, 98]], {SAME: 1})),
    # Inside: only with the same name, and then the larger box, in either order.
    ([[0, 0, 100, 100], [10, 10, 20, 20]], [1, 1], ([0, 0], [[0, 0, 100, 100]], {INSIDE: 1})),
    ([[10, 10, 20, 20], [0, 0, 100, 100]], [1, 1], ([0, 0], [[0, 0, 100, 100]], {INSIDE: 1})),
    ([[0, 0, 100, 100], [10, 10, 20, 20]], [1, 2], ([0, 1], [[0, 0, 100, 100], [10, 10, 20, 20]], {})),
    # 90 x 100 of 110 x 100: a share of 0.82 of the box around both.
    ([[0, 0, 100, 100], [10, 0, 110, 100]], [1, 1], ([0, 0], [[0, 0, 110, 100]], {OVERLAP: 1})),
    ([[0, 0, 100, 100], [10, 0, 110, 100]], [1, 2], ([0, 1], [[0, 0, 100, 100], [10, 0, 110, 100]], {})),
    # The share is of the box around both, not of the union: 80 x 80 of 120 x 120 is 0.44, of the union 0.47.
    # 88 x 88 of 112 x 112 is 0.617, 87 x 87 of 113 x 113 is 0.593.
    ([[0, 0, 100, 100], [12, 12, 112, 112]], [1, 1], ([0, 0], [[0, 0, 112, 112]], {OVERLAP: 1})),
    ([[0, 0, 100, 100], [13, 13, 113, 113]], [1, 1], ([0, 1], [[0, 0, 100, 100], [13, 13, 113, 113]], {})),
    ([[0, 0, 9, 9], [50, 50, 60, 60]], [1, 1], ([0, 1], [[0, 0, 9, 9], [50, 50, 60, 60]], {})),
    ([], [], ([], [], {})),
])
def test_two_boxes(boxes, names, result):
    assert merged(boxes, names) == result


def test_a_box_takes_in_later_ones_once_and_a_group_counts_under_its_highest_reason():
    boxes = [[0, 0, 100, 100], [0, 0, 100, 99], [200, 0, 300, 100], [1, 1, 9, 9], [210, 10, 220, 20]]
    # 1 and 3 go into 0 (SAME and INSIDE: the group counts as INSIDE), 4 has another name than 2.
    assert merged(boxes, [1, 2, 3, 1, 1]) == (
        [0, 0, 1, 0, 2], [[0, 0, 100, 100], [200, 0, 300, 100], [210, 10, 220, 20]], {INSIDE: 2})
    # 0 takes 1, which would take 2; 2 is too far from 0 and stays.
    chain = [[0, 0, 100, 100], [12, 0, 112, 100], [44, 0, 144, 100]]
    assert merged(chain, [1, 1, 1])[0] == [0, 0, 1]
