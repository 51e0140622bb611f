"""The method's tests: a seed for each, and the data of the trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


SHARED = Path(os.environ.get("HML_SHARED", REPO.parent / "shared")) / "data"


@pytest.fixture(scope="session", params=[Path(__file__).with_name("data"), *([SHARED] if SHARED.is_dir() else [])])
def tree_data(request: pytest.FixtureRequest) -> Path:
    """Vocabularies and word vectors of the shipped trees: the tests' own data, and the published files where they are.

    The latter are in the folder ``data`` of the one that HML_SHARED names; by default ``shared`` beside the repository.
    """
    return request.param
