"""Which benchmark is driven: ``--sgb DIR``, ``SGB_HOME``, the current folder, else the embedded one."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..errors import HMLError
from ..resources import embedded_root


@dataclass(frozen=True)
class Benchmark:
    """A benchmark on disk: its root (holds ``tools/`` and ``maskrcnn_benchmark/``) and how it was found."""

    root: Path
    embedded: bool
    found_by: str

    @property
    def commit(self) -> str:
        """Short commit of the checkout, ``+`` appended if tracked files differ from it; or ``no commit``."""
        if self.embedded:
            return "no commit"
        try:
            run = lambda *a: subprocess.run(  # noqa: E731
                ["git", "-C", str(self.root), *a], capture_output=True, text=True, check=True, timeout=20
            ).stdout.strip()
            dirty = "+" if run("status", "--porcelain", "--untracked-files=no") else ""
            return run("rev-parse", "--short", "HEAD") + dirty
        except (OSError, subprocess.SubprocessError):
            return "no commit"

    def script(self, name: str) -> Path:
        """Path of a script given relative to the current folder or to the benchmark.

        Raises:
            HMLError: there is no such script.
        """
        for candidate in (self.root / name, Path(name)):
            if candidate.is_file():
                return candidate.resolve()
        tools = sorted(f"tools/{p.name}" for p in (self.root / "tools").glob("*.py"))
        raise HMLError(f"there is no script {name} in {self.root}; it has: {', '.join(tools) or 'none'}")

    def describe(self) -> str:
        if self.embedded:
            return "the bundled benchmark"
        return f"the benchmark in {self.root} at commit {self.commit} ({self.found_by})"


def is_benchmark(folder: Path) -> bool:
    """Whether a folder is an SGB checkout or a fork of it."""
    return (folder / "maskrcnn_benchmark").is_dir() and (folder / "tools" / "relation_train_net.py").is_file()


def checkout_below(folder: Path) -> str:
    """``; did you mean ...?`` if a folder directly below is a checkout (some forks keep it one level down), else ""."""
    below = sorted(p for p in folder.glob("*") if p.is_dir() and is_benchmark(p))
    return f"; did you mean {below[0]}?" if below else ""


def locate(sgb: str | None = None) -> Benchmark:
    """Find the benchmark to drive.

    Raises:
        HMLError: ``--sgb`` or ``SGB_HOME`` names a folder that is not a benchmark.
    """
    for given, how in ((sgb, "--sgb"), (os.environ.get("SGB_HOME"), "SGB_HOME")):
        if not given:
            continue
        root = Path(given).expanduser().resolve()
        if not is_benchmark(root):
            raise HMLError(
                f"{how} {given} is not a Scene-Graph-Benchmark checkout (it lacks maskrcnn_benchmark/ or "
                f"tools/relation_train_net.py); give the folder that holds both{checkout_below(root)}"
            )
        return Benchmark(root, root == embedded_root(), how)
    here = Path.cwd()
    if is_benchmark(here):
        return Benchmark(here, here == embedded_root(), "the current folder")
    return Benchmark(embedded_root(), True, "no checkout was given")
