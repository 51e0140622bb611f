"""Label Studio's JSON export: a sample with every oddity, counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import TEST, TRAIN, Vocabulary, check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.formats.label_studio import convert_label_studio
from maskrcnn_benchmark_hml.errors import HMLError


def region(name, box, *classes, kind="rectanglelabels", item=None, **value):
    x, y, width, height = box
    entry = {"id": name, "type": kind, "from_name": "label", "to_name": "image", "original_width": 800,
             "original_height": 600, "image_rotation": 90,
             "value": {"x": x, "y": y, "width": width, "height": height, "rotation": 0, **value}}  # fmt: skip
    if classes:
        entry["value"][kind] = list(classes)
    return entry if item is None else {**entry, "item_index": item}


def arrow(start, end, *labels, **further):
    return {"type": "relation", "from_id": start, "to_id": end, "direction": "right", "labels": list(labels), **further}


def task(number, image, *results, data=None, **further):
    return {"id": number, "data": data or {"image": image, "note": "x.txt"}, "predictions": [{"result": 7}],
            "drafts": [], "annotations": [annotation(*results, **further)]}  # fmt: skip


def annotation(*results, **further):
    return {"id": 1, "completed_by": 1, "was_cancelled": False, "ground_truth": False,
            "updated_at": "2026-01-01T00:00:00Z", "result": list(results), **further}  # fmt: skip


MAN, HORSE = region("a", (50, 50, 10, 10), "man", rotation=90), region("b", (0, 0, 50, 50), "horse")


def odd() -> list[dict]:
    """Tasks with every oddity."""
    first = task(
        12, "/data/upload/3/0123abcd-cat%20one.jpg", MAN, HORSE,
        {**region("a", (50, 50, 10, 10)), "type": "choices", "value": {"choices": ["old", "tall"]}},
        {**region("a", (50, 50, 10, 10)), "type": "textarea", "value": {"text": ["hello"]}},
        region("c", (10, 10, 20, 20), kind="rectangle"), region("c", (10, 10, 20, 20), "hat", kind="labels"),
        region("d", (90, 90, 20, 20), "hat", "red thing"),  # over the edge, two classes
        region("e", (0, 0, 0, 5), "hat"),  # no width
        region("f", (0, 0, 0, 0), "hat", kind="polygonlabels", points=[[10, 10], [20, 10], [15, 30]]),
        region("g", (0, 0, 0, 0), "hat", kind="brushlabels", rle=[1, 2]),
        {"id": "whole", "type": "choices", "value": {"choices": ["sunny"]}, "from_name": "weather", "to_name": "image"},
        arrow("a", "b", "on", "rides"),  # two predicates
        arrow("a", "c", "wears", direction="left"),  # the hat is the subject
        arrow("c", "d", "near", direction="bi"),
        {"type": "relation", "from_id": "b", "to_id": "a"},  # no labels
        arrow("b", "d", labels=None), arrow("b", "c", direction="bi"),
        {"type": "relation", "from_id": "f", "to_id": "a", "labels": ["on"]},  # no direction
        arrow("a", "gone", "on"), arrow("a", "e", "on"), arrow("a", "g", "on"), arrow("a", "a", "on"),
        arrow("a", "b", "on"),  # a repetition
    )  # fmt: skip
    older = task(5, "b.jpg", region("a", (0, 0, 50, 50), "wrong"))
    older["annotations"] += [
        annotation(region("a", (10, 10, 10, 10), "man"), region("b", (20, 20, 10, 10), "hat"), arrow("b", "a", "on"),
                   updated_at="2026-03-01T00:00:00Z", completed_by={"id": 2, "email": "eve@x.org"}),
        annotation(region("a", (0, 0, 50, 50), "wrong"), was_cancelled=True, updated_at="2026-09-01T00:00:00Z"),
    ]  # fmt: skip
    truth = task(6, "http://host/c.jpg?x=1", MAN, ground_truth=True)
    truth["annotations"].append(annotation(HORSE, updated_at="2026-09-01T00:00:00Z"))
    pages = task(7, None, region("a", (0, 0, 9, 9), "man", item=0), region("b", (0, 0, 9, 9), "hat", item=1),
                 region("c", (20, 0, 9, 9), "man", item=1), arrow("a", "b", "on"), arrow("c", "b", "on"),
                 data={"pages": ["/data/local-files/?d=x/p1.jpg", "p2.jpg"]})  # fmt: skip
    return [first, older, truth, pages, task(8, "d.jpg", MAN, was_cancelled=True)]


def write(place, tasks, *names):
    file, photos = place / "export.json", place / "photos"
    file.write_text(json.dumps(tasks))
    photos.mkdir(exist_ok=True)
    for name in names:
        (photos / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (800, 600), (9, 90, 9)).save(photos / name)
    return file, photos


def test_every_oddity_is_kept_or_counted(tmp_path):
    file, photos = write(tmp_path, odd(), "cat one.jpg", "b.jpg", "c.jpg", "x/p1.jpg", "p2.jpg")
    tally = convert_label_studio(file, tmp_path / "out", photos=photos, test=0)
    data = read_vg(tmp_path / "out")
    assert data.vocabulary == Vocabulary(
        ("hat", "horse", "man"), ("near", "on", "rides", "wears"), ("old", "red thing", "tall"))
    first, newest, truth, page, other = data.records
    np.testing.assert_allclose(first.boxes, [[340, 300, 400, 380], [0, 0, 400, 300], [80, 60, 240, 180],
                                             [720, 540, 800, 600], [80, 60, 160, 180]], atol=0.5)  # fmt: skip
    assert first.labels.tolist() == [3, 2, 1, 1, 1] and first.attributes == [(1, 3), (), (), (2,), ()]
    assert first.relations.tolist() == [[0, 1, 2], [0, 1, 3], [2, 0, 4], [2, 3, 1], [3, 2, 1], [4, 0, 2]]
    assert newest.labels.tolist() == [3, 1] and newest.relations.tolist() == [[1, 0, 2]]
    assert truth.labels.tolist() == [3]
    assert page.labels.tolist() == [3] and other.labels.tolist() == [1, 3] and other.relations.tolist() == [[1, 0, 2]]
    assert [r.extra["source_id"] for r in data.records] == ["12", "5", "6", "7", "7-1"]
    assert first.extra["file_name"] == "data/upload/3/0123abcd-cat one.jpg" and first.image_id == 12
    lines = tally.lines()
    for line in (
        "found 6 images, 13 objects, 18 relations",
        "kept 5 images, 11 objects, 8 relations; images: 5 training; 3 with relations",
        "dropped 1 image: their task has no annotation (the first: task 8)",
        "dropped 1 object: the box covers nothing of the picture (the first: image 12)",
        "dropped 1 object: they are neither rectangles nor polygons (brush) (the first: image 12)",
        "dropped 4 relations: they have no label, that is no predicate (the first: task 12)",
        "dropped 1 relation: their subject or object is no region of the annotation (the first: task 12)",
        "dropped 1 relation: they join regions of two pictures of a task (the first: task 7)",
        "dropped 2 relations: the subject or object was dropped (the first: image 12)",
        "dropped 1 relation: subject and object are the same object (the first: image 12)",
        "merged 1 relation: exact repetitions (the first: image 12)",
        "arrows 'right', read as from predicate to: 8 (the first: man on horse in task 12)",
        "arrows 'left', read as to predicate from: 1 (the first: hat wears man in task 12)",
        "arrows 'bi', read as both: 1 (the first: hat near hat in task 12)",
        "turned rectangles, which became the box around them: 2 (the first: task 12)",
        "polygons, which became the box around them: 1 (the first: task 12)",
        "objects with several classes: the first counts, the others become attributes: 1 (the first: hat, red thing in"
        " task 12)",
        "annotations that were skipped (was_cancelled), which are left out: 2 (the first: task 5)",
        "further annotations of a task, which are left out; the ground truth counts, else the newest: 2 (the first:"
        " task 5)",
        "further answers about regions (text, numbers), which are left out: 1 (the first: task 12)",
    ):
        assert line in lines, lines
    assert check_vg(tmp_path / "out", open_pictures=True).source["lines"] == lines


def test_one_annotator(tmp_path):
    file, photos = write(tmp_path, odd(), "cat one.jpg", "b.jpg", "c.jpg", "x/p1.jpg", "p2.jpg")
    for who in ("2", "eve@x.org"):
        tally = convert_label_studio(file, tmp_path / "out", photos=photos, annotator=who, force=True)
        assert [r.extra["source_id"] for r in read_vg(tmp_path / "out").records] == ["5"]
        assert "dropped 5 images: their task has no annotation (the first: task 12)" in tally.lines()
    with pytest.raises(HMLError, match="has no annotated task of annotator 9"):
        convert_label_studio(file, tmp_path / "other", photos=photos, annotator="9")


def test_pictures_are_drawn_for_testing_and_turned_as_in_a_browser(tmp_path):
    tasks = [task(i, f"{i}.jpg", MAN, HORSE, arrow("a", "b", "on")) for i in range(1, 11)]
    file, photos = write(tmp_path, tasks, *(f"{i}.jpg" for i in range(2, 11)))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (600, 800)).save(photos / "1.jpg", exif=exif)
    assert main(["data", "convert-label-studio", str(file), str(tmp_path / "out"), "--photos", str(photos)]) == 0
    records = read_vg(tmp_path / "out").records
    assert [r.split for r in records].count(TEST) == 2 and [r.split for r in records].count(TRAIN) == 8
    with Image.open(tmp_path / "out" / "VG_100K" / "1.jpg") as picture:
        assert picture.size == (800, 600)


def first_result(tasks):
    return tasks[0]["annotations"][0]["result"]


@pytest.mark.parametrize(("change", "says"), [
    (lambda t: first_result(t)[0]["value"].pop("rectanglelabels"), "task 1: the region a has no class; label it"),
    (lambda t: first_result(t)[0]["value"].update(rectanglelabels=[]), "task 1: the region a has no class"),
    (lambda t: first_result(t)[0]["value"].update(x="5"), "the region a has x, y, width, height = .* must be numbers"),
    (lambda t: first_result(t)[0].pop("original_width"), "has no original_width"),
    (lambda t: first_result(t)[2].update(direction="up"), "a relation has the direction 'up'; known are right, left"),
    (lambda t: t[0]["data"].update(other="y.png"), "the keys image, other could; give --image-key KEY"),
    (lambda t: t[0].update(data={"text": "hello"}), "no key of text does; give --image-key KEY"),
    (lambda t: t[0].pop("annotations"), "task 0 of .* has no data or no annotations; export the project as JSON"),
    (lambda t: t[0].pop("id"), "task 0 of .* has the id None"),
    (lambda t: t[0]["annotations"][0].update(result="x"), "task 1 has the result \"'x'\"|task 1 has the result 'x'"),
    (lambda t: first_result(t)[0].update(item_index=3), "region a is of picture 3, the task has 1"),
    (lambda t: first_result(t).pop(2), "has no relation with a label"),
    (lambda t: first_result(t)[0].update(original_width=400), "is 800x600, but its annotation says 400x600"),
    (lambda t: t[0]["data"].update(image="z.jpg"), "the picture z.jpg of image 1 is not in .*--skip-missing"),
    (lambda t: t.append({**t[0], "id": 2, "data": {"image": "/upload/0a0a0a0a-1.jpg"}}), "tasks 1 and 2 both fit the"),
    (lambda t: t.insert(0, {"id": 1, "image": "1.jpg", "annotator": 1, "label": []}), "JSON-MIN.*export as JSON"),
])  # fmt: skip
def test_bad_input_is_one_sentence_and_writes_nothing(change, says, tmp_path):
    man = region("a", (50, 50, 10, 10), "man")
    tasks = json.loads(json.dumps([task(1, "1.jpg", man, HORSE, arrow("a", "b", "on"))]))
    change(tasks)
    file, photos = write(tmp_path, tasks, "1.jpg")
    with pytest.raises(HMLError, match=says):
        convert_label_studio(file, tmp_path / "out", photos=photos)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["export.json", "photos"]


def test_bad_places_are_named(tmp_path):
    file, photos = write(tmp_path, {"a": 1})
    for bad, says in ((file, "holds no list of tasks"), (tmp_path / "no.json", "does not exist")):
        with pytest.raises(HMLError, match=says):
            convert_label_studio(bad, tmp_path / "out", photos=photos)
    file.write_text("[]")
    with pytest.raises(HMLError, match="has no annotated task"):
        convert_label_studio(file, tmp_path / "out", photos=photos)
    with pytest.raises(HMLError, match="--test is 1; give a share"):
        convert_label_studio(file, tmp_path / "out", photos=photos, test=1)
