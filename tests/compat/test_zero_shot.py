"""Zero-shot recall on a checkout: by the data set's training split, for VG150 by the host's list."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch

from maskrcnn_benchmark_hml.compat import zero_shot
from maskrcnn_benchmark_hml.compat.zero_shot import zero_shot_of_the_data
from maskrcnn_benchmark_hml.datasets.mini_vg import vg150_vocabulary
from maskrcnn_benchmark_hml.datasets.zero_shot import training_triplets, zero_shot_triplets
from maskrcnn_benchmark_hml.errors import HMLError

HOST_LIST = [[9, 9, 9]]


def host_module() -> SimpleNamespace:
    """An evaluation that stores and returns the triplets that it loads, as the host's loads its own."""
    module = SimpleNamespace(torch=SimpleNamespace(load=lambda f, **words: torch.tensor(HOST_LIST), float=torch.float))

    def do_vg_evaluation(cfg, dataset, predictions, output_folder, logger, iou_types):
        assert module.torch.float is torch.float
        assert module.torch.load("elsewhere/weights.pth").tolist() == HOST_LIST
        return module.torch.load("far/vg/zeroshot_triplet.pytorch", map_location="cpu").long().numpy().tolist()

    module.do_vg_evaluation = do_vg_evaluation
    zero_shot_of_the_data(module)
    return module


def dataset(folder: Path, predicates: tuple[str, ...] = ("on", "wearing")) -> SimpleNamespace:
    return SimpleNamespace(roidb_file=str(folder / "VG-SGG-with-attri.h5"), ind_to_predicates=["", *predicates])


def evaluate(module, data, folder="") -> list:
    return module.do_vg_evaluation(None, data, [], output_folder=str(folder), logger=None, iou_types=("relations",))


@pytest.fixture
def small(tmp_path) -> Path:
    """Images for validation (cat wearing hat), training (cat on hat, cat on mat) and test."""
    from maskrcnn_benchmark_hml.datasets.format import ImageRecord, Vocabulary, write_vg

    def record(image_id, split, relations):
        boxes = np.array([[0, 0, 9, 9], [1, 1, 8, 8], [2, 2, 7, 7]], dtype=float)
        return ImageRecord(image_id, 20, 20, split, boxes, np.array([1, 2, 3]), np.array(relations))

    records = [
        record(1, 0, [[0, 1, 2]]), record(2, 0, [[0, 1, 1], [0, 2, 1]]),
        record(3, 2, [[0, 1, 1], [0, 1, 2], [2, 0, 1], [2, 0, 1]]),
    ]  # fmt: skip
    write_vg(tmp_path, records, Vocabulary(("cat", "hat", "mat"), ("on", "wearing")), num_val_images=1)
    return tmp_path


def test_the_triplets_are_those_that_no_training_image_has(small):
    path = small / "VG-SGG-with-attri.h5"
    assert training_triplets(path).tolist() == [[1, 2, 1], [1, 3, 1]]
    assert zero_shot_triplets(path).tolist() == [[1, 2, 2], [3, 1, 1]]
    assert zero_shot_triplets(path, 0).tolist() == [[3, 1, 1]], "no image validates"
    with h5py.File(path, "a") as file:
        file["relationships"][0] = [0, 99]
    with pytest.raises(HMLError, match="has a relation of an object that it lacks"):
        training_triplets(path)


def test_other_data_get_their_own_triplets(small, caplog):
    caplog.set_level(logging.INFO, "maskrcnn_benchmark_hml.compat")
    module = host_module()
    host_torch = module.torch
    assert evaluate(module, dataset(small), small) == [[1, 2, 2], [3, 1, 1]]
    assert "2 triplets" in caplog.text and module.torch is host_torch
    assert json.loads((small / "zero_shot.json").read_text()) == {"source": "training split"}


def test_vg150_keeps_the_list_of_the_host(small, monkeypatch):
    monkeypatch.setattr(zero_shot, "HOST_IMAGE_COUNT", 3)
    assert evaluate(host_module(), dataset(small, vg150_vocabulary().predicates), small) == HOST_LIST
    assert json.loads((small / "zero_shot.json").read_text()) == {"source": "VG150"}
    assert evaluate(host_module(), dataset(small)) == [[1, 2, 2], [3, 1, 1]], "another vocabulary"


def test_data_without_such_a_file_have_no_zero_shot_recall(tmp_path, caplog):
    assert evaluate(host_module(), SimpleNamespace(), tmp_path) == []
    assert "zero-shot recall (zR) is left out" in caplog.text
