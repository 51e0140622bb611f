"""Bad input gets one sentence before any training, and the run's folder stays as it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import h5py
import pytest
import torch

from maskrcnn_benchmark_hml.config import config_file
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.host.launch import run_script
from maskrcnn_benchmark_hml.training.checkpoint import write_state

from .conftest import run_options

H5, DICTS = "VG-SGG-with-attri.h5", "VG-SGG-dicts-with-attri.json"


def run(data: Path, out: Path, *extra: str) -> None:
    options = run_options(data, out, *extra)
    run_script(options[2], options[3:], data=options[1])


def snapshot(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*")) if p.is_file()
    }


@pytest.fixture
def out(tmp_path) -> Path:
    """A run's folder with a stranger's file in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "config.yml").write_text("precious")
    return folder


def refused(data: Path, out: Path, match: str, *extra: str) -> None:
    before = snapshot(out)
    with pytest.raises(HMLError, match=match) as caught:
        run(data, out, *extra)
    assert "\n" not in str(caught.value)
    assert snapshot(out) == before


@pytest.fixture
def own_vg(tiny_vg, tmp_path) -> Path:
    """A copy of the data that a test may break."""
    copy = tmp_path / "vg"
    shutil.copytree(tiny_vg, copy)
    return copy


OPTIONS = {
    "unknown predictor": (["MODEL.ROI_RELATION_HEAD.PREDICTOR", "MotifsPredictor"], "no relation predictor 'MotifsP"),
    "wrong class count": (["MODEL.ROI_RELATION_HEAD.NUM_CLASSES", "71"], "set it to 51"),
    "no output folder": (["OUTPUT_DIR", ""], "OUTPUT_DIR is empty"),
    "unknown HML key": (["HML.CR.WIEGHT", "1"], "did you mean HML.CR.WEIGHT"),
    "unknown host key": (["SOLVER.BASE_LRR", "1"], "did you mean SOLVER.BASE_LR"),
    "wrong host type": (["SOLVER.BASE_LR", "fast"], "command line: .*SOLVER.BASE_LR"),
    "a precision that SGB ignores": (["DTYPE", "bfloat16"], "DTYPE is 'bfloat16'; use one of float32, float16"),
    "range": (["HML.MR.WEIGHT", "-1"], "HML.MR.WEIGHT is '?-1"),
    "labels per stage": (["HML.STAGES.LABELS", "only,only,only"], "3 entries but the tree has 2"),
    "iterations per stage": (["HML.STAGES.ITERATIONS", "1,2,3"], "3 entries but the tree has 2"),
    "layers against boundaries": (
        ["HML.TREE.BUILDER", "frequency", "HML.TREE.BOUNDARIES", "10", "HML.TREE.LAYERS", "3"],
        "HML.TREE.LAYERS is 3, but HML.TREE.BOUNDARIES .10,. gives 2 layers; give 2 ranks",
    ),
    "vectors of no builder": (["HML.TREE.VECTORS", "some.vec"], "HML.TREE.VECTORS is 'some.vec', but no tree is built"),
    "no image under the policy": (["HML.STAGES.LABELS", "only,pure_images"], "stage 2 of 2 is empty"),
    "missing tree": (["HML.TREE.FILE", "nowhere.json"], "nowhere.json does not exist"),
    "tree without vectors": (["HML.TREE.BUILDER", "clustered"], "needs word vectors"),
    "missing vectors": (["HML.TREE.BUILDER", "clustered", "HML.TREE.VECTORS", "nowhere.vec"], "nowhere.vec"),
    "layer left empty": (
        ["HML.TREE.BUILDER", "frequency", "HML.TREE.BOUNDARIES", "50"], "boundaries .50. must ascend between 0 and 50"
    ),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options(case, tiny_vg, out):
    options, match = OPTIONS[case]
    refused(tiny_vg, out, match, *options)


def test_unknown_profile_script_config_and_folders(tiny_vg, out, tmp_path, monkeypatch):
    refused(tiny_vg, out, "profiles are: .*paper|one of 'paper'", "HML.PROFILE", "best")
    with pytest.raises(HMLError, match="no script tools/nothing.py .*tools/relation_train_net.py"):
        run_script("tools/nothing.py", [])
    with pytest.raises(HMLError, match="config file nowhere.yaml does not exist"):
        run_script("tools/relation_train_net.py", ["--config-file", "nowhere.yaml"])
    with pytest.raises(HMLError, match="there is no dataset folder .*none; hml data --help"):
        run_script("tools/relation_train_net.py", [], data=str(tmp_path / "none"))
    with pytest.raises(HMLError, match="--sgb .* is not a Scene-Graph-Benchmark checkout"):
        run_script("tools/relation_train_net.py", [], sgb=str(tmp_path))
    monkeypatch.setenv("SGB_HOME", str(tmp_path))
    with pytest.raises(HMLError, match="SGB_HOME .* is not a Scene-Graph-Benchmark checkout"):
        run_script("tools/relation_train_net.py", [])


def test_batch_that_the_processes_cannot_share(tiny_vg, out, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    refused(tiny_vg, out, "SOLVER.IMS_PER_BATCH is 2, which 3 processes cannot share")
    refused(tiny_vg, out, "TEST.IMS_PER_BATCH is 8", "SOLVER.IMS_PER_BATCH", "3")


def test_tree_files(tiny_vg, out, tmp_path):
    tree = json.loads(config_file("trees/vg150_clustered.json").read_text())
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(tree)[:-40])
    refused(tiny_vg, out, "broken.json", "HML.TREE.FILE", str(broken))
    other = tmp_path / "other.json"
    other.write_text(json.dumps(tree).replace("riding", "driving"))
    refused(tiny_vg, out, "driving|riding", "HML.TREE.FILE", str(other))


def test_overrides_and_words(tiny_vg, out, tmp_path):
    overrides = tmp_path / "overrides.json"
    overrides.write_text(json.dumps({"flying over": {"layer": 2}}))
    builder = ["HML.TREE.BUILDER", "frequency", "HML.TREE.OVERRIDES", str(overrides)]
    refused(tiny_vg, out, "flying over", *builder)
    overrides.write_text("{")
    refused(tiny_vg, out, "overrides.json is not valid JSON at line 1", *builder)
    vectors = tmp_path / "few.vec"
    vectors.write_text("2 3\non 1 0 0\nin 0 1 0\n")
    refused(tiny_vg, out, "vector", "HML.TREE.BUILDER", "clustered", "HML.TREE.VECTORS", str(vectors))


def test_truncated_h5(own_vg, out):
    content = (own_vg / H5).read_bytes()
    (own_vg / H5).write_bytes(content[: len(content) // 2])
    refused(own_vg, out, H5)


@pytest.mark.parametrize("name", [H5, DICTS, "image_data.json"])
def test_missing_file(name, own_vg, out):
    (own_vg / name).unlink()
    refused(own_vg, out, name)


def test_index_out_of_range(own_vg, out):
    with h5py.File(own_vg / H5, "r+") as f:
        f["predicates"][0] = 77
    refused(own_vg, out, "77")


def test_missing_image(own_vg, out):
    with h5py.File(own_vg / H5, "r"):
        victim = sorted((own_vg / "VG_100K").iterdir())[0]
    victim.unlink()
    refused(own_vg, out, victim.stem)


def test_empty_stage(own_vg, out):
    tree = json.loads(config_file("trees/vg150_clustered.json").read_text())
    names = json.loads((own_vg / DICTS).read_text())["predicate_to_idx"]
    coarse = [names[name] for name in tree["layers"]["1"]]
    with h5py.File(own_vg / H5, "r+") as f:
        predicates = f["predicates"][:]
        fine = sorted(set(names.values()) - set(coarse))
        predicates[~torch.isin(torch.from_numpy(predicates[:, 0].astype(int)), torch.tensor(fine)).numpy()] = fine[0]
        f["predicates"][:] = predicates
    refused(own_vg, out, "stage 1 of 2 is empty")


def test_folder_of_a_run_without_hml(tiny_vg, out):
    torch.save({"model": {}}, out / "model_final.pth")
    (out / "last_checkpoint").write_text(str(out / "model_final.pth"))
    refused(tiny_vg, out, "not written by an HML run")


def test_folder_of_a_run_with_hml(tiny_vg, out):
    """Without HML the same command went on training HML's weights as the plain model, in either script."""
    stage = out / "hml" / "stage1"
    stage.mkdir(parents=True)
    (out / "hml" / "settings.json").write_text("{}")
    refused(tiny_vg, out, "out holds an HML run.*with HML.ENABLED True", "HML.ENABLED", "False")
    before, detector = snapshot(out), "demo/detector.yaml"
    for folder, script, config in (
        (stage, "relation_train_net.py", "demo/relation.yaml"), (out, "detector_pretrain_net.py", detector)
    ):
        with pytest.raises(HMLError, match=f"{out} holds an HML run"):
            run_script(f"tools/{script}", ["--config-file", str(config_file(config)), "OUTPUT_DIR", str(folder)],
                       data=str(tiny_vg))
    assert snapshot(out) == before
    refused(tiny_vg, out, f"stage1 is a stage's folder in the run of {out}; give", "OUTPUT_DIR", str(stage))
    (out / "hml" / "settings.json").unlink()
    (out / "model_0000003.hml.pt").write_bytes(b"")  # a run whose settings were deleted
    refused(tiny_vg, out, "holds an HML run", "HML.ENABLED", "False")


@pytest.mark.parametrize(("below", "hml"), [("", "True"), ("hml/stage1", "True"), ("", "False")])
@pytest.mark.parametrize("content", [b"", "model_0000003.pth".encode("utf-16"), None])
def test_last_checkpoint_that_names_none(content, below, hml, tiny_vg, out):
    tag = out / below / "last_checkpoint"
    tag.parent.mkdir(parents=True, exist_ok=True)
    tag.mkdir() if content is None else tag.write_bytes(content)
    refused(tiny_vg, out, f"{tag} (names nothing|is text in UTF-16|is a folder).*delete it to start anew",
            "HML.ENABLED", hml)


def test_checkpoint_cut_in_half(tiny_vg, out):
    path = out / "hml" / "stage1" / "model_0000003.pth"
    path.parent.mkdir(parents=True)
    torch.save({"model": {"w": torch.ones(1000)}, "iteration": 3}, path)
    write_state(path, {"iteration": 3}, 2)
    (path.parent / "last_checkpoint").write_text(str(path))
    path.write_bytes(path.read_bytes()[:2000])
    refused(tiny_vg, out, "model_0000003.pth has 2000 bytes")


def test_settings_changed_between_start_and_resume(tiny_vg, out):
    (out / "hml").mkdir()
    (out / "hml" / "settings.json").write_text(json.dumps({"HML.CR.WEIGHT": 3.0}))
    refused(tiny_vg, out, "was begun with")


def test_damaged_stage_memory(tiny_vg, out):
    memory = out / "hml" / "stage1" / "memory.pt"
    memory.parent.mkdir(parents=True)
    memory.write_bytes(b"half")
    refused(tiny_vg, out, "memory.pt is torn or damaged")
