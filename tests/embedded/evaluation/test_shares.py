"""Two processes evaluate a share each and write exactly what one process writes; nothing is held that is not needed."""

from __future__ import annotations

import gc
import json
import logging
import os
import socket
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from .shares import Guesses

REPO = Path(__file__).resolve().parents[3]
SHARES = Path(__file__).with_name("shares.py")
STORED = {"eval_results.pytorch", "visual_info.json"}
WRITTEN = {"metrics.json", "metrics.csv", "matches.npz", "result_dict.pytorch"}


def sgdet(cfg):
    cfg.MODEL.ROI_RELATION_HEAD.USE_GT_BOX = False
    cfg.MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL = False
    cfg.MODEL.DEVICE = "cpu"
    cfg.TEST.IMS_PER_BATCH = 2
    return cfg


def evaluate_shares(config: Path, data: Path, folder: Path, processes: int, split: str, keep: str) -> None:
    folder.mkdir()
    start = []
    if processes > 1:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        start = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}", f"--master_port={port}"]
    environ = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "HML_DATA": str(data)}
    words = [sys.executable, *start, str(SHARES), str(folder), split, keep, str(config)]
    done = subprocess.run(words, capture_output=True, text=True, env=environ, cwd=folder.parent)
    assert done.returncode == 0, done.stderr[-4000:]


def same(one: Path, two: Path) -> None:
    names = {path.name for path in one.iterdir()}
    assert names == {path.name for path in two.iterdir()} and WRITTEN <= names
    for name in ("metrics.json", "metrics.csv"):
        assert (one / name).read_text() == (two / name).read_text()
    with np.load(one / "matches.npz") as a, np.load(two / "matches.npz") as b:
        assert a.files == b.files and all(np.array_equal(a[key], b[key]) for key in a.files)
    a, b = (torch.load(folder / "result_dict.pytorch", weights_only=True) for folder in (one, two))
    assert repr(a) == repr(b)


@pytest.mark.slow
@pytest.mark.parametrize("keep", ["keep", "few", "stream"])
@pytest.mark.parametrize("split", ["val", "test"])  # val: an odd number of images, so the sampler repeats one
def test_two_processes_write_what_one_writes(tiny_cfg, tiny_vg, tmp_path, split, keep):
    config = tmp_path / "config.yaml"
    config.write_text(sgdet(tiny_cfg).dump())
    for processes in (1, 2):
        evaluate_shares(config, tiny_vg, tmp_path / str(processes), processes, split, keep)
    same(tmp_path / "1", tmp_path / "2")
    names = {path.name for path in (tmp_path / "1").iterdir()}
    assert names == (WRITTEN if keep == "stream" else WRITTEN | STORED)
    content = json.loads((tmp_path / "1" / "metrics.json").read_text())
    assert content["images"] == {"val": 5, "test": 8}[split] and 0 < content["R@20"] < 1 and 0 < content["mAP"] < 1


def evaluate_here(cfg, folder, save, model=None) -> float:
    from maskrcnn_benchmark.data import make_data_loader
    from maskrcnn_benchmark.engine.inference import inference

    cfg.TEST.SAVE_PREDICTIONS = save
    (loader,) = make_data_loader(cfg, "test")
    return inference(
        cfg, model or Guesses(), loader, "test", iou_types=("bbox", "relations"), device="cpu",
        output_folder=None if folder is None else str(folder), logger=logging.getLogger("shares"),
    )  # fmt: skip


def test_streamed_and_stored_evaluation_agree(tiny_cfg, tmp_path):
    cfg = sgdet(tiny_cfg)
    values = [evaluate_here(cfg, tmp_path / name, save) for name, save in (("stored", True), ("streamed", False))]
    assert values[0] == values[1] == evaluate_here(cfg, None, True)
    for name in STORED:
        assert (tmp_path / "stored" / name).is_file()
        (tmp_path / "stored" / name).unlink()
    same(tmp_path / "stored", tmp_path / "streamed")


def test_predictions_of_the_first_images_are_stored_and_change_no_figure(tiny_cfg, tmp_path):
    cfg = sgdet(tiny_cfg)
    values = [evaluate_here(cfg, tmp_path / "none", False), evaluate_here(cfg, tmp_path / "all", True)]
    cfg.TEST.SAVED_IMAGES = 3
    values.append(evaluate_here(cfg, tmp_path / "three", False))
    assert len(set(values)) == 1
    few, whole = (torch.load(tmp_path / name / "eval_results.pytorch", weights_only=False) for name in ("three", "all"))
    assert [len(few[key]) for key in ("groundtruths", "predictions")] == [3, 3] and len(whole["predictions"]) == 8
    for one, two in zip(few["predictions"], whole["predictions"]):
        assert one.size == two.size and torch.equal(one.bbox, two.bbox)
        assert all(torch.equal(one.get_field(name), two.get_field(name)) for name in two.fields())
    drawn = [json.loads((tmp_path / name / "visual_info.json").read_text()) for name in ("three", "all")]
    assert drawn[0] == drawn[1][:3]
    for name in STORED:
        (tmp_path / "three" / name).unlink()
    same(tmp_path / "none", tmp_path / "three")


@pytest.mark.parametrize(("folder", "save", "held"), [(None, True, False), ("out", False, False), ("out", True, True)])
def test_predictions_are_held_only_to_be_stored(tiny_cfg, tmp_path, folder, save, held):
    alive, most = [], [0]

    class Watched(Guesses):
        def forward(self, images, targets):
            gc.collect()
            most[0] = max(most[0], sum(reference() is not None for reference in alive))
            made = super().forward(images, targets)
            # The scores of all pairs, which are what takes the memory. The tensors, not their storages: torch 2.1 ends
            # with a segmentation fault when a storage that only a weak reference knows is collected.
            alive.extend(weakref.ref(one.get_field("pred_rel_scores")) for one in made)
            return made

    cfg = sgdet(tiny_cfg)
    evaluate_here(cfg, folder and tmp_path / folder, save, Watched())
    assert len(alive) == 8 and (most[0] > 4 if held else most[0] <= cfg.TEST.IMS_PER_BATCH), most
