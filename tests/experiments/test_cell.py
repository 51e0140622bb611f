"""A cell runs once, continues after an interruption, and never touches another run's folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments.cell import Cell, CellFailed, check_cell, run_cell
from maskrcnn_benchmark_hml.experiments.process import last_words

from ..waiting import HUNG, until


def starts(cell) -> int:
    return int((cell.output / "starts").read_text())


def pid_of_sleeper(cell) -> int:
    """The process of a cell in mode ``sleep``; 0 as long as it has not said its number."""
    path = cell.output / "sleeping"
    return int(path.read_text() or 0) if path.exists() else 0


def test_runs_once_and_returns_metrics(make_cell):
    cell = make_cell()
    states, children = [], []
    first = run_cell(cell, states.append, children.append, threads=1)
    assert children[0].returncode == 0
    again = run_cell(cell)
    assert first.metrics["R@50"] == pytest.approx(0.1) and first.metrics["images"] == 7
    assert not first.skipped and again.skipped and again.metrics == first.metrics and starts(cell) == 1
    assert again.seconds == pytest.approx(first.seconds, abs=0.01)
    assert any("5/10" in state for state in states) and any("loss_rel=1.25" in state for state in states)
    log = (cell.output / "console.log").read_text()
    assert "a line of the log" in log and "it/s" not in log and log.lstrip().startswith("$ ")


def test_interrupted_cell_is_continued_in_its_folder(make_cell):
    cell = make_cell("crash_once")
    with pytest.raises(CellFailed, match="'stub' failed"):
        run_cell(cell)
    before = json.loads((cell.output / "cell.json").read_text())["seconds"]
    result = run_cell(cell)
    assert starts(cell) == 2 and not result.skipped and result.seconds > before
    assert run_cell(cell).skipped


def test_an_edited_profile_is_another_run(make_cell, monkeypatch, tmp_path):
    edited = tmp_path / "tuned.yaml"
    monkeypatch.setattr("maskrcnn_benchmark_hml.experiments.cell.config_file", lambda name: edited)
    found = []
    for text in ("HML: {CR: {WEIGHT: 1.0}}\n", "HML: {CR: {WEIGHT: 25.0}}\n"):
        edited.unlink(missing_ok=True)
        edited.write_text(text)
        found.append(make_cell("fine", "HML.PROFILE", "tuned").settings()["profile"])
    assert found[0] != found[1] and "profile" not in make_cell("fine", "HML.PROFILE", "paper").settings()


def test_last_words_are_the_sentence_that_explains():
    traceback = ["Traceback", '  File "x"', "yaml.parser.ParserError: while parsing", '  in "x"', "     ^"]
    assert last_words(traceback) == "yaml.parser.ParserError: while parsing"
    assert last_words([*traceback, "hml: error: give a number", "bye"]) == "give a number"
    assert last_words(["one", " two ", ""]) == "two" and last_words([]) == ""


@pytest.mark.parametrize(
    "mode, words",
    [
        ("user_error", "HML.CR.WEIGHT is -1; give a number >= 0 "),
        ("crash", "RuntimeError: loss is not finite"),
        ("no_metrics", "without writing"),
    ],
)
def test_failure_shows_last_words_and_log(make_cell, mode, words):
    cell = make_cell(mode)
    with pytest.raises(CellFailed) as failure:
        run_cell(cell)
    assert words in str(failure.value) and str(cell.output / "console.log") in str(failure.value)
    assert "hml: error" not in str(failure.value)
    assert not check_cell(cell)


@pytest.mark.parametrize("change", ["override", "seed", "config", "data", "vocabulary"])
def test_other_settings_are_refused_and_nothing_changes(make_cell, change):
    cell = make_cell()
    run_cell(cell)
    files = {p: p.read_bytes() for p in cell.output.rglob("*") if p.is_file()}
    other = make_cell("fine", "HML.CR.WEIGHT", "5") if change == "override" else make_cell(seed=int(change == "seed"))
    if change == "config":
        cell.config_file.write_text("DTYPE: float16\n")
    elif change in ("data", "vocabulary"):
        name = "VG-SGG-with-attri.h5" if change == "data" else "VG-SGG-dicts-with-attri.json"
        path = cell.data / name
        path.write_text("{}")
        os.utime(path, ns=(1, 1))
    key = {"override": "HML.CR.WEIGHT: not set there, 5 asked for", "vocabulary": "data"}.get(change, change)
    with pytest.raises(HMLError, match="other settings") as error:
        run_cell(other)
    assert key in str(error.value)
    assert files == {p: p.read_bytes() for p in cell.output.rglob("*") if p.is_file()}


def test_torn_record_and_bad_overrides_are_named(make_cell):
    cell = make_cell()
    run_cell(cell)
    (cell.output / "cell.json").write_text('{"settings": ')
    with pytest.raises(HMLError, match="cell.json cannot be read; remove the folder"):
        run_cell(cell)
    with pytest.raises(HMLError, match="not KEY VALUE pairs"):
        run_cell(make_cell("fine", "LONELY"))


def test_missing_annotations_are_named(make_cell):
    cell = make_cell()
    (cell.data / "VG-SGG-with-attri.h5").unlink()
    with pytest.raises(HMLError, match="has no VG-SGG-with-attri.h5"):
        run_cell(cell)
    assert not cell.output.exists()


def test_two_processes_do_not_share_a_cell(make_cell):
    cell = make_cell("sleep")
    failure = []

    def first():
        try:
            run_cell(cell)
        except CellFailed as error:
            failure.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        until(lambda: pid_of_sleeper(cell), thread.is_alive)
        with pytest.raises(HMLError, match="another process is running"):
            run_cell(cell)
    finally:
        os.kill(pid_of_sleeper(cell), signal.SIGTERM)
        thread.join()
    assert failure


def test_the_command_is_a_plain_hml_run(make_cell, tmp_path):
    stub = make_cell("fine")
    cell = Cell("x", stub.config_file, ("HML.ENABLED", "True"), 3, stub.data, tmp_path / "o")
    command = cell.command()
    assert command[:4] == [sys.executable, "-m", "maskrcnn_benchmark_hml", "run"]
    assert command[4:8] == ["--data", str(stub.data), "tools/relation_train_net.py", "--config-file"]
    assert command[command.index("SOLVER.SEED") + 1] == command[command.index("HML.SEED") + 1] == "3"
    assert command[-2:] == ["HML.ENABLED", "True"]


def test_ending_the_parent_ends_the_child(make_cell, tmp_path):
    """SIGTERM to the process that runs the cells reaches the training process, so nothing is left behind."""
    cell = make_cell("sleep")
    program = (
        "import signal, sys, pathlib; sys.path.insert(0, sys.argv[1]);"
        "from conftest import StubCell; from maskrcnn_benchmark_hml.experiments import cell, demo;"
        "signal.signal(signal.SIGTERM, demo._interrupt); p = pathlib.Path(sys.argv[2]);"
        "cell.run_cell(StubCell('stub', p / 'config.yaml', ('MODE', 'sleep'), 0, p / 'data', p / 'out/stub'))"
    )
    here = os.path.dirname(os.path.abspath(__file__))
    parent = subprocess.Popen([sys.executable, "-c", program, here, str(tmp_path)], stderr=subprocess.DEVNULL)
    until(lambda: pid_of_sleeper(cell), lambda: parent.poll() is None)
    child = pid_of_sleeper(cell)
    parent.terminate()
    assert parent.wait(HUNG) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("mode, kept", [("detector", ["model_final.pth"]), ("no_metrics", ["model_0000200.pth"])])
def test_a_finished_run_keeps_its_final_checkpoint_and_a_failed_one_what_continues_it(make_cell, mode, kept):
    cell = make_cell(mode)
    cell.output.mkdir(parents=True)
    (cell.output / "model_0000200.pth").write_bytes(b"weights")
    with nullcontext() if mode == "detector" else pytest.raises(CellFailed):
        run_cell(cell)
    assert [path.name for path in cell.output.glob("model_*")] == kept
