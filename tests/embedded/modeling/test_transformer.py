"""The Transformer predictor's parts: attention, padding, names and shapes, training."""

from __future__ import annotations

import pytest
import torch
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.roi_heads.relation_head.model_transformer import (
    SelfAttention,
    TransformerContext,
    TransformerEncoder,
)
from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
from maskrcnn_benchmark.modeling.roi_heads.relation_head.roi_relation_predictors import TransformerPredictor

HEAD = "MODEL.ROI_RELATION_HEAD."
SMALL = {
    HEAD + "PREDICTOR": "TransformerPredictor",
    HEAD + "TRANSFORMER.NUM_HEAD": 2,
    HEAD + "TRANSFORMER.KEY_DIM": 6,
    HEAD + "TRANSFORMER.VAL_DIM": 5,
    HEAD + "TRANSFORMER.INNER_DIM": 24,
    HEAD + "TRANSFORMER.OBJ_LAYER": 2,
    HEAD + "TRANSFORMER.REL_LAYER": 1,
}
CPU = torch.device("cpu")


@pytest.mark.parametrize("counts", [[3, 1, 4], [2, 2]])
def test_padding_moves_rows_there_and_back(counts):
    rows, padding = torch.randn(sum(counts), 5, requires_grad=True), Padding(counts, CPU)
    blocks = padding.pad(rows)
    assert blocks.shape == (len(counts), max(counts), 5) and torch.equal(padding.unpad(blocks), rows)
    for block, own in zip(blocks, rows.split(counts)):
        assert torch.equal(block[: len(own)], own) and not block[len(own) :].any()
    padding.unpad(blocks).sum().backward()
    assert torch.equal(rows.grad, torch.ones_like(rows))
    assert padding.image.tolist() == [i for i, n in enumerate(counts) for _ in range(n)]


def test_attention_by_its_equation():
    attention = SelfAttention(heads=2, width=8, key_dim=3, value_dim=5, dropout=0.5).eval()
    x = torch.randn(7, 8)
    expected = []
    for rows in x.split([4, 3]):
        parts = []
        for head in range(2):
            q, k = (w(rows)[:, 3 * head : 3 * head + 3] for w in (attention.w_qs, attention.w_ks))
            v = attention.w_vs(rows)[:, 5 * head : 5 * head + 5]
            parts.append((q @ k.t() / 3**0.5).softmax(1) @ v)
        expected.append(attention.layer_norm(rows + attention.fc(torch.cat(parts, 1))))
    torch.testing.assert_close(attention(x, Padding([4, 3], CPU)), torch.cat(expected))


def test_images_do_not_see_each_other(make_cfg):
    encoder = TransformerEncoder(2, make_cfg(SMALL).MODEL.ROI_RELATION_HEAD).eval()
    x = torch.randn(9, 16)
    together = encoder(x, Padding([5, 1, 3], CPU))
    alone = torch.cat([encoder(rows, Padding([len(rows)], CPU)) for rows in x.split([5, 1, 3])])
    torch.testing.assert_close(together, alone)


def expected_names(layers: dict[str, int]) -> dict[str, tuple[int, ...]]:
    """Names and shapes under ``predictor`` with the widths of ``SMALL``."""
    table: dict[str, tuple[int, ...]] = {}

    def linear(name: str, *shape: int) -> None:
        table[f"{name}.weight"], table[f"{name}.bias"] = shape, shape[:1]

    def norm(name: str) -> None:
        table[f"{name}.weight"] = table[f"{name}.bias"] = (16,)

    table["context_layer.obj_embed1.weight"] = table["context_layer.obj_embed2.weight"] = (21, 12)
    linear("context_layer.bbox_embed.0", 32, 9)
    linear("context_layer.bbox_embed.3", 128, 32)
    linear("context_layer.lin_obj", 16, 32 + 12 + 128)
    linear("context_layer.lin_edge", 16, 12 + 16 + 32)
    linear("context_layer.out_obj", 21, 16)
    for encoder, count in layers.items():
        for i in range(count):
            layer = f"context_layer.{encoder}.layer_stack.{i}"
            linear(f"{layer}.slf_attn.w_qs", 12, 16)
            linear(f"{layer}.slf_attn.w_ks", 12, 16)
            linear(f"{layer}.slf_attn.w_vs", 10, 16)
            linear(f"{layer}.slf_attn.fc", 16, 10)
            linear(f"{layer}.pos_ffn.w_1", 24, 16, 1)
            linear(f"{layer}.pos_ffn.w_2", 16, 24, 1)
            norm(f"{layer}.slf_attn.layer_norm")
            norm(f"{layer}.pos_ffn.layer_norm")
    linear("post_emb", 32, 16)
    linear("post_cat", 32, 32)
    linear("rel_compress", 11, 32)
    linear("ctx_compress", 11, 32)
    table["freq_bias.obj_baseline.weight"] = (21 * 21, 11)
    return table


def test_names_and_shapes(make_cfg):
    predictor = TransformerPredictor(make_cfg(SMALL), 32)
    expected = expected_names({"context_obj": 2, "context_edge": 1})
    assert {name: tuple(value.shape) for name, value in predictor.state_dict().items()} == expected


@pytest.mark.parametrize("given", [True, False])
def test_a_step_reaches_every_parameter(make_cfg, make_targets, images, given):
    torch.manual_seed(1)
    model = build_detection_model(make_cfg({**SMALL, HEAD + "USE_GT_OBJECT_LABEL": given})).train()
    targets = make_targets([5, 4])
    losses = model(images, targets)
    assert set(losses) == {"loss_rel", "loss_refine_obj"}
    sum(losses.values()).backward()
    unused = {n for n, p in model.roi_heads.relation.predictor.named_parameters() if p.grad is None}
    # classes that are given need no classifier
    assert unused == ({"context_layer.out_obj.weight", "context_layer.out_obj.bias"} if given else set())


def test_detected_boxes_of_a_class_do_not_overlap(make_cfg, make_targets, statistics):
    """Two detections on one place get two names when tested; in training each takes its best."""
    context = TransformerContext(
        make_cfg({**SMALL, HEAD + "USE_GT_BOX": False, HEAD + "USE_GT_OBJECT_LABEL": False}),
        statistics["obj_classes"],
        32,
    ).eval()
    (boxes,) = make_targets([2])
    boxes.bbox[1] = boxes.bbox[0]
    boxes.add_field("predict_logits", torch.randn(1, 21).expand(2, 21))
    boxes.add_field("boxes_per_cls", boxes.bbox[:, None].expand(2, 21, 4))
    logits, names, edges = context(torch.randn(1, 32).expand(2, 32), [boxes])
    torch.testing.assert_close(logits[0], logits[1])
    first, second = (logits[0, 1:].topk(2).indices + 1).tolist()
    assert sorted(names.tolist()) == sorted((first, second)) and edges.shape == (2, 16)
    boxes.add_field("labels", torch.tensor([1, 2]))
    logits, names, _ = context.train()(torch.randn(1, 32).expand(2, 32), [boxes])
    assert torch.equal(names, logits[:, 1:].argmax(1) + 1)
