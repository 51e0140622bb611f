"""Runs that are killed or asked to stop at random moments: do they end as an uninterrupted one does?

    python benchmarks/interruptions.py [--kills 50] [--stops 30] [--sgb DIR] [--seed 0]

Two short stages with two loader workers and validation, on a mini-VG. Each trial starts the training in a process group
of its own, waits for a random time of at most the length of the whole run, and sends SIGKILL to the process (kills) or
SIGTERM to the group, half of the time twice within 40 ms as srun does (stops). Then the same command continues it.

It compares weights, momentum, F and Omega, bit by bit, and counts stops after the training's first step that did not
save. Exit code 0: all identical and all saved. Progress goes to stderr, one line of JSON to stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg
from maskrcnn_benchmark_hml.method.memory import StageMemory

REPO = Path(__file__).resolve().parents[1]
CONFIG = REPO / "configs" / "demo" / "relation.yaml"
SAVED = "all is saved, the same command goes on from there"
COMPLETE = "stage 2 of 2 ends after 16 iterations"


class Trials:
    """One benchmark, its data and the outcome of the uninterrupted run."""

    def __init__(self, folder: Path, sgb: str | None, config: Path, seed: int) -> None:
        self.folder, self.random = folder, random.Random(seed)
        self.words = [sys.executable, "-m", "maskrcnn_benchmark_hml", "run", *(["--sgb", sgb] if sgb else [])]
        self.words += ["--data", str(make_mini_vg(folder / "vg", images=SMALLEST, seed=0)),
                       "tools/relation_train_net.py", "--config-file", str(config), "--skip-test",
                       "HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "12,16", "SOLVER.IMS_PER_BATCH", "2",
                       "SOLVER.CHECKPOINT_PERIOD", "5", "SOLVER.VAL_PERIOD", "4", "SOLVER.PRE_VAL", "False",
                       "DATALOADER.NUM_WORKERS", "2", "MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE", "16"]
        self.environ = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
                        "PYTHONPATH": os.pathsep.join(filter(None, (str(REPO), os.environ.get("PYTHONPATH"))))}
        if not sgb:
            self.environ.pop("SGB_HOME", None)
        start = time.monotonic()
        code, said = self.run("whole")
        assert code == 0, said[-3000:]
        self.seconds, self.expected = time.monotonic() - start, outcome(folder / "whole")

    def run(self, name: str, number: int = 0, after: float = 0.0) -> tuple[int, str]:
        """Start the training in ``name``; send ``number`` after so many seconds. Exit status, and all it printed."""
        log = self.folder / f"{name}.log"
        with log.open("w") as said:
            process = subprocess.Popen([*self.words, "OUTPUT_DIR", str(self.folder / name)], stdout=said, stderr=said,
                                       env=self.environ, start_new_session=True)
        if number:
            try:
                process.wait(after)
            except subprocess.TimeoutExpired:
                self.send(process.pid, number)
        return process.wait(), log.read_text(errors="replace")

    def send(self, pid: int, number: int) -> None:
        if number == signal.SIGKILL:
            os.kill(pid, number)
            return
        os.killpg(pid, number)
        if self.random.random() < 0.5:
            time.sleep(0.04 * self.random.random())
            os.killpg(pid, number)

    def trial(self, at: int, number: int) -> dict:
        """Interrupt one run and continue it."""
        name, after = f"{signal.Signals(number).name.lower()}{at}", self.random.uniform(0.1, 1.0) * self.seconds
        code, said = self.run(name, number, after)
        started = "Start training" in said
        ended = code == 0 or COMPLETE in said  # the signal may come while the process of a complete run ends
        saved = number == signal.SIGKILL or not started or ended or (code == 128 + number and SAVED in said)
        code, resumed = self.run(name)
        same = code == 0 and equal(outcome(self.folder / name), self.expected)
        left = re.findall(r"interrupted in (.*?); all", said)
        print(f"{name}: after {after:.1f} s {left or ''} {'saved' if saved else 'NOT SAVED: ' + said[-1500:]}, "
              f"{'identical' if same else 'NOT IDENTICAL: ' + resumed[-1500:]}", file=sys.stderr, flush=True)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return {"saved": saved, "same": same}


def outcome(out: Path) -> dict:
    """What must agree."""
    last = torch.load(out / "model_final.pth", map_location="cpu", weights_only=False)
    memory = StageMemory.load(out / "hml" / "stage1" / "memory.pt")
    state = torch.load(out / "model_final.hml.pt", map_location="cpu", weights_only=True)
    return {"weights": last["model"], "momentum": last["optimizer"]["state"], "fisher": memory.fisher,
            "omega": memory.omega, "digest": memory.digest, "state": state["hml"]}


def equal(one: object, two: object) -> bool:
    """Bit by bit."""
    if torch.is_tensor(one):
        return torch.is_tensor(two) and one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="trials with SIGKILL (default: %(default)s)")
    parser.add_argument("--stops", type=int, default=30, help="trials with SIGTERM to the group (default: %(default)s)")
    parser.add_argument("--sgb", metavar="DIR", help="a checkout (default: the bundled benchmark)")
    parser.add_argument("--config", type=Path, default=CONFIG, metavar="FILE",
                        help="a relation config; for a checkout a small one of its own keys (default: the demo's)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), options.sgb, options.config, options.seed)
        numbers = [signal.SIGKILL] * options.kills + [signal.SIGTERM] * options.stops
        found = [trials.trial(at, number) for at, number in enumerate(numbers)]
    result = {"benchmark": options.sgb or "bundled", "kills": options.kills, "stops": options.stops,
              "identical": sum(one["same"] for one in found), "unsaved_stops": sum(not one["saved"] for one in found)}
    print(json.dumps(result))
    return int(result["identical"] != len(found) or result["unsaved_stops"] > 0)


if __name__ == "__main__":
    sys.exit(main())
