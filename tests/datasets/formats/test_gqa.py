"""GQA's scene graphs: every oddity in a small sample, counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.formats import stream
from maskrcnn_benchmark_hml.datasets.formats.gqa import convert_gqa
from maskrcnn_benchmark_hml.errors import HMLError


def thing(name, box, relations=(), attributes=()):
    return {"name": name, **dict(zip("xywh", box)), "attributes": list(attributes),
            "relations": [{"name": predicate, "object": target} for predicate, target in relations]}  # fmt: skip


def graph(objects, size=(500, 375), **more):
    return {"width": size[0], "height": size[1], "objects": objects, **more}


TRAIN = {
    "2407890": graph({
        "271881": thing("chair", (220, 310, 50, 80), [  # reaches over the lower edge by 15
            ("to the left of", "271882"), ("on", "271883"), ("near", "271883"), ("on", "271883"), ("on", "271881"),
        ], ["brown", "wood", "brown"]),
        "271882": thing("lamp", (0, 0, 499, 374), [("to the right of", "271881"), ("on", "999")]),
        "271883": thing("table", (-3, 10, 40, 20), [("near", "271884"), ("near", "271885")]),
        "271884": thing("table", (500, 10, 40, 20), [("on", "271883")]),  # empty after clipping
        "271885": thing("ghost", (1, 1, None, 5), [("on", "271883")]),
        "271886": {"x": 1, "y": 1, "w": 5, "h": 5},
    }, location="indoors", weather="none"),
    "n162523": graph({}, (640, 480)),
}  # fmt: skip
VAL = {
    # The printed example of the download page: relations as a mapping; ids occur in the other file too.
    "2370799": graph({
        "271881": {**thing("chair", (1, 1, 5, 5), attributes=["wood"]),
                   "relations": {"32452": {"name": "near", "object": 271882}}},
        "271882": thing("lamp", (10, 10, 5, 5), [("to the left of", "271881")]),
    }),
}  # fmt: skip


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "gqa"
    folder.mkdir()
    (folder / "train_sceneGraphs.json").write_text(json.dumps(TRAIN))
    (folder / "val_sceneGraphs.json").write_text(json.dumps(VAL))
    return folder


@pytest.mark.parametrize("block", [16, 1 << 18])
def test_every_oddity_is_counted(source, tmp_path, block, monkeypatch):
    monkeypatch.setattr(stream, "_READ", block)
    tally = convert_gqa(source, tmp_path / "out", objects="2")
    assert tally.found == {"images": 3, "objects": 8, "relations": 13}
    # Of chair (2), lamp (2), table (2) the first two of the alphabet stay.
    assert tally.kept == {"images": 3, "objects": 4, "relations": 1}
    dropped = {f"{kind}: {reason}": count.number for (kind, reason), count in tally.dropped.items()}
    assert dropped == {
        "objects: without a name": 1,
        "objects: without a box": 1,
        "objects: the name is not in the vocabulary": 2,
        "relations: to the left or right of, computed from the boxes (--keep-left-right)": 3,
        "relations: the image does not have their object": 1,
        "relations: an end has no name or no box": 2,
        "relations: the subject or object was dropped": 5,
        "relations: subject and object are the same object": 1,
    }
    assert "object classes: 2 of 3 names (the most frequent), 4 of 6 occurrences" in tally.lines()


def test_what_is_written(source, tmp_path):
    convert_gqa(source, tmp_path / "out")
    data = read_vg(tmp_path / "out")
    assert data.vocabulary.objects == ("chair", "lamp", "table") and data.vocabulary.predicates == ("near", "on")
    assert data.vocabulary.attributes == ("brown", "wood")
    first, second, third = data.records
    assert [(r.image_id, r.split, r.extra["source_id"], r.extra["file_name"]) for r in data.records] == [
        (2407890, 0, "2407890", "2407890.jpg"), (10000001, 0, "n162523", "n162523.jpg"),
        (2370799, 2, "2370799", "2370799.jpg")]
    assert first.labels.tolist() == [1, 2, 3] and third.labels.tolist() == [1, 2] and not len(second.labels)
    np.testing.assert_allclose(
        first.boxes, [[220, 310, 270, 375], [0, 0, 499, 374], [0, 10, 37, 30]], atol=0.5)
    # Two predicates on chair and table stay, the repetition goes; what joins dropped objects goes.
    assert first.relations.tolist() == [[0, 2, 2], [0, 2, 1]] and third.relations.tolist() == [[0, 1, 1]]
    assert first.attributes == [(1, 2), (), ()] and third.attributes == [(2,), ()]


def test_left_and_right_are_kept_on_demand(source, tmp_path):
    tally = convert_gqa(source, tmp_path / "out", keep_left_right=True)
    assert read_vg(tmp_path / "out").vocabulary.predicates == ("near", "on", "to the left of", "to the right of")
    assert tally.kept["relations"] == 6
    assert tally.noted["relations to the left or right of, computed from the boxes"].number == 3


def test_names_of_gqa_200(source, tmp_path, capsys):
    names = source / "GQA_200_ID_Info.json"
    names.write_text(json.dumps({"ind_to_classes": ["__background__", "table", "chair"],
                                 "ind_to_predicates": ["__background__", "on"]}))  # fmt: skip
    out = tmp_path / "out"
    given = ["--objects", str(names), "--predicates", str(names), "--attributes", "1"]
    assert main(["data", "convert-gqa", str(source), str(out), *given]) == 0
    printed = capsys.readouterr().out
    assert "object classes: 2 of 3 names (as given), 4 of 6 occurrences" in printed
    assert "dropped 3 relations: the predicate is not in the vocabulary" in printed
    assert f"next: hml data placeholders {out}" in printed
    data = read_vg(out)
    assert (data.vocabulary.objects, data.vocabulary.predicates) == (("table", "chair"), ("on",))
    assert data.vocabulary.attributes == ("wood",)
    assert data.records[0].relations.tolist() == [[0, 1, 1]] and data.records[0].labels.tolist() == [2, 1]
    assert main(["data", "placeholders", str(out)]) == 0
    assert "correct" in check_vg(out, open_pictures=True).text()


@pytest.mark.parametrize(("name", "content", "says"), [
    ("train", None, "has no train_sceneGraphs.json; GQA's scene graphs are"),
    ("val", {"2407890": TRAIN["2407890"]}, "image 2407890 is in train_sceneGraphs.json and in val_sceneGraphs.json"),
    ("val", '{"1": {"width": 5, "height": 5, "objects": {}}, "1": {"width": 5, "height": 5, "objects": {}}}',
     "lists image 1 twice"),
    ("train", {"1": {"objects": {}}}, "image 1 has the size None x None"),
    ("train", {"1": {"width": 5, "height": 5}}, "image 1 has no objects; the file must be one of GQA's"),
    ("train", [1], "train_sceneGraphs.json holds no image"),
    ("val", '{"1": {"width": 5, "hei', "val_sceneGraphs.json is cut short"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(source, tmp_path, name, content, says):
    path = source / f"{name}_sceneGraphs.json"
    path.unlink()
    if content is not None:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(HMLError, match=says) as error:
        convert_gqa(source, tmp_path / "out")
    assert "\n" not in str(error.value) and [p.name for p in tmp_path.iterdir()] == ["gqa"]
