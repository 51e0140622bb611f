"""Puts the embedded benchmark on the path as ``maskrcnn_benchmark`` and keeps its tests light."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

EMBEDDED = Path(__file__).resolve().parents[2] / "maskrcnn_benchmark_hml" / "embedded"
if str(EMBEDDED) not in sys.path:
    sys.path.insert(0, str(EMBEDDED))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
