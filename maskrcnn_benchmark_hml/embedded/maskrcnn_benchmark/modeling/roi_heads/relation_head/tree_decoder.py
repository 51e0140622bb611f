"""Tree LSTM that names the objects of an image from the root to the leaves."""

from __future__ import annotations

import torch
from maskrcnn_benchmark.layers import Linear, linear
from maskrcnn_benchmark.modeling.roi_heads.relation_head.tree_lstm import TopDownTreeLSTM, tree_dropout
from maskrcnn_benchmark.modeling.roi_heads.relation_head.trees import Forest
from torch import Tensor, nn


class DecoderTreeLSTM(nn.Module):
    """Top-down tree LSTM whose input is an object's representation and the embedding of its parent's class.

    When tested, a parent hands down the class it is named. In training it hands down a class drawn from its own
    distribution without background, so that children learn to live with their parents' errors.

    Args:
        vectors: (1 + C, D) initial embeddings of the start symbol and the classes.
        inputs_dim: width of an object's representation.
    """

    def __init__(self, vectors: Tensor, inputs_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__()
        self.inputs_dim, self.hidden_dim, self.dropout = inputs_dim, hidden_dim, dropout
        symbols, embed_dim = vectors.shape
        self.obj_embed = nn.Embedding.from_pretrained(vectors.clone(), freeze=False)
        self.out = Linear(hidden_dim, symbols - 1)
        self.decoderLSTM = TopDownTreeLSTM(inputs_dim + embed_dim, hidden_dim)
        # Checkpoints hold the two layers under these names as well.
        self.decoderLSTM.embed_layer, self.decoderLSTM.embed_out_layer = self.obj_embed, self.out

    def forward(self, x: Tensor, forest: Forest, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and names.

        Args:
            x: (N, inputs_dim); image: (N,) image of each object; both in the forest's order.

        Returns:
            (N, C) logits and (N,) the likeliest class but background, in the same order.
        """
        lstm = self.decoderLSTM
        direct, of_symbol_direct = self._project(x, lstm.px.weight, lstm.px.bias)
        gates, of_symbol_gates = self._project(x, lstm.iofux.weight, lstm.iofux.bias + lstm.iofuh.bias)
        direct, gates = direct.split(forest.sizes), gates.split(forest.sizes)
        drop = tree_dropout(self.dropout if self.training else 0.0, self.hidden_dim, image, forest)

        hidden = cell = torch.zeros_like(direct[0])
        symbol = torch.zeros(forest.sizes[0], dtype=torch.int64, device=x.device)  # row 0 is the start symbol
        logits, named = [], []
        for level in range(len(forest.sizes)):
            if level:
                above = forest.above[level - 1]
                hidden, cell, symbol = hidden[above], cell[above], symbol[above]
            known = gates[level] + of_symbol_gates.index_select(0, symbol)
            hidden, cell = lstm.step(known, direct[level] + of_symbol_direct.index_select(0, symbol), hidden, cell)
            hidden = hidden if drop is None else hidden * drop[level]
            logits.append(self.out(hidden))
            probability = logits[-1].detach().softmax(1)[:, 1:]
            named.append(probability.argmax(1) + 1)
            symbol = (probability.multinomial(1).squeeze(1) + 1 if self.training else named[-1]) + 1
        return torch.cat(logits), torch.cat(named)

    def _project(self, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        """A dense layer on [x; embedding] as a sum: its part of every object, and of every symbol."""
        of_input, of_symbol = weight.tensor_split((self.inputs_dim,), 1)
        return linear(x, of_input, bias), linear(self.obj_embed.weight, of_symbol)
