"""``hml`` in processes that begin with everything imported: seconds less for each, and each can really be killed."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ..host.signal_run import send_after
from ..waiting import HUNG

_OURS = ("cli", "host.launch", "host.train", "training.trees", "training.hooks")
_PRELOADED = [__name__, *(f"maskrcnn_benchmark_hml.{name}" for name in _OURS), "torchvision", "pycocotools.cocoeval"]


def _child(words: Sequence[str], log: Path, number: int, step: int) -> None:
    import torch

    from maskrcnn_benchmark_hml.cli import main

    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    os.environ.pop("SGB_HOME", None)
    if step:
        send_after(number, step)
    sys.exit(main(list(words)))


def run_hml(words: Sequence[str], log: Path, number: int = 0, step: int = 0) -> tuple[int, str]:
    """Run ``hml`` with these words; returns its exit status (negative: killed by that signal) and all it printed.

    Args:
        log: file for what it prints.
        number: signal that it sends itself after its optimizer step number ``step``; step 0 never.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_child, args=(list(map(str, words)), log, number, step))
    process.start()
    process.join(HUNG)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode, log.read_text(errors="replace")
