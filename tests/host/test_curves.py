"""The training curves of runs on the embedded benchmark, and TensorBoard's events of them."""

from __future__ import annotations

import importlib
import linecache
import re
import signal
import sys
from pathlib import Path

import pytest
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.config import add_hml_config
from maskrcnn_benchmark_hml.curves import read_curves
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import hook_points
from maskrcnn_benchmark_hml.host.curves import Curves
from maskrcnn_benchmark_hml.host.launch import run_script

from ..embedded.warm_run import run_hml
from .conftest import run_options

PLAIN = ("HML.ENABLED", "False", "SOLVER.MAX_ITER", "8")
#: (stage, iteration, whether validation) of a run of run_options.
TWO_STAGES = [*((1, i, v) for i in range(1, 7) for v in ([False, True] if i == 4 else [False])),
              *((2, i, v) for i in range(1, 9) for v in ([False, True] if i in (4, 8) else [False]))]


def run(data: Path, out: Path, *extra: str, cut: tuple[int, int] | None = None) -> str:
    """What ``hml run`` prints; ``cut``: a signal and the optimizer step of this process after which it is sent."""
    number, step = cut or (0, 0)
    code, said = run_hml(["run", *run_options(data, out, *extra)], out.parent / f"{out.name}.log", number, step)
    assert code == (-number if number == signal.SIGKILL else 128 + number if number else 0), said[-3000:]
    return said


def compared(out: Path) -> list[dict]:
    """The lines without what is another number in every run."""
    lines = read_curves(out / "metrics.jsonl")
    return [{k: v for k, v in line.items() if k not in ("seconds", "memory_mb")} for line in lines]


