"""What make installs: said beforehand, with an interpreter's own torch if asked for, and progress that can be read."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

REPO = Path(__file__).resolve().parent.parent
if not (REPO / "bootstrap.py").is_file():
    pytest.skip("the Makefile's bootstrap.py is not in this tree", allow_module_level=True)
_spec = importlib.util.spec_from_file_location("bootstrap", REPO / "bootstrap.py")
bootstrap = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(bootstrap)


@pytest.fixture
def make(tmp_path):
    """``make(*words)`` in a copy of the set-up files, as in a clean clone; ``bootstrap.py`` does next to nothing."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    for name in ("Makefile", "setup.py"):
        shutil.copy(REPO / name, tmp_path)
    (tmp_path / "bootstrap.py").write_text("import os, sys; os.makedirs('.venv'); print('bootstrap', *sys.argv[1:])\n")

    def run(*words: str) -> str:
        words = ["make", f"PYTHON={sys.executable}", *words]
        environ = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "SYSTEM_TORCH")}
        done = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_make_hands_the_choice_of_torch_over_and_installs_once(make):
    assert "bootstrap .venv\n" in make(".venv/.installed")
    assert "bootstrap" not in make(".venv/.installed")


@pytest.mark.parametrize("value, words", [("1", "bootstrap .venv --system-torch\n"), ("0", "bootstrap .venv\n")])
def test_make_system_torch(make, value, words):
    assert words in make(".venv/.installed", f"SYSTEM_TORCH={value}")


def test_make_help_says_size_and_variable_and_tests_run_side_by_side(make):
    said = make("help")
    assert f"{bootstrap.SIZE} GB" in said and f"{bootstrap.SIZE_WITHOUT_TORCH} GB" in said and "SYSTEM_TORCH=1" in said
    assert '-m "not slow" -n auto --dist worksteal -x' in make("-n", "test", "ARGS=-x")


def test_make_test_oldest_says_what_it_needs_and_takes_the_oldest_torch(make):
    said = make("-n", "test-oldest", "OLDEST_PYTHON=python3.9")
    assert "python3.9 bootstrap.py .venv-oldest --oldest-torch" in said and "tests/report" in said
    assert "bootstrap.py .venv-oldest --system-torch" in make("-n", "test-oldest", "OLDEST_PYTHON=x", "SYSTEM_TORCH=1")
    with pytest.raises(AssertionError, match="needs python3.9 or python3.10"):
        make("test-oldest", "OLDEST_PYTHON=")
    assert bootstrap.oldest_torch() == ["torch==2.1.*", "torchvision==0.16.*", "numpy<2"]


def test_an_environment_with_this_interpreters_torch_sees_it_and_one_without_does_not(tmp_path):
    for name, shared in (("with", True), ("without", False)):
        bootstrap.make_venv(tmp_path / name, shared, "--without-pip")
        program = "import importlib.util as u, sys; sys.exit(0 if u.find_spec('torch') else 9)"
        found = subprocess.run([str(tmp_path / name / "bin" / "python"), "-I", "-c", program]).returncode == 0
        assert found == shared
        with pytest.raises(SystemExit, match="run make clean first"):
            bootstrap.make_venv(tmp_path / name, not shared)


@pytest.mark.parametrize(
    "versions, said",
    [
        ({}, "it has no torch"),
        ({"torch": "2.14.1+cu130"}, "it has no torchvision"),
        ({"torch": "1.13.1", "torchvision": "0.16.0"}, "its torch is 1.13.1, and 2.1 or newer is needed"),
        ({"torch": "2.1.0a0+git12", "torchvision": "0.15.2"}, "its torchvision is 0.15.2, and 0.16 or newer"),
        ({"torch": "2.1.0", "torchvision": "0.16.0"}, None),
    ],
)
def test_an_interpreter_that_cannot_serve_is_refused_before_anything_is_made(tmp_path, monkeypatch, versions, said):
    def version(name):
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(sys, "argv", ["bootstrap.py", str(tmp_path / "v"), "--system-torch"])
    monkeypatch.setattr(bootstrap, "install", lambda folder: 0)
    monkeypatch.setattr(bootstrap, "make_venv", lambda folder, system_torch: None)
    if said is None:
        assert bootstrap.main() == 0
        return
    with pytest.raises(SystemExit, match=said):
        bootstrap.main()
    assert not (tmp_path / "v").exists()


def test_size_and_duration_are_said_and_room_is_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, "missing_torch", lambda: "it has no torch")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=50e9))
    bootstrap.announce(tmp_path / "v", False)
    said = capsys.readouterr().out
    assert "5.8 GB" in said and "minutes" in said and "SYSTEM_TORCH=1" in said and "has torch: make" not in said
    monkeypatch.setattr(bootstrap, "missing_torch", lambda: None)
    bootstrap.announce(tmp_path / "v", False)
    assert f"{sys.executable} has torch: make SYSTEM_TORCH=1" in capsys.readouterr().out
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2e9))
    bootstrap.announce(tmp_path / "v", True)
    with pytest.raises(SystemExit, match=r"needs 5.8 GB, but .* has 2.0 GB free"):
        bootstrap.announce(tmp_path / "v", False)


@pytest.mark.parametrize(
    "line, told",
    [
        ("Collecting torch>=2.1", None),
        ("  Downloading torch-2.14.1-cp311-cp311-manylinux_2_28_x86_64.whl.metadata (30 kB)", None),
        ("  Downloading torch-2.14.1-cp311-cp311-linux_x86_64.whl (780.5 MB)", "  downloading torch, 780.5 MB"),
        ("Downloading nvidia_cublas-13.1.0.3-py3-none-any.whl (1.2 GB)", "  downloading nvidia_cublas, 1.2 GB"),
        ("  Downloading six-1.17.0-py2.py3-none-any.whl (11 kB)", None),
        ("  Downloading tqdm-4.67.1-py3-none-any.whl (1.1 MB)", None),
        ("Requirement already satisfied: torch>=2.1 in /x", None),
        ("Installing collected packages: mpmath, six, torch",
         "  installing 3 packages (this can take minutes on a slow disk)"),
        ("WARNING: Retrying (Retry(total=4))", "  WARNING: Retrying (Retry(total=4))"),
    ],
)
def test_pips_output_is_cut_to_what_somebody_who_waits_wants_to_know(line, told):
    assert bootstrap.shown(line) == told


def test_a_tool_of_the_shared_packages_gets_its_command_too(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(bootstrap, "run_pip", lambda folder, *words: asked.append(words) or 0)
    assert bootstrap.install(tmp_path) == 0
    assert asked == [("-e", f"{REPO}[dev]"), ("--force-reinstall", "--no-deps", "ruff")]
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ruff").touch()
    assert bootstrap.install(tmp_path) == 0 and len(asked) == 3
