"""MOTIFS here and in SGB."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

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
        ("predcls", {}),
        ("predcls", {HEAD + "CONTEXT_OBJ_LAYER": 2, HEAD + "CONTEXT_POOLING_DIM": 64}),
        ("predcls", {HEAD + "POOLING_ALL_LEVELS": False}),
        ("sgcls", {}),
        ("sgdet", {}),
    ],
)
def test_same_weights_give_the_same_graph(task: str, extra: dict, tmp_path: Path) -> None:
    # SGB's decoder cannot test several images at once.
    same_logits.compare(tmp_path, task, batched=task == "predcls", extra=extra)
