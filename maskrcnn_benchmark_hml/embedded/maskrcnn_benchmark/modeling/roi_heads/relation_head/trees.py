"""Trees over the objects of each image (Tang et al., Learning to Compose Dynamic Tree Structures, CVPR 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
from torch import Tensor

NONE = -1


@dataclass(frozen=True)
class Forest:
    """One binary tree per image, all of them cut into levels: roots, their children, and so on.

    Attributes:
        order: (N,) objects of the batch, level after level; within a level, left children before right ones.
        inverse: (N,) so that ``x[order][inverse]`` is ``x``.
        sizes: objects per level.
        above: per level but the first, (n,) place of each object's parent in the level above.
        lefts: per level but the first, how many left children it has.
    """

    order: Tensor
    inverse: Tensor
    sizes: list[int]
    above: tuple[Tensor, ...]
    lefts: list[int]

    def below(self, level: int) -> list[tuple[int, int, Tensor]]:
        """The children of a level's objects by side, sides without children left out.

        Returns:
            0 for left or 1 for right, the first child's place in the level below, and (n,) places of their parents.
        """
        if level + 1 == len(self.sizes):
            return []
        above, lefts = self.above[level], self.lefts[level]
        if lefts in (0, len(above)):
            return [(int(lefts == 0), 0, above)]
        return [(0, 0, above[:lefts]), (1, lefts, above[lefts:])]


def grow_forest(scores: Tensor, padding: Padding) -> Forest:
    """The binary trees of a batch, for the pair scores (B, n, n) of which only the cells of objects count."""
    parent, rank = max_spanning_trees(scores.detach().float().cpu().numpy(), np.array(padding.counts))
    return cut_into_levels(binary_children(parent, rank), scores.device)


def max_spanning_trees(scores: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grows a tree in every image from the object of the highest mean score, by the strongest link each time (Prim).

    Link scores are directed: scores[b, i, j] is that of j as a child of i. Of equal links that of the object joined
    earlier wins, then that to the object of the lower index. All images grow together, one object each per step.

    Args:
        scores: (B, n, n).
        counts: (B,) objects per image; the rest of each block is ignored.

    Returns:
        (N,) parent of each object, as rows of the batch's objects, ``NONE`` for roots; and (N,) the step at which it
        joined, 0 for roots.
    """
    size, images = scores.shape[1], np.arange(len(scores))
    inside = np.arange(size) < counts[:, None]
    mean = np.where(inside[:, None], scores, 0).sum(2) / counts[:, None].astype(scores.dtype)
    root = np.where(inside, mean, -np.inf).argmax(1)

    # A link that may not be chosen is -inf: to what is no object, or to one that joined. What is no object joins too,
    # after all objects of its image, and is left out at the end.
    never = np.float32(-np.inf)
    links = np.where(inside[:, None] & ~np.isnan(scores), scores, never)
    links[images, :, root] = never
    rank = np.zeros((len(scores), size), dtype=np.int64)
    joined, by = rank.copy(), rank.copy()  # the object that joined at each step; the step of each object's parent
    joined[:, 0] = root
    best, parents = links[images, root], rank.copy()  # strongest link from the tree to each object
    by[images, root] = size
    for step in range(1, size):
        # Those that joined have no step below ``size`` and lose against any that did not.
        new = np.where(best == best.max(1, keepdims=True), by, size).argmin(1)
        at = images, new
        rank[at], parents[at], joined[:, step] = step, by[at], new
        best[at], by[at] = never, size
        links[images, :, new] = never
        row = links[at]
        stronger = row > best
        np.copyto(best, row, where=stronger)
        np.copyto(by, step, where=stronger)

    first = (counts.cumsum() - counts)[:, None]
    parent = first + np.take_along_axis(joined, parents, 1)
    parent[images, root] = NONE
    return parent[inside], rank[inside]


def binary_children(parent: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """Left child = first child, right child = next sibling, siblings in the order in which they joined.

    Args:
        parent: (N,) rows, ``NONE`` for roots.
        rank: (N,) distinct within a tree.

    Returns:
        (N, 2) rows of the left and the right child, ``NONE`` where there is none.
    """
    children = np.full((len(parent), 2), NONE)
    siblings = np.lexsort((rank, parent))[np.count_nonzero(parent == NONE) :]
    of = parent[siblings]
    first = np.ones(len(siblings), dtype=bool)
    first[1:] = of[1:] != of[:-1]
    children[of[first], 0] = siblings[first]
    later = np.flatnonzero(~first)
    children[siblings[later - 1], 1] = siblings[later]
    return children


def cut_into_levels(children: np.ndarray, device: torch.device) -> Forest:
    """The forest of (N, 2) children; objects that are nobody's child are roots."""
    count = len(children)
    parent = np.full(count + 1, count)  # the last entry stands for no object and is its own parent
    side = np.zeros(count, dtype=np.int64)
    for column in (0, 1):
        of = np.flatnonzero(children[:, column] != NONE)
        parent[children[of, column]] = of
        side[children[of, column]] = column
    # Depths by jumping: each time every object knows twice as many of the objects above it.
    depth, ancestor = (parent != count).astype(np.int64), parent
    while (ancestor != count).any():
        depth, ancestor = depth + depth[ancestor], ancestor[ancestor]
    depth = depth[:count]

    order = np.argsort(2 * depth + side, kind="stable")
    sizes = np.bincount(depth)
    inverse = np.empty_like(order)
    inverse[order] = np.arange(count)
    place = inverse - (sizes.cumsum() - sizes)[depth]
    above = torch.from_numpy(place[parent[order[sizes[0] :]]]).to(device)
    return Forest(
        torch.from_numpy(order).to(device),
        torch.from_numpy(inverse).to(device),
        sizes.tolist(),
        above.split(sizes[1:].tolist()),
        np.bincount(depth[side == 0], minlength=len(sizes))[1:].tolist(),
    )
