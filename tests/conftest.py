"""For every test: OpenMP's environment, what a run leaves behind, and the number of processes of ``-n auto``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from maskrcnn_benchmark_hml.machine import usable_cores, usable_memory
from maskrcnn_benchmark_hml.openmp import limit_spinning

#: Main memory for a process of tests and the runs that it starts, in bytes.
MEMORY = 3 * 2**30

limit_spinning()
# The tests' operations are too small to gain from threads; processes side by side use the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.hookimpl(optionalhook=True)  # pytest-xdist's
def pytest_xdist_auto_num_workers() -> int:
    """As many as there are cores, and as memory allows."""
    memory = usable_memory()
    return usable_cores() if memory is None else max(min(usable_cores(), memory // MEMORY), 1)


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
