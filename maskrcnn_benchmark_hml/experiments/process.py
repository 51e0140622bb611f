"""A run's process and what its log says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..signals import SecondRequest, asking_to_stop

#: Seconds for a child to finish its step and save.
_TO_SAVE = 100


def run_process(
    command: Sequence[str],
    path: Path,
    on_progress: Callable[[Mapping[str, Any]], None] | None,
    on_start: Callable[[subprocess.Popen], None] | None,
    threads: int | None,
) -> str | None:
    """Run a command to its end; its last words if it failed, else None.

    Args:
        path: the log, to which it appends what the command prints.
        on_progress, on_start, threads: as for :func:`.run.perform`.
    """
    with open(path, "a", encoding="utf-8") as log:
        log.write(f"\n$ {' '.join(command)}\n")
        log.flush()
        log_start = log.tell()
        states, reported = os.pipe()
        child = None
        try:
            try:
                child = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=_environment(threads, reported),
                    pass_fds=(reported,),
                    start_new_session=True,  # Ctrl-C reaches this process alone, which asks the child once to stop
                )
            finally:
                os.close(reported)
            if on_start is not None:
                on_start(child)
            _follow(states, on_progress)
            code = child.wait()
        finally:
            os.close(states)
            stop_processes([child] if child is not None else [])
    if code == 0:
        return None
    with open(path, encoding="utf-8", errors="replace") as file:
        file.seek(log_start)
        return last_words(file.read().splitlines()) or f"exit code {code}"


def _environment(threads: int | None, reported: int) -> dict[str, str]:
    env = {**os.environ, "HML_PROGRESS_FILE": f"/dev/fd/{reported}"}
    if threads is not None:
        env.setdefault("OMP_NUM_THREADS", str(threads))
    return env


def _follow(states: int, on_progress: Callable[[Mapping[str, Any]], None] | None) -> None:
    """Hand on the progress that the child reports, until it ends: JSON lines, as the bundled benchmark writes them."""
    with open(states, encoding="utf-8", closefd=False) as lines:
        for line in lines:
            try:
                state = json.loads(line)
            except ValueError:  # cut by the end of the child
                continue
            if on_progress is not None:
                on_progress(state)


def interrupt_on_signals() -> None:
    """Let every signal that asks to stop end this process as Ctrl-C does, so that its children save their state.

    What follows within two seconds is the same request; a later one ends the children by force.
    """
    second, asked = SecondRequest(), False

    def interrupt(number: int, _frame: Any) -> None:
        nonlocal asked
        again = second(number)
        if asked and not again:
            return
        asked = True
        raise KeyboardInterrupt

    for number in asking_to_stop():
        signal.signal(number, interrupt)


def stop_processes(children: Iterable[subprocess.Popen]) -> None:
    """End the children politely, all at the same time, so that each can save its state.

    By force those that still run after ``_TO_SAVE`` seconds, or when this process is interrupted once more.
    """
    running = [child for child in children if child.poll() is None]
    for child in running:
        child.terminate()
    deadline = time.monotonic() + _TO_SAVE
    try:
        for child in running:
            child.wait(timeout=max(deadline - time.monotonic(), 0))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        for child in running:
            child.kill()
        for child in running:
            child.wait()


def last_words(lines: Sequence[str]) -> str:
    """The line that says why a process ended: our own sentence, else the exception's, else the last line."""
    for pattern in (r"hml: error: (.+)", r"((?:\w+\.)*\w*(?:Error|Exception)\b.*)", r"\s*(\S.*)"):
        for line in reversed(lines):
            match = re.match(pattern, line)
            if match:
                return match[1].strip()
    return ""


def last_warning(path: Path) -> str | None:
    """HML's last warning in a log: a figure of a run that went wrong must not look like any other."""
    said = path.read_text("utf-8", "replace") if path.is_file() else ""
    found = re.findall(r"WARNING: (HML: .+)", said)
    return found[-1].strip() if found else None
