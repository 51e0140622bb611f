"""A copy of the repository, and its tests on a mutant in it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from .changes import Mutant, apply

REPO = Path(__file__).resolve().parents[2]
PACKAGE = "maskrcnn_benchmark_hml"


def tests_of(file: str) -> str:
    """The tests of a file of the package: the folder of its folder, or the test file of a file."""
    first = Path(file).parts[1]
    tests = f"tests/test_{first}" if first.endswith(".py") else f"tests/{first}"
    if not (REPO / tests).exists():
        sys.exit(f"{tests} does not exist, so nothing tests {file}")
    return tests


class Watch:
    """Plugin of pytest: notes for each test how long it takes, the functions of the package it calls, and processes.

    What a fixture calls that several tests share counts for each test that has the fixture.
    """

    def __init__(self, package: Path):
        self.package = f"{package}{os.sep}"
        self.times: Counter[str] = Counter()
        self.calls: dict[str, set] = defaultdict(set)  # of a test or a fixture: (file, first line) or "process"
        self.fixtures: dict[str, list[str]] = {}
        self.owner = ""
        self._codes: dict[int, object] = {}
        sys.addaudithook(self._audit)
        sys.settrace(self._trace)

    def _trace(self, frame, event: str, _) -> None:
        self._codes[id(frame.f_code)] = frame.f_code

    def _audit(self, event: str, _) -> None:
        if event in ("subprocess.Popen", "os.fork", "os.posix_spawn", "os.system"):
            self.calls[self.owner].add("process")

    def _belongs_to(self, owner: str) -> None:
        """What was called so far belongs to the present owner, what follows to another one."""
        codes, self._codes = self._codes, {}
        own = [code for code in codes.values() if code.co_filename.startswith(self.package)]
        self.calls[self.owner].update((code.co_filename[len(self.package) :], code.co_firstlineno) for code in own)
        self.owner = owner

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        self._belongs_to(item.nodeid)
        self.fixtures[item.nodeid] = list(item.fixturenames)
        result = yield
        self._belongs_to("")
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):
        before = self.owner
        if fixturedef.scope != "function":
            self._belongs_to(fixturedef.argname)
        result = yield
        self._belongs_to(before)
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.times[report.nodeid] += report.duration

    def found(self) -> dict[str, list]:
        """Of each test, the fastest first, what it calls; of "" what is called outside tests."""
        self._belongs_to("")
        tests = {test: set().union(*(self.calls[name] for name in (test, *self.fixtures[test])))
                 for test in sorted(self.times, key=self.times.__getitem__)}  # fmt: skip
        return {test: sorted(map(list, calls - {"process"})) + ["process"] * ("process" in calls)
                for test, calls in {**tests, "": self.calls[""]}.items()}  # fmt: skip


class InOrder:
    """Plugin of pytest: runs these tests alone, in their order, and writes the first that fails."""

    def __init__(self, tests: list[str], failed: Path):
        self.place = {test: at for at, test in enumerate(tests)}
        self.failed = failed

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.place), key=lambda i: self.place[i.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.failed.exists():
            self.failed.write_text(report.nodeid)


class Copy:
    """A copy of the repository in which mutants are tried."""

    def __init__(self, work: Path, limit: float):
        self.folder, self.limit = work / "copy", limit
        self.report = work / "report"
        left_out = shutil.ignore_patterns(".git", ".venv", "__pycache__", "outputs", "output", "build", ".*_cache")
        shutil.copytree(REPO, self.folder, ignore=left_out)
        self.calls: dict[str, dict[str, list]] = {}

    def try_mutant(self, mutant: Mutant, number: int) -> tuple[str, str]:
        """(outcome, the test that failed) of one mutant; the file is then as before."""
        tests, path = self.tests_for(mutant), self.folder / mutant.file
        if not tests:
            return "no test calls it", ""
        text, written = path.read_text(), path.stat().st_mtime
        path.write_text(apply(mutant, text))
        os.utime(path, (written + number, written + number))  # Python compiles again what has another time in seconds
        outcome = self.run(tests)
        path.write_text(text)
        os.utime(path, (written, written))
        return outcome

    def tests_for(self, mutant: Mutant) -> list[str]:
        """The tests that may notice the mutant, the fastest first."""
        place = tests_of(mutant.file)
        if place not in self.calls:
            self.calls[place] = self._watch(place)
        calls, file = self.calls[place], str(Path(*Path(mutant.file).parts[1:]))
        functions = [[file, line] for line in mutant.functions]
        outside = not functions or any(function in calls[""] for function in functions)
        return [test for test, called in calls.items()
                if test and (outside or "process" in called or any(one in called for one in functions))]  # fmt: skip

    def _watch(self, place: str) -> dict[str, list]:
        print(f"running {place} without a change", file=sys.stderr, flush=True)
        if (outcome := in_child(self._watched, place, limit=20 * self.limit)) != "passed":
            sys.exit(f"the tests in {place} do not pass without a change ({outcome}); correct them first")
        return json.loads(self.report.read_text())

    def _watched(self, place: str) -> int:
        watch = Watch(self.folder / PACKAGE)
        status = self._pytest([place], watch)
        self.report.write_text(json.dumps(watch.found()))
        return status

    def run(self, tests: list[str]) -> tuple[str, str]:
        """(passed, failed or time limit; the test that failed) of these tests in their order."""
        self.report.unlink(missing_ok=True)
        plugin = InOrder(tests, self.report)
        outcome = in_child(self._pytest, tests, plugin, limit=self.limit)
        return outcome, self.report.read_text() if self.report.exists() else ""

    def _pytest(self, tests: list[str], plugin: object) -> int:
        """Run pytest here, in this folder; not to be called outside a child process."""
        os.chdir(self.folder)
        os.environ.update(PYTHONPATH=str(self.folder), OMP_NUM_THREADS="1")
        sys.path.insert(0, str(self.folder))
        words = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"]
        return int(pytest.main([*words, *sorted({test.split("::")[0] for test in tests})], plugins=[plugin]))


def in_child(function: Callable[..., int], *values: object, limit: float) -> str:
    """``passed`` (0 returned), ``failed`` or ``time limit`` of a function in a copy of this process, without output.

    Its memory starts as this process's, which has imported what takes long and nothing of the package. In the end all
    processes that it started have ended too.
    """
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in range(3):
                os.dup2(nothing, stream)
            status = function(*values)
        finally:
            os._exit(status)
    ends, status = time.monotonic() + limit, None
    try:
        while status is None and time.monotonic() < ends:
            pid, found = os.waitpid(child, os.WNOHANG)
            status = found if pid else time.sleep(0.05)
        return "time limit" if status is None else "failed" if status else "passed"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        if status is None:
            os.waitpid(child, 0)
