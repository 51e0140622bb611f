"""The order in which a stage's events happen, traced on a real training loop, for both kinds of relation heads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskrcnn_benchmark_hml.host import stage_driver
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.training.stage_method import StageMethod

from .conftest import run_options

EVENTS = ("on_stage_start", "on_fresh_start", "on_parameters", "load_state_dict", "on_data", "on_forward",
          "relation_loss", "on_gradients", "on_skipped", "on_step", "on_stage_end")
FORWARD = {"SGB": ["on_forward", "relation_loss"], "SHA-GCL": ["relation_loss", "on_forward"]}


@pytest.fixture
def traced(monkeypatch) -> list[str]:
    """The names of the events, as they begin."""
    seen: list[str] = []

    def tracing(name: str):
        original = getattr(StageMethod, name)

        def traced(self, *args, **kwargs):
            seen.append(name)
            return original(self, *args, **kwargs)

        return traced

    for name in EVENTS:
        monkeypatch.setattr(StageMethod, name, tracing(name))
    return seen


class OwnLoss(nn.Module):
    """A predictor that computes its losses itself and returns no logits in training, as in SHA-GCL."""

    def __init__(self, predictor: nn.Module) -> None:
        super().__init__()
        self.inner, self.criterion_loss = predictor, nn.CrossEntropyLoss()

    def forward(self, proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger=None):
        objects, relations, added = self.inner(
            proposals, rel_pair_idxs, rel_labels, rel_binarys, roi_features, union_features, logger
        )
        if not self.training:
            return objects, relations, added
        given = torch.cat([boxes.get_field("labels") for boxes in proposals])
        added["loss_refine_obj"] = self.criterion_loss(torch.cat(objects), given.long())
        added["loss_rel"] = self.criterion_loss(torch.cat(relations), torch.cat(rel_labels).long())
        return None, None, added


def with_own_loss(head: nn.Module) -> None:
    """Turn the bundled benchmark's relation head into one of SHA-GCL's kind."""

    class OwnLossHead(type(head)):
        def forward(self, features, proposals, targets=None, logger=None):
            proposals, labels, pairs, binaries = self.samp_processor.gtbox_relsample(proposals, targets)
            roi = self.box_feature_extractor(features, proposals)
            union = self.union_feature_extractor(features, proposals, pairs)
            return roi, proposals, self.predictor(proposals, pairs, labels, binaries, roi, union, logger)[2]

    head.__class__ = OwnLossHead
    head.predictor = OwnLoss(head.predictor)


@pytest.mark.parametrize("kind", FORWARD)
def test_the_order_of_a_stages_events(tiny_vg, tmp_path, monkeypatch, traced, kind):
    if kind == "SHA-GCL":
        find = stage_driver.hook_points.relation_head

        def found(model):
            head = find(model)
            with_own_loss(head)
            return head

        monkeypatch.setattr(stage_driver.hook_points, "relation_head", found)
    words = ["HML.STAGES.ITERATIONS", "1,2", "SOLVER.TO_VAL", "False", "SOLVER.CHECKPOINT_PERIOD", "1"]
    options = run_options(tiny_vg, tmp_path / "out", *words)
    run_script(options[2], options[3:], data=options[1])
    start = ["on_stage_start", "on_fresh_start", "on_parameters", "on_data"]
    step = [*FORWARD[kind], "on_gradients", "on_step"]
    assert traced == [*start, *step, "on_stage_end", *start, *step, *step, "on_stage_end"]
    traced.clear()
    run_script(options[2], options[3:], data=options[1])  # stage 2 once more, from its last checkpoint
    assert traced == ["on_stage_start", "on_parameters", "load_state_dict", "on_data", "on_stage_end"]
