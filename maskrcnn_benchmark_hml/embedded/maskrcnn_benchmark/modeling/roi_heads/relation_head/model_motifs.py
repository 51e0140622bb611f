"""MOTIFS: object and edge context from two bidirectional LSTMs (Zellers et al., Neural Motifs, CVPR 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from maskrcnn_benchmark.layers import LSTM, Linear
from maskrcnn_benchmark.modeling.roi_heads.relation_head.decoder import DecoderRNN
from maskrcnn_benchmark.modeling.roi_heads.relation_head.freq_bias import FrequencyBias
from maskrcnn_benchmark.modeling.roi_heads.relation_head.late_nms import late_nms_per_image
from maskrcnn_benchmark.modeling.roi_heads.relation_head.utils_motifs import (
    encode_box_info,
    given_label_logits,
    obj_edge_vectors,
    sequence_order,
)
from maskrcnn_benchmark.modeling.utils import cat
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

__all__ = ["DecoderRNN", "FrequencyBias", "LSTMContext"]

POSITION_DIM = 128
AVERAGE_RATIO = 0.0005  # weight of a step in the running means of the untreated features


class LSTMContext(nn.Module):
    """Encodes the objects of an image in the context of each other, names them, and encodes them again for the edges.

    Args:
        obj_classes: class names, background first.
        in_channels: width of a box's visual features.
    """

    def __init__(self, config: CfgNode, obj_classes: Sequence[str], in_channels: int) -> None:
        super().__init__()
        head = config.MODEL.ROI_RELATION_HEAD
        self.labels_given = head.USE_GT_BOX and head.USE_GT_OBJECT_LABEL
        self.boxes_given = head.USE_GT_BOX
        self.nms_thresh = config.TEST.RELATION.LATER_NMS_PREDICTION_THRES
        self.num_obj_classes = len(obj_classes)
        self.embed_dim, self.hidden_dim, self.obj_dim = head.EMBED_DIM, head.CONTEXT_HIDDEN_DIM, in_channels

        vectors = obj_edge_vectors(["start", *obj_classes], wv_dir=config.GLOVE_DIR, wv_dim=self.embed_dim)
        self.obj_embed1 = nn.Embedding.from_pretrained(vectors[1:].clone(), freeze=False)
        self.obj_embed2 = nn.Embedding.from_pretrained(vectors[1:].clone(), freeze=False)
        self.pos_embed = nn.Sequential(
            Linear(9, 32), nn.BatchNorm1d(32, momentum=0.001), Linear(32, POSITION_DIM), nn.ReLU(inplace=True)
        )
        object_dim = in_channels + self.embed_dim + POSITION_DIM
        self.obj_ctx_rnn = self._encoder(object_dim, head.CONTEXT_OBJ_LAYER, head.CONTEXT_DROPOUT_RATE)
        self.decoder_rnn = DecoderRNN(vectors, self.hidden_dim + object_dim, self.hidden_dim, head.CONTEXT_DROPOUT_RATE)
        edge_dim = self.embed_dim + self.hidden_dim + in_channels
        self.edge_ctx_rnn = self._encoder(edge_dim, head.CONTEXT_REL_LAYER, head.CONTEXT_DROPOUT_RATE)
        self.lin_obj_h = Linear(2 * self.hidden_dim, self.hidden_dim)
        self.lin_edge_h = Linear(2 * self.hidden_dim, self.hidden_dim)

        # Running means that a counterfactual analysis puts in place of an object's features.
        self.effect_analysis = head.CAUSAL.EFFECT_ANALYSIS
        if self.effect_analysis:
            self.register_buffer("untreated_dcd_feat", torch.zeros(self.hidden_dim + object_dim))
            self.register_buffer("untreated_obj_feat", torch.zeros(object_dim))
            self.register_buffer("untreated_edg_feat", torch.zeros(self.embed_dim + in_channels))

    def _encoder(self, input_dim: int, layers: int, dropout: float) -> LSTM:
        return LSTM(input_dim, self.hidden_dim, layers, dropout=dropout if layers > 1 else 0.0, bidirectional=True)

    def forward(self, roi_features: Tensor, proposals: Sequence[BoxList]) -> tuple[Tensor, Tensor, Tensor]:
        """Context of every box.

        Args:
            roi_features: (N, in_channels), the images' boxes in a row.
            proposals: boxes with ``labels`` (PredCls, or training), else ``predict_logits`` of the detector; detected
                ones (SGDet) with ``boxes_per_cls`` in testing.

        Returns:
            (N, C) object logits, (N,) object classes and (N, hidden_dim) edge context, in the order of the boxes.
        """
        labels = None
        if self.labels_given or self.training:
            labels = cat([p.get_field("labels") for p in proposals]).long()
        if self.labels_given:
            embedding = self.obj_embed1(labels)
        else:
            logits = cat([p.get_field("predict_logits") for p in proposals]).detach()
            embedding = logits.softmax(1) @ self.obj_embed1.weight
        objects = torch.cat((roi_features, embedding, self.pos_embed(encode_box_info(proposals))), 1)

        order, inverse, batch_sizes = sequence_order(proposals)
        ordered = objects.index_select(0, order)
        encoded = self.lin_obj_h(self.obj_ctx_rnn(PackedSequence(ordered, batch_sizes))[0].data)
        if self.labels_given:
            obj_preds = labels
            obj_dists = given_label_logits(labels, self.num_obj_classes)
        else:
            decoded = PackedSequence(torch.cat((ordered, encoded), 1), batch_sizes)
            obj_dists, obj_preds = self.decoder_rnn(decoded, None if labels is None else labels[order])
            obj_dists, obj_preds = obj_dists.index_select(0, inverse), obj_preds[inverse]
            if not (self.boxes_given or self.training):
                places = [p.get_field("boxes_per_cls") for p in proposals]
                obj_preds = late_nms_per_image(places, obj_dists.split([len(p) for p in proposals]), self.nms_thresh)

        edges = torch.cat((self.obj_embed2(obj_preds[order]), roi_features.index_select(0, order), encoded), 1)
        edge_ctx = self.lin_edge_h(self.edge_ctx_rnn(PackedSequence(edges, batch_sizes))[0].data)
        if self.training and self.effect_analysis:
            self._average("untreated_dcd_feat", ordered, encoded)
            self._average("untreated_obj_feat", objects)
            self._average("untreated_edg_feat", edges[:, : self.embed_dim + self.obj_dim])
        return obj_dists, obj_preds, edge_ctx.index_select(0, inverse)

    @torch.no_grad()
    def _average(self, buffer: str, *parts: Tensor) -> None:
        """Moves the running mean ``buffer`` towards the mean row of the parts side by side."""
        mean = torch.cat([part.float().mean(0) for part in parts])
        getattr(self, buffer).lerp_(mean, AVERAGE_RATIO)
