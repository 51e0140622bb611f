"""n_0 of eq. 4 where boxes are detected follows what the sampler returns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.method.losses import class_balanced_weights
from maskrcnn_benchmark_hml.training import background
from maskrcnn_benchmark_hml.training.data import StageData
from maskrcnn_benchmark_hml.training.stage_method import StageMethod
from maskrcnn_benchmark_hml.training.stages import Stage

COUNTS = np.array([9000, 20, 10, 2])
STAGE = Stage(1, 1, (1, 2, 3), (0,), "containing", 4, True, Path("."), Path("memory.pt"))


def make(**loss) -> StageMethod:
    node = add_hml_config(CfgNode()).HML
    for name, value in loss.items():
        node.LOSS[name] = value
    hml = StageMethod(node, STAGE, None)
    hml.on_data(StageData(images=50, relations=32, images_before=50, relations_before=32, counts=COUNTS), 4)
    return hml


def loss_with(hml: StageMethod, labels: torch.Tensor, n_0: float) -> None:
    """The loss of a forward is that of eq. 4 with this n_0."""
    logits = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(len(labels)))
    weights = class_balanced_weights([n_0, *COUNTS[1:]]).float()
    expected = torch.nn.functional.cross_entropy(logits, labels, weight=weights)
    torch.testing.assert_close(hml.relation_loss(logits, labels), expected)


FIRST, SECOND = torch.tensor([0] * 6 + [1, 2]), torch.tensor([0] * 10 + [3])


def test_it_is_the_mean_of_the_batches_so_far_and_survives_a_restart():
    hml = make()
    loss_with(hml, FIRST, 50 * 6 / 4)
    resumed = make()
    tracked = {"stage": 1, "bad_steps": 0, "tracker": None, "background": hml.background.state_dict()}
    resumed._tracker = type("Tracker", (), {"load_state_dict": lambda self, state: None})()
    resumed.load_state_dict(tracked)
    for either in (hml, resumed):
        loss_with(either, SECOND, 50 * 16 / 8)


def test_it_stays_after_the_window(monkeypatch, caplog):
    monkeypatch.setattr(background, "WINDOW", 2)
    caplog.set_level("INFO")
    hml = make()
    loss_with(hml, FIRST, 75)
    loss_with(hml, SECOND, 100)
    loss_with(hml, FIRST, 100)
    assert "n_0 = 100 background pairs per epoch, 2.0 per image" in caplog.text


def test_it_says_when_the_value_may_have_changed(monkeypatch):
    monkeypatch.setattr(background, "WINDOW", 2)
    count = background.BackgroundCount()
    assert count.observe(FIRST) is False and count.value is None and count.steps == 0  # not measured
    count.begin(50, 4)
    assert count.value is None
    assert [count.observe(labels) for labels in (FIRST, SECOND, FIRST)] == [True, True, False]
    assert count.value == 50 * 16 / 8 and count.state_dict() == {"pairs": 16, "steps": 2}


def test_all_processes_together(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda pairs: pairs.add_(10))  # the other process has 10
    loss_with(make(), FIRST, 50 * 16 / 4)


def test_a_given_count_is_taken():
    hml = make(BACKGROUND_COUNT=123)
    loss_with(hml, FIRST, 123)
    loss_with(hml, SECOND, 123)


def test_given_boxes_are_counted_beforehand():
    hml = StageMethod(add_hml_config(CfgNode()).HML, STAGE, None)
    hml.on_data(StageData(50, 32, 50, 32, COUNTS))
    loss_with(hml, FIRST, 9000)
