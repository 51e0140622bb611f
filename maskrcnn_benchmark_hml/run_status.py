"""How a run of an OUTPUT_DIR goes or ended: written by ``hml run``, read by ``hml status``."""

from __future__ import annotations

import json
import os
import re
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .errors import HMLError, Interrupted
from .files import one_at_a_time, read_json, write_json
from .run_folder import FINAL, RunFolder, newest_checkpoint, run_lock, status_file

#: State -> exit code of ``hml status``. ``killed`` is found, not written: the record says running, and nobody runs.
EXIT_CODES = {"finished": 0, "failed": 1, "interrupted": 3, "killed": 3, "running": 4}
_SAID = {
    "finished": "finished",
    "failed": "failed: {sentence}",
    "interrupted": "interrupted and saved; the same command continues it",
    "killed": "ended without saving (killed, out of memory, or its machine failed); the same command continues it",
    "running": "running since {since}, process {process} on {host}",
}


@dataclass(frozen=True)
class RunStatus:
    """The state (a key of EXIT_CODES), where the newest checkpoint is, and both in words."""

    state: str
    place: str
    text: str

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.state]


def record_start(folder: str | Path) -> None:
    """Note that this process trains in the folder from now on."""
    _write(folder, "running")


def record_end(folder: str | Path, error: BaseException | None = None) -> None:
    """Note how the run ended: by itself, or with ``error``."""
    if error is None:
        _write(folder, "finished")
    elif isinstance(error, (Interrupted, KeyboardInterrupt)):
        _write(folder, "interrupted")
    elif isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        _write(folder, "killed")  # by a second signal
    else:
        words = str(error).strip().splitlines() or [""]
        _write(folder, "failed", words[0] if isinstance(error, HMLError) else f"{type(error).__name__}: {words[0]}")


def _write(folder: str | Path, state: str, sentence: str = "") -> None:
    write_json(status_file(folder), {
        "state": state, "sentence": sentence, "since": datetime.now().isoformat(" ", "seconds"),
        "process": os.getpid(), "host": socket.gethostname(),
    }, "run's status", indent=1)  # fmt: skip


def _read(folder: str | Path) -> dict:
    path = status_file(folder)
    return read_json(path) if path.is_file() else {}


def run_status(folder: str | Path) -> RunStatus:
    """What is known of the run in an OUTPUT_DIR.

    Raises:
        HMLError: no such folder, or none of a training that ``hml run`` started.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise HMLError(f"there is no folder {folder}; give the OUTPUT_DIR of a run")
    record, place = _read(folder), _place(folder)
    if record.get("state") not in _SAID:
        raise HMLError(f"{folder} has no record of a training by hml run ({place}); give the OUTPUT_DIR of one")
    state = record["state"]
    if state == "running" and not _is_locked(folder):
        state = "killed"
    return RunStatus(state, place, f"{_SAID[state].format(**record)}\n{place}")


def _is_locked(folder: Path) -> bool:
    """Whether a process holds the folder's lock; True where that cannot be found out."""
    if not run_lock(folder).is_file():
        return False
    try:
        with ExitStack() as held:
            held.enter_context(one_at_a_time(run_lock(folder), "held"))
    except (HMLError, OSError):
        return True
    return False


def _place(folder: Path) -> str:
    """Stage and iteration of a run's newest checkpoint, in words; or why it cannot be found."""
    try:
        return _newest(folder)
    except HMLError as error:
        return str(error)


def _newest(folder: Path) -> str:
    run = RunFolder(folder)
    rows = json.loads(run.stages.read_text("utf-8")) if run.stages.is_file() else []
    for stage in range(len(rows), 0, -1):
        if name := _named(run.stage(stage, len(rows))):
            total = rows[stage - 1]["iterations"]
            return f"newest checkpoint: stage {stage} of {len(rows)}, {_iteration(name)} of {total} ({name})"
    name = _named(folder)
    return f"newest checkpoint: {_iteration(name)} ({name})" if name else "no checkpoint yet"


def _named(folder: Path) -> str:
    checkpoint = newest_checkpoint(folder)
    return "" if checkpoint is None else checkpoint.name


def _iteration(name: str) -> str:
    found = re.search(r"(\d+)\.pth$", name)
    return f"iteration {int(found[1])}" if found else "its end" if name.startswith(FINAL) else "an iteration"
