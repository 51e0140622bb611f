"""Predictors: from box and union features to the logits of the graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import Logger
from typing import TYPE_CHECKING, Any

from maskrcnn_benchmark.data import get_dataset_statistics
from maskrcnn_benchmark.layers import Linear, linear
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.make_layers import init_normal, init_xavier
from maskrcnn_benchmark.modeling.roi_heads.relation_head.model_motifs import FrequencyBias, LSTMContext
from maskrcnn_benchmark.modeling.roi_heads.relation_head.model_transformer import TransformerContext
from maskrcnn_benchmark.modeling.roi_heads.relation_head.model_vctree import VCTreeLSTMContext
from maskrcnn_benchmark.modeling.roi_heads.relation_head.pair_chunks import by_chunks
from maskrcnn_benchmark.modeling.roi_heads.relation_head.tree_scores import pair_loss
from maskrcnn_benchmark.modeling.utils import global_pair_index, lookup
from torch import Tensor, nn
from yacs.config import CfgNode

if TYPE_CHECKING:
    from maskrcnn_benchmark.structures.bounding_box import BoxList

# per image object logits (N_i, C), per image relation logits (P_i, R), further losses by name
Prediction = tuple[tuple[Tensor, ...], tuple[Tensor, ...], dict[str, Tensor]]


class PairPredictor(nn.Module):
    """What the predictors share: a pair's representation from the edge contexts of its two boxes, and the prior.

    r_so = W_c [head_s; tail_o], with head and tail the halves of W_e applied to a box's edge context.

    Args:
        context_layer: the context encoder.
        use_bias: add the frequency bias b(class s, class o) to the logits.
    """

    def __init__(
        self, config: CfgNode, statistics: Mapping[str, Any], context_layer: nn.Module, use_bias: bool
    ) -> None:
        super().__init__()
        head = config.MODEL.ROI_RELATION_HEAD
        self.num_obj_cls = config.MODEL.ROI_BOX_HEAD.NUM_CLASSES
        self.num_rel_cls = head.NUM_CLASSES
        self.use_vision, self.use_bias = head.PREDICT_USE_VISION, use_bias
        self.context_layer = context_layer
        self.hidden_dim, self.pooling_dim = head.CONTEXT_HIDDEN_DIM, head.CONTEXT_POOLING_DIM
        self.post_emb = init_normal(Linear(self.hidden_dim, 2 * self.hidden_dim), std=10.0 * self.hidden_dim**-0.5)
        self.post_cat = init_xavier(Linear(2 * self.hidden_dim, self.pooling_dim))
        self.union_single_not_match = self.pooling_dim != config.MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM
        if self.union_single_not_match:
            self.up_dim = init_xavier(Linear(config.MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM, self.pooling_dim))
        if self.use_bias:
            self.freq_bias = FrequencyBias(config, statistics)

    def of_pairs(self, layer: nn.Linear, edges: Tensor, pairs: Tensor) -> Tensor:
        """``layer`` on [head of the subject; tail of the object].

        It is the sum of its two halves, which need each box once and not each pair.

        Args:
            edges: (N, 2 * hidden_dim) head and tail of each box.
            pairs: (P, 2) rows of ``edges``.
        """
        (head, tail), (of_head, of_tail) = edges.chunk(2, 1), layer.weight.chunk(2, 1)
        subject = linear(head, of_head, layer.bias).index_select(0, pairs[:, 0])
        return subject + linear(tail, of_tail).index_select(0, pairs[:, 1])

    def with_vision(self, pair_rep: Tensor, union_features: Tensor | None) -> Tensor:
        """(P, pooling_dim), modulated by the union features unless the config leaves them out."""
        if not self.use_vision:
            return pair_rep
        return pair_rep * (self.up_dim(union_features) if self.union_single_not_match else union_features)

    def outputs(
        self,
        rel_dists: Tensor,
        obj_dists: Tensor,
        obj_preds: Tensor,
        pairs: Tensor,
        num_objs: Sequence[int],
        rel_pair_idxs: Sequence[Tensor],
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Object and relation logits per image, the latter with the prior."""
        if self.use_bias:
            rel_dists = rel_dists + self.freq_bias.index_with_labels(obj_preds[pairs])
        return obj_dists.split(num_objs), rel_dists.split([len(p) for p in rel_pair_idxs])