@pytest.fixture(scope="module")
def whole(tiny_vg, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    run(tiny_vg, out)
    return out


@pytest.fixture(scope="module")
def plain(tiny_vg, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "run"
    run(tiny_vg, out, *PLAIN, "SOLVER.PRE_VAL", "True")
    return out


def test_the_lines_of_two_stages(whole):
    lines = read_curves(whole / "metrics.jsonl")
    assert [(line["stage"], line["iteration"], "validation" in line) for line in lines] == TWO_STAGES
    assert {line["stages"] for line in lines} == {2}
    assert not list((whole / "hml").rglob("metrics.jsonl")) and not (whole / "tensorboard").exists()
    for line in lines:
        if "validation" in line:
            assert line["validation"]["metric"] == "R@100" and 0 <= line["validation"]["value"] <= 1
            continue
        terms = dict(line["terms"])
        mr = terms.pop("loss_mr", None)
        assert ("loss_cr" in terms) == (line["stage"] == 2)
        assert (mr is not None) == (line["stage"] == 2 and line["iteration"] % 4 == 0)
        assert line["loss"] == pytest.approx(sum(terms.values()), rel=1e-5) and "loss_rel" in terms
        assert line["memory_mb"] > 50 and line["lr"] > 0
        assert line["seconds"] is None if line["iteration"] == 1 else 0 < line["seconds"] < 60
    assert lines[-2]["terms"]["loss_mr"] > 0


def test_the_values_are_those_of_the_log(whole):
    """The log shows the mean of all steps so far in brackets."""
    lines = read_curves(whole / "metrics.jsonl")
    log = (whole / "log.txt").read_text()
    logged = re.findall(r"iter: (\d+) .*?\bloss: [\d.]+ \(([\d.]+)\).* lr: ([\d.]+)", log)
    means, count, total = [], 0, 0.0
    for line in lines:
        if "loss" in line:
            count, total = (1, line["loss"]) if line["iteration"] == 1 else (count + 1, total + line["loss"])
            means.append((str(line["iteration"]), total / count, line["lr"]))
    assert len(logged) == len(means) == 14
    for (iteration, mean, lr), (found, own_mean, own_lr) in zip(logged, means):
        assert iteration == found and float(mean) == pytest.approx(own_mean, abs=2e-4)
        assert float(lr) == pytest.approx(own_lr, abs=1e-6)
    results = re.findall(r"Validation Result: ([\d.]+)", log)
    assert [f"{line['validation']['value']:.4f}" for line in lines if "validation" in line] == results


def test_a_run_without_hml(plain):
    lines = read_curves(plain / "metrics.jsonl")
    expected = [(0, True), *((i, v) for i in range(1, 9) for v in ([False, True] if i % 4 == 0 else [False]))]
    assert [(line["iteration"], "validation" in line) for line in lines] == expected
    assert {(line["stage"], line["stages"]) for line in lines} == {(1, 1)}
    assert not {"loss_cr", "loss_mr"} & lines[-2]["terms"].keys()


@pytest.mark.parametrize("cut", [(signal.SIGKILL, 11), pytest.param((signal.SIGTERM, 10), marks=pytest.mark.slow)],
                         ids=lambda cut: f"{cut[0].name} after {cut[1]}")
def test_a_resumed_run_has_the_lines_of_an_uninterrupted_one(whole, tiny_vg, tmp_path, cut):
    """SIGKILL leaves lines after the checkpoint; SIGTERM after step 10 comes before the validation of its iteration."""
    out = tmp_path / "run"
    run(tiny_vg, out, cut=cut)
    if cut[0] == signal.SIGKILL:
        with (out / "metrics.jsonl").open("a") as file:
            file.write('{"stage": 1, "stages": 2, "itera')
    run(tiny_vg, out)
    assert compared(out) == compared(whole)


def test_a_resumed_run_without_hml(plain, tiny_vg, tmp_path):
    out = tmp_path / "run"
    run(tiny_vg, out, *PLAIN, "SOLVER.PRE_VAL", "True", cut=(signal.SIGKILL, 5))
    run(tiny_vg, out, *PLAIN, "SOLVER.PRE_VAL", "True")
    assert compared(out) == compared(plain)


def test_a_finished_run_keeps_its_lines(whole, tiny_vg):
    before = (whole / "metrics.jsonl").read_bytes()
    run(tiny_vg, whole)
    assert (whole / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize(("options", "metric"), [
    ([], "R@100"), (["HML.ENABLED", True], "R@100"), (["HML.VAL_METRIC", "mR"], "R@100"),
    (["HML.VAL_METRIC", "mR", "HML.ENABLED", True], "mR@100"), (["MODEL.RELATION_ON", False], "mAP@0.5")])
def test_the_metric_is_the_one_that_validation_returns(tmp_path, monkeypatch, options, metric):
    monkeypatch.setattr(hook_points, "validation_metric", lambda: "R@100")
    cfg = add_hml_config(CfgNode({"MODEL": {"RELATION_ON": True}, "SOLVER": {"VAL_PERIOD": 2},
                                  "OUTPUT_DIR": str(tmp_path)}))
    cfg.merge_from_list(options)
    namespace = {"run_val": lambda: 0.25, "inference": print}
    iterations = iter([0, 1, 2, 2, 4])
    with Curves(cfg, namespace, 4, lambda: next(iterations)).attached():
        for _ in range(5):  # 1: not due; the second 2: SGB's PRE_VAL of a resumed run
            assert namespace["run_val"]() == 0.25
    lines = read_curves(tmp_path / "metrics.jsonl")
    assert [line["iteration"] for line in lines] == [0, 2, 4]
    assert [line["validation"] for line in lines] == [{"metric": metric, "value": 0.25}] * 3


@pytest.mark.parametrize(("source", "metric"), [
    ("return float(np.mean(result_dict[mode + '_recall'][100]))", "R@100"),
    ('return float(np.mean(result_dict[mode + "_mean_recall"][100]))', "mR@100"),
    ("return float(np.mean(result_dict[mode + cfg.GLOBAL_SETTING.CHOOSE_BEST_MODEL_BY_METRIC][100]))", "result"),
    ("return hmean(result_dict)", "result")])
def test_the_metric_of_a_fork_is_read_from_its_source(tmp_path, monkeypatch, source, metric):
    (tmp_path / "vg_eval.py").write_text(f"def do_vg_evaluation():\n    {source}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "vg_eval", raising=False)
    load = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", lambda name: load("vg_eval"))
    assert hook_points.validation_metric() == metric
    linecache.clearcache()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Tag -> (step, value), as TensorBoard draws them."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    ).EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
            for tag in accumulator.Tags()["scalars"]}


def expected_scalars(out: Path, stage: int) -> dict[str, list[tuple[int, float]]]:
    tags: dict[str, list[tuple[int, float]]] = {}
    for line in read_curves(out / "metrics.jsonl"):
        if line["stage"] != stage:
            continue
        named = {f"train/{name}": line.get(name) for name in ("loss", "lr", "seconds", "memory_mb")}
        named.update({f"train/{name}": value for name, value in line.get("terms", {}).items()})
        if "validation" in line:
            named[f"validation/{line['validation']['metric']}"] = line["validation"]["value"]
        for tag, value in named.items():
            if value is not None:
                tags.setdefault(tag, []).append((line["iteration"], pytest.approx(value, rel=1e-5)))
    return tags


def test_tensorboard_draws_a_resumed_run_once(tiny_vg, tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    out = tmp_path / "run"
    run(tiny_vg, out, *PLAIN, "HML.TENSORBOARD", "True", cut=(signal.SIGKILL, 5))
    run(tiny_vg, out, *PLAIN, "HML.TENSORBOARD", "True")
    found = scalars(out / "tensorboard" / "stage1")
    assert found == expected_scalars(out, 1) and len(found["train/loss"]) == 8
    assert len(list((out / "tensorboard" / "stage1").iterdir())) == 2


def test_a_missing_package_is_a_sentence_before_training(tiny_vg, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)  # as an import that fails
    options = run_options(tiny_vg, tmp_path / "run", "HML.TENSORBOARD", "True")
    with pytest.raises(HMLError, match=r"tensorboard cannot be imported \(.*\); install it with pip install tenso"):
        run_script(options[2], options[3:], data=options[1])
    assert not (tmp_path / "run").exists()
