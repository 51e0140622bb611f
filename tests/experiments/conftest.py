"""A cell whose process is a small stand-in for a training run: it shows bars, counts its starts and writes metrics."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml.experiments.cell import Cell
from maskrcnn_benchmark_hml.method.tree import build_frequency_tree

STUB = '''
import json, os, pathlib, sys, time
out, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
starts = out / "starts"
n = int(starts.read_text()) + 1 if starts.exists() else 1
starts.write_text(str(n))
print("a line of the log")
if mode == "warns":
    print("2026-01-01 00:00:00,000 maskrcnn_benchmark.hml WARNING: HML: iteration 200: the head is dead")
(out / "threads").write_text(os.environ.get("OMP_NUM_THREADS", ""))
assert os.environ["HML_PROGRESS"] == "1"
for done in (1, 5, 10):
    sys.stderr.write(f"\\\\rtrain: {10 * done:3d}%|##   | {done}/10 [00:01<00:02,  3.40it/s, loss_rel=1.25]")
    sys.stderr.flush()
sys.stderr.write("\\\\n")
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
class StubCell(Cell):
    """A cell that runs the stand-in; its first override is the stand-in's mode."""

    def command(self) -> list[str]:
        stub = self.config_file.parent / "stub.py"
        return [sys.executable, str(stub), str(self.output), self.overrides[1], "x" * self.seed]


def make_data(folder: Path) -> Path:
    """The two annotation files that decide a dataset's digest."""
    folder.mkdir(parents=True)
    (folder / "VG-SGG-with-attri.h5").write_bytes(b"boxes")
    vocabulary = '{"label_to_idx": {"car": 1, "man": 2}, "predicate_to_idx": {"on": 1, "of": 2, "parked on": 3}}'
    (folder / "VG-SGG-dicts-with-attri.json").write_text(vocabulary)
    return folder


@pytest.fixture
def make_cell(tmp_path):
    """``make_cell(mode, *overrides, seed=0)`` -> StubCell below tmp_path."""
    make_data(tmp_path / "data")
    (tmp_path / "stub.py").write_text(STUB)
    counts = {"on": 30, "of": 20, "parked on": 2}
    build_frequency_tree(list(counts), counts, boundaries=(2,)).save(tmp_path / "tree.json")
    config = tmp_path / "config.yaml"
    config.write_text("DTYPE: float32\n")

    def make(mode: str = "fine", *overrides: str, seed: int = 0) -> StubCell:
        words = ("MODE", mode, *overrides)
        return StubCell("stub", config, words, seed, tmp_path / "data", tmp_path / "out" / "stub")

    return make
