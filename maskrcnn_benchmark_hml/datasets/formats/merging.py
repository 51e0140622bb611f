"""Merge boxes that annotate the same object twice, by the rules with which the VG150 split was made.

Visual Genome's workers wrote region by region, so the same object has several boxes and several names.
"""

from __future__ import annotations

import numpy as np

SAME, INSIDE, OVERLAP = 1, 2, 3
"""Why a box is merged into an earlier one: nearly the same box, whatever the names; one inside the other with the same
name; much overlap with the same name."""

SAME_ABOVE, OVERLAP_ABOVE = 0.9, 0.6
"""Shares of the intersection in the box around both, above which two boxes are SAME and OVERLAP."""


def merge_boxes(corners: np.ndarray, names: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Merge the boxes of one image.

    In the order of the file, a box takes in every later box that is left and stands in one of the three relations to
    it. If all it took in are SAME, the result is their mean, else the box around all of them.

    Args:
        corners: (n, 4) x1, y1, x2, y2 in pixels.
        names: (n,) the first name of each.

    Returns:
        (n,) the row of the result that each box became; (m, 4) the resulting boxes;
        and for each reason how many boxes were merged into another (a group counts under its highest reason).
    """
    reasons = np.triu(_reasons(corners, names), 1)
    takes = (reasons > 0).sum(1)  # most boxes take in none
    group = np.full(len(corners), -1, dtype=np.int64)
    made: list[np.ndarray] = []
    counts = {SAME: 0, INSIDE: 0, OVERLAP: 0}
    for i in range(len(corners)):
        if group[i] >= 0:
            continue
        taken = np.flatnonzero((reasons[i] > 0) & (group < 0)) if takes[i] else ()
        group[i] = len(made)
        if not len(taken):
            made.append(corners[i])
            continue
        group[taken] = group[i]
        highest = int(reasons[i, taken].max())
        counts[highest] += len(taken)
        boxes = corners[[i, *taken]]
        around = np.concatenate([boxes[:, :2].min(0), boxes[:, 2:].max(0)])
        made.append(boxes.mean(0) if highest == SAME else around)
    return group, np.array(made, dtype=np.float64).reshape(-1, 4), counts


def _reasons(corners: np.ndarray, names: np.ndarray) -> np.ndarray:
    """(n, n) why two boxes are one object, 0 if they are not."""
    low, high = corners[:, None, :2], corners[:, None, 2:]
    other_low, other_high = corners[None, :, :2], corners[None, :, 2:]
    inner = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None).prod(-1)
    outer = (np.maximum(high, other_high) - np.minimum(low, other_low)).prod(-1)
    share = inner / np.maximum(outer, 1e-9)
    inside = ((low >= other_low) & (high <= other_high)).all(-1)
    same_name = names[:, None] == names[None, :]
    return np.select(
        [share > SAME_ABOVE, (inside | inside.T) & same_name, (share > OVERLAP_ABOVE) & same_name],
        [SAME, INSIDE, OVERLAP],
        0,
    )
