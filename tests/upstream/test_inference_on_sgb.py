"""Runs of the unmodified benchmark, and of a fork with a predictor of its own, predict what their test stored."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .conftest import REPO
from .test_hml_on_forks import OPTIONS, config, data, fork  # noqa: F401 (fixtures)
from .test_hml_on_sgb import HML, cell, finished, run_hml  # noqa: F401 (a fixture)
from .test_sgb_runs import TASKS, TRAIN, untouched  # noqa: F401 (an autouse fixture)

pytestmark = pytest.mark.upstream
COMPARE = ["-m", "tests.host.predicted"]
SHORT = ["SOLVER.TO_VAL", "False", "SOLVER.MAX_ITER", "2"]


def differences(environ, *words) -> dict[str, float]:
    """What ``tests/host/predicted.py`` prints, in a process of its own and away from the data's environment."""
    done = subprocess.run(
        [sys.executable, *COMPARE, *map(str, words)], capture_output=True, text=True, cwd=REPO,
        env={key: value for key, value in environ.items() if key not in ("SGB_HOME", "HML_DATA")},
    )  # fmt: skip
    return json.loads(finished(done).splitlines()[-1] if done.returncode else done.stdout.splitlines()[-1])


def same(found: dict[str, float]) -> bool:
    return found["triplets"] > 100 and found["wrong"] == found["empty"] == 0 and found["score"] <= 1e-5


@pytest.mark.parametrize("task", [pytest.param(t, marks=() if t == "sgdet" else pytest.mark.slow) for t in TASKS])
def test_motifs(run_hml, sgb, mini_vg, environ, tmp_path, task):  # noqa: F811
    options = ["HML.STAGES.ITERATIONS", "1,1", *HML[:2]] if task == "predcls" else []
    finished(run_hml(TRAIN, "out", *cell("MotifPredictor", task), *SHORT, *options))
    assert same(differences(environ, tmp_path / "out", mini_vg, sgb))


EMPTY = """
import numpy, sys
from PIL import Image
from maskrcnn_benchmark_hml.host.inference import open_run
from tests.host.predicted import Boxes
model = open_run(sys.argv[1], sys.argv[2])
picture = Image.new("RGB", (64, 48), (200, 30, 30))
boxes = [Boxes(numpy.array([[2.0, 3, 30, 40], [5, 5, 20, 30]])[:k], None) for k in range(3)]
for given in boxes if model.needs_boxes else [None]:
    graph, = model.predict([(picture, given)])
    print(len(graph.objects), len(graph.relations))
"""


@pytest.mark.slow
@pytest.mark.parametrize("task, said", [("sgdet", ["0 0"]), ("sgcls", ["0 0", "1 0", "2 2"])])
def test_nothing_found_or_a_single_box(run_hml, sgb, environ, tmp_path, task, said):  # noqa: F811
    """SGB itself ends with an assertion or an index error in such pictures."""
    out, strict = tmp_path / "out", ["MODEL.ROI_HEADS.SCORE_THRESH", "0.999"]
    finished(run_hml(TRAIN, "out", "--skip-test", *cell("MotifPredictor", task), *SHORT))
    text = (out / "config.yml").read_text()
    assert "SCORE_THRESH: 0.0\n" in text
    (out / "config.yml").write_text(text.replace("SCORE_THRESH: 0.0\n", f"SCORE_THRESH: {strict[1]}\n"))
    done = subprocess.run([sys.executable, "-c", EMPTY, str(out), str(sgb)], capture_output=True, text=True,
                          env=environ, cwd=REPO)  # fmt: skip
    finished(done)
    assert done.stdout.split("\n")[:-1] == said


def test_a_checkout_that_is_not_named_is_a_sentence(run_hml, sgb, environ, tmp_path):  # noqa: F811
    finished(run_hml(TRAIN, "out", "--skip-test", *cell("MotifPredictor", "predcls"), *SHORT))
    code = ("import sys; from maskrcnn_benchmark_hml.host.inference import open_run\n"
            "try: open_run(*sys.argv[1:])\nexcept Exception as error: print(type(error).__name__, error)")
    away = {key: value for key, value in environ.items() if key != "SGB_HOME"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], capture_output=True, text=True, env=away,
                          cwd=tmp_path)  # fmt: skip
    assert done.stdout.startswith("HMLError the run in") and "name that checkout with --sgb DIR" in done.stdout
    text = (tmp_path / "out" / "config.yml").read_text()
    (tmp_path / "out" / "config.yml").write_text(text.replace("VCTreePredictor", "MotifPredictor").replace(
        "PREDICTOR: MotifPredictor", "PREDICTOR: TransformerPredictor"))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "out"), str(sgb)], capture_output=True, text=True,
                          env=away, cwd=tmp_path)  # fmt: skip
    assert done.stdout.splitlines()[-1].startswith("HMLError") and "tensors of the model" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("task", ["predcls", "sgdet"])
@pytest.mark.parametrize("fork", ["SHA-GCL"], indirect=True)  # noqa: F811
def test_a_fork_with_its_own_predictor(fork, data, config, environ, tmp_path, task):  # noqa: F811
    out = tmp_path / "out"
    words = [sys.executable, "-m", "maskrcnn_benchmark_hml", "run", "--sgb", ".", "--data", str(data), TRAIN]
    words += ["--config-file", str(config), *cell("MotifPredictor", task), *OPTIONS[fork.name], *SHORT]
    words += ["GLOBAL_SETTING.RELATION_PREDICTOR", "TransLike_GCL", "OUTPUT_DIR", str(out)]
    finished(subprocess.run(words, capture_output=True, text=True, env=environ, cwd=fork))
    # It names the best validation's checkpoint; without a validation that is none.
    (out / "last_checkpoint").write_text("model_final.pth")
    assert same(differences(environ, out, data, fork))
