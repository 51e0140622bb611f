"""Processes that begin with everything imported: seconds less for each, and each can really be killed.

For tests whose promise is about what a process does, not about how Python starts and ends in it.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..host.signal_run import log_items, send_after
from ..waiting import HUNG

_OURS = ("cli", "host.launch", "host.train", "training.trees", "training.stage_method")
_PRELOADED = [__name__, *(f"maskrcnn_benchmark_hml.{name}" for name in _OURS), "torchvision", "pycocotools.cocoeval"]


def _child(out: Path, err: Path, work: Callable[..., int | None], *words: object) -> None:
    import torch

    for number, path in ((1, out), (2, err)):
        with open(path, "a") as file:
            os.dup2(file.fileno(), number)
    torch.set_num_threads(1)
    sys.exit(work(*words))


def _hml(words: Sequence[str], number: int, step: int, items: Path | None) -> int:
    from maskrcnn_benchmark_hml.cli import main

    os.environ.pop("SGB_HOME", None)
    multiprocessing.set_start_method("fork", force=True)  # of loader workers, as in a process of its own
    if items is not None:
        log_items(str(items))
    if step:
        send_after(number, step)
    return main(list(words))


def _script(path: Path, arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(path.parent)
    sys.path[:0] = [str(path.parent), *environ.get("PYTHONPATH", "").split(os.pathsep)]
    sys.argv = [str(path), *arguments]
    runpy.run_path(str(path), run_name="__main__")


def _run(out: Path, err: Path, work: Callable[..., int | None], *words: object) -> int:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    process = context.Process(target=_child, args=(out, err, work, *words))
    process.start()
    process.join(HUNG)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode


def run_hml(
    words: Sequence[str], log: Path, number: int = 0, step: int = 0, items: Path | None = None
) -> tuple[int, str]:
    """Run ``hml`` with these words; returns its exit status (negative: killed by that signal) and all it printed.

    Args:
        log: file for what it prints.
        number: signal that it sends itself after its optimizer step number ``step``; step 0 never.
        items: file for the training items that it reads, one a line.
    """
    log.write_bytes(b"")
    code = _run(log, log, _hml, list(map(str, words)), number, step, items)
    return code, log.read_text(errors="replace")


def run_script(path: Path, arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str, str]:
    """Run a Python file in its own folder; returns exit status, stdout and stderr.

    Args:
        environ: its whole environment; PYTHONPATH acts.
    """
    out, err = (path.with_name(f"{path.name}.{name}") for name in ("out", "err"))
    out.write_bytes(b"")
    err.write_bytes(b"")
    code = _run(out, err, _script, path, list(map(str, arguments)), dict(environ))
    return code, out.read_text(errors="replace"), err.read_text(errors="replace")
