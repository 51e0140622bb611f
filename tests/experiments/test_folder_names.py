"""The folders of the runs of a shipped grid: a grid that a user has half finished continues after an update."""

from __future__ import annotations

import json

from maskrcnn_benchmark_hml.experiments import run as run_module
from maskrcnn_benchmark_hml.experiments.grid_file import load_grid
from maskrcnn_benchmark_hml.experiments.grid_runs import Options, training_runs
from maskrcnn_benchmark_hml.method.tree import PredicateTree
from maskrcnn_benchmark_hml.resources import config_file

#: Of the grid `tuned` on VRD, as version 0.2.0 names them. Besides the version, configs/demo/relation.yaml (its
#: comments too), the profiles and the grid decide the names: a change there means that all runs have to be made again.
FOLDERS = [
    "baseline-433804a71f-seed0",
    "class-balanced-f6a23659af-seed0",
    "hml-fb26545a07-seed0",
    "tuned-55ecc99312-seed0",
    "tuned-cr-alone-820922361d-seed0",
    "tuned-mr-alone-a51a9ede4b-seed0",
    "tuned-neither-1f89757404-seed0",
]


def test_the_folders_of_the_grid_tuned_on_vrd(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "__version__", "0.2.0")
    predicates = PredicateTree.load(config_file("trees/vrd.json")).predicates
    vocabulary = {"label_to_idx": {f"object {i}": i for i in range(1, 101)},
                  "predicate_to_idx": {name: i for i, name in enumerate(predicates, 1)}}
    (tmp_path / "VG-SGG-dicts-with-attri.json").write_text(json.dumps(vocabulary))
    monkeypatch.setattr(run_module, "data_digest", lambda folder: "6da84cc278a44729")  # VRD's
    grid = load_grid("tuned")
    runs = training_runs(grid, Options(tmp_path, tmp_path / "out", "paper", "test", grid.iterations, (0,)), None)
    assert [run.output.name for run in runs] == FOLDERS
    assert all(run.output.parent == tmp_path / "out" / "runs" for run in runs)
