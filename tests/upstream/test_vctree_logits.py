"""VCTree here and in SGB."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
import torch

_spec = importlib.util.spec_from_file_location("same_logits", Path(__file__).with_name("same_logits.py"))
same_logits = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(same_logits)

HEAD = "MODEL.ROI_RELATION_HEAD."
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(not os.environ.get("SGB_HOME"), reason="needs a Scene-Graph-Benchmark checkout in SGB_HOME"),
]


@pytest.mark.parametrize(
    ("task", "extra"),
    [
        ("predcls", {HEAD + "CONTEXT_OBJ_LAYER": 2, HEAD + "CONTEXT_POOLING_DIM": 64}),
        ("predcls", {HEAD + "CAUSAL.EFFECT_ANALYSIS": False}),
        ("sgcls", {}),
        ("sgdet", {}),
    ],
)
def test_same_weights_give_the_same_graph(task: str, extra: dict, tmp_path: Path) -> None:
    same_logits.compare(tmp_path, task, batched=True, extra={HEAD + "PREDICTOR": "VCTreePredictor", **extra})


def test_same_trees(tmp_path: Path) -> None:
    """Random scores, many equal scores, all equal scores, and scores so low that they are 0."""
    generator = torch.Generator().manual_seed(4)
    scores = []
    for count in (1, 2, 3, 7, 12, 30, 60) * 3:
        logits = 3 * torch.randn(count, count, generator=generator)
        scores += [logits.sigmoid(), (logits.sigmoid() * 4).round() / 4, (40 * logits - 60).sigmoid().round()]
    scores += [torch.zeros(9, 9), torch.ones(5, 5)]
    ours, theirs = same_logits.both("trees", {"scores": scores}, tmp_path)
    assert len(scores) == len(ours["children"]) == len(theirs["children"]) == 65
    assert all(torch.equal(here, there) for here, there in zip(ours["children"], theirs["children"]))


@pytest.mark.parametrize("task", ["predcls", "sgcls"])
def test_same_training_step(task: str, tmp_path: Path) -> None:
    """Losses, gradients, running statistics and running means of the untreated features."""
    extra = {HEAD + "PREDICTOR": "VCTreePredictor", HEAD + "CONTEXT_DROPOUT_RATE": 0.0}
    # So sure of itself that the classes that the decoder draws in training are its best ones.
    scale = {"predictor.context_layer.decoder_rnn.out.weight": 3000.0}
    content = same_logits.content_of(task, extra, scale=scale, object_scale=3000.0)
    ours, theirs = same_logits.both("gradients", content, tmp_path)
    assert list(ours["losses"]) == list(theirs["losses"]) == ["binary_loss"]
    for part in ("losses", "gradients", "buffers"):
        assert set(ours[part]) == set(theirs[part])
        for name, here in ours[part].items():
            size = float(theirs[part][name].abs().max())
            torch.testing.assert_close(here, theirs[part][name], rtol=1e-4, atol=1e-6 + 1e-5 * size, msg=name)
