"""The raw annotations of Visual Genome: every oddity in a small sample, counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from maskrcnn_benchmark_hml.datasets.format import check_vg, read_vg
from maskrcnn_benchmark_hml.datasets.formats import stream
from maskrcnn_benchmark_hml.datasets.formats.vg import convert_vg
from maskrcnn_benchmark_hml.errors import HMLError


def thing(object_id, names, box=(10, 20, 30, 40), **more):
    """An object of objects.json, or an end of a relation if ``names`` is one text."""
    entry = {"object_id": object_id, "synsets": [], **dict(zip("xywh", box)), **more}
    entry["names" if isinstance(names, list) else "name"] = names
    return {key: value for key, value in entry.items() if value is not None}


def relation(subject, predicate, object_, number=[0]):  # noqa: B006
    number[0] += 1
    return {"relationship_id": number[0], "predicate": predicate, "synsets": "['along.r.01']", "subject": subject,
            "object": object_}


MAN, SHADE = (238, 249, 60, 262), (119, 338, 274, 192)
SIZES = [
    {"image_id": 3, "width": 400, "height": 300, "url": "https://example.org/VG_100K_2/3.jpg", "coco_id": None},
    {"image_id": 1, "width": 800, "height": 600, "url": "https://example.org/VG_100K/1.jpg"},
    {"image_id": 1592, "width": 500, "height": 500},
    {"image_id": "2", "width": 500, "height": 400},
    {"image_id": 7, "width": 100, "height": 100},
]
OBJECTS = [
    {"image_id": 1, "objects": [
        thing(10, ["man"], MAN),
        thing(20, ["shoes", "Shoes "], (388, 485, 48, 28), merged_object_ids=[21]),
        thing(30, ["sidewalk"], (-5, 400, 900, 300)),
        thing(40, []),
        thing(50, ["hat"], (5, 5, 0, 9)),
        thing(None, ["ghost"]),
        thing(10, ["lady"]),
    ]},
    {"image_id": 2, "objects": [thing("11", ["man"]), thing("12", ["hat"], (10.5, 20, 5, 5))]},
    {"image_id": 1592, "objects": [thing(80, ["man"])]},
    {"image_id": 3, "objects": [thing(5, ["man"]), thing(6, [])]},
    {"image_id": 99, "objects": [thing(1, ["man"]), thing(2, ["man"])]},
]  # fmt: skip
RELATIONS = [
    {"image_id": 3, "relationships": [relation(thing(5, "man"), "next to", thing(6, ["men"], (1, 1, 9, 9)))]},
    {"image_id": 1, "relationships": [
        relation(thing(10, "man", MAN), "wears", thing(21, "shoe", (380, 480, 50, 40))),
        relation(thing(10, "man", MAN), "WEARS.", thing(20, ["shoes"], (388, 485, 48, 28), merged_object_ids=[21])),
        relation(thing(10, "man", (230, 240, 60, 260)), "ON", thing(30, "sidewalk", (-5, 400, 900, 300))),
        relation(thing(60, "shade", SHADE), "ON", thing(30, "sidewalk", (-5, 400, 900, 300))),
        relation(thing(60, "shade", (100, 300, 9, 9)), "on", thing(30, "sidewalk", (-5, 400, 900, 300))),
        relation(thing(10, "man", MAN), "next to", thing(10, "man", MAN)),
        relation(thing(40, ""), "on", thing(30, "sidewalk", (-5, 400, 900, 300))),
        relation(thing(50, "hat", (5, 5, 0, 9)), "by", thing(10, "man", MAN)),
        relation(thing(10, "man", MAN), " ?", thing(20, "shoe")),
        relation(thing(None, "man", MAN), "on", thing(20, "shoe")),
        relation(thing(10, "man", MAN), "holding", thing(70, "zebra", (1, 1, 5, 5))),
    ]},
    {"image_id": "2", "relationships": [
        relation(thing(11, "man"), "wearing", thing(12, "hat", (10.5, 20, 5, 5))),
        relation(thing(12, "hat", (10.5, 20, 5, 5)), "on", thing(11, "man")),
    ]},
    {"image_id": 1592, "relationships": [relation(thing(80, "man"), "on", thing(80, "man"))]},
]  # fmt: skip


@pytest.fixture
def source(tmp_path):
    folder = tmp_path / "vg"
    folder.mkdir()
    for name, content in (("image_data", SIZES), ("objects", OBJECTS), ("relationships", RELATIONS)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    (tmp_path / "aliases.txt").write_text("near,next to,by\n")
    (tmp_path / "object_aliases.txt").write_text("man,men\nshoes,shoe\n")
    return folder


def convert(source, out="out", **options):
    given = {"objects": "5", "predicates": "4", "object_aliases": source.parent / "object_aliases.txt",
             "predicate_aliases": source.parent / "aliases.txt"}  # fmt: skip
    return convert_vg(source, source.parent / out, **{**given, **options})


@pytest.mark.parametrize("block", [16, 1 << 18])
def test_every_oddity_is_counted(source, block, monkeypatch):
    monkeypatch.setattr(stream, "_READ", block)
    tally = convert(source)
    text = "\n".join(tally.lines())
    assert tally.found == {"images": 6, "objects": 17, "relations": 15}
    assert tally.kept == {"images": 4, "objects": 8, "relations": 5}
    dropped = {f"{kind}: {reason}": count.number for (kind, reason), count in tally.dropped.items()}
    assert dropped == {
        "images: of Visual Genome's four broken pictures": 1,
        "images: image_data.json does not list them": 1,
        "objects: of Visual Genome's four broken pictures": 1,
        "objects: of images that image_data.json does not list": 2,
        "objects: without an object_id": 1,
        "objects: an earlier object of the image has the same object_id": 1,
        "objects: without a name": 1,
        "objects: the name is not in the vocabulary": 1,
        "objects: the box covers nothing of the picture": 1,
        "relations: of Visual Genome's four broken pictures": 1,
        "relations: without a predicate": 1,
        "relations: an end has no object_id": 1,
        "relations: an end has no name or no box": 1,
        "relations: the predicate is not in the vocabulary": 1,
        "relations: the subject or object was dropped": 2,
        "relations: subject and object are the same object": 1,
    }
    merged = {f"{kind}: {reason}": count.number for (kind, reason), count in tally.merged.items()}
    assert merged == {
        "objects: without a name in objects.json, taken from relationships.json": 1,
        "relations: exact repetitions": 2,
    }
    assert "object classes: 5 of 6 names (the most frequent), 9 of 10 occurrences" in text
    assert "predicates: 4 of 5 names (the most frequent), 10 of 11 occurrences" in text
    # With ghost and lady, which were dropped. Aliases: men, shoe; next to, by.
    assert "object names: 8 after cleaning (lower case, no punctuation); aliases replaced 2 spellings" in text
    assert "predicates: 5 after cleaning (lower case, no punctuation); aliases replaced 2 spellings" in text
    assert "objects that only relationships.json has: 2" in text
    assert "ends of relations with another box than their object, whose box counts: 3" in text
    assert "images without any annotation: 1" in text
    assert "images that relationships.json does not list: 1 (the first: 99)" in text


def test_what_is_written(source):
    convert(source)
    data = read_vg(source.parent / "out")
    assert data.vocabulary.objects == ("hat", "man", "shade", "shoes", "sidewalk")
    assert data.vocabulary.predicates == ("holding", "near", "on", "wears")
    assert [(r.image_id, r.split, r.extra) for r in data.records] == [
        (3, 0, {"source_id": "3", "file_name": "3.jpg"}), (1, 0, {"source_id": "1", "file_name": "1.jpg"}),
        (2, 2, {"source_id": "2", "file_name": "2.jpg"}), (7, 2, {"source_id": "7", "file_name": "7.jpg"})]
    three, one, two, seven = data.records
    assert one.labels.tolist() == [2, 4, 5, 3]
    assert one.relations.tolist() == [[0, 1, 4], [0, 2, 3], [3, 2, 3]]
    np.testing.assert_allclose(
        one.boxes, [[238, 249, 298, 511], [388, 485, 436, 513], [0, 400, 800, 600], [119, 338, 393, 530]], atol=0.8)
    assert (three.labels.tolist(), three.relations.tolist()) == ([2, 2], [[0, 1, 2]])
    assert (two.labels.tolist(), two.relations.tolist(), len(seven.labels)) == ([2, 1], [[1, 0, 3]], 0)


def test_the_check_passes_and_repeats_the_counts(source, tmp_path):
    from PIL import Image

    photos = tmp_path / "photos" / "VG_100K"
    photos.mkdir(parents=True)
    for entry in SIZES:
        Image.new("RGB", (entry["width"], entry["height"])).save(photos / f"{entry['image_id']}.jpg")
    convert(source, photos=photos.parent)
    report = check_vg(source.parent / "out", open_pictures=True)
    assert (report.images, report.relations) == ({"train": 2, "test": 2}, {"train": 4, "test": 1})
    assert "source: dropped 2 relations: the subject or object was dropped" in report.text()


def test_names_of_files_in_their_order(source, tmp_path):
    (tmp_path / "objects.txt").write_text("T-Shirt\nMan\nhat\n")
    (tmp_path / "predicates.txt").write_text("wearing\non\n")
    tally = convert(source, objects=str(tmp_path / "objects.txt"), predicates=str(tmp_path / "predicates.txt"))
    data = read_vg(source.parent / "out")
    assert data.vocabulary.objects == ("tshirt", "man", "hat") and data.vocabulary.predicates == ("wearing", "on")
    assert data.records[2].relations.tolist() == [[0, 1, 1], [1, 0, 2]]
    assert any(line.endswith("6 of 10 occurrences; never found: tshirt") for line in tally.lines())


def test_order_of_the_files_does_not_matter(source):
    convert(source)
    for name, content in (("objects", OBJECTS), ("relationships", RELATIONS)):
        (source / f"{name}.json").write_text(json.dumps(content[::-1]))
    convert(source, "reversed")
    one, other = (read_vg(source.parent / name).records for name in ("out", "reversed"))
    assert [(r.image_id, r.boxes.tolist(), r.relations.tolist()) for r in one] == [
        (r.image_id, r.boxes.tolist(), r.relations.tolist()) for r in other]


def test_small_boxes_and_boxes_of_the_same_object(source):
    """In image 1 the hat and the zebra (25 of 480,000 pixels) are small; a second man lies in the first."""
    objects = json.loads(json.dumps(OBJECTS))
    objects[0]["objects"] += [thing(90, ["man"], (240, 260, 20, 50)), thing(91, ["man", "worker"], MAN)]
    relations = json.loads(json.dumps(RELATIONS))
    relations[1]["relationships"] += [
        relation(thing(90, "man", (240, 260, 20, 50)), "holding", thing(30, "sidewalk", (-5, 400, 900, 300))),
        relation(thing(91, "man", MAN), "on", thing(90, "man", (240, 260, 20, 50))),
    ]
    (source / "objects.json").write_text(json.dumps(objects))
    (source / "relationships.json").write_text(json.dumps(relations))
    tally = convert(source, min_area=0.0001, merge_same=True, objects="9", predicates="9")
    merged = {reason: count.number for (kind, reason), count in tally.merged.items() if kind == "objects"}
    assert merged.pop("one box inside the other, with the same name") == 2 and len(merged) == 1
    assert tally.dropped["objects", "at most 0.0001 of the picture's area"].number == 2
    one = read_vg(source.parent / "out").records[1]
    names = read_vg(source.parent / "out").vocabulary
    assert "zebra" not in names.objects and "worker" in names.objects, "dropped boxes are not counted, merged ones are"
    assert [names.objects[i - 1] for i in one.labels] == ["man", "shoes", "sidewalk", "shade"]
    assert [[s, o, names.predicates[p - 1]] for s, o, p in one.relations] == [
        [0, 1, "wears"], [0, 2, "on"], [3, 2, "on"], [0, 2, "holding"]]
    assert tally.dropped["relations", "subject and object are the same object"].number == 2, "91 on 90 arises"


def first(name, change):
    def edit(folder):
        content = json.loads((folder / f"{name}.json").read_text())
        change(content)
        (folder / f"{name}.json").write_text(json.dumps(content))

    return edit


@pytest.mark.parametrize(("edit", "says"), [
    (lambda folder: (folder / "relationships.json").unlink(), "has no relationships.json; Visual Genome's raw"),
    (lambda folder: (folder / "objects.json").write_text('{"a": 1}'), "objects.json holds no JSON list"),
    (lambda folder: (folder / "objects.json").write_text(json.dumps(OBJECTS)[:-40]), "objects.json"),
    (first("objects", lambda c: c[1].pop("image_id")), "objects.json: entry 1 has no image_id"),
    (first("objects", lambda c: c.append(c[0])), "objects.json lists image 1 twice"),
    (first("objects", lambda c: c[0].pop("objects")), "image 1 has no list 'objects'"),
    (first("image_data", lambda c: c.append(c[3])), "image_data.json lists image 2 twice"),
    (first("image_data", lambda c: c[0].pop("width")), "image 3 has the size None x 300"),
])
def test_bad_input_is_one_sentence_and_writes_nothing(source, edit, says):
    edit(source)
    before = sorted(p.name for p in source.parent.iterdir())
    with pytest.raises(HMLError, match=says) as error:
        convert(source)
    assert "\n" not in str(error.value)
    assert sorted(p.name for p in source.parent.iterdir()) == before


@pytest.mark.parametrize(("options", "says"), [
    ({"min_area": 2.0}, "--min-area is 2.0"), ({"test": 1.0}, "--test is 1.0"), ({"objects": "x"}, "--objects is 'x'"),
])
def test_bad_options(source, options, says):
    with pytest.raises(HMLError, match=says):
        convert(source, **options)
