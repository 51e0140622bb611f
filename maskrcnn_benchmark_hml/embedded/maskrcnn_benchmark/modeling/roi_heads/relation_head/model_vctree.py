"""VCTree: context along trees that are grown for each image (Tang et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import Logger
from typing import TYPE_CHECKING, Any

import torch
from maskrcnn_benchmark.layers import Linear
from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
from maskrcnn_benchmark.modeling.roi_heads.relation_head.tree_decoder import DecoderTreeLSTM
from maskrcnn_benchmark.modeling.roi_heads.relation_head.tree_lstm import StackedTreeLSTM
from maskrcnn_benchmark.modeling.roi_heads.relation_head.tree_scores import PairScorer, overlap_info
from maskrcnn_benchmark.modeling.roi_heads.relation_head.trees import grow_forest
from maskrcnn_benchmark.modeling.roi_heads.relation_head.utils_motifs import (
    encode_box_info,
    given_label_logits,
    obj_edge_vectors,
)
from maskrcnn_benchmark.modeling.utils import cat
from torch import Tensor, nn
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

POSITION_DIM = 128
AVERAGE_RATIO = 0.0005  # weight of a step in the running means of the untreated features


class VCTreeLSTMContext(PairScorer):
    """Grows a tree over the objects of an image, encodes them along it, names them, and encodes them for the edges.

    Args:
        obj_classes: class names, background first.
        statistics: see :class:`PairScorer`.
        in_channels: width of a box's visual features.
    """

    def __init__(
        self, config: CfgNode, obj_classes: Sequence[str], statistics: Mapping[str, Any], in_channels: int
    ) -> None:
        super().__init__(config, statistics, in_channels)
        head = config.MODEL.ROI_RELATION_HEAD
        self.labels_given = head.USE_GT_OBJECT_LABEL
        self.num_obj_classes = len(obj_classes)
        embed_dim, hidden_dim, dropout = head.EMBED_DIM, head.CONTEXT_HIDDEN_DIM, head.CONTEXT_DROPOUT_RATE

        vectors = obj_edge_vectors(["start", *obj_classes], wv_dir=config.GLOVE_DIR, wv_dim=embed_dim)
        self.obj_embed1 = nn.Embedding.from_pretrained(vectors[1:].clone(), freeze=False)
        self.obj_embed2 = nn.Embedding.from_pretrained(vectors[1:].clone(), freeze=False)
        self.pos_embed = nn.Sequential(
            Linear(9, 32), nn.BatchNorm1d(32, momentum=0.001), Linear(32, POSITION_DIM), nn.ReLU(inplace=True)
        )
        object_dim, edge_dim = in_channels + embed_dim + POSITION_DIM, embed_dim + in_channels
        self.obj_ctx_rnn = StackedTreeLSTM(object_dim, hidden_dim, head.CONTEXT_OBJ_LAYER, dropout)
        self.decoder_rnn = DecoderTreeLSTM(vectors, hidden_dim + object_dim, hidden_dim, dropout)
        self.edge_ctx_rnn = StackedTreeLSTM(edge_dim + hidden_dim, hidden_dim, head.CONTEXT_REL_LAYER, dropout)

        # Running means that a counterfactual analysis puts in place of an object's features.
        self.effect_analysis = head.CAUSAL.EFFECT_ANALYSIS
        if self.effect_analysis:
            self.register_buffer("untreated_dcd_feat", torch.zeros(hidden_dim + object_dim))
            self.register_buffer("untreated_obj_feat", torch.zeros(object_dim))
            self.register_buffer("untreated_edg_feat", torch.zeros(edge_dim))

    def forward(
        self,
        roi_features: Tensor,
        proposals: Sequence[BoxList],
        rel_pair_idxs: Sequence[Tensor] | None = None,
        logger: Logger | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
        """Context of every box.

        Args:
            roi_features: (N, in_channels), the images' boxes in a row.
            proposals: boxes with ``labels`` (PredCls), else ``predict_logits`` of the detector.
            rel_pair_idxs, logger: not used.

        Returns:
            (N, C) object logits, (N,) object classes and (N, hidden_dim) edge context, in the order of the boxes; and
            per image (N_i, N_i) logits of the pairs.
        """
        padding = Padding([len(p) for p in proposals], roi_features.device)
        if self.labels_given:
            labels = cat([p.get_field("labels") for p in proposals]).long()
            embedding = self.obj_embed1(labels)
            probability = nn.functional.one_hot(labels, self.num_obj_classes).to(embedding.dtype)
        else:
            probability = cat([p.get_field("predict_logits") for p in proposals]).detach().softmax(1)
            embedding = probability @ self.obj_embed1.weight
        geometry = encode_box_info(proposals)
        scores = self.score_pairs(
            roi_features, embedding, geometry, overlap_info(proposals, padding), probability, padding
        )
        forest = grow_forest(scores.sigmoid(), padding)

        # From here on in the order of the forest, and back at the end.
        order, image = forest.order, padding.image[forest.order]
        features = roi_features.index_select(0, order)
        objects = torch.cat((features, embedding.index_select(0, order), self.pos_embed(geometry[order])), 1)
        encoded = self.obj_ctx_rnn(objects, forest, image)
        if self.labels_given:
            obj_preds, obj_dists = labels, given_label_logits(labels, self.num_obj_classes)
            decoded = None
        else:
            decoded = torch.cat((objects, encoded), 1)
            obj_dists, obj_preds = self.decoder_rnn(decoded, forest, image)
            obj_dists, obj_preds = obj_dists.index_select(0, forest.inverse), obj_preds[forest.inverse]
        edges = torch.cat((self.obj_embed2(obj_preds[order]), features, encoded), 1)
        edge_ctx = self.edge_ctx_rnn(edges, forest, image).index_select(0, forest.inverse)
        if self.training and self.effect_analysis:
            self._average(objects, edges, None if decoded is None else padding.pad(decoded[forest.inverse]), padding)
        return obj_dists, obj_preds, edge_ctx, padding.blocks(scores)

    @torch.no_grad()
    def _average(self, objects: Tensor, edges: Tensor, decoded: Tensor | None, padding: Padding) -> None:
        """Moves the running means; the decoder's by one image after the other, as published checkpoints did."""
        self.untreated_obj_feat.lerp_(objects.mean(0), AVERAGE_RATIO)
        self.untreated_edg_feat.lerp_(edges[:, : len(self.untreated_edg_feat)].mean(0), AVERAGE_RATIO)
        if decoded is not None:
            means = decoded.sum(1) / padding.mask.sum(1, keepdim=True)
            ago = torch.arange(len(means) - 1, -1, -1, device=means.device)
            weights = AVERAGE_RATIO * (1.0 - AVERAGE_RATIO) ** ago
            self.untreated_dcd_feat.mul_((1.0 - AVERAGE_RATIO) ** len(means)).add_(weights @ means)
