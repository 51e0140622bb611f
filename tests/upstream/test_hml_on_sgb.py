"""HML on the unmodified benchmark: two stages, validation, test, resume, and the result in its own test script."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.method.memory import StageMemory

from ..host.test_sharing import asked_twice
from ..host.test_starting_weights import stage_2_start, starts_as_the_previous_head_ended
from .conftest import REPO
from .test_sgb_runs import HEAD, TASKS, TEST, TRAIN, untouched  # noqa: F401 (an autouse fixture)

SIGNAL_RUN = str(REPO / "tests" / "host" / "signal_run.py")
PREDICTORS = ("MotifPredictor", "VCTreePredictor", "TransformerPredictor")
OTHERS = {
    "IMP": ["IMPPredictor"],
    "causal-motifs": ["CausalAnalysisPredictor", f"{HEAD}.CAUSAL.CONTEXT_LAYER", "motifs"],
    "causal-vtranse": ["CausalAnalysisPredictor", f"{HEAD}.CAUSAL.CONTEXT_LAYER", "vtranse"],
    "causal-vctree": ["CausalAnalysisPredictor", f"{HEAD}.CAUSAL.CONTEXT_LAYER", "vctree"],
}
HML = ["HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "3,3"]
#: (signal, optimizer step after which it is sent); stage 1 has steps 1-3, stage 2 steps 4-6; checkpoints after 2.
KILLED_IN_STAGE_1, KILLED_IN_STAGE_2, STOPPED_IN_STAGE_2 = (
    (signal.SIGKILL, 3), (signal.SIGKILL, 6), (signal.SIGTERM, 4)
)
pytestmark = pytest.mark.upstream
_METRIC = re.compile(r"SGG eval: .*?for mode=\w+, type=[\w ()]+\.")


@pytest.fixture
def run_hml(sgb, mini_vg, small_config, environ, tmp_path):
    """Runs ``hml run`` on the checkout; ``cut`` is a signal to send and the optimizer step to send it after."""

    def run(script: str, out: str, *options: str, cut: tuple[int, int] | None = None) -> subprocess.CompletedProcess:
        if cut is None:
            head = ["-m", "maskrcnn_benchmark_hml", "run"]
        else:
            head = [SIGNAL_RUN, str(tmp_path / f"{out}.items"), str(int(cut[0])), str(cut[1]), "--"]
        words = [*head, "--sgb", str(sgb), "--data", str(mini_vg), script, "--config-file", str(small_config)]
        words += [*options, "OUTPUT_DIR", str(tmp_path / out)]
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environ, cwd=tmp_path)

    return run


def finished(done: subprocess.CompletedProcess) -> str:
    """All that a run printed, if it succeeded."""
    text = done.stdout + done.stderr
    assert done.returncode == 0, text[-3000:]
    return text


def outcome(out: Path) -> dict:
    """Weights, optimizer and memory of a finished run."""
    last = torch.load(out / "model_final.pth", map_location="cpu", weights_only=False)
    memory = StageMemory.load(out / "hml" / "stage1" / "memory.pt")
    state = torch.load(out / "model_final.hml.pt", map_location="cpu", weights_only=True)
    return {
        "weights": last["model"], "momentum": last["optimizer"]["state"],
        "lr": [group["lr"] for group in last["optimizer"]["param_groups"]],
        "fisher": memory.fisher, "omega": memory.omega, "digest": memory.digest, "state": state["hml"],
    }


def same(a, b) -> bool:
    """Bit by bit."""
    if torch.is_tensor(a):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b


def two_stages(run_hml, tmp_path: Path, options: list[str], *cuts: tuple[int, int]) -> None:
    """Train, validate and test; the same once more for each cut, interrupted and resumed; test with the test script."""
    text = finished(run_hml(TRAIN, "whole", *options, *HML))
    assert len(re.findall(r"HML: stage \d of 2 ends after 3 iterations", text)) == 2
    assert text.count("Validation Result") == 2
    assert "loss_cr" in text and not re.search(r"loss\w*: (nan|inf)", text)
    count = 6 if "mode=sgdet" in text else 7  # no accuracy in SGDet
    metrics = _METRIC.findall(text)[-count:]
    assert len({metric.partition("type=")[2] for metric in metrics}) == count
    expected = outcome(tmp_path / "whole")
    for cut in cuts:
        name = f"cut{int(cut[0])}at{cut[1]}"
        broken = run_hml(TRAIN, name, *options, *HML, cut=cut)
        assert broken.returncode == (-cut[0] if cut[0] == signal.SIGKILL else 128 + cut[0]), broken.stderr[-3000:]
        resumed = finished(run_hml(TRAIN, name, *options, *HML))
        assert "resumes after iteration" in resumed or "is finished; its memory is read" in resumed
        assert _METRIC.findall(resumed)[-count:] == metrics
        got = outcome(tmp_path / name)
        for part, value in expected.items():
            assert same(got[part], value), part
    tested = finished(run_hml(TEST, "whole", *options))
    assert _METRIC.findall(tested)[-count:] == metrics


def cell(predictor: str, task: str) -> list[str]:
    return [*TASKS[task], f"{HEAD}.PREDICTOR", predictor]


def test_motifs_predcls(run_hml, tmp_path):
    two_stages(run_hml, tmp_path, cell("MotifPredictor", "predcls"), KILLED_IN_STAGE_2)


@pytest.mark.parametrize("predictor", ["VCTreePredictor", "TransformerPredictor"])
def test_predcls(run_hml, tmp_path, predictor):
    two_stages(run_hml, tmp_path, cell(predictor, "predcls"))


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("predictor", PREDICTORS)
def test_all_tasks_interrupted(run_hml, tmp_path, predictor, task):
    both = (KILLED_IN_STAGE_1, STOPPED_IN_STAGE_2)
    two_stages(run_hml, tmp_path, cell(predictor, task), *(both if task == "predcls" else (KILLED_IN_STAGE_2,)))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_predictors(run_hml, tmp_path, name):
    """VTransE is no predictor of its own at this commit but a context layer of the causal one."""
    predictor, *options = OTHERS[name]
    two_stages(run_hml, tmp_path, [*cell(predictor, "predcls"), *options], STOPPED_IN_STAGE_2)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["predcls", "sgdet"])
def test_float16_in_the_config(run_hml, tmp_path, task):
    two_stages(run_hml, tmp_path, [*cell("MotifPredictor", task), "DTYPE", "float16"], KILLED_IN_STAGE_2)


@pytest.mark.parametrize("task", ["predcls", "sgdet"])
def test_shared_pooling_changes_nothing(sgb, mini_vg, small_config, environ, tmp_path, task):
    words = ["--sgb", str(sgb), "--data", str(mini_vg), TRAIN, "--config-file", str(small_config), "--skip-test"]
    words += [*cell("MotifPredictor", task), *HML, "SOLVER.TO_VAL", "False", "OUTPUT_DIR", str(tmp_path / "out")]
    shared, calls, apart = asked_twice(words, environ, tmp_path)
    assert shared == calls == 3 and apart < 1e-5


@pytest.mark.parametrize("case", ["misspelt", "no settings", "a fork's option"])
def test_bad_input_is_a_sentence(run_hml, small_config, case):
    options, said = {
        "misspelt": (["SOLVER.BASE_LRR", "1"], "there is no key SOLVER.BASE_LRR; did you mean SOLVER.BASE_LR?"),
        "no settings": ([], f"hml: error: {small_config} holds a list and no settings"),
        "a fork's option": (["--my-opt", "3", "SOLVER.MAX_ITER", "1"], "unrecognized arguments: --my-opt"),
    }[case]
    if case == "no settings":
        small_config.write_text("- MODEL\n")
    done = run_hml(TRAIN, "out", *options)
    assert done.returncode == 2 and said in done.stderr and "Traceback" not in done.stderr


class Marker:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("enabled", ["True", "False"])
def test_a_detector_that_names_code_is_a_sentence(run_hml, tmp_path, enabled):
    torch.save({"model": {"backbone.w": torch.ones(1)}, "cfg": Marker(tmp_path / "marker")}, tmp_path / "d.pth")
    options = [*cell("MotifPredictor", "predcls"), "HML.ENABLED", enabled]
    done = run_hml(TRAIN, "out", *options, "MODEL.PRETRAINED_DETECTOR_CKPT", str(tmp_path / "d.pth"))
    assert done.returncode == 2 and "mkdir, which is not loaded because it could run code" in done.stderr
    assert f"HML_TRUSTED_FILES={tmp_path / 'd.pth'}" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "marker").exists()


def test_init_previous_wins_over_a_detector(sgb, mini_vg, small_config, environ, tmp_path):
    out = tmp_path / "out"
    words = ["--sgb", str(sgb), "--data", str(mini_vg), TRAIN, "--config-file", str(small_config), "--skip-test"]
    words += [*cell("MotifPredictor", "predcls"), *HML, "SOLVER.TO_VAL", "False", "HML.STAGES.INIT", "previous"]
    starts_as_the_previous_head_ended(*stage_2_start([*words, "OUTPUT_DIR", str(out)], environ, tmp_path, out))


def test_fine_tuning_and_nan(run_hml, tmp_path):
    """MODEL.WEIGHT is what the first stage starts from; a model of NaN is refused in training and test."""
    options = [*cell("MotifPredictor", "predcls"), "SOLVER.TO_VAL", "False", "HML.STAGES.ITERATIONS", "1,1"]
    finished(run_hml(TRAIN, "one", "--skip-test", *options, "HML.ENABLED", "True"))
    given = torch.load(tmp_path / "one" / "model_final.pth", weights_only=False)["model"]
    weight = ["MODEL.WEIGHT", str(tmp_path / "one" / "model_final.pth")]
    still = ["HML.ENABLED", "True", "SOLVER.BASE_LR", "1e-12", "HML.SEED", "3"]
    text = finished(run_hml(TRAIN, "two", "--skip-test", *options, *still, *weight))
    assert "fine-tuning: stage 1 of 2 loads the whole model from MODEL.WEIGHT" in text
    first = StageMemory.load(tmp_path / "two" / "hml" / "stage1" / "memory.pt").head
    assert all(torch.allclose(v.float(), given[f"roi_heads.relation.{n}"].float(), atol=1e-6) for n, v in first.items())
    name = next(n for n in given if ".predictor." in n and given[n].is_floating_point())
    torch.save({"model": {**given, name: given[name] * float("nan")}}, tmp_path / "nan.pth")
    for script, out, more in ((TEST, "t", []), (TRAIN, "u", ["HML.ENABLED", "True"])):
        done = run_hml(script, out, *options, *more, "MODEL.WEIGHT", str(tmp_path / "nan.pth"))
        assert done.returncode == 2 and f"nan.pth holds NaN or infinite weights, first in {name}" in done.stderr
    assert not list(tmp_path.rglob("t/**/result_dict.pytorch"))


def test_no_validation_or_test_repeats_an_earlier_one(run_hml, tmp_path):
    """With SGB's default every mR validation but the first, and every test but the first, took stored predictions."""
    options = [*cell("MotifPredictor", "predcls"), "TEST.ALLOW_LOAD_FROM_CACHE", "True", "SOLVER.BASE_LR", "0.1"]
    more = ["HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "1,6", "HML.VAL_METRIC", "mR", "SOLVER.WARMUP_ITERS", "1"]
    text = finished(run_hml(TRAIN, "out", *options, *more))
    validated = re.findall(r"Validation Result: ([\d.]+)", text)
    assert len(validated) == 3 and len(set(validated)) > 1
    stored = tmp_path / "out" / "inference" / "VG_stanford_filtered_with_attribute_test" / "eval_results.pytorch"
    stored.write_bytes(b"another model's")
    assert "may hold another model's predictions" in finished(run_hml(TEST, "out", *options))


def test_ignored_pairs_take_no_place_in_the_samplers(sgb, environ):
    child = REPO / "tests" / "host" / "ignored_run.py"
    done = subprocess.run([sys.executable, str(child), str(sgb)], capture_output=True, text=True, env=environ)
    assert "ignored pairs take no place" in finished(done)
