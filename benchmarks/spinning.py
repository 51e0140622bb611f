"""What OpenMP's waiting costs: the demo's training step under several settings, on a quiet and on a busy machine.

    python benchmarks/spinning.py [--busy N ...] [--rounds N] [--steps N] [--threads N]

At the end of every parallel piece of work OpenMP's threads wait for the slowest one. By default they spin: they ask
again and again, which is fastest as long as each thread has a core to itself, and takes the core from the thread
waited for where it has not. Each setting runs MOTIFS in PredCls as ``hml demo`` does, in a process of its own, the
settings taking turns, once for each number of busy processes beside it. A step is the time from one optimizer step to
the next, the first three left out; the figure is the median over all rounds. It prints a table, then one line of JSON
as its last line.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg
from maskrcnn_benchmark_hml.experiments.presets import run_overrides

WARM_UP = 3
VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "OMP_NUM_THREADS")
#: Name in the table -> environment. libgomp reads GOMP_SPINCOUNT, libiomp reads KMP_BLOCKTIME (milliseconds).
SETTINGS: dict[str, dict[str, str]] = {
    "default": {},
    "spin 10000": {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"},
    "spin 3000": {"GOMP_SPINCOUNT": "3000", "KMP_BLOCKTIME": "1"},
    "spin 1000": {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "1"},
    "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def child(times: str, words: list[str]) -> int:
    """In a process of its own: ``hml run WORDS``, writing the time of each optimizer step."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    from maskrcnn_benchmark_hml.cli import dispatch

    taken: list[float] = []
    register_optimizer_step_post_hook(lambda *_: taken.append(time.perf_counter()))
    code = dispatch(["run", *words])
    Path(times).write_text(json.dumps(taken))
    return code


@contextlib.contextmanager
def busy(number: int) -> Iterator[None]:
    """``number`` processes that compute without end, while the block runs."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def step_times(data: Path, setting: dict[str, str], options: argparse.Namespace) -> list[float]:
    """Seconds of each step of a run under a setting."""
    environ = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environ |= {"OMP_NUM_THREADS": str(options.threads)} if options.threads else {}
    config, overrides = run_overrides("motifs", "predcls", data)
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times.json"
        words = [
            "--data", str(data), "tools/relation_train_net.py", "--skip-test", "--config-file", str(config),
            "OUTPUT_DIR", str(Path(folder) / "out"), "SOLVER.MAX_ITER", str(options.steps + WARM_UP + 1),
            "SOLVER.TO_VAL", "False", *overrides,
        ]  # fmt: skip
        command = [sys.executable, __file__, "--child", str(times), *words]
        done = subprocess.run(command, capture_output=True, text=True, env={**environ, **setting})
        if done.returncode:
            raise SystemExit((done.stdout + done.stderr)[-3000:])
        taken = json.loads(times.read_text())
    return [after - before for before, after in zip(taken[WARM_UP:], taken[WARM_UP + 1 :])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 3], help="busy processes beside (default: 0 3)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each setting (default: 3)")
    parser.add_argument("--steps", type=int, default=12, help="timed steps of a turn (default: 12)")
    parser.add_argument("--threads", type=int, help="OMP_NUM_THREADS (default: torch's own choice)")
    options = parser.parse_args()
    taken: dict[int, dict[str, list[float]]] = {}
    loads: dict[int, list[float]] = {number: [] for number in options.busy}
    with tempfile.TemporaryDirectory() as folder:
        data = make_mini_vg(Path(folder) / "vg", images=SMALLEST, seed=0)
        turns = [(number, _) for number in options.busy for _ in range(options.rounds)]
        for number, _ in tqdm(turns, unit="round", disable=None):
            with busy(number):
                for name, setting in SETTINGS.items():
                    steps = step_times(data, setting, options)
                    taken.setdefault(number, {}).setdefault(name, []).extend(steps)
                    loads[number].append(os.getloadavg()[0])
    rows = [{"busy": number, "setting": name, "step_s": round(statistics.median(steps), 4),
             "to_default": round(statistics.median(steps) / statistics.median(of["default"]), 3)}
            for number, of in taken.items() for name, steps in of.items()]  # fmt: skip
    for number, load in loads.items():
        print(f"load average with {number} busy processes: {min(load):.1f} to {max(load):.1f}")
    print(f"{'busy processes':>14}  {'setting':<12}{'step':>9}{'to default':>12}")
    for row in rows:
        print(f"{row['busy']:>14}  {row['setting']:<12}{row['step_s']:>8.3f}s{row['to_default']:>12.2f}")
    print(json.dumps({"benchmark": "spinning", "rows": rows}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        sys.exit(child(sys.argv[2], sys.argv[3:]))
    main()
