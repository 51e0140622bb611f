"""Two processes that take turns at the same job: Scene-Graph-Benchmark in one, the embedded benchmark in the other."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
EMBEDDED = "embedded"
OURS, SGB = "ours", "sgb"


@dataclass(frozen=True)
class Machine:
    """What every job needs to know: the checkout, torch's threads, a folder for files, and whether to be quick."""

    sgb: str
    threads: int
    folder: Path
    quick: bool


class Side:
    """One process. Its job is set up when :meth:`ready` returns."""

    def __init__(self, machine: Machine, root: str, job: str, options: dict[str, Any]) -> None:
        self.log = tempfile.TemporaryFile("w+")
        environ = {name: value for name, value in os.environ.items() if name not in ("SGB_HOME", "HML_DATA")}
        path = (str(REPO), str(REPO / "benchmarks"), environ.get("PYTHONPATH", ""))
        environ.update(
            PYTHONPATH=os.pathsep.join(filter(None, path)),
            PYTHONDONTWRITEBYTECODE="1",  # the checkout stays as it is
            OMP_NUM_THREADS=str(machine.threads),
            MKL_NUM_THREADS=str(machine.threads),
        )
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sgb_pair.worker", root, job, str(machine.threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, env=environ, cwd=machine.folder,
        )  # fmt: skip
        self._send(options)

    def _send(self, message: Any) -> None:
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            self._failed()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            self._failed()
        return json.loads(line)

    def _failed(self) -> None:
        self.process.wait()
        self.log.seek(0)
        raise SystemExit(f"a process of the comparison failed ({self.process.args[3:5]}):\n{self.log.read()[-3000:]}")

    def ready(self) -> None:
        """Waits until the set-up is done."""
        self._answer()

    def turn(self) -> float:
        """Seconds that the job takes once."""
        self._send("turn")
        return self._answer()["seconds"]

    def end(self) -> dict[str, Any]:
        """Ends the process; what the job says at last, and ``peak_mb``, its largest resident memory."""
        self._send("end")
        result = self._answer()
        self.process.stdin.close()
        self.process.wait()
        self.log.close()
        return result

    def kill(self) -> None:
        """Ends the process if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def compare(
    machine: Machine, job: str, options: dict[str, Any], *, rounds: int, warm_up: int = 1, own: dict | None = None,
    theirs: dict | None = None,
) -> dict[str, Any]:
    """Both sides' median of ``rounds`` turns, taken alternately after ``warm_up`` turns each.

    Args:
        job: a name in ``worker.JOBS``.
        options: passed to the job; ``own`` and ``theirs`` are added on the one side and on the other.

    Returns:
        ``sgb_s``, ``ours_s`` (seconds), ``ratio`` = sgb / ours, ``spread``: (largest - smallest) / median of our turns,
        and ``sgb`` and ``ours``: what each job says at its end.
    """
    sides: dict[str, Side] = {}
    try:
        sides[SGB] = Side(machine, str(Path(machine.sgb).resolve()), job, {**options, **(theirs or {})})
        sides[OURS] = Side(machine, EMBEDDED, job, {**options, **(own or {})})
        for side in sides.values():
            side.ready()
        taken: dict[str, list[float]] = {SGB: [], OURS: []}
        for turn in range(warm_up + rounds):
            for name, side in sides.items():
                seconds = side.turn()
                if turn >= warm_up:
                    taken[name].append(seconds)
        facts = {name: side.end() for name, side in sides.items()}
    finally:
        for side in sides.values():
            side.kill()
    sgb, ours = (statistics.median(taken[name]) for name in (SGB, OURS))
    spread = (max(taken[OURS]) - min(taken[OURS])) / ours
    return {"sgb_s": sgb, "ours_s": ours, "ratio": sgb / ours, "spread": spread, **facts}
