"""A run runs once, continues after an interruption, and never touches another run's folder."""

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
from maskrcnn_benchmark_hml.experiments.process import last_words
from maskrcnn_benchmark_hml.experiments.run import Run, RunFailed, check_run, perform

from ..waiting import HUNG, until


def starts(run) -> int:
    return int((run.output / "starts").read_text())


def pid_of_sleeper(run) -> int:
    """The process of a run in mode ``sleep``; 0 as long as it has not said its number."""
    path = run.output / "sleeping"
    return int(path.read_text() or 0) if path.exists() else 0


def test_runs_once_and_returns_metrics(make_run):
    run = make_run()
    states, children = [], []
    first = perform(run, states.append, children.append, threads=1)
    assert children[0].returncode == 0
    again = perform(run)
    assert first.metrics["R@50"] == pytest.approx(0.1) and first.metrics["images"] == 7
    assert not first.skipped and again.skipped and again.metrics == first.metrics and starts(run) == 1
    assert again.seconds == pytest.approx(first.seconds, abs=0.01)
    assert states == [{"what": "train", "done": n, "total": 10, "terms": "loss_rel=1.25"} for n in (1, 5, 10)]
    log = (run.output / "console.log").read_text()
    assert "a line of the log" in log and "a warning" in log and "loss_rel" not in log and log.lstrip().startswith("$ ")


def test_interrupted_run_is_continued_in_its_folder(make_run):
    run = make_run("crash_once")
    with pytest.raises(RunFailed, match="'stub' failed"):
        perform(run)
    before = json.loads((run.output / "cell.json").read_text())["seconds"]
    result = perform(run)
    assert starts(run) == 2 and not result.skipped and result.seconds > before
    assert perform(run).skipped


def test_how_many_predictions_are_kept_is_no_other_run(make_run):
    perform(make_run("fine"))
    assert perform(make_run("fine", "TEST.SAVED_IMAGES", "60")).skipped
    with pytest.raises(HMLError, match="TEST.SAVE_PREDICTIONS"):
        perform(make_run("fine", "TEST.SAVE_PREDICTIONS", "True"))


def test_an_edited_profile_is_another_run(make_run, monkeypatch, tmp_path):
    edited = tmp_path / "tuned.yaml"
    monkeypatch.setattr("maskrcnn_benchmark_hml.experiments.run.config_file", lambda name: edited)
    found = []
    for text in ("HML: {CR: {WEIGHT: 1.0}}\n", "HML: {CR: {WEIGHT: 25.0}}\n"):
        edited.unlink(missing_ok=True)
        edited.write_text(text)
        found.append(make_run("fine", "HML.PROFILE", "tuned").settings()["profile"])
    assert found[0] != found[1] and "profile" not in make_run("fine", "HML.PROFILE", "paper").settings()


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
def test_failure_shows_last_words_and_log(make_run, mode, words):
    run = make_run(mode)
    with pytest.raises(RunFailed) as failure:
        perform(run)
    assert words in str(failure.value) and str(run.output / "console.log") in str(failure.value)
    assert "hml: error" not in str(failure.value)
    assert not check_run(run)


@pytest.mark.parametrize("change", ["override", "seed", "config", "data", "vocabulary"])
def test_other_settings_are_refused_and_nothing_changes(make_run, change):
    run = make_run()
    perform(run)
    files = {p: p.read_bytes() for p in run.output.rglob("*") if p.is_file()}
    other = make_run("fine", "HML.CR.WEIGHT", "5") if change == "override" else make_run(seed=int(change == "seed"))
    if change == "config":
        run.config_file.write_text("DTYPE: float16\n")
    elif change in ("data", "vocabulary"):
        name = "VG-SGG-with-attri.h5" if change == "data" else "VG-SGG-dicts-with-attri.json"
        path = run.data / name
        path.write_text("{}")
        os.utime(path, ns=(1, 1))
    key = {"override": "HML.CR.WEIGHT: not set there, 5 asked for", "vocabulary": "data"}.get(change, change)
    with pytest.raises(HMLError, match="other settings") as error:
        perform(other)
    assert key in str(error.value)
    assert files == {p: p.read_bytes() for p in run.output.rglob("*") if p.is_file()}


def test_torn_record_and_bad_overrides_are_named(make_run):
    run = make_run()
    perform(run)
    (run.output / "cell.json").write_text('{"settings": ')
    with pytest.raises(HMLError, match="cell.json cannot be read; remove the folder"):
        perform(run)
    with pytest.raises(HMLError, match="not KEY VALUE pairs"):
        perform(make_run("fine", "LONELY"))


def test_missing_annotations_are_named(make_run):
    run = make_run()
    (run.data / "VG-SGG-with-attri.h5").unlink()
    with pytest.raises(HMLError, match="has no VG-SGG-with-attri.h5"):
        perform(run)
    assert not run.output.exists()


def test_two_processes_do_not_share_a_run(make_run):
    run = make_run("sleep")
    failure = []

    def first():
        try:
            perform(run)
        except RunFailed as error:
            failure.append(error)

    thread = threading.Thread(target=first)
    thread.start()
    try:
        until(lambda: pid_of_sleeper(run), thread.is_alive)
        with pytest.raises(HMLError, match="another process is running"):
            perform(run)
    finally:
        os.kill(pid_of_sleeper(run), signal.SIGTERM)
        thread.join()
    assert failure


def test_the_command_is_a_plain_hml_run(make_run, tmp_path):
    stub = make_run("fine")
    run = Run("x", stub.config_file, ("HML.ENABLED", "True"), 3, stub.data, tmp_path / "o")
    command = run.command()
    assert command[:4] == [sys.executable, "-m", "maskrcnn_benchmark_hml", "run"]
    assert command[4:8] == ["--data", str(stub.data), "tools/relation_train_net.py", "--config-file"]
    assert command[command.index("SOLVER.SEED") + 1] == command[command.index("HML.SEED") + 1] == "3"
    assert command[-2:] == ["HML.ENABLED", "True"]


def test_ending_the_parent_ends_the_child(make_run, tmp_path):
    """SIGTERM to the process that runs the runs reaches the training process, so nothing is left behind."""
    run = make_run("sleep")
    program = (
        "import sys, pathlib; sys.path.insert(0, sys.argv[1]);"
        "from conftest import StubRun; from maskrcnn_benchmark_hml.experiments import process, run;"
        "process.interrupt_on_signals(); p = pathlib.Path(sys.argv[2]);"
        "run.perform(StubRun('stub', p / 'config.yaml', ('MODE', 'sleep'), 0, p / 'data', p / 'out/stub'))"
    )
    here = os.path.dirname(os.path.abspath(__file__))
    parent = subprocess.Popen([sys.executable, "-c", program, here, str(tmp_path)], stderr=subprocess.DEVNULL)
    until(lambda: pid_of_sleeper(run), lambda: parent.poll() is None)
    child = pid_of_sleeper(run)
    parent.terminate()
    assert parent.wait(HUNG) != 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


@pytest.mark.parametrize("mode, kept", [("detector", ["model_final.pth"]), ("no_metrics", ["model_0000200.pth"])])
def test_a_finished_run_keeps_its_final_checkpoint_and_a_failed_one_what_continues_it(make_run, mode, kept):
    run = make_run(mode)
    run.output.mkdir(parents=True)
    (run.output / "model_0000200.pth").write_bytes(b"weights")
    with nullcontext() if mode == "detector" else pytest.raises(RunFailed):
        perform(run)
    assert [path.name for path in run.output.glob("model_*")] == kept
