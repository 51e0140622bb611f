"""Runs ``hml run ...`` and sends itself a signal after a given optimizer step; logs which items each step saw.

Not a test: what warm_run.py calls, and a child process of tests/upstream. Usage:
signal_run.py LOG SIGNAL STEP -- <arguments of hml run>.
STEP counts optimizer steps of this process; 0 never sends. A negative SIGNAL goes to its loader workers too.
"""

from __future__ import annotations

import os
import subprocess
import sys

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.training import stage_loader


def log_items(path: str) -> None:
    original = stage_loader.SeededItems.__getitem__

    def logged(self, item):
        with open(path, "a") as log:
            log.write(f"{item[0]} {item[1]}\n")
        return original(self, item)

    stage_loader.SeededItems.__getitem__ = logged


def send_after(number: int, step: int) -> None:
    seen = 0
    if number < 0:
        os.setpgid(0, 0)

    def count(optimizer, args, kwargs) -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            if number > 0:
                os.kill(os.getpid(), number)
            else:  # by another process: a worker obeys its own
                subprocess.run(["kill", f"-{-number}", "--", f"-{os.getpgrp()}"])

    register_optimizer_step_post_hook(count)


if __name__ == "__main__":
    torch.set_num_threads(1)
    log, number, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    log_items(log)
    if step:
        send_after(number, step)
    sys.exit(main(["run", *sys.argv[5:]]))
