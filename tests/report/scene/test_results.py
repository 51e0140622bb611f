"""Reading the results of tests, of this package and of SGB, as scene graphs; choosing pictures; other formats."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.metrics.matching import Objects
from maskrcnn_benchmark_hml.metrics.recall import rank_image
from maskrcnn_benchmark_hml.report import stored as stored_files
from maskrcnn_benchmark_hml.report.scene.choose import check_same_test, evenly_spaced, most_changed, named
from maskrcnn_benchmark_hml.report.scene.compare import best_partners, difference, found_in, strongest
from maskrcnn_benchmark_hml.report.scene.export import dot_text, graphml_text
from maskrcnn_benchmark_hml.report.scene.photos import open_photo
from maskrcnn_benchmark_hml.report.scene.results import load_results
from maskrcnn_benchmark_hml.scene_graph import Relation, SceneGraph, SceneObject

from .scenes import crowded, other_predicates

CLASSES = ("__background__", "man", "horse", "hat")
PREDICATES = ("__background__", "parked on", "on", "of", "riding", "sitting on", "part of")  # of tests/report/conftest


@pytest.fixture
def stored(sgb_run, tmp_path):
    """Writes a run as SGB does, with the files that name classes and pictures: ``stored(name, mode)`` -> OUTPUT_DIR."""

    def write(name: str, mode: str = "sgdet", **options) -> Path:
        out = sgb_run(name, mode, **options)
        (out / "labels.json").write_text(json.dumps({str(at): word for at, word in enumerate(CLASSES)}))
        pictures = [{"img_file": str(tmp_path / "photos" / f"{at + 500}.jpg"), "prediction": []} for at in range(40)]
        (out / "inference" / "some_test" / "visual_info.json").write_text(json.dumps(pictures))
        return out

    return write


@pytest.mark.parametrize("old_format", [False, True], ids=["zip", "older than torch 1.6"])
@pytest.mark.parametrize("mode", ["predcls", "sgcls", "sgdet"])
def test_graphs_are_what_was_stored(stored, images, mode, old_format):
    run = load_results(str(stored("run", mode, old_format=old_format)))
    assert (run.task, len(run.ids), run.ids[3], run.objects, run.predicates) == (mode, 40, "503", CLASSES, PREDICATES)
    for at, one in enumerate(images(mode)):
        graph, annotated = run.predicted(at), run.annotated(at)
        assert (graph.image_id, graph.picture) == (f"{500 + at}", f"{500 + at}.jpg")
        assert (graph.width, graph.height) == (100, 100)
        given = mode == "predcls"
        boxes, labels = (one["boxes"], one["labels"]) if given else (one["found"], one["found_labels"])
        assert [list(o.box) for o in graph.objects] == boxes.tolist()
        assert [o.name for o in graph.objects] == [CLASSES[label] for label in labels]
        scores = [None] * len(labels) if given else one["found_scores"].tolist()
        assert [o.score for o in graph.objects] == scores
        assert [[r.subject, r.object] for r in graph.relations] == one["pairs"].tolist()
        for relation, row in zip(graph.relations, one["scores"]):
            weight = 1.0 if given else graph.objects[relation.subject].score * graph.objects[relation.object].score
            assert relation.predicate == PREDICATES[row[1:].argmax() + 1]
            assert relation.score == pytest.approx(weight * row[1:].max(), rel=1e-6)
        rows = [[r.subject, r.object, PREDICATES.index(r.predicate)] for r in annotated.relations]
        assert rows == list(map(list, dict.fromkeys(map(tuple, one["relations"].tolist()))))


@pytest.mark.parametrize("mode", ["predcls", "sgdet"])
def test_the_marked_relations_are_those_that_recall_counts(stored, images, mode):
    """Of the first 20 relations, the annotated ones that ``found_in`` finds are those with a rank below 20."""
    run = load_results(str(stored("run", mode)))
    compared = 0
    for at, one in enumerate(images(mode)):
        if not len(one["relations"]) or not len(one["pairs"]):
            continue
        annotated = Objects(one["boxes"], one["labels"], np.ones(len(one["boxes"])))
        predicted = annotated if mode == "predcls" else Objects(one["found"], one["found_labels"], one["found_scores"])
        ranks = rank_image(annotated, one["relations"], predicted, one["pairs"], one["scores"], iou_threshold=0.5,
                           given_pairs=False)
        found = {tuple(row) for row, rank in zip(one["relations"].tolist(), ranks.constrained) if rank < 20}
        graph = run.annotated(at)
        marks = found_in(graph, strongest(run.predicted(at), 20))
        marked = [r for r, mark in zip(graph.relations, marks) if mark]
        assert {(r.subject, r.object, PREDICATES.index(r.predicate)) for r in marked} == found
        compared += len(found)
    assert compared > 4


def test_tensors_stay_on_disk_until_they_are_asked_for(stored, monkeypatch):
    asked = []
    original = stored_files.load_torch

    def load(path, **options):
        asked.append((path.name, options["mmap"]))
        return original(path, **options)

    monkeypatch.setattr(stored_files, "load_torch", load)
    load_results(str(stored("run")))
    load_results(str(stored("old", old_format=True)))
    assert [mapped for name, mapped in asked if name == "eval_results.pytorch"] == [True, None]


def test_a_run_without_predictions_gets_the_remedy(stored):
    out = stored("run")
    (out / "inference" / "some_test" / "eval_results.pytorch").unlink()
    with pytest.raises(HMLError, match="SAVE_PREDICTIONS False; test the run again with TEST.SAVE_PREDICTIONS True"):
        load_results(str(out))


def test_what_lacks_names_or_is_no_test_is_refused_in_a_sentence(stored, tmp_path):
    out = stored("run")
    (out / "labels.json").unlink()
    with pytest.raises(HMLError, match="names of the object classes"):
        load_results(str(out))
    (out / "labels.json").write_text('{"0": "__background__", "1": "man"}')
    with pytest.raises(HMLError, match="objects of class 2, but the names found near it are 2"):
        [load_results(str(out)).predicted(at) for at in range(40)]
    folder = stored("other") / "inference" / "some_test"
    (folder / "visual_info.json").write_text("[]")
    with pytest.raises(HMLError, match="does not name the 40 pictures"):
        load_results(str(folder))
    (folder / "visual_info.json").unlink()
    assert load_results(str(folder)).ids[:2] == ["0", "1"]
    torch.save({"predictions": []}, folder / "eval_results.pytorch")
    with pytest.raises(HMLError, match="no groundtruths and predictions"):
        load_results(str(folder))
    torch.save({"predictions": [1], "groundtruths": [2]}, folder / "eval_results.pytorch")
    with pytest.raises(HMLError, match="one annotation and one prediction"):
        load_results(str(folder))
    (folder / "metrics.json").write_text('{"mode": "detection"}')
    with pytest.raises(HMLError, match="results of detection"):
        load_results(str(folder))
    with pytest.raises(HMLError, match="does not exist"):
        load_results(str(tmp_path / "nowhere"))


def test_graphs_of_hml_predict_are_read(tmp_path):
    graphs = [replace(crowded(4, seed=at), picture=f"{folder}/a.jpg", image_id="") for at, folder in enumerate("xy")]
    graphs.append(replace(crowded(3), picture="b.jpg", image_id=""))
    content = {"format": "hml scene graphs", "version": 1, "graphs": [graph.to_json() for graph in graphs]}
    (tmp_path / "scene_graphs.json").write_text(json.dumps(content))
    run = load_results(str(tmp_path))
    assert run.ids == ["x/a.jpg", "y/a.jpg", "b"] and run.predicted(1) == graphs[1] and run.annotated(0) is None
    (tmp_path / "one.json").write_text(json.dumps(graphs[2].to_json()))
    assert load_results(str(tmp_path / "one.json")).predicted(0) == graphs[2]
    (tmp_path / "one.json").write_text('{"format": "other"}')
    with pytest.raises(HMLError, match="one.json cannot be drawn"):
        load_results(str(tmp_path / "one.json"))


# ---- which pictures ----


def with_other_predicates(run, every: int):
    """The run with the scores of every so manyth picture in another order."""
    predictions = []
    for at, one in enumerate(run.predictions):
        made = stored_files.StoredBoxes()
        made.__dict__.update(one.__dict__)
        if at % every == 0:
            made.extra_fields = {**one.extra_fields, "pred_rel_scores": one.field("pred_rel_scores").flip(1)}
        predictions.append(made)
    return replace(run, predictions=predictions)


def test_the_pictures_that_differ_most_come_first(stored):
    run = load_results(str(stored("a", "sgcls")))
    runs = [run, with_other_predicates(run, 3)]
    counts = [difference([run.predicted(at) for run in runs], 10) for at in range(40)]
    assert not any(counts[at] for at in range(40) if at % 3) and len(set(counts)) > 4
    by_hand = sorted(range(40), key=lambda at: -counts[at])
    assert most_changed(runs, 5, 10) == [run.ids[at] for at in by_hand[:5]]
    assert most_changed(runs, 99, 10) == [run.ids[at] for at in by_hand if counts[at]]  # equal pictures are left out
    assert most_changed([run, run], 5, 10) == []


def test_one_runs_pictures_are_evenly_spaced(stored):
    run = load_results(str(stored("a")))
    assert evenly_spaced(run, 4) == ["500", "510", "520", "530"] and evenly_spaced(run, 99) == run.ids


def test_pictures_are_named_by_id_or_file(stored):
    run = load_results(str(stored("a")))
    assert named([run], ["503", "501.jpg", "503"]) == ["503", "501"]
    with pytest.raises(HMLError, match="has no picture 9; it has 40, the first are 500, 501, 502"):
        named([run], ["9"])


def test_runs_on_other_data_are_refused(stored):
    run = load_results(str(stored("a")))
    check_same_test([run, run])
    others = {
        "different pictures .40 pictures and 39; 539 is in one alone": replace(run, ids=run.ids[:-1]),
        "different sizes": replace(run, sizes=[(1, 1), *run.sizes[1:]]),
        "different predicate classes": replace(run, predicates=("__background__", "on")),
        "different object classes": replace(run, objects=("__background__", "on")),
    }
    for said, other in others.items():
        with pytest.raises(HMLError, match=said):
            check_same_test([run, run, other])


def test_objects_of_other_boxes_are_matched_by_name_and_overlap():
    one = SceneGraph("", 99, 99, "sgdet", (SceneObject("man", (0, 0, 50, 50)), SceneObject("hat", (0, 0, 50, 50))),
                     (Relation(0, 1, "has"),))
    two = SceneGraph("", 99, 99, "sgdet", (SceneObject("hat", (0, 0, 50, 50)), SceneObject("man", (0, 0, 48, 52)),
                                           SceneObject("man", (60, 60, 90, 90))), (Relation(1, 0, "wearing"),))
    assert best_partners(one, two) == [1, 0] and best_partners(two, one) == [1, 0, -1]
    assert difference([one, two], 5) == 2
    assert difference([one, replace(two, relations=(Relation(2, 0, "wearing"),))], 5) == 0


# ---- photos ----


def test_photos_are_found_and_fit(tmp_path):
    file = tmp_path / "old" / "7.jpg"
    assert "does not exist" in open_photo(file, (20, 10), turned=False)[1]
    assert "do not name" in open_photo(None, (20, 10), turned=False)[1]
    file.parent.mkdir(), (tmp_path / "new").mkdir()
    exif = Image.Exif()
    exif[274] = 6  # displayed upright
    Image.new("RGB", (20, 10), "red").save(file, exif=exif)
    photo, reason = open_photo(file, (40, 20), turned=False)
    assert photo.size == (20, 10) and photo.mode == "RGB" and not reason
    assert open_photo(file, (10, 20), turned=True)[0].size == (10, 20)
    assert "20 x 10 pixels, the results are of 10 x 20" in open_photo(file, (10, 20), turned=False)[1]
    shutil.move(file, tmp_path / "new" / "7.jpg")
    assert open_photo(file, (20, 10), turned=False, folder=tmp_path / "new")[0].size == (20, 10)
    file.write_bytes(b"no picture")
    assert "cannot be read" in open_photo(file, (20, 10), turned=False)[1]


# ---- other formats ----

HARMFUL = 'a "quoted" \\ <b>&\x00\ud800'


def harmful() -> SceneGraph:
    objects = (SceneObject(HARMFUL, (1, 2, 3, 4)), SceneObject("b", (5, 6, 7, 8), 0.5))
    relations = (Relation(0, 1, HARMFUL, 0.25), Relation(0, 1, "on", 0.125), Relation(1, 0, "of"))
    return SceneGraph("p.jpg", 10, 20, "sgdet", objects, relations, "7")


def test_graphml_is_read_by_networkx():
    made = networkx.parse_graphml(graphml_text(harmful()), force_multigraph=True)
    assert dict(made.nodes)["o1"] == {"name": "b", "x1": 5.0, "y1": 6.0, "x2": 7.0, "y2": 8.0, "score": 0.5}
    assert made.nodes["o0"]["name"] == 'a "quoted" \\ <b>&'
    edges = [(one, two, data["predicate"], data["rank"], data.get("score")) for one, two, data in made.edges(data=True)]
    assert sorted(edges, key=lambda e: e[3]) == [
        ("o0", "o1", 'a "quoted" \\ <b>&', 1, 0.25), ("o0", "o1", "on", 2, 0.125), ("o1", "o0", "of", 3, None)
    ]
    assert made.graph["task"] == "sgdet" and graphml_text(harmful()) == graphml_text(harmful())


def test_dot_has_a_node_for_every_relation():
    text = dot_text(harmful())
    assert text.count(" -> ") == 6 and 'label="a \\"quoted\\" \\\\ <b>&"' in text
    assert re.findall(r"(o\d) -> (r\d)", text) == [("o0", "r1"), ("o0", "r2"), ("o1", "r3")]


def test_dot_is_read_by_graphviz():
    program = shutil.which("dot")
    if program is None:
        pytest.skip("Graphviz's program dot is not installed")
    for graph in (harmful(), other_predicates(crowded(30)), SceneGraph("", 1, 1, "sgdet")):
        done = subprocess.run([program, "-Tplain"], input=dot_text(graph).encode(), capture_output=True, check=True)
        assert done.stdout.decode().count("\nnode ") == len(graph.objects) + len(graph.relations)
