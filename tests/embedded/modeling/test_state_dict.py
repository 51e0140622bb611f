"""Names and shapes of the relation head's parameters: a checkpoint moves to SGB and back."""

from __future__ import annotations

import pytest
from maskrcnn_benchmark.modeling.detector import build_detection_model

C, MAPS, MLP, H, E, POOL, OBJ, REL, BOX = 8, 16, 32, 16, 12, 32, 21, 11, 8 * 49
NORM = {"weight": 1, "bias": 1, "running_mean": 1, "running_var": 1}


def expected(effect: bool, pooling: int) -> dict[str, tuple[int, ...]]:
    table: dict[str, tuple[int, ...]] = {}

    def linear(name: str, rows: int, *columns: int) -> None:
        table[f"{name}.weight"] = (rows, *columns)
        table[f"{name}.bias"] = (rows,)

    def norm(name: str, width: int) -> None:
        table.update({f"{name}.{part}": (width,) for part in NORM})
        table[f"{name}.num_batches_tracked"] = ()

    def lstm(name: str, width: int) -> None:
        for end in ("", "_reverse"):
            table[f"{name}.weight_ih_l0{end}"] = (4 * H, width)
            table[f"{name}.weight_hh_l0{end}"] = (4 * H, H)
            table[f"{name}.bias_ih_l0{end}"] = table[f"{name}.bias_hh_l0{end}"] = (4 * H,)

    union, context = "union_feature_extractor", "predictor.context_layer"
    linear(f"{union}.feature_extractor.pooler.reduce_channel.0", C, MAPS, 3, 3)
    for extractor in (f"{union}.feature_extractor", "box_feature_extractor"):
        linear(f"{extractor}.fc6", MLP, BOX)
        linear(f"{extractor}.fc7", MLP, MLP)
    linear(f"{union}.rect_conv.0", C // 2, 2, 7, 7)
    norm(f"{union}.rect_conv.2", C // 2)
    linear(f"{union}.rect_conv.4", C, C // 2, 3, 3)
    norm(f"{union}.rect_conv.6", C)
    if effect:
        table[f"{context}.untreated_dcd_feat"] = (H + MLP + E + 128,)
        table[f"{context}.untreated_obj_feat"] = (MLP + E + 128,)
        table[f"{context}.untreated_edg_feat"] = (MLP + E,)
    table[f"{context}.obj_embed1.weight"] = table[f"{context}.obj_embed2.weight"] = (OBJ, E)
    linear(f"{context}.pos_embed.0", 32, 9)
    norm(f"{context}.pos_embed.1", 32)
    linear(f"{context}.pos_embed.2", 128, 32)
    lstm(f"{context}.obj_ctx_rnn", MLP + E + 128)
    lstm(f"{context}.edge_ctx_rnn", E + H + MLP)
    table[f"{context}.decoder_rnn.obj_embed.weight"] = (OBJ + 1, E)
    linear(f"{context}.decoder_rnn.input_linearity", 6 * H, H + MLP + E + 128 + E)
    linear(f"{context}.decoder_rnn.state_linearity", 5 * H, H)
    linear(f"{context}.decoder_rnn.out_obj", OBJ, H)
    linear(f"{context}.lin_obj_h", H, 2 * H)
    linear(f"{context}.lin_edge_h", H, 2 * H)
    linear("predictor.post_emb", 2 * H, H)
    linear("predictor.post_cat", pooling, 2 * H)
    linear("predictor.rel_compress", REL, pooling)
    if pooling != MLP:
        linear("predictor.up_dim", pooling, MLP)
    table["predictor.freq_bias.obj_baseline.weight"] = (OBJ * OBJ, REL)
    return table


@pytest.mark.parametrize(("effect", "pooling"), [(True, POOL), (False, POOL), (False, 40)])
def test_names_and_shapes(make_cfg, effect, pooling):
    head = "MODEL.ROI_RELATION_HEAD."
    cfg = make_cfg({head + "CAUSAL.EFFECT_ANALYSIS": effect, head + "CONTEXT_POOLING_DIM": pooling})
    relation = build_detection_model(cfg).roi_heads.relation
    assert {name: tuple(value.shape) for name, value in relation.state_dict().items()} == expected(effect, pooling)
    buffers = {name for name, _ in relation.named_buffers()}
    assert buffers == {n for n in expected(effect, pooling) if n.split(".")[-1].startswith(("running", "num_", "untr"))}
