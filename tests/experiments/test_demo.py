"""hml demo: its cells are comparable, its summary is complete, its end tells what was measured and at what price."""

from __future__ import annotations

import json

import pytest

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.datasets import check
from maskrcnn_benchmark_hml.experiments import demo
from maskrcnn_benchmark_hml.experiments.cell import Cell

KEYS = ["R@20", "R@50", "R@100", "mR@20", "mR@50", "mR@100"]


@pytest.fixture
def stubbed(make_cell, monkeypatch, tmp_path):
    """Replace the demo's processes by the stand-in; returns (arguments, modes by run, to be edited by the test)."""
    stub = make_cell()
    modes = dict.fromkeys(demo.RUNS, "fine")

    def command(cell: Cell) -> list[str]:
        run = cell.output.name.split("-")[0]
        words = ("MODE", modes[run])
        return type(stub)(cell.name, stub.config_file, words, cell.seed, cell.data, cell.output).command()

    monkeypatch.setattr(Cell, "command", command)
    monkeypatch.setattr(check, "check_vg", lambda folder: None)
    words = ["demo", "--data", str(stub.data), "--out", str(tmp_path / "demo"), "--config", str(stub.config_file)]
    return words, modes, tmp_path / "demo"


def test_summary_and_table(stubbed, capsys):
    words, _, out = stubbed
    assert cli.main([*words, "--seeds", "2"]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["runs"]) == {"baseline", "class_balanced", "hml"}
    assert all(list(run) == KEYS for run in summary["runs"].values())
    assert summary["runs"]["hml"]["mR@50"] == pytest.approx(0.15)
    assert summary["seeds"] == [0, 1] and summary["profile"] == "paper" and summary["seconds"] > 0
    assert summary["data"].endswith("data")
    printed = capsys.readouterr().out
    for text in ("R@20", "mR@100", "15.0 +-7.1", "layer 2 @50", "parked on", "7 test images", "the price in R@50"):
        assert text in printed


def test_a_second_call_runs_nothing_again(stubbed, capsys):
    words, _, out = stubbed
    assert cli.main(words) == 0
    assert cli.main(words) == 0
    assert {p.read_text() for p in out.glob("*/starts")} == {"1"}
    assert capsys.readouterr().err.count("finished before, kept") == 3
    assert cli.main([*words, "--profile", "released"]) == 0
    assert len(list(out.glob("*/starts"))) == 5


def test_one_failed_run_is_exit_code_1_and_no_summary(stubbed, capsys):
    words, modes, out = stubbed
    modes["hml"] = "crash"
    assert cli.main(words) == 1
    error = capsys.readouterr().err
    assert "hml: error: the run 'HML' failed: RuntimeError: loss is not finite" in error and "console.log" in error
    assert not (out / "summary.json").exists()
    modes["hml"] = "fine"
    assert cli.main(words) == 0
    assert (out / "baseline-seed0" / "starts").read_text() == "1"


def test_other_settings_in_the_same_folder_are_refused_before_any_run(stubbed, capsys):
    words, _, out = stubbed
    assert cli.main(words) == 0
    assert cli.main([*words, "--iterations", "12"]) == 2
    assert "SOLVER.MAX_ITER" in capsys.readouterr().err


@pytest.mark.parametrize(
    "extra, sentence",
    [
        (["--seeds", "0"], "--seeds is 0"),
        (["--iterations", "1"], "--iterations is 1"),
        (["--config", "missing.yaml"], "there is no config file missing.yaml"),
        (["--data", "missing"], "there is no dataset folder missing"),
    ],
)
def test_bad_input(stubbed, capsys, extra, sentence):
    words, _, out = stubbed
    assert cli.main([*words, *extra]) == 2
    assert capsys.readouterr().err.startswith(f"hml: error: {sentence}")
    assert not out.exists()


def test_equal_budgets_and_class_counts(make_cell, tmp_path):
    stub = make_cell()
    cells = demo.demo_cells(stub.config_file, stub.data, tmp_path, [0, 1], "released", 100)
    folders = ["baseline-seed0", "class_balanced-released-seed0", "hml-released-seed0"]
    assert [c.output.name for c in cells[:3]] == folders
    for cell in cells:
        settings = cell.settings()
        assert settings["SOLVER.MAX_ITER"] == "100"
        assert settings["MODEL.ROI_BOX_HEAD.NUM_CLASSES"] == "3"
        assert settings["MODEL.ROI_RELATION_HEAD.NUM_CLASSES"] == "4"
        if settings["HML.ENABLED"] == "True":
            assert settings["HML.STAGES.ITERATIONS"] == "(33,67)" and settings["HML.PROFILE"] == "released"
    assert [c.seed for c in cells] == [0, 0, 0, 1, 1, 1]


def test_mini_vg_is_made_once_and_passes_the_check(tmp_path):
    folder = demo.prepare_data(tmp_path)
    made = (folder / "image_data.json").stat().st_mtime_ns
    assert demo.prepare_data(tmp_path) == folder == tmp_path / "data"
    assert (folder / "image_data.json").stat().st_mtime_ns == made
    check.check_vg(folder)


def test_wrong_data_is_refused_before_any_run(make_cell, tmp_path, capsys):
    stub = make_cell()
    words = ["demo", "--data", str(stub.data), "--out", str(tmp_path / "demo")]
    assert cli.main(words) == 2
    assert "VG-SGG-with-attri.h5" in capsys.readouterr().err and not (tmp_path / "demo").exists()
