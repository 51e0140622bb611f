"""What a signal does to a run: it is noted, a repeated one is the same request, and between steps it ends the run."""

from __future__ import annotations

import os
import signal

import pytest
from torch.utils.data import DataLoader

from maskrcnn_benchmark_hml import signals
from maskrcnn_benchmark_hml.errors import Interrupted
from maskrcnn_benchmark_hml.host.interrupt import Interrupt
from maskrcnn_benchmark_hml.signals import STOP, WARNINGS


@pytest.fixture
def default_hup():
    """These tests may themselves run under nohup, which a run obeys."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [*STOP, *WARNINGS], ids=lambda n: n.name)
def test_every_signal_of_a_batch_system_is_noted(number, capfd, default_hup):
    before = signal.getsignal(number), DataLoader.__iter__
    with Interrupt(1) as interrupt:
        assert not interrupt.requested()
        os.kill(os.getpid(), number)
        assert interrupt.requested()
        with pytest.raises(Interrupted) as left:
            interrupt.check()
    assert left.value.code == 128 + number and "finishing this step" in capfd.readouterr().err
    assert before == (signal.getsignal(number), DataLoader.__iter__)


@pytest.mark.parametrize("second", STOP, ids=lambda n: n.name)
def test_a_second_signal_counts_only_after_two_seconds(second, monkeypatch):
    """srun sends two SIGTERM within 40 ms at the time limit; a person who wants to leave at once waits longer."""
    with Interrupt(1) as interrupt:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), second)
        assert interrupt.signal == signal.SIGTERM
        monkeypatch.setattr(signals, "ONE_REQUEST", 0.0)
        with pytest.raises(SystemExit) as left:
            os.kill(os.getpid(), second)
        assert left.value.code == 128 + second and not isinstance(left.value, Interrupted)


def test_a_warning_never_ends_a_run_that_saves(monkeypatch, default_hup):
    """SIGXCPU comes every second once the limit is reached, and SIGTERM after --signal=USR1."""
    monkeypatch.setattr(signals, "ONE_REQUEST", 0.0)
    with Interrupt(1) as interrupt:
        for number in (*WARNINGS, *WARNINGS, signal.SIGTERM, *WARNINGS):
            os.kill(os.getpid(), number)
        assert interrupt.signal == WARNINGS[0]


def test_nohup_stays_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupt(1) as interrupt:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interrupt.requested()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_validation_ends_at_once():
    seen = []

    def validate(when: str) -> str:
        if when == "during":
            os.kill(os.getpid(), signal.SIGUSR1)
        seen.append(when)
        return when

    with Interrupt(1) as interrupt:
        assert interrupt.stoppable(validate)("whole") == "whole"
        with pytest.raises(Interrupted):
            interrupt.stoppable(validate)("during")
        with pytest.raises(Interrupted):
            interrupt.stoppable(validate)("after a signal")
    assert seen == ["whole"]
