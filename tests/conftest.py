"""For every test: OpenMP's environment, what a run leaves behind, and the number of processes of ``-n auto``."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import pytest

from maskrcnn_benchmark_hml.machine import usable_cores, usable_memory
from maskrcnn_benchmark_hml.openmp import limit_spinning

#: Main memory for a process of tests and the runs that it starts, in bytes.
MEMORY = 3 * 2**30
#: Disk for the temporary files of the tests in progress, in bytes; those of a test that passes are removed.
DISK = 4 * 2**30

limit_spinning()
# The tests' operations are too small to gain from threads; processes side by side use the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_auto_num_workers() -> int:
    """As many as there are cores, and as memory allows."""
    memory = usable_memory()
    return usable_cores() if memory is None else max(min(usable_cores(), memory // MEMORY), 1)


def pytest_sessionstart(session: pytest.Session) -> None:
    """A full disk is said at once, and not by hundreds of failures in the middle."""
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < DISK and not hasattr(session.config, "workerinput"):
        pytest.exit(
            f"{tempfile.gettempdir()} has {free / 2**30:.1f} GB free and the tests need {DISK / 2**30:.0f}; "
            "free some or set TMPDIR to a folder on another disk", returncode=pytest.ExitCode.USAGE_ERROR,
        )  # fmt: skip


@pytest.fixture(autouse=True)
def _process_as_it_was() -> Iterator[None]:
    """A run inside this process adds HML's keys to the benchmark's settings and names its data in the environment.

    The next test of this process, whichever that is, must find neither.
    """
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)
    settings = getattr(sys.modules.get("maskrcnn_benchmark.config"), "cfg", None)
    if isinstance(settings, dict):  # not a stand-in's
        settings.pop("HML", None)
