"""The commands for SGB that the README prints, as printed: with placeholders replaced, and a small model appended."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ..docs.printed import commands
from .conftest import CONFIG
from .test_sgb_runs import untouched  # noqa: F401 (an autouse fixture)

pytestmark = pytest.mark.upstream
README = [command for page, command in commands() if page == "README.md"]
#: Keys of the small config that the printed command and SGB's own config file must decide.
KEPT = ("GLOVE_DIR", "SOLVER.IMS_PER_BATCH", "TEST.IMS_PER_BATCH", "MODEL.ROI_RELATION_HEAD.EMBED_DIM",
        "MODEL.BACKBONE.CONV_BODY", "MODEL.RESNETS.WIDTH_PER_GROUP")


def options(node: dict, prefix: str = "") -> Iterator[str]:
    """A config as ``KEY VALUE`` words."""
    for name, value in node.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from options(value, f"{key}.")
        elif key not in KEPT:
            yield from (key, str(value))


def run(command: str, folder: Path, environ: dict[str, str], replaced: dict[str, str], *more: str) -> str:
    """Run a printed ``hml`` command in a folder; its output."""
    words = shlex.split(command)[1:]
    assert not set(replaced) - set(words), "printed no more"
    words = [replaced.get(word, word) for word in words]
    call = [sys.executable, "-m", "maskrcnn_benchmark_hml", *words, *more]
    done = subprocess.run(call, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}{done.stderr[-3000:]}"
    return done.stdout + done.stderr


def test_doctor(sgb, mini_vg, environ, tmp_path):
    (command,) = (command for command in README if command.startswith("hml doctor"))
    said = run(command, tmp_path, environ, {"YOUR/SGB": str(sgb), "YOUR/vg": str(mini_vg)})
    assert said.rstrip().endswith("HML will run")


@pytest.mark.slow
def test_training(sgb, mini_vg, environ, tmp_path):
    (command,) = (command for command in README if command.startswith("hml run"))
    glove = tmp_path / "glove"
    glove.mkdir()
    numbers = " ".join(["0.1"] * 200)
    (glove / "glove.6B.200d.txt").write_text("".join(f"{word} {numbers}\n" for word in ("tree", "man", "window")))
    out = tmp_path / "out"
    own = {**environ, "HML_DATA": str(mini_vg)}
    # In the checkout, as printed: its config file is found by a relative path. The detector's place stays empty.
    places = {"YOUR/glove": str(glove), "DETECTOR.pth": "", "out/motifs-hml": str(out)}
    run(command, sgb, own, places, *options(yaml.safe_load(CONFIG)), "HML.STAGES.ITERATIONS", "2,2")
    assert (out / "model_final.pth").is_file() and (out / "hml" / "stage1" / "memory.pt").is_file()
    assert len(list(out.glob("inference/*/result_dict.pytorch"))) == 1
