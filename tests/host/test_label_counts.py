"""Labels are counted as training sees them: in the tree at start, the prior of HML.TEST.TAU, and for empty stages."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from maskrcnn_benchmark_hml.datasets.training_labels import read_dataset_counts
from maskrcnn_benchmark_hml.host import adjust, train
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.method.adjustment import log_prior

from .conftest import run_options

H5 = "VG-SGG-with-attri.h5"
FREQUENT = ["HML.TREE.BUILDER", "frequency", "HML.TREE.BOUNDARIES", "15"]
DETECTED = ["MODEL.ROI_RELATION_HEAD.USE_GT_BOX", "False", "MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL", "False"]


@pytest.fixture(scope="module")
def apart_vg(tiny_vg, tmp_path_factory) -> Path:
    """The same annotations, in every second image on boxes of 2 x 2 pixels: there next to no pair touches."""
    folder = tmp_path_factory.mktemp("apart") / "vg"
    shutil.copytree(tiny_vg, folder)
    with h5py.File(folder / H5, "r+") as file:
        boxes, first, last = (file[name][:] for name in ("boxes_1024", "img_to_first_box", "img_to_last_box"))
        for low, high in zip(first[::2], last[::2]):
            boxes[low : high + 1, 2:] = 2
        file["boxes_1024"][:] = boxes
    return folder


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """planned(data, *options) -> the config and the plan of a run that does not train."""

    def plan_of(data: Path, *options: str):
        seen = []
        monkeypatch.setattr(train, "train_all_stages", lambda names, original, *rest: seen.append(rest[:2]))
        words = run_options(data, tmp_path / "out", *options)
        run_script(words[2], words[3:], data=words[1])
        return seen[0]

    return plan_of


def counts_by_hand(folder: Path) -> np.ndarray:
    with h5py.File(folder / H5, "r") as file:
        images = np.flatnonzero((file["split"][:] == 0) & (file["img_to_first_rel"][:] >= 0))
        images = images[int(file.attrs["num_val_images"]) :]
        first, last = file["img_to_first_rel"][:][images], file["img_to_last_rel"][:][images]
        rows = np.concatenate([np.arange(low, high + 1) for low, high in zip(first, last)])
        return np.bincount(file["predicates"][:][rows, 0], minlength=51)


@pytest.mark.parametrize("task", ["predcls", "sgdet without overlap"])
def test_relations_that_do_not_touch_count_where_training_uses_them(task, apart_vg, planned):
    cfg, plan = planned(apart_vg, *FREQUENT, *(DETECTED if task != "predcls" else []))
    expected = counts_by_hand(apart_vg)
    assert list(plan.tree.counts.values()) == expected[1:].tolist() and expected.sum() > 300
    prior = log_prior(expected, cfg.MODEL.ROI_RELATION_HEAD.POSITIVE_FRACTION)
    assert adjust._prior(cfg).tolist() == prior.tolist()
    assert read_dataset_counts(apart_vg)[1] == plan.tree.counts


def test_and_do_not_where_training_leaves_them_out(apart_vg, planned):
    _, plan = planned(apart_vg, *FREQUENT, *DETECTED, "MODEL.ROI_RELATION_HEAD.REQUIRE_BOX_OVERLAP", "True")
    assert 0 < sum(plan.tree.counts.values()) < 0.8 * counts_by_hand(apart_vg).sum()
