"""Predictors: from box and union features to the logits of the graph."""

from __future__ import annotations

from collections.abc import Sequence
from logging import Logger
from typing import TYPE_CHECKING

from maskrcnn_benchmark.data import get_dataset_statistics
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.make_layers import init_normal, init_xavier
from maskrcnn_benchmark.modeling.roi_heads.relation_head.model_motifs import FrequencyBias, LSTMContext
from maskrcnn_benchmark.modeling.utils import global_pair_index, lookup
from torch import Tensor, nn
from torch.nn import functional as F
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

# per image object logits (N_i, C), per image relation logits (P_i, R), further losses by name
Prediction = tuple[tuple[Tensor, ...], tuple[Tensor, ...], dict[str, Tensor]]


@registry.ROI_RELATION_PREDICTOR.register("MotifPredictor")
class MotifPredictor(nn.Module):
    """MOTIFS: edge contexts of subject and object, modulated by the union feature, plus the frequency bias.

    logits = W_r((W_c [head_s; tail_o]) * u_so) + b(class s, class o)
    """

    def __init__(self, config: CfgNode, in_channels: int) -> None:
        super().__init__()
        head = config.MODEL.ROI_RELATION_HEAD
        self.num_obj_cls = config.MODEL.ROI_BOX_HEAD.NUM_CLASSES
        self.num_rel_cls = head.NUM_CLASSES
        self.use_vision, self.use_bias = head.PREDICT_USE_VISION, head.PREDICT_USE_BIAS
        statistics = get_dataset_statistics(config)
        self.context_layer = LSTMContext(config, statistics["obj_classes"], in_channels)

        self.hidden_dim, self.pooling_dim = head.CONTEXT_HIDDEN_DIM, head.CONTEXT_POOLING_DIM
        self.post_emb = init_normal(nn.Linear(self.hidden_dim, 2 * self.hidden_dim), std=10.0 * self.hidden_dim**-0.5)
        self.post_cat = init_xavier(nn.Linear(2 * self.hidden_dim, self.pooling_dim))
        self.rel_compress = init_xavier(nn.Linear(self.pooling_dim, self.num_rel_cls))
        self.union_single_not_match = self.pooling_dim != config.MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM
        if self.union_single_not_match:
            self.up_dim = init_xavier(nn.Linear(config.MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM, self.pooling_dim))
        if self.use_bias:
            self.freq_bias = FrequencyBias(config, statistics)

    def forward(
        self,
        proposals: Sequence[BoxList],
        rel_pair_idxs: Sequence[Tensor],
        rel_labels: Sequence[Tensor] | None,
        rel_binarys: Sequence[Tensor] | None,
        roi_features: Tensor,
        union_features: Tensor | None,
        logger: Logger | None = None,
    ) -> Prediction:
        """Logits of all boxes and pairs.

        Args:
            proposals: boxes with the fields that :class:`LSTMContext` reads.
            rel_pair_idxs: per image (P_i, 2) subject and object index.
            rel_labels, rel_binarys: not used by MOTIFS.
            roi_features: (N, in_channels).
            union_features: (P, MLP_HEAD_DIM), or None without PREDICT_USE_VISION.
        """
        obj_dists, obj_preds, edge_ctx = self.context_layer(roi_features, proposals)
        num_objs = [len(p) for p in proposals]
        pairs = global_pair_index(rel_pair_idxs, num_objs)
        subject, object_ = pairs.unbind(1)

        # post_cat on [head; tail] is the sum of its two halves, which need each box once and not each pair.
        head, tail = self.post_emb(edge_ctx).chunk(2, 1)
        of_head, of_tail = self.post_cat.weight.chunk(2, 1)
        pair_rep = F.linear(head, of_head, self.post_cat.bias).index_select(0, subject)
        pair_rep = pair_rep + F.linear(tail, of_tail).index_select(0, object_)
        if self.use_vision:
            pair_rep = pair_rep * (self.up_dim(union_features) if self.union_single_not_match else union_features)
        rel_dists = self.rel_compress(pair_rep)
        if self.use_bias:
            rel_dists = rel_dists + self.freq_bias.index_with_labels(obj_preds[pairs])
        return obj_dists.split(num_objs), rel_dists.split([len(p) for p in rel_pair_idxs]), {}


def check_predictor_name(cfg: CfgNode) -> None:
    """HMLError naming the known predictors if ``MODEL.ROI_RELATION_HEAD.PREDICTOR`` is none of them."""
    lookup(registry.ROI_RELATION_PREDICTOR, cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR, "MODEL.ROI_RELATION_HEAD.PREDICTOR")


def make_roi_relation_predictor(cfg: CfgNode, in_channels: int) -> nn.Module:
    """The predictor that ``MODEL.ROI_RELATION_HEAD.PREDICTOR`` names, for box features of ``in_channels``."""
    check_predictor_name(cfg)
    return registry.ROI_RELATION_PREDICTOR[cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR](cfg, in_channels)