@registry.ROI_RELATION_PREDICTOR.register("MotifPredictor")
class MotifPredictor(PairPredictor):
    """MOTIFS: edge contexts of subject and object, modulated by the union feature, plus the frequency bias.

    logits = W_r(r_so * u_so) + b(class s, class o)
    """

    def __init__(self, config: CfgNode, in_channels: int) -> None:
        statistics = get_dataset_statistics(config)
        context_layer = LSTMContext(config, statistics["obj_classes"], in_channels)
        super().__init__(config, statistics, context_layer, config.MODEL.ROI_RELATION_HEAD.PREDICT_USE_BIAS)
        self.rel_compress = init_xavier(Linear(self.pooling_dim, self.num_rel_cls))

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
        edges = self.post_emb(edge_ctx)

        def logits(pairs: Tensor, unions: Tensor | None) -> Tensor:
            return self.rel_compress(self.with_vision(self.of_pairs(self.post_cat, edges, pairs), unions))

        rel_dists = by_chunks(logits, pairs, union_features)
        return *self.outputs(rel_dists, obj_dists, obj_preds, pairs, num_objs, rel_pair_idxs), {}


@registry.ROI_RELATION_PREDICTOR.register("TransformerPredictor")
class TransformerPredictor(PairPredictor):
    """Self-attention contexts; the pair also speaks without the union feature.

    logits = W_r(r_so * u_so) + W_x [head_s; tail_o] + b(class s, class o)
    """

    def __init__(self, config: CfgNode, in_channels: int) -> None:
        statistics = get_dataset_statistics(config)
        context_layer = TransformerContext(config, statistics["obj_classes"], in_channels)
        super().__init__(config, statistics, context_layer, config.MODEL.ROI_RELATION_HEAD.PREDICT_USE_BIAS)
        self.rel_compress = init_xavier(Linear(self.pooling_dim, self.num_rel_cls))
        self.ctx_compress = init_xavier(Linear(2 * self.hidden_dim, self.num_rel_cls))

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
        """Logits of all boxes and pairs; arguments as for :class:`MotifPredictor`."""
        obj_dists, obj_preds, edge_ctx = self.context_layer(roi_features, proposals)
        num_objs = [len(p) for p in proposals]
        pairs = global_pair_index(rel_pair_idxs, num_objs)
        edges = self.post_emb(edge_ctx)

        def logits(pairs: Tensor, unions: Tensor | None) -> Tensor:
            pair_rep = self.with_vision(self.of_pairs(self.post_cat, edges, pairs), unions)
            return self.rel_compress(pair_rep) + self.of_pairs(self.ctx_compress, edges, pairs)

        rel_dists = by_chunks(logits, pairs, union_features)
        return *self.outputs(rel_dists, obj_dists, obj_preds, pairs, num_objs, rel_pair_idxs), {}


@registry.ROI_RELATION_PREDICTOR.register("VCTreePredictor")
class VCTreePredictor(PairPredictor):
    """Tree contexts. In training the trees' pair scores learn which objects are related.

    logits = W_r(r_so * u_so) + b(class s, class o), with the rectified halves of W_e as head and tail.
    """

    def __init__(self, config: CfgNode, in_channels: int) -> None:
        statistics = get_dataset_statistics(config)
        context_layer = VCTreeLSTMContext(config, statistics["obj_classes"], statistics, in_channels)
        super().__init__(config, statistics, context_layer, use_bias=True)
        self.ctx_compress = init_xavier(Linear(self.pooling_dim, self.num_rel_cls))

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
        """Logits of all boxes and pairs; in training the loss ``binary_loss`` of the pair scores.

        Arguments as for :class:`MotifPredictor`, and ``rel_binarys``: per image (N_i, N_i), see :func:`pair_loss`.
        """
        obj_dists, obj_preds, edge_ctx, scores = self.context_layer(roi_features, proposals, rel_pair_idxs)
        num_objs = [len(p) for p in proposals]
        pairs = global_pair_index(rel_pair_idxs, num_objs)
        edges = self.post_emb(edge_ctx).relu()

        def logits(pairs: Tensor, unions: Tensor | None) -> Tensor:
            return self.ctx_compress(self.with_vision(self.of_pairs(self.post_cat, edges, pairs), unions))

        rel_dists = by_chunks(logits, pairs, union_features)
        losses = {"binary_loss": pair_loss(scores, rel_binarys)} if self.training else {}
        return *self.outputs(rel_dists, obj_dists, obj_preds, pairs, num_objs, rel_pair_idxs), losses


def check_predictor_name(cfg: CfgNode) -> None:
    """HMLError naming the known predictors if ``MODEL.ROI_RELATION_HEAD.PREDICTOR`` is none of them."""
    lookup(registry.ROI_RELATION_PREDICTOR, cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR, "MODEL.ROI_RELATION_HEAD.PREDICTOR")


def make_roi_relation_predictor(cfg: CfgNode, in_channels: int) -> nn.Module:
    """The predictor that ``MODEL.ROI_RELATION_HEAD.PREDICTOR`` names, for box features of ``in_channels``."""
    check_predictor_name(cfg)
    return registry.ROI_RELATION_PREDICTOR[cfg.MODEL.ROI_RELATION_HEAD.PREDICTOR](cfg, in_channels)
