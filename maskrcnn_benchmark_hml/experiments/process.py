"""A run's process and what its log says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


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
            if child is not None and child.poll() is None:
                stop_process(child)
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
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does, so that its children save their state."""

    def interrupt(_signal: int, _frame: Any) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)


def stop_process(child: subprocess.Popen) -> None:
    """End the child politely, so that it can save its state, and by force after half a minute."""
    child.terminate()
    try:
        child.wait(timeout=30)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
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
