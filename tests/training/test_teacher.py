"""The teacher is the previous stage's head, frozen and in evaluation mode; what the memory gives and CR's term."""

from __future__ import annotations

import copy
import json
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.method.losses import concept_reconstruction
from maskrcnn_benchmark_hml.method.memory import StageMemory
from maskrcnn_benchmark_hml.training.data import StageData
from maskrcnn_benchmark_hml.training.stage_method import StageMethod
from maskrcnn_benchmark_hml.training.stages import Stage
from maskrcnn_benchmark_hml.training.teacher import Teacher, copy_module

STAGE = Stage(2, 2, (3, 4), (0, 1, 2), "containing", 4, True, Path("."), Path("memory.pt"))


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.predictor = nn.Sequential(nn.Linear(3, 5), nn.Dropout(0.5))
        self.other = nn.Linear(2, 2)


def answer(head: nn.Module) -> nn.Module:
    """How this head repeats a call."""
    return head.predictor


@pytest.fixture
def previous() -> Head:
    torch.manual_seed(1)
    return Head()


def begun(previous, **settings) -> tuple[StageMethod, Head]:
    """A stage 2 whose head has drawn its own weights, before ``on_parameters``."""
    cfg = add_hml_config(CfgNode()).HML
    for name, value in settings.items():
        part, key = name.split("__")
        cfg[part][key] = value
    torch.manual_seed(2)
    head = Head()
    ones = {name: torch.ones_like(p) for name, p in previous.named_parameters() if name.startswith("predictor.")}
    hml = StageMethod(cfg, STAGE, StageMemory(1, copy.deepcopy(previous.state_dict()), ones, ones, {}))
    hml.on_stage_start(head, "roi_heads.relation.", ("predictor.",), answer)
    return hml, head


def test_the_teacher_answers_as_the_previous_head_does_at_test(previous):
    head, call = Head(), torch.randn(7, 3)
    before = copy.deepcopy(head.state_dict())
    teacher = Teacher(head, previous.state_dict(), answer)
    logits = teacher.relation_logits(call, torch.device("cpu"))
    assert torch.equal(logits, previous.predictor[0](call).detach())  # without dropout
    assert not logits.requires_grad and not any(p.requires_grad for p in teacher.head.parameters())
    assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
    assert head.training and all(p.requires_grad for p in head.parameters())  # the student's own


def test_the_teacher_follows_the_student_to_its_device(previous):
    teacher = Teacher(Head(), previous.state_dict(), lambda head: lambda call: next(head.parameters()))
    assert teacher.relation_logits(None, torch.device("meta")).device.type == "meta"
    hml, head = begun(previous)
    assert hml.teacher_parameters(torch.device("cpu"))["predictor.0.weight"].device.type == "cpu"
    assert hml.teacher_parameters(torch.device("meta"))["predictor.0.weight"].device.type == "meta"


def test_another_models_head_is_refused(previous):
    with pytest.raises(HMLError, match=r"the previous stage's relation head does not fit this model \(.*extra.*\)"):
        Teacher(Head(), {**previous.state_dict(), "extra": torch.ones(1)}, answer)


@pytest.mark.parametrize(("init", "same"), [("previous", True), ("fresh", False)])
def test_a_stage_begins_with_the_previous_head_where_asked(previous, init, same):
    hml, head = begun(previous, STAGES__INIT=init)
    hml.on_fresh_start(head)
    assert torch.equal(head.predictor[0].weight, previous.predictor[0].weight) == same
    assert torch.equal(head.other.weight, previous.other.weight) == same


@pytest.mark.parametrize("classes", ["old", "all"])
def test_crs_term_is_that_of_the_settings(previous, classes):
    hml, head = begun(previous, CR__CLASSES=classes, CR__WEIGHT=0.25, CR__METRIC="l1", CR__TEMPERATURE=2.0)
    call, student = torch.randn(7, 3), torch.randn(7, 5, requires_grad=True)
    of = torch.tensor([0, 1, 2] if classes == "old" else [0, 1, 2, 3, 4])
    expected = 0.25 * concept_reconstruction(
        student, previous.predictor[0](call), of, metric="l1", temperature=2.0, reduction="mean"
    )
    for _ in range(2):
        found = hml.on_forward(call, student)
        assert list(found) == ["loss_cr"]
        torch.testing.assert_close(found["loss_cr"], expected)
    found["loss_cr"].backward()
    assert student.grad.abs().sum() > 0 and all(p.grad is None for p in hml.teacher.head.parameters())


def test_without_cr_or_a_memory_there_is_no_teacher(previous):
    hml, head = begun(previous, CR__WEIGHT=0.0)
    assert hml.teacher is None and hml.on_forward(None, torch.zeros(2, 5)) == {}
    assert hml.teacher_parameters(torch.device("cpu")) is None
    first = StageMethod(add_hml_config(CfgNode()).HML, replace(STAGE, index=1), None)
    first.on_stage_start(head, "", ("predictor.",), answer)
    before = head.predictor[0].weight.detach().clone()
    first.on_fresh_start(head)
    first.on_parameters(head)
    assert first.teacher is None and first.reconstruction is None
    assert torch.equal(head.predictor[0].weight, before)


