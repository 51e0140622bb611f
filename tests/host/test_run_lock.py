"""One training in a folder; a training whose folder was deleted ends with a sentence."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import run_lock
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.host.run_lock import RunLock

from ..waiting import HUNG
from .conftest import run_options

HOLD = """
import sys
from maskrcnn_benchmark_hml.host.run_lock import RunLock
with RunLock() as lock:
    lock.take(sys.argv[1])
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that trains in ``tmp_path/run``."""
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path / "run"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def files(folder) -> dict:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("enabled", ["True", "False"])
def test_a_second_training_in_a_folder_is_refused_and_changes_nothing(
    holder, tiny_vg, tmp_path, monkeypatch, enabled
):
    monkeypatch.setattr(run_lock, "_LEFT_OVER", 0.1)
    before, options = files(tmp_path / "run"), run_options(tiny_vg, tmp_path / "run", "HML.ENABLED", enabled)
    with pytest.raises(HMLError, match="another process is training in .*run; wait for it or end it, or choose"):
        run_script(options[2], options[3:], data=options[1])
    assert files(tmp_path / "run") == before


def test_a_killed_run_does_not_hold_its_folder(holder, tmp_path):
    holder.kill()
    holder.wait()
    with RunLock() as lock:
        lock.take(str(tmp_path / "run"))


def test_loader_workers_of_a_killed_run_do_not_keep_its_folder(tmp_path):
    """With filelock before version 4 they hold the lock until they see that the run is gone; the next run waits."""
    fork = multiprocessing.get_context("fork")

    def hold(pipe) -> None:
        with RunLock() as lock:
            lock.take(str(tmp_path))
            worker = fork.Process(target=time.sleep, args=(HUNG,))
            worker.start()
            pipe.send(worker.pid)
            worker.join()

    ours, theirs = fork.Pipe()
    run = fork.Process(target=hold, args=(theirs,))
    run.start()
    worker = ours.recv()
    run.kill()
    run.join()
    threading.Timer(0.5, os.kill, (worker, signal.SIGKILL)).start()
    with RunLock() as lock:
        lock.take(str(tmp_path))


def test_other_ranks_and_runs_without_a_folder_take_no_lock(tmp_path, monkeypatch):
    with RunLock() as lock:
        lock.take("")
        lock.take(str(tmp_path / "new"), existing=True)
        monkeypatch.setenv("RANK", "1")
        lock.take(str(tmp_path / "new"))
        lock.check()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("enabled", ["True", "False"])
@pytest.mark.parametrize("how", ["deleted", "moved"])
def test_a_folder_that_is_deleted_under_a_run_ends_it(tiny_vg, tmp_path, monkeypatch, enabled, how):
    out, steps = tmp_path / "run", []

    def check(self) -> None:
        steps.append(0)
        if len(steps) == 3:
            shutil.rmtree(out) if how == "deleted" else out.rename(tmp_path / "away")
        return own(self)

    own = RunLock.check
    monkeypatch.setattr(RunLock, "check", check)
    options = run_options(tiny_vg, out, "HML.ENABLED", enabled, "SOLVER.MAX_ITER", "6")
    with pytest.raises(HMLError, match="run was deleted or moved while this run trained in it"):
        run_script(options[2], options[3:], data=options[1])
    assert len(steps) == 3 and not out.exists()
