"""SGB on files as people have them: .PNG pictures, a byte-order mark, split 1, a statistics cache cut short."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

TRAIN = "tools/relation_train_net.py"
PREDCLS = ("MODEL.ROI_RELATION_HEAD.USE_GT_BOX", "True", "MODEL.ROI_RELATION_HEAD.USE_GT_OBJECT_LABEL", "True")
CACHE = "VG_stanford_filtered_with_attribute_train_statistics.cache"


@pytest.fixture
def mini_vg(mini_vg, tmp_path) -> Path:
    """The smallest mini-VG, changed in four ways; every file of it is whole."""
    folder = Path(shutil.copytree(mini_vg, tmp_path / "vg"))
    for path in (folder / "VG_100K").glob("*.jpg"):
        path.rename(path.with_suffix(".PNG"))
    for name in ("VG-SGG-dicts-with-attri.json", "image_data.json"):
        (folder / name).write_bytes(b"\xef\xbb\xbf" + (folder / name).read_bytes())
    with h5py.File(folder / "VG-SGG-with-attri.h5", "r+") as file:
        split = file["split"][:]
        split[np.flatnonzero(split == 0)[-3:]] = 1
        file["split"][:] = split
    return folder


def test_a_run_on_them(run_host, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    torch.save({"fg_matrix": torch.zeros(9000)}, out / CACHE)
    (out / CACHE).write_bytes((out / CACHE).read_bytes()[:500])
    done = run_host(TRAIN, *PREDCLS, "MODEL.ROI_RELATION_HEAD.PREDICTOR", "MotifPredictor", "SOLVER.MAX_ITER", "1")
    assert done.code == 0, done.text[-3000:]
    assert f"{CACHE} was cut short" in done.text
    assert "3 images of" in done.text and "have split 1 (validation): this benchmark does not use them" in done.text
    assert torch.load(out / CACHE, weights_only=True)["fg_matrix"].shape == (151, 151, 51)
    assert not list(out.glob(".*part"))


def test_a_picture_that_is_cut_short_is_one_sentence(run_host, mini_vg):
    for path in (mini_vg / "VG_100K").iterdir():
        path.write_bytes(path.read_bytes()[:700])
    done = run_host(TRAIN, *PREDCLS, "MODEL.ROI_RELATION_HEAD.PREDICTOR", "MotifPredictor", "SOLVER.MAX_ITER", "1")
    assert done.code == 2
    assert "hml: error: the picture" in done.text and "is cut short" in done.text