def test_what_is_tracked_and_what_is_said_without_it(previous):
    hml, head = begun(previous)
    hml.on_parameters(head)
    assert hml.tracker.steps == 0 and hml._tracked_names == ["predictor.0.weight", "predictor.0.bias"]
    with pytest.raises(HMLError, match="no trainable parameter of the relation head begins with a[.] or b[.]"):
        StageMethod(add_hml_config(CfgNode()).HML, replace(STAGE, index=1), None).on_stage_start(
            head, "", ("a.", "b."), answer
        )
    head.predictor.requires_grad_(False)
    with pytest.raises(HMLError, match="no trainable parameter of the relation head begins with predictor[.]"):
        StageMethod(add_hml_config(CfgNode()).HML, replace(STAGE, index=1), None).on_stage_start(
            head, "", ("predictor.",), answer
        )


def test_events_out_of_order_are_named(previous):
    hml, head = begun(previous)
    with pytest.raises(HMLError, match="the event on_parameters must come first; keep the order of events"):
        hml.on_gradients()
    with pytest.raises(HMLError, match="the event on_data must come first"):
        _ = hml.data
    with pytest.raises(HMLError, match="the class weights are not set"):
        hml.relation_loss(torch.zeros(2, 5), torch.zeros(2))


def test_a_stage_hands_on_its_own_head_and_its_figures(previous, caplog):
    caplog.set_level("INFO")
    hml, head = begun(previous, IMPORTANCE__EFFECTIVE="step")
    hml.on_parameters(head)
    hml.on_data(StageData(4, 32, 9, 40, np.array([40, 20, 10, 2, 0])))
    for iteration in (199, 200):
        for p in head.parameters():
            p.grad = torch.ones_like(p)
        assert hml.on_gradients()
        with torch.no_grad():
            for p in head.parameters():
                p -= 0.1
        hml.on_step(iteration)
    assert caplog.text.count("HML: iteration 200: MR ") == 1 and "iteration 199" not in caplog.text
    saved = hml.state_dict()
    resumed, other = begun(previous, IMPORTANCE__EFFECTIVE="step")
    other.load_state_dict(head.state_dict())
    resumed.on_parameters(other)
    resumed.load_state_dict(saved)
    resumed.on_data(hml.data)
    assert resumed.tracker.steps == 2
    memory = hml.on_stage_end(head, {"seed": 3})
    assert memory.stage == 2 and memory.head.keys() == head.state_dict().keys()
    for name, value in head.state_dict().items():
        assert torch.equal(memory.head[name], value) and memory.head[name].data_ptr() != value.data_ptr()
    kept = memory.provenance
    assert (kept["seed"], kept["images"], kept["relations"], kept["steps"]) == (3, 4, 32, 2)
    facts = kept["importance"]
    assert (facts["stage"], facts["interval"], facts["effective"]) == (2, hml.settings.IMPORTANCE.INTERVAL, "step")
    assert facts["mr_pull"] == hml.reconstruction.pull > 0 and facts["rising_steps"] == 0
    assert "MR's mean pull (mr_pull in docs/metrics.md) was " in caplog.text
    assert "the loss rose to first order in 0 of 2 steps (0.0 %)" in caplog.text
    again = resumed.on_stage_end(other, {"seed": 3})
    for name, value in memory.omega.items():
        assert torch.equal(again.omega[name], value) and torch.equal(again.fisher[name], memory.fisher[name])
    json.dumps(facts, allow_nan=False)


@pytest.mark.parametrize("balanced", [True, False])
def test_classes_without_a_relation_weigh_nothing_and_the_background_always(balanced):
    hml = StageMethod(add_hml_config(CfgNode()).HML, replace(STAGE, class_balanced=balanced), None)
    hml.settings.LOSS.BACKGROUND_COUNT = 7
    hml.on_data(StageData(4, 32, 4, 32, np.array([0, 20, 10, 1, 0])), 2)
    assert hml._weights[4] == 0 and hml._weights[0] > 0 and (hml._weights[1:4] > 0).all()
    assert hml._weights.dtype == torch.float32
    if not balanced:
        assert hml._weights.tolist() == [1, 1, 1, 1, 0]
    assert hml.background.value is None  # a given count is not measured


@pytest.mark.parametrize("count", [0, -1])
def test_a_background_count_of_zero_is_a_given_one(count):
    hml = StageMethod(add_hml_config(CfgNode()).HML, STAGE, None)
    hml.settings.LOSS.BACKGROUND_COUNT = count
    hml.on_data(StageData(4, 32, 4, 32, np.array([9, 20, 10, 2, 3])), 2)
    hml.relation_loss(torch.zeros(4, 5), torch.tensor([0, 0, 1, 2]))
    assert hml.background.steps == (1 if count < 0 else 0)
    assert (hml._weights[0] == 0) == (count == 0)


def weight_normed() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own advice to write it otherwise
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)), nn.ReLU())


def test_a_head_with_weight_norm_is_copied():
    """As in GCM: the layer keeps its computed weight, a tensor with a graph, which copy.deepcopy refuses."""
    head = weight_normed()
    head(torch.randn(4, 3)).sum().backward()
    copied, x = copy_module(head), torch.randn(5, 3)
    assert torch.equal(copied(x), head(x))
    with torch.no_grad():
        copied[0].weight_v.add_(1.0)
    assert not torch.equal(copied(x), head(x)), "the copy has weights of its own"


def test_a_teacher_with_weight_norm_answers_with_the_weights_it_was_given():
    head, other = weight_normed(), weight_normed()
    teacher = Teacher(head, other.state_dict(), lambda head: head)
    x = torch.randn(5, 3)
    assert torch.equal(teacher.relation_logits(x, torch.device("cpu")), other(x))
