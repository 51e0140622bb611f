"""Two processes beside one: the data on which both must do the same, how they are started, and how they compare."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from maskrcnn_benchmark_hml.datasets.layout import PHOTOS_NAME, TEST, TRAIN, ImageRecord
from maskrcnn_benchmark_hml.datasets.mini_vg import vg150_vocabulary
from maskrcnn_benchmark_hml.datasets.writer import write_vg

REPO = Path(__file__).resolve().parents[2]
OBJECTS, SIDE, IMAGES = 6, 128, 30
#: One label each per picture: four of the shipped tree's first layer, four of its second.
PREDICATES = ("on", "has", "near", "wearing", "holding", "riding", "parked on", "sitting on")
LAUNCHERS = {
    "": (),
    "launch": ("-m", "torch.distributed.launch", "--nproc_per_node=2"),
    "torchrun": ("-m", "torch.distributed.run", "--nproc_per_node=2"),
}
STEPS = 20


def write_pinned_vg(folder: Path) -> Path:
    """Pictures of one size with the same number of objects and the same predicates.

    A rank's loss is a mean over its own rows, weighted by their classes; the mean of two ranks' losses is the loss of
    the whole batch only if both have as many rows, of the same weights. Here every picture has. MOTIFS reads objects
    from left to right and SGB's sorting breaks ties by chance: no two centres of a picture have the same x.
    """
    (folder / PHOTOS_NAME).mkdir(parents=True)
    random, vocabulary = np.random.default_rng(5), vg150_vocabulary()
    pairs = [(s, o) for s in range(OBJECTS) for o in range(OBJECTS) if s != o]
    records = []
    for at in range(IMAGES):
        middle = np.stack([random.permutation(OBJECTS) * 14 + 26, random.integers(25, SIDE - 25, OBJECTS)], 1)
        half = random.integers(10, 24, (OBJECTS, 2))
        boxes = np.concatenate([middle - half, middle + half], 1)
        chosen = random.permutation(len(pairs))[: len(PREDICATES)]
        relations = [(*pairs[p], vocabulary.predicate_index(name)) for p, name in zip(chosen, PREDICATES)]
        split = TRAIN if at < IMAGES - 4 else TEST
        record = ImageRecord(
            at + 1, SIDE, SIDE, split, boxes, random.integers(1, 151, OBJECTS), np.asarray(relations)
        )
        noise = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Image.fromarray(noise).save(folder / PHOTOS_NAME / record.photo_name(), quality=90)
        records.append(record)
    write_vg(folder, records, vocabulary, num_val_images=2)
    return folder


def pinned_options(out: Path, *extra: str) -> list[str]:
    """Settings of a run in which nothing depends on how a batch is split: all pairs, no dropout, no flip."""
    head = "MODEL.ROI_RELATION_HEAD"
    return [
        "--skip-test", "OUTPUT_DIR", str(out), "HML.ENABLED", "True", "HML.STAGES.ITERATIONS", f"{STEPS},{STEPS}",
        "SOLVER.IMS_PER_BATCH", "4", "SOLVER.TO_VAL", "False", "SOLVER.CHECKPOINT_PERIOD", "1000",
        "TEST.IMS_PER_BATCH", "2", "DATALOADER.NUM_WORKERS", "0", f"{head}.BATCH_SIZE_PER_IMAGE", "64",
        f"{head}.CONTEXT_DROPOUT_RATE", "0.0", f"{head}.PREDICTOR", "MotifPredictor",
        f"{head}.USE_GT_BOX", "True", f"{head}.USE_GT_OBJECT_LABEL", "True", "INPUT.MIN_SIZE_TRAIN", f"({SIDE},)",
        *extra,
    ]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def train(launcher: str, files: Path, words: list[str], module: str = "rank_run") -> str:
    """``hml run WORDS`` by ``launcher``; returns all that was printed. The stages' states go to ``files``."""
    files.mkdir(parents=True, exist_ok=True)
    start = [*LAUNCHERS[launcher], f"--master_port={free_port()}"] if launcher else []
    environ = {
        **os.environ, "PYTHONPATH": os.pathsep.join((str(REPO), str(REPO / "tests" / "host"))),
        "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "HML_RANK_FILES": str(files),
    }
    environ.pop("SGB_HOME", None)  # which benchmark is driven, WORDS say
    done = subprocess.run(
        [sys.executable, *start, "-m", module, "run", *words], capture_output=True, text=True, env=environ, cwd=files,
    )
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-4000:]
    return text


def state(files: Path, stage: int, rank: int) -> dict:
    return torch.load(files / f"stage{stage}.rank{rank}.pt", weights_only=True)


def assert_identical_on_both_ranks(files: Path) -> None:
    for stage in (1, 2):
        first, second = (state(files, stage, rank) for rank in (0, 1))
        assert first["steps"] == second["steps"] == STEPS and first["world"] == second["world"] == 2
        assert first["rising"] == second["rising"]
        for part in ("parameters", "fisher", "omega"):
            assert first[part].keys() == second[part].keys()
            assert all(torch.equal(first[part][name], second[part][name]) for name in first[part]), (stage, part)
        assert sum(float(value.sum()) for value in first["fisher"].values()) > 0


def assert_as_one_rank(whole: Path, halves: Path) -> None:
    """Parameters agree to 1e-5, of steps that are a hundred times as long; F to 1e-4 of its largest value."""
    for stage in (1, 2):
        one, two = state(whole, stage, 0), state(halves, stage, 0)
        assert one["steps"] == two["steps"] == STEPS and one["world"] == 1
        apart = {
            part: max(float((one[part][name] - two[part][name]).abs().max()) for name in one[part])
            for part in ("parameters", "fisher")
        }
        largest = max(float(value.max()) for value in one["fisher"].values())
        figures = one["moved"], apart["parameters"], apart["fisher"] / largest
        print("stage {}: moved {:.1e}, parameters apart {:.1e}, F {:.1e}".format(stage, *figures))
        assert apart["parameters"] < 1e-5 and one["moved"] > 1e-3
        assert apart["fisher"] < 1e-4 * largest
