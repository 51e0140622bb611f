"""What a run's folder is bound to, and from when on: at its first saved step, by content, and with a way to go on."""

from __future__ import annotations

import json
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.files import save_torch
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.host.stage_driver import StageDriver
from maskrcnn_benchmark_hml.host.training_data import data_digest
from maskrcnn_benchmark_hml.method.memory import StageMemory

from .conftest import run_options
from .test_bad_input import snapshot


def run(data: Path, out: Path, *extra: str) -> None:
    """Two stages of two steps each."""
    options = run_options(data, out, "HML.STAGES.ITERATIONS", "2,2", "SOLVER.TO_VAL", "False", *extra)
    run_script(options[2], options[3:], data=options[1])


def bound(out: Path) -> bool:
    return (out / "hml" / "settings.json").is_file()


@pytest.fixture
def no_checkpoint(tmp_path) -> Path:
    path = tmp_path / "detector.pth"
    path.write_text("<html>please log in")
    return path


def test_a_start_that_fails_binds_nothing_and_the_corrected_command_runs(tiny_vg, tmp_path, no_checkpoint, monkeypatch):
    out = tmp_path / "out"
    for options in (
        ("MODEL.PRETRAINED_DETECTOR_CKPT", str(no_checkpoint)),
        ("MODEL.PRETRAINED_DETECTOR_CKPT", str(tmp_path / "missing.pth")),
        ("MODEL.BACKBONE.CONV_BODY", "R-7"),
        ("MODEL.DEVICE", "cuda:77"),
    ):
        with pytest.raises((HMLError, RuntimeError, AssertionError, KeyError)):
            run(tiny_vg, out, *options)
        assert not bound(out), options
    with monkeypatch.context() as patch:
        def out_of_memory(*args, **kwargs):
            raise torch.OutOfMemoryError("CUDA out of memory") if hasattr(torch, "OutOfMemoryError") else RuntimeError

        patch.setattr(StageDriver, "_clip_grad_norm", out_of_memory)
        with pytest.raises(RuntimeError):
            run(tiny_vg, out, "SOLVER.IMS_PER_BATCH", "4")
    assert not bound(out)
    run(tiny_vg, out)
    assert bound(out) and json.loads((out / "hml" / "stages.json").read_text())[1]["iterations"] == 2
    with pytest.raises(HMLError, match="was begun with SOLVER.IMS_PER_BATCH = 2, now it is 4"):
        run(tiny_vg, out, "SOLVER.IMS_PER_BATCH", "4")


