"""A finished run predicts on pictures what its test script stored for them; and every mistake is one sentence."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark_hml.datasets.mini_vg import SMALLEST, make_mini_vg
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.experiments.presets import (
    DETECTOR_CONFIG,
    DETECTOR_SCRIPT,
    PREDICTORS,
    TASKS,
    run_overrides,
)
from maskrcnn_benchmark_hml.host.inference import open_run
from maskrcnn_benchmark_hml.resources import config_file
from maskrcnn_benchmark_hml.scene_graph import SceneGraph
from maskrcnn_benchmark_hml.yaml_file import read_config

from ..embedded.test_nine_cells import SMALL, SMALL_HEAD
from ..embedded.warm_run import run_hml
from .predicted import Boxes, compare, difference, drawn, pictures

TRAIN = "tools/relation_train_net.py"
#: Two steps, no validation; every box is a detection, because the detector has hardly learnt.
SHORT = ("SOLVER.MAX_ITER", "2", "SOLVER.TO_VAL", "False", "MODEL.ROI_HEADS.SCORE_THRESH", "0.0")
HML = ("HML.ENABLED", "True", "HML.STAGES.ITERATIONS", "(1,1)")
#: Cell -> pictures in a batch of its test, further settings.
FAST = {("motifs", "sgdet"): (1, ()), ("vctree", "predcls"): (3, HML), ("transformer", "sgcls"): (3, ())}
QUICK = (("motifs", "sgdet"), ("vctree", "predcls"))
CELLS = [pytest.param(p, t, marks=() if (p, t) in QUICK else pytest.mark.slow) for p in PREDICTORS for t in TASKS]


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return make_mini_vg(tmp_path_factory.mktemp("data") / "vg", images=SMALLEST, seed=0)


@pytest.fixture(scope="module")
def detector(data, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("detector")
    words = ["run", "--data", data, DETECTOR_SCRIPT, "--config-file", config_file(DETECTOR_CONFIG), "--skip-test"]
    status, text = run_hml([*words, *SMALL, *SHORT, "OUTPUT_DIR", out], out / "log")
    assert status == 0, text[-3000:]
    return out / "model_final.pth"


@pytest.fixture(scope="module")
def trained(data, detector, tmp_path_factory):
    """``trained(predictor, task, *options)``: a run with its test results, made once."""
    made: dict[tuple, Path] = {}

    def train(*asked: str) -> Path:
        if asked not in made:
            predictor, task, *options = asked
            out = made[asked] = tmp_path_factory.mktemp("run")
            config, cell = run_overrides(predictor, task, data, detector=None if task == "predcls" else detector)
            words = ["run", "--data", data, TRAIN, "--config-file", config, *cell, *SMALL, *SMALL_HEAD, *SHORT]
            status, text = run_hml([*words, *options, "OUTPUT_DIR", out], out / "log")
            assert status == 0, text[-3000:]
        return made[asked]

    return train


@pytest.fixture(scope="module")
def sgdet(trained) -> Path:
    return trained("motifs", "sgdet", "TEST.IMS_PER_BATCH", "1")


@pytest.fixture(scope="module")
def predcls(trained) -> Path:
    return trained("vctree", "predcls", "TEST.IMS_PER_BATCH", "3", *HML)


@pytest.fixture(scope="module")
def photo(data) -> Image.Image:
    return Image.open(pictures(data)[0]).convert("RGB")


@pytest.fixture
def copied(tmp_path):
    """``copied(run, **settings)``: a copy of a run's folder with other settings in its config.yml."""

    def copy(run: Path, **changed) -> Path:
        folder = Path(shutil.copytree(run, tmp_path / "moved", ignore=shutil.ignore_patterns("inference")))
        content = read_config(folder / "config.yml")
        for key, value in changed.items():
            *sections, name = key.split("__")
            node = content
            for section in sections:
                node = node[section]
            node[name] = value
        (folder / "config.yml").write_text(json.dumps(content))  # JSON is YAML
        return folder

    return copy


