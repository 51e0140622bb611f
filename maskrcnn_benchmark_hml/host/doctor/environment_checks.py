"""The doctor's rows on the environment: cores, shared memory, open files, disk, folders, MPLBACKEND, processes."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...machine import usable_cores
from ...matplotlib_import import import_matplotlib
from .. import shared_memory
from ..environment import existing_folder
from .finding import BREAKS, HANDLED, OK, PARTLY, Finding

_GB = 1024**3
#: SGB's usual training of PredCls: 12 pictures of at most 600 x 1000, 4 workers; one picture at a time in tests.
_USUAL: dict[str, Any] = {
    "SOLVER": {"IMS_PER_BATCH": 12}, "TEST": {"IMS_PER_BATCH": 1},
    "INPUT": {"MIN_SIZE_TRAIN": (600,), "MAX_SIZE_TRAIN": 1000, "MIN_SIZE_TEST": 600, "MAX_SIZE_TEST": 1000},
    "DATALOADER": {"NUM_WORKERS": 4, "ASPECT_RATIO_GROUPING": True, "SIZE_DIVISIBILITY": 32},
}  # fmt: skip
#: Checkpoint and resume file of SGB's full model, with room for the next pair.
_USUAL_DISK = 10 * _GB
_FEW_FILES = 4096


def check_environment() -> Iterator[Finding]:
    """Everything around a run that is neither library nor checkout nor data."""
    yield _cores()
    yield _start_method()
    yield _shared_memory()
    yield _open_files()
    yield _disk(Path.cwd())
    yield from _folders()
    if os.environ.get("MPLBACKEND"):
        yield _mplbackend()


def _cores() -> Finding:
    usable, present = usable_cores(), os.cpu_count() or 1
    if usable == 1:
        return Finding("cores", HANDLED, "1: the training and its loader workers share it")
    if usable < present:
        return Finding("cores", HANDLED, f"{usable} of the machine's {present} (affinity, or a container's limit); "
                       "DATALOADER.NUM_WORKERS above that gains nothing")  # fmt: skip
    return Finding("cores", OK, str(usable))


def _start_method() -> Finding:
    method = multiprocessing.get_context().get_start_method()
    if method == "fork":
        return Finding("loader workers", OK, "started by fork")
    return Finding("loader workers", HANDLED, f"started by {method}: each imports the benchmark again, which takes "
                   "some seconds per loader")  # fmt: skip


def _shared_memory() -> Finding:
    free = shared_memory.free_bytes()
    if free is None:
        return Finding("/dev/shm", OK, "none on this system; loader workers do not need it")
    fits = shared_memory.fitting_workers(_USUAL, free, trains=True)
    wanted = _USUAL["DATALOADER"]["NUM_WORKERS"]
    if fits == wanted:
        return Finding("/dev/shm", OK, f"{free / _GB:.1f} GB free")
    needed = shared_memory.needed_bytes(_USUAL, wanted, trains=True)
    return Finding("/dev/shm", HANDLED, f"{free / _GB:.2f} GB free; with 12 pictures a batch {wanted} loader workers "
                   f"can fill {needed / _GB:.1f} GB, so hml run would use {fits}; docker run --shm-size=2g or more")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _FEW_FILES:
        return Finding("open files", OK, "unlimited" if soft == resource.RLIM_INFINITY else f"{soft:,}")
    if hard == resource.RLIM_INFINITY or hard > soft:
        limit = "no limit" if hard == resource.RLIM_INFINITY else f"{hard:,}"
        return Finding("open files", HANDLED, f"{soft:,}; hml run raises it as far as the hard limit allows ({limit})")
    return Finding("open files", PARTLY, f"{soft:,}, and the hard limit is the same: large batches and many workers "
                   "may end with 'Too many open files'; docker run --ulimit nofile=65536, or ask the administrator")


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    if free < _USUAL_DISK:
        return Finding("disk", HANDLED, f"{free / _GB:.1f} GB free in {folder}; SGB's full model needs about "
                       f"{_USUAL_DISK // _GB} GB for its checkpoints; hml run stops at the start if not one fits")
    return Finding("disk", OK, f"{free / _GB:.0f} GB free in {folder}")


def _folders() -> Iterator[Finding]:
    """Folders that libraries write into on their own."""
    try:
        yield Finding("temporary files", OK, tempfile.gettempdir())
    except OSError:
        yield Finding("temporary files", BREAKS, "no folder can be written; set TMPDIR to one that can")
    home = os.environ.get("HOME") or "/"
    config = os.environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    cache = os.environ.get("XDG_CACHE_HOME") or f"{home}/.cache"
    for name, place, remedy in (
        ("matplotlib's folder", os.environ.get("MPLCONFIGDIR") or f"{config}/matplotlib",
         "matplotlib searches the fonts at each start; set MPLCONFIGDIR to a folder that can be written"),
        ("torch's folder", os.environ.get("TORCH_HOME") or f"{cache}/torch",
         "a fork's downloads through torch fail; set TORCH_HOME to a folder that can be written"),
    ):  # fmt: skip
        nearest = existing_folder(place)
        writable = nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
        yield Finding(name, OK if writable else HANDLED, place if writable else f"{place} cannot be written; {remedy}")


def _mplbackend() -> Finding:
    if import_matplotlib():
        return Finding("MPLBACKEND", OK, os.environ["MPLBACKEND"])
    return Finding("MPLBACKEND", HANDLED, f"{os.environ['MPLBACKEND']} is not installed here; hml ignores it; unset "
                   "it for other programs")  # fmt: skip
