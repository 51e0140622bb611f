"""Small dataset folders for the tests, and the published annotations where they are."""

from __future__ import annotations

import json
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


SHARED = Path(os.environ.get("HML_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "data" / "vrd"
VRD_SOURCES = ["made", *(["published"] if SHARED.is_dir() else [])]


@pytest.fixture(scope="session", params=VRD_SOURCES)
def vrd_source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with VRD's JSON files: made ones, and the published annotations where they are.

    The latter are in ``data/vrd`` of the folder that HML_SHARED names; by default ``shared`` beside the repository.
    """
    return make_vrd(tmp_path_factory.mktemp("vrd")) if request.param == "made" else SHARED


def make_vrd(folder: Path) -> Path:
    """Write annotations of 60 images per split with VRD's vocabulary sizes, format and irregularities.

    Every third image has a relation twice; of the first, one pair has two predicates. Training image 5 has a self-pair,
    8 nothing but a self-pair, 11 a box of one pixel; image 20 of each split has no relations, and the last test image
    has another ending in the metadata.
    """
    random = np.random.default_rng(0)
    (folder / "objects.json").write_text(json.dumps([f"object {i}" for i in range(100)]))
    (folder / "predicates.json").write_text(json.dumps([f"predicate {i}" for i in range(70)]))
    for split in ("train", "test"):
        annotations = {f"{split}{i}.jpg": random_vrd_relations(random) for i in range(60)}
        for i in range(0, 60, 3):
            annotations[f"{split}{i}.jpg"].append(annotations[f"{split}{i}.jpg"][0])
        first = annotations[f"{split}0.jpg"]
        first.append({**first[0], "predicate": (first[0]["predicate"] + 1) % 70})
        annotations[f"{split}20.jpg"] = []
        if split == "train":
            five, eleven = annotations["train5.jpg"], annotations["train11.jpg"]
            five.append({**five[0], "object": five[0]["subject"]})
            annotations["train8.jpg"] = [five[-1]]
            eleven.append({**eleven[0], "object": {"category": 3, "bbox": [7, 7, 9, 9]}})
        sizes = {name.replace("t59.jpg", "t59.gif"): {"width": 640, "height": 480} for name in annotations}
        (folder / f"annotations_{split}.json").write_text(json.dumps(annotations))
        (folder / f"{split}_image_metadata.json").write_text(json.dumps(sizes))
    return folder


def random_vrd_relations(random: np.random.Generator) -> list[dict]:
    """Two relations between different objects in 640 x 480 pixels; boxes are [ymin, ymax, xmin, xmax] from 1."""
    ends = []
    for category in random.permutation(100)[:4]:
        top, left = random.integers(1, 200, 2)
        height, width = random.integers(20, 280, 2)
        box = [int(value) for value in (top, top + height, left, left + width)]
        ends.append({"category": int(category), "bbox": box})
    predicates = random.integers(0, 70, 2)
    return [{"predicate": int(predicates[i]), "subject": ends[2 * i], "object": ends[2 * i + 1]} for i in (0, 1)]
