"""The VCTree predictor: pair scores, geometry, loss, names and shapes, training."""

from __future__ import annotations

import copy

import pytest
import torch
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.roi_heads.relation_head.model_vctree import VCTreeLSTMContext
from maskrcnn_benchmark.modeling.roi_heads.relation_head.padding import Padding
from maskrcnn_benchmark.modeling.roi_heads.relation_head.roi_relation_predictors import VCTreePredictor
from maskrcnn_benchmark.modeling.roi_heads.relation_head.tree_scores import PairScorer, overlap_info, pair_loss
from maskrcnn_benchmark.structures.bounding_box import BoxList
from torch.nn import functional as F

HEAD = "MODEL.ROI_RELATION_HEAD."
VCTREE = {HEAD + "PREDICTOR": "VCTreePredictor"}
SGCLS = {**VCTREE, HEAD + "USE_GT_OBJECT_LABEL": False}
CPU = torch.device("cpu")
MLP, H, E, OBJ, REL = 32, 16, 12, 21, 11


def test_geometry_among_the_boxes():
    boxes = [BoxList([[0, 0, 9, 9], [5, 0, 14, 9], [50, 50, 59, 69]], (100, 100)), BoxList([[1, 1, 3, 4]], (9, 9))]
    info = overlap_info(boxes, Padding([3, 1], CPU))
    area, shared, iou = 1024.0**2, 150.0, 1 + 50 / 150
    first = [2, shared / area, iou, shared / area / 2, iou / 2, 81 / area]
    torch.testing.assert_close(info[0], torch.tensor(first))
    torch.testing.assert_close(info[2], torch.tensor([1, 200 / area, 1, 200 / area, 1, 171 / area]))
    torch.testing.assert_close(info[3], torch.tensor([1, 12 / area, 1, 12 / area, 1, 6 / area]))


def test_pair_scores_by_their_equation(make_cfg, statistics):
    scorer = PairScorer(make_cfg(), statistics, MLP).eval()
    table = statistics["pred_dist"].sum(-1)
    torch.testing.assert_close(scorer.bi_freq_prior.weight.view(OBJ, OBJ), table + table.t())
    torch.nn.init.normal_(scorer.bi_freq_prior.weight)
    counts = [4, 1, 3]
    x, embedding, info, overlap = torch.randn(8, MLP), torch.randn(8, E), torch.rand(8, 9), torch.rand(8, 6)
    probability = torch.randn(8, OBJ).softmax(1)
    found = scorer.score_pairs(x, embedding, info, overlap, probability, Padding(counts, CPU))
    assert found.shape == (3, 4, 4)
    looks = (scorer.obj_reduce(x), scorer.emb_reduce(embedding), scorer.box_embed(info), scorer.overlap_embed(overlap))
    looks = scorer.score_pre(torch.cat(looks, 1)).relu()
    f, e = scorer.score_sub(looks).relu(), scorer.score_obj(looks).relu()
    start = 0
    for block, count in zip(found, counts):
        for i in range(count):
            for j in range(count):
                a, b = start + i, start + j
                prior = scorer.bi_freq_prior(torch.outer(probability[a], probability[b]).flatten())
                vision = scorer.vision_prior(torch.cat((f[b] * e[a], f[b], e[a], prior)))
                torch.testing.assert_close(block[i, j], (vision.sigmoid() * prior)[0], rtol=1e-4, atol=1e-4)
        start += count


def test_loss_of_the_pairs_is_a_mean_of_means():
    scores, related = [torch.randn(n, n) for n in (3, 1, 5)], [torch.randint(-1, 3, (n, n)) for n in (3, 1, 5)]
    each = [F.binary_cross_entropy_with_logits(s, (r > 0).float()) for s, r in zip(scores, related)]
    torch.testing.assert_close(pair_loss(scores, related), torch.stack(each).mean())


