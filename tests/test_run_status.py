"""What hml status says of a run, and its exit codes for scripts."""

from __future__ import annotations

import json

import pytest

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.errors import HMLError, Interrupted
from maskrcnn_benchmark_hml.host.run_lock import RunLock


def run(folder, error: BaseException | None = None) -> None:
    try:
        with RunLock() as lock:
            lock.take(str(folder), existing=True)
            lock.begin(str(folder))
            (folder / "model_0000120.pth").touch()
            (folder / "last_checkpoint").write_text("/elsewhere/model_0000120.pth")
            if error is not None:
                raise error
    except BaseException as raised:
        assert raised is error


def staged(folder) -> None:
    (folder / "hml" / "stage1").mkdir(parents=True)
    (folder / "hml" / "stages.json").write_text(json.dumps([{"iterations": 50}, {"iterations": 300}]))
    (folder / "hml" / "stage1" / "model_final.pth").touch()
    (folder / "hml" / "stage1" / "last_checkpoint").write_text("hml/stage1/model_final.pth")


@pytest.mark.parametrize("error, code, said", [
    (None, 0, "finished"),
    (HMLError("the loss is nan; lower SOLVER.BASE_LR"), 1, "failed: the loss is nan; lower SOLVER.BASE_LR"),
    (ValueError("a\nb"), 1, "failed: ValueError: a"),
    (SystemExit("no config"), 1, "failed: SystemExit: no config"),
    (Interrupted(143), 3, "interrupted and saved; the same command continues it"),
    (SystemExit(143), 3, "ended without saving"),
])
def test_how_a_run_ended(tmp_path, capsys, error, code, said):
    for _ in range(2):  # a run that is begun again
        run(tmp_path, error)
    assert cli.main(["status", str(tmp_path)]) == code
    printed = capsys.readouterr().out
    assert printed.startswith(f"{tmp_path}: {said}") and printed.endswith(
        "\nnewest checkpoint: iteration 120 (model_0000120.pth)\n")
    staged(tmp_path)
    assert cli.main(["status", str(tmp_path)]) == code
    assert "checkpoint: stage 2 of 2, iteration 120 of 300 (model_0000120.pth)" in capsys.readouterr().out


def test_a_run_that_goes_on_and_one_that_was_killed(tmp_path, capsys):
    with RunLock() as lock:
        lock.begin(str(tmp_path))
        staged(tmp_path)
        record = (tmp_path / "status.json").read_text()
        assert cli.main(["status", str(tmp_path)]) == 4
    assert "running since" in capsys.readouterr().out
    (tmp_path / "status.json").write_text(record)  # as SIGKILL leaves it
    assert cli.main(["status", str(tmp_path)]) == 3
    printed = capsys.readouterr().out
    assert "killed, out of memory" in printed and "stage 1 of 2, its end of 50 (model_final.pth)" in printed


def test_no_run(tmp_path, capsys):
    before = list(tmp_path.iterdir())
    assert cli.main(["status", str(tmp_path / "none")]) == cli.main(["status", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "there is no folder" in said and "has no record of a training by hml run (no checkpoint yet)" in said
    assert list(tmp_path.iterdir()) == before


def test_a_refused_start_changes_no_record(tmp_path):
    run(tmp_path, Interrupted(143))
    before = (tmp_path / "status.json").read_bytes()
    with pytest.raises(HMLError), RunLock() as lock:
        lock.take(str(tmp_path), existing=True)
        raise HMLError("a setting has changed")
    assert (tmp_path / "status.json").read_bytes() == before


@pytest.mark.parametrize("content", ["model_0000120.pth".encode("utf-16"), b"gone.pth"])
def test_a_last_checkpoint_that_names_none_is_said(tmp_path, capsys, content):
    run(tmp_path, Interrupted(143))
    (tmp_path / "last_checkpoint").write_bytes(content)
    assert cli.main(["status", str(tmp_path)]) == 3
    printed = capsys.readouterr().out
    assert "interrupted and saved" in printed and "delete it to start anew" in printed
