"""HML.TEST.TAU: one training run and one pass over the test images give a result per tau; the same as test runs do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import adjust, hook_points
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.method.adjustment import adjust_logits

from .conftest import CONFIG as DEMO

CONFIG = str(DEMO)
DATASET = "VG_stanford_filtered_with_attribute_test"
SMALL = ["SOLVER.IMS_PER_BATCH", "2", "SOLVER.TO_VAL", "False", "SOLVER.PRE_VAL", "False",
         "MODEL.ROI_RELATION_HEAD.BATCH_SIZE_PER_IMAGE", "16"]


def run(script: str, data: Path, out: Path, *extra: str) -> None:
    run_script(script, ["--config-file", CONFIG, "OUTPUT_DIR", str(out), *SMALL, *extra], data=str(data))


def results(out: Path) -> dict[str, dict]:
    folder = out / "inference" / DATASET
    found = {p.parent.name: json.loads(p.read_text()) for p in folder.rglob("metrics.json")}
    found["plain"] = found.pop(DATASET)
    return found


@pytest.fixture(scope="module")
def trained(tiny_vg, tmp_path_factory) -> Path:
    """A plain run, HML off, that tests three taus as well."""
    out = tmp_path_factory.mktemp("adjust") / "run"
    run("tools/relation_train_net.py", tiny_vg, out, "SOLVER.MAX_ITER", "8", "HML.TEST.TAU", "0,0.5,1.5")
    return out


def test_one_run_gives_a_result_per_tau_and_tau_0_is_the_plain_one(trained):
    found = results(trained)
    assert set(found) == {"plain", "tau_0", "tau_0.5", "tau_1.5"}
    assert found["tau_0"] == found["plain"]
    assert found["tau_1.5"] != found["plain"] and found["tau_1.5"]["images"] == found["plain"]["images"]
    assert not (trained / "hml").exists()


def test_a_test_run_of_the_checkpoint_is_the_same_in_one_pass(trained, tiny_vg, tmp_path, monkeypatch):
    before, forwards = results(trained), []
    relation_head = hook_points.relation_head

    def counting(model):
        model.backbone.register_forward_hook(lambda *_: forwards.append(1))
        return relation_head(model)

    monkeypatch.setattr(hook_points, "relation_head", counting)
    weight = ["MODEL.WEIGHT", str(trained / "model_final.pth")]
    run("tools/relation_test_net.py", tiny_vg, tmp_path / "test", *weight, "HML.TEST.TAU", "0.5,1.5")
    after = results(tmp_path / "test")
    assert {name: before[name] for name in after} == after and set(after) == {"plain", "tau_0.5", "tau_1.5"}
    assert len(forwards) == -(-after["plain"]["images"] // 8)  # 8 images a batch


def test_it_equals_a_run_whose_predictor_adjusts_its_own_logits(trained, tiny_vg, tmp_path, monkeypatch):
    relation_head, done = hook_points.relation_head, []

    def adjusting(model):
        head = relation_head(model)
        if not done:
            done.append(True)

            def adjusted(module, args, output):
                prior = adjust._prior(head.cfg)
                return (output[0], [adjust_logits(one, prior, 1.5, "all") for one in output[1]], *output[2:])

            head.predictor.register_forward_hook(adjusted)
        return head

    monkeypatch.setattr(hook_points, "relation_head", adjusting)
    weight = ["MODEL.WEIGHT", str(trained / "model_final.pth"), "HML.TEST.PRIOR", "all", "HML.TEST.TAU", "0"]
    run("tools/relation_test_net.py", tiny_vg, tmp_path / "hook", *weight)
    monkeypatch.setattr(hook_points, "relation_head", relation_head)
    run("tools/relation_test_net.py", tiny_vg, tmp_path / "replay", *weight[:-1], "1.5")
    assert results(tmp_path / "hook")["plain"] == results(tmp_path / "replay")["tau_1.5"]


def test_a_test_without_tau_is_the_scripts_own(trained, tiny_vg, tmp_path):
    run("tools/relation_test_net.py", tiny_vg, tmp_path / "out", "MODEL.WEIGHT", str(trained / "model_final.pth"))
    assert results(tmp_path / "out") == {"plain": results(trained)["plain"]}


def test_stages_and_their_validations_are_not_adjusted(tiny_vg, tmp_path):
    run("tools/relation_train_net.py", tiny_vg, tmp_path / "out", "HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "2,3",
        "SOLVER.TO_VAL", "True", "SOLVER.VAL_PERIOD", "2", "HML.VAL_METRIC", "mR", "HML.TEST.TAU", "1")
    assert [str(p.relative_to(tmp_path / "out")) for p in tmp_path.rglob("tau_*")] == [f"inference/{DATASET}/tau_1"]


@pytest.mark.parametrize("script", ["tools/relation_train_net.py", "tools/relation_test_net.py"])
def test_bad_settings_are_refused_before_the_run(script, tiny_vg, tmp_path):
    config = tmp_path / "own.yaml"
    config.write_text(Path(CONFIG).read_text() + "HML: {TEST: {TAU: [-1.0]}}\n")
    with pytest.raises(HMLError, match=r"HML.TEST.TAU is .*; give a list of numbers >= 0"):
        run_script(script, ["--config-file", str(config), "OUTPUT_DIR", str(tmp_path / "out")], data=str(tiny_vg))
    with pytest.raises(HMLError, match="HML.TEST.PRIOR is 'all' and has no effect here: give HML.TEST.TAU"):
        run(script, tiny_vg, tmp_path / "out", "HML.TEST.PRIOR", "all")
    with pytest.raises(HMLError, match="OUTPUT_DIR is empty"):
        run(script, tiny_vg, Path(""), "OUTPUT_DIR", "", "HML.TEST.TAU", "1")
    assert not (tmp_path / "out").exists()


def test_a_head_that_does_not_call_its_post_processor_is_named():
    record = adjust._Record([(None, "targets", (0,))])
    list(record)
    model = adjust._Adjusted(torch.nn.Identity(), record, torch.zeros(3), 1.0, "all")
    with pytest.raises(HMLError, match="1 test batches led to 0 calls of the relation head's post_processor"):
        model(adjust._NoPictures().to("cpu"))
