"""hml experiment: finished runs are kept, interrupted ones continued, failures told; the same seeds, the same rows."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.commands import experiment as experiment_command
from maskrcnn_benchmark_hml.datasets import check
from maskrcnn_benchmark_hml.datasets.mini_vg import make_mini_vg
from maskrcnn_benchmark_hml.experiments.grid_file import grid_names
from maskrcnn_benchmark_hml.experiments.run import Run

from ..waiting import HUNG, until

TAU_FOLDERS = """
import pathlib, shutil, subprocess, sys
subprocess.run([sys.executable, *sys.argv[1:5]], check=True, close_fds=False)  # keeps the pipe of the progress
(path,) = pathlib.Path(sys.argv[2]).glob("inference/*_test/metrics.json")
for tau in ("0.5", "1"):
    folder = path.parent / f"tau_{tau}"
    folder.mkdir(exist_ok=True)
    shutil.copy(path, folder)
"""
GRID = {
    "title": "Own grid", "iterations": 10, "seeds": 2, "sweep": {"axis": "x"},
    "cells": [
        {"name": "baseline", "family": "baseline", "set": {"HML.ENABLED": False}},
        {"name": "logit adjustment", "after": "baseline", "taus": [0.5, 1]},
        {"name": "HML", "family": "HML", "x": 1},
    ],
}


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def stubbed(make_run, monkeypatch, tmp_path):
    """Stand-ins for all processes; returns (words, modes by run's name and seed, the results' folder)."""
    stub = make_run()
    modes: dict[str, str] = {}

    def command(run: Run) -> list[str]:
        mode = modes.get(run.name, "fine")
        words = type(stub)("", stub.config_file, ("MODE", mode), run.seed, run.data, run.output).command()
        return [words[0], "-c", TAU_FOLDERS, *words[1:]] if "HML.TEST.TAU" in run.overrides else words

    monkeypatch.setattr(Run, "command", command)
    monkeypatch.setattr(check, "check_vg", lambda folder: SimpleNamespace(warnings=[]))
    grid = tmp_path / "own.yaml"
    grid.write_text(yaml.safe_dump(GRID))
    # A test's settings hold the digest of its checkpoint, which the stand-in does not write.
    monkeypatch.setattr("maskrcnn_benchmark_hml.experiments.run.file_digest", lambda path: b"\0" * 32)
    words = ["experiment", str(grid), "--data", str(stub.data), "--out", str(tmp_path / "exp"), "--jobs", "2"]
    return words, modes, tmp_path / "exp" / "own-data-test"


def test_rows_tables_and_pictures(stubbed, capsys):
    words, _, folder = stubbed
    assert cli.main(words) == 0
    found = rows(folder)
    labels = [(r["cell"], r["tau"], r["seed"]) for r in found]
    assert labels == [("baseline", "", "0"), ("HML", "", "0"), ("baseline", "", "1"), ("HML", "", "1"),
                      *(("logit adjustment", tau, seed) for seed in "01" for tau in ("0.5", "1.0"))]
    assert {r["iterations"] for r in found} == {"10"} and {r["split"] for r in found} == {"test"}
    assert float(found[0]["R@50"]) == pytest.approx(0.1) and float(found[2]["Mean@50"]) == pytest.approx(0.2)
    assert "seconds" not in found[0]
    with open(folder / "times.csv", newline="") as file:
        times = list(csv.DictReader(file))
    assert len(times) == 6 and all(float(t["seconds"]) > 0 and Path(t["folder"]).is_dir() for t in times)
    page = (folder / "results.md").read_text()
    for text in ("# Own grid", "`hml experiment", "| baseline | 15.0 +-7.1 |", "| logit adjustment, tau 0.5 |",
                 "seeds 0, 1", "7 test images",
                 "Budget equal (every run trains for the same total number of iterations). Iterations of baseline: 10; "
                 "HML: 3 + 7 = 10.", "Predicate tree: no shipped tree has these predicates: layered by frequency"):
        assert text in page
    assert page in capsys.readouterr().out
    assert sorted(p.name for p in folder.iterdir()) == [
        "report.html", "results.csv", "results.md", "sweep.png", "sweep.svg", "times.csv", "tradeoff.png",
        "tradeoff.svg"]
    report = (folder / "report.html").read_text()
    trained = [path.parents[2].name for path in folder.parent.glob("runs/*/inference/*/metrics.json")]
    assert trained and all(f">{name}</th>" in report for name in trained if "logit" not in name)


def test_the_same_command_runs_nothing_again(stubbed, capsys):
    words, _, folder = stubbed
    assert cli.main(words) == 0
    before = {p: p.read_bytes() for p in folder.iterdir() if p.suffix != ".md"}
    assert cli.main(words) == 0
    assert capsys.readouterr().err.count("finished before, kept") == 6
    assert {p: p.read_bytes() for p in before} == before
    starts = [p.read_text() for p in (folder.parent / "runs").glob("*/starts")]
    assert starts == ["1"] * 6
    assert cli.main([*words, "--seeds", "3"]) == 0  # one more seed: only its runs are made
    assert len(list((folder.parent / "runs").iterdir())) == 9
    assert len(rows(folder)) == 12


def test_what_a_grid_costs_is_printed_before_it_starts(stubbed, capsys):
    words, modes, _ = stubbed
    modes["HML, seed 1"] = "crash"
    assert cli.main([*words, "--jobs", "1"]) == 1
    error = capsys.readouterr().err
    line = ("Cost: 4 runs to train, 0 of them finished; 40 iterations left; 2 tests of trained checkpoints; "
            "the estimated time is shown after the first iterations.")
    assert line in error and error.index("Cost:") < error.index("[1/4]")
    assert cli.main([*words, "--seeds", "3"]) == 1
    error = capsys.readouterr().err
    assert "Cost: 6 runs to train, 3 of them finished; 30 iterations left; 3 tests of trained checkpoints" in error
    assert "checkpoints; about 0:0" in error and "(2 at a time, from the times of finished runs)" in error
    modes.clear()
    assert cli.main(words) == 0 and cli.main(words) == 0
    assert "4 of them finished; 0 iterations left; 2 tests of trained checkpoints; no" in capsys.readouterr().err


def test_a_failed_run_is_told_and_stops_no_other(stubbed, capsys):
    words, modes, folder = stubbed
    modes["HML, seed 0"] = "crash"
    assert cli.main(words) == 1
    error = capsys.readouterr().err
    assert "hml: error: the run 'HML, seed 0' failed: RuntimeError: loss is not finite" in error
    assert [(r["cell"], r["seed"]) for r in rows(folder)][:3] == [("baseline", "0"), ("baseline", "1"), ("HML", "1")]
    assert "## Runs that failed" in (folder / "results.md").read_text()
    modes.clear()
    assert cli.main(words) == 0
    assert len(rows(folder)) == 8 and "Runs that failed" not in (folder / "results.md").read_text()
    runs = folder.parent / "runs"
    assert sorted(p.read_text() for p in runs.glob("hml-*/starts")) == ["1", "2"]
    assert {p.read_text() for p in runs.glob("baseline-*/starts")} == {"1"}


def test_a_grid_of_which_nothing_finished_writes_no_results(stubbed, capsys):
    words, modes, folder = stubbed
    modes.update({f"{name}, seed {seed}": "crash" for name in ("baseline", "HML") for seed in (0, 1)})
    assert cli.main(words) == 1
    assert capsys.readouterr().err.count("hml: error: the run") == 4 and not folder.exists()


def test_other_iterations_are_other_runs(stubbed):
    words, _, folder = stubbed
    assert cli.main([*words, "--seeds", "1"]) == 0
    assert cli.main([*words, "--seeds", "1", "--iterations", "12"]) == 0
    assert len(list((folder.parent / "runs").iterdir())) == 6
    assert {r["iterations"] for r in rows(folder)} == {"12"}


def test_the_papers_budget_has_a_folder_of_its_own_and_shares_the_one_stage_runs(stubbed, capsys):
    words, _, folder = stubbed
    assert cli.main([*words, "--seeds", "1"]) == 0
    assert cli.main([*words, "--seeds", "1", "--budget", "paper"]) == 0
    error = capsys.readouterr().err
    assert "Budget paper" in error and "Iterations of baseline: 10; HML: 5 + 10 = 15." in error
    found = rows(folder.with_name("own-data-test-paper_budget"))
    assert [(r["cell"], r["iterations"]) for r in found[:2]] == [("baseline", "10"), ("HML", "15")]
    assert "--budget paper" in (folder.with_name("own-data-test-paper_budget") / "results.md").read_text()
    names = sorted(path.name.split("-")[0] for path in (folder.parent / "runs").iterdir())
    assert names == ["baseline", "hml", "hml", "logit"]


@pytest.mark.parametrize(
    "extra, sentence",
    [
        (["tabel2"], "there is no experiment 'tabel2'; did you mean table2?"),
        (["table2", "--seeds", "0"], "--seeds is 0"),
        (["table2", "--iterations", "-5"], "--iterations is -5"),
        (["table2", "--jobs", "0"], "--jobs is 0"),
        (["table2", "--tasks", "predcls,sgdett"], "table2 has no 'sgdett' among its tasks; it has predcls"),
        (["controls", "--predictors", "vctree"], "controls has no 'vctree' among its predictors"),
        (["table2", "--data", "missing"], "there is no dataset folder missing"),
    ],
)
def test_bad_input_is_refused_before_any_run(tmp_path, capsys, extra, sentence):
    assert cli.main(["experiment", *extra, "--out", str(tmp_path / "exp")]) == 2
    assert capsys.readouterr().err.startswith(f"hml: error: {sentence}")
    assert not (tmp_path / "exp").exists()


@pytest.mark.parametrize("words", [["experiment"], ["experiment", "list"]])
def test_the_list_names_every_grid(capsys, words):
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert all(f"\n{name} " in printed for name in grid_names()) and " 81 " in printed
    assert "in total" in printed and " 162,000" in printed  # table1: 81 runs of 2000 iterations


def test_a_command_is_repeated_by_what_decides_the_results():
    parser = cli.build_parser("experiment")
    words = ["experiment", "table2", "--data", "VRD", "--seeds", "1", "--tasks", "sgcls,sgdet", "--split", "val",
             "--profile", "released"]
    assert experiment_command._words(parser.parse_args([*words, "--quick", "--jobs", "2"])) == [*words, "--quick"]


# -- the real thing ---------------------------------------------------------------------------------------------------

TINY = {
    "title": "Tiny", "iterations": 4, "seeds": 1, "merged": True,
    "set": {"SOLVER.IMS_PER_BATCH": 2, "SOLVER.TO_VAL": False, "MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE": 16},
    "cells": [{"name": "baseline", "family": "baseline", "set": {"HML.ENABLED": False}},
              {"name": "logit adjustment", "after": "baseline", "taus": [1]}, {"name": "HML", "family": "HML"}],
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> list[str]:
    """The words of a tiny grid on a tiny mini-VG, without --out."""
    folder = tmp_path_factory.mktemp("tiny")
    make_mini_vg(folder / "vg", images=60, seed=3)
    (folder / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    return ["experiment", str(folder / "tiny.yaml"), "--data", str(folder / "vg")]


def start(words: list[str], out: Path) -> subprocess.Popen:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    env.pop("SGB_HOME", None)
    command = [sys.executable, "-m", "maskrcnn_benchmark_hml", *words, "--out", str(out), "--jobs", "2"]
    return subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_interrupted_and_continued_it_has_the_rows_of_an_uninterrupted_one(tiny, tmp_path):
    """End to end on the embedded benchmark: once in one go, once stopped by SIGTERM in its first runs."""
    whole = start(tiny, tmp_path / "whole")
    error = whole.communicate(timeout=HUNG)[1]
    assert whole.returncode == 0, error
    stopped = start(tiny, tmp_path / "parts")
    until(lambda: list((tmp_path / "parts").glob("runs/*/log.txt")), lambda: stopped.poll() is None)
    stopped.send_signal(signal.SIGTERM)
    assert "the same command continues" in stopped.communicate(timeout=HUNG)[1] and stopped.returncode == 130
    again = start(tiny, tmp_path / "parts")
    error = again.communicate(timeout=HUNG)[1]
    assert again.returncode == 0, error
    one, two = (tmp_path / name / "tiny-vg-test" for name in ("whole", "parts"))
    for name in ("results.csv", "merged.csv"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    found = rows(one)
    assert [r["cell"] for r in found] == ["baseline", "HML", "logit adjustment"]
    assert all(0 <= float(r[key]) <= 1 for r in found for key in ("R@50", "mR@50", "ng-R@20", "merged-R@100"))
    assert "### Merged recall" in (one / "results.md").read_text()
    assert (one / "tradeoff.png").stat().st_size > 10_000
    (hml,) = (tmp_path / "whole" / "runs").glob("hml-*")
    assert [s["iterations"] for s in json.loads((hml / "hml" / "stages.json").read_text())] == [1, 3]


@pytest.mark.slow
def test_validation_images_are_a_part_of_training_and_another_run(tiny, tmp_path):
    run = start([*tiny, "--split", "val"], tmp_path)
    error = run.communicate(timeout=HUNG)[1]
    assert run.returncode == 0, error
    assert {r["split"] for r in rows(tmp_path / "tiny-vg-val")} == {"val"}
    assert not list(tmp_path.glob("runs/*/inference/*_test"))
