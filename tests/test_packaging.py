"""The wheel: built without torch, complete, and nothing of it shadows a user's own benchmark."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from maskrcnn_benchmark_hml import __version__

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names in the wheel, built outside the checkout in a process where importing torch fails."""
    pytest.importorskip("setuptools", minversion="70.1", reason="building a wheel needs setuptools >= 70.1")
    work = tmp_path_factory.mktemp("wheel")
    (work / "torch.py").write_text("raise ImportError('torch was imported at build time')\n")
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(work), "build", "-b", str(work / "b")]
    command += ["bdist_wheel", "-d", str(work / "dist")]
    without_torch = {**os.environ, "PYTHONPATH": str(work)}
    done = subprocess.run(command, cwd=REPO, env=without_torch, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = (work / "dist").glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(tmp_path_factory) -> set[str]:
    """Names in the source distribution, built in a copy: setuptools makes its links beside the sources."""
    pytest.importorskip("setuptools")
    work = tmp_path_factory.mktemp("sdist")
    made = (".git", ".venv", "__pycache__", "outputs", "output", "build", "dist", "*.egg-info")
    shutil.copytree(REPO, work / "copy", ignore=shutil.ignore_patterns(*made))
    command = [sys.executable, "setup.py", "-q", "sdist", "-d", str(work / "dist")]
    done = subprocess.run(command, cwd=work / "copy", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = (work / "dist").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


def test_sdist_has_what_the_repository_has(sdist):
    if (REPO / ".git").exists() and shutil.which("git"):
        done = subprocess.run(["git", "ls-files"], cwd=REPO, capture_output=True, text=True, check=True)
        tracked = {name for name in done.stdout.splitlines() if (REPO / name).is_file()}
        assert not tracked - sdist
    wanted = {"Makefile", "bootstrap.py", "pyproject.toml", "setup.py", "README.md", "LICENSE", "tests/conftest.py",
              "configs/hml/paper.yaml", "docs/settings.md", "benchmarks/README.md", "patches/two-lines.patch",
              "maskrcnn_benchmark_hml/py.typed"}  # fmt: skip
    assert not wanted - sdist
    assert not [name for name in sdist if name.endswith(".pyc") or "__pycache__" in name]


def test_links_of_the_readme_work_on_a_package_index(wheel):
    metadata = wheel[f"maskrcnn_benchmark_hml-{__version__}.dist-info/METADATA"].decode()
    links = re.findall(r"\]\(([^)\s]*)\)", metadata)
    assert not [link for link in links if not link.startswith(("https://", "http://", "#"))]
    assert "docs/settings.md" in metadata  # what a link named is still named


def test_wheel_is_complete(wheel):
    package = REPO / "maskrcnn_benchmark_hml"
    wanted = {p.relative_to(REPO).as_posix() for p in package.rglob("*") if p.suffix in (".py", ".yaml", ".json")}
    configs = [p.relative_to(REPO) for p in (REPO / "configs").rglob("*") if p.suffix in (".yaml", ".json")]
    wanted |= {f"maskrcnn_benchmark_hml/{p.as_posix()}" for p in configs}
    wanted |= {p.relative_to(REPO).as_posix() for p in (package / "report" / "page" / "files").iterdir()}
    missing = {name for name in wanted if "__pycache__" not in name} - set(wheel)
    assert not missing
    assert "maskrcnn_benchmark_hml/configs/hml/paper.yaml" in wheel and "maskrcnn_benchmark_hml/py.typed" in wheel
    assert "maskrcnn_benchmark_hml/embedded/tools/relation_train_net.py" in wheel


def test_wheel_has_one_top_level_package_and_the_command(wheel):
    assert {name.split("/")[0] for name in wheel} == {
        "maskrcnn_benchmark_hml",
        f"maskrcnn_benchmark_hml-{__version__}.dist-info",
    }
    assert not [name for name in wheel if name.endswith(".pyc") or "tests/" in name]
    info = f"maskrcnn_benchmark_hml-{__version__}.dist-info"
    assert b"hml = maskrcnn_benchmark_hml.cli:main" in wheel[f"{info}/entry_points.txt"]
    metadata = wheel[f"{info}/METADATA"].decode()
    assert "Requires-Python: >=3.9" in metadata and "Requires-Dist: torch>=2.1" in metadata


def imported(path: Path) -> set[str]:
    """Top-level names of every absolute import in a file."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {n.split(".")[0] for n in plain | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}}


@pytest.mark.skipif(sys.version_info < (3, 10), reason="sys.stdlib_module_names needs Python 3.10")
def test_every_third_party_import_is_a_declared_dependency():
    declared = {name.lower() for name in re.findall(r'"([\w-]+)>=[\d.]+"', (REPO / "setup.py").read_text())}
    renamed = {"yaml": "pyyaml", "PIL": "pillow"}
    # apex is used if the user has it, the benchmark is the user's own or the embedded one.
    known = {"maskrcnn_benchmark_hml", "maskrcnn_benchmark", "apex", *sys.stdlib_module_names}
    used = {name for path in (REPO / "maskrcnn_benchmark_hml").rglob("*.py") for name in imported(path)}
    assert {renamed.get(name, name).lower() for name in used - known} <= declared