def alike(a: SceneGraph, b: SceneGraph) -> bool:
    """Up to the rounding of products over other numbers of rows; relations of equal scores may change places."""
    (wrong, score, corner), names = difference(drawn(a), drawn(b)), [[o.name for o in g.objects] for g in (a, b)]
    return names[0] == names[1] and score < 1e-6 and (corner < 1e-3 or wrong > 0)


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.parametrize("predictor, task", CELLS)
def test_predicts_what_the_test_script_stored(trained, data, predictor, task):
    batch, options = FAST.get((predictor, task), (1, ()))
    run = trained(predictor, task, "TEST.IMS_PER_BATCH", str(batch), *options)
    before = contents(run)
    assert not os.environ.get("HML_DATA")  # the annotations are not asked for
    model = open_run(run)
    assert model.task == task and (model.needs_boxes, model.needs_labels) == (task != "sgdet", task == "predcls")
    assert model.object_names[0] == model.predicate_names[0] == "__background__" and len(model.predicate_names) == 51
    found = compare(model, data, run, batch)
    assert found["triplets"] > 100 and found["wrong"] == found["empty"] == 0
    assert found["score"] <= 1e-5 and found["pixels"] <= 1e-3
    assert contents(run) == before


@pytest.mark.slow
@pytest.mark.parametrize("task", ["predcls", "sgdet"])
def test_low_precision(trained, data, task):
    """Bit for bit the same products, in bfloat16 on a CPU."""
    run = trained("motifs", task, "TEST.IMS_PER_BATCH", "1", "DTYPE", "float16")
    found = compare(open_run(run), data, run)
    assert found["triplets"] > 100 and found["wrong"] == 0 and found["score"] <= 1e-5


def test_a_graph_holds_fractions_names_and_pixels(sgdet, predcls, photo):
    graph, short = (open_run(sgdet).predict([(photo, None)], top)[0] for top in (100, 3))
    width, height = photo.size
    assert (graph.picture, graph.width, graph.height, graph.task) == ("", width, height, "sgdet")
    scores = [relation.score for relation in graph.relations]
    assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
    assert short.relations == graph.relations[:3] and short.objects == graph.objects
    for thing in graph.objects:
        x1, y1, x2, y2 = thing.box
        assert -1 <= x1 <= x2 <= width and -1 <= y1 <= y2 <= height and 0 <= thing.score <= 1
        assert thing.name != "__background__"
    given = Boxes(np.array([[0, 0, 20.25, 30], [10, 10, 40, 35], [5, 5, 20, 20]]), ("man", "hat", "shirt"))
    (graph,) = open_run(predcls).predict([(photo, given)])
    assert [(o.name, o.score) for o in graph.objects] == [("man", None), ("hat", None), ("shirt", None)]
    assert graph.objects[0].box == (0, 0, 20.25, 30) and len(graph.relations) == 6


def test_one_box_has_no_relation_and_no_box_gives_an_empty_graph(predcls, trained, photo):
    one, none = Boxes(np.array([[2.0, 3, 30, 40]]), ("man",)), Boxes(np.zeros((0, 4)), ())
    two = Boxes(np.array([[2.0, 3, 30, 40], [5, 5, 20, 25]]), ("man", "hat"))
    model = open_run(predcls)
    graphs = model.predict([(photo, none), (photo, one), (photo, two), (photo, none)])
    assert [len(g.objects) for g in graphs] == [0, 1, 2, 0] and [len(g.relations) for g in graphs] == [0, 0, 2, 0]
    assert graphs[1].objects[0].name == "man"
    assert model.predict([(photo, none)]) == [graphs[0]] and model.predict([]) == []
    sgcls = open_run(trained("transformer", "sgcls", "TEST.IMS_PER_BATCH", "3"))
    (graph,) = sgcls.predict([(photo, Boxes(one.boxes, None))])
    assert len(graph.objects) == 1 and 0 < graph.objects[0].score <= 1 and not graph.relations