def expected_names(effect: bool, layers: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes under ``predictor``."""
    table: dict[str, tuple[int, ...]] = {}
    context, object_dim = "context_layer", MLP + E + 128

    def linear(name: str, rows: int, columns: int) -> None:
        table[f"{name}.weight"], table[f"{name}.bias"] = (rows, columns), (rows,)

    def norm(name: str, width: int) -> None:
        table.update({f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")})
        table[f"{name}.num_batches_tracked"] = ()

    def tree_lstm(name: str, width: int, half: int) -> None:
        up, down = f"{name}.treeLSTM_foreward.treeLSTM", f"{name}.treeLSTM_backward.treeLSTM"
        linear(f"{up}.px", half, width)
        linear(f"{up}.ioffux", 6 * half, width)
        linear(f"{up}.ioffuh_left", 6 * half, half)
        linear(f"{up}.ioffuh_right", 6 * half, half)
        linear(f"{down}.px", half, width)
        linear(f"{down}.iofux", 5 * half, width)
        linear(f"{down}.iofuh", 5 * half, half)

    if effect:
        table[f"{context}.untreated_dcd_feat"] = (H + object_dim,)
        table[f"{context}.untreated_obj_feat"] = (object_dim,)
        table[f"{context}.untreated_edg_feat"] = (MLP + E,)
    table[f"{context}.obj_embed1.weight"] = table[f"{context}.obj_embed2.weight"] = (OBJ, E)
    linear(f"{context}.pos_embed.0", 32, 9)
    norm(f"{context}.pos_embed.1", 32)
    linear(f"{context}.pos_embed.2", 128, 32)
    for name, width in (("overlap_embed", 6), ("box_embed", 9)):
        linear(f"{context}.{name}.0", 128, width)
        norm(f"{context}.{name}.1", 128)
    table[f"{context}.bi_freq_prior.weight"] = (1, OBJ * OBJ)
    linear(f"{context}.obj_reduce", 128, MLP)
    linear(f"{context}.emb_reduce", 128, E)
    linear(f"{context}.score_pre", H, 512)
    linear(f"{context}.score_sub", H, H)
    linear(f"{context}.score_obj", H, H)
    linear(f"{context}.vision_prior", 1, 3 * H + 1)
    for layer in range(layers):
        tree_lstm(f"{context}.obj_ctx_rnn.multi_layer_lstm.{layer}", H if layer else object_dim, H // 2)
    tree_lstm(f"{context}.edge_ctx_rnn.multi_layer_lstm.0", E + H + MLP, H // 2)
    decoder = f"{context}.decoder_rnn"
    for embed, out in (("obj_embed", "out"), ("decoderLSTM.embed_layer", "decoderLSTM.embed_out_layer")):
        table[f"{decoder}.{embed}.weight"] = (OBJ + 1, E)
        linear(f"{decoder}.{out}", OBJ, H)
    linear(f"{decoder}.decoderLSTM.px", H, H + object_dim + E)
    linear(f"{decoder}.decoderLSTM.iofux", 5 * H, H + object_dim + E)
    linear(f"{decoder}.decoderLSTM.iofuh", 5 * H, H)
    linear("post_emb", 2 * H, H)
    linear("post_cat", 32, 2 * H)
    linear("ctx_compress", REL, 32)
    table["freq_bias.obj_baseline.weight"] = (OBJ * OBJ, REL)
    return table


@pytest.mark.parametrize(("effect", "layers"), [(True, 1), (False, 2)])
def test_names_and_shapes(make_cfg, effect, layers):
    cfg = make_cfg({**VCTREE, HEAD + "CAUSAL.EFFECT_ANALYSIS": effect, HEAD + "CONTEXT_OBJ_LAYER": layers})
    predictor = VCTreePredictor(cfg, MLP)
    assert {n: tuple(v.shape) for n, v in predictor.state_dict().items()} == expected_names(effect, layers)
    # The decoder's two aliases are the same parameters, before and after a copy, and are trained once.
    for model in (predictor, copy.deepcopy(predictor)):
        decoder = model.context_layer.decoder_rnn
        assert decoder.decoderLSTM.embed_layer is decoder.obj_embed
        assert decoder.decoderLSTM.embed_out_layer is decoder.out
    assert not any("embed_layer" in n or "embed_out_layer" in n for n, _ in predictor.named_parameters())
    predictor.load_state_dict({n: v + 1 for n, v in predictor.state_dict().items()}, strict=True)


@pytest.mark.parametrize("changes", [VCTREE, SGCLS])
def test_a_step_reaches_every_parameter_and_gives_the_loss_of_the_trees(make_cfg, make_targets, images, changes):
    model = build_detection_model(make_cfg(changes)).train()
    losses = model(images, make_targets([5, 4]))
    assert set(losses) == {"loss_rel", "loss_refine_obj", "binary_loss"}
    sum(losses.values()).backward()
    unused = {n for n, p in model.roi_heads.relation.predictor.named_parameters() if p.grad is None}
    if changes is VCTREE:  # classes that are given need no decoder
        assert unused == {n for n, _ in model.roi_heads.relation.predictor.named_parameters() if "decoder_rnn" in n}
    else:
        assert unused == set()


def test_tested_images_do_not_depend_on_their_batch(make_cfg, make_targets, statistics):
    context = VCTreeLSTMContext(make_cfg(SGCLS), statistics["obj_classes"], statistics, MLP).eval()
    boxes, x = make_targets([5, 1, 3]), torch.randn(9, MLP)
    for proposal in boxes:
        proposal.add_field("predict_logits", torch.randn(len(proposal), OBJ))
    logits, names, edges, scores = context(x, boxes)
    assert [tuple(s.shape) for s in scores] == [(5, 5), (1, 1), (3, 3)]
    alone = [context(rows, [box]) for rows, box in zip(x.split([5, 1, 3]), boxes)]
    torch.testing.assert_close(logits, torch.cat([a[0] for a in alone]))
    assert torch.equal(names, torch.cat([a[1] for a in alone]))
    torch.testing.assert_close(edges, torch.cat([a[2] for a in alone]))


def test_running_means_move_in_training_only(make_cfg, make_targets, statistics):
    context = VCTreeLSTMContext(make_cfg(SGCLS), statistics["obj_classes"], statistics, MLP)
    boxes, x = make_targets([4, 3]), torch.randn(7, MLP)
    for proposal in boxes:
        proposal.add_field("predict_logits", torch.randn(len(proposal), OBJ))
    names = context(x, boxes)[1]
    expected = 0.0005 * torch.cat((context.obj_embed2(names), x), 1).mean(0)
    torch.testing.assert_close(context.untreated_edg_feat, expected)
    torch.testing.assert_close(context.untreated_obj_feat[:MLP], 0.0005 * x.mean(0))
    one, two = (rows.mean(0) for rows in x.split([4, 3]))  # the decoder's mean: image after image
    torch.testing.assert_close(context.untreated_dcd_feat[:MLP], 0.0005 * (one * 0.9995 + two))
    before = context.untreated_dcd_feat.clone()
    context.eval()(x, boxes)
    assert torch.equal(before, context.untreated_dcd_feat)
