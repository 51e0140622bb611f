"""metrics.jsonl: whole lines, each iteration once, whatever an earlier process left behind."""

from __future__ import annotations

import json
import logging

import pytest

from maskrcnn_benchmark_hml.curves import CurveFile, log_period, read_curves
from maskrcnn_benchmark_hml.errors import HMLError


def written(path, stage, done, iterations, validate=()):
    """Lines of a process that goes on after ``done``."""
    curves = CurveFile(path, stage, 2, done, validates=done in validate and done > 0)
    if done in validate and done:
        curves.validation(done, "R@100", done / 10)
    for iteration in iterations:
        curves.train(iteration, 1.0 / iteration, {"loss_rel": 1.0 / iteration}, lr=0.1, seconds=0.5, memory_mb=7)
        if iteration in validate:
            curves.validation(iteration, "R@100", iteration / 10)
    curves.close()


def whole(path):
    written(path, 1, 0, range(1, 5), {2, 4})
    written(path, 2, 0, range(1, 7), {3, 6})
    return path.read_text()


def test_what_a_line_holds(tmp_path):
    lines = whole(tmp_path / "whole").splitlines()
    assert json.loads(lines[2]) == {"stage": 1, "stages": 2, "iteration": 2,
                                    "validation": {"metric": "R@100", "value": 0.2}}
    assert json.loads(lines[3]) == {"stage": 1, "stages": 2, "iteration": 3, "loss": 0.333333,
                                    "terms": {"loss_rel": 0.333333}, "lr": 0.1, "seconds": 0.5, "memory_mb": 7}
    assert [line["iteration"] for line in read_curves(tmp_path / "whole")] == [1, 2, 2, 3, 4, 4, 1, 2, 3, 3, 4, 5, 6, 6]


@pytest.mark.parametrize("torn", ["", '{"stage": 2, "stages": 2, "iter', "\0\0\0\0"])
@pytest.mark.parametrize(("stage", "reached", "done"), [(1, 3, 2), (1, 2, 0), (2, 6, 3), (2, 5, 5), (2, 1, 0)])
def test_a_resumed_run_has_the_lines_of_an_uninterrupted_one(tmp_path, caplog, stage, reached, done, torn):
    """Killed after iteration ``reached``, resumed from ``done``, where hosts save before they validate."""
    expected, path = whole(tmp_path / "whole"), tmp_path / "cut"
    ends, validations = {1: 4, 2: 6}, {1: {2, 4}, 2: {3, 6}}
    if stage == 2:
        written(path, 1, 0, range(1, 5), validations[1])
    written(path, stage, 0, range(1, reached + 1), validations[stage])
    with path.open("a") as file:
        file.write(torn)
    with caplog.at_level(logging.WARNING):
        written(path, stage, done, range(done + 1, ends[stage] + 1), validations[stage])
    assert bool(torn) == ("1 broken lines of" in caplog.text)
    if stage == 1:
        written(path, 2, 0, range(1, 7), validations[2])
    assert path.read_text() == expected
    assert [p.name for p in tmp_path.iterdir() if p.name not in ("whole", "cut")] == []


def test_a_reader_leaves_a_torn_line_out(tmp_path):
    whole(tmp_path / "cut")
    with (tmp_path / "cut").open("a") as file:
        file.write('{"stage": 2, "sta')
    assert len(read_curves(tmp_path / "cut")) == 14


def test_numbers_that_are_not_finite_are_null(tmp_path):
    curves = CurveFile(tmp_path / "c", 1, 1, 0)
    line = curves.train(1, float("inf"), {"loss_rel": float("nan")}, lr=0.1, seconds=float("nan"), memory_mb=7)
    curves.close()
    assert line["loss"] is line["terms"]["loss_rel"] is line["seconds"] is None
    assert read_curves(tmp_path / "c") == [line] and "NaN" not in (tmp_path / "c").read_text()


@pytest.mark.parametrize(("iterations", "period"), [(1, 1), (8, 1), (280, 2), (2700, 20), (50000, 20)])
def test_about_a_hundred_lines_for_a_short_stage(iterations, period):
    assert log_period(iterations) == period


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    with pytest.raises(HMLError, match=r"the file of training curves .*c cannot be written \(No such file"):
        CurveFile(tmp_path / "gone" / "c", 1, 1, 0)
    with pytest.raises(HMLError, match="gone"):
        read_curves(tmp_path / "gone")
