"""What SGB itself loads: no file runs code, in any format; the files that SGB writes load.

This file is also the script that runs inside SGB: ``python test_files_from_others.py SGB_FOLDER FOLDER``.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

# ---- inside SGB ----


def readers(folder: Path) -> dict:
    """Name -> (the file's name, the function of SGB that loads it)."""
    from maskrcnn_benchmark.config import cfg
    from maskrcnn_benchmark.data.build import get_dataset_statistics
    from maskrcnn_benchmark.engine.inference import inference
    from maskrcnn_benchmark.utils.c2_model_loading import load_c2_format
    from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer

    cfg.merge_from_list(["OUTPUT_DIR", str(folder), "TEST.ALLOW_LOAD_FROM_CACHE", True, "DATASETS.TRAIN", ("VG",),
                         "MODEL.BACKBONE.CONV_BODY", "R-50-FPN"])
    checkpointer = DetectronCheckpointer(cfg, torch.nn.Linear(1, 1), save_dir=str(folder / "none"))
    loader = SimpleNamespace(dataset=[0])
    # A loaded result goes on to SGB's evaluation, which has no annotations here.
    loaded = lambda: inference(cfg, None, loader, "VG", output_folder=str(folder))  # noqa: E731
    return {
        "detector": ("d.pth", lambda: checkpointer._load_file(str(folder / "d.pth"))),
        "detector .pkl": ("d.pkl", lambda: load_c2_format(cfg, str(folder / "d.pkl"))),
        "statistics": ("VG_statistics.cache", lambda: get_dataset_statistics(cfg)),
        "results": ("eval_results.pytorch", loaded),
    }


def try_markers(folder: Path) -> None:
    from test_unpickling import CONTAINERS, TRUSTED, Marker

    for name, (file, read) in readers(folder).items():
        for container, write in CONTAINERS.items():
            if (file == "d.pkl") != container.startswith("pickle"):
                continue
            path, marker = folder / file, folder / "marker"
            write({"model": Marker(marker)}, path)
            try:
                read()
                said = "nothing"
            except Exception as error:
                said = str(error)
            assert f"{path} names" in said and "mkdir, which is not loaded" in said, (name, container, said)
            assert not marker.exists(), (name, container)
            os.environ[TRUSTED] = str(path)
            with contextlib.suppress(Exception):
                read()
            assert marker.exists(), (name, container, "with the switch")
            marker.rmdir()
            del os.environ[TRUSTED]
            path.unlink()


def try_real_files(folder: Path) -> None:
    from maskrcnn_benchmark.solver.lr_scheduler import WarmupMultiStepLR, WarmupReduceLROnPlateau
    from maskrcnn_benchmark.structures.bounding_box import BoxList
    from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

    read = readers(folder)
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    plateau = WarmupReduceLROnPlateau(optimizer, 0.1, patience=2)
    plateau.step(np.float64(0.3), epoch=1)
    for scheduler in (WarmupMultiStepLR(optimizer, (3,)), plateau):
        content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "iteration": np.int64(4),
                   "scheduler": scheduler.state_dict(), "mean": np.ones(3, np.float32)}
        for new in (True, False):
            torch.save(content, folder / "d.pth", _use_new_zipfile_serialization=new)
            assert torch.equal(read["detector"][1]()["model"]["weight"], model.weight)
    weights = {"conv1_w": np.ones((2, 2), np.float32), "res_conv1_bn_s": np.ones(2, np.float32)}
    (folder / "d.pkl").write_bytes(pickle.dumps({"blobs": weights}, 2))
    assert len(read["detector .pkl"][1]()["model"]) == 2
    statistics = {"fg_matrix": torch.ones(2, 2, 2), "pred_dist": torch.ones(2), "obj_classes": ["a"],
                  "rel_classes": ["on"], "att_classes": [np.str_("red")]}
    torch.save(statistics, folder / "VG_statistics.cache")
    assert read["statistics"][1]()["rel_classes"] == ["on"]
    boxes = BoxList(torch.ones(2, 4), (9, 9))
    boxes.add_field("labels", torch.ones(2))
    boxes.add_field("masks", SegmentationMask([[[1.0, 1, 2, 2, 1, 2]]] * 2, (9, 9)))
    torch.save({"groundtruths": [boxes], "predictions": [boxes]}, folder / "eval_results.pytorch")
    from maskrcnn_benchmark.engine import inference

    seen = []
    inference.evaluate = lambda predictions, **other: seen.extend(predictions)
    read["results"][1]()
    assert type(seen[0]) is BoxList and torch.equal(seen[0].bbox, boxes.bbox) and seen[0].has_field("masks")


def main(root: str, folder: str) -> None:
    here = Path(__file__).resolve()
    sys.path[:0] = [str(here.parents[2]), str(here.parents[1])]
    from maskrcnn_benchmark_hml.compat.installer import install

    install(root)
    try_real_files(Path(folder))
    for path in Path(folder).iterdir():
        path.unlink()
    try_markers(Path(folder))


# ---- the test ----


@pytest.mark.upstream
def test_no_file_runs_code_and_what_sgb_writes_loads(sgb, environ, tmp_path):
    done = subprocess.run([sys.executable, __file__, str(sgb), str(tmp_path)], capture_output=True, text=True,
                          env={**environ, "HML_TRUSTED_FILES": ""}, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


if __name__ == "__main__":
    main(*sys.argv[1:])
