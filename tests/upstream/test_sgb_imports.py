"""Every module of the checkout that scene-graph generation uses can be imported under the shims."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]

# Image retrieval needs a parser of its own; _utils compiles the extension when imported; FBNet and caffe2 are unused.
LEFT_OUT = ("image_retrieval", "layers._utils", "fbnet")

CODE = """
import importlib, pkgutil, sys
from maskrcnn_benchmark_hml.compat import install
install(sys.argv[1])
import maskrcnn_benchmark
names = [m.name for m in pkgutil.walk_packages(maskrcnn_benchmark.__path__, "maskrcnn_benchmark.")]
failed = []
for name in names:
    if any(part in name for part in sys.argv[2].split(",")):
        continue
    try:
        importlib.import_module(name)
    except Exception as error:
        failed.append(f"{name}: {type(error).__name__}: {error}")
print(len(names), "modules")
sys.exit("; ".join(failed) or 0)
"""


def test_all_modules_import(sgb):
    environ = {**os.environ, "PYTHONPATH": str(REPO), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", CODE, str(sgb), ",".join(LEFT_OUT)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-2]) > 100


def test_without_the_shims_it_does_not(sgb):
    """The reason for the package: if this fails one day, the host has been repaired."""
    environ = {**os.environ, "PYTHONPATH": str(sgb), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "import maskrcnn_benchmark.utils.env"]
    assert subprocess.run(command, capture_output=True, env=environ).returncode != 0
