"""Several runs at a time: order of results, share of the cores, and a clean end after a failure."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys

import pytest

from maskrcnn_benchmark_hml import signals
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments import pool, process
from maskrcnn_benchmark_hml.experiments.run import RunFailed


def runs(make_run, *modes):
    made = [make_run(mode, seed=number) for number, mode in enumerate(modes)]
    return [dataclasses.replace(c, name=f"c{c.seed}", output=c.output.with_name(f"c{c.seed}")) for c in made]


def test_results_come_in_the_order_given_and_finished_runs_are_kept(make_run, capsys):
    three = runs(make_run, "fine", "fine", "fine")
    results = pool.run_all(three, 10, jobs=2)
    assert [r.run.name for r in results] == ["c0", "c1", "c2"]
    assert [r.metrics["R@50"] for r in results] == pytest.approx([0.1, 0.2, 0.3])
    assert all(r.skipped for r in pool.run_all(three, 10, jobs=2))
    assert capsys.readouterr().err.count("finished before, kept") == 3


def test_a_runs_warning_stands_below_its_figures(make_run, capsys):
    two = runs(make_run, "fine", "warns")
    for _ in range(2):  # a finished run says it again
        pool.run_all(two, 10, jobs=1)
        lines = capsys.readouterr().err.splitlines()
        at = lines.index("    its last warning: HML: iteration 200: its gradients have vanished")
        assert lines[at - 1].startswith("[2/2] c1: ")
        assert sum("its last warning" in line for line in lines) == 1


def test_each_run_shows_its_own_iterations(make_run, monkeypatch):
    begun = []
    begin = pool.PoolProgress.begin
    monkeypatch.setattr(
        pool.PoolProgress, "begin", lambda self, *words: begun.append(words) or begin(self, *words)
    )
    one, two = runs(make_run, "fine", "fine")
    longer = dataclasses.replace(two, overrides=(*two.overrides, "SOLVER.MAX_ITER", "15"))
    pool.run_all([one, longer], 10, jobs=1)
    assert begun == [("c0", None), ("c1", 15)]


@pytest.mark.parametrize("jobs, threads", [(1, "6"), (2, "3"), (8, "3")])
def test_the_cores_are_shared_evenly(make_run, monkeypatch, jobs, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(pool, "usable_cores", lambda: 6)
    two = runs(make_run, "fine", "fine")
    pool.run_all(two, 10, jobs=jobs)
    assert [(c.output / "threads").read_text() for c in two] == [threads] * 2


def test_a_users_own_number_of_threads_wins(make_run, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    (one,) = runs(make_run, "fine")
    pool.run_all([one], 10, jobs=1)
    assert (one.output / "threads").read_text() == "5"


def test_a_failure_stops_the_others(make_run):
    four = runs(make_run, "crash", "sleep", "fine", "fine")
    with pytest.raises(RunFailed, match="'c0' failed: RuntimeError: loss is not finite"):
        pool.run_all(four, 10, jobs=2)
    assert not (four[1].output / "inference").exists()
    sleeping = four[1].output / "sleeping"
    if sleeping.exists() and sleeping.read_text():
        with pytest.raises(ProcessLookupError):
            os.kill(int(sleeping.read_text()), 0)
    assert not (four[3].output / "starts").exists()


def test_bad_jobs_and_foreign_folders_are_refused_before_anything_runs(make_run):
    with pytest.raises(HMLError, match="number of jobs is 0"):
        pool.run_all(runs(make_run, "fine"), 10, jobs=0)
    two = runs(make_run, "fine", "fine")
    pool.run_all(two[1:], 10, jobs=1)
    two[1] = dataclasses.replace(two[1], overrides=("MODE", "crash"))
    with pytest.raises(HMLError, match="other settings"):
        pool.run_all(two, 10, jobs=2)
    assert not two[0].output.exists()


def test_all_children_are_asked_to_stop_before_any_is_waited_for():
    """One after another, each with the step and the save that it still needs, the last ones were killed unsaved."""
    code = ("import signal, time; signal.signal(15, lambda *_: (time.sleep(1), exit(143))); print(flush=True); "
            "time.sleep(99)")
    children = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(3)]
    for child in children:
        child.stdout.readline()
    asked = []
    for child in children:
        child.terminate = lambda child=child, ask=child.terminate: (asked.append(child), ask())
        child.wait = lambda timeout=None, wait=child.wait: len(asked) == 3 and wait(timeout)
    process.stop_processes(children)
    assert [child.returncode for child in children] == [143] * 3


def test_a_request_that_is_sent_twice_ends_nothing_by_force(monkeypatch):
    before = {number: signal.getsignal(number) for number in signals.asking_to_stop()}
    try:
        process.interrupt_on_signals()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            os.kill(os.getpid(), number)
        monkeypatch.setattr(signals, "ONE_REQUEST", 0.0)
        os.kill(os.getpid(), signal.SIGUSR1)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
