"""How OpenMP waits: set before torch is loaded, by every way in, and never against the user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch  # noqa: F401  (so that OpenMP is loaded here)

from maskrcnn_benchmark_hml.openmp import SHORT_WAIT, USERS_CHOICE, limit_spinning

REPO = Path(__file__).resolve().parent.parent
SHOWN = f"GOMP_SPINCOUNT = '{SHORT_WAIT['GOMP_SPINCOUNT']}'"
#: A script of a host that says what its OpenMP was given, after torch has loaded it.
SCRIPT = "import os, torch\ndef main():\n    print('blocktime', os.environ['KMP_BLOCKTIME'])\n"


def test_a_users_choice_stands():
    for name in USERS_CHOICE:
        environ = {name: "7"}
        assert not limit_spinning(environ) and environ == {name: "7"}
    environ = {"PATH": "x", "OMP_NUM_THREADS": "2"}
    assert limit_spinning(environ) and environ == {"PATH": "x", "OMP_NUM_THREADS": "2", **SHORT_WAIT}
    assert not limit_spinning(environ)


def environment() -> dict[str, str]:
    """Ours without a choice about waiting; OpenMP prints its settings when it is loaded."""
    rest = {name: value for name, value in os.environ.items() if name not in (*USERS_CHOICE, "SGB_HOME")}
    return {**rest, "PYTHONPATH": str(REPO), "OMP_DISPLAY_ENV": "verbose"}


@pytest.mark.parametrize(
    "start",
    [
        ["-m", "maskrcnn_benchmark_hml", "run"],
        ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1", "-m", "maskrcnn_benchmark_hml", "run"],
    ],
    ids=["hml", "torchrun"],
)
def test_openmp_is_loaded_with_the_setting(tmp_path, start):
    maps = Path("/proc/self/maps")
    if not maps.exists() or "libgomp" not in maps.read_text():
        pytest.skip("this torch's OpenMP is not libgomp, which alone says what it read")
    script = tmp_path / "says.py"
    script.write_text(SCRIPT)
    host = tmp_path / "maskrcnn_benchmark"
    (host / "config").mkdir(parents=True)
    (host / "__init__.py").touch()
    (host / "config/__init__.py").write_text("from .defaults import _C as cfg\n")
    (host / "config/defaults.py").write_text("from yacs.config import CfgNode\n_C = CfgNode()\n")
    command = [sys.executable, *start, str(script)]
    done = subprocess.run(command, env=environment(), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert SHOWN in done.stderr and f"blocktime {SHORT_WAIT['KMP_BLOCKTIME']}" in done.stdout


def test_the_tests_themselves_wait_like_that():
    assert any(name in os.environ for name in USERS_CHOICE)
