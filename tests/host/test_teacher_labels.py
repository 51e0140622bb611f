"""In SGCls and SGDet the frozen MOTIFS decoder reads the given labels; everything else of the teacher stays in eval."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from maskrcnn_benchmark_hml.host import hook_points
from maskrcnn_benchmark_hml.host.launch import run_script

from .conftest import run_options


class LabelDecoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn_drop, self.out = 0.2, nn.Linear(2, 2)

    def forward(self, inputs, labels=None, boxes_for_nms=None): ...


class TreeDecoder(nn.Module):
    def forward(self, tree, features, num_obj): ...


def predictor(decoder: nn.Module) -> nn.Module:
    context = nn.Module()
    context.rnn, context.drop, context.decoder_rnn = nn.LSTM(2, 2), nn.Dropout(), decoder
    whole = nn.Module()
    whole.context_layer = context
    return whole.eval()


def test_a_label_decoder_and_its_context_take_the_flag_alone():
    whole = predictor(LabelDecoder())
    hook_points.teacher_reads_labels(whole)
    assert [name for name, m in whole.named_modules() if m.training] == ["context_layer", "context_layer.decoder_rnn"]
    assert whole.context_layer.decoder_rnn.rnn_drop == 0


def test_a_tree_decoder_stays_in_eval():
    whole = predictor(TreeDecoder())
    hook_points.teacher_reads_labels(whole)
    assert not any(m.training for m in whole.modules())


def test_sgcls_teacher_is_given_the_labels(tiny_vg, tmp_path, monkeypatch):
    seen: list[torch.Tensor] = []
    original = hook_points.teacher_reads_labels

    def spy(whole):
        original(whole)
        decoder = whole.context_layer.decoder_rnn
        decoder.register_forward_pre_hook(lambda m, args, named: seen.append((args, named)), with_kwargs=True)

    monkeypatch.setattr(hook_points, "teacher_reads_labels", spy)
    words = ["MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL", "False", "SOLVER.TO_VAL", "False",
             "HML.STAGES.ITERATIONS", "2,3"]
    options = run_options(tiny_vg, tmp_path / "out", *words)
    run_script(options[2], options[3:], data=options[1])
    assert len(seen) == 2 + 3, "the self-check of stage 1 replays twice, the teacher in each step of stage 2"
    for args, named in seen:
        given = SimpleNamespace(**dict(zip(("inputs", "labels"), args)), **named)
        assert given.labels is not None and bool((given.labels > 0).all())
