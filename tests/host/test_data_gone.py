"""The annotation file changes or goes while a run trains: a sentence at the next stage, which reads it again."""

from __future__ import annotations

import re
import shutil

import h5py
import pytest

from maskrcnn_benchmark_hml.datasets.format import H5_NAME
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.method.memory import StageMemory

from .conftest import run_options


def other_labels(path):
    with h5py.File(path, "r+") as file:
        file["labels"][...] = 1


CHANGES = {
    "removed": (lambda path: path.unlink(), rf"has no {H5_NAME}; a dataset folder .* needs"),
    "replaced": (other_labels, r"^the files of DATASETS.TRAIN changed while this run trained \(digest .*"
                               r"put the former files back and give the same command again"),
    "cut short": (lambda path: path.write_bytes(path.read_bytes()[:3000]), rf"{H5_NAME} is .*cut short"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_between_two_stages(tiny_vg, tmp_path, monkeypatch, case):
    change, said = CHANGES[case]
    data = tmp_path / "vg"
    shutil.copytree(tiny_vg, data)
    save = StageMemory.save

    def saved(self, path):
        digest = save(self, path)
        change(data / H5_NAME)
        return digest

    monkeypatch.setattr(StageMemory, "save", saved)
    options = run_options(data, tmp_path / "out", "HML.STAGES.ITERATIONS", "1,1", "SOLVER.TO_VAL", "False")
    with pytest.raises(HMLError) as caught:
        run_script(options[2], options[3:], data=options[1])
    assert re.search(said, str(caught.value)) and "\n" not in str(caught.value), caught.value
    assert not (tmp_path / "out" / "last_checkpoint").exists()
