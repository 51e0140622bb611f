"""Small dataset folders for the tests, and the shared data where it is at hand."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.datasets.format import PHOTOS_NAME, TEST, TRAIN, ImageRecord, Vocabulary, write_vg
from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg

VOCABULARY = Vocabulary(("cat", "hat", "mat"), ("on", "wearing"), ("red", "big"))


def small_records() -> list[ImageRecord]:
    """Four images: two for training, one without relations, one for test with an unseen triplet."""

    def record(image_id, split, boxes, labels, relations, size=(200, 100), attributes=()):
        return ImageRecord(
            image_id, *size, split, np.array(boxes, dtype=float), np.array(labels), np.array(relations).reshape(-1, 3),
            list(attributes),
        )  # fmt: skip

    return [
        record(11, TRAIN, [[0, 0, 50, 50], [10, 10, 31, 40]], [1, 2], [[0, 1, 2]], attributes=[(1, 2), ()]),
        record(12, TRAIN, [[5, 5, 99, 199], [1, 2, 4, 7]], [1, 3], [[0, 1, 1], [0, 1, 2], [1, 0, 1]], size=(100, 200)),
        record(13, TRAIN, [[5, 5, 60, 60]], [3], []),
        record(14, TEST, [[0, 0, 200, 100], [3, 3, 60, 60], [9, 9, 70, 70]], [3, 2, 1], [[1, 0, 1], [2, 0, 1]]),
    ]


@pytest.fixture
def records() -> list[ImageRecord]:
    """Fresh :func:`small_records`."""
    return small_records()


@pytest.fixture
def vocabulary() -> Vocabulary:
    """Their names."""
    return VOCABULARY


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A dataset folder made of :func:`small_records`."""
    folder = tmp_path / "small"
    (folder / PHOTOS_NAME).mkdir(parents=True)
    for record in small_records():
        Image.new("RGB", (record.width, record.height)).save(folder / PHOTOS_NAME / record.photo_name())
    write_vg(folder, small_records(), VOCABULARY, num_val_images=1)
    return folder


@pytest.fixture(scope="session")
def mini_vg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mini-VG in its default size."""
    return make_mini_vg(tmp_path_factory.mktemp("data") / "mini_vg")


@pytest.fixture(scope="session")
def vrd_source() -> Path:
    """The folder with VRD's JSON files, or a skip."""
    shared = Path(os.environ.get("HML_SHARED", Path(__file__).resolve().parents[3] / "shared"))
    folder = shared / "data" / "vrd"
    if not (folder / "annotations_train.json").is_file():
        pytest.skip(f"VRD annotations are not at {folder}; set HML_SHARED")
    return folder
