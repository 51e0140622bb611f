"""A run with a small stand-in for a training: it reports progress, counts its starts and writes metrics."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from maskrcnn_benchmark_hml.datasets.format import TRAIN, ImageRecord, Vocabulary, write_vg
from maskrcnn_benchmark_hml.experiments.run import Run
from maskrcnn_benchmark_hml.method.tree_builders import build_frequency_tree

STUB = '''
import json, os, pathlib, sys, time
out, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
starts = out / "starts"
n = int(starts.read_text()) + 1 if starts.exists() else 1
starts.write_text(str(n))
print("a line of the log")
if mode == "warns":
    print("2026-01-01 00:00:00,000 maskrcnn_benchmark.hml WARNING: HML: iteration 200: its gradients have vanished")
(out / "threads").write_text(os.environ.get("OMP_NUM_THREADS", ""))
sys.stderr.write("a warning\\n")
for done in (1, 5, 10):
    with open(os.environ["HML_PROGRESS_FILE"], "a") as file:
        file.write(json.dumps({"what": "train", "done": done, "total": 10, "terms": "loss_rel=1.25"}) + "\\n")
if mode == "user_error":
    sys.exit(sys.stderr.write("hml: error: HML.CR.WEIGHT is -1; give a number >= 0\\\\n") and 2)
if mode == "crash":
    raise RuntimeError("loss is not finite")
if mode == "crash_once" and n == 1:
    os.kill(os.getpid(), 9)
if mode == "sleep":
    (out / "sleeping").write_text(str(os.getpid()))
    time.sleep(600)  # far longer than a busy machine needs to end it
if mode != "no_metrics":
    folder = out / "inference" / "VG_stanford_filtered_with_attribute_test"
    folder.mkdir(parents=True, exist_ok=True)
    keys = [f"{m}@{k}" for m in ("R", "mR") for k in (20, 50, 100)]
    value = 0.1 * (1 + len(sys.argv[3]))
    per = {f"R@{k}": {"on": value, "parked on": 0.2, "of": None} for k in (20, 50, 100)}
    metrics = {"mode": "predcls", "images": 7, "per_predicate": per, **{key: value for key in keys}}
    if mode == "detector":
        metrics = {"mode": "detection", "images": 7, "mAP@0.5": 0.51, "mAP": 0.2}
        (out / "model_final.pth").write_bytes(b"weights")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (out / "hml").mkdir(exist_ok=True)
    (out / "hml" / "tree.json").write_bytes(pathlib.Path(__file__).with_name("tree.json").read_bytes())
'''.replace("\\\\", "\\")


@dataclass(frozen=True)
class StubRun(Run):
    """A run that runs the stand-in; its first override is the stand-in's mode."""

    def command(self) -> list[str]:
        stub = self.config_file.parent / "stub.py"
        return [sys.executable, str(stub), str(self.output), self.overrides[1], "x" * self.seed]


def make_data(folder: Path, counts: tuple[int, ...] = (30, 20, 2)) -> Path:
    """The annotations of one training image: cars and men, and that many relations of each of three predicates."""
    folder.mkdir(parents=True)
    predicates = np.repeat(np.arange(1, 4), counts)
    relations = np.column_stack([np.zeros_like(predicates), np.ones_like(predicates), predicates])
    boxes = np.array([[0.0, 0.0, 40.0, 40.0], [20.0, 20.0, 60.0, 60.0]])
    image = ImageRecord(1, 100, 100, TRAIN, boxes, np.array([1, 2]), relations)
    write_vg(folder, [image], Vocabulary(("car", "man"), ("on", "of", "parked on")), num_val_images=0)
    return folder


@pytest.fixture
def make_run(tmp_path):
    """``make_run(mode, *overrides, seed=0)`` -> StubRun below tmp_path."""
    make_data(tmp_path / "data")
    (tmp_path / "stub.py").write_text(STUB)
    counts = {"on": 30, "of": 20, "parked on": 2}
    build_frequency_tree(list(counts), counts, boundaries=(2,)).save(tmp_path / "tree.json")
    config = tmp_path / "config.yaml"
    config.write_text("DTYPE: float32\n")

    def make(mode: str = "fine", *overrides: str, seed: int = 0) -> StubRun:
        words = ("MODE", mode, *overrides)
        return StubRun("stub", config, words, seed, tmp_path / "data", tmp_path / "out" / "stub")

    return make