def test_a_picture_without_detection_is_empty_beside_one_with(sgdet, copied, photo):
    """All others of a batch are as without it."""
    model = open_run(sgdet)
    best = []
    handle = model._model.roi_heads.box.register_forward_hook(
        lambda module, args, out: best.extend(float(b.get_field("pred_scores").max()) for b in out[1]))
    flat = Image.new("RGB", photo.size, (90, 90, 90))
    model.predict([(photo, None), (flat, None)])
    handle.remove()
    strict = open_run(copied(sgdet, MODEL__ROI_HEADS__SCORE_THRESH=sum(best) / 2))
    order = [photo, flat] if best[0] > best[1] else [flat, photo]
    filled, empty = strict.predict([(order[0], None), (order[1], None)])
    assert filled.objects and not empty.objects and not empty.relations and empty.width == photo.width
    empty, again = strict.predict([(order[1], None), (order[0], None)])
    assert alike(again, filled) and not empty.objects
    assert alike(strict.predict([(order[0], None)])[0], filled)
    assert strict.predict([(order[1], None)]) == strict.predict([(order[1], None), (order[1], None)])[:1] == [empty]


def test_any_size_that_can_be_scaled(sgdet):
    model = open_run(sgdet)
    for size in ((1, 1), (3, 40), (400, 20)):
        (graph,) = model.predict([(Image.new("RGB", size, (200, 30, 30)), None)])
        assert (graph.width, graph.height) == size
    with pytest.raises(HMLError, match="1 x 4000 pixels is too narrow.*cut it"):
        model.predict([(Image.new("RGB", (1, 4000)), None)])


BAD_BOXES = {
    "no boxes": (None, "PredCls, which predicts on given boxes.*--boxes"),
    "no labels": (Boxes(np.array([[0, 0, 9, 9]]), None), "give each box a name"),
    "other count": (Boxes(np.array([[0, 0, 9, 9]]), ("man", "hat")), "1 given boxes and 2 names"),
    "unknown class": (Boxes(np.array([[0, 0, 9, 9]]), ("shirrt",)), "no object class 'shirrt'; did you mean 'shirt'"),
    "background": (Boxes(np.array([[0, 0, 9, 9]]), ("__background__",)), "no object class '__background__'"),
    "outside": (Boxes(np.array([[0, 0, 9, 9], [9000, 0, 9100, 9]]), ("man", "hat")), r"box 1 \(9000.*covers nothing"),
    "corners swapped": (Boxes(np.array([[9, 9, 0, 0]]), ("man",)), "covers nothing.*x1 < x2"),
    "NaN": (Boxes(np.array([[0, 0, np.nan, 9]]), ("man",)), "NaN or infinity"),
    "three numbers": (Boxes(np.array([[0, 0, 9]]), ("man",)), r"shape \(1, 3\)"),
}


@pytest.mark.parametrize("case", BAD_BOXES)
def test_bad_boxes_are_a_sentence(predcls, photo, case):
    given, said = BAD_BOXES[case]
    with pytest.raises(HMLError, match=said):
        open_run(predcls).predict([(photo, given)])


def test_boxes_for_sgdet_are_refused(sgdet, photo):
    with pytest.raises(HMLError, match="finds the boxes itself"):
        open_run(sgdet).predict([(photo, Boxes(np.array([[0, 0, 9, 9]]), ("man",)))])


def test_scores_that_are_not_finite_are_refused(predcls, photo):
    model = open_run(predcls)
    torch.nn.init.constant_(model._model.roi_heads.relation.predictor.ctx_compress.bias, float("nan"))
    with pytest.raises(HMLError, match="number 1 of the batch are NaN or infinite"):
        model.predict([(photo, Boxes(np.array([[0, 0, 9, 9], [3, 3, 20, 20]]), ("man", "hat")))])


def only_a_stage(folder: Path) -> None:
    (folder / "last_checkpoint").unlink()


def stopped(folder: Path) -> None:
    only_a_stage(folder)
    mark(folder, "interrupted")


def mark(folder: Path, state: str) -> None:
    content = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**content, "state": state}))


def in_its_middle(folder: Path) -> None:
    (folder / "model_final.pth").rename(folder / "model_0000001.pth")
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    mark(folder, "interrupted")


def lost(folder: Path) -> None:
    (folder / "model_final.pth").unlink()
    (folder / "last_checkpoint").write_text("model_final.pth")


def never_begun(folder: Path) -> None:
    only_a_stage(folder)
    (folder / "status.json").unlink()
    shutil.rmtree(folder / "hml")


def no_names(folder: Path) -> None:
    for path in folder.glob("*_statistics.cache"):
        path.unlink()


def statistics(folder: Path, change) -> None:
    (path,) = folder.glob("*_statistics.cache")
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


