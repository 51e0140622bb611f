"""Object and edge context from self-attention encoders (Vaswani et al., Attention is all you need, NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.layers import Linear, linear
from maskrcnn_benchmark.modeling.roi_heads.relation_head.late_nms import late_nms_per_image
from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
from maskrcnn_benchmark.modeling.roi_heads.relation_head.utils_motifs import (
    encode_box_info,
    given_label_logits,
    obj_edge_vectors,
)
from maskrcnn_benchmark.modeling.utils import cat
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

POSITION_DIM = 128
ATTENTION_DROPOUT = 0.1  # of attention weights; the config's rate is that of the sublayers' outputs


class SelfAttention(nn.Module):
    """Multi-head attention among the objects of an image: LayerNorm(x + W softmax(Q K^T / sqrt(d_k)) V), eq. 1."""

    def __init__(self, heads: int, width: int, key_dim: int, value_dim: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.w_qs = Linear(width, heads * key_dim)
        self.w_ks = Linear(width, heads * key_dim)
        self.w_vs = Linear(width, heads * value_dim)
        # Glorot's rule for the map of one head.
        for projection, out in ((self.w_qs, key_dim), (self.w_ks, key_dim), (self.w_vs, value_dim)):
            nn.init.normal_(projection.weight, std=(2.0 / (width + out)) ** 0.5)
        self.fc = Linear(heads * value_dim, width)
        nn.init.xavier_normal_(self.fc.weight)
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        """(N, width) -> (N, width)."""
        query, key, value = (self._split(w(x), padding) for w in (self.w_qs, self.w_ks, self.w_vs))
        attended = F.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=padding.mask[:, None, None],
            dropout_p=ATTENTION_DROPOUT if self.training else 0.0,
        )
        attended = padding.unpad(attended.transpose(1, 2).flatten(2))
        return self.layer_norm(x + self.dropout(self.fc(attended)))

    def _split(self, rows: Tensor, padding: Padding) -> Tensor:
        """(N, heads * d) -> (B, heads, n, d)."""
        return padding.pad(rows).unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Module):
    """LayerNorm(x + W_2 relu(W_1 x)), eq. 2; its two maps are stored as convolutions of width 1."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.w_1 = nn.Conv1d(width, inner, 1)
        self.w_2 = nn.Conv1d(inner, width, 1)
        self.layer_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width) -> (N, width)."""
        inner = linear(x, self.w_1.weight.squeeze(2), self.w_1.bias).relu()
        return self.layer_norm(x + self.dropout(linear(inner, self.w_2.weight.squeeze(2), self.w_2.bias)))


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward map."""

    def __init__(self, heads: int, width: int, inner: int, key_dim: int, value_dim: int, dropout: float) -> None:
        super().__init__()
        self.slf_attn = SelfAttention(heads, width, key_dim, value_dim, dropout)
        self.pos_ffn = FeedForward(width, inner, dropout)

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        return self.pos_ffn(self.slf_attn(x, padding))


class TransformerEncoder(nn.Module):
    """A stack of encoder layers without position codes: what an object's place says is in its features.

    Rows of all images lie side by side; only the attention itself sees padded blocks.
    """

    def __init__(self, layers: int, head: CfgNode) -> None:
        super().__init__()
        t = head.TRANSFORMER
        sizes = (t.NUM_HEAD, head.CONTEXT_HIDDEN_DIM, t.INNER_DIM, t.KEY_DIM, t.VAL_DIM, t.DROPOUT_RATE)
        self.layer_stack = nn.ModuleList(EncoderLayer(*sizes) for _ in range(layers))

    def forward(self, x: Tensor, padding: Padding) -> Tensor:
        """(N, CONTEXT_HIDDEN_DIM) -> the same shape."""
        for layer in self.layer_stack:
            x = layer(x, padding)
        return x


class TransformerContext(nn.Module):
    """Encodes the objects of an image in the context of each other, names them, and encodes them again for the edges.

    Args:
        obj_classes: class names, background first.
        in_channels: width of a box's visual features.
    """

    def __init__(self, config: CfgNode, obj_classes: Sequence[str], in_channels: int) -> None:
        super().__init__()
        head = config.MODEL.ROI_RELATION_HEAD
        self.labels_given, self.boxes_given = head.USE_GT_OBJECT_LABEL, head.USE_GT_BOX
        self.nms_thresh = config.TEST.RELATION.LATER_NMS_PREDICTION_THRES
        self.num_obj_classes = len(obj_classes)
        embed_dim, hidden_dim = head.EMBED_DIM, head.CONTEXT_HIDDEN_DIM

        vectors = obj_edge_vectors(obj_classes, wv_dir=config.GLOVE_DIR, wv_dim=embed_dim)
        self.obj_embed1 = nn.Embedding.from_pretrained(vectors.clone(), freeze=False)
        self.obj_embed2 = nn.Embedding.from_pretrained(vectors.clone(), freeze=False)
        self.bbox_embed = nn.Sequential(
            Linear(9, 32), nn.ReLU(inplace=True), nn.Dropout(0.1),
            Linear(32, POSITION_DIM), nn.ReLU(inplace=True), nn.Dropout(0.1),
        )  # fmt: skip
        self.lin_obj = Linear(in_channels + embed_dim + POSITION_DIM, hidden_dim)
        self.lin_edge = Linear(embed_dim + hidden_dim + in_channels, hidden_dim)
        self.out_obj = Linear(hidden_dim, self.num_obj_classes)
        self.context_obj = TransformerEncoder(head.TRANSFORMER.OBJ_LAYER, head)
        self.context_edge = TransformerEncoder(head.TRANSFORMER.REL_LAYER, head)

    def forward(self, roi_features: Tensor, proposals: Sequence[BoxList]) -> tuple[Tensor, Tensor, Tensor]:
        """Context of every box.

        Args:
            roi_features: (N, in_channels), the images' boxes in a row.
            proposals: boxes with ``labels`` (PredCls), else ``predict_logits`` of the detector; SGDet tests also need
                ``boxes_per_cls`` (N_i, C, 4).

        Returns:
            (N, C) object logits, (N,) object classes and (N, hidden_dim) edge context, in the order of the boxes.
        """
        padding = Padding([len(p) for p in proposals], roi_features.device)
        if self.labels_given:
            labels = cat([p.get_field("labels") for p in proposals]).long()
            embedding = self.obj_embed1(labels)
        else:
            logits = cat([p.get_field("predict_logits") for p in proposals]).detach()
            embedding = logits.softmax(1) @ self.obj_embed1.weight
        place = self.bbox_embed(encode_box_info(proposals))
        objects = self.context_obj(self.lin_obj(torch.cat((roi_features, embedding, place), 1)), padding)

        if self.labels_given:
            obj_preds, obj_dists = labels, given_label_logits(labels, self.num_obj_classes)
        else:
            obj_dists = self.out_obj(objects)
            obj_preds = self._name(obj_dists, proposals, padding)
        edges = self.lin_edge(torch.cat((roi_features, objects, self.obj_embed2(obj_preds)), 1))
        return obj_dists, obj_preds, self.context_edge(edges, padding)

    def _name(self, logits: Tensor, proposals: Sequence[BoxList], padding: Padding) -> Tensor:
        """(N,) classes, never background; among detected boxes that are tested, with per-class suppression."""
        if self.boxes_given or self.training:
            return logits[:, 1:].argmax(1) + 1
        boxes = [p.get_field("boxes_per_cls") for p in proposals]
        return late_nms_per_image(boxes, logits.split(padding.counts), self.nms_thresh)
