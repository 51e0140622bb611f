"""LSTM that names the objects of an image one after the other."""

from __future__ import annotations

import torch
from maskrcnn_benchmark.layers import Linear, linear
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


class DecoderRNN(nn.Module):
    """Highway LSTM decoder (Neural Motifs, sec. 4.2, with the cell of Zhang et al. 2016 and He et al. 2017).

    With gates i, f, o, highway r, candidate m and a linear projection p of the input::

        c_t = i * tanh(m) + f * c_{t-1}
        h_t = r * (o * tanh(c_t)) + (1 - r) * p

    The input is the object's representation and the embedding of the class just named; ``input_linearity`` stacks
    i, f, m, o, r, p and ``state_linearity`` the first five. One dropout mask per sequence falls on h_t (Gal and
    Ghahramani 2016).

    Args:
        vectors: (1 + C, D) initial embeddings of the start symbol and the classes.
        inputs_dim: width of an object's representation.
        rnn_drop: dropout probability.
    """

    def __init__(self, vectors: Tensor, inputs_dim: int, hidden_dim: int, rnn_drop: float) -> None:
        super().__init__()
        self.inputs_dim, self.hidden_size, self.rnn_drop = inputs_dim, hidden_dim, rnn_drop
        symbols, embed_dim = vectors.shape
        self.obj_embed = nn.Embedding.from_pretrained(vectors.clone(), freeze=False)
        self.input_linearity = Linear(inputs_dim + embed_dim, 6 * hidden_dim)
        self.state_linearity = Linear(hidden_dim, 5 * hidden_dim)
        self.out_obj = Linear(hidden_dim, symbols - 1)
        nn.init.zeros_(self.input_linearity.bias)
        nn.init.zeros_(self.state_linearity.bias)

    def forward(self, inputs: PackedSequence, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Decodes all images side by side.

        Args:
            inputs: objects in packed order, data (N, inputs_dim).
            labels: (N,) true classes in the same order. Training feeds them back in place of the decoder's own
                choice, except where they are background (0).

        Returns:
            (N, C) logits and (N,) classes named, never background, in the order of ``inputs``.
        """
        sizes = inputs.batch_sizes.tolist()
        # The part of the input that does not depend on the previous step, for all steps in one product.
        weight = self.input_linearity.weight
        known = linear(inputs.data, weight[:, : self.inputs_dim], self.input_linearity.bias).split(sizes)
        of_previous = weight[:, self.inputs_dim :]
        teacher = labels.split(sizes) if self.training and labels is not None else None

        hidden = cell = inputs.data.new_zeros(sizes[0], self.hidden_size)
        previous = self.obj_embed.weight[:1].expand(sizes[0], -1)
        mask = self._dropout_mask(hidden)
        logits, named = [], []
        for step, size in enumerate(sizes):
            projected = known[step] + linear(previous[:size], of_previous)
            hidden, cell = self._cell(projected, hidden[:size], cell[:size])
            if mask is not None:
                hidden = hidden * mask[:size]
            logits.append(self.out_obj(hidden))
            choice = logits[-1][:, 1:].argmax(1) + 1
            if teacher is not None:
                choice = torch.where(teacher[step] == 0, choice, teacher[step])
            named.append(choice)
            previous = self.obj_embed(choice + 1)  # row 0 is the start symbol
        return torch.cat(logits), torch.cat(named)

    def _cell(self, projected: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        gates, direct = projected.split((5 * self.hidden_size, self.hidden_size), 1)
        i, f, m, o, r = (gates + self.state_linearity(hidden)).chunk(5, 1)
        cell = i.sigmoid() * m.tanh() + f.sigmoid() * cell
        return torch.lerp(direct, o.sigmoid() * cell.tanh(), r.sigmoid()), cell

    def _dropout_mask(self, like: Tensor) -> Tensor | None:
        if not self.training or self.rnn_drop == 0:
            return None
        return (torch.rand_like(like) > self.rnn_drop).to(like.dtype) / (1.0 - self.rnn_drop)