class Marker:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def code_in(name: str):
    def change(folder: Path) -> None:
        torch.save({"model": {"w": torch.ones(1)}, "obj_classes": ["a"], "x": Marker(folder / "code")}, folder / name)

    return change


def other_width(folder: Path) -> None:
    content = torch.load(folder / "model_final.pth", weights_only=False)
    name = "roi_heads.relation.predictor.ctx_compress.weight"
    content["model"][name] = content["model"][name][:40]
    torch.save(content, folder / "model_final.pth")


CACHE = "VG_stanford_filtered_with_attribute_train_statistics.cache"
BAD_RUNS = {
    "no config": (lambda f: (f / "config.yml").unlink(), "has no config.yml"),
    "no checkpoint": (never_begun, "has no checkpoint .no file last_checkpoint"),
    "a stage is finished": (only_a_stage, "is not finished"),
    "stopped": (stopped, "is not finished .interrupted and saved.*train it to its end"),
    "in its middle": (in_its_middle, "is not finished .interrupted and saved"),
    "lost checkpoint": (lost, "last_checkpoint names .*model_final.pth"),
    "no names": (no_names, f"has no {CACHE}, which holds the names"),
    "cut names": (lambda f: (f / CACHE).write_bytes((f / CACHE).read_bytes()[:999]), f"{CACHE} cannot be read"),
    "too few predicates": (lambda f: statistics(f, lambda c: c["rel_classes"].pop()),
                           "ROI_RELATION_HEAD.NUM_CLASSES is 51, but .* names 50 predicates"),
    "too few objects": (lambda f: statistics(f, lambda c: c["obj_classes"].pop()),
                        "ROI_BOX_HEAD.NUM_CLASSES is 151, but .* names 150 object classes"),
    "names of another run": (lambda f: statistics(f, lambda c: c["obj_classes"].reverse()), "labels.json names object"),
    "no class names inside": (lambda f: statistics(f, lambda c: c.pop("rel_classes")), "holds no rel_classes"),
    "code in the names": (code_in(CACHE), "mkdir, which is not loaded because it could run code"),
    "code in the weights": (code_in("model_final.pth"), "mkdir, which is not loaded because it could run code"),
    "other shapes": (other_width, "has other shapes than this model|is \\(40, "),
}


@pytest.mark.parametrize("case", BAD_RUNS)
def test_a_bad_run_is_a_sentence(predcls, copied, case):
    change, said = BAD_RUNS[case]
    folder = copied(predcls)
    change(folder)
    before = contents(folder)
    with pytest.raises(HMLError, match=said) as refused:
        open_run(folder)
    assert "\n" not in str(refused.value) and contents(folder) == before


def test_settings_of_another_version_or_benchmark(predcls, copied, tmp_path):
    folder = copied(predcls, MODEL__NOVEL=3)
    with pytest.raises(HMLError, match="trained by another version or fork.*there is no key MODEL.NOVEL"):
        open_run(folder)
    (folder / "config.yml").write_text(json.dumps({"MODEL": {"RELATION_ON": True}}))
    with pytest.raises(HMLError, match="is of a checkout of SGB or a fork; name that checkout with --sgb DIR"):
        open_run(folder)
    checkout = tmp_path / "checkout"
    (checkout / "maskrcnn_benchmark").mkdir(parents=True)
    (checkout / "tools").mkdir()
    (checkout / "tools" / "relation_train_net.py").touch()
    with pytest.raises(HMLError, match="is of the bundled benchmark, not of .*checkout; leave out --sgb"):
        open_run(predcls, str(checkout))
    with pytest.raises(HMLError, match="there is no folder .*absent"):
        open_run(tmp_path / "absent")


def test_a_detector_and_a_device_that_is_not_there(predcls, copied, detector):
    with pytest.raises(HMLError, match="trained a detector without relations"):
        open_run(detector.parent)
    with pytest.raises(HMLError, match="there is no device tpu9000"):
        open_run(predcls, device="tpu9000")
    if not torch.cuda.is_available():
        with pytest.raises(HMLError, match="torch sees no GPU here; use cpu"):
            open_run(predcls, device="cuda")
        assert open_run(copied(predcls, MODEL__DEVICE="cuda")).device == torch.device("cpu")
