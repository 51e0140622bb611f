"""What a process may use: affinity, and the limits of control groups as containers and batch systems set them."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from maskrcnn_benchmark_hml import machine

from . import conftest

GIB = 2**30
V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw,nsdelegate"
V1 = (
    "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "34 31 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
)
OWN_V1 = "4:memory:/job/one\n3:cpu,cpuacct:/job/one\n0::/"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Writes a machine's files: ``root(mountinfo, cgroup, {path below /sys/fs/cgroup: text})``; it has 16 cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)

    def write(mounts, own, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/mountinfo").write_text(mounts + "\n")
        (tmp_path / "proc/self/cgroup").write_text(own + "\n")
        (tmp_path / "proc/meminfo").write_text("MemTotal:       67108864 kB\nMemFree:  1 kB\n")
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n")
        return tmp_path

    return write


@pytest.mark.parametrize(
    "mounts, own, files, cores",
    [
        (V2, "0::/", {}, 16),
        (V2, "0::/", {"cpu.max": "max 100000"}, 16),
        (V2, "0::/", {"cpu.max": "200000 100000"}, 2),
        (V2, "0::/", {"cpu.max": "3200000 100000"}, 16),  # a limit above the cores
        (V2, "0::/", {"cpu.max": "50000 100000"}, 1),  # half a core
        (V2, "0::/", {"cpu.max": "350000 100000"}, 3),
        (V2, "0::/job/one", {"cpu.max": "max 100000", "job/cpu.max": "400000 100000", "job/one/cpu.max": "max 1"}, 4),
        (V2, "0::/docker/outside", {"cpu.max": "200000 100000"}, 2),  # the path is the one outside the container
        (V2, "0::/../above", {"cpu.max": "200000 100000"}, 2),
        (V1, OWN_V1, {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "100000"}, 16),
        (V1, OWN_V1, {"cpu,cpuacct/job/cpu.cfs_quota_us": "60000", "cpu,cpuacct/job/cpu.cfs_period_us": "20000"}, 3),
        ("", "", {}, 16),
    ],
)
def test_cores_are_cut_to_the_limit_of_every_control_group(root, mounts, own, files, cores):
    assert machine.usable_cores(root(mounts, own, files)) == cores


def test_a_machine_without_control_groups_or_affinity(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    assert machine.usable_cores(tmp_path) == 5
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.usable_cores(tmp_path) == 1
    assert machine.usable_memory(tmp_path) is None


@pytest.mark.parametrize(
    "mounts, own, files, limit",
    [
        (V2, "0::/", {"memory.max": "max"}, 64),
        (V2, "0::/job", {"memory.max": f"{8 * GIB}", "job/memory.max": "max"}, 8),
        (V1, OWN_V1, {"memory/job/one/memory.limit_in_bytes": f"{4 * GIB}"}, 4),
        (V1, OWN_V1, {"memory/memory.limit_in_bytes": "9223372036854771712"}, 64),
    ],
)
def test_memory_is_cut_to_the_limit_of_every_control_group(root, mounts, own, files, limit):
    assert machine.usable_memory(root(mounts, own, files)) == limit * GIB


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity mask")
def test_the_affinity_of_this_process_counts():
    mask = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mask)})
    try:
        assert machine.usable_cores() == 1
    finally:
        os.sched_setaffinity(0, mask)


@pytest.mark.parametrize("cores, memory, processes", [(2, 24 * GIB, 2), (16, 7 * GIB, 2), (4, GIB, 1), (3, None, 3)])
def test_tests_run_in_as_many_processes_as_cores_and_memory_allow(monkeypatch, cores, memory, processes):
    monkeypatch.setattr(conftest, "usable_cores", lambda: cores)
    monkeypatch.setattr(conftest, "usable_memory", lambda: memory)
    assert conftest.pytest_xdist_auto_num_workers() == processes


@pytest.mark.parametrize("worker", [False, True])
def test_a_full_disk_ends_the_tests_at_once(monkeypatch, worker):
    monkeypatch.setattr(conftest.shutil, "disk_usage", lambda folder: SimpleNamespace(free=GIB))
    session = SimpleNamespace(config=SimpleNamespace(workerinput={}) if worker else SimpleNamespace())
    if worker:  # the first process has said it
        conftest.pytest_sessionstart(session)
    else:
        with pytest.raises(pytest.exit.Exception, match="has 1.0 GB free and the tests need 4; free some"):
            conftest.pytest_sessionstart(session)
