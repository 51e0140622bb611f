"""Runs ``hml run ...`` and writes, at each stage's end, what this process holds: parameters, F and raw Omega.

Not a test: a child process, started as a launcher starts our package, ``-m rank_run run ...``. The folder for the
files is HML_RANK_FILES. Batch norm is held in eval mode: hosts do not share its statistics between processes, so a
batch split in two is normalised otherwise than a whole one, with HML or without.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import torch

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.host import stage_driver
from maskrcnn_benchmark_hml.training import stage_method


def write_at_stage_end() -> None:
    original, begin = stage_driver.StageDriver.attached, stage_method.StageMethod.on_parameters
    first: dict[str, torch.Tensor] = {}

    def on_parameters(self, head):
        first.update({name: p.detach().clone() for name, p in head.named_parameters()})
        begin(self, head)

    @contextlib.contextmanager
    def attached(self):
        with original(self):
            yield
        fisher, omega = self.method.tracker.finish()
        parameters = {name: p.detach().clone() for name, p in self.head.named_parameters()}
        state = {
            "parameters": parameters,
            "moved": max(float((parameters[name] - first[name]).abs().max()) for name in parameters),
            "fisher": fisher, "omega": omega, "steps": self.method.tracker.steps, "world": self.world,
            "rising": self.method.tracker.rising_steps,
        }
        folder = Path(os.environ["HML_RANK_FILES"])
        torch.save(state, folder / f"stage{self.stage.index}.rank{self.rank}.pt")

    stage_driver.StageDriver.attached, stage_method.StageMethod.on_parameters = attached, on_parameters


def hold_batch_norm() -> None:
    norm = torch.nn.modules.batchnorm._BatchNorm
    norm.train = lambda self, mode=True: torch.nn.Module.train(self, False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    write_at_stage_end()
    hold_batch_norm()
    sys.exit(main())
