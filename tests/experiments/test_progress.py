"""The live line: how far a run is, and how long it will take."""

from __future__ import annotations

import io

import pytest

from maskrcnn_benchmark_hml.experiments.progress import PoolProgress, Position, clock


def bar(done, total, what="train", terms="loss=1.5"):
    return {"what": what, "done": done, "total": total, "terms": terms}


def position(*states, iterations=10, now=0.0):
    at = Position("hml", iterations, start=0.0)
    for state in states:
        at.update(state, now)
    return at


def test_a_validation_between_two_states_of_one_stage_adds_nothing():
    assert position(bar(5, 10), bar(1, 4, "VG_val"), bar(4, 4, "VG_val"), bar(6, 10), iterations=30).trained == 6


def test_position_adds_up_the_stages_and_leaves_out_other_bars():
    at = position(bar(5, 10), bar(10, 10), bar(20, 20, "VG_val"), iterations=30)
    assert at.fraction == pytest.approx(1 / 3) and at.line() == "hml  val 20/20  loss=1.5"
    at.update(bar(10, 20), 0.0)
    assert at.trained == 20 and at.line() == "hml  train 20/30  loss=1.5"
    at.update(bar(20, 20), 0.0)
    at.update(bar(1, 50, "test"), 0.0)
    assert at.fraction == 1.0
    assert at.what == "test"


def test_two_stages_of_one_length_are_two():
    assert position(bar(10, 10), bar(1, 10), iterations=20).trained == 11


def test_time_left_of_a_run():
    at = position(iterations=100)
    assert at.seconds_left(1.0, None) is None and at.seconds_left(1.0, 30.0) == 29.0
    at.update(bar(10, 100), 10.0)
    at.update(bar(50, 100), 50.0)
    assert at.seconds_left(50.0, None) == pytest.approx(50.0)
    at.update(bar(100, 100), 100.0)
    at.update(bar(0, 4, "VG_test"), 100.0)
    assert at.seconds_left(100.0, None) is None
    at.update(bar(2, 4, "VG_test"), 110.0)
    assert at.seconds_left(110.0, None) == pytest.approx(10.0)


def test_a_continued_run_counts_its_pace_from_where_it_begins():
    at = position(iterations=100)
    at.update(bar(80, 100), 5.0)
    at.update(bar(90, 100), 15.0)
    assert at.seconds_left(15.0, None) == pytest.approx(10.0)


@pytest.mark.parametrize("jobs, runs, left", [(1, 1, 50.0), (1, 3, 50.0 + 200.0), (2, 2, 100.0), (2, 5, 250.0)])
def test_time_left_of_a_pool_with_several_at_a_time(jobs, runs, left):
    """One of 100 s runs since 50 s; with two jobs a second has just reached 1 % in 1 s."""
    progress = PoolProgress(runs, jobs, 100, stream=io.StringIO())
    assert progress.seconds_left(0.0) is None
    progress.running["a"] = Position("a", 100, 0.0)
    for at in (0, 25, 50):
        progress.running["a"].update(bar(at, 100), float(at))
    if jobs == 2:
        progress.running["b"] = Position("b", 100, 50.0)
        progress.running["b"].update(bar(1, 100), 50.0)
        progress.running["b"].update(bar(2, 100), 51.0)
    assert progress.seconds_left(51.0) == pytest.approx(left, abs=10.0)


def test_without_a_terminal_few_plain_lines_are_printed():
    stream = io.StringIO()
    progress = PoolProgress(1, 1, 10, stream=stream)
    progress.begin("baseline")
    progress._drawn_at -= 60
    for done in range(1, 11):
        progress.update("baseline", bar(done, 10))
    progress.end("baseline", "done")
    lines = stream.getvalue().splitlines()
    assert lines == ["baseline  train 1/10  loss=1.5", "0 of 1 runs done", "done"]
    assert progress.lines(0.0) == ["1 of 1 runs done"]


def test_a_run_that_trains_longer_than_the_others_is_shown_so():
    progress = PoolProgress(2, 2, 10, stream=io.StringIO())
    progress.begin("HML", 15)
    progress.begin("baseline")
    for name in ("HML", "baseline"):
        progress.update(name, bar(5, 15 if name == "HML" else 10))
    assert [line.split("  ")[1] for line in progress.lines(1.0)[:2]] == ["train 5/15", "train 5/10"]


def test_on_a_terminal_the_lines_are_redrawn_and_wiped(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    progress = PoolProgress(2, 2, 10, stream=stream)
    for name in ("a", "b"):
        progress.begin(name)
        progress._drawn_at -= 1
        progress.update(name, bar(1, 10, terms="loss=1" + "0" * 80))
    progress.end("a", "done")
    first, second, last = stream.getvalue().split("\x1b[J")
    assert first.endswith("runs done\n\x1b[2A") and second.endswith("\x1b[3A") and last == "done\n"
    assert max(map(len, second.split("\n"))) == 39


def test_clock():
    assert [clock(s) for s in (0, 75, 3700, -4)] == ["0:00", "1:15", "1:01:40", "0:00"]
