"""What this process may use of the machine.

The standard library alone, because it is read before torch is loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_V1, _V2 = "cgroup", "cgroup2"


def usable_cores(root: Path = Path("/")) -> int:
    """CPU cores that this process may use, at least 1: its affinity mask, cut to a container's CPU limit.

    A limit between two whole numbers is rounded down: more threads than the limit pays for are stopped together until
    the next period begins.

    Args:
        root: where ``proc`` and ``sys`` are found; another folder in tests.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit(root)
    return cores if limit is None else max(min(cores, int(limit)), 1)


def cpu_limit(root: Path = Path("/")) -> float | None:
    """The smallest CPU limit of this process's control groups, in cores; None where there is none.

    It reads version 2's ``cpu.max`` and version 1's ``cpu.cfs_quota_us`` over ``cpu.cfs_period_us``, of the process's
    own group and of all groups above it, each of which limits the process.

    Args:
        root: as for :func:`usable_cores`.
    """
    limits = []
    for version, folder in _groups("cpu", root):
        if version == _V2:
            words = _words(folder / "cpu.max")
        else:
            words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        # Without a limit version 2 says "max" and version 1 a negative number.
        if len(words) == 2 and all(word.isdigit() for word in words) and int(words[0]) and int(words[1]):
            limits.append(int(words[0]) / int(words[1]))
    return min(limits, default=None)


def memory_limit(root: Path = Path("/")) -> int | None:
    """The smallest memory limit of this process's control groups, in bytes; None where there is none.

    Args:
        root: as for :func:`usable_cores`.
    """
    limits = []
    for version, folder in _groups("memory", root):
        words = _words(folder / ("memory.max" if version == _V2 else "memory.limit_in_bytes"))
        # Without a limit version 2 says "max" and version 1 a number near 2**63.
        if len(words) == 1 and words[0].isdigit() and int(words[0]) < 2**60:
            limits.append(int(words[0]))
    return min(limits, default=None)


def usable_memory(root: Path = Path("/")) -> int | None:
    """Main memory that this process and its children may use in all, in bytes; None where it is not known.

    Args:
        root: as for :func:`usable_cores`.
    """
    try:
        lines = (root / "proc/meminfo").read_text("utf-8").splitlines()
    except OSError:
        return memory_limit(root)
    total = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal:")]
    return min([*total, *filter(None, [memory_limit(root)])], default=None)


def _groups(controller: str, root: Path) -> Iterator[tuple[str, Path]]:
    """(version, folder) of the process's control group for a controller and of the groups above it, up to the mount.

    Inside a container the group's path may be the one outside, which does not exist here; the mount itself is then the
    container's group. So every folder on the way is tried.
    """
    mounts = _mounts(controller, root)
    for line in _lines(root / "proc/self/cgroup"):
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        version = _V2 if number == "0" and not controllers else _V1
        if version == _V2 or controller in controllers.split(","):
            for mount in mounts.get(version, ()):
                here = PurePosixPath(path.lstrip("/"))
                for folder in (here, *here.parents):
                    if ".." not in folder.parts:
                        yield version, mount / folder


def _mounts(controller: str, root: Path) -> dict[str, list[Path]]:
    """Where the controller's file systems are mounted: version -> folders."""
    found: dict[str, list[Path]] = {}
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        words, kind = before.split(), after.split()
        if len(words) < 5 or len(kind) < 3 or kind[0] not in (_V1, _V2):
            continue
        if kind[0] == _V2 or controller in kind[2].split(","):
            found.setdefault(kind[0], []).append(root / words[4].lstrip("/"))
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except OSError:  # not Linux, or a group that is not visible from here
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
