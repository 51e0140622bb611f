"""The Transformer predictor here and in SGB."""

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

SMALL = {"NUM_HEAD": 3, "KEY_DIM": 8, "VAL_DIM": 10, "INNER_DIM": 40}


@pytest.mark.parametrize(
    ("task", "extra"),
    [
        ("predcls", {}),
        ("sgcls", {HEAD + "TRANSFORMER.OBJ_LAYER": 1, HEAD + "CONTEXT_POOLING_DIM": 64}),
        ("sgdet", {}),
    ],
)
def test_same_weights_give_the_same_graph(task: str, extra: dict, tmp_path: Path) -> None:
    small = {f"{HEAD}TRANSFORMER.{key}": value for key, value in SMALL.items()}
    extra = {HEAD + "PREDICTOR": "TransformerPredictor", **small, **extra}
    same_logits.compare(tmp_path, task, batched=True, extra=extra)
