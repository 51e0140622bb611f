"""The live line: which bar states are seen, how far a cell is, and how long it will take."""

from __future__ import annotations

import io

import pytest

from maskrcnn_benchmark_hml.experiments.progress import Position, SeriesProgress, clock, split_stream


class Chunks:
    """A stream that hands out what was written in the given pieces."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def read1(self, _size: int) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def bar(done, total, what="train", terms=", loss=1.5"):
    return f"{what}: {100 * done // total:3d}%|##  | {done}/{total} [00:01<00:02,  3.40it/s{terms}]"


def test_bars_and_lines_are_told_apart_even_in_pieces():
    state = bar(3, 10).encode()
    pieces = [b"a warn", b"ing\n\r" + state, b"\r" + state[:20], state[20:] + b"\n", b"Traceback 5%", b"\nlast words"]
    lines = list(split_stream(Chunks(*pieces)))
    assert [line for line, is_bar in lines if not is_bar] == ["a warning", "Traceback 5%", "last words"]
    assert [line for line, is_bar in lines if is_bar] == [bar(3, 10)] * 2


@pytest.mark.parametrize("text", [bar(1, 9, terms=""), " 10%|#  | 1/10 [00:01<?, ?it/s]", bar(1, 9, "stage 1/2")])
def test_forms_of_a_bar(text):
    position = Position(10)
    position.update(text)
    assert position.done == 1


def test_position_adds_up_the_stages_and_leaves_out_other_bars():
    position = Position(30)
    for line in (bar(5, 10, "stage 1/2"), bar(10, 10, "stage 1/2"), bar(20, 20, "validate")):
        position.update(line)
    assert position.fraction == pytest.approx(1 / 3)
    position.update(bar(10, 20, "stage 2/2"))
    assert position.fraction == pytest.approx(2 / 3)
    position.update(bar(20, 20, "stage 2/2"))
    position.update(bar(1, 50, "test"))
    assert position.fraction == pytest.approx(1.0) and position.terms == "loss=1.5"
    position.update("no bar")
    assert position.what == "test"


def test_time_left_here_and_in_all():
    progress = SeriesProgress(3, 100, stream=io.StringIO())
    progress.begin("hml", 0, to_come=2)
    progress.start = 0.0
    assert progress.seconds_left(1.0) is None
    progress.position.update(bar(10, 100))
    progress.seconds_left(10.0)
    progress.position.update(bar(50, 100))
    here, in_all = progress.seconds_left(50.0)
    assert here == pytest.approx(50.0) and in_all == pytest.approx(50.0 + 2 * 100.0)
    assert progress.line(50.0) == "[1/3] hml | train 50/100 | 0:50 left, 4:10 in all | loss=1.5"


def test_without_a_terminal_few_plain_lines_are_printed():
    stream = io.StringIO()
    progress = SeriesProgress(1, 10, stream=stream)
    progress.begin("baseline")
    for done in range(1, 11):
        progress.update(bar(done, 10))
    progress.end()
    progress.say("done")
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 and lines[0].startswith("[1/1] baseline | train 1/10") and lines[1] == "done"


def test_on_a_terminal_the_line_is_redrawn_and_wiped(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    progress = SeriesProgress(1, 10, stream=stream)
    progress.begin("baseline")
    progress.update(bar(1, 10, terms=", loss=1" + "0" * 80))
    progress.update(bar(2, 10, terms=""))
    progress.say("done")
    *states, last = stream.getvalue().split("\r")
    assert last == "done\n" and max(map(len, states)) == 39 and states[-1].strip() == ""


def test_clock():
    assert [clock(s) for s in (0, 75, 3700, -4)] == ["0:00", "1:15", "1:01:40", "0:00"]
