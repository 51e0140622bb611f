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
    torch.manual_seed(0)


NAME = "VG_stanford_filtered_with_attribute_"
OBJECTS = ("man", "street", "horse", "hat", "tree")
PREDICATES = ("on", "near", "riding", "wearing")


@pytest.fixture(scope="session")
def tiny_vg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder: 30 training images (5 of them validation) and 8 test images, wide and tall, 4 predicates."""
    import numpy as np
    from PIL import Image

    from maskrcnn_benchmark_hml.datasets.format import ImageRecord, Vocabulary, write_vg

    folder = tmp_path_factory.mktemp("tiny_vg")
    (folder / "VG_100K").mkdir()
    random = np.random.default_rng(7)
    records = []
    for image_id in range(1, 39):
        width, height = [(64, 48), (48, 64)][image_id % 2]
        count = int(random.integers(2, 7))
        low = random.uniform(0, 20, (count, 2))
        boxes = np.concatenate([low, low + random.uniform(4, 24, (count, 2))], axis=1)
        pairs = [(s, o) for s in range(count) for o in range(count) if s != o]
        chosen = [pairs[i] for i in random.integers(0, len(pairs), 5)]  # a pair may get two predicates
        relations = np.array([(s, o, int(random.integers(1, 5))) for s, o in chosen])
        if image_id % 13 == 0:
            relations = np.zeros((0, 3), dtype=int)
        records.append(
            ImageRecord(
                image_id, width, height, 0 if image_id <= 30 else 2, boxes, random.integers(1, 6, count), relations,
                [(1,)] * count,
            )
        )  # fmt: skip
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "VG_100K" / f"{image_id}.jpg", quality=95)
    write_vg(folder, records, Vocabulary(OBJECTS, PREDICATES, ("red",)), num_val_images=5)
    return folder


@pytest.fixture
def tiny_cfg(tiny_vg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A configuration of the embedded benchmark for ``tiny_vg``, writing into ``tmp_path``."""
    from maskrcnn_benchmark.config import cfg

    monkeypatch.setenv("HML_DATA", str(tiny_vg))
    tree = cfg.clone()
    options = {
        "DATASETS.TRAIN": (NAME + "train",),
        "DATASETS.VAL": (NAME + "val",),
        "DATASETS.TEST": (NAME + "test",),
        "MODEL.RELATION_ON": True,
        "MODEL.ROI_BOX_HEAD.NUM_CLASSES": len(OBJECTS) + 1,
        "MODEL.ROI_RELATION_HEAD.NUM_CLASSES": len(PREDICATES) + 1,
        "MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL": True,
        "INPUT.MIN_SIZE_TRAIN": (40, 48),
        "INPUT.MAX_SIZE_TRAIN": 64,
        "INPUT.MIN_SIZE_TEST": 48,
        "INPUT.MAX_SIZE_TEST": 64,
        "DATALOADER.NUM_WORKERS": 0,
        "DATALOADER.SIZE_DIVISIBILITY": 32,
        "SOLVER.IMS_PER_BATCH": 4,
        "SOLVER.MAX_ITER": 20,
        "TEST.IMS_PER_BATCH": 1,
        "OUTPUT_DIR": str(tmp_path),
    }
    tree.merge_from_list([part for option in options.items() for part in option])
    return tree
