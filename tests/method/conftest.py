"""Shared data for the method's tests: the folder named by HML_SHARED, by default ``shared`` beside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """``<shared>/data``; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("HML_SHARED", REPO.parent / "shared")) / "data"
    if not folder.is_dir():
        pytest.skip(f"the shared data are not at {folder}; set HML_SHARED to their folder")
    return folder
