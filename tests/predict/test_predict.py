"""`hml predict` and its Python function, with a model that answers without a network."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest
from PIL import Image

from maskrcnn_benchmark_hml import cli
from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.predict import batches
from maskrcnn_benchmark_hml.predict.folder import ALL, FILES, LOCK
from maskrcnn_benchmark_hml.predict.pictures import RECORD
from maskrcnn_benchmark_hml.predict.prediction import predict
from maskrcnn_benchmark_hml.scene_graph import SceneGraph

from .conftest import FakeModel

PAGE = Path(__file__).resolve().parents[2] / "docs" / "predict.md"


def files(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def call(host, *more, draw="none"):
    return cli.main(["predict", str(host.run), *map(str, more), "--draw", draw])


def test_order_is_kept_and_a_batch_has_one_shape(host, photos):
    graphs = list(predict(host.run, [photos], batch=2))
    assert [Path(graph.picture).relative_to(photos).as_posix() for graph in graphs] == [
        "0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "more/0.jpg"]
    assert [(graph.width, graph.height) for graph in graphs] == [
        (40, 30), (30, 40), (80, 60), (40, 30), (30, 40), (50, 50)]
    assert host.model.batches == [[(40, 30), (80, 60)], [(30, 40), (30, 40)], [(40, 30)], [(50, 50)]]


def test_graphs_come_before_all_pictures_are_read(host, tmp_path, monkeypatch):
    """Memory is bounded: with many pictures the first graph is there while most pictures are not open."""
    opened = []
    original = batches.open_photo
    monkeypatch.setattr(batches, "open_photo", lambda path: opened.append(path) or original(path))
    for k in range(60):
        Image.new("RGB", (9, 9)).save(tmp_path / f"{k:02}.png")
    found = iter(predict(host.run, [tmp_path], batch=2))
    next(found)
    assert len(opened) <= 2 * (batches.BATCHES_AHEAD + 1)
    assert len(list(found)) == 59 and len(opened) == 60


def test_large_pictures_have_a_batch_of_their_own(host, photos, monkeypatch):
    monkeypatch.setattr(batches, "PIXELS_OF_A_BATCH", 40 * 30)
    list(predict(host.run, [photos], batch=4))
    assert [len(batch) for batch in host.model.batches] == [1] * 6


def test_top(host, photos):
    assert {len(graph.relations) for graph in predict(host.run, str(photos), top=1)} == {1}
    with pytest.raises(HMLError, match="at least 1 .--top 0"):
        predict(host.run, [photos], top=0)


def test_a_broken_picture_is_named_and_the_others_go_on(host, photos, caplog):
    (photos / "1.jpg").write_text("no picture")
    (photos / "3.jpg").write_bytes((photos / "2.jpg").read_bytes()[:-200])
    found = predict(host.run, [photos])
    assert len(list(found)) == 4 == len(found) - 2
    assert list(found.failed) == [str(photos / "1.jpg"), str(photos / "3.jpg")]
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 2 and "1.jpg" in caplog.text


def test_what_the_model_refuses_is_one_picture_only(host, photos):
    def fails(size):
        if size == (80, 60):
            raise HMLError("too narrow")

    host.model.fails = fails
    found = predict(host.run, [photos])
    assert len(list(found)) == 5 and found.failed == {str(photos / "2.jpg"): "too narrow"}


def test_a_batch_that_does_not_fit_into_memory_is_tried_one_by_one(host, photos):
    def predicted(batch, top):
        if len(batch) > 1 or batch[0][0].size == (80, 60):
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return FakeModel().predict(batch, top)

    host.model.predict = predicted
    found = predict(host.run, [photos])
    assert len(list(found)) == 5
    assert found.failed[str(photos / "2.jpg")]== "it does not fit into memory; make it smaller"

    def broken(batch, top):
        raise RuntimeError("shape mismatch")

    host.model.predict = broken
    with pytest.raises(RuntimeError, match="shape mismatch"):
        list(predict(host.run, [photos]))


def test_no_detection_gives_an_empty_graph(host, tmp_path):
    Image.new("RGB", (7, 7)).save(tmp_path / "a.png")
    (graph,) = predict(host.run, [tmp_path / "a.png"])
    assert graph == SceneGraph(str(tmp_path / "a.png"), 7, 7, "sgdet")


def test_files_of_the_command(host, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(host, photos, "--out", out) == 0
    graphs = ["graphs/more/0.jpg.json", *(f"graphs/{k}.jpg.json" for k in range(5))]
    assert files(out) == sorted([ALL, RECORD, LOCK, *graphs])
    content = json.loads((out / ALL).read_text())
    graphs = [SceneGraph.from_json(graph) for graph in content["graphs"]]
    assert graphs == list(predict(host.run, [photos]))
    assert SceneGraph.from_json(json.loads((out / "graphs" / "more" / "0.jpg.json").read_text())) == graphs[-1]
    said = capsys.readouterr().out
    assert "6 of 6 pictures have a scene graph: 12 objects, 12 relations" in said and "notes.txt" in said
    assert str(out / ALL) in said


def test_default_folder(host, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call(host, photos) == 0
    assert (tmp_path / "predictions" / "run" / ALL).is_file()


def test_exit_code_and_record_name_the_failures(host, photos, tmp_path, capsys):
    (photos / "1.jpg").write_text("no picture")
    assert call(host, photos, "--out", tmp_path / "out") == 1
    assert re.search(r"no scene graph of .*1.jpg: .*1.jpg", capsys.readouterr().out)
    assert list(json.loads((tmp_path / "out" / RECORD).read_text())["failed"]) == [str(photos / "1.jpg")]
    assert len(json.loads((tmp_path / "out" / ALL).read_text())["graphs"]) == 5


def test_finished_pictures_are_not_predicted_again(host, photos, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(host, photos / "0.jpg", photos / "1.jpg", "--out", out) == 0
    host.model.batches.clear()
    assert call(host, photos, "--out", out) == 0
    assert sum(map(len, host.model.batches)) == 4
    assert "6 of 6 pictures have a scene graph, 2 of them from an earlier call: 12 objects" in capsys.readouterr().out
    assert call(host, photos, "--out", out) == 0 and host.opened == 2  # nothing to do: no model is made
    Image.new("RGB", (33, 30)).save(photos / "1.jpg")
    host.model.batches.clear()
    assert call(host, photos, "--out", out) == 0 and host.model.batches == [[(33, 30)]]
    assert [graph["width"] for graph in json.loads((out / ALL).read_text())["graphs"]] == [40, 33, 80, 40, 30, 50]


def test_graphs_of_an_earlier_call_stay_in_the_file_of_all(host, photos, tmp_path):
    out = tmp_path / "out"
    call(host, photos / "0.jpg", "--out", out)
    call(host, photos / "1.jpg", "--out", out)
    pictures = [graph["picture"] for graph in json.loads((out / ALL).read_text())["graphs"]]
    assert pictures == [str(photos / "1.jpg"), str(photos / "0.jpg")]


def test_interrupted_work_is_continued(host, photos, tmp_path):
    out, original = tmp_path / "out", host.model.predict

    def stops(batch, top):
        if len(host.model.batches) == 2:
            raise KeyboardInterrupt
        return original(batch, top)

    host.model.predict = stops
    assert call(host, photos, "--out", out, "--batch", "1") == 130
    assert len(files(out / "graphs")) == 2 and not (out / ALL).exists()
    host.model.predict = original
    host.model.batches.clear()
    assert call(host, photos, "--out", out, "--batch", "1") == 0
    assert len(host.model.batches) == 4 and len(json.loads((out / ALL).read_text())["graphs"]) == 6


@pytest.mark.parametrize("how, words", [("top", "another top"), ("checkpoint", "another checkpoint")])
def test_results_of_another_run_or_option_are_not_mixed(how, words, host, photos, tmp_path, capsys):
    out = tmp_path / "out"
    call(host, photos, "--out", out)
    before = files(out)
    if how == "checkpoint":
        host.checkpoint.write_bytes(b"other weights")
    assert call(host, photos, "--out", out, *(["--top", "7"] if how == "top" else [])) == 2
    assert f"has predictions with {words}" in capsys.readouterr().err and files(out) == before and host.opened == 1


def test_equal_names_and_files_of_the_user_stay_apart(host, photos, tmp_path):
    out = tmp_path / "out"
    (out / "graphs").mkdir(parents=True)
    (out / "graphs" / "1.jpg.json").write_text('{"mine": 1}')
    (out / "drawings").mkdir()
    (out / "drawings" / "2.jpg.svg").write_text("mine too")
    assert call(host, photos / "more" / "0.jpg", photos, "--out", out, draw="svg") == 0
    assert {"0.jpg", "0-2.jpg", "1-2.jpg", "2-2.jpg"} <= {file.stem for file in (out / "graphs").iterdir()}
    assert (out / "graphs" / "1.jpg.json").read_text() == '{"mine": 1}'
    assert (out / "drawings" / "2.jpg.svg").read_text() == "mine too"
    assert len(json.loads((out / ALL).read_text())["graphs"]) == 6
    host.model.batches.clear()
    assert call(host, photos / "more" / "0.jpg", photos, "--out", out) == 0 and not host.model.batches


def test_a_file_of_the_user_with_our_name_is_not_overwritten(host, photos, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ALL).write_text("mine")
    assert call(host, photos, "--out", tmp_path / "out") == 2
    assert "is not of hml predict; choose another --out" in capsys.readouterr().err
    assert files(tmp_path / "out") == [ALL]
    (tmp_path / "file").touch()
    assert call(host, photos, "--out", tmp_path / "file") == 2 and host.opened == 0


def test_results_inside_the_picture_folder_are_no_pictures(host, photos):
    for _ in range(2):
        assert call(host, photos, "--out", photos / "results") == 0
    (photos / "results" / "drawings").mkdir(exist_ok=True)
    Image.new("RGB", (9, 9)).save(photos / "results" / "drawings" / "0.jpg.png")
    assert call(host, photos, "--out", photos / "results") == 0
    assert len(json.loads((photos / "results" / ALL).read_text())["graphs"]) == 6


def boxed(photos, tmp_path, rows, **more):
    stated = {f"{k}.jpg": rows for k in range(5)}
    (tmp_path / "boxes.json").write_text(json.dumps({**stated, "more/0.jpg": rows, **more}))
    return "--boxes", tmp_path / "boxes.json"


def test_boxes_of_predcls_and_sgcls(host, photos, tmp_path, capsys):
    host.model = FakeModel("predcls")
    rows = [{"box": [1, 2, 11, 22], "name": "dog"}, {"box": [0, 0, 20, 20], "index": 2}]
    given = boxed(photos, tmp_path, rows, **{"0.jpg": [], "nothing.jpg": rows})
    assert call(host, photos, "--out", tmp_path / "out", *given) == 0
    graphs = [SceneGraph.from_json(g) for g in json.loads((tmp_path / "out" / ALL).read_text())["graphs"]]
    assert [[o.name for o in graph.objects] for graph in graphs] == [[], *[["dog", "man"]] * 5]
    assert graphs[0].task == "predcls" and graphs[1].objects[0].box == (1, 2, 11, 22)
    assert "1 entries belong to none of these pictures (first: nothing.jpg)" in capsys.readouterr().out
    host.model = FakeModel("sgcls")
    graphs = list(predict(host.run, [photos], boxes={"0.jpg": [{"box": [1, 2, 11, 22]}], "1.jpg": []}))
    assert [len(graph.objects) for graph in graphs] == [1, 0]


def test_a_picture_without_boxes_is_named(host, photos, tmp_path, capsys):
    host.model = FakeModel("predcls")
    given = {"0.jpg": [{"box": [1, 2, 11, 22], "name": "dog"}]}
    (tmp_path / "boxes.json").write_text(json.dumps(given))
    assert call(host, photos / "0.jpg", photos / "1.jpg", "--out", tmp_path / "out", "--boxes",
                tmp_path / "boxes.json") == 1
    assert re.search("no scene graph of .*1.jpg: .*boxes.json has no boxes of it", capsys.readouterr().out)


def test_changed_boxes_are_predicted_again(host, photos, tmp_path):
    host.model = FakeModel("predcls")
    for corner, number in ((11, 6), (11, 0), (12, 6)):
        host.model.batches.clear()
        given = boxed(photos, tmp_path, [{"box": [1, 2, corner, 22], "name": "dog"}])
        assert call(host, photos, "--out", tmp_path / "out", *given) == 0
        assert sum(map(len, host.model.batches)) == number


@pytest.mark.parametrize("task, row, words", [
    ("predcls", {"box": [1, 2, 11, 22], "name": "dgo"}, "did you mean 'dog'"),
    ("predcls", {"box": [1, 2, 11, 22]}, "has no class"),
    ("sgcls", {"box": [1, 2, 11, 222]}, "outside the picture"),
    ("sgdet", {"box": [1, 2, 11, 22]}, "leave --boxes out"),
    ("predcls", None, "PredCls, which predicts on given boxes; add --boxes FILE"),
    ("sgcls", None, "SGCls, which predicts on given boxes; add --boxes FILE"),
])
def test_mistakes_end_before_a_model_is_made_and_write_nothing(task, row, words, host, photos, tmp_path, capsys):
    host.model = FakeModel(task)
    given = boxed(photos, tmp_path, [row]) if row else ()
    assert call(host, photos, "--out", tmp_path / "out", *given) == 2
    assert words in capsys.readouterr().err and not host.opened and not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_drawings(kind, host, photos, tmp_path):
    out = tmp_path / "out"
    call(host, photos, "--out", out)
    assert not (out / "drawings").exists()
    host.model.batches.clear()
    assert call(host, photos, "--out", out, draw=kind) == 0 and not host.model.batches
    drawn = files(out / "drawings")
    assert drawn == sorted([*(f"{k}.jpg.{kind}" for k in range(5)), f"more/0.jpg.{kind}"])
    (out / "drawings" / drawn[0]).unlink()
    Image.new("RGB", (33, 30)).save(photos / "1.jpg")
    assert call(host, photos, "--out", out, draw=kind) == 0
    assert files(out / "drawings") == drawn and host.model.batches == [[(33, 30)]]


def test_the_page_lists_the_files():
    rows = dict(re.findall(r"^\| `([^`|]+)` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE))
    assert FILES.items() <= rows.items()
