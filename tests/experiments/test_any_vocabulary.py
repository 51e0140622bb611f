"""A vocabulary that nothing ships for, boxes that never touch, no word vectors, no photographs: end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.datasets.format import TEST, TRAIN, ImageRecord, Vocabulary, write_vg

PREDICATES = ("glorps", "fnords", "blicks", "wugs", "daxes")
COUNTS = {TRAIN: (12, 6, 4, 3, 2), TEST: (4, 2, 1, 1, 1)}


BOXES = {
    "touching": [[2.0, 2.0, 100.0, 80.0], [90.0, 60.0, 150.0, 120.0]],
    "apart": [[2.0, 2.0, 40.0, 40.0], [90.0, 60.0, 150.0, 120.0]],
}


@pytest.fixture(scope="module")
def data(request, tmp_path_factory):
    """Annotations and placeholders: two boxes in every image, and one relation between them."""
    folder = tmp_path_factory.mktemp("made_up") / "vg"
    folder.mkdir()
    boxes = np.array(BOXES[request.param])
    records = []
    for split, counts in COUNTS.items():
        for predicate in np.repeat(np.arange(1, 6), counts):
            labels = np.array([1 + predicate % 3, 1 + len(records) % 3])
            relation = np.array([[0, 1, predicate]])
            records.append(ImageRecord(len(records) + 1, 160, 128, split, boxes, labels, relation))
    write_vg(folder, records, Vocabulary(("toma", "dodo", "zif"), PREDICATES), num_val_images=1)
    assert cli.main(["data", "placeholders", str(folder)]) == 0
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("data", ["touching", "apart"], indirect=True)
def test_the_demo_runs_all_three(data, tmp_path, capsys):
    assert cli.main(["demo", "--data", str(data), "--out", str(tmp_path), "--iterations", "4"]) == 0
    told = capsys.readouterr()
    tree = ("no shipped tree has these predicates: layered by frequency alone; layer 1: 1 predicates (glorps); "
            "layer 2: 4 predicates (fnords, blicks, wugs, daxes)")
    assert tree in told.out and tree in told.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["iterations"] == {"baseline": 4, "class_balanced": 4, "hml": 6}
    assert all(0 <= run["mR@50"] <= 1 for run in summary["runs"].values())


@pytest.mark.slow
@pytest.mark.parametrize("data", ["touching"], indirect=True)
def test_an_experiment_with_a_profile_that_builds_a_larger_tree(data, tmp_path):
    grid = {"title": "Any", "iterations": 4, "seeds": 1, "cells": [
        {"name": "control", "set": {"HML.CONTROL": "class_balanced", "HML.PROFILE": "tuned"}},
        {"name": "tuned", "set": {"HML.PROFILE": "tuned"}}]}  # fmt: skip
    (tmp_path / "any.yaml").write_text(yaml.safe_dump(grid))
    words = ["experiment", str(tmp_path / "any.yaml"), "--data", str(data), "--out", str(tmp_path / "out")]
    assert cli.main([*words, "--budget", "paper"]) == 0
    page = (tmp_path / "out" / "any-vg-test-paper_budget" / "results.md").read_text()
    assert "Iterations of control: 4; tuned: 9 + 4 = 13." in page and "layered by frequency alone" in page
