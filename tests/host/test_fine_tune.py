"""MODEL.WEIGHT with a relation head: what each stage of an HML run starts from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from yacs.config import CfgNode

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host import fine_tune
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.method.memory import StageMemory

from .conftest import run_options

HEAD = "roi_heads.relation."
STILL = ["HML.STAGES.ITERATIONS", "1,1", "SOLVER.BASE_LR", "1e-12", "SOLVER.TO_VAL", "False"]


def run(data: Path, out: Path, *extra: str) -> None:
    options = run_options(data, out, *STILL, *extra)
    run_script(options[2], options[3:], data=options[1])


def heads(out: Path) -> list[dict]:
    """The relation head at the end of each stage, and the whole last model."""
    last = torch.load(out / "model_final.pth", weights_only=True)["model"]
    second = {name[len(HEAD):]: value for name, value in last.items() if name.startswith(HEAD)}
    return [StageMemory.load(out / "hml" / "stage1" / "memory.pt").head, second, last]


def close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a.float(), b.float(), atol=1e-6)


@pytest.fixture(scope="module")
def trained(tiny_vg, tmp_path_factory) -> Path:
    """A relation model with weights of its own everywhere, the detector included."""
    out = tmp_path_factory.mktemp("trained")
    run(tiny_vg, out)
    model = torch.load(out / "model_final.pth", weights_only=True)["model"]
    torch.manual_seed(5)
    moved = {n: v + 0.01 * torch.randn_like(v) if v.is_floating_point() else v for n, v in model.items()}
    torch.save({"model": {f"module.{n}": v for n, v in moved.items()}}, out / "given.pth")
    torch.save({"model": moved}, out / "plain.pth")
    return out


@pytest.mark.parametrize("init", ["fresh", "previous"])
def test_the_first_stage_starts_from_it_and_later_ones_as_init_says(trained, tiny_vg, tmp_path, caplog, init):
    given = torch.load(trained / "plain.pth", weights_only=True)["model"]
    own = heads(trained)[1]  # what a fresh second stage starts from, at this seed
    file = shutil.copy(trained / "given.pth", tmp_path)
    words = ["MODEL.WEIGHT", file, "HML.STAGES.INIT", init]
    with caplog.at_level("INFO"):
        run(tiny_vg, tmp_path / "out", *words)
    one, two, last = heads(tmp_path / "out")
    assert all(close(v, given[HEAD + n]) for n, v in one.items())
    assert all(close(v, given[n]) for n, v in last.items() if not n.startswith(HEAD))  # the detector, in each stage
    for name, value in two.items():
        if "running_" in name or "num_batches" in name:  # batch statistics of the second stage's one batch
            continue
        from_file = init == "previous" or name.startswith(("box_feature_extractor.", "union_feature_extractor."))
        assert close(value, given[HEAD + name] if from_file else own[name]), name
    said = [r.getMessage() for r in caplog.records if "HML: fine-tuning" in r.getMessage()]
    assert "stage 1 of 2 loads the whole model" in said[0]
    assert ("the detector from" if init == "previous" else "the detector and the feature extractors") in said[1]
    torch.save({"model": {"backbone.w": torch.ones(1)}}, file)  # a resumed run would go on from another start
    with pytest.raises(HMLError, match="begun with relation head in MODEL.WEIGHT = True, now it is False"):
        run(tiny_vg, tmp_path / "out", *words)


def test_another_relation_head_is_refused(trained, tiny_vg, tmp_path):
    with pytest.raises(HMLError, match=r"given.pth lacks roi_heads.relation.predictor.* has another relation head"):
        run(tiny_vg, tmp_path / "out", "MODEL.WEIGHT", str(trained / "given.pth"),
            "MODEL.ROI_RELATION_HEAD.PREDICTOR", "VCTreePredictor")


@pytest.mark.parametrize(("content", "match"), [
    ({"roi_heads.relation.p": torch.tensor([float("nan")])}, "MODEL.WEIGHT .*w.pth holds NaN .* roi_heads.relation.p"),
    (None, "w.pth is an HTML page"),
])
def test_a_bad_file_is_refused_before_anything_is_written(tiny_vg, tmp_path, content, match):
    path = tmp_path / "w.pth"
    path.write_text("<html>") if content is None else torch.save({"model": content}, path)
    with pytest.raises(HMLError, match=match):
        run(tiny_vg, tmp_path / "out", "MODEL.WEIGHT", str(path))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("entry", "said"), [
    ("catalog://ImageNetPretrained/MSRA/R-101", ""), ("", ""), ("nowhere.pth", "does not exist here"),
    ("detector.pth", "holds no relation head"),
])
def test_other_entries_are_left_to_the_host(tmp_path, monkeypatch, caplog, entry, said):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"backbone.w": torch.ones(1)}}, "detector.pth")
    cfg = CfgNode({"MODEL": {"WEIGHT": entry}})
    fine_tune.check_start(cfg)
    assert fine_tune.start_file(cfg) == ""
    assert (said in caplog.text) if said else not caplog.text
