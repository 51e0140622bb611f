"""VRD: each irregularity on a small made-up source, then made-up and published annotations of VRD's vocabulary."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.cli import main
from maskrcnn_benchmark_hml.datasets.format import check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.vrd import convert_vrd
from maskrcnn_benchmark_hml.errors import HMLError

from .conftest import VRD_SOURCES

PERSON, BIKE = 0, 1
A, B, C = [1, 100, 11, 60], [51, 90, 1, 200], [7, 8, 20, 80]


def relation(subject, predicate, obj):
    ends = ({"category": category, "bbox": box} for category, box in (subject, obj))
    return dict(zip(("subject", "object"), ends), predicate=predicate)


@pytest.fixture
def source(tmp_path):
    """Three training images and two test images with every quirk of VRD."""
    folder = tmp_path / "json"
    folder.mkdir()
    rides = relation((PERSON, A), 1, (BIKE, B))
    train = {
        "several.jpg": [rides, relation((PERSON, A), 0, (BIKE, B)), rides, relation((BIKE, B), 0, (BIKE, B))],
        "thin.jpg": [rides, relation((PERSON, C), 0, (BIKE, B))],
        "only_self.jpg": [relation((PERSON, A), 0, (PERSON, A))],
    }
    test = {"renamed.jpg": [rides], "empty.jpg": []}
    files = {
        "objects.json": ["person", "bike"],
        "predicates.json": ["on", "ride"],
        "annotations_train.json": train,
        "annotations_test.json": test,
        "train_image_metadata.json": {name: {"width": 400, "height": 200} for name in train},
        "test_image_metadata.json": {
            "renamed.gif": {"width": 150, "height": 90},
            "empty.jpg": {"width": 640, "height": 480},
        },
    }
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    return folder


def test_quirks(source, tmp_path):
    report = convert_vrd(source, tmp_path / "vrd", max_side=100)
    assert report.images == {"train": 3, "test": 2}
    assert report.annotated == {"train": 3, "test": 1}
    assert report.with_relations == {"train": 2, "test": 1}
    assert (report.self_pairs, report.repeated, report.degenerate_relations) == (2, 1, 1)
    assert report.degenerate == ["person [7, 8, 20, 80] in thin.jpg"]
    assert report.emptied == ["only_self.jpg (train)"]
    assert report.wrong_size == ["renamed.jpg (150x90, taken as 200x100)"]
    assert any("placeholders" in line for line in report.lines())

    counts = check_vg(tmp_path / "vrd", open_pictures=True)
    assert "3/1 with relations" in counts.text() and "self-pairs" in counts.text()
    data = read_vg(tmp_path / "vrd")
    several, thin, only_self, renamed, empty = data.records
    assert several.relations.tolist() == [[0, 1, 2], [0, 1, 1]], "one pair, two predicates, no repetition"
    assert several.labels.tolist() == [1, 2]
    assert (several.width, several.height) == (100, 50), "the picture's size is the drawn one"
    np.testing.assert_allclose(several.boxes * 4, [[10, 0, 60, 100], [0, 50, 200, 90]], atol=0.4)
    assert (len(thin.labels), len(only_self.labels), len(only_self.relations)) == (2, 1, 0)
    assert (renamed.width, renamed.height, len(empty.labels)) == (100, 50, 0)


def test_photographs_are_used(source, tmp_path):
    photos = tmp_path / "photos" / "train"
    photos.mkdir(parents=True)
    for name, size in (("several.jpg", (400, 200)), ("thin.jpg", (400, 200)), ("only_self.jpg", (400, 200)),
                       ("renamed.gif", (210, 110)), ("empty.jpg", (640, 480))):  # fmt: skip
        Image.new("RGB", size, (9, 99, 9)).save(photos / name)
    report = convert_vrd(source, tmp_path / "vrd", photos.parent)
    assert not report.placeholders and not report.wrong_size
    data = read_vg(tmp_path / "vrd")
    assert [(r.width, r.height) for r in data.records][2:4] == [(400, 200), (210, 110)]
    check_vg(tmp_path / "vrd", open_pictures=True)
    (photos / "thin.jpg").unlink()
    with pytest.raises(HMLError, match="photograph thin.jpg is not in"):
        convert_vrd(source, tmp_path / "other", photos.parent)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda r: r.update(predicate=2), "relation 0 of several.jpg .* has predicate 2"),
        (lambda r: r["subject"].update(category=5), "has category 5; objects.json knows 0..1"),
        (lambda r: r["object"].update(bbox=[1, 2, 3]), r"has bbox \[1, 2, 3\]"),
        (lambda r: r["object"].update(bbox=[1, 2, 3, None]), "must be four numbers"),
        (lambda r: r.pop("object"), "lacks 'object'"),
    ],
)
def test_bad_source_is_named(change, says, source, tmp_path):
    annotations = json.loads((source / "annotations_train.json").read_text())
    change(annotations["several.jpg"][0])
    (source / "annotations_train.json").write_text(json.dumps(annotations))
    with pytest.raises(HMLError, match=says):
        convert_vrd(source, tmp_path / "vrd")
    assert [p.name for p in tmp_path.iterdir()] == ["json"]


def test_missing_files_are_named(source, tmp_path, capsys):
    assert main(["data", "convert-vrd", str(tmp_path / "nowhere"), str(tmp_path / "vrd")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    with pytest.raises(HMLError, match="at least 32 pixels"):
        convert_vrd(source, tmp_path / "vrd", max_side=5)
    metadata = source / "test_image_metadata.json"
    metadata.write_text("{}")
    with pytest.raises(HMLError, match="has no size for renamed.jpg"):
        convert_vrd(source, tmp_path / "vrd")
    metadata.unlink()
    with pytest.raises(HMLError, match="has no test_image_metadata.json"):
        convert_vrd(source, tmp_path / "vrd")


def test_a_subset_of_the_annotations(vrd_source, tmp_path):
    folder = tmp_path / "json"
    folder.mkdir()
    for path in vrd_source.glob("*.json"):
        value = json.loads(path.read_text())
        if path.name.startswith("annotations"):
            value = dict(list(value.items())[:40])
        (folder / path.name).write_text(json.dumps(value))
    report = convert_vrd(folder, tmp_path / "vrd", max_side=64)
    counts = check_vg(tmp_path / "vrd", open_pictures=True)
    assert counts.images == {"train": 40, "test": 40}
    assert counts.relations == report.relations
    assert (counts.object_classes, counts.predicates) == (100, 70)


MADE = {
    "images": {"train": 60, "test": 60}, "annotated": {"train": 59, "test": 59},
    "source_relations": {"train": 140, "test": 139}, "with_relations": {"train": 58, "test": 59},
    "dropped": (2, 1, 1), "shown": ("60/60", "59/59"),
}  # fmt: skip
PUBLISHED = {
    "images": {"train": 4000, "test": 1000}, "annotated": {"train": 3780, "test": 955},
    "source_relations": {"train": 30355, "test": 7638}, "with_relations": {"train": 3778, "test": 955},
    "dropped": (109, 4, 2), "shown": ("4000/1000", "3780/955"),
}  # fmt: skip


@pytest.mark.parametrize(
    "vrd_source",
    [pytest.param(name, marks=[pytest.mark.slow] * (name != "made")) for name in VRD_SOURCES],
    indirect=True,
)
def test_all_annotations(vrd_source, tmp_path):
    expected = MADE if vrd_source.name != "vrd" else PUBLISHED
    report = convert_vrd(vrd_source, tmp_path / "vrd", max_side=64)
    assert report.images == expected["images"]
    assert report.annotated == expected["annotated"]
    assert report.source_relations == expected["source_relations"]
    assert (report.self_pairs, len(report.degenerate), len(report.emptied)) == expected["dropped"]
    counts = check_vg(tmp_path / "vrd")
    assert counts.with_relations == expected["with_relations"]
    assert all(shown in counts.text() for shown in expected["shown"])
