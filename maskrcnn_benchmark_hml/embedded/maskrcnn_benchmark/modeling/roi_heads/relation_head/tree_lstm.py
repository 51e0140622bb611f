"""Tree LSTMs over a forest: one step per level, for all trees at once (Tai et al. 2015; VCTree, CVPR 2019).

Every cell has a highway: with output gate o, highway gate r and a linear map p of the input,
h = r * (o * tanh(c)) + (1 - r) * p. Inputs and outputs are in the order of the forest. Gates of the input are computed
for all objects in one product; only the part that depends on other objects is left to the steps.
"""

from __future__ import annotations

import torch
from maskrcnn_benchmark.layers import Linear, linear
from maskrcnn_benchmark.modeling.roi_heads.relation_head.trees import Forest
from torch import Tensor, nn


def orthogonal_linear(inputs: int, outputs: int, block: int) -> nn.Linear:
    """Linear layer, bias 0, of which every ``block`` rows are uniformly random orthonormal vectors (or columns)."""
    layer = nn.utils.skip_init(Linear, inputs, outputs)
    nn.init.zeros_(layer.bias)
    for rows in layer.weight.detach().split(block):
        nn.init.orthogonal_(rows)
    return layer


class BottomUpTreeLSTM(nn.Module):
    """From the leaves to the root. With the children's states (h_l, c_l) and (h_r, c_r), zero where there is none::

    [i o f_l f_r u r] = W x + U_l h_l + U_r h_r
    c = i * tanh(u) + f_l * c_l + f_r * c_r
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.px = orthogonal_linear(inputs, hidden, hidden)
        self.ioffux = orthogonal_linear(inputs, 6 * hidden, hidden)
        self.ioffuh_left = orthogonal_linear(hidden, 6 * hidden, hidden)
        self.ioffuh_right = orthogonal_linear(hidden, 6 * hidden, hidden)
        for layer in (self.ioffuh_left, self.ioffuh_right):  # the two together: forget gates open at first
            nn.init.constant_(layer.bias[2 * hidden : 4 * hidden], 0.5)

    def forward(self, x: Tensor, forest: Forest, drop: tuple[Tensor, ...] | None = None) -> Tensor:
        """(N, inputs) -> (N, hidden); ``drop``: per level factors (n, hidden) on h."""
        left, right = self.ioffuh_left, self.ioffuh_right
        direct = self.px(x).split(forest.sizes)
        bias = self.ioffux.bias + left.bias + right.bias
        from_input = linear(x, self.ioffux.weight, bias).split(forest.sizes)
        width = direct[0].shape[1]

        outputs: list[Tensor] = []
        hidden = cell = direct[0][:0]
        for level in reversed(range(len(forest.sizes))):
            gates, children = from_input[level], []
            for side, first, places in forest.below(level):
                below, kept = (state.narrow(0, first, len(places)) for state in (hidden, cell))
                gates = _add_rows(gates, places, below, (left, right)[side].weight)
                children.append((side, places, kept))
            i, o, *forget, _, r = gates.sigmoid().chunk(6, 1)
            cell = i * gates.narrow(1, 4 * width, width).tanh()
            for side, places, kept in children:
                if len(cell) == 1:
                    cell = torch.addcmul(cell, forget[side], kept)
                else:
                    cell = cell.index_add(0, places, forget[side].index_select(0, places) * kept)
            hidden = torch.lerp(direct[level], o * cell.tanh(), r)
            hidden = hidden if drop is None else hidden * drop[level]
            outputs.append(hidden)
        return torch.cat(outputs[::-1])


def _add_rows(total: Tensor, places: Tensor, rows: Tensor, weight: Tensor) -> Tensor:
    """(n, outputs) plus ``rows @ weight.T`` (n', outputs) at ``places`` (n',), of which none appears twice."""
    if len(total) == 1:  # the levels of a single deep tree; here every call counts
        return torch.addmm(total, rows, weight.t())
    return total.index_add(0, places, linear(rows, weight))


class TopDownTreeLSTM(nn.Module):
    """From the root to the leaves. With the parent's state (h_p, c_p), zero at the root::

    [i o f u r] = W x + U h_p
    c = i * tanh(u) + f * c_p
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.px = orthogonal_linear(inputs, hidden, hidden)
        self.iofux = orthogonal_linear(inputs, 5 * hidden, hidden)
        self.iofuh = orthogonal_linear(hidden, 5 * hidden, hidden)
        nn.init.ones_(self.iofuh.bias[2 * hidden : 3 * hidden])

    def forward(self, x: Tensor, forest: Forest, drop: tuple[Tensor, ...] | None = None) -> Tensor:
        """(N, inputs) -> (N, hidden); ``drop``: per level factors (n, hidden) on h."""
        direct = self.px(x).split(forest.sizes)
        gates = linear(x, self.iofux.weight, self.iofux.bias + self.iofuh.bias).split(forest.sizes)
        hidden = cell = torch.zeros_like(direct[0])
        outputs: list[Tensor] = []
        for level in range(len(forest.sizes)):
            if level and not len(hidden) == forest.sizes[level] == 1:
                above = forest.above[level - 1]
                hidden, cell = hidden.index_select(0, above), cell.index_select(0, above)
            hidden, cell = self.step(gates[level], direct[level], hidden, cell)
            hidden = hidden if drop is None else hidden * drop[level]
            outputs.append(hidden)
        return torch.cat(outputs)

    def step(self, gates: Tensor, direct: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """One level.

        Args:
            gates: (n, 5 H) of the input, with the biases of both layers; direct: (n, H) its map p.
            hidden, cell: (n, H) states of the parents.

        Returns:
            h and c, (n, H).
        """
        width = direct.shape[1]
        if len(hidden) == 1:
            gates = torch.addmm(gates, hidden, self.iofuh.weight.t())
        else:
            gates = gates + linear(hidden, self.iofuh.weight)
        i, o, f, _, r = gates.sigmoid().chunk(5, 1)
        cell = torch.addcmul(i * gates.narrow(1, 3 * width, width).tanh(), f, cell)
        return torch.lerp(direct, o * cell.tanh(), r), cell


class BidirectionalTreeLSTM(nn.Module):
    """Both directions on the same input, each with half of the width, side by side."""

    def __init__(self, inputs: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.half, self.dropout = outputs // 2, dropout
        # The names that published checkpoints hold, "foreward" included.
        self.treeLSTM_foreward = nn.ModuleDict({"treeLSTM": BottomUpTreeLSTM(inputs, self.half)})
        self.treeLSTM_backward = nn.ModuleDict({"treeLSTM": TopDownTreeLSTM(inputs, self.half)})

    def forward(self, x: Tensor, forest: Forest, image: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs); image: (N,) image of each object, both in the forest's order."""
        both = []
        for direction in (self.treeLSTM_foreward, self.treeLSTM_backward):
            drop = tree_dropout(self.dropout if self.training else 0.0, self.half, image, forest)
            both.append(direction["treeLSTM"](x, forest, drop))
        return torch.cat(both, 1)


class StackedTreeLSTM(nn.Module):
    """Layers of bidirectional tree LSTMs. Dropout falls on the states of all layers, and only if there are several."""

    def __init__(self, inputs: int, outputs: int, layers: int, dropout: float) -> None:
        super().__init__()
        dropout = dropout if layers > 1 else 0.0
        self.multi_layer_lstm = nn.ModuleList(
            BidirectionalTreeLSTM(outputs if layer else inputs, outputs, dropout) for layer in range(layers)
        )

    def forward(self, x: Tensor, forest: Forest, image: Tensor) -> Tensor:
        """(N, inputs) -> (N, outputs), in the forest's order."""
        for layer in self.multi_layer_lstm:
            x = layer(x, forest, image)
        return x


def tree_dropout(rate: float, width: int, image: Tensor, forest: Forest) -> tuple[Tensor, ...] | None:
    """Per level factors (n, width), 0 or 1 / (1 - rate), the same for all objects of an image; None at rate 0.

    One mask per sequence is the dropout of Gal and Ghahramani (2016).
    """
    if rate == 0:
        return None
    mask = (torch.rand(forest.sizes[0], width, device=image.device) > rate) / (1.0 - rate)
    return mask.index_select(0, image).split(forest.sizes)
