"""VCTree's trees and what runs along them: growth, binary form, tree LSTMs, decoder, initialisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
from maskrcnn_benchmark.modeling.roi_heads.relation_head.tree_decoder import DecoderTreeLSTM
from maskrcnn_benchmark.modeling.roi_heads.relation_head.tree_lstm import (
    BottomUpTreeLSTM,
    StackedTreeLSTM,
    TopDownTreeLSTM,
    orthogonal_linear,
    tree_dropout,
)
from maskrcnn_benchmark.modeling.roi_heads.relation_head.trees import (
    NONE,
    binary_children,
    cut_into_levels,
    grow_forest,
    max_spanning_trees,
)

CPU = torch.device("cpu")
# A forest of three binary trees on 4, 1 and 3 objects: rows of left and right child.
CHILDREN = np.array([[NONE, 2], [0, 3], [NONE, NONE], [NONE, NONE], [NONE, NONE], [6, NONE], [NONE, 7], [NONE, NONE]])
IMAGE = torch.tensor([0, 0, 0, 0, 1, 2, 2, 2])


def tree_by_hand(scores: np.ndarray) -> tuple[list[int], list[int]]:
    """Parent and step of joining, one comparison at a time."""
    size = len(scores)
    tree, parent, rank = [int(np.argmax(scores.mean(1)))], [NONE] * size, [0] * size
    while len(tree) < size:
        links = [(scores[i, j], -tree.index(i), -j) for i in tree for j in range(size) if j not in tree]
        _, i, j = max(links)
        parent[-j], rank[-j] = tree[-i], len(tree)
        tree.append(-j)
    return parent, rank


@pytest.mark.parametrize("levels", [0, 2, 4])
def test_trees_grow_by_the_strongest_link(levels):
    random = np.random.default_rng(levels)
    counts = np.array([6, 1, 9, 2, 9])
    scores = random.random((5, 9, 9), dtype=np.float32)
    if levels:  # many equal scores
        scores = np.round(scores * levels) / np.float32(levels)
    parent, rank = max_spanning_trees(scores, counts)
    start = 0
    for block, count in zip(scores, counts):
        expected, order = tree_by_hand(block[:count, :count])
        assert [p if p == NONE else p - start for p in parent[start : start + count]] == expected
        assert rank[start : start + count].tolist() == order
        start += count


def test_scores_that_are_no_numbers_still_give_a_tree():
    parent, rank = max_spanning_trees(np.full((2, 4, 4), np.nan, dtype=np.float32), np.array([4, 2]))
    assert sorted(rank.tolist()) == [0, 0, 1, 1, 2, 3] and (parent == NONE).sum() == 2


def test_binary_form_and_levels():
    # 2 is the root with children 4, 0, 3 in this order; 1 hangs on 0. 5 is a tree of its own.
    parent, rank = np.array([2, 0, NONE, 2, 2, NONE]), np.array([2, 3, 0, 4, 1, 0])
    children = binary_children(parent, rank)
    assert children.tolist() == [[1, 3], [NONE, NONE], [4, NONE], [NONE, NONE], [NONE, 0], [NONE, NONE]]
    forest = cut_into_levels(children, CPU)
    assert forest.order.tolist() == [2, 5, 4, 0, 1, 3] and forest.sizes == [2, 1, 1, 2]
    assert forest.order[forest.inverse].tolist() == list(range(6))
    assert [a.tolist() for a in forest.above] == [[0], [0], [0, 0]]
    assert forest.lefts == [1, 0, 1]
    sides = [[(side, first, places.tolist()) for side, first, places in forest.below(level)] for level in range(4)]
    assert sides == [[(0, 0, [0])], [(1, 0, [0])], [(0, 0, [0]), (1, 1, [0])], []]


def test_padding_does_not_reach_the_trees():
    scores = torch.rand(3, 5, 5)
    padding = Padding([2, 5, 3], CPU)
    forest = grow_forest(scores, padding)
    outside = padding.mask[:, :, None] & padding.mask[:, None]
    other = grow_forest(scores.masked_fill(~outside, 7.0), padding)
    assert torch.equal(forest.order, other.order) and forest.sizes == other.sizes


def parents(children: np.ndarray) -> list[int]:
    rows = [NONE] * len(children)
    for row, pair in enumerate(children.tolist()):
        for child in pair:
            if child != NONE:
                rows[child] = row
    return rows


def test_bottom_up_equations():
    lstm, forest, x = BottomUpTreeLSTM(6, 4), cut_into_levels(CHILDREN, CPU), torch.randn(8, 6)
    for parameter in lstm.parameters():
        torch.nn.init.normal_(parameter)

    def state(row: int) -> tuple[torch.Tensor, torch.Tensor]:
        if row == NONE:
            return torch.zeros(4), torch.zeros(4)
        (hl, cl), (hr, cr) = (state(child) for child in CHILDREN[row].tolist())
        gates = lstm.ioffux(x[row]) + lstm.ioffuh_left(hl) + lstm.ioffuh_right(hr)
        i, o, fl, fr, u, r = gates.split(4)
        c = i.sigmoid() * u.tanh() + fl.sigmoid() * cl + fr.sigmoid() * cr
        r = r.sigmoid()
        return r * o.sigmoid() * c.tanh() + (1 - r) * lstm.px(x[row]), c

    found = lstm(x[forest.order], forest)[forest.inverse]
    torch.testing.assert_close(found, torch.stack([state(row)[0] for row in range(8)]))


def test_top_down_equations():
    lstm, forest, x = TopDownTreeLSTM(6, 4), cut_into_levels(CHILDREN, CPU), torch.randn(8, 6)
    for parameter in lstm.parameters():
        torch.nn.init.normal_(parameter)
    above = parents(CHILDREN)

    def state(row: int) -> tuple[torch.Tensor, torch.Tensor]:
        if row == NONE:
            return torch.zeros(4), torch.zeros(4)
        h, c = state(above[row])
        i, o, f, u, r = (lstm.iofux(x[row]) + lstm.iofuh(h)).split(4)
        c = i.sigmoid() * u.tanh() + f.sigmoid() * c
        r = r.sigmoid()
        return r * o.sigmoid() * c.tanh() + (1 - r) * lstm.px(x[row]), c

    found = lstm(x[forest.order], forest)[forest.inverse]
    torch.testing.assert_close(found, torch.stack([state(row)[0] for row in range(8)]))


def test_trees_do_not_see_each_other():
    lstm = StackedTreeLSTM(6, 8, layers=2, dropout=0.5).eval()
    forest, x = cut_into_levels(CHILDREN, CPU), torch.randn(8, 6)
    together = lstm(x[forest.order], forest, IMAGE[forest.order])[forest.inverse]
    for first, last in ((0, 4), (4, 5), (5, 8)):
        own = CHILDREN[first:last]
        alone = cut_into_levels(np.where(own == NONE, NONE, own - first), CPU)
        rows = lstm(x[first:last][alone.order], alone, IMAGE[:0].new_zeros(last - first))[alone.inverse]
        torch.testing.assert_close(together[first:last], rows)


def test_dropout_is_one_mask_per_tree_in_training_and_several_layers():
    forest = cut_into_levels(CHILDREN, CPU)
    factors = torch.cat(tree_dropout(0.25, 400, IMAGE[forest.order], forest))[forest.inverse]
    assert factors.unique().tolist() == [0.0, pytest.approx(4 / 3)] and abs(factors.mean() - 1) < 0.1
    for rows in (factors[:4], factors[5:]):
        assert torch.equal(rows, rows[:1].expand_as(rows))
    assert not torch.equal(factors[0], factors[5])
    assert tree_dropout(0.0, 400, IMAGE, forest) is None
    x = torch.randn(8, 6)
    for layers, training, same in ((1, True, True), (2, True, False), (2, False, True)):
        lstm = StackedTreeLSTM(6, 8, layers, dropout=0.5).train(training)
        assert torch.equal(*(lstm(x, forest, IMAGE[forest.order]) for _ in range(2))) == same


def test_decoder_passes_the_parents_name_on():
    decoder = DecoderTreeLSTM(torch.randn(8, 5), inputs_dim=6, hidden_dim=4, dropout=0.5).eval()
    forest, x = cut_into_levels(CHILDREN, CPU), torch.randn(8, 6)
    logits, named = decoder(x[forest.order], forest, IMAGE[forest.order])
    logits, named = logits[forest.inverse], named[forest.inverse]
    assert torch.equal(named, logits[:, 1:].argmax(1) + 1)
    above = parents(CHILDREN)
    symbols = [0 if row == NONE else int(named[row]) + 1 for row in above]
    full = torch.cat((x, decoder.obj_embed.weight[symbols]), 1)
    expected = decoder.out(decoder.decoderLSTM(full[forest.order], forest)[forest.inverse])
    torch.testing.assert_close(logits, expected)


def test_decoder_draws_what_it_passes_on_in_training():
    """A thousand roots with one child each: the child's logits tell the class that its root handed down."""
    trees, classes = 1000, 4
    decoder = DecoderTreeLSTM(torch.eye(classes + 1), inputs_dim=2, hidden_dim=6, dropout=0.0)
    children = np.full((2 * trees, 2), NONE)
    children[:trees, 0] = np.arange(trees, 2 * trees)
    forest = cut_into_levels(children, CPU)
    x, image = torch.randn(1, 2).expand(2 * trees, 2), torch.arange(trees).repeat(2)
    with torch.no_grad():
        decoder.out.weight.mul_(3)
        logits, named = decoder(x, forest, image)
        options = torch.eye(classes + 1)[2:]  # embeddings of the three classes that are not background
        pair = cut_into_levels(np.array([[1, NONE], [NONE, NONE]]), CPU)
        start = torch.eye(classes + 1)[:1]
        chains = [torch.cat((x[:2], torch.cat((start, option[None]))), 1) for option in options]
        hidden = torch.stack([decoder.decoderLSTM(chain, pair)[1] for chain in chains])
        distance = torch.cdist(logits[trees:], decoder.out(hidden))
    assert float(distance.min(1).values.max()) < 0.01
    share = torch.bincount(distance.argmin(1), minlength=3) / trees
    probability = logits[0].softmax(0)[1:] / logits[0].softmax(0)[1:].sum()
    assert float((share - probability).abs().max()) < 0.06
    assert torch.equal(named, logits[:, 1:].argmax(1) + 1)  # the names themselves are not drawn


@pytest.mark.parametrize(("inputs", "outputs", "block"), [(40, 12, 4), (9, 12, 4), (4, 12, 4), (3, 8, 4)])
def test_blocks_are_orthogonal(inputs, outputs, block):
    layer = orthogonal_linear(inputs, outputs, block)
    assert layer.weight.shape == (outputs, inputs) and not layer.bias.any() and layer.weight.requires_grad
    blocks = layer.weight.detach().split(block)
    for rows in blocks:
        product = rows @ rows.t() if block <= inputs else rows.t() @ rows
        torch.testing.assert_close(product, torch.eye(min(block, inputs)), atol=1e-5, rtol=0)
    assert not torch.allclose(blocks[0], blocks[1])