@pytest.fixture(scope="module")
def finished(tiny_vg, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("finished") / "run"
    run(tiny_vg, out)
    return out


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


@pytest.fixture(scope="module")
def other_vg(tmp_path_factory) -> Path:
    """Other data of the same vocabulary and size."""
    folder = tmp_path_factory.mktemp("other") / "vg"
    make_mini_vg(folder, images=120, seed=2)
    return folder


def refused(data: Path, out: Path, match: str, *extra: str) -> None:
    before = unchanged(out)
    with pytest.raises(HMLError, match=match) as caught:
        run(data, out, *extra)
    assert "\n" not in str(caught.value) and unchanged(out) == before


def unchanged(out: Path) -> dict[str, str]:
    """The files but for the log, which an earlier run of this process may hold open."""
    return {name: digest for name, digest in snapshot(out).items() if name != "log.txt"}


def test_what_determines_a_run_is_bound(finished, tiny_vg, other_vg, tmp_path, monkeypatch):
    refused(other_vg, finished, r"DATASETS.TRAIN.DIGEST = '\w+, \d+ images, \d+ relations', now it is .*choose another "
            "OUTPUT_DIR, or .*to go on with the new value, add HML.ACCEPT_CHANGED DATASETS.TRAIN.DIGEST")
    vectors = tmp_path / "glove.vec"
    vectors.write_text("1 200\non" + " 1" * 200 + "\n")
    for name, value in (("DATALOADER.SIZE_DIVISIBILITY", "64"), ("DATALOADER.ASPECT_RATIO_GROUPING", "False"),
                        ("DATASETS.VAL", "('VG_stanford_filtered_with_attribute_test',)"), ("GLOVE_DIR", str(vectors))):
        refused(tiny_vg, finished, rf"begun with {name}[.\w]* = .*HML.ACCEPT_CHANGED {name}", name, value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(tiny_vg, finished, "begun with WORLD_SIZE = 1, now it is 2.*add HML.ACCEPT_CHANGED WORLD_SIZE")


def test_the_same_data_elsewhere_is_the_same(finished, tiny_vg, tmp_path):
    moved = shutil.copytree(tiny_vg, tmp_path / "vg")
    before = torch.load(finished / "model_final.pth", weights_only=False)["iteration"]
    run(moved, finished)
    assert torch.load(finished / "model_final.pth", weights_only=False)["iteration"] == before


def test_a_run_goes_on_with_other_data_on_purpose(copy, other_vg, tiny_vg):
    accepted = "DATASETS.TRAIN.DIGEST,DATASETS.VAL.DIGEST,DATALOADER.SIZE_DIVISIBILITY"
    options = ("DATALOADER.SIZE_DIVISIBILITY", "64", "HML.STAGES.ITERATIONS", "2,3")
    refused(other_vg, copy, "DATASETS.TRAIN.DIGEST", "HML.ACCEPT_CHANGED", "DATASETS.VAL.DIGEST")
    run(other_vg, copy, *options, "HML.EXTEND", "True", "HML.ACCEPT_CHANGED", accepted)
    notes = json.loads((copy / "hml" / "settings.json").read_text())["extended"]
    assert [note.split(" ")[0] for note in notes] == sorted(["HML.STAGES.ITERATIONS", *accepted.split(",")])
    assert torch.load(copy / "model_final.pth", weights_only=False)["iteration"] == 3
    run(other_vg, copy, *options)  # now the run's own settings, though stage 1 had others
    refused(tiny_vg, copy, "DATASETS.TRAIN.DIGEST", *options)


OTHERS = {
    "another seed": ({"HML.SEED": 7}, {}, "is of another run: HML.SEED is 7 in it and 0 here"),
    "another tree": ({"predicate tree": "abc"}, {}, "is of another run: predicate tree is 'abc' in it"),
    "other data": ({"DATASETS.TRAIN.DIGEST": "abc"}, {}, "is of another run: DATASETS.TRAIN.DIGEST is 'abc' in it"),
    "another stage": ({}, {"stage": 3}, "is of stage 3, not of stage"),
    "nothing said": ({}, {"settings": None}, "does not say which run wrote it"),
}


def of_another_run(provenance: dict, case: str) -> dict:
    settings, others, _ = OTHERS[case]
    changed = {**provenance, "settings": json.dumps({**json.loads(provenance["settings"]), **settings}), **others}
    return {name: value for name, value in changed.items() if value is not None}


@pytest.mark.parametrize("case", OTHERS)
def test_files_of_another_run_or_stage_are_refused(case, copy, tiny_vg):
    path = copy / "model_final.hml.pt"
    state = torch.load(path, weights_only=True)
    kept = path.read_bytes()
    save_torch({**state, "provenance": of_another_run(state["provenance"], case)}, path)
    refused(tiny_vg, copy, f"model_final.hml.pt {OTHERS[case][2]}.*or delete .*last_checkpoint to start the stage")
    path.write_bytes(kept)
    path = copy / "hml" / "stage1" / "memory.pt"
    memory = StageMemory.load(path)
    replace(memory, provenance=of_another_run(memory.provenance, case)).save(path)
    refused(tiny_vg, copy, f"memory.pt {OTHERS[case][2]}.*or delete it to train its stage again")


def flip(path: Path) -> None:
    """Two bytes in the middle of the largest tensor."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    at = largest.header_offset + 1000 + largest.file_size // 2
    content[at] ^= 1
    content[at + 1] ^= 128
    path.write_bytes(content)


def test_flipped_bytes_and_another_runs_checkpoint_are_refused(copy, tiny_vg):
    path, resume = copy / "model_final.pth", copy / "model_final.hml.pt"
    whole = path.read_bytes(), resume.read_bytes()
    flip(path)
    torch.load(path, weights_only=False)  # torch does not notice
    refused(tiny_vg, copy, "the checkpoint .*model_final.pth is damaged .*data/.*delete .*last_checkpoint to start")
    path.write_bytes(whole[0])
    flip(resume)
    refused(tiny_vg, copy, "the resume file .*model_final.hml.pt is damaged .*delete .*last_checkpoint to start")
    resume.write_bytes(whole[1])
    content = torch.load(path, weights_only=False)
    next(iter(content["model"].values())).view(-1)[0] += 1
    save_torch(content, path)
    assert path.stat().st_size == len(whole[0])
    refused(tiny_vg, copy, "model_final.pth is not the one that was written with model_final.hml.pt: it is another")
    path.write_bytes(whole[0])
    run(tiny_vg, copy)


class VisualGenome:
    """Made-up annotations, as SGB's dataset holds them; benchmarks/data_digest.py has as many as Visual Genome."""

    def __init__(self, images: int = 1_000) -> None:
        random = np.random.default_rng(0)
        boxes, relations = random.integers(2, 20, images), random.integers(0, 12, images)
        self.gt_boxes = [np.ones((n, 4), np.int32) for n in boxes]
        self.gt_classes = [np.ones(n, np.int64) for n in boxes]
        self.gt_attributes = [np.ones((n, 10), np.int64) for n in boxes]
        self.relationships = [np.ones((n, 3), np.int64) for n in relations]
        self.filenames = [f"/data/VG_100K/{i}.jpg" for i in range(images)]
        self.img_info = [{"width": 800, "height": 600, "image_id": i} for i in range(images)]

    def __len__(self) -> int:
        return len(self.filenames)


def test_the_digest_of_data_is_of_its_content():
    data = VisualGenome()
    before = data_digest([data])
    data.relationships[500] = data.relationships[500] + 1 if len(data.relationships[500]) else np.ones((1, 3), int)
    assert data_digest([data]) != before
    data = VisualGenome()
    data.filenames = [name.replace("/data", "/moved") for name in data.filenames]
    data.gt_boxes = [rows.astype(np.float64) for rows in data.gt_boxes]
    assert data_digest([data]) == before
