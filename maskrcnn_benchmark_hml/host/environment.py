"""What users trip over around a run: shared memory, open files, disk, folders, MPLBACKEND. Checked before it starts."""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import HMLError
from ..matplotlib_import import import_matplotlib
from . import shared_memory

#: Values of DTYPE. SGB trains in float32 under any other, without a word.
PRECISIONS = ("float32", "float16")
_MB = 1024**2
#: More open files than any run needs; some programs walk through all numbers up to the limit.
_FILES = 65536
#: Open files of a run without loaders: libraries, logs, data.
_OWN_FILES = 256
#: Set by starters of several processes for each of them; without WORLD_SIZE each would train by itself.
_TASKS = {"SLURM_STEP_NUM_TASKS": "srun", "OMPI_COMM_WORLD_SIZE": "mpirun"}
#: Tensors of one picture, each of which takes a file number while it is handed over by a worker.
_TENSORS = 10


def prepare_process() -> None:
    """At the start of a run: raise the limit of open files, forget an MPLBACKEND that is not there.

    Raises:
        HMLError: no folder for temporary files, or one of several processes that do not know of each other.
    """
    check_tasks(os.environ)
    raise_file_limit()
    if os.environ.get("MPLBACKEND") and not import_matplotlib():
        say(f"MPLBACKEND is {os.environ['MPLBACKEND']}, which is not installed here; it is ignored")
        os.environ["MPLBACKEND"] = "agg"  # the host, or a package of it, may import matplotlib too
    try:
        tempfile.gettempdir()
    except OSError as error:
        raise HMLError("no folder for temporary files can be written; set TMPDIR to one that can") from error


def check_tasks(environ: Mapping[str, str]) -> None:
    """HMLError for one of several tasks of srun or mpirun without WORLD_SIZE: all would train in one folder."""
    for name, starter in _TASKS.items():
        tasks = int(environ.get(name) or 1)
        if tasks > 1 and "WORLD_SIZE" not in environ:
            raise HMLError(
                f"{starter} has started {tasks} tasks, but WORLD_SIZE is not set, so each would train by itself in the "
                f"same folder; start one task per node, and the processes in it with torchrun --nproc_per_node={tasks} "
                "-m maskrcnn_benchmark_hml run ... (docs/on-a-cluster.md)"
            )


def raise_file_limit() -> int:
    """Raise the soft limit of open files (``ulimit -n``) to the hard one, at most 65,536; returns what is in force."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return _FILES if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # macOS allows less than it names; the limit stays as it was
        return soft
    return wanted


def check_run(cfg: Mapping[str, Any], parsed: argparse.Namespace, trains: bool) -> None:
    """Check shared memory, open files and disk for a run with these settings.

    Where shared memory is too small, ``DATALOADER.NUM_WORKERS`` is lowered in the script's own arguments.

    Args:
        cfg: the merged settings.
        parsed: the script's arguments; its ``opts`` may be extended.
        trains: whether the script trains, or only tests.

    Raises:
        HMLError: OUTPUT_DIR cannot be written, or has no room for a checkpoint; a DTYPE that SGB would ignore.
    """
    if (given := cfg.get("DTYPE", PRECISIONS[0])) not in PRECISIONS:
        raise HMLError(f"DTYPE is {given!r}; use one of {', '.join(PRECISIONS)} (float16 is bfloat16 on a CPU)")
    workers = _lower_workers(cfg, parsed, trains)
    limit, needed = raise_file_limit(), needed_files(cfg, workers)
    if needed > limit:
        say(f"{limit} open files are allowed and {workers} loader workers may need {needed}: if the run ends with "
             f"'Too many open files', give ulimit -n {needed} first, or use fewer DATALOADER.NUM_WORKERS")
    if cfg["OUTPUT_DIR"]:
        check_disk(cfg["OUTPUT_DIR"], known_checkpoint_bytes(cfg) if trains else 0)


def _lower_workers(cfg: Mapping[str, Any], parsed: argparse.Namespace, trains: bool) -> int:
    """The number of workers that fit into /dev/shm; put into the script's arguments if it is not the given one."""
    wanted, free = cfg["DATALOADER"]["NUM_WORKERS"], shared_memory.free_bytes()
    world = int(os.environ.get("WORLD_SIZE", 1))
    local_world = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    sizes: dict[str, Any] = {"trains": trains, "world": world, "local_world": local_world}
    workers = shared_memory.fitting_workers(cfg, free, **sizes)
    if free is not None and workers < wanted:
        size = _up(shared_memory.needed_bytes(cfg, wanted, **sizes))
        cause = (f"/dev/shm has {free // _MB} MB free, and the batches of {wanted} loader workers can fill {size} MB, "
                 "and then the run would hang")  # fmt: skip
        remedy = f"start the container with docker run --shm-size={size}m or more"
        if not hasattr(parsed, "opts"):
            raise HMLError(f"{cause}; set DATALOADER.NUM_WORKERS to {workers}, or {remedy}")
        say(f"{cause}: the run uses DATALOADER.NUM_WORKERS {workers}; for all {wanted}, {remedy}")
        parsed.opts = [*(parsed.opts or []), "DATALOADER.NUM_WORKERS", str(workers)]
    return workers


def needed_files(cfg: Mapping[str, Any], workers: int) -> int:
    """File numbers that a process's loaders can take, on top of the program's own."""
    pictures = max(cfg["SOLVER"]["IMS_PER_BATCH"], cfg["TEST"]["IMS_PER_BATCH"])
    world = int(os.environ.get("WORLD_SIZE", 1))
    batches = shared_memory.PREFETCH * workers + 1 if workers else 0
    return _OWN_FILES + _TENSORS * -(-pictures // world) * batches


def known_checkpoint_bytes(cfg: Mapping[str, Any]) -> int:
    """A lower bound of one checkpoint's size, from files that are there: the newest checkpoint, else the detector."""
    folder = Path(cfg["OUTPUT_DIR"])
    written = [*folder.glob("model_*.pth"), *folder.glob("hml/stage*/model_*.pth")]
    if written:
        return max(written, key=lambda path: path.stat().st_mtime_ns).stat().st_size
    given = (cfg["MODEL"].get(key) for key in ("PRETRAINED_DETECTOR_CKPT", "WEIGHT"))
    return max((Path(path).stat().st_size for path in given if path and Path(path).is_file()), default=0)


def check_disk(output_dir: str, checkpoint: int) -> None:
    """Check that a folder can be written and has room for one checkpoint.

    Args:
        output_dir: it need not exist yet.
        checkpoint: bytes; 0 if not known.

    Raises:
        HMLError: not a folder, not writable, or not enough room.
    """
    folder = existing_folder(output_dir)
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise HMLError(f"the folder {output_dir} cannot be written ({folder} is read-only, or not a folder); give "
                       "another OUTPUT_DIR")  # fmt: skip
    free = shutil.disk_usage(folder).free
    if free < checkpoint:
        raise HMLError(f"the disk of {output_dir} has {free // _MB} MB free, and one checkpoint of this run takes at "
                       f"least {_up(checkpoint)} MB; free some space, or give another OUTPUT_DIR")  # fmt: skip


def existing_folder(path: str | Path) -> Path:
    """The nearest of a path and the folders above it that exists."""
    path = Path(path).absolute()
    return next(place for place in (path, *path.parents) if place.exists())


def _up(size: int) -> int:
    return -(-size // _MB)


def say(line: str) -> None:
    """One line from one process of a machine."""
    if int(os.environ.get("LOCAL_RANK", 0)) == 0:
        print(f"hml: {line}", file=sys.stderr)
